//! Errors, junk, recipients, rates, time.

use std::time::{Duration, Instant};

use conformance::{Client, Plan, Service, free_port};

use crate::dialogue::{connect, content, greeted, talk, with_recipient};

#[test]
fn too_many_errors() {
    let instance =
        Plan::new("errors").set("smtpd_hard_error_limit", "3").set("smtpd_error_sleep_time", "0").start();
    let mut client = connect(&instance);
    let unknown = "500 5.5.2 Error: command not recognized";
    talk(&mut client, &[("FOO", unknown), ("FOO", unknown), ("FOO", unknown)]);
    // The farewell comes unasked.
    assert_eq!(client.read_reply().text(), "421 4.7.0 mx.example.com Error: too many errors");
    assert!(!client.is_open());
    instance.wait_for_log("too many errors after UNKNOWN from localhost[127.0.0.1]");
    instance.wait_for_log("disconnect from localhost[127.0.0.1] unknown=0/3 commands=0/3");
}

#[test]
fn a_message_makes_up_for_errors() {
    let instance =
        Plan::new("forgiven").set("smtpd_hard_error_limit", "3").set("smtpd_error_sleep_time", "0").start();
    let mut client = with_recipient(&instance);
    talk(&mut client, &[("FOO", "500"), ("FOO", "500"), ("DATA", "354")]);
    content(&mut client, b"\r\nbody\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    talk(&mut client, &[("FOO", "500"), ("FOO", "500"), ("NOOP", "250 2.0.0 Ok")]);
}

#[test]
fn junk_commands_become_errors() {
    let instance = Plan::new("junk")
        .set("smtpd_junk_command_limit", "2")
        .set("smtpd_hard_error_limit", "2")
        .set("smtpd_error_sleep_time", "0")
        .start();
    let mut client = connect(&instance);
    // The first error is that of number limit + 2.
    for _ in 0..5 {
        talk(&mut client, &[("NOOP", "250 2.0.0 Ok")]);
    }
    assert_eq!(client.read_reply().code, 421);
}

#[test]
fn errors_are_answered_slowly() {
    let instance =
        Plan::new("tarpit").set("smtpd_soft_error_limit", "1").set("smtpd_error_sleep_time", "1s").start();
    let mut client = connect(&instance);
    talk(&mut client, &[("FOO", "500")]);
    let before = Instant::now();
    talk(&mut client, &[("NOOP", "250 2.0.0 Ok")]);
    assert!(before.elapsed() >= Duration::from_millis(900));
}

#[test]
fn too_many_recipients() {
    let instance = Plan::new("recipients")
        .set("smtpd_recipient_limit", "2")
        .set("smtpd_recipient_overshoot_limit", "1")
        .set("smtpd_hard_error_limit", "2")
        .set("smtpd_error_sleep_time", "0")
        .start();
    let mut client = greeted(&instance);
    let rcpt = "RCPT TO:<bob@example.com>";
    let too_many = "452 4.5.3 Error: too many recipients";
    talk(
        &mut client,
        &[
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            (rcpt, "250 2.1.5 Ok"),
            (rcpt, "250 2.1.5 Ok"),
            (rcpt, too_many),
            ("RCPT TO:<x@else.example>", too_many),
            (rcpt, too_many),
        ],
    );
    assert_eq!(client.read_reply().code, 421, "only the first is no error");
}

#[test]
fn connections_of_one_client() {
    let mut plan = Plan::new("connections");
    plan.set("smtpd_client_connection_count_limit", "2").set("smtpd_client_event_limit_exceptions", "");
    let instance = plan.start();
    let held: Vec<Client> = (0..2).map(|_| connect(&instance)).collect();
    let third = connect(&instance);
    assert_eq!(
        third.greeting().text(),
        "421 4.7.0 mx.example.com Error: too many connections from 127.0.0.1"
    );
    instance.wait_for_log(&format!(
        "warning: Connection concurrency limit exceeded: 3 from localhost[127.0.0.1] for service 127.0.0.1:{}",
        instance.smtp_port()
    ));
    drop(held);
}

#[test]
fn rates_of_one_client() {
    let instance = Plan::new("rates")
        .set("smtpd_client_event_limit_exceptions", "")
        .set("smtpd_client_message_rate_limit", "1")
        .set("smtpd_client_recipient_rate_limit", "2")
        .set("smtpd_client_auth_rate_limit", "1")
        .start();
    talk(
        &mut greeted(&instance),
        &[
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("VRFY bob", "252 2.0.0 bob"),
            ("RCPT TO:<bob@example.com>", "450 4.7.1 Error: too many recipients from 127.0.0.1"),
            ("RSET", "250 2.0.0 Ok"),
            ("MAIL FROM:<alice@example.net>", "450 4.7.1 Error: too much mail from 127.0.0.1"),
            ("AUTH PLAIN", "503 5.5.1 Error: authentication not enabled"),
            ("AUTH PLAIN", "450 4.7.1 Error: too many AUTH commands from 127.0.0.1"),
        ],
    );
    instance.wait_for_log("warning: Recipient address rate limit exceeded: 3 from localhost[127.0.0.1]");
    instance
        .wait_for_log("warning: Message delivery request rate limit exceeded: 2 from localhost[127.0.0.1]");
    instance.wait_for_log("warning: AUTH command rate limit exceeded: 2 from localhost[127.0.0.1]");
}

#[test]
fn silence() {
    let instance = Plan::new("timeout").set("smtpd_timeout", "1s").start();
    let mut client = greeted(&instance);
    assert_eq!(client.read_reply().text(), "421 4.4.2 mx.example.com Error: timeout exceeded");
    assert!(!client.is_open());
    instance.wait_for_log("timeout after EHLO from localhost[127.0.0.1]");
}

#[test]
fn dripping() {
    let instance =
        Plan::new("deadline").set("smtpd_timeout", "2s").set("smtpd_per_request_deadline", "yes").start();
    let mut client = greeted(&instance);
    let before = Instant::now();
    while before.elapsed() < Duration::from_secs(10) && client.is_silent_for(Duration::from_millis(300)) {
        client.send(b"x");
    }
    assert_eq!(client.read_reply().text(), "421 4.4.2 mx.example.com Error: timeout exceeded");
}

#[test]
fn full_queue() {
    let instance = Plan::new("full").set("queue_minfree", "9000000000000000").start();
    talk(
        &mut greeted(&instance),
        &[("MAIL FROM:<alice@example.net>", "452 4.3.1 Insufficient system storage")],
    );
    instance.wait_for_log("warning: not enough free space in mail queue: ");
}

/// `parent_domain_matches_subdomains` knows this list or not: a client that is exempt may send more than one message.
#[test]
fn exceptions_by_name() {
    let mut plan = Plan::new("limits-names");
    plan.set("smtpd_client_message_rate_limit", "1").set("smtpd_authorized_xclient_hosts", "127.0.0.1");
    let name = "smtpd_client_event_limit_exceptions";
    let cases = [
        ("client.test", "", false),
        ("client.test", name, true),
        (".client.test", "", true),
        (".client.test", name, false),
    ];
    let ports = cases.map(|(list, parents, _)| {
        let port = free_port();
        plan.service(
            Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"))
                .option(name, list)
                .option("parent_domain_matches_subdomains", parents),
        );
        port
    });
    let instance = plan.start();
    for ((list, parents, exempt), port) in cases.into_iter().zip(ports) {
        let mut client = Client::connect(port);
        assert_eq!(client.command("XCLIENT NAME=x.client.test ADDR=192.0.2.9").code, 220);
        assert_eq!(client.command("MAIL FROM:<a@example.net>").code, 250);
        client.command("RSET");
        let code = client.command("MAIL FROM:<a@example.net>").code;
        assert_eq!(code, if exempt { 250 } else { 450 }, "{list:?}, {parents:?}");
    }
    instance.stop();
}
