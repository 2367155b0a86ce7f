//! A message that is sent again because its client was gone before it had our 250.

use conformance::{Client, ExampleFilter, Instance, Plan, Suite, free_port, require};

const WHY: &str = "Postfix takes such a message twice";
const MAIL: [&str; 2] = ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>"];
const TEXT: &str = "Subject: x\r\n\r\nText\r\n.\r\n";

fn ours() -> bool {
    Suite::under_test().is_ours("smtpd")
}

/// Sends a message and does not wait for the reply, or does.
fn send(port: u16, commands: &[&str], content: &str, reads: bool) -> String {
    let mut client = Client::connect(port);
    client.command("EHLO there");
    for command in commands {
        assert_eq!(client.command(command).code / 100, 2, "{command}");
    }
    if !content.starts_with("BDAT") {
        assert_eq!(client.command("DATA").code, 354);
    }
    client.send(content.as_bytes());
    if reads {
        let reply = client.read_reply();
        client.command("QUIT");
        return reply.text();
    }
    client.close_sending();
    // What comes now, a client that has gone does not see.
    client.read_to_end()
}

/// So many messages are in the queue, once cleanup has removed what was taken back.
fn expect_queued(instance: &Instance, count: usize, what: &str) {
    instance.wait_for(&format!("{count} in the queue: {what}"), || {
        (instance.queue("incoming").len() == count).then_some(())
    });
}

#[test]
fn the_second_time_it_gets_the_same_reply() {
    require!(ours(), WHY);
    let mut plan = Plan::new("duplicates");
    plan.set("smtpd_duplicate_time", "1h").set("smtpd_sessions_per_process", "1");
    let instance = plan.start();
    let port = instance.smtp_port();
    let other = |place: usize, command: &'static str| {
        let mut commands = MAIL;
        commands[place] = command;
        commands
    };
    let first = send(port, &MAIL, TEXT, false);
    assert!(first.starts_with("250 2.0.0 Ok: queued as "), "{first}");
    // One who read it has no need of another copy's id; one who did not gets it as often as need be.
    for reads in [true, false, true] {
        let again = send(port, &MAIL, TEXT, reads);
        assert!(
            first.trim_end().ends_with(again.trim().split(' ').next_back().expect("a word")),
            "{first} {again}"
        );
        assert!(again.starts_with("250 2.0.0 Ok: queued as "), "{again}");
    }
    expect_queued(&instance, 1, "one copy");
    let line = instance
        .wait_for_log("duplicate: END-OF-MESSAGE from localhost[127.0.0.1]: 250 2.0.0 Ok: queued as ");
    assert!(line.ends_with("; from=<a@example.com> to=<b@example.com> proto=ESMTP helo=<there>"), "{line}");
    for (number, (commands, content)) in [
        (&MAIL[..], "Subject: x\r\n\r\nText.\r\n.\r\n"),
        (&other(0, "MAIL FROM:<other@example.com>"), TEXT),
        (&other(1, "RCPT TO:<other@example.com>"), TEXT),
        (&[MAIL[0], MAIL[1], "RCPT TO:<c@example.com>"], TEXT),
        (&MAIL, "BDAT 20 LAST\r\nSubject: x\r\n\r\nText\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        send(port, commands, content, false);
        expect_queued(&instance, number + 2, &format!("{commands:?} {content}"));
        send(port, commands, content, true);
        expect_queued(&instance, number + 2, &format!("{commands:?} {content}"));
    }
    // Who has read the reply, and said so, sends another message.
    let commands = other(0, "MAIL FROM:<read@example.com>");
    for number in 0..2 {
        send(port, &commands, TEXT, true);
        expect_queued(&instance, number + 7, "another");
    }
}

#[test]
fn behind_a_filter_and_only_when_asked_for() {
    require!(ours(), WHY);
    for (time, copies) in [("1h", 1), ("0", 2)] {
        let mut plan = Plan::new("duplicates-filter");
        plan.set("smtpd_duplicate_time", time);
        let filter_port = free_port();
        let after = plan.proxied(filter_port);
        let instance = plan.start();
        let _filter = ExampleFilter::start(filter_port, after);
        let first = send(instance.smtp_port(), &MAIL, TEXT, false);
        let again = send(instance.smtp_port(), &MAIL, TEXT, true);
        assert!(first.starts_with("250 ") && again.starts_with("250 "), "{first} {again}");
        assert_eq!(first.trim_end() == again.trim_end(), copies == 1, "{first} {again}");
        expect_queued(&instance, copies, time);
    }
}
