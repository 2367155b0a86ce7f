//! Random headers with addresses: what cleanup makes of them.

use std::fmt::Write as _;
use std::fs;

use conformance::{Client, Dice, Instance, Plan, Suite, require};
use nix::unistd::Uid;

use super::random::Generator;
use super::{is_of_the_instance, number, records};

/// Messages that one configuration is used for.
const MESSAGES: u64 = 40;
/// Differences that a failure shows.
const SHOWN: usize = 30;

const NAMES: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Sender",
    "Errors-To",
    "Return-Receipt-To",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "Resent-Bcc",
    "Resent-Reply-To",
    "Resent-Sender",
    "Mail-Followup-To",
    "Apparently-To",
    "Disposition-Notification-To",
    "X-Other",
    "to",
    "FROM",
    "Return-Path",
];

fn plan(suite: Suite, parameters: &[(String, String)]) -> Plan {
    let mut plan = Plan::for_suite("header-addresses", suite);
    plan.set("mydestination", "$myhostname, local.test, relay.test").set("smtpd_error_sleep_time", "0");
    for (name, value) in parameters {
        plan.set(name, value);
    }
    plan
}

fn parameters(dice: &mut Dice) -> Vec<(String, String)> {
    [
        ("append_at_myorigin", &["yes", "yes", "no"][..]),
        ("append_dot_mydomain", &["no", "yes"]),
        ("allow_percent_hack", &["yes", "no"]),
        ("swap_bangpath", &["yes", "no"]),
        ("resolve_dequoted_address", &["yes", "no"]),
        ("remote_header_rewrite_domain", &["", "domain.invalid"]),
        ("local_header_rewrite_clients", &["permit_inet_interfaces", "", "permit_mynetworks"]),
        ("masquerade_domains", &["", "test", "relay.test, !sub.relay.test"]),
        ("masquerade_exceptions", &["", "u, spammer"]),
        ("masquerade_classes", &["envelope_sender, header_sender, header_recipient", "header_recipient"]),
        ("always_add_missing_headers", &["no", "yes"]),
        ("undisclosed_recipients_header", &["", "To: undisclosed-recipients:;"]),
        ("header_address_token_limit", &["10240", "10240", "12"]),
        ("enable_original_recipient", &["yes", "no"]),
        ("header_from_format", &["standard", "obsolete"]),
        ("recipient_delimiter", &["", "+"]),
    ]
    .into_iter()
    .map(|(name, values)| (name.to_owned(), (*dice.one_of(values)).to_owned()))
    .collect()
}

/// One header field, folded here and there.
fn field(dice: &mut Dice, wide: bool, end: &str) -> Vec<u8> {
    let mut text = format!("{}:", dice.one_of(NAMES)).into_bytes();
    let separators = [", ", ",", " ", ";", ", ,", ",\t"];
    for number in 0..=dice.below(4) {
        let separator = if number == 0 { " " } else { dice.one_of(&separators) };
        text.extend_from_slice(separator.as_bytes());
        if dice.percent(15) {
            text.extend_from_slice(end.as_bytes());
            text.extend_from_slice(dice.one_of(&[" ", "\t", "  "]).as_bytes());
        }
        let mut member = Generator::new(dice, wide).path();
        if dice.percent(10) {
            let at = member.iter().position(|byte| *byte == b' ').unwrap_or(0);
            member.splice(at..at, [end.as_bytes(), b" "].concat());
        }
        text.extend(member);
    }
    text.extend_from_slice(end.as_bytes());
    text
}

fn content(dice: &mut Dice, wide: bool, end: &str) -> Vec<u8> {
    let mut text =
        format!("Message-Id: <x@y.test>{end}Date: Thu, 1 Jan 2026 00:00:00 +0000{end}").into_bytes();
    for _ in 0..=dice.below(6) {
        text.extend(field(dice, wide, end));
    }
    text.extend_from_slice([end, "body", end].concat().as_bytes());
    text
}

/// The records that are about addresses, and the content without the trace header.
fn queued(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut trace = false;
    for (kind, data) in records(bytes) {
        let data = String::from_utf8_lossy(data);
        if kind == b'N' {
            trace = data.starts_with("Received:") || trace && data.starts_with(['\t', ' ']);
        }
        // What cleanup adds has the time in it.
        let added = ["Resent-Message-Id:", "Resent-Date:"].iter().any(|name| data.starts_with(name));
        let attribute = ["dsn", "notify", "encoding", "trace"].iter().any(|name| data.starts_with(name));
        let shown = match kind {
            b'S' | b'R' | b'O' | b'F' | b'L' | b'd' => true,
            b'N' => !trace && !added,
            b'A' => attribute,
            _ => false,
        };
        if shown {
            let _ = write!(text, "\n    {}<{data}>", char::from(kind));
        }
    }
    text
}

/// The one file in the queue, which is gone then.
fn the_file(instance: &Instance) -> String {
    let file = instance.wait_for("the message in the queue", || {
        instance.queue("incoming").into_iter().find(conformance::QueueFile::is_complete)
    });
    let text = queued(&file.bytes());
    fs::remove_file(&file.path).expect("nobody else takes it");
    text
}

fn warnings(instance: &Instance, program: &str) -> String {
    let lines = instance.log_of(program);
    let lines = lines
        .iter()
        .filter(|line| (line.contains("warning") || line.contains("error")) && !is_of_the_instance(line));
    lines.map(|line| line.split_once(": ").map_or("", |(_, text)| text)).collect::<Vec<_>>().join("\n    ")
}

/// Runs `send` with the same messages on both sides, and compares what comes of them.
fn compare(count: u64, end: &str, mut send: impl FnMut(&Instance, &[u8], &mut Dice) -> String) {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_MESSAGES", count));
    println!("seed {seed}, {count} messages");
    let mut dice = Dice::new(seed);
    let (mut done, mut different) = (0, Vec::new());
    while done < count {
        let parameters = parameters(&mut dice);
        let [ours, theirs] =
            [Suite::under_test(), Suite::Postfix].map(|suite| plan(suite, &parameters).start());
        let before = different.len();
        for _ in 0..MESSAGES.min(count - done) {
            let wide = dice.percent(30);
            let content = content(&mut dice, wide, end);
            let [ours, theirs] = [&ours, &theirs].map(|side| send(side, &content, &mut dice.clone()));
            dice.below(2);
            if ours != theirs {
                let shown = String::from_utf8_lossy(&content);
                different.push(format!("{shown}\n  under test: {ours}\n  Postfix:    {theirs}\n"));
            }
            done += 1;
        }
        let [ours, theirs] = [&ours, &theirs].map(|side| warnings(side, "cleanup"));
        if ours != theirs {
            different.push(format!("log\n  under test: {ours}\n  Postfix:    {theirs}\n"));
        }
        if different.len() > before {
            different.insert(before, format!("with {parameters:?}:\n"));
        }
    }
    let shown = different.iter().take(SHOWN).map(String::as_str).collect::<String>();
    assert!(different.is_empty(), "seed {seed}: {} differences\n{shown}", different.len());
}

#[test]
fn headers_by_smtp() {
    compare(400, "\r\n", |instance, content, _| {
        let mut client = Client::connect(instance.smtp_port());
        for command in ["EHLO c.test", "MAIL FROM:<u@sub.relay.test>", "RCPT TO:<u@sub.relay.test>"] {
            client.command(command);
        }
        let reply = client.command("DATA");
        if reply.code != 354 {
            return reply.text();
        }
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                client.send(b".");
            }
            client.send(line);
        }
        let reply = client.command(".");
        if reply.code == 250 { the_file(instance) } else { reply.text() }
    });
}

/// A `>` that nothing opens, behind a comma: the header is made anew, though none of its addresses changes.
#[test]
fn a_bracket_that_nothing_opens() {
    let instance = plan(Suite::under_test(), &[]).start();
    for (written, queued) in [
        ("x@b.test,>,y@b.test", "x@b.test,>, y@b.test"),
        ("x@b.test,(c) >,y@b.test", "x@b.test, (c)>, y@b.test"),
        ("<x@b.test>,,> <y@b.test>", "<x@b.test>, ,> <y@b.test>"),
        ("x@b.test >,y@b.test", "x@b.test >,y@b.test"),
        ("x@b.test,>>,y@b.test", "x@b.test,>>,y@b.test"),
        (">,y@b.test", ">,y@b.test"),
    ] {
        let mut client = Client::connect(instance.smtp_port());
        let content = format!("Cc: {written}\r\n\r\nbody");
        assert_eq!(client.send_message("a@b.test", &["u@local.test"], &content).code, 250);
        let file = the_file(&instance);
        assert!(file.contains(&format!("N<Cc: {queued}>\n")), "{written}: {file}");
    }
}
