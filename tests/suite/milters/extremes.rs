//! Milters that do too much.

use conformance::{Client, MilterPlay, MilterScript, Plan, ScriptedMilter, Suite};

/// Headers that are added by number behind the last one, or by a name that there is none of: none may be looked for among
/// all that are there.
#[test]
fn many_headers_that_are_not_there() {
    let count = if Suite::under_test().is_ours("cleanup") { 100_000 } else { 2_000 };
    let add = |number: u32| match number % 3 {
        0 => MilterPlay::numbered(b'i', u32::MAX, &["X-Last", &number.to_string()]),
        1 => MilterPlay::numbered(b'm', 1, &[&format!("X-{number}"), "new"]),
        _ => MilterPlay::numbered(b'm', number, &["X-Last", &number.to_string()]),
    };
    let milter = ScriptedMilter::start(MilterScript::default().edits((1..=count).map(add).collect()));
    let mut plan = Plan::new("milters-appends");
    plan.set("smtpd_milters", &milter.endpoint());
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    let reply = client.send_message("alice@example.com", &["bob@example.com"], "Subject: x\r\n\r\nbody");
    assert_eq!(reply.code, 250, "{reply:?}");
    let files = instance.queue("incoming");
    let text = files[0].content();
    let added = text.lines().filter(|line| line.starts_with("X-"));
    let expected = (1..=count).map(|number| match number % 3 {
        1 => format!("X-{number}: new"),
        _ => format!("X-Last: {number}"),
    });
    assert!(added.eq(expected), "{}", text.get(..2000).unwrap_or(&text));
}

/// A header that is changed so many times leads from each change to the next; none may be walked again for each change.
/// Postfix walks them, so it gets fewer.
#[test]
fn many_changes_of_one_header() {
    let count = if Suite::under_test().is_ours("cleanup") { 100_000 } else { 2_000 };
    let changes = (1..=count).map(|number| MilterPlay::numbered(b'm', 1, &["X-A", &number.to_string()]));
    let milter = ScriptedMilter::start(MilterScript::default().edits(changes.collect()));
    let mut plan = Plan::new("milters-changes");
    plan.set("smtpd_milters", &milter.endpoint());
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    let content = "Subject: x\r\nX-A: first\r\nX-B: behind\r\n\r\nbody";
    let reply = client.send_message("alice@example.com", &["bob@example.com"], content);
    assert_eq!(reply.code, 250, "{reply:?}");
    let files = instance.queue("incoming");
    let text = files[0].content();
    let changed: Vec<&str> = text.lines().filter(|line| line.starts_with("X-")).collect();
    assert_eq!(changed, [format!("X-A: {count}").as_str(), "X-B: behind"]);
}
