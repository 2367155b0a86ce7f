//! Delivery agents with a parameter that has a value it should not have: whether they serve, what they answer, and what is logged
//! of the message or when they end, on Postfix and on the suite under test. Each parameter that Postfix's program reads is tried.
//! Warnings are not compared: the two evaluate some parameters at other times, and more than once.
//!
//! `POSTERN_SETTINGS` is how many; `POSTERN_SEED`, what they begin with; `POSTERN_SETTING=PROGRAM:NAME=VALUE` is one of one's
//! own.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use conformance::{Dice, Instance, LogLine, Plan, Service, Suite, mask, require, version_at_least};
use nix::unistd::Uid;
use regex_lite::Regex;

use super::{Recipient, ask, recipient_offsets, socket, write_message};
use crate::addresses::number;
use crate::case_file::Case;

static PASSING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("delay=[-0-9.]+, delays=[-0-9./]+|P[0-9]+|V[0-9a-f]+I[0-9a-f]+M[0-9]+").expect("a pattern")
});

/// Agents, and whom each delivers to. `error` goes by its service's name.
const AGENTS: [(&str, &str); 4] = [
    ("virtual", "box@v.test"),
    ("local", "nobody"),
    ("pipe", "bob@remote.test"),
    ("discard", "bob@remote.test"),
];

/// What decides where an instance is and where it logs, or what its agents' neighbours are called, is another matter.
const NOT_TRIED: [&str; 21] = [
    "config_directory",
    "queue_directory",
    "daemon_directory",
    "command_directory",
    "data_directory",
    "process_id_directory",
    "meta_directory",
    "shlib_directory",
    "maillog_file",
    "postlog_service_name",
    "syslog_name",
    "syslog_facility",
    "process_name",
    "process_id",
    "service_name",
    "compatibility_level",
    "debug_peer_list",
    "debug_peer_level",
    "mail_version",
    "fault_injection_code",
    // Postfix evaluates it when the first address is logged: nobody is served either way.
    "info_log_address_format",
];

const TRUTHS: &[&str] = &["maybe", "", "YES", " yes x", "0", "$nosuch", "${x}"];
const NUMBERS: &[&str] = &["x", "-1", "", "1x", "99999999999", "0", "0x10", "1 2", "$nosuch", "2147483648"];
const TIMES: &[&str] = &["x", "5q", "-1", "", "0", "99999999999d", "1 d", "1.5h", "$nosuch", "d"];
const TEXTS: &[&str] = &[
    "",
    "x",
    "$nosuch",
    "${x}",
    "nosuch:x",
    "hash:/nonexistent/x",
    "/nonexistent/x",
    ",",
    "x:y:z",
    "inline:{x}",
    "static:",
    "1 2 3",
    "!x",
    "[::1",
    "/../x",
    "-",
    "{ x = y }",
    "regexp:{ {/x(/ y} }",
];

/// A parameter of an agent, and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    /// Of [`AGENTS`].
    agent: (&'static str, &'static str),
    name: String,
    value: String,
}

#[test]
fn that_are_wrong() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    require!(!version_at_least(3, 8), "parameters of later versions have other values and texts");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let settings = settings();
    let [theirs, ours] = std::thread::scope(|scope| {
        [Suite::Postfix, Suite::under_test()]
            .map(|suite| scope.spawn(|| play(suite, &settings)))
            .map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut failures = String::new();
    let mut count = 0;
    for ((setting, theirs), ours) in settings.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            let Setting { agent: (program, _), name, value } = setting;
            failures += &format!("{program}:{name}={value}\nPostfix {theirs:#?}\nhere {ours:#?}\n");
            count += 1;
        }
    }
    assert!(failures.is_empty(), "{count} of {}\n{failures}", settings.len());
}

fn settings() -> Vec<Setting> {
    if let Ok(setting) = std::env::var("POSTERN_SETTING") {
        let (program, rest) = setting.split_once(':').expect("PROGRAM:NAME=VALUE");
        let (name, value) = rest.split_once('=').expect("PROGRAM:NAME=VALUE");
        let agent = AGENTS.into_iter().find(|agent| agent.0 == program).expect("an agent");
        return vec![Setting { agent, name: name.to_owned(), value: value.to_owned() }];
    }
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let parameters = parameters();
    let mut settings: Vec<Setting> = Vec::new();
    for _ in 0..number("POSTERN_SETTINGS", 16) {
        let (name, kind, programs) = dice.one_of(&parameters);
        let values = match kind.as_str() {
            "bool" | "nbool" => TRUTHS,
            "int" | "nint" | "long" => NUMBERS,
            "time" => TIMES,
            _ => TEXTS,
        };
        let readers: Vec<_> = AGENTS
            .into_iter()
            .filter(|agent| programs.iter().any(|name| name == "all" || name == agent.0))
            .collect();
        let setting = Setting {
            agent: *dice.one_of(&readers),
            name: name.clone(),
            value: (*dice.one_of(values)).to_owned(),
        };
        if !settings.contains(&setting) {
            settings.push(setting);
        }
    }
    settings
}

/// Those that an agent reads, of any version that there was before 3.8: name, kind, programs.
fn parameters() -> Vec<(String, String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/behaviour/parameters.tsv");
    let text = fs::read_to_string(path).expect("a table");
    let rows = text.lines().skip(1).map(|row| row.split('\t').collect::<Vec<_>>());
    let is_later = |since: &str| {
        since.strip_prefix("3.").and_then(|minor| minor.parse().ok()).is_some_and(|minor: u32| minor > 7)
    };
    rows.filter(|row| !is_later(row[8]))
        .filter(|row| !NOT_TRIED.contains(&row[0]) && !row[0].ends_with("_service_name"))
        .map(|row| {
            (row[0].to_owned(), row[1].to_owned(), row[7].split(',').map(str::to_owned).collect::<Vec<_>>())
        })
        .filter(|(_, _, programs)| {
            programs.iter().any(|name| name == "all" || AGENTS.iter().any(|agent| agent.0 == name))
        })
        .collect()
}

/// What came of each of the settings.
fn play(suite: Suite, settings: &[Setting]) -> Vec<Vec<String>> {
    let mut plan = Plan::for_suite("settings", suite);
    plan.with_delivery()
        .without("qmgr")
        .without("pickup")
        .set("in_flow_delay", "0")
        .set("service_throttle_time", "1000s")
        .set("address_verify_map", "")
        .set("alias_maps", "")
        .set("mail_spool_directory", "$queue_directory/../mail")
        .set("virtual_mailbox_base", "$queue_directory/../mail")
        .set("virtual_mailbox_maps", "static:box/")
        .set("virtual_uid_maps", "static:65534")
        .set("virtual_gid_maps", "static:65534");
    for (number, setting) in settings.iter().enumerate() {
        let program = setting.agent.0;
        let mut service = Service::new(format!("s{number} unix - n n - - {program}"));
        service = service.option(&setting.name, &setting.value);
        if program == "pipe" {
            service.arguments.push("user=nobody argv=/bin/true".to_owned());
        }
        plan.service(service);
    }
    let instance = plan.start();
    instance.expect_fault("");
    let mail = instance.home().join("mail");
    fs::create_dir_all(&mail).expect("the instance's folder");
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o1777)).expect("ours");
    settings.iter().enumerate().map(|(number, setting)| outcome(&instance, number, setting)).collect()
}

fn outcome(instance: &Instance, number: usize, setting: &Setting) -> Vec<String> {
    let (program, address) = setting.agent;
    let service = format!("s{number}");
    let before = instance.log().len();
    let mut own = None;
    let mut lines = Vec::new();
    if starts(instance, &service, before) {
        let recipient = || [Recipient { address, original: "", orcpt: "", notify: "" }];
        let (id, path, offset) = write_message(instance, number, &recipient(), &Case::default());
        let offsets = recipient_offsets(&fs::read(&path).expect("just made"));
        let offset = offset.to_string();
        let set = [("queue_id", id.as_str()), ("nexthop", "5.0.0 x"), ("flags", "3"), ("offset", &offset)];
        let reply = ask(instance, &service, &set, &recipient(), &offsets);
        lines.push(format!("reply {}", if reply.is_empty() { "none" } else { &reply }));
        let mark = fs::read(&path).expect("an agent removes nothing")[offsets[0]];
        lines.push(format!("mark {}", char::from(mark)));
        own = Some(id);
    } else {
        lines.push("does not start".to_owned());
    }
    // Behind all that has been logged.
    let last = [Recipient { address: "last@remote.test", original: "", orcpt: "", notify: "" }];
    let (id, _, offset) = write_message(instance, number + 0x80_0000, &last, &Case::default());
    let offset = offset.to_string();
    let set = [("queue_id", id.as_str()), ("nexthop", "x"), ("flags", "0"), ("offset", &offset)];
    ask(instance, "discard", &set, &last, &[usize::MAX]);
    instance.wait_for_log(&format!("{id}: to=<last@remote.test>"));
    let is_of_it = |text: &str| {
        own.as_ref().is_some_and(|own| text.contains(own.as_str())) && !text.starts_with("warning: ")
    };
    let is_told = |line: &LogLine| {
        line.program() == program && (is_of_it(&line.text) || line.text.starts_with("fatal: "))
    };
    let home = instance.home().display().to_string();
    let told = instance.log().into_iter().skip(before).filter(is_told).map(|line| line.text);
    lines.extend(told.map(|text| {
        // Postern tells where a value comes from.
        let text = mask(&text.replace(&home, "HOME").replace(" (-o option)", ""), &HashMap::new());
        PASSING.replace_all(&text.replace(&format!("relay={service},"), "relay=NAME,"), "X").into_owned()
    }));
    // Some parameters are evaluated several times by one of the two.
    lines.dedup();
    lines
}

/// Whether a process comes and says who it is.
fn starts(instance: &Instance, service: &str, before: usize) -> bool {
    let mut stream = socket(instance, &format!("private/{service}"));
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
    instance.wait_for("a process, or its end", || match stream.read(&mut [0; 1]) {
        Ok(1) => Some(true),
        Ok(_) => Some(false),
        Err(_) => {
            let ended = |line: LogLine| line.program() == "master" && line.text.contains("exit status");
            instance.log().into_iter().skip(before).any(ended).then_some(false)
        }
    })
}
