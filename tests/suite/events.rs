//! The log as JSON, and copies of it: each line is one object, and its values are the object's fields.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use conformance::{Client, Dice, Instance, LogLine, Plan, Suite, require};
use regex_lite::Regex;
use rusqlite::Connection;

const WHY: &str = "Postfix's postlogd writes one log";

/// The programs that write lines without postlogd must write the other forms as well.
fn ours() -> bool {
    let suite = Suite::under_test();
    ["postlogd", "master"].iter().all(|name| suite.is_ours(name))
}

/// An event, as SQLite reads it: nothing of Postern's has a part in that.
#[derive(Debug)]
struct Event {
    members: BTreeMap<String, String>,
    fields: Vec<(String, String)>,
}

impl Event {
    fn parse(sqlite: &Connection, line: &str) -> Event {
        let members = |object: &str| -> Vec<(String, String)> {
            let mut rows = sqlite.prepare("SELECT key, value FROM json_each(?)").expect("a literal");
            let found = rows.query_map([object], |row| {
                let value: rusqlite::types::Value = row.get(1)?;
                let value = match value {
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    other => panic!("{other:?}: {line}"),
                };
                Ok((row.get(0)?, value))
            });
            found
                .expect("it is asked")
                .collect::<Result<_, _>>()
                .unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        let all = members(line);
        let count = all.len();
        let members_of: BTreeMap<String, String> = all.into_iter().collect();
        assert_eq!(members_of.len(), count, "a name twice: {line}");
        let fields = members(&members_of["fields"]);
        let names: BTreeMap<_, _> = fields.iter().cloned().collect();
        assert_eq!(names.len(), fields.len(), "a name twice: {line}");
        Event { members: members_of, fields }
    }

    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no {name}: {self:?}"), |(_, value)| value)
    }
}

fn events(path: &Path) -> Vec<Event> {
    let sqlite = Connection::open_in_memory().expect("memory");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| Event::parse(&sqlite, line)).collect()
}

fn prepare(plan: &Plan, lines: &str) -> (Instance, PathBuf) {
    let instance = plan.prepare();
    let home = instance.home().to_owned();
    instance.edit_main_cf(|text| format!("{text}{}\n", lines.replace('~', &home.display().to_string())));
    (instance, home)
}

fn start(instance: &Instance) {
    let outcome = instance.run("postfix", &["start"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    instance.wait_for_log("daemon started");
}

/// A quoted local part made of what stands around addresses in lines.
fn hostile(dice: &mut Dice) -> String {
    const PARTS: [&str; 16] = [
        "a",
        "; from=<",
        "; to=<",
        "; proto=SMTP",
        " helo=<x>",
        "> ",
        ">, ",
        "relay=x",
        "\\\"",
        "\\\\",
        "<",
        "=",
        ", status=sent (",
        ": ",
        " proto=ESMTP",
        "to=<",
    ];
    let parts: Vec<&str> = (0..=dice.below(6)).map(|_| *dice.one_of(&PARTS)).collect();
    // The blank makes the quotes needed.
    format!("\"{} \"", parts.concat())
}

#[test]
fn each_line_is_an_event_with_its_fields() {
    require!(ours(), WHY);
    let mut plan = Plan::new("events");
    plan.with_delivery();
    plan.set("local_transport", "discard:")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("transport_maps", "inline:{ {later@example.com = retry:4.2.0 later; from=<a> to=<b> proto=SMTP helo=<c>} }")
        .set("smtpd_recipient_restrictions", "check_recipient_access inline:{ {hold@example.com = HOLD kept; from=<x>} }, reject_unauth_destination")
        .set("header_checks", "regexp:{ {/^Subject: bad/ REJECT bad; subject} }");
    let (instance, home) = prepare(&plan, "maillog_events = ~/events\nmaillog_copies = ~/copy");
    start(&instance);
    let mut dice = Dice::of_the_clock();
    let (mut delivered, mut refused) = (Vec::new(), Vec::new());
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO there");
    for _ in 0..100 {
        let from = format!("{}@example.org", hostile(&mut dice));
        let domain = *dice.one_of(&["example.com", "elsewhere.test"]);
        let to = format!("{}@{domain}", hostile(&mut dice));
        assert_eq!(client.command(&format!("MAIL FROM:<{from}>")).code, 250, "{from}");
        match client.command(&format!("RCPT TO:<{to}>")).code {
            250 => {
                assert_eq!(client.command("DATA").code, 354);
                client.send(b"Subject: good\r\n\r\nText\r\n.\r\n");
                assert_eq!(client.read_reply().code, 250);
                delivered.push(to);
            }
            _ => refused.push((from, to)),
        }
        client.command("RSET");
    }
    for (to, subject) in [("later", "good"), ("hold", "good"), ("b", "bad")] {
        client.send_message(
            "a@example.com",
            &[&format!("{to}@example.com")],
            &format!("Subject: {subject}\n\nText\n"),
        );
    }
    client.command("QUIT");
    for text in ["plain", "with \"quotes\" and \\", "\u{fc}\u{1}\t\r\u{2028}\u{7f}", "", ": a: b=<c", "to=<a"]
    {
        instance.run("postlog", &["-t", "other/name", text]);
    }
    instance.wait_for("all deliveries", || {
        let done = instance.log_of("discard").len() >= delivered.len();
        (done && instance.log_text().contains("other/name[") && instance.log_text().contains("error["))
            .then_some(())
    });
    instance.run("postfix", &["stop"]);

    let found = instance.wait_for("as many events as lines", || {
        let (lines, found) = (instance.log(), events(&home.join("events")));
        (lines.len() == found.len()).then_some(found)
    });
    let time = Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$").expect("a literal");
    for (line, event) in instance.log_text().lines().zip(&found) {
        let parsed = LogLine::parse(line).unwrap_or_else(|| panic!("{line}"));
        let member = |name: &str| event.members[name].as_str();
        assert_eq!(
            (member("name"), member("text")),
            (parsed.ident.as_str(), parsed.text.as_str()),
            "{event:?}"
        );
        assert_eq!((member("pid"), member("host")), (parsed.pid.to_string().as_str(), "mx"), "{event:?}");
        assert_eq!(member("program"), parsed.program());
        assert!(time.is_match(member("time")), "{event:?}");
        let id = event.members.get("queue_id").map(|id| format!("{id}: "));
        assert!(id.is_none_or(|id| parsed.text.contains(&id)), "{event:?}");
        // Each value stands in the line, under its name where the line has names.
        assert!(event.fields.iter().all(|(_, value)| parsed.text.contains(value)), "{event:?}");
    }
    assert_eq!(instance.log_text(), fs::read_to_string(home.join("copy")).expect("the copy"));
    let of = |program: &str, kind: &str| -> Vec<&Event> {
        found
            .iter()
            .filter(|event| event.members["program"] == program && event.members["event"] == kind)
            .collect()
    };
    let mut sorted: Vec<&str> = of("discard", "delivery").iter().map(|event| event.field("to")).collect();
    sorted.sort_unstable();
    delivered.sort_unstable();
    assert_eq!(sorted, delivered);
    let rejects: Vec<(String, String)> = of("smtpd", "reject")
        .iter()
        .map(|event| {
            assert!(event.field("reply").ends_with(": Relay access denied"), "{event:?}");
            assert_eq!((event.field("proto"), event.field("helo")), ("ESMTP", "there"));
            (event.field("from").to_owned(), event.field("to").to_owned())
        })
        .collect();
    assert_eq!(rejects, refused);
    assert!(delivered.len() > 20 && refused.len() > 20, "{} and {}", delivered.len(), refused.len());
    assert_eq!(of("cleanup", "reject")[0].field("reply"), "5.7.1 bad; subject");
    assert_eq!(of("smtpd", "hold")[0].field("reply"), "<hold@example.com>: Recipient address kept; from=<x>");
    assert_eq!(of("error", "delivery")[0].field("note"), "later; from=<a> to=<b> proto=SMTP helo=<c>");
}

#[test]
fn without_a_log_file_too() {
    require!(ours() && Suite::under_test().is_ours("smtpd"), "Postfix's smtpd then tells syslog itself");
    let (instance, home) = prepare(&Plan::new("events-syslog"), "maillog_events = ~/events");
    instance.edit_main_cf(|text| {
        text.lines().filter(|line| !line.starts_with("maillog_file =")).collect::<Vec<_>>().join("\n") + "\n"
    });
    let outcome = instance.run("postfix", &["start"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let mut client = Client::connect(instance.smtp_port());
    client.command("QUIT");
    instance.run("postlog", &["-p", "warn", "-t", "a/b", "mind"]);
    let texts = || -> Vec<String> {
        let mut found = events(&home.join("events"));
        found.iter_mut().map(|event| event.members.remove("text").unwrap_or_default()).collect()
    };
    instance.wait_for("the last line", || {
        texts().iter().any(|text| text.starts_with("disconnect ")).then_some(())
    });
    instance.run("postfix", &["stop"]);
    let texts = texts();
    for wanted in ["daemon started -- version ", "connect from ", "warning: mind", "stopping the "] {
        assert_eq!(
            texts.iter().filter(|text| text.contains(wanted) && !text.starts_with("dis")).count(),
            1,
            "{wanted}: {texts:?}"
        );
    }
    assert!(!home.join("log").exists());
}

#[test]
fn copies_are_rotated_with_the_log_and_hold_nobody_up() {
    require!(ours(), WHY);
    let lines = "maillog_events = ~/events, unix:~/socket\nmaillog_copies = ~/none/copy ~/copy";
    let (instance, home) = prepare(&Plan::new("events-rotated"), lines);
    let listener = UnixListener::bind(home.join("socket")).expect("our own folder");
    start(&instance);
    // postlogd's own line is in each form.
    let complaint = format!("copy of the log to {}/none/copy: ", home.display());
    instance.wait_for_log(&complaint);
    assert_eq!(instance.run("postfix", &["logrotate"]).status, Some(0));
    let names = fs::read_dir(&home).expect("our own folder").flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for file in ["log.2", "events.2", "copy.2"] {
        assert!(
            names.iter().any(|name| name.starts_with(file) && name.ends_with(".gz")),
            "{file}: {names:?}"
        );
    }
    // Nobody reads there.
    let many = format!("{}\n", "x".repeat(1500)).repeat(2000);
    assert_eq!(instance.run_with_input("postlog", &["-t", "a/b"], many.as_bytes()).status, Some(0));
    let mut client = Client::connect(instance.smtp_port());
    client.command("QUIT");
    instance.wait_for_log("disconnect from ");
    let count = |name: &str| fs::read_to_string(home.join(name)).unwrap_or_default().lines().count();
    instance.wait_for("as many", || {
        (count("log") > 0 && count("log") == count("events") && count("log") == count("copy")).then_some(())
    });
    let (mut stream, _) = listener.accept().expect("postlogd connects");
    let mut first = [0; 1];
    stream.read_exact(&mut first).expect("it writes there");
    assert_eq!(&first, b"{");
}

#[test]
fn a_destination_that_is_none_is_refused() {
    require!(ours(), WHY);
    for (lines, said) in [
        ("maillog_events = relative", "neither /path nor unix:/path: relative"),
        ("maillog_copies = unix:x", "neither /path nor unix:/path: unix:x"),
        (
            "maillog_file_prefixes = ~\nmaillog_events = /else/where",
            "does not match any prefix in maillog_file_prefixes",
        ),
    ] {
        let (instance, _) = prepare(&Plan::new("events-bad"), lines);
        let outcome = instance.run("postlog", &["x"]);
        let told = [outcome.err(), instance.log_text()].concat();
        assert!(outcome.status == Some(1) && told.contains(said), "{lines}: {outcome:?} {told}");
    }
}
