//! XCLIENT: the client replaced for everything, by those who may.

use conformance::{Plan, Service, free_port};

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

#[test]
fn a_name_counts_in_lists_when_there_is_no_address() {
    let instance = Plan::new("xclient-no-address")
        .set("smtpd_authorized_xclient_hosts", "static:all")
        .set("smtpd_authorized_verp_clients", "client.example, 192.0.2.1/24, unknown")
        .start();
    for (client, announced) in [
        ("NAME=client.example ADDR=[UNAVAILABLE]", true),
        ("NAME=Client.Example ADDR=[UNAVAILABLE]", true),
        ("NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]", true),
        // The word that stands in the address's place is no key.
        ("NAME=other.example ADDR=[UNAVAILABLE]", false),
    ] {
        let mut client_of_it = connect(&instance);
        talk(&mut client_of_it, &[(&format!("XCLIENT {client}"), GREETING)]);
        assert_eq!(client_of_it.command(EHLO).announces("XVERP"), announced, "{client}");
    }
}

#[test]
fn what_a_refused_command_told_shows_in_the_log_with_the_next_name() {
    let instance = Plan::new("xclient-refused")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1, 8.0.0.1")
        .set("smtpd_recipient_restrictions", "reject")
        .start();
    let mut client = connect(&instance);
    let refused = "554 5.7.1 <x@example.com>: Recipient address rejected: Access denied";
    let rejected = |number: u32| format!("<{number}@example.com>: Recipient address rejected");
    let mut recipient = |number: u32| {
        let text = refused.replace("x@", &format!("{number}@"));
        talk(
            &mut client,
            &[
                ("MAIL FROM:<a@example.net>", "250 2.1.0 Ok"),
                (&format!("RCPT TO:<{number}@example.com>"), &text),
                ("RSET", "250 2.0.0 Ok"),
            ],
        );
        client.command(match number {
            1 => "XCLIENT NAME=a.example ADDR=127.0.0.1 FOO=x",
            2 => "XCLIENT HELO=x",
            3 => "XCLIENT PORT=7",
            _ => "XCLIENT ADDR=010.0.0.1",
        })
    };
    assert_eq!(recipient(1).text(), "501 5.5.4 Bad XCLIENT attribute name: FOO");
    assert_eq!(recipient(2).text(), GREETING);
    assert_eq!(recipient(3).text(), GREETING);
    assert_eq!(recipient(4).text(), GREETING);
    recipient(5);
    for (number, from) in [
        (1, "localhost[127.0.0.1]"),
        (2, "localhost[127.0.0.1]"),
        (3, "localhost[127.0.0.1]"),
        (4, "a.example[127.0.0.1]"),
        // Octets that begin with a zero are octal numbers.
        (5, "a.example[8.0.0.1]"),
    ] {
        instance.wait_for_log(&format!("reject: RCPT from {from}: 554 5.7.1 {}", rejected(number)));
    }
    talk(
        &mut connect(&instance),
        &[
            ("XCLIENT ADDR=08.0.0.1", "501 5.5.4 Bad ADDR syntax: 08.0.0.1"),
            ("XCLIENT ADDR=1.1.1.099", "501 5.5.4 Bad ADDR syntax: 1.1.1.099"),
            ("XCLIENT ADDR=1.1.1.00", GREETING),
        ],
    );
}

/// In a list of hosts.
#[test]
fn a_mistake_in_a_network_matters_to_clients_of_its_family() {
    const FAILURE: &str = "451 4.3.0 <x@else.example>: Temporary lookup failure";
    const NO: &str = "454 4.7.1 <x@else.example>: Relay access denied";
    let mut plan = Plan::new("xclient-networks");
    plan.set("smtpd_authorized_xclient_hosts", "static:all")
        .set("inet_protocols", "all")
        .set("smtpd_client_event_limit_exceptions", "127.0.0.1")
        .set("smtpd_relay_restrictions", "permit_mynetworks, defer_unauth_destination")
        .set("local_header_rewrite_clients", "");
    let cases = [
        ("192.0.2.1/24", FAILURE, NO),
        ("[192.0.2.0/24", FAILURE, NO),
        ("192.0.2/24", FAILURE, NO),
        ("[192.0.2.0/24]a", FAILURE, NO),
        ("[192.0.2.0]/33", FAILURE, NO),
        ("[192.0.2.7", NO, NO),
        ("[192.0.2]", NO, NO),
        ("[abc]", NO, NO),
        ("[2001:db8::7/32]", NO, FAILURE),
        ("[2001:db8::/32", NO, FAILURE),
        ("[2001:db8]", NO, FAILURE),
        ("[2001:db8::7]a", NO, FAILURE),
        ("[2001:db8::7]", NO, "250 2.1.5 Ok"),
        ("[192.0.2.7]", "250 2.1.5 Ok", NO),
    ];
    let ports: Vec<u16> = cases.iter().map(|_| free_port()).collect();
    for ((pattern, ..), port) in cases.iter().zip(&ports) {
        let service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
        plan.service(service.option("mynetworks", pattern));
    }
    let _instance = plan.start();
    for ((pattern, four, six), port) in cases.iter().zip(&ports) {
        for (address, reply) in [("192.0.2.7", four), ("IPv6:2001:db8::7", six)] {
            let mut client = conformance::Client::connect(*port);
            client.command(&format!("XCLIENT ADDR={address} NAME=a.example"));
            client.command("MAIL FROM:<a@example.net>");
            assert_eq!(client.command("RCPT TO:<x@else.example>").text(), **reply, "{pattern} {address}");
        }
    }
}
