//! Message content: dots, smuggling variants, NUL, long lines, sizes, chunks.

use conformance::Plan;

use crate::dialogue::{body, content, greeted, talk, with_recipient};

const START: (&str, &str) = ("DATA", "354 End data with <CR><LF>.<CR><LF>");
const QUEUED: &str = "250 2.0.0 Ok: queued as QID";

#[test]
fn stuffed_dots_come_off_once() {
    let instance = Plan::new("dots").start();
    let mut client = with_recipient(&instance);
    talk(&mut client, &[START]);
    content(&mut client, b"a: b\r\n\r\n..\r\n...\r\n..x\r\nx.\r\n.\r\n", QUEUED);
    assert_eq!(body(&instance), ".\n..\n.x\nx.\n");
}

#[test]
fn bare_newlines() {
    // What one message becomes under each setting: as many messages as the content has ends that count.
    let smuggling: &[u8] = b"a: b\r\n\r\nbody\n.\nmore\r\n.\nx\n.\r\nend\r\n.\r\n";
    for (setting, reply, kept) in [
        ("normalize", QUEUED, Some("body\nmore\nx\nend\n")),
        ("yes", QUEUED, Some("body\nmore\nx\nend\n")),
        ("reject", "550 5.5.2 mx.example.com Error: bare <LF> received", None),
    ] {
        let instance = Plan::new("bare-newline")
            .set("smtpd_forbid_bare_newline", setting)
            .set("smtpd_forbid_bare_newline_exclusions", "")
            .start();
        let mut client = with_recipient(&instance);
        talk(&mut client, &[START]);
        content(&mut client, smuggling, reply);
        talk(&mut client, &[("NOOP", "250 2.0.0 Ok")]);
        match kept {
            Some(kept) => assert_eq!(body(&instance), kept, "{setting}"),
            None => {
                instance.wait_for_log("reject: END-OF-MESSAGE from localhost[127.0.0.1]: bare <LF> received; from=<alice@example.net> to=<bob@example.com> proto=ESMTP helo=<client.example.net>");
                assert!(
                    instance.wait_for("no file", || instance.queue("incoming").is_empty().then_some(true))
                );
            }
        }
    }
    let instance = Plan::new("bare-newline").set("smtpd_forbid_bare_newline", "no").start();
    for end in [&b"\n.\n"[..], b"\n.\r\n", b"\r\n.\n", b"\r\r\n.\r\r\n"] {
        let mut client = with_recipient(&instance);
        talk(&mut client, &[START]);
        content(&mut client, &[&b"a: b\r\n\r\nbody"[..], end].concat(), QUEUED);
    }
}

#[test]
fn bare_newlines_in_commands() {
    let instance = Plan::new("bare-command")
        .set("smtpd_forbid_bare_newline", "reject")
        .set("smtpd_forbid_bare_newline_exclusions", "")
        .start();
    let mut client = greeted(&instance);
    client.send(b"NOOP\n");
    assert_eq!(client.read_reply().text(), "550 5.5.2 mx.example.com Error: bare <LF> received");
    assert!(!client.is_open());
    instance.wait_for_log(
        "NOQUEUE: reject: EHLO from localhost[127.0.0.1]: bare <LF> received; proto=ESMTP helo=<client.example.net>",
    );
}

#[test]
fn an_unknown_setting_is_fatal() {
    let instance = Plan::new("bare-setting").set("smtpd_forbid_bare_newline", "sometimes").start();
    let _ = conformance::Client::connect_silently(instance.smtp_port());
    instance.wait_for_log("fatal: bad parameter value: 'smtpd_forbid_bare_newline = sometimes'");
}

#[test]
fn first_lines_and_odd_bytes() {
    let instance = Plan::new("odd-bytes").start();
    let mut client = with_recipient(&instance);
    talk(&mut client, &[START]);
    content(&mut client, b"From foo bar\r\n>From x\r\n lead\r\nA: b\rc\r\nnul:\0x\r\n.\r\n", QUEUED);
    let files = instance.queue("incoming");
    let bytes = files[0].bytes();
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    for needle in [&b"X-Mailbox-Line: From foo bar"[..], b"X-Mailbox-Line: >From x", b" lead", b"nul:\0x"] {
        assert!(has(needle), "{}", needle.escape_ascii());
    }
}

#[test]
fn long_lines() {
    let instance = Plan::new("long-lines").start();
    let mut client = with_recipient(&instance);
    talk(&mut client, &[START]);
    let lines = ["x".repeat(2047), "y".repeat(2048), "z".repeat(2049), "w".repeat(9000)];
    let mut bytes = b"a: b\r\n\r\n".to_vec();
    for line in &lines {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b".\r\n");
    content(&mut client, &bytes, QUEUED);
    assert_eq!(body(&instance), lines.join("\n") + "\n");
}

#[test]
fn commands_that_are_too_long_are_cut() {
    let instance = Plan::new("long-command").start();
    let mut client = greeted(&instance);
    talk(&mut client, &[(&format!("NOOP {}", "x".repeat(2042)), "250 2.0.0 Ok")]);
    assert!(!instance.log_text().contains("request longer"));
    talk(&mut client, &[(&format!("NOOP {}", "x".repeat(5000)), "250 2.0.0 Ok")]);
    instance.wait_for_log(
        "warning: localhost[127.0.0.1]: request longer than 2048: NOOP xxxxxxxxxxxxxxxxxxxxxxxxx...",
    );
}

#[test]
fn nul_ends_a_command() {
    let instance = Plan::new("nul").start();
    let mut client = greeted(&instance);
    for (line, reply) in
        [(&b"NOOP\0xyz\r\n"[..], "250 2.0.0 Ok"), (b"NO\0OP\r\n", "500 5.5.2 Error: command not recognized")]
    {
        client.send(line);
        assert_eq!(client.read_reply().text(), reply);
    }
}

#[test]
fn too_much_content() {
    let instance = Plan::new("too-big").set("message_size_limit", "3000").start();
    for (length, reply) in [(500, QUEUED), (2999, "552 5.3.4 Error: message file too big")] {
        let mut client = with_recipient(&instance);
        talk(&mut client, &[START]);
        content(&mut client, format!("{}\r\n.\r\n", "x".repeat(length)).as_bytes(), reply);
        talk(&mut client, &[("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok")]);
    }
    instance.wait_for_log("queue file size limit exceeded");
    instance.wait_for("one file", || (instance.queue("incoming").len() == 1).then_some(()));
}

#[test]
fn chunks() {
    let instance = Plan::new("chunks").start();
    let mut client = with_recipient(&instance);
    client.send(b"BDAT 19\r\nSubject: x\r\n\r\n.a\r\nx");
    assert_eq!(client.read_reply().text(), "250 2.0.0 Ok: 19 bytes");
    talk(
        &mut client,
        &[
            ("RCPT TO:<bob@example.com>", "503 5.5.1 Error: RCPT after BDAT"),
            ("DATA", "503 5.5.1 Error: DATA after BDAT"),
            ("NOOP", "250 2.0.0 Ok"),
        ],
    );
    content(&mut client, b"BDAT 7 LAST\r\n\r\n.\r\n..", "250 2.0.0 Ok: 28 bytes queued as QID");
    assert_eq!(body(&instance), ".a\nx\n.\n..\n");
}

#[test]
fn chunks_out_of_place() {
    let instance = Plan::new("chunk-errors").set("message_size_limit", "1000").start();
    let mut client = greeted(&instance);
    for (command, reply) in [
        ("BDAT 5\r\nabcde", "503 5.5.1 Error: need RCPT command"),
        ("BDAT 5\r\nabcde", "551 5.0.0 Discarded 5 bytes after earlier error"),
        ("MAIL FROM:<alice@example.net>\r\n", "503 5.5.1 Error: MAIL after BDAT"),
        ("BDAT 5 LAST\r\nabcde", "551 5.0.0 Discarded 5 bytes after earlier error"),
        ("MAIL FROM:<alice@example.net>\r\n", "250 2.1.0 Ok"),
        ("BDAT 5 LAST\r\nabcde", "554 5.5.1 Error: no valid recipients"),
    ] {
        client.send(command.as_bytes());
        assert_eq!(client.read_reply().text(), reply, "{command:?}");
    }
    let mut client = with_recipient(&instance);
    client.send(format!("BDAT 1200 LAST\r\n{}", "x".repeat(1200)).as_bytes());
    assert_eq!(client.read_reply().text(), "552 5.3.4 Chunk exceeds message size limit");
    let mut client = with_recipient(&instance);
    talk(&mut client, &[("BDAT 0", "551 5.7.1 Null BDAT request")]);
    for syntax in ["BDAT", "BDAT x", "BDAT 5 FOO", "BDAT -1", "BDAT 99999999999999999999"] {
        let mut client = with_recipient(&instance);
        talk(&mut client, &[(syntax, "521 5.5.4 Syntax: BDAT count [LAST]"), ("NOOP", "")]);
    }
}

#[test]
fn restrictions_at_data_and_end_of_data() {
    let instance = Plan::new("data-restrictions")
        .set("smtpd_data_restrictions", "reject_multi_recipient_bounce")
        .start();
    let mut client = greeted(&instance);
    talk(
        &mut client,
        &[
            ("MAIL FROM:<>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("RCPT TO:<carol@example.com>", "250 2.1.5 Ok"),
            ("DATA", "550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce"),
        ],
    );
    let instance = Plan::new("eod-restrictions").set("smtpd_end_of_data_restrictions", "reject").start();
    let mut client = with_recipient(&instance);
    talk(&mut client, &[START]);
    let reply = "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied";
    content(&mut client, b"\r\nbody\r\n.\r\n", reply);
    instance.wait_for_log(": reject: END-OF-MESSAGE from localhost[127.0.0.1]: 554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied; from=<alice@example.net> to=<bob@example.com> proto=ESMTP helo=<client.example.net>");
    assert!(instance.wait_for("no file", || instance.queue("incoming").is_empty().then_some(true)));
}
