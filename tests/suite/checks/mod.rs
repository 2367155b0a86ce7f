//! Header and body checks: every action at every place of a message, on Postfix and on the suite under test: the same
//! answer, the same queue file record for record, and the same lines in the log, those without a queue ID included.
//!
//! `POSTERN_SHOW=1` prints what Postfix does; `random` compares random tables and messages.

mod actions;
mod conversion;
mod extremes;
mod random;
mod services;

use std::collections::HashMap;
use std::fmt::Write as _;

use conformance::{Instance, Plan, Suite, require};
use nix::unistd::Uid;

use crate::cleanup::{FLAGS, Outcome, masked, record, records, submit, unescape};

/// Differences that a failure shows.
const SHOWN: usize = 30;

/// A message and what it is about.
struct Case {
    name: String,
    flags: u32,
    stream: Vec<u8>,
}

/// A message from smtpd, with these lines of content below `Received:`. A line that ends with `\` goes on in the next
/// record.
fn message(content: &str) -> Vec<u8> {
    let envelope = "T 1795327907 5\nA log_message_origin=mail.example.net[192.0.2.1]\nA log_protocol_name=ESMTP\n\
                    A log_helo_name=mail.example.net\nA rewrite_context=local\nS alice@example.net\nR bob@example.org\n";
    let mut stream = records(envelope);
    stream.extend(record(b'M', b""));
    stream.extend(record(b'N', b"Received: by x; now"));
    for line in content.split('\n') {
        match line.strip_suffix("\\+") {
            Some(part) => stream.extend(record(b'L', &unescape(part))),
            None => stream.extend(record(b'N', &unescape(line))),
        }
    }
    stream.extend(records("X\nE"));
    stream
}

fn case(name: impl Into<String>, content: &str) -> Case {
    Case { name: name.into(), flags: FLAGS, stream: message(content) }
}

/// A table of these rules as it stands in main.cf.
fn rules(kind: &str, rules: &[(String, String)]) -> String {
    let mut text = format!("{kind}:{{");
    for (pattern, action) in rules {
        let _ = write!(text, "{{/{pattern}/ {action}}} ");
    }
    text.push('}');
    text.replace('$', "$$")
}

/// What became of a case, with the log lines from its first one to the next case's.
#[derive(Debug, PartialEq, Eq)]
struct Result {
    outcome: Outcome,
    lines: Vec<String>,
}

/// What cleanup says of the machine, or at the start of a process, and not of a message.
fn is_of_the_process(line: &str) -> bool {
    line.contains("unable to look up public/qmgr")
        || line.starts_with("error: ")
        || line.ends_with("no replacement text: using empty string")
        || line.contains("etc/main.cf, line ")
        // Since 3.10.
        || line.ends_with(": removed (canceled)")
        || line.ends_with(": removed (discarded)")
}

/// Hands the cases to one instance.
fn results(instance: &Instance, cases: &[Case]) -> Vec<Result> {
    let mut ids = HashMap::new();
    let mut results = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let (id, mut outcome) = submit(instance, case.flags, &case.stream);
        // Since 3.10.
        outcome.records.retain(|line| !line.contains("named_attribute: message_id="));
        ids.insert(id, number);
        results.push(Result { outcome, lines: Vec::new() });
    }
    let (last, _) = submit(instance, 0, &message("Message-Id: <the-last-one@example.net>\n\n"));
    ids.insert(last, cases.len());
    // The log's service writes behind the programs that log.
    instance.wait_for_log("message-id=<the-last-one@example.net>");
    let mut current = 0;
    for line in instance.log_of("cleanup") {
        if is_of_the_process(&line) {
            continue;
        }
        let id = line.split([':', ' ']).find(|word| ids.contains_key(*word));
        if let Some(id) = id {
            current = ids[id];
        }
        // The last message is nobody's.
        if let Some(result) = results.get_mut(current) {
            result.lines.push(masked(&line, id.unwrap_or("no queue ID")));
        }
    }
    results
}

/// Compares all cases on both; fails with every difference.
fn compare(configure: impl Fn(&mut Plan), cases: &[Case]) {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let different = differences(configure, cases);
    let shown = different.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(different.is_empty(), "{} of {} differ\n{shown}", different.len(), cases.len());
}

/// What is not the same on the suite under test and Postfix.
fn differences(configure: impl Fn(&mut Plan), cases: &[Case]) -> Vec<String> {
    let run = |suite: Suite| {
        let mut plan = Plan::for_suite("checks", suite);
        configure(&mut plan);
        results(&plan.start(), cases)
    };
    let theirs = run(Suite::Postfix);
    if std::env::var_os("POSTERN_SHOW").is_some() {
        for (case, result) in cases.iter().zip(&theirs) {
            let Result { outcome, lines } = result;
            let records = outcome.records.iter().skip_while(|line| !line.contains("message_content"));
            let records = records.filter(|line| !line.contains("pointer") && !line.contains("padding"));
            println!("== {}: {} {:?}", case.name, outcome.status, outcome.reason);
            lines.iter().for_each(|line| println!("   {line}"));
            records.for_each(|line| println!("      {line}"));
        }
    }
    let ours = run(Suite::under_test());
    let pairs = cases.iter().zip(ours.iter().zip(&theirs));
    let differ = pairs.filter(|(_, (ours, theirs))| ours != theirs);
    differ.map(|(case, (ours, theirs))| format!("{}\n{}", case.name, difference(ours, theirs))).collect()
}

/// The lines that only one of them has.
fn difference(ours: &Result, theirs: &Result) -> String {
    let lines = |result: &Result| {
        let Outcome { status, reason, records } = &result.outcome;
        let mut lines = vec![format!("status {status} {reason:?}")];
        lines.extend(result.lines.iter().cloned());
        // Where a record stands follows from those before it.
        lines.extend(records.iter().map(|line| {
            line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).to_owned()
        }));
        lines
    };
    let (ours, theirs) = (lines(ours), lines(theirs));
    let mut text = String::new();
    let same = |(left, right): &(&String, &String)| left == right;
    let start = ours.iter().zip(&theirs).take_while(same).count();
    let end = ours[start..].iter().rev().zip(theirs[start..].iter().rev()).take_while(same).count();
    let _ = writeln!(text, "    {} lines the same", start);
    for (whose, lines) in [("under test", &ours), ("Postfix   ", &theirs)] {
        for line in &lines[start..lines.len() - end] {
            let _ = writeln!(text, "    {whose}: {line}");
        }
    }
    text
}
