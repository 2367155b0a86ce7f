//! The ESMTP dialogue in every state: commands, addresses, parameters, restrictions, log lines.

use conformance::{Client, Plan};

use crate::dialogue::{EHLO, connect, content, greeted, talk, with_recipient};

#[test]
fn greeting_and_ehlo() {
    let instance = Plan::new("greeting").start();
    let mut client = connect(&instance);
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Postfix");
    let reply = client.command(EHLO);
    assert_eq!(
        reply.lines,
        [
            "mx.example.com",
            "PIPELINING",
            "SIZE 10240000",
            "VRFY",
            "ETRN",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "DSN",
            "SMTPUTF8",
            "CHUNKING",
        ]
    );
    talk(&mut client, &[("HELO a b", "250 mx.example.com"), ("HELO", "501 Syntax: HELO hostname")]);
    talk(&mut client, &[("EHLO", "501 Syntax: EHLO hostname"), ("QUIT", "221 2.0.0 Bye")]);
    instance.wait_for_log("disconnect from localhost[127.0.0.1] helo=1/2 ehlo=1/2 quit=1 commands=3/5");
}

#[test]
fn commands_out_of_place() {
    let instance = Plan::new("states").start();
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            ("RCPT TO:<bob@example.com>", "503 5.5.1 Error: need MAIL command"),
            ("DATA", "503 5.5.1 Error: need RCPT command"),
            ("MAIL", "501 5.5.4 Syntax: MAIL FROM:<address>"),
            ("MAIL FROM :<a@b.test>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("MAIL FROM:<alice@example.net>", "503 5.5.1 Error: nested MAIL command"),
            ("DATA", "554 5.5.1 Error: no valid recipients"),
            ("RCPT", "501 5.5.4 Syntax: RCPT TO:<address>"),
            ("RCPT TO:<>", "501 5.1.3 Bad recipient address syntax"),
            ("ETRN example.com", "503 Error: MAIL transaction in progress"),
            ("RSET now", "501 5.5.4 Syntax: RSET"),
            ("RSET", "250 2.0.0 Ok"),
            ("NOOP", "250 2.0.0 Ok"),
            ("NOOP and more", "250 2.0.0 Ok"),
            ("STARTTLS", "502 5.5.1 Error: command not implemented"),
            ("STARTTLS now", "501 5.5.4 Syntax: STARTTLS"),
            ("AUTH PLAIN AGEAYg==", "503 5.5.1 Error: authentication not enabled"),
            ("EXPN list", "500 5.5.2 Error: command not recognized"),
            ("", "500 5.5.2 Error: bad syntax"),
        ],
    );
    talk(
        &mut connect(&instance),
        &[
            ("VRFY", "501 5.5.4 Syntax: VRFY address [SMTPUTF8]"),
            ("VRFY bob", "252 2.0.0 bob"),
            ("VRFY <bob@example.com>", "252 2.0.0 <bob@example.com>"),
            ("ETRN", "500 Syntax: ETRN domain"),
            ("ETRN -x-", "501 Error: invalid parameter syntax"),
            ("QUIT now", "221 2.0.0 Bye"),
            ("NOOP", ""),
        ],
    );
}

#[test]
fn other_protocols_are_shown_the_door() {
    let instance = Plan::new("foreign").start();
    for line in ["GET / HTTP/1.0", "Subject: hello", "connect x:1", "1abc"] {
        talk(
            &mut connect(&instance),
            &[(line, "221 2.7.0 Error: I can break rules, too. Goodbye."), ("NOOP", "")],
        );
        instance.wait_for_log(&format!("warning: non-SMTP command from localhost[127.0.0.1]: {line}"));
    }
}

#[test]
fn helo_names_are_made_harmless() {
    let instance = Plan::new("helo-name").start();
    let mut client = connect(&instance);
    assert_eq!(client.command("EHLO a<b>@(c)\"d").code, 250);
    talk(
        &mut client,
        &[("MAIL FROM:<alice@example.net> SIZE=99999999", "552 5.3.4 Message size exceeds fixed limit")],
    );
    instance.wait_for_log("reject: MAIL from localhost[127.0.0.1]: 552 5.3.4 Message size exceeds fixed limit; from=<alice@example.net> proto=ESMTP helo=<a?b???c??d>");
}

#[test]
fn the_size_of_a_refused_mail_is_remembered() {
    let instance = Plan::new("size").start();
    let too_big = "552 5.3.4 Message size exceeds fixed limit";
    talk(
        &mut greeted(&instance),
        &[
            ("MAIL FROM:<alice@example.net> SIZE=99999999", too_big),
            ("MAIL FROM:<alice@example.net>", too_big),
            ("MAIL FROM:<alice@example.net> SIZE=1", "250 2.1.0 Ok"),
        ],
    );
}

#[test]
fn addresses() {
    let instance = Plan::new("addresses").start();
    let accepted = [
        "bob@example.com",
        "\"bob\"@example.com",
        "<\"bo b\"@example.com>",
        "<bob (c) @example.com>",
        "<Foo <bob@example.com>>",
        "<@a.test:bob@example.com>",
        "<bob@[127.0.0.1]>",
        "<bob@example.com.>",
        "<.bob@example.com>",
        "<bob..x@example.com>",
        "<a@b@example.com>",
        "<bob>",
        "postmaster",
    ];
    let rejected = [
        "<a b@example.com>",
        "<a@b.test>foo",
        "<a@x>,<b@x>",
        "<bob@example.com",
        "<bob@127.0.0.1>",
        "<bob@[300.1.1.1]>",
        "<bob@>",
        "<bob@example..com>",
        "<bob@-bad-.test>",
    ];
    for path in accepted {
        talk(
            &mut greeted(&instance),
            &[
                ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
                (&format!("RCPT TO:{path}"), "250 2.1.5 Ok"),
            ],
        );
    }
    for path in rejected {
        talk(
            &mut greeted(&instance),
            &[
                (&format!("MAIL FROM:{path}"), "501 5.1.7 Bad sender address syntax"),
                ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
                (&format!("RCPT TO:{path}"), "501 5.1.3 Bad recipient address syntax"),
            ],
        );
    }
    instance.wait_for_log(
        "warning: Illegal address syntax from localhost[127.0.0.1] in RCPT command: <bob@-bad-.test>",
    );
    talk(&mut greeted(&instance), &[("MAIL FROM:<a@x> <b@x>", "555 5.5.4 Unsupported option: <b@x>")]);
}

#[test]
fn strict_addresses() {
    let instance = Plan::new("strict").set("strict_rfc821_envelopes", "yes").start();
    for (path, reply) in [
        ("alice@example.net", "501 5.1.7 Bad sender address syntax"),
        ("<Foo <alice@example.net>>", "501 5.1.7 Bad sender address syntax"),
        ("<@example.net>", "501 5.1.7 Bad sender address syntax"),
        ("<@a.test:alice@example.net>", "250 2.1.0 Ok"),
        ("<\"al ice\"@example.net>", "250 2.1.0 Ok"),
    ] {
        talk(&mut greeted(&instance), &[(&format!("MAIL FROM:{path}"), reply)]);
    }
}

#[test]
fn mail_parameters() {
    let instance = Plan::new("mail-parameters").start();
    for (option, reply) in [
        ("BODY=8BITMIME", "250 2.1.0 Ok"),
        ("body=7bit size=100 AUTH=<> SMTPUTF8 RET=FULL ENVID=a+20b", "250 2.1.0 Ok"),
        ("BODY=BINARYMIME", "555 5.5.4 Unsupported option: BODY=BINARYMIME"),
        ("SIZE=x", "501 5.5.4 Bad message size syntax"),
        ("SIZE=99999999999999999999", "552 5.3.4 Message size exceeds file system imposed limit"),
        ("AUTH=a AUTH=b", "503 5.5.4 Error: multiple AUTH= options"),
        ("XVERP", "555 5.5.4 Unsupported option: XVERP"),
        ("RET=x", "501 5.5.4 Bad RET parameter syntax"),
        ("ENVID=", "501 5.5.4 Bad ENVID parameter syntax"),
        ("ENVID=a ENVID=b", "501 5.5.4 Bad ENVID parameter syntax"),
        ("Foo=Bar", "555 5.5.4 Unsupported option: Foo=Bar"),
    ] {
        let mail = format!("MAIL FROM:<alice@example.net> {option}");
        talk(&mut greeted(&instance), &[(&mail, reply)]);
    }
}

#[test]
fn rcpt_parameters() {
    let instance = Plan::new("rcpt-parameters").start();
    for (option, reply) in [
        ("NOTIFY=NEVER", "250 2.1.5 Ok"),
        ("notify=success,delay ORCPT=rfc822;bob+40x", "250 2.1.5 Ok"),
        ("NOTIFY=NEVER,DELAY", "501 5.5.4 Error: Bad NOTIFY parameter syntax"),
        ("NOTIFY=now", "501 5.5.4 Error: Bad NOTIFY parameter syntax"),
        ("ORCPT=x", "501 5.5.4 Error: Bad ORCPT parameter syntax"),
        ("ORCPT=;x", "501 5.5.4 Error: Bad ORCPT parameter syntax"),
        ("SIZE=1", "555 5.5.4 Unsupported option: SIZE=1"),
    ] {
        let mut client = greeted(&instance);
        talk(
            &mut client,
            &[
                ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
                (&format!("RCPT TO:<bob@example.com> {option}"), reply),
            ],
        );
    }
}

#[test]
fn utf8_in_commands() {
    let instance = Plan::new("utf8").start();
    let mut client = greeted(&instance);
    client.send(b"NOOP \xff\r\n");
    assert_eq!(client.read_reply().text(), "500 5.5.2 Error: bad UTF-8 syntax");
    talk(
        &mut client,
        &[
            ("MAIL FROM:<\u{e9}@example.net>", "250 2.1.0 Ok"),
            ("RSET", "250 2.0.0 Ok"),
            ("MAIL FROM:<a@\u{e9}.example>", "501 5.1.7 Bad sender address syntax"),
            ("MAIL FROM:<a@\u{e9}.example> SMTPUTF8", "250 2.1.0 Ok"),
        ],
    );
}

#[test]
fn discarded_keywords() {
    let instance =
        Plan::new("discard").set("smtpd_discard_ehlo_keywords", "dsn, CHUNKING smtputf8 etrn").start();
    let mut client = connect(&instance);
    let reply = client.command(EHLO);
    for keyword in ["DSN", "CHUNKING", "SMTPUTF8", "ETRN"] {
        assert!(!reply.announces(keyword), "{keyword}");
    }
    talk(
        &mut client,
        &[
            ("MAIL FROM:<alice@example.net> RET=FULL", "501 5.7.1 DSN support is disabled"),
            ("MAIL FROM:<alice@example.net> SMTPUTF8", "555 5.5.4 Unsupported option: SMTPUTF8"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.com> NOTIFY=NEVER", "501 5.7.1 DSN support is disabled"),
            ("BDAT 3", "521 5.5.1 Error: command not implemented"),
            ("NOOP", ""),
        ],
    );
}

#[test]
fn helo_required() {
    let instance = Plan::new("helo-required").set("smtpd_helo_required", "yes").start();
    talk(
        &mut connect(&instance),
        &[
            ("MAIL FROM:<alice@example.net>", "503 5.5.1 Error: send HELO/EHLO first"),
            ("ETRN example.com", "503 Error: send HELO/EHLO first"),
            ("AUTH PLAIN", "503 5.5.1 Error: send HELO/EHLO first"),
            ("HELO client.example.net", "250 mx.example.com"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
        ],
    );
}

#[test]
fn soft_bounce() {
    let instance = Plan::new("soft-bounce")
        .set("soft_bounce", "yes")
        .set("smtpd_relay_restrictions", "reject_unauth_destination")
        .start();
    talk(
        &mut greeted(&instance),
        &[
            ("FOO", "400 4.5.2 Error: command not recognized"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<x@else.example>", "454 4.7.1 <x@else.example>: Relay access denied"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("BDAT x", "421 4.5.4 Syntax: BDAT count [LAST]"),
            ("NOOP", ""),
        ],
    );
}

#[test]
fn early_input() {
    let instance = Plan::new("pipelining").start();
    let mut client = connect(&instance);
    client.send(b"HELO x\r\nNOOP\r\nQUIT\r\n");
    assert_eq!(client.read_reply().code, 250);
    instance.wait_for_log(
        "improper command pipelining after HELO from localhost[127.0.0.1]: NOOP\\r\\nQUIT\\r\\n",
    );
    let mut client = greeted(&instance);
    client.send(b"MAIL FROM:<alice@example.net>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n");
    for code in [250, 250, 354] {
        assert_eq!(client.read_reply().code, code);
    }
    content(&mut client, b"\r\nhello\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    let proper = instance.log_text().matches("improper command pipelining").count();
    assert_eq!(proper, 1, "a group of commands is proper in ESMTP");
}

#[test]
fn early_input_forbidden() {
    let instance = Plan::new("pipelining-forbidden").set("smtpd_forbid_unauth_pipelining", "yes").start();
    let mut client = connect(&instance);
    client.send(b"EHLO x\r\nNOOP\r\n");
    assert_eq!(client.read_reply().text(), "554 5.5.0 Error: SMTP protocol synchronization");
    assert!(!client.is_open());
}

#[test]
fn relay_control() {
    let instance =
        Plan::new("relay").set("mynetworks", "192.0.2.0/24").set("relay_domains", "relay.example").start();
    let mut client = greeted(&instance);
    client.command("MAIL FROM:<alice@example.net>");
    for (path, permitted) in [
        ("<bob@example.com>", true),
        ("<bob@sub.relay.example>", true),
        ("<@x.example:bob@example.com>", true),
        ("<bob@[127.0.0.1]>", true),
        ("<bob@else.example>", false),
        ("<bob@[192.0.2.1]>", false),
        ("<a%b.c@example.com>", false),
        ("<b!bob>", false),
        ("<bob@sub.example.com>", false),
    ] {
        let address = path.trim_matches(['<', '>']);
        let denied = format!("454 4.7.1 <{address}>: Relay access denied");
        talk(&mut client, &[(&format!("RCPT TO:{path}"), if permitted { "250 2.1.5 Ok" } else { &denied })]);
    }
    talk(
        &mut client,
        &[
            ("RCPT TO:<\"a@b\"@relay.example>", "454 4.7.1 <a@b@relay.example>: Relay access denied"),
            ("VRFY bob@else.example", "454 4.7.1 <bob@else.example>: Relay access denied"),
        ],
    );
    instance.wait_for_log("reject: RCPT from localhost[127.0.0.1]: 454 4.7.1 <a@b@relay.example>: Relay access denied; from=<alice@example.net> to=<\"a@b\"@relay.example> proto=ESMTP helo=<client.example.net>");
}

#[test]
fn restrictions_are_delayed_or_not() {
    for (delay, at_connect, at_rcpt) in [
        (
            "yes",
            "220 mx.example.com ESMTP Postfix",
            "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied",
        ),
        (
            "no",
            "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied",
            "503 5.7.0 Error: access denied for localhost[127.0.0.1]",
        ),
    ] {
        let instance = Plan::new("delay")
            .set("smtpd_client_restrictions", "reject")
            .set("smtpd_delay_reject", delay)
            .start();
        let mut client = connect(&instance);
        assert_eq!(client.greeting().text(), at_connect);
        client.command(EHLO);
        client.command("MAIL FROM:<alice@example.net>");
        talk(&mut client, &[("RCPT TO:<bob@example.com>", at_rcpt), ("QUIT", "221 2.0.0 Bye")]);
    }
}

#[test]
fn verdicts_combine() {
    let rcpt = "RCPT TO:<bob@example.com>";
    for (restrictions, reply) in [
        ("warn_if_reject reject, permit", "250 2.1.5 Ok"),
        ("reject", "554 5.7.1 <bob@example.com>: Recipient address rejected: Access denied"),
        ("defer", "450 4.3.2 <bob@example.com>: Recipient address rejected: Try again later"),
        (
            "defer_if_permit",
            "450 4.7.0 <bob@example.com>: Recipient address rejected: defer_if_permit requested",
        ),
        (
            "defer_if_reject, reject",
            "450 4.7.0 <bob@example.com>: Recipient address rejected: defer_if_reject requested",
        ),
        ("check_recipient_access inline:{bob@=450}", "250 2.1.5 Ok"),
        (
            "check_recipient_access inline:{{example.com = REJECT 5.1.8 no}}",
            "554 5.1.2 <bob@example.com>: Recipient address rejected: no",
        ),
        (
            "check_client_access inline:{{127.0 = 421 go away}}",
            "421 4.7.1 <localhost[127.0.0.1]>: Client host rejected: go away",
        ),
        (
            "check_helo_access inline:{{example.net = 550 5.1.1 x}}",
            "550 5.0.0 <client.example.net>: Helo command rejected: x",
        ),
        ("reject_non_fqdn_helo_hostname, reject_non_fqdn_sender", "250 2.1.5 Ok"),
        ("myclass", "554 5.7.1 <bob@example.com>: Recipient address rejected: Access denied"),
    ] {
        let instance = Plan::new("verdicts")
            .set("smtpd_restriction_classes", "myclass")
            .main_cf("myclass = permit_auth_destination, reject\nmyclass = check_sender_access inline:{alice@=DUNNO}, reject\n")
            .set("smtpd_recipient_restrictions", restrictions)
            .start();
        let mut client = greeted(&instance);
        talk(&mut client, &[("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"), (rcpt, reply)]);
        if restrictions.starts_with("warn") {
            instance.wait_for_log("NOQUEUE: reject_warning: RCPT from localhost[127.0.0.1]: 554 5.7.1 <bob@example.com>: Recipient address rejected: Access denied; from=<alice@example.net> to=<bob@example.com> proto=ESMTP helo=<client.example.net>");
        }
    }
}

#[test]
fn an_unprotected_relay_does_not_start() {
    let instance = Plan::new("open-relay")
        .set("smtpd_relay_restrictions", "")
        .set("smtpd_recipient_restrictions", "permit_mynetworks, warn_if_reject reject")
        .start();
    let _ = Client::connect_silently(instance.smtp_port());
    instance.wait_for_log("fatal: in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains");
}

#[test]
fn actions_on_the_message() {
    let instance = Plan::new("actions")
        .set(
            "smtpd_sender_restrictions",
            "check_sender_access inline:{{hold@ = HOLD for a look}, {pre@ = PREPEND X-Pre: one}}",
        )
        .start();
    let mut client = connect(&instance);
    assert_eq!(client.send_message("pre@example.net", &["bob@example.com"], "a: b\n\nc").code, 250);
    let files = instance.queue("incoming");
    assert!(files[0].content().starts_with("X-Pre: one\nReceived: from client.example.net"));
    let mut client = connect(&instance);
    assert_eq!(client.send_message("hold@example.net", &["bob@example.com"], "a: b\n\nc").code, 250);
    assert_eq!(instance.queue("hold").len(), 1);
    instance.wait_for_log("NOQUEUE: hold: RCPT from localhost[127.0.0.1]: <hold@example.net>: Sender address for a look; from=<hold@example.net> to=<bob@example.com> proto=ESMTP helo=<client.example.net>");
}

#[test]
fn unlisted_recipients() {
    let instance = Plan::new("unlisted").set("local_recipient_maps", "inline:{{bob = x}}").start();
    talk(
        &mut greeted(&instance),
        &[
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            (
                "RCPT TO:<nobody@example.com>",
                "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in local recipient table",
            ),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("RCPT TO:<MAILER-DAEMON@example.com>", "250 2.1.5 Ok"),
        ],
    );
}

#[test]
fn a_client_that_vanishes() {
    let instance = Plan::new("lost").start();
    drop(connect(&instance));
    instance.wait_for_log("lost connection after CONNECT from localhost[127.0.0.1]");
    drop(with_recipient(&instance));
    instance.wait_for_log("lost connection after RCPT from localhost[127.0.0.1]");
    let mut client = with_recipient(&instance);
    talk(&mut client, &[("DATA", "354 End data with <CR><LF>.<CR><LF>")]);
    client.send(b"abc\r\nde");
    drop(client);
    instance.wait_for_log("lost connection after DATA (5 bytes) from localhost[127.0.0.1]");
    instance.wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4");
    assert!(instance.wait_for("no file left", || instance.queue("incoming").is_empty().then_some(true)));
}
