//! XFORWARD: the original client in log and queue file, and nowhere else.

use conformance::{Client, Instance, Plan};

use crate::dialogue::{connect, content, greeted, talk};

const FORWARD: &str = "XFORWARD NAME=spike.example ADDR=192.0.2.1 PORT=1234 PROTO=ESMTP HELO=spike+20x IDENT=ABC123 SOURCE=REMOTE";

fn instance(name: &str) -> Instance {
    Plan::new(name).set("smtpd_authorized_xforward_hosts", "127.0.0.1").start()
}

fn deliver(client: &mut Client) {
    talk(
        client,
        &[
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("DATA", "354 End data with <CR><LF>.<CR><LF>"),
        ],
    );
    content(client, b"\r\nhello\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
}

#[test]
fn log_and_queue_file_name_the_original_client() {
    let instance = instance("xforward");
    let mut client = greeted(&instance);
    talk(&mut client, &[(FORWARD, "250 2.0.0 Ok")]);
    deliver(&mut client);
    instance.wait_for_log(
        ": client=localhost[127.0.0.1], orig_queue_id=ABC123, orig_client=spike.example[192.0.2.1]",
    );
    let records = instance.queue("incoming")[0].records();
    for expected in [
        "named_attribute: log_ident=ABC123",
        "named_attribute: rewrite_context=remote",
        "named_attribute: log_client_name=spike.example",
        "named_attribute: log_client_address=192.0.2.1",
        "named_attribute: log_client_port=1234",
        "named_attribute: log_message_origin=spike.example[192.0.2.1]",
        "named_attribute: log_helo_name=spike?x",
        "named_attribute: log_protocol_name=ESMTP",
        "named_attribute: client_name=localhost",
        "named_attribute: client_address=127.0.0.1",
        "named_attribute: helo_name=client.example.net",
    ] {
        assert!(records.iter().any(|record| record == expected), "{expected:?} in {records:#?}");
    }
    // Each message needs its own.
    deliver(&mut client);
    let lines = instance.wait_for("a line of each", || {
        let lines = instance.log_of("smtpd").into_iter().filter(|line| line.contains("client="));
        Some(lines.collect::<Vec<_>>()).filter(|lines| lines.len() == 2)
    });
    assert!(lines[1].ends_with(": client=localhost[127.0.0.1]"), "{lines:?}");
}

#[test]
fn one_attribute_given_makes_the_others_unknown() {
    let instance = instance("xforward-unknown");
    let mut client = greeted(&instance);
    talk(&mut client, &[("XFORWARD HELO=x", "250 2.0.0 Ok")]);
    deliver(&mut client);
    instance.wait_for_log(": client=localhost[127.0.0.1], orig_client=unknown");
    talk(&mut client, &[("XFORWARD IDENT=Q1", "250 2.0.0 Ok")]);
    deliver(&mut client);
    instance.wait_for_log(": client=localhost[127.0.0.1], orig_queue_id=Q1");
}

#[test]
fn it_ends_with_the_transaction() {
    let instance = instance("xforward-reset");
    for ending in ["RSET", "HELO again", "EHLO again"] {
        let mut client = greeted(&instance);
        talk(&mut client, &[(FORWARD, "250 2.0.0 Ok"), (ending, "250")]);
        deliver(&mut client);
    }
    instance.wait_for("three messages", || (instance.queue("incoming").len() == 3).then_some(()));
    assert!(!instance.log_text().contains("orig_client"));
}

#[test]
fn strangers_may_not() {
    let instance = Plan::new("xforward-denied").start();
    let mut client = greeted(&instance);
    talk(
        &mut client,
        &[
            ("XFORWARD", "501 5.5.4 Syntax: XFORWARD attribute=value..."),
            (FORWARD, "550 5.7.0 Error: insufficient authorization"),
        ],
    );
    deliver(&mut client);
    instance.wait_for_log(": client=localhost[127.0.0.1]");
    assert!(!instance.log_text().contains("orig_client"));
}

#[test]
fn it_never_grants_access() {
    let instance = Plan::new("xforward-access")
        .set("smtpd_authorized_xforward_hosts", "127.0.0.1")
        .set("mynetworks", "192.0.2.0/24")
        .start();
    talk(
        &mut connect(&instance),
        &[
            (FORWARD, "250 2.0.0 Ok"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<x@else.example>", "454 4.7.1 <x@else.example>: Relay access denied"),
        ],
    );
}

#[test]
fn syntax() {
    let instance = instance("xforward-syntax");
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            ("XFORWARD NAME", "501 5.5.4 Error: attribute=value expected"),
            ("XFORWARD foo=x", "501 5.5.4 Bad XFORWARD attribute name: foo"),
            ("XFORWARD NAME=-x-", "501 5.5.4 Bad NAME syntax: -x-"),
            ("XFORWARD NAME=[TEMPUNAVAIL]", "501 5.5.4 Bad NAME syntax: [TEMPUNAVAIL]"),
            ("XFORWARD ADDR=2001:db8::1", "501 5.5.4 Bad ADDR syntax: 2001:db8::1"),
            ("XFORWARD SOURCE=foo", "501 5.5.4 Bad SOURCE syntax: foo"),
            ("XFORWARD name=a+2Eexample addr=192.0.2.9", "250 2.0.0 Ok"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("XFORWARD NAME=x.example", "503 5.5.1 Error: MAIL transaction in progress"),
        ],
    );
}

/// What a refused command told before its mistake is kept, and counts with what comes later.
#[test]
fn refused_commands() {
    let instance = instance("xforward-refused");
    let all = "XFORWARD NAME=a.example ADDR=192.0.2.1 PORT=25 PROTO=SMTP HELO=h IDENT=i";
    for (commands, expected) in [
        (
            vec![format!("{all} FOO=x"), "XFORWARD HELO=x".into()],
            "log_ident=i log_client_name=a.example log_client_address=192.0.2.1 log_client_port=25 \
             log_message_origin=unknown log_helo_name=x log_protocol_name=SMTP",
        ),
        (
            vec![format!("{all} FOO=x"), "XFORWARD PORT=99".into()],
            "log_ident=i log_client_name=a.example log_client_address=192.0.2.1 log_client_port=99 \
             log_message_origin=a.example[192.0.2.1] log_helo_name=h log_protocol_name=SMTP",
        ),
        (
            vec!["XFORWARD NAME=a.example".into(), "XFORWARD NAME=b.example FOO=x".into()],
            "log_client_name=b.example log_client_address=unknown log_client_port=unknown \
             log_message_origin=a.example log_protocol_name=unknown",
        ),
        (
            vec!["XFORWARD ADDR=192.0.2.1".into(), "XFORWARD ADDR=[UNAVAILABLE]".into()],
            "log_client_name=unknown log_client_address=192.0.2.1 log_client_port=unknown \
             log_message_origin=unknown log_protocol_name=unknown",
        ),
        (
            vec!["XFORWARD ADDR=010.0.0.1".into(), "XFORWARD ADDR=08.0.0.1".into()],
            "log_client_name=unknown log_client_address=8.0.0.1 log_client_port=unknown \
             log_message_origin=unknown[8.0.0.1] log_protocol_name=unknown",
        ),
        (
            vec!["XFORWARD SOURCE=REMOTE FOO=x".into(), "XFORWARD IDENT=i".into()],
            "log_ident=i rewrite_context=local log_protocol_name=ESMTP",
        ),
        (
            vec!["XFORWARD SOURCE=LOCAL".into(), "XFORWARD SOURCE=REMOTE FOO=x".into()],
            "rewrite_context=remote log_protocol_name=ESMTP",
        ),
    ] {
        let mut client = greeted(&instance);
        for command in &commands {
            client.command(command);
        }
        deliver(&mut client);
        let file = instance.wait_for("the message", || {
            instance.queue("incoming").into_iter().find(conformance::QueueFile::is_complete)
        });
        let records = file.records().join("\n");
        for attribute in expected.split(' ') {
            let there = records.lines().any(|line| line.ends_with(attribute));
            assert!(there, "{commands:?}: no {attribute} in\n{records}");
        }
        std::fs::remove_file(&file.path).expect("nobody else takes it");
    }
}
