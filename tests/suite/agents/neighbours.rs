//! Delivery agents whose neighbours are not there, do not answer, or answer with a failure.
//!
//! Beside the lines of [`agents`](super): `* NAME=VALUE` is an option of the service, whose program the request names. Neighbours
//! that can be named are `absent`, `silent` (takes a connection and says nothing), `closing` (closes it), `refusing` and `accepting` (announce
//! themselves as bounce services do, and answer that it failed, or is done) and `strange` (announces itself as another, and closes).

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::LazyLock;
use std::thread;

use conformance::{Instance, Plan, Service, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use super::Stage;
use crate::case_file::{Case, CaseFile, Marks, play_on_stages};

/// Whether it was in writing or reading, and with which error, depends on who is faster.
static ASKED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(warning: )(?:write/read|read|write) ((?:private|public)/[a-z]+) socket: .*")
        .expect("a pattern")
});
const MARKS: Marks = Marks { script: &['*', '>', '+'], results: None };
const FILE: &str = "agents/neighbours.txt";

#[test]
fn that_fail() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite").join(FILE);
    let text = fs::read_to_string(path).expect("a file of cases");
    let mut services = Vec::new();
    for case in &CaseFile::parse(&text, &MARKS).cases {
        let service = service(case);
        if !services.contains(&service) {
            services.push(service);
        }
    }
    play_on_stages(
        FILE,
        &MARKS,
        |options| site(options, &services),
        |stage, case| play(stage, case, &services),
    );
}

/// Its program and options.
fn service(case: &Case) -> (String, Vec<String>) {
    let request = case.script.iter().find_map(|line| line.strip_prefix("> ")).expect("each case has one");
    let program = request.split(' ').next().expect("a word").to_owned();
    (program, case.script.iter().filter_map(|line| line.strip_prefix("* ")).map(str::to_owned).collect())
}

fn site(options: &[String], services: &[(String, Vec<String>)]) -> Stage {
    let mut plan = Plan::new("neighbours");
    plan.set("alias_maps", "inline:{ {list=nobody, daemon}, {list2=nobody}, {owner-list2=daemon} }")
        .set("mail_spool_directory", "$queue_directory/../mail")
        .set("virtual_mailbox_base", "$queue_directory/../mail")
        .set("virtual_mailbox_maps", "inline:{box@v.test=box/}")
        .set("virtual_uid_maps", "static:65534")
        .set("virtual_gid_maps", "static:65534");
    for (number, (program, options)) in services.iter().enumerate() {
        let mut service =
            Service::new(format!("to{number} unix - n n - - {program}")).option("ipc_timeout", "1s");
        for option in options {
            let (name, value) = option.split_once('=').expect("NAME=VALUE");
            service = service.option(name, value);
        }
        if program == "pipe" {
            service.arguments.push("user=nobody argv=/bin/sh -c {exit ${nexthop}}".to_owned());
        }
        plan.service(service);
    }
    let stage = Stage::of(plan, options);
    let mail = stage.instance.home().join("mail");
    fs::create_dir_all(&mail).expect("the instance's folder");
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o1777)).expect("ours");
    all_neighbours(&stage.instance);
    stage
}

fn play(stage: &Stage, case: &Case, services: &[(String, Vec<String>)]) -> Vec<String> {
    let own = service(case);
    let number = services.iter().position(|service| *service == own).expect("it was listed");
    let mut renamed = case.clone();
    for line in &mut renamed.script {
        if let Some(request) = line.strip_prefix(&format!("> {} ", own.0)) {
            *line = format!("> to{number} {request}");
        }
    }
    let mut lines = stage.play(&renamed);
    lines.splice(..case.script.len(), case.script.iter().cloned());
    let home = stage.instance.home().display().to_string();
    lines
        .into_iter()
        .map(|line| line.replace(&home, "HOME").replace(&format!("to{number}"), "NAME"))
        .map(|line| ASKED.replace(&line, "${1}asking $2 failed").into_owned())
        .collect()
}

/// All of them, in an instance that runs.
pub(crate) fn all_neighbours(instance: &Instance) {
    for (name, answer) in [
        ("silent", Answer::Nothing),
        ("closing", Answer::Close(b"")),
        ("refusing", Answer::Status("1")),
        ("accepting", Answer::Status("0")),
        ("strange", Answer::Close(b"protocol\0strange_protocol\0\0")),
    ] {
        neighbour(instance, name, answer);
    }
}

#[derive(Clone, Copy)]
enum Answer {
    Nothing,
    Close(&'static [u8]),
    Status(&'static str),
}

/// Listens in the place of a service, private and public.
fn neighbour(instance: &Instance, name: &str, answer: Answer) {
    for folder in ["private", "public"] {
        let path = instance.queue_directory().join(folder).join(name);
        let listener = UnixListener::bind(&path).expect("a name of its own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("just made");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                thread::spawn(move || answer.give(stream));
            }
        });
    }
}

impl Answer {
    fn give(self, mut stream: UnixStream) {
        match self {
            Self::Nothing => {
                let _ = stream.read_to_end(&mut Vec::new());
            }
            Self::Close(before) => {
                let _ = stream.write_all(before);
            }
            Self::Status(status) => {
                let _ = stream.write_all(b"protocol\0delivery_status_protocol\0\0");
                let mut byte = [0];
                let mut last = 1;
                while stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    if byte[0] == 0 && last == 0 {
                        let _ = stream.write_all(format!("status\0{status}\0\0").as_bytes());
                    }
                    last = byte[0];
                }
            }
        }
    }
}
