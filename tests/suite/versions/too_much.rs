//! Who sends too much to be dropped: since 3.11 that ends the input.

use conformance::{Client, Service, free_port};

use super::plans;
use crate::dialogue::{EHLO, talk};

const MAIL: (&str, &str) = ("MAIL FROM:<a@example.net>", "250 2.1.0 Ok");
const RCPT: (&str, &str) = ("RCPT TO:<b@example.com>", "250 2.1.5 Ok");
const TOO_BIG: &str = "552 5.3.4 Chunk exceeds message size limit";
const TOO_MUCH: &str = "too much BDAT content -- disabling further input from localhost[127.0.0.1]";

/// What is there of the size limit at most, of all chunks of a message.
const LIMIT: usize = 1000;

/// Whether the server answers; one that shall not gets nothing more, which Postfix might still read.
fn goes_on_with(client: &mut Client, shall: bool) -> bool {
    let reply = if shall { client.command("NOOP") } else { client.read_reply() };
    reply.code == 250
}

#[test]
fn lines_that_do_not_end() {
    for (minor, mut plan) in plans("versions-long-lines") {
        let port = free_port();
        plan.service(
            Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option("line_length_limit", "512"),
        );
        let instance = plan.start();
        // With CR and LF: the start of 512 bytes that is obeyed, and a rest as long.
        for (length, is_dropped) in [(1024, true), (1025, false), (2000, false)] {
            let mut client = Client::connect(port);
            client.command(EHLO);
            let line = format!("NOOP {}", "y".repeat(length - "NOOP \r\n".len()));
            talk(&mut client, &[(&line, "250 2.0.0 Ok")]);
            let goes_on = minor < 11 || is_dropped;
            assert_eq!(goes_on_with(&mut client, goes_on), goes_on, "3.{minor}: {length}");
        }
        instance.wait_for_log("request longer than 512: NOOP ");
        let disabled = format!("warning: disabling input from 127.0.0.1:{port} socket");
        let ends = || instance.log_text().matches("disconnect from").count();
        instance.wait_for("the end of all sessions", || (ends() == 3).then_some(()));
        assert_eq!(instance.log_text().matches(&disabled).count(), if minor < 11 { 0 } else { 2 });
    }
}

#[test]
fn chunks_that_are_of_no_use() {
    /// Chunks with their replies, whether the message has recipients, and whether the last of them is too much: then it
    /// is answered before it comes.
    type Case<'c> = (bool, &'c [(usize, &'c str)], bool);
    let refused = |size: usize| format!("551 5.0.0 Discarded {size} bytes after earlier error");
    let (small, large) = (refused(300), refused(301));
    let cases: [Case<'_>; 7] = [
        (true, &[(LIMIT + 1, TOO_BIG)], false),
        (true, &[(LIMIT * 3 / 2, TOO_BIG)], false),
        (true, &[(LIMIT * 3 / 2 + 1, TOO_BIG)], true),
        (true, &[(1200, TOO_BIG), (300, &small)], false),
        (true, &[(1200, TOO_BIG), (301, &large)], true),
        (true, &[(900, "250 2.0.0 Ok: 900 bytes"), (601, TOO_BIG)], true),
        (false, &[(1501, "503 5.5.1 Error: need RCPT command")], true),
    ];
    for (minor, mut plan) in plans("versions-chunks") {
        let instance = plan.set("message_size_limit", &LIMIT.to_string()).start();
        for (number, (has_recipients, chunks, is_too_much)) in cases.iter().enumerate() {
            let mut client = Client::connect(instance.smtp_port());
            client.command(EHLO);
            if *has_recipients {
                talk(&mut client, &[MAIL, RCPT]);
            }
            let ends_input = *is_too_much && minor >= 11;
            for (at, (size, reply)) in chunks.iter().enumerate() {
                client.send(format!("BDAT {size}\r\n").as_bytes());
                if !(ends_input && at + 1 == chunks.len()) {
                    client.send(&[&b"x".repeat(size - 2)[..], b"\r\n"].concat());
                }
                assert_eq!(client.read_reply().text(), *reply, "3.{minor}: case {number}");
            }
            assert_eq!(goes_on_with(&mut client, !ends_input), !ends_input, "3.{minor}: case {number}");
        }
        let ends = || instance.log_text().matches("disconnect from").count();
        instance.wait_for("the end of all sessions", || (ends() == cases.len()).then_some(()));
        let log = instance.log_text();
        assert_eq!(log.matches(TOO_MUCH).count(), if minor < 11 { 0 } else { 4 }, "3.{minor}");
        assert_eq!(log.matches("lost connection after BDAT from").count(), if minor < 11 { 0 } else { 4 });
    }
}
