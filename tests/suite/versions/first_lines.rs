//! First lines of content that look like the mark between the messages of a mailbox, or like a continued header; headers
//! that cleanup makes.

use std::fs;

use conformance::{Instance, QueueFile};

use super::plans;
use crate::dialogue::{greeted, talk};

/// What a client says after RCPT, and its reply to the content.
fn sent(instance: &Instance, mail: &str, by_data: bool, content: &str) -> QueueFile {
    let mut client = greeted(instance);
    talk(&mut client, &[(mail, "250"), ("RCPT TO:<b@example.com>", "250")]);
    if by_data {
        talk(&mut client, &[("DATA", "354")]);
        let end = if content.ends_with('\n') { "" } else { "\r\n" };
        client.send(format!("{content}{end}.\r\n").as_bytes());
    } else {
        client.send(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes());
    }
    let reply = client.read_reply().text();
    let id = reply.rsplit(' ').next().expect("a word");
    let file = instance.queue("incoming").into_iter().find(|file| file.queue_id == id);
    file.unwrap_or_else(|| panic!("{content:?}: {reply}"))
}

/// The options in the size record.
fn options(records: &[String]) -> String {
    let size = records.iter().find_map(|record| record.strip_prefix("message_size: "));
    size.and_then(|fields| fields.split_whitespace().nth(5)).expect("six fields").to_owned()
}

/// Lines behind the Received header, without those that cleanup made, and the options.
fn kept(file: &QueueFile, behind: &str) -> (String, String) {
    let records = file.records();
    let mut lines = records.iter().filter_map(|record| record.strip_prefix("regular_text: "));
    lines.find(|line| line.starts_with(behind)).expect("a Received header");
    let made = ["Message-Id: ", "Date: ", "From: root", "From: a@"];
    let lines = lines.filter(|line| !made.iter().any(|made| line.starts_with(made)));
    (lines.collect::<Vec<_>>().join("|"), options(&records))
}

#[test]
fn marks_of_mailboxes() {
    for (minor, mut plan) in plans("versions-first-lines") {
        let instance = plan.set("smtpd_forbid_bare_newline", "no").start();
        let mark = "X-Mailbox-Line: ";
        // The content, what DATA makes of it, what DATA makes of it since 3.11, and BDAT.
        let cases = [
            (
                "From x y\r\n x\r\nRequire-TLS-ESMTP: yes\r\n\r\nb\r\n",
                "@From x y|| x|Require-TLS-ESMTP: yes||b",
                "@From x y| x|Require-TLS-ESMTP: yes||b",
                "|From x y| x|Require-TLS-ESMTP: yes||b",
            ),
            (
                "From x\r\nFrom z\r\nA: b\r\n",
                "@From x|@From z|A: b",
                "@From x||From z|A: b",
                "|From x|From z|A: b",
            ),
            (">From x\r\nA: b\r\n\r\nb\r\n", "@>From x|A: b||b", "@>From x|A: b||b", "|>From x|A: b||b"),
            (">From x\r\n>>From y\r\n", "@>From x|@>>From y", "@>From x||>>From y", "|>From x|>>From y"),
            (
                ">>>From \r\n\tx\r\nA: b\r\n",
                "@>>>From ||\tx|A: b",
                "@>>>From |\tx|A: b",
                "|>>>From |\tx|A: b",
            ),
            ("From x\r\n..\r\nFrom z\r\n", "@From x||.|From z", "@From x||.|From z", "|From x|..|From z"),
            ("From x\n>From y\n z\n", "@From x|@>From y|| z", "@From x||>From y| z", "|From x|>From y| z"),
            ("From x", "@From x", "@From x", "|From x"),
            ("From\r\n", "|From", "|From", "|From"),
            ("from x\r\n", "|from x", "|from x", "|from x"),
            ("> From x\r\n", "|> From x", "|> From x", "|> From x"),
            ("\r\nFrom z\r\n x\r\n", "|From z| x", "|From z| x", "|From z| x"),
            (" x\r\nFrom z\r\nA: b\r\n", "| x|From z|A: b", "| x|From z|A: b", " x||From z|A: b"),
            ("\tx\r\n", "|\tx", "|\tx", "\tx"),
            ("A: b\r\nFrom z\r\nB: c\r\n", "A: b||From z|B: c", "A: b||From z|B: c", "A: b||From z|B: c"),
        ];
        for (content, before, since, chunk) in cases {
            let what = format!("3.{minor}: {content:?}");
            let mail = "MAIL FROM:<a@example.net>";
            let (lines, options) = kept(&sent(&instance, mail, true, content), "\tfor <");
            assert_eq!(lines, if minor >= 11 { since } else { before }.replace('@', mark), "{what}");
            let wanted = if minor >= 11 && content.contains("Require-TLS") { "32" } else { "0" };
            assert_eq!(options, wanted, "{what}");
            let chunk = (chunk.to_owned(), "0".to_owned());
            assert_eq!(kept(&sent(&instance, mail, false, content), "\tfor <"), chunk, "{what}");
        }
    }
}

#[test]
fn marks_of_mailboxes_in_submitted_mail() {
    for (minor, mut plan) in plans("versions-first-submitted") {
        // All of it is known by the commands, the daemons and the master together.
        plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
        let instance = plan.start();
        for (content, expected) in [
            ("From x\n>From y\nA: b\n\nb\n", "A: b||b"),
            (">From x\n\tz\nA: b\n", "|\tz|A: b"),
            ("A: b\nFrom z\nB: c\n", "A: b||From z|B: c"),
            ("\nFrom x\n", "|From x"),
            (" x\nFrom y\n", "| x|From y"),
        ] {
            let outcome = instance.run_with_input("sendmail", &["-f", "a@x", "b@x"], content.as_bytes());
            assert_eq!(outcome.status, Some(0), "{}", outcome.err());
            let file = instance.wait_for("the message", || {
                instance.queue("incoming").into_iter().find(QueueFile::is_complete)
            });
            assert_eq!(kept(&file, "\tid ").0, expected, "3.{minor}: {content:?}");
            fs::remove_file(&file.path).expect("nobody else takes it");
        }
    }
}

/// The lines of this header, and the options.
fn header(file: &QueueFile, name: &str) -> (String, String) {
    let records = file.records();
    let lines = records.iter().filter_map(|record| record.strip_prefix("regular_text: "));
    (lines.filter(|line| line.starts_with(name)).collect(), options(&records))
}

#[test]
fn headers_that_cleanup_makes() {
    for (minor, mut plan) in plans("versions-made-headers") {
        let instance = plan.set("undisclosed_recipients_header", "To: \u{e9}:;").start();
        let mails = [
            // Since 3.10 a generated header counts as any other one; not what the configuration says.
            ("MAIL FROM:<\u{e9}@x>", "To: x", "From: ", "From: \u{e9}@x", ["4", "6"]),
            ("MAIL FROM:<\u{e9}@x>", "Resent-To: x", "Resent-From: ", "Resent-From: \u{e9}@x", ["4", "6"]),
            ("MAIL FROM:<\u{e9}@x>", "From: a\r\nTo: y", "From: ", "From: a@mx.example.com", ["4", "4"]),
            ("MAIL FROM:<a@x>", "A: b", "To: ", "To: \u{e9}:;", ["0", "0"]),
        ];
        for (mail, given, name, made, options) in mails {
            let options = options[usize::from(minor >= 10)].to_owned();
            let file = sent(&instance, mail, true, &format!("{given}\r\n"));
            assert_eq!(header(&file, name), (made.to_owned(), options), "3.{minor}: {mail} {given}");
        }
    }
}

#[test]
fn headers_that_cleanup_makes_have_a_limit() {
    for (minor, mut plan) in plans("versions-made-limits") {
        plan.set("undisclosed_recipients_header", "To: undisclosed-recipients:;")
            .set("header_size_limit", "20");
        let instance = plan.start();
        let file = sent(&instance, "MAIL FROM:<someone@domain.example>", true, "Resent-From: x\r\n");
        let resent = header(&file, "Resent-").0;
        let file = sent(&instance, "MAIL FROM:<someone@domain.example>", true, "A: b\r\n");
        for (name, cut) in [
            ("From: ", "From: someone@domain"),
            ("Message-Id: ", "Message-Id: <"),
            ("Date: ", "Date: "),
            ("To: ", "To: undisclosed-recipients:;"),
        ] {
            let made = header(&file, name).0;
            assert!(made.starts_with(cut), "3.{minor}: {made}");
            let whole = minor < 10 || name == "To: ";
            assert_eq!(made.len() > 20, whole, "3.{minor}: {made}");
        }
        assert_eq!(resent.len() > 60, minor < 10, "3.{minor}: {resent}");
    }
}
