//! Days before the tenth of a month, and commands that are too long.

use std::fs::{File, FileTimes};
use std::time::{Duration, UNIX_EPOCH};

use conformance::{Client, Instance, Plan, QueueFile, Suite, require};

use super::plans;

/// 2 November 2025, 05:33:09.
const SECOND: u64 = 1_762_061_589;

fn queued(instance: &Instance) -> QueueFile {
    instance.wait_for("the message in the queue", || {
        instance.queue("incoming").into_iter().find(QueueFile::is_complete)
    })
}

/// pickup's Received: line has the time of the file.
#[test]
fn days_are_padded_with_zero_from_3_9_on() {
    for (minor, plan) in plans("dates") {
        let instance = plan.prepare();
        let message = b"Subject: x\n\nx\n";
        let sent = instance.run_with_input("sendmail", &["-f", "a@example.net", "b@example.com"], message);
        assert_eq!(sent.status, Some(0), "{}", sent.err());
        let waiting = instance.queue("maildrop").into_iter().next().expect("it was posted");
        let path = instance.queue_directory().join("maildrop").join(&waiting.queue_id);
        let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(SECOND));
        File::open(path).and_then(|file| file.set_times(times)).expect("ours");
        assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
        let content = queued(&instance).content();
        let expected = if minor >= 9 { "Sun, 02 Nov 2025 " } else { "Sun,  2 Nov 2025 " };
        assert!(content.contains(&format!("; {expected}")), "3.{minor}: {content}");
        let file = if minor >= 10 { format!("maildrop/{} ", waiting.queue_id) } else { String::new() };
        instance.wait_for_log(&format!(": message {file}has been queued for "));
    }
}

/// 3.12 is known from its description only.
#[test]
fn a_command_that_is_too_long_is_refused_from_3_12_on() {
    require!(Suite::under_test().is_ours("smtpd"), "there is no 3.12 to compare with");
    let mut plan = Plan::new("long-command");
    let instance = plan.set("postern_postfix_version", "3.12").start();
    let mut client = Client::connect(instance.smtp_port());
    let long = |length: usize| format!("NOOP {}", "x".repeat(length));
    assert_eq!(client.command("EHLO client.example.net").code, 250);
    assert_eq!(client.command(&long(2042)).text(), "250 2.0.0 Ok");
    for length in [2043, 4000] {
        let reply = client.command(&long(length)).text();
        assert_eq!(reply, "500 5.5.2 mx.example.com Error: command too long", "{length}");
    }
    assert_eq!(client.command("QUIT").code, 221);
    instance.wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 noop=1 quit=1 commands=3");
    let mut client = Client::connect(instance.smtp_port());
    client.send(long(10_000).as_bytes());
    client.send(b"\r\n");
    let port = instance.smtp_port();
    instance.wait_for_log(&format!("warning: disabling input from 127.0.0.1:{port} socket"));
    instance.wait_for_log("NOQUEUE: lost connection after CONNECT from localhost[127.0.0.1]");
}
