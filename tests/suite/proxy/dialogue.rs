//! What the filter hears when all goes well, byte for byte.

use conformance::{Client, Plan, ScriptedFilter, Service, free_port};

use super::{GENERIC, GO_AHEAD, Stage, send};

const EHLO: &str = "EHLO mx.example.com";

fn say(client: &mut Client, dialogue: &[(&str, &str)]) {
    for (command, reply) in dialogue {
        assert_eq!(client.command(command).text(), *reply, "{command}");
    }
}

/// The lines with what differs between two runs replaced: the client's port and the date.
fn masked(lines: Vec<String>) -> Vec<String> {
    let mask = |line: String| {
        let words = line.split(' ').map(|word| if word.starts_with("PORT=") { "PORT=n" } else { word });
        let line = words.collect::<Vec<_>>().join(" ");
        match line.find("+0000 (UTC)") {
            Some(end) if line.starts_with('\t') => {
                format!("{}DATE", &line[..end.saturating_sub("Sun, 22 Nov 2026 06:13:07 ".len())])
            }
            _ => line,
        }
    };
    lines.into_iter().map(mask).collect()
}

#[test]
fn commands_travel_as_the_client_wrote_them() {
    let stage = Stage::with("proxy-verbatim", |plan| {
        plan.set("local_recipient_maps", "inline:{alice=x, bob=x}");
    });
    let mail = "mail  from:<a@b.test>  SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x SMTPUTF8";
    let rcpt = "rcpt  TO:<alice@example.com>  NOTIFY=NEVER";
    for port in [stage.direct, stage.speed] {
        stage.filter.heard();
        stage.filter.reset();
        let mut client = Client::connect(port);
        client.command("EHLO c.test");
        say(
            &mut client,
            &[
                (mail, "250 2.1.0 Ok"),
                (rcpt, "250 2.1.5 Ok"),
                (
                    "RCPT TO:<nobody@example.com>",
                    "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in local recipient table",
                ),
                ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
                ("data", GO_AHEAD),
            ],
        );
        client.send(b"Subject: hi\r\n\r\n..x\r\nbody\r\n");
        say(&mut client, &[(".", "250 2.0.0 filter accepted"), ("QUIT", "221 2.0.0 Bye")]);
        let heard = masked(stage.filter.heard());
        let expected = [
            EHLO,
            "XFORWARD NAME=localhost ADDR=127.0.0.1 PORT=n HELO=c.test IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=LOCAL",
            mail,
            rcpt,
            "RCPT TO:<bob@example.com>",
            "data",
            "Received: from c.test (localhost [127.0.0.1])",
            "\tby mx.example.com (Postfix) with UTF8SMTP;",
            "\tDATE",
            "Subject: hi",
            "",
            "..x",
            "body",
            ".",
            "QUIT",
            "<closed>",
        ];
        assert_eq!(heard, expected);
    }
}

#[test]
fn xforward_as_the_filter_takes_it() {
    let stage = Stage::new("proxy-xforward");
    let ask = |ehlo: &str| {
        stage.filter.heard();
        stage.filter.reset();
        stage.filter.say("EHLO", ehlo);
        let mut client = Client::connect(stage.direct);
        client.command("HELO c.test");
        say(
            &mut client,
            &[("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"), ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok")],
        );
        client.command("QUIT");
        masked(stage.filter.heard())
    };
    let mail = "MAIL FROM:<a@b.test>";
    assert_eq!(
        ask("250-f\n250 xforward name helo bogus")[1..3],
        ["XFORWARD NAME=localhost HELO=c.test", mail]
    );
    assert_eq!(
        ask("250-f\n250-XFORWARD PROTO\n250 XFORWARD ADDR")[1..3],
        ["XFORWARD ADDR=127.0.0.1 PROTO=SMTP", mail]
    );
    assert_eq!(ask("250 f")[1], mail);
    assert_eq!(ask("250-f\n250 XFORWARD bogus")[1], mail);
}

#[test]
fn long_xforward_values_are_split_over_lines() {
    let stage = Stage::new("proxy-split");
    let name = format!("{}.{}.{}.{}", "a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(60));
    let helo = format!("q\u{e9}{}", "h".repeat(190));
    let mut client = Client::connect(stage.direct);
    assert_eq!(client.command(&format!("XCLIENT NAME={name} ADDR=10.1.2.3 PORT=99")).code, 220);
    client.command(&format!("EHLO {helo}"));
    say(
        &mut client,
        &[("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"), ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok")],
    );
    client.command("QUIT");
    let heard = stage.filter.heard();
    let encoded = format!("q+C3+A9{}", "h".repeat(190));
    let first = format!("XFORWARD NAME={name} ADDR=10.1.2.3 PORT=99 HELO={encoded}");
    assert!(first.len() < 512, "fits");
    assert_eq!(heard[1], format!("{first} IDENT=[UNAVAILABLE]"));
    // LOCAL, because XCLIENT does not change the address that permit_inet_interfaces looks at.
    assert_eq!(heard[2], "XFORWARD PROTO=ESMTP SOURCE=LOCAL");
}

#[test]
fn xforward_received_is_passed_on_for_one_message() {
    let stage = Stage::with("proxy-passed-on", |plan| {
        plan.set("smtpd_proxy_ehlo", "front.example.com");
    });
    let mut client = Client::connect(stage.direct);
    client.command("EHLO c.test");
    let xforward = "XFORWARD NAME=spike.porcupine.test ADDR=168.100.189.2 PORT=1234 PROTO=ESMTP HELO=spike+20x \
                    IDENT=ABC123 SOURCE=REMOTE";
    for transaction in [Some(xforward), None] {
        if let Some(command) = transaction {
            say(&mut client, &[(command, "250 2.0.0 Ok")]);
        }
        say(
            &mut client,
            &[
                ("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
                ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
                ("DATA", GO_AHEAD),
                ("Subject: hi\r\n\r\nbody\r\n.", "250 2.0.0 filter accepted"),
            ],
        );
    }
    client.command("QUIT");
    let expected = [
        "EHLO front.example.com",
        "XFORWARD NAME=spike.porcupine.test ADDR=168.100.189.2 PORT=n HELO=spike?x IDENT=ABC123 PROTO=ESMTP SOURCE=REMOTE",
        "MAIL FROM:<a@b.test>",
        "RCPT TO:<bob@example.com>",
        "DATA",
        "Subject: hi",
        "",
        "body",
        ".",
        "QUIT",
        "<closed>",
        "EHLO front.example.com",
        "XFORWARD NAME=localhost ADDR=127.0.0.1 PORT=n HELO=c.test IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=LOCAL",
        "MAIL FROM:<a@b.test>",
        "RCPT TO:<bob@example.com>",
        "DATA",
        "Received: from c.test (localhost [127.0.0.1])",
        "\tby mx.example.com (Postfix) with ESMTP",
        "\tfor <bob@example.com>; DATE",
        "Subject: hi",
        "",
        "body",
        ".",
        "QUIT",
        "<closed>",
    ];
    assert_eq!(masked(stage.filter.heard()), expected);
    stage.instance.wait_for_log(
        "NOQUEUE: client=localhost[127.0.0.1], orig_queue_id=ABC123, orig_client=spike.porcupine.test[168.100.189.2]",
    );
}

#[test]
fn a_transaction_that_ends_early_ends_with_quit() {
    let stage = Stage::new("proxy-early");
    for (last, reply) in
        [("RSET", 250), ("EHLO again.test", 250), ("HELO again.test", 250), ("QUIT", 221), ("", 0)]
    {
        stage.filter.heard();
        stage.filter.reset();
        let mut client = Client::connect(stage.direct);
        client.command("EHLO c.test");
        say(
            &mut client,
            &[("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"), ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok")],
        );
        if last.is_empty() {
            client.close_sending();
        } else {
            assert_eq!(client.command(last).code, reply);
        }
        assert_eq!(stage.filter.heard()[4..], ["QUIT", "<closed>"], "{last}");
    }
}

#[test]
fn chunks_become_data() {
    let stage = Stage::new("proxy-bdat");
    for port in [stage.direct, stage.speed] {
        stage.filter.heard();
        stage.filter.reset();
        let mut client = Client::connect(port);
        client.command("EHLO c.test");
        say(
            &mut client,
            &[("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"), ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok")],
        );
        client.send(b"BDAT 19\r\nSubject: x\r\n\r\n.a\r\nx");
        assert_eq!(client.read_reply().text(), "250 2.0.0 Ok: 19 bytes");
        client.send(b"BDAT 7 LAST\r\n\r\n.\r\n..");
        assert_eq!(client.read_reply().text(), "250 2.0.0 filter accepted");
        client.command("QUIT");
        let heard = stage.filter.heard();
        assert_eq!(heard[4], "DATA");
        assert_eq!(heard[8..], ["Subject: x", "", "..a", "x", "..", "...", ".", "QUIT", "<closed>"]);
    }

    stage.filter.reset();
    stage.filter.say("DATA", "550 5.7.1 no");
    let mut client = Client::connect(stage.direct);
    client.command("EHLO c.test");
    say(
        &mut client,
        &[("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"), ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok")],
    );
    client.send(b"BDAT 19\r\nSubject: x\r\n\r\n.a\r\nx");
    assert_eq!(client.read_reply().text(), "550 5.7.1 no");
    client.send(b"BDAT 7 LAST\r\n\r\n.\r\n..");
    assert_eq!(client.read_reply().text(), "551 5.0.0 Discarded 7 bytes after earlier error");
    client.command("QUIT");
    assert_eq!(stage.filter.heard()[4..], ["DATA", "QUIT", "<closed>"]);
}

#[test]
fn odd_content_passes_unharmed() {
    let stage = Stage::with("proxy-odd", |plan| {
        plan.set("smtpd_forbid_bare_newline", "no");
    });
    for port in [stage.direct, stage.speed] {
        stage.filter.heard();
        stage.filter.reset();
        let mut client = Client::connect(port);
        client.command("EHLO c.test");
        say(
            &mut client,
            &[
                ("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
                ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
                ("DATA", GO_AHEAD),
            ],
        );
        let long = "y".repeat(5000);
        client.send(b"From foo bar\r\n>From x\r\n lead\r\nA: b\rc\r\nnul:\0x\r\n\xff\xfe\r\n.dot? no\r\n");
        client.send(format!("{long}\r\nlf only\n.\n").as_bytes());
        assert_eq!(client.read_reply().text(), "250 2.0.0 filter accepted");
        client.command("QUIT");
        let heard = stage.filter.heard_bytes();
        let expected: [&[u8]; 13] = [
            b"X-Mailbox-Line: From foo bar",
            b"X-Mailbox-Line: >From x",
            b"",
            b" lead",
            b"A: b\rc",
            b"nul:\0x",
            b"\xff\xfe",
            b".dot? no",
            long.as_bytes(),
            b"lf only",
            b".",
            b"QUIT",
            b"<closed>",
        ];
        assert_eq!(heard[8..], expected);
    }
}

#[test]
fn a_message_above_the_size_limit_is_never_ended() {
    let stage = Stage::with("proxy-size", |plan| {
        plan.set("message_size_limit", "1000");
    });
    for (port, last_reply) in [(stage.direct, "354 go"), (stage.speed, "")] {
        above_the_size_limit(&stage, port, last_reply);
    }
}

fn above_the_size_limit(stage: &Stage, port: u16, last_reply: &str) {
    stage.filter.heard();
    stage.filter.reset();
    let mut replies = Vec::new();
    let log = stage.log_of(|| {
        let mut client = Client::connect(port);
        client.command("EHLO c.test");
        say(
            &mut client,
            &[
                ("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
                ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
                ("DATA", GO_AHEAD),
            ],
        );
        for _ in 0..50 {
            client.send(b"0123456789012345678901234567890123456789\r\n");
        }
        replies.push(client.command(".").text());
        replies.push(client.command("QUIT").text());
    });
    assert_eq!(replies, ["552 5.3.4 Error: message file too big", "221 2.0.0 Bye"]);
    assert_eq!(
        log[1..],
        [
            "warning: NOQUEUE: queue file size limit exceeded".to_owned(),
            format!(
                "proxy-reject: END-OF-MESSAGE: {last_reply}; from=<a@b.test> to=<bob@example.com> proto=ESMTP \
                 helo=<c.test>"
            ),
        ]
    );
    let heard = stage.filter.heard();
    if port == stage.direct {
        assert_eq!(heard[heard.len() - 2..], ["QUIT", "<closed>"]);
    }
    assert!(!heard.iter().any(|line| line == "."), "{heard:?}");
}

#[test]
fn a_big_message_streams_through_both_modes() {
    let stage = Stage::with("proxy-big", |plan| {
        plan.set("message_size_limit", "0");
    });
    for port in [stage.direct, stage.speed] {
        stage.filter.heard();
        stage.filter.reset();
        let mut client = Client::connect(port);
        client.command("EHLO c.test");
        say(
            &mut client,
            &[
                ("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
                ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
                ("DATA", GO_AHEAD),
            ],
        );
        let lines = 20_000;
        for number in 0..lines {
            client.send(format!("{number} {}\r\n", "z".repeat(90)).as_bytes());
        }
        assert_eq!(client.command(".").text(), "250 2.0.0 filter accepted");
        client.command("QUIT");
        let heard = stage.filter.heard();
        let content: Vec<_> = heard.iter().filter(|line| line.ends_with("zz")).collect();
        assert_eq!(content.len(), lines);
        assert!(content.iter().enumerate().all(|(number, line)| line.starts_with(&format!("{number} "))));
    }
}

#[test]
fn every_form_of_address() {
    let filter = ScriptedFilter::start();
    let port = filter.port();
    let mut plan = Plan::new("proxy-address");
    let unix = "unix:private/filter";
    let forms = [
        format!("inet:127.0.0.1:{port}"),
        format!("INET:[127.0.0.1]:{port}"),
        format!("[127.0.0.1]:{port}"),
        format!("localhost:{port}"),
        port.to_string(),
        unix.to_owned(),
    ];
    let ports = forms.map(|form| {
        let port = free_port();
        let service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
        plan.service(service.option("smtpd_proxy_filter", &form));
        port
    });
    let instance = plan.start();
    let socket = instance.queue_directory().join("private/filter");
    let refused = send(ports[5], &["bob@example.com"]).0;
    assert_eq!(refused[1], GENERIC);
    instance.wait_for_log(&format!("warning: connect to proxy filter {unix}: No such file or directory"));
    filter.listen_at(&socket);
    for port in ports {
        let (replies, _) = send(port, &["bob@example.com"]);
        assert_eq!(replies.last().map(String::as_str), Some("250 2.0.0 filter accepted"));
    }
    assert_eq!(filter.connections(), 6);
}

#[test]
fn settings_that_cannot_work_are_told() {
    for (name, value, text) in [
        ("smtpd_proxy_filter", "127.0.0.1:", "127.0.0.1:: missing service information"),
        ("smtpd_proxy_filter", "[127.0.0.1]", "[127.0.0.1]: missing service information"),
        ("smtpd_proxy_filter", "host:bad:port", "host:bad:port: valid hostname or network address required"),
        (
            "smtpd_proxy_options",
            "speed_up",
            "fatal: unknown smtpd_proxy_options value \"speed_up\" in \"speed_up\"",
        ),
        ("smtpd_proxy_timeout", "0", "fatal: invalid smtpd_proxy_timeout: 0 (min 1)"),
    ] {
        let mut plan = Plan::new("proxy-fatal");
        plan.set("smtpd_proxy_filter", "127.0.0.1:9").set(name, value);
        let instance = plan.start();
        instance.expect_fault(text.trim_start_matches("fatal: "));
        let mut client = Client::connect_silently(instance.smtp_port());
        // Postfix looks at the address only when it needs the filter, and ends; Postern says at its start that it cannot be
        // used, and refuses the mail for now.
        client.send(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<bob@example.com>\r\n");
        instance.wait_for_log(text);
    }
}

#[test]
fn a_value_that_fits_no_line_is_sent_with_a_warning() {
    let stage = Stage::new("proxy-overlong");
    let helo = "\u{e9}".repeat(120);
    let log = stage.log_of(|| {
        let mut client = Client::connect(stage.direct);
        client.command(&format!("EHLO {helo}"));
        say(
            &mut client,
            &[("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"), ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok")],
        );
        client.command("QUIT");
    });
    let heard = masked(stage.filter.heard());
    let encoded = "+C3+A9".repeat(120);
    assert_eq!(
        heard[1..4],
        [
            "XFORWARD NAME=localhost ADDR=127.0.0.1 PORT=n".to_owned(),
            format!("XFORWARD HELO={encoded}"),
            "XFORWARD IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=LOCAL".to_owned(),
        ]
    );
    assert_eq!(
        log[0],
        "warning: XFORWARD command payload HELO=\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}... exceeds SMTP protocol limit"
    );
}

#[test]
fn a_client_that_vanishes_in_its_content_leaves_no_message() {
    let stage = Stage::new("proxy-vanish");
    for port in [stage.direct, stage.speed] {
        stage.filter.heard();
        stage.filter.reset();
        let connections = stage.filter.connections();
        let log = stage.log_of(|| {
            let mut client = Client::connect(port);
            client.command("EHLO c.test");
            say(
                &mut client,
                &[
                    ("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
                    ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
                    ("DATA", GO_AHEAD),
                ],
            );
            client.send(b"Subject: hi\r\n\r\nbo");
        });
        assert_eq!(log, ["NOQUEUE: client=localhost[127.0.0.1]"]);
        let heard = stage.filter.heard();
        assert!(!heard.iter().any(|line| line == "."), "{heard:?}");
        if port == stage.direct {
            assert_eq!(heard[heard.len() - 2..], ["QUIT", "<closed>"]);
        } else {
            assert_eq!(stage.filter.connections(), connections, "the filter never hears of it");
        }
    }
}

#[test]
fn a_refusal_at_end_of_data_takes_the_place_of_the_dot() {
    let stage = Stage::with("proxy-eod", |plan| {
        plan.set("smtpd_end_of_data_restrictions", "reject");
    });
    for port in [stage.direct, stage.speed] {
        stage.filter.heard();
        stage.filter.reset();
        let connections = stage.filter.connections();
        let (replies, _) = send(port, &["bob@example.com"]);
        assert_eq!(replies[3], "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied");
        let heard = stage.filter.heard();
        if port == stage.direct {
            assert_eq!(heard[heard.len() - 3..], ["body", "QUIT", "<closed>"]);
        } else {
            assert_eq!(stage.filter.connections(), connections, "the filter never hears of it");
        }
    }
}

#[test]
fn prepended_headers_stand_above_received() {
    let stage = Stage::with("proxy-prepend", |plan| {
        let table = "check_recipient_access static:{PREPEND X-Pre: one}";
        plan.set("smtpd_recipient_restrictions", &format!("{table}, permit_mynetworks, reject"));
    });
    for port in [stage.direct, stage.speed] {
        stage.filter.heard();
        stage.filter.reset();
        send(port, &["bob@example.com"]);
        let heard = stage.filter.heard();
        assert_eq!(heard[5..7], ["X-Pre: one", "Received: from client.example.net (localhost [127.0.0.1])"]);
    }
}

#[test]
fn soft_bounce_softens_the_filter() {
    let stage = Stage::with("proxy-soft", |plan| {
        plan.set("soft_bounce", "yes");
    });
    stage.filter.say(".", "550-5.7.1 spam\n550 5.7.1 eggs");
    for port in [stage.direct, stage.speed] {
        let (replies, _) = send(port, &["bob@example.com"]);
        assert_eq!(replies[3], "450-4.7.1 spam\n450 4.7.1 eggs");
    }
}
