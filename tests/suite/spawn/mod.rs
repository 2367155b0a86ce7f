//! The service that runs a command for each client: what the command gets, what the client gets, and what is logged.
//!
//! `$ ATTRIBUTES` is the service in master.cf, each case its own; `> TEXT` a line that the client sends before it ends. Then
//! follow what it was told (`<`) and the log (`|`).

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use conformance::{Client, Instance, LogLine, Plan, Service, Suite, mask, require, version_at_least};
use nix::unistd::Uid;

use crate::case_file::{Case, CaseFile, Marks, play_on_stages};
use crate::dialogue::talk;

const MARKS: Marks = Marks { script: &['$', '>'], results: None };

#[test]
fn commands() {
    require!(Uid::effective().is_root(), "commands run as other users");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/spawn/commands.txt");
    let text = fs::read_to_string(path).expect("a file of cases");
    let cases = CaseFile::parse(&text, &MARKS).cases;
    let set_up = |options: &[String]| {
        let services = cases.iter().filter(|case| case.options == options).map(attributes_of);
        Stage::new(options, services)
    };
    play_on_stages("spawn/commands.txt", &MARKS, set_up, Stage::play);
}

/// It is told when a command takes too long. Postfix's does not have the right to kill it, and waits (up to 3.7; 3.10.3 does not).
#[test]
fn a_command_over_its_time() {
    require!(Uid::effective().is_root(), "commands run as other users");
    let attributes = "user=nobody argv=/bin/sh -c {echo begun; sleep 3; echo done}";
    let stage = Stage::new(&["command_time_limit=1s".to_owned()], [attributes].into_iter());
    let told = stage.ask(&stage.services[attributes], "");
    let ends = if Suite::under_test().is_ours("spawn") || version_at_least(3, 10) {
        "begun\n"
    } else {
        "begun\ndone\n"
    };
    assert_eq!(told, ends);
    stage.instance.wait_for_log("warning: /bin/sh: process id ");
    stage.instance.wait_for_log(": command time limit exceeded");
}

/// What it is for: a policy server that says of each recipient what it was asked.
#[test]
fn a_policy_server() {
    require!(Uid::effective().is_root(), "commands run as other users");
    let mut plan = Plan::new("spawn-policy");
    plan.set("policy_time_limit", "3600").set(
        "smtpd_recipient_restrictions",
        "reject_unauth_destination, check_policy_service unix:private/policy",
    );
    let mut service = Service::new("policy unix - n n - 0 spawn");
    service.arguments.push(
        "user=nobody argv=/bin/sh -c {while read line; do case $line in recipient=*) rcpt=${line#*=} ;; \
         '') echo \"action=450 4.7.1 no $rcpt today\"; echo ;; esac; done}"
            .to_owned(),
    );
    plan.service(service);
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    talk(&mut client, &[("EHLO x", "250"), ("MAIL FROM:<ann@example.net>", "250")]);
    for name in ["bob", "carl", "dora"] {
        let reply = client.command(&format!("RCPT TO:<{name}@example.com>")).text();
        let expected = format!(
            "450 4.7.1 <{name}@example.com>: Recipient address rejected: no {name}@example.com today"
        );
        assert_eq!(reply, expected, "{}", instance.log_text());
    }
}

fn attributes_of(case: &Case) -> &str {
    case.script.iter().find_map(|line| line.strip_prefix("$ ")).expect("each case has a service")
}

struct Stage {
    instance: Instance,
    /// Attributes, and the name of the service with them.
    services: HashMap<String, String>,
    asked: AtomicI32,
}

impl Stage {
    fn new<'a>(options: &[String], attributes: impl Iterator<Item = &'a str>) -> Stage {
        let mut plan = Plan::new("spawn");
        plan.with_delivery().without("qmgr").without("pickup");
        for option in options {
            let (name, value) = option.split_once('=').expect("name=value");
            plan.set(name, value);
        }
        let mut services = HashMap::new();
        for text in attributes.chain(["user=nobody argv=/bin/sh -c {read status; exit $status}"]) {
            let name = format!("run{:03}", services.len());
            let mut service = Service::new(format!("{name} unix - n n - - spawn"));
            service.arguments.push(text.to_owned());
            plan.service(service);
            services.insert(text.to_owned(), name);
        }
        let instance = plan.start();
        // Commands that cannot be run.
        instance.expect_fault("fatal: ");
        Stage { instance, services, asked: AtomicI32::new(0) }
    }

    fn play(&self, case: &Case) -> Vec<String> {
        let before = self.instance.log().len();
        let sent: String = case
            .script
            .iter()
            .filter_map(|line| line.strip_prefix("> "))
            .map(|line| format!("{line}\n"))
            .collect();
        let service = &self.services[attributes_of(case)];
        let told = self.ask(service, &sent);
        let mut lines = case.script.clone();
        lines.extend(told.lines().map(|line| format!("< {line}")));
        lines.extend(self.log(before));
        let folder = self.instance.home().display().to_string();
        lines.iter().map(|line| line.replace(&folder, "FOLDER").replace(service.as_str(), "NAME")).collect()
    }

    /// What the service says until the connection ends, which it does behind the log.
    fn ask(&self, service: &str, text: &str) -> String {
        let path = self.instance.queue_directory().join("private").join(service);
        let mut stream = UnixStream::connect(path).expect("master listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log(&self, before: usize) -> Vec<String> {
        let status = 100 + self.asked.fetch_add(1, Ordering::Relaxed) % 100;
        let last = format!("warning: command /bin/sh exit status {status}");
        self.ask(
            &self.services["user=nobody argv=/bin/sh -c {read status; exit $status}"],
            &format!("{status}\n"),
        );
        let lines = self.instance.wait_for("the last line", || {
            let lines: Vec<LogLine> = self.instance.log().into_iter().skip(before).collect();
            lines.iter().any(|line| line.text == last).then_some(lines)
        });
        let told = lines.iter().filter(|line| line.program() == "spawn" && line.text != last);
        told.map(|line| format!("| {}: {}", line.ident, mask(&line.text, &HashMap::new()))).collect()
    }
}
