//! From a client to the queue: replies, `receive_override_options`, what pickup does with a message that is not accepted,
//! and when the process makes way for one that opens its tables anew.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime};

use conformance::{Client, Plan, Service, Suite, mask, require};
use nix::unistd::Uid;

use super::{Configuration, Message, Side};

const TABLES: [(&str, &str); 7] = [
    // The postmaster's notices would be among what is queued.
    ("notify_classes", ""),
    ("canonical_maps", "proxy:texthash:canonical"),
    ("sender_canonical_maps", "proxy:texthash:sender"),
    ("virtual_alias_maps", "proxy:texthash:virtual"),
    ("sender_bcc_maps", "proxy:texthash:sbcc"),
    ("recipient_bcc_maps", "proxy:texthash:rbcc"),
    ("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH"),
];

const VALUES: [(&str, &str); 10] = [
    ("canonical c@local.test", "d@y.test"),
    ("sender s@x.test", "t@x.test"),
    ("virtual v@local.test", "one@y.test, two@local.test"),
    ("virtual circle@local.test", "circle2@local.test"),
    ("virtual circle2@local.test", "circle@local.test"),
    ("virtual half@local.test", "one@y.test, x@retry.test"),
    ("virtual nowhere@local.test", ","),
    ("sbcc s@x.test", "archive@y.test"),
    ("sbcc t@x.test", "archive@y.test"),
    ("rbcc v@local.test", "copy"),
];

/// What a client hears of a message, and what is queued.
fn by_smtp(side: &Side, sender: &str, recipients: &[&str]) -> String {
    let mut client = Client::connect(side.instance.smtp_port());
    client.command("EHLO client.example.net");
    let mut heard = client.command(&format!("MAIL FROM:<{sender}>")).text();
    for recipient in recipients {
        heard += &format!("\n{}", client.command(&format!("RCPT TO:<{recipient}>")).text());
    }
    if client.command("DATA").code != 354 {
        return heard;
    }
    client.send(
        b"Message-Id: <a@b>\r\nDate: x\r\nFrom: s@x.test, c\r\nTo: c@local.test, v@local.test\r\n\r\nx\r\n",
    );
    let reply = client.command(".").text();
    client.command("QUIT");
    let id = reply.rsplit(' ').next().unwrap_or_default().to_owned();
    let reply = if reply.starts_with("250") { reply.replace(&id, "ID") } else { reply };
    heard += &format!("\n{reply}\n");
    for file in side.instance.queue("incoming") {
        heard += &side.file(&file);
    }
    heard
}

/// Cleanup's and pickup's lines.
fn log(side: &Side) -> Vec<String> {
    let mut lines = side.log();
    let pickup = side.instance.log_of("pickup");
    lines.extend(pickup.iter().map(|line| mask(line, &HashMap::new())));
    lines
}

#[test]
fn overrides_and_replies() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let configuration = Configuration::new(&TABLES, &VALUES);
    for options in [
        &[("receive_override_options", "")][..],
        &[("receive_override_options", "no_address_mappings")],
        &[("receive_override_options", "no_unknown_recipient_checks, no_header_body_checks no_milters")],
        &[("local_header_rewrite_clients", ""), ("remote_header_rewrite_domain", "")],
        &[
            ("local_header_rewrite_clients", "permit_mynetworks"),
            ("remote_header_rewrite_domain", "r.invalid"),
        ],
        &[
            ("local_header_rewrite_clients", "static:all"),
            ("receive_override_options", "no_address_mappings"),
        ],
        &[
            ("local_header_rewrite_clients", "inline:{127.0.0.1=x}"),
            ("mydestination", "local.test"),
            ("smtpd_reject_unlisted_sender", "yes"),
        ],
    ] {
        let [ours, theirs] = [Suite::under_test(), Suite::Postfix].map(|suite| {
            let mut plan = Plan::for_suite("mapping-smtp", suite);
            for (name, value) in options {
                plan.set(name, value);
            }
            Side::start_plan(plan, &configuration)
        });
        for (sender, recipients) in [
            ("s@x.test", &["v@local.test", "c@local.test"][..]),
            ("", &["v@local.test", "V@Local.test", "other@local.test"]),
            ("o@x.test", &["circle@local.test"]),
            ("o@x.test", &["v@local.test", "half@local.test", "v@local.test"]),
            ("o@x.test", &["nowhere@local.test"]),
            ("o@retry.test", &["v@local.test"]),
            ("o@x.test", &["x@retry.test"]),
            ("o@x.test", &["u+e@local.test", "\"q r\"@local.test"]),
        ] {
            let [ours, theirs] = [&ours, &theirs].map(|side| by_smtp(side, sender, recipients));
            assert_eq!(ours, theirs, "{options:?} {sender} {recipients:?}");
        }
        assert_eq!(log(&ours), log(&theirs), "{options:?}");
    }
}

#[test]
fn pickup_keeps_what_is_not_accepted() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let configuration = Configuration::new(&TABLES, &VALUES);
    for option in ["", "no_address_mappings"] {
        let [ours, theirs] = [Suite::under_test(), Suite::Postfix].map(|suite| {
            let mut plan = Plan::for_suite("mapping-pickup", suite);
            plan.without("pickup").service(
                Service::new("pickup unix n - n 60 1 pickup").option("receive_override_options", option),
            );
            let side = Side::start_plan(plan, &configuration);
            let mut came = String::new();
            for (sender, recipient) in [
                ("s@x.test", "v@local.test"),
                ("o@x.test", "half@local.test"),
                ("o@x.test", "circle@local.test"),
                ("o@retry.test", "v@local.test"),
            ] {
                let message = format!("Message-Id: <{recipient}>\nDate: x\nTo: c@local.test\n\nx\n");
                let arguments = ["-f", sender, recipient];
                let outcome = side.instance.run_with_input("sendmail", &arguments, message.as_bytes());
                assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), ""));
                let file = side.instance.wait_for("what becomes of it", || {
                    let files = side.instance.queue("incoming");
                    if let Some(file) = files.into_iter().find(conformance::QueueFile::is_complete) {
                        return Some(Some(file));
                    }
                    let about = |line: &String| {
                        line.contains("not accepted")
                            && [sender, recipient].iter().any(|name| line.contains(name))
                    };
                    let kept = side.instance.log_of("cleanup").into_iter().find(about);
                    kept.map(|_| None)
                });
                match file {
                    Some(file) => came += &side.file(&file),
                    None => came += "kept\n",
                }
            }
            // pickup removes what it has handed on.
            let kept = if option.is_empty() { 3 } else { 0 };
            side.instance.wait_for("the others to leave maildrop", || {
                (side.instance.queue("maildrop").len() == kept).then_some(())
            });
            came
        });
        assert_eq!(ours, theirs, "{option}");
    }
}

#[test]
fn a_changed_table_and_one_that_is_not_there() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    for parameter in [
        "canonical_maps",
        "virtual_alias_maps",
        "sender_bcc_maps",
        "recipient_bcc_maps",
        "masquerade_exceptions",
        "header_checks",
        "body_checks",
    ] {
        let maker = Plan::new("mapping-maker").prepare();
        let path = maker.home().join("table");
        let write = |value: &str, age: u64| {
            fs::write(&path, format!("a@x.test {value}\n")).expect("a file of our own");
            let made = maker.run("postmap", &[&format!("hash:{}", path.display())]);
            assert_eq!(made.status, Some(0), "{}", made.err());
            let index = path.with_extension("db");
            let file = fs::OpenOptions::new().write(true).open(&index).expect("a file of our own");
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("a file of our own");
        };
        write("b@x.test", 3600);
        let table = format!("hash:{}", path.display());
        let missing = format!("hash:{}/missing", maker.home().display());
        let parameters = [(parameter, table.as_str()), ("masquerade_domains", "test")];
        let configuration = Configuration::new(&parameters, &[]);
        let message = Message::new("a@x.test", &["R a@x.test"], &[]);
        let [ours, theirs] =
            [Suite::under_test(), Suite::Postfix].map(|suite| Side::start(suite, &configuration));
        assert_eq!(ours.submit(&message), theirs.submit(&message), "{parameter}");
        write("c@x.test", 1800);
        assert_eq!(ours.submit(&message), theirs.submit(&message), "{parameter}");
        let without_path = |side: &Side| side.log().join("\n");
        assert_eq!(without_path(&ours), without_path(&theirs), "{parameter}");
        assert!(theirs.instance.log_text().contains("has changed -- restarting"), "{parameter}");
        // A table of checks that is not there is told of for each parameter that names it: docs/differences.md.
        if parameter.ends_with("_checks") {
            continue;
        }
        let configuration =
            Configuration::new(&[(parameter, missing.as_str()), ("masquerade_domains", "test")], &[]);
        super::compare(&configuration, &[message]);
    }
}

/// What keeps the process from starting; and nobody waits for it.
#[test]
fn mistakes_in_parameters() {
    for (name, value, complaint) in [
        ("canonical_classes", "foo", "unknown canonical_classes value \"foo\" in \"foo\""),
        (
            "sender_canonical_classes",
            "envelope_sender, Foo bar",
            "unknown canonical_classes value \"Foo\" in \"envelope_sender, Foo bar\"",
        ),
        (
            "recipient_canonical_classes",
            "envelope_sender",
            "unknown canonical_classes value \"envelope_sender\" in \"envelope_sender\"",
        ),
        ("recipient_canonical_classes", "", "bad string length 0 < 1: recipient_canonical_classes = "),
        ("masquerade_classes", "all", "unknown masquerade_classes value \"all\" in \"all\""),
        (
            "propagate_unmatched_extensions",
            "canonical foo",
            "unknown propagate_unmatched_extensions value \"foo\" in \"canonical foo\"",
        ),
        ("canonical_maps", "foo", "open dictionary: expecting \"type:name\" form instead of \"foo\""),
        ("virtual_alias_maps", "foo", "open dictionary: expecting \"type:name\" form instead of \"foo\""),
        ("recipient_bcc_maps", "foo", "open dictionary: expecting \"type:name\" form instead of \"foo\""),
        ("virtual_alias_recursion_limit", "0", "invalid virtual_alias_recursion_limit parameter value 0 < 1"),
    ] {
        let mut plan = Plan::new("mapping-mistakes");
        plan.set(name, value);
        let instance = plan.start();
        let client =
            std::os::unix::net::UnixStream::connect(instance.queue_directory().join("public/cleanup"));
        let line = instance.wait_for_log("fatal: ");
        assert!(line.starts_with(&format!("fatal: {complaint}")), "{name}: {line}");
        drop(client);
    }
}
