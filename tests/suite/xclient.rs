//! XCLIENT: the client replaced for everything, by those who may.

use conformance::Plan;

use crate::dialogue::{EHLO, connect, content, talk};

const GREETING: &str = "220 mx.example.com ESMTP Postfix";

#[test]
fn the_new_client_is_the_one_that_counts() {
    let instance = Plan::new("xclient").set("smtpd_authorized_xclient_hosts", "127.0.0.1").start();
    let mut client = connect(&instance);
    let reply = client.command(EHLO);
    assert!(
        reply
            .lines
            .iter()
            .any(|line| line == "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT")
    );
    talk(
        &mut client,
        &[
            ("XCLIENT NAME=spike.example ADDR=192.0.2.1 PORT=99 HELO=sp+20ike PROTO=esmtp", GREETING),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<x@else.example>", "454 4.7.1 <x@else.example>: Relay access denied"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("DATA", "354 End data with <CR><LF>.<CR><LF>"),
        ],
    );
    content(&mut client, b"\r\nhello\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    talk(
        &mut client,
        &[("XCLIENT NAME=x", "550 5.7.0 Error: insufficient authorization"), ("QUIT", "221 2.0.0 Bye")],
    );
    instance.wait_for_log("NOQUEUE: reject: RCPT from spike.example[192.0.2.1]: 454 4.7.1 <x@else.example>: Relay access denied; from=<alice@example.net> to=<x@else.example> proto=ESMTP helo=<sp?ike>");
    instance.wait_for_log(": client=spike.example[192.0.2.1]");
    instance.wait_for_log("disconnect from spike.example[192.0.2.1] ehlo=1 xclient=0/2 mail=1 rcpt=1/2 data=1 quit=1 commands=5/8");
    let content = instance.queue("incoming")[0].content();
    assert!(content.starts_with(
        "Received: from sp?ike (spike.example [192.0.2.1])\n\tby mx.example.com (Postfix) with ESMTP id "
    ));
}

#[test]
fn syntax() {
    let instance = Plan::new("xclient-syntax").set("smtpd_authorized_xclient_hosts", "127.0.0.1").start();
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            ("XCLIENT", "501 5.5.4 Syntax: XCLIENT attribute=value..."),
            ("XCLIENT NAME", "501 5.5.4 Error: attribute=value expected"),
            ("XCLIENT NAME=", "501 5.5.4 Error: attribute=value expected"),
            ("XCLIENT Foo=x", "501 5.5.4 Bad XCLIENT attribute name: Foo"),
            ("XCLIENT name=-x", "501 5.5.4 Bad NAME syntax: -x"),
            ("XCLIENT ADDR=1.2.3", "501 5.5.4 Bad ADDR syntax: 1.2.3"),
            ("XCLIENT PORT=123456", "501 5.5.4 Bad PORT syntax: 123456"),
            ("XCLIENT PROTO=foo", "501 5.5.4 Bad PROTO syntax: foo"),
            (&format!("XCLIENT HELO={}", "x".repeat(256)), "501 5.5.4 Error: attribute value too long"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("XCLIENT NAME=x.example", "503 5.5.1 Error: MAIL transaction in progress"),
            ("RSET", "250 2.0.0 Ok"),
            ("XCLIENT NAME=[TEMPUNAVAIL] REVERSE_NAME=[UNAVAILABLE]", GREETING),
        ],
    );
}

#[test]
fn name_states() {
    let instance = Plan::new("xclient-names")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set("unknown_client_reject_code", "550")
        .set("smtpd_client_restrictions", "reject_unknown_client_hostname")
        .start();
    let mut client = connect(&instance);
    for (name, reply) in [
        ("[UNAVAILABLE]", "550 5.7.25 Client host rejected: cannot find your hostname, [127.0.0.1]"),
        ("[TEMPUNAVAIL]", "450 4.7.25 Client host rejected: cannot find your hostname, [127.0.0.1]"),
        ("host.example", "250 2.1.5 Ok"),
    ] {
        talk(
            &mut client,
            &[
                (&format!("XCLIENT NAME={name} ADDR=127.0.0.1"), GREETING),
                ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
                ("RCPT TO:<bob@example.com>", reply),
                ("RSET", "250 2.0.0 Ok"),
            ],
        );
    }
}

#[test]
fn input_behind_xclient_is_early() {
    let instance = Plan::new("xclient-early").set("smtpd_authorized_xclient_hosts", "127.0.0.1").start();
    let mut client = connect(&instance);
    client.command(EHLO);
    client.send(b"XCLIENT NAME=a.example\r\nEHLO x\r\n");
    assert_eq!(client.read_reply().text(), GREETING);
    instance
        .wait_for_log("improper command pipelining after XCLIENT from a.example[127.0.0.1]: EHLO x\\r\\n");
}
