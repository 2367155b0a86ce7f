//! What cleanup writes into the queue file.

use conformance::Instance;

use super::plans;
use crate::dialogue::greeted;

/// The records of a message with this header.
fn records(instance: &Instance, header: &str) -> Vec<String> {
    let text = format!("{header}\n\nx\n");
    let reply = greeted(instance).send_message("a@example.net", &["b@example.com"], &text).text();
    let id = reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{header:?}: {reply}"));
    let file = instance.queue("incoming").into_iter().find(|file| file.queue_id == id);
    file.expect("it was queued").records().into_iter().map(|record| record.replace(id, "QID")).collect()
}

#[test]
fn the_message_id_stands_behind_the_content() {
    for (minor, mut plan) in plans("versions-message-id") {
        let checks = "regexp:{ {/^Subject: replace/ REPLACE Message-ID: <new@y>} {/^X-Pre/ PREPEND Message-ID: <pre@y>} {/^Subject: filter/ FILTER smtp:[x]} }";
        let instance = plan.set("header_checks", checks).start();
        let long = format!("<{}@y>", "l".repeat(2100));
        let cases = [
            ("Message-ID: <x@y>", Some("<x@y>")),
            ("Message-ID: <x@y> trailing", Some("<x@y>")),
            ("Message-ID: <x>", Some("<x>")),
            ("Message-ID: (c) <x@y>", None),
            ("Message-ID: <a b@c>", Some("<a b@c>")),
            ("Message-ID: x@y", None),
            ("Message-ID: <a@b> <c@d>", Some("<a@b>")),
            ("Message-ID:", None),
            ("Message-ID: <x@y", None),
            ("Message-ID: <1@y>\nMessage-ID: <2@y>", Some("<1@y>")),
            ("Message-ID: bad\nMessage-ID: <2@y>", Some("<2@y>")),
            ("Message-ID:\n <fold@y>", Some("<fold@y>")),
            ("Message-ID: <fold\n @y>", Some("<fold  @y>")),
            ("Message-ID: <\u{f6}@y>", Some("<\u{f6}@y>")),
            ("Message-ID: <a\x01\x7f@y>", Some("<a  @y>")),
            ("Message-ID: <>", Some("<>")),
            ("Message-ID: <<a@b>>", Some("<<a@b>>")),
            ("Message-ID: <<a@b>", None),
            ("Message-ID:\t<tab@y>\t", Some("<tab@y>")),
            ("Message-ID: \"x\" <x@y>", None),
            ("Message-ID: <x@y>>", Some("<x@y>")),
            ("Message-ID: <x>y>", Some("<x>")),
            ("Message-ID: <\"a b\"@c>", Some("<\"a b\"@c>")),
            ("Message-ID: <\"a>b\"@c>", Some("<\"a>")),
            ("Message-ID: <a\\>b@c>", Some("<a\\>")),
            ("Resent-From: <x@y>", None),
            ("Resent-Message-ID: <r@y>\nMessage-ID: bad", None),
            ("Resent-Message-ID: <r@y>\nMessage-ID: <m@y>", Some("<m@y>")),
            ("Subject: replace", Some("<new@y>")),
            ("X-Pre: x\nMessage-Id: <second@y>", Some("<second@y>")),
            (&format!("Message-ID: {long}"), Some(&long)),
        ];
        for (header, id) in cases {
            let records = records(&instance, header);
            let kept = records.iter().find_map(|record| record.strip_prefix("named_attribute: message_id="));
            assert_eq!(kept, id.filter(|_| minor >= 9), "3.{minor}: {header:?}: {records:#?}");
        }
        // One that cleanup makes, and its place.
        let header = "Subject: filter\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit";
        let records = records(&instance, header);
        let made = records.iter().find_map(|record| record.strip_prefix("regular_text: Message-Id: "));
        let made = format!("named_attribute: message_id={}", made.expect("a header was made"));
        let mut expected = vec!["content_filter: smtp:[x]", &made, "named_attribute: encoding=8bit"];
        expected.retain(|record| minor >= 9 || *record != made);
        let at = records.iter().position(|record| record == "*** HEADER EXTRACTED incoming/QID ***");
        let behind = &records[at.expect("that part is always there") + 1..];
        assert_eq!(behind[..expected.len()], expected, "3.{minor}: {records:#?}");
    }
}

/// The last field of the size record, and how many headers REQUIRETLS has.
fn sendopts(records: &[String]) -> (i64, usize) {
    let size =
        records.iter().find_map(|record| record.strip_prefix("message_size: ")).expect("the first record");
    let last = size.split_whitespace().nth(5).expect("six fields");
    let headers = records.iter().filter(|record| record.starts_with("regular_text: Require-TLS-ESMTP:"));
    (last.parse().expect("a number"), headers.count())
}

#[test]
fn headers_ask_for_tls_or_for_none() {
    for (minor, mut plan) in plans("versions-tls-headers") {
        let instance = plan.set("smtpd_hard_error_limit", "100").start();
        let cases = [
            ("TLS-Required: no", 16, ""),
            ("TLS-Required: NO", 16, ""),
            ("TLS-Required: no ", 0, "TLS-Required: no "),
            ("TLS-Required:\n no", 16, ""),
            ("TLS-Required: \"no\"", 0, "TLS-Required: \"no\""),
            ("TLS-Required: no (x)", 0, "TLS-Required: no (x)"),
            ("TLS-Required:", 0, "TLS-Required:"),
            ("TLS-Required: no\nTLS-Required: yes", 16, "TLS-Required: yes"),
            ("TLS-Required: yes\nTLS-Required: no", 16, "TLS-Required: yes"),
            ("tls-required:\tno", 16, ""),
            ("TLS-Required: n\n o", 0, "TLS-Required: n? o"),
            ("X: y\n\nTLS-Required: no", 0, ""),
            ("Resent-From: x@y.test\nTLS-Required: no", 16, ""),
            ("Require-TLS-ESMTP: yes", 32, ""),
            ("Require-TLS-ESMTP: YES", 32, ""),
            ("Require-TLS-ESMTP: no", 0, ""),
            ("Require-TLS-ESMTP: yes (c)", 0, ""),
            ("Require-TLS-ESMTP:", 0, ""),
            ("Require-TLS-ESMTP: yes\nTLS-Required: no", 48, ""),
        ];
        let known = match minor {
            11.. => 48,
            10 => 16,
            _ => 0,
        };
        let told = || instance.log_text().matches("ignoring malformed header").count();
        let mut expected = 0;
        for (header, options, warning) in cases {
            let records = records(&instance, header);
            assert_eq!(sendopts(&records).0, options & known, "3.{minor}: {header:?}: {records:#?}");
            if minor >= 10 && !warning.is_empty() {
                expected += 1;
                instance.wait_for_log(&format!("warning: ignoring malformed header: '{warning}'"));
                // The log may come behind the reply; some warnings come more than once.
                instance.wait_for("another warning", || (told() >= expected).then_some(()));
            }
            assert_eq!(told(), expected, "3.{minor}: {header:?}");
        }
    }
}

/// What sendmail was called with, and the records of the message.
fn submitted(instance: &Instance, arguments: &[&str], sent: usize) -> (Vec<String>, String) {
    let arguments = [arguments, &["-f", "a@example.net", "b@example.org"]].concat();
    let outcome = instance.run_with_input("sendmail", &arguments, b"Subject: x\n\nx\n");
    assert_eq!(outcome.status, Some(0), "{arguments:?}: {}", outcome.err());
    let file = instance.wait_for("the message", || {
        let files = instance.queue("incoming");
        (files.len() == sent && files.iter().all(conformance::QueueFile::is_complete))
            .then(|| files.into_iter().last())
    });
    (file.expect("there is one").records(), outcome.err())
}

#[test]
fn submitters_ask_for_tls() {
    // All of it is known by the commands, the daemons and the master together.
    for (minor, mut plan) in plans("versions-options") {
        plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
        let instance = plan.start();
        let bad = |option: &str| format!("sendmail: warning: bad -O option: '{option}' -- ignored\n");
        let cases = [
            (&["requiretls=yes"][..], (32, 1), String::new()),
            (&["RequireTLS=YES"], (32, 1), String::new()),
            (&["requiretls = yes"], (0, 0), String::new()),
            (&["requiretls=no"], (0, 0), String::new()),
            (&["requiretls=yes", "requiretls=no"], (0, 0), String::new()),
            (&["requiretls"], (0, 0), bad("requiretls")),
            (&["requiretls="], (0, 0), bad("requiretls=")),
            (&["requiretls=maybe"], (0, 0), bad("requiretls=maybe")),
            (&["smtputf8=yes"], (1, 0), String::new()),
            (&["smtputf8=yes", "requiretls=yes"], (33, 1), String::new()),
            (&["foo=bar"], (0, 0), String::new()),
        ];
        for (sent, (options, expected, warning)) in cases.iter().enumerate() {
            let arguments: Vec<&str> = options.iter().flat_map(|option| ["-O", option]).collect();
            let (records, told) = submitted(&instance, &arguments, sent + 1);
            let expected = if minor >= 11 { *expected } else { (0, 0) };
            assert_eq!(sendopts(&records), expected, "3.{minor}: {options:?}: {records:#?}");
            let warning = if minor >= 11 { warning.as_str() } else { "" };
            assert_eq!(told.replace("\n\n", "\n"), warning, "3.{minor}: {options:?}");
        }
    }
}

#[test]
fn full_names() {
    for (minor, mut plan) in plans("versions-names") {
        plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
        let instance = plan.start();
        let e = |count: usize| "\u{e9}".repeat(count);
        let a = |count: usize| "a".repeat(count);
        let cases = [
            ("Joe User".to_owned(), "Joe User <a@example.net>".to_owned()),
            ("a.b".into(), "\"a.b\" <a@example.net>".into()),
            ("a \x01 b".into(), "a b <a@example.net>".into()),
            (a(100), format!("{}|\t<a@example.net>", a(100))),
            ("J\u{f6}rg M\u{fc}ller".into(), "=?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <a@example.net>".into()),
            (" \u{e9}  x ".into(), "=?utf-8?Q?=C3=A9_x?= <a@example.net>".into()),
            ("\u{e9}=?_\"b\\c(".into(), "=?utf-8?Q?=C3=A9=3D=3F=5F=22b=5Cc=28?= <a@example.net>".into()),
            ("\u{e9}!*+/-.".into(), "=?utf-8?Q?=C3=A9!*+/-=2E?= <a@example.net>".into()),
            (a(29) + "\u{e9}", format!("=?utf-8?Q?{}=C3=A9?= <a@example.net>", a(29))),
            (a(30) + "\u{e9}", format!("=?utf-8?Q?{}=C3=A9?=|\t<a@example.net>", a(30))),
            (e(9), format!("=?utf-8?Q?{}?=|\t<a@example.net>", "=C3=A9".repeat(9))),
            (e(10), "=?utf-8?B?w6nDqcOpw6nDqcOpw6nDqcOpw6k=?= <a@example.net>".into()),
            (a(60) + "\u{e9}", format!("=?utf-8?Q?{}=C3?=|\t=?utf-8?Q?=A9?= <a@example.net>", a(60))),
            (
                e(24),
                "=?utf-8?B?w6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nD?=|\t=?utf-8?B?qcOp?= <a@example.net>"
                    .into(),
            ),
        ];
        for (sent, (name, expected)) in cases.iter().enumerate() {
            let (records, _) = submitted(&instance, &["-F", name], sent + 1);
            let mut lines = records.iter().filter_map(|record| record.strip_prefix("regular_text: "));
            let first = lines.find_map(|line| line.strip_prefix("From: ")).expect("a header");
            let rest = lines.take_while(|line| line.starts_with('\t'));
            let header = [first].into_iter().chain(rest).collect::<Vec<_>>().join("|");
            if minor >= 10 {
                assert_eq!(header, *expected, "3.{minor}: {name:?}");
            } else {
                assert!(
                    !header.contains("=?utf-8") && !header.contains('|'),
                    "3.{minor}: {name:?}: {header}"
                );
            }
        }
    }
}
