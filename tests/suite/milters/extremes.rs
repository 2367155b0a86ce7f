//! Milters that do too much.

use conformance::{Client, MilterPlay, MilterScript, Plan, ScriptedMilter, Suite};

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
