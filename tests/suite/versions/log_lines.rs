//! Lines of smtpd and cleanup, and the replies that go with them.

use conformance::{Client, Service, free_port};

use super::{lines, plans};
use crate::dialogue::{EHLO, greeted, talk};
use crate::sasl::{SUCCESS, plain, server};

const MAIL: (&str, &str) = ("MAIL FROM:<a@example.net>", "250 2.1.0 Ok");
const RCPT: (&str, &str) = ("RCPT TO:<b@example.com>", "250 2.1.5 Ok");
const DATA: (&str, &str) = ("DATA", "354 End data with <CR><LF>.<CR><LF>");
const UNKNOWN: (&str, &str) = ("FOO", "500 5.5.2 Error: command not recognized");
const FROM: &str = "from localhost[127.0.0.1]";
const COMMANDS: &str = "214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD";

/// A dialogue, bytes behind it, how it ends, what is told of it, and whether there is a queue file then.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [u8], End, &'c str, bool);

/// How a client ends a session.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Goes,
    Waits,
}

#[test]
fn the_end_of_a_session_names_the_message() {
    for (minor, mut plan) in plans("versions-ends") {
        let patient = free_port();
        plan.set("smtpd_hard_error_limit", "2").set("smtpd_error_sleep_time", "0");
        plan.service(
            Service::new(format!("127.0.0.1:{patient} inet n - n - - smtpd")).option("smtpd_timeout", "1"),
        );
        let instance = plan.start();
        let cases: [Case; 12] = [
            (&[], b"", End::Goes, "lost connection after EHLO", false),
            (&[MAIL], b"", End::Goes, "lost connection after MAIL", false),
            (&[MAIL, RCPT], b"", End::Goes, "lost connection after RCPT", true),
            (&[MAIL, RCPT, ("RSET", "250")], b"", End::Goes, "lost connection after RSET", false),
            (&[MAIL, RCPT, DATA], b"", End::Goes, "lost connection after DATA (0 bytes)", true),
            (&[MAIL, RCPT, DATA], b"X: y\r\n\r\n", End::Goes, "lost connection after DATA (8 bytes)", true),
            (&[MAIL, RCPT], b"BDAT 9\r\nabc", End::Goes, "lost connection after BDAT (3 bytes)", true),
            (&[], b"", End::Waits, "timeout after EHLO", false),
            (&[MAIL, RCPT], b"", End::Waits, "timeout after RCPT", true),
            (&[MAIL, RCPT, DATA], b"", End::Waits, "timeout after DATA (0 bytes)", true),
            (&[UNKNOWN, UNKNOWN], b"", End::Goes, "too many errors after UNKNOWN", false),
            (&[MAIL, RCPT, UNKNOWN, UNKNOWN], b"", End::Goes, "too many errors after UNKNOWN", true),
        ];
        for (number, (dialogue, bytes, end, text, has_file)) in cases.into_iter().enumerate() {
            let port = if end == End::Waits { patient } else { instance.smtp_port() };
            let mut client = Client::connect(port);
            talk(&mut client, &[(EHLO, "250")]);
            talk(&mut client, dialogue);
            client.send(bytes);
            if end == End::Waits {
                assert!(client.read_to_end().starts_with("421 4.4.2 "), "{text}");
            }
            drop(client);
            let ends = || instance.log_text().matches("disconnect from").count();
            instance.wait_for("the end of the session", || (ends() == number + 1).then_some(()));
            let log = instance.log_of("smtpd");
            let id = log.iter().rev().find_map(|line| Some(line.split_once(": client=")?.0.to_owned()));
            let start = match (minor, has_file) {
                (..=9, _) => String::new(),
                (_, true) => id.expect("a message has begun") + ": ",
                (_, false) => "NOQUEUE: ".into(),
            };
            let expected = format!("{start}{text} {FROM}");
            assert!(log.contains(&expected), "3.{minor}: {expected:?} in {log:#?}");
        }
    }
}

#[test]
fn what_is_removed_is_told() {
    for (minor, mut plan) in plans("versions-removed") {
        let checks =
            "regexp:{ {/^Subject: away/ DISCARD} {/^Subject: no/ REJECT no} {/^Subject: hold/ HOLD} }";
        let instance = plan.set("header_checks", checks).start();
        let mut client = greeted(&instance);
        talk(&mut client, &[MAIL, RCPT, ("RSET", "250 2.0.0 Ok"), ("QUIT", "221")]);
        for (subject, code) in [("away", 250), ("no", 550), ("hold", 250), ("stays", 250)] {
            let text = format!("Subject: {subject}\n\nx\n");
            let reply = greeted(&instance).send_message("a@example.net", &["b@example.com"], &text);
            assert_eq!(reply.code, code, "{subject}");
        }
        let ends = || instance.log_text().matches("disconnect from").count();
        instance.wait_for("the end of all sessions", || (ends() == 5).then_some(()));
        let removed = || {
            let mut removed = lines(&instance, "cleanup");
            removed.retain(|line| line.contains("removed"));
            removed.sort();
            removed
        };
        let expected: &[&str] = if minor >= 10 {
            &["QID1: removed (canceled)", "QID1: removed (canceled)", "QID1: removed (discarded)"]
        } else {
            &[]
        };
        instance.wait_for("all lines", || (removed().len() >= expected.len()).then_some(()));
        assert_eq!(removed(), expected, "3.{minor}");
    }
}

#[test]
fn refusals_tell_who_has_logged_in() {
    let server = server();
    for (minor, mut plan) in plans("versions-logins") {
        let rules = "inline:{ {bad@example.com=REJECT no} {warn@example.com=WARN w} {hold@example.com=HOLD h} {redirect@example.com=REDIRECT x@y.test} {later@example.com=450 later} {away@example.com=DISCARD d} }";
        plan.set("smtpd_sasl_auth_enable", "yes")
            .set("smtpd_sasl_type", "dovecot")
            .set("smtpd_sasl_path", &server.path())
            .set("smtpd_authorized_xclient_hosts", "127.0.0.1")
            .set("smtpd_recipient_restrictions", &format!("check_recipient_access {rules}"));
        let instance = plan.start();
        let to = |local: &str| format!("RCPT TO:<{local}@example.com>");
        let (alice, odd) = (plain("ok"), plain("odd"));
        talk(
            &mut greeted(&instance),
            &[
                (&alice, SUCCESS),
                ("MAIL FROM:<a@example.net> AUTH=foo+2Bbar", "250"),
                (&to("bad"), "554"),
                (&to("warn"), "250"),
                (&to("hold"), "250"),
                (&to("redirect"), "250"),
                (&to("later"), "450"),
                (&to("away"), "250"),
                ("RSET", "250"),
                ("MAIL FROM:<a@example.net> SIZE=999999999", "552"),
                ("QUIT", "221"),
            ],
        );
        talk(&mut greeted(&instance), &[(&odd, SUCCESS), MAIL, (&to("bad"), "554"), ("QUIT", "221")]);
        let mut client = greeted(&instance);
        talk(&mut client, &[("XCLIENT LOGIN=joe", "220"), (EHLO, "250"), MAIL, (&to("bad"), "554")]);
        drop(client);
        let ends = || instance.log_text().matches("disconnect from").count();
        instance.wait_for("the end of all sessions", || (ends() == 3).then_some(()));
        let of = |line: &str| line.contains(FROM) && line.contains("; from=<");
        let told: Vec<String> = lines(&instance, "smtpd").into_iter().filter(|line| of(line)).collect();
        let alice = " sasl_method=PLAIN sasl_username=alice";
        let expected = [
            ("reject", [alice, " sasl_sender=foo+2Bbar"].concat()),
            ("warn", [alice, " sasl_sender=foo+2Bbar"].concat()),
            ("hold", [alice, " sasl_sender=foo+2Bbar"].concat()),
            ("redirect", [alice, " sasl_sender=foo+2Bbar"].concat()),
            ("reject", [alice, " sasl_sender=foo+2Bbar"].concat()),
            ("discard", [alice, " sasl_sender=foo+2Bbar"].concat()),
            ("reject", alice.to_owned()),
            ("reject", " sasl_method=PLAIN sasl_username=jo)e(\\".to_owned()),
            ("reject", " sasl_method=XCLIENT sasl_username=joe".to_owned()),
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (line, (action, login)) in told.iter().zip(&expected) {
            let login = if minor >= 10 { login } else { "" };
            let end = format!(" proto=ESMTP helo=<client.example.net>{login}");
            assert!(
                line.contains(&format!(": {action}: ")) && line.ends_with(&end),
                "3.{minor}: {line} {end}"
            );
        }
    }
}

#[test]
fn who_has_logged_in_elsewhere_has_logged_in() {
    for (minor, mut plan) in plans("versions-xclient") {
        plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1")
            .set("smtpd_relay_restrictions", "permit_sasl_authenticated, reject_unauth_destination");
        let instance = plan.start();
        let relayed = if minor >= 10 { "250" } else { "554" };
        talk(
            &mut greeted(&instance),
            &[
                ("XCLIENT ADDR=192.0.2.1 LOGIN=joe", "220"),
                (EHLO, "250"),
                MAIL,
                ("RCPT TO:<b@example.org>", relayed),
                ("QUIT", "221"),
            ],
        );
        let mut client = greeted(&instance);
        talk(&mut client, &[("XCLIENT ADDR=192.0.2.1", "220"), (EHLO, "250"), MAIL]);
        talk(&mut client, &[("RCPT TO:<b@example.org>", "554"), ("QUIT", "221")]);
    }
}

#[test]
fn help_is_a_command() {
    for (minor, mut plan) in plans("versions-help") {
        let encrypted = free_port();
        plan.set("smtpd_hard_error_limit", "4")
            .set("smtpd_error_sleep_time", "0")
            .set("smtpd_junk_command_limit", "1");
        let service = format!("127.0.0.1:{encrypted} inet n - n - - smtpd");
        plan.service(Service::new(service).option("smtpd_tls_security_level", "encrypt"));
        let instance = plan.start();
        let help = if minor >= 9 { COMMANDS } else { UNKNOWN.1 };
        let mut client = greeted(&instance);
        let dialogue =
            [("HELP", help), ("help me", help), ("NOOP", "250 2.0.0 Ok"), ("VRFY a", "252 2.0.0 a")];
        talk(&mut client, &dialogue);
        talk(&mut client, &[("QUIT", "221 2.0.0 Bye")]);
        let counted = if minor >= 9 { "quit=1 help=2 commands=6" } else { "quit=1 unknown=0/2 commands=4/6" };
        instance.wait_for_log(&format!("{FROM} ehlo=1 noop=1 vrfy=1 {counted}"));
        let mut client = Client::connect(encrypted);
        talk(&mut client, &[(EHLO, "250"), ("HELP", help), ("QUIT", "221")]);
    }
}

#[test]
fn old_restrictions() {
    let gone = [
        (
            "permit_naked_ip_address",
            "specify \"permit_mynetworks\" or \"permit_sasl_authenticated\"",
            "restriction permit_naked_ip_address is deprecated. Use permit_mynetworks or permit_sasl_authenticated instead",
        ),
        (
            "reject_maps_rbl",
            "specify \"reject_rbl_client domain-name\"",
            "support for restriction \"reject_maps_rbl\" will be removed from Postfix; use \"reject_rbl_client domain-name\" instead",
        ),
        (
            "check_relay_domains",
            "specify \"reject_unauth_destination\"",
            "support for restriction \"check_relay_domains\" will be removed from Postfix; use \"reject_unauth_destination\" instead",
        ),
    ];
    for (minor, mut plan) in plans("versions-old") {
        let mut ports = Vec::new();
        for (name, ..) in gone.iter().chain(&[("permit_mx_backup", "", "")]) {
            let port = free_port();
            let service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
            plan.service(service.option("smtpd_recipient_restrictions", name));
            ports.push(port);
        }
        let instance = plan.start();
        let code = if minor >= 9 { "451 4.3.5 Server configuration error" } else { "250 2.1.5 Ok" };
        for (port, (name, instead, before)) in ports.iter().zip(&gone) {
            talk(&mut Client::connect(*port), &[(EHLO, "250"), MAIL, (RCPT.0, code), ("QUIT", "221")]);
            let told = match minor {
                9.. => format!(
                    "support for restriction \"{name}\" has been removed in Postfix 3.9; instead, {instead}"
                ),
                _ => (*before).to_owned(),
            };
            instance.wait_for_log(&format!("warning: {told}"));
        }
        talk(&mut Client::connect(ports[3]), &[(EHLO, "250"), MAIL, RCPT, ("QUIT", "221")]);
        let ends = || instance.log_text().matches("disconnect from").count();
        instance.wait_for("the end of all sessions", || (ends() == 4).then_some(()));
        let told = "support for restriction \"permit_mx_backup\" will be removed from Postfix; instead, specify \"relay_domains\"";
        assert_eq!(instance.log_text().contains(told), minor >= 9, "3.{minor}: {}", instance.log_text());
    }
}

/// `smtpd_forbid_bare_newline = note`, since 3.9: as `normalize`, and the last line of a session tells of them.
#[test]
fn bare_newlines_are_noted() {
    for (minor, mut plan) in plans("versions-bare-newlines") {
        if minor < 9 {
            continue;
        }
        plan.set("smtpd_forbid_bare_newline", "Note").set("smtpd_forbid_bare_newline_exclusions", "");
        let instance = plan.start();
        let content = "354 End data with <CR><LF>.<CR><LF>";
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("EHLO x\n", "250")], " ehlo=1 quit=1 commands=2 notes=bare_lf"),
            (&[("EHLO x\r\n", "250")], " ehlo=1 quit=1 commands=2"),
            (
                &[("EHLO x\r\n", "250"), ("FOO\n", "500")],
                " ehlo=1 quit=1 unknown=0/1 commands=2/3 notes=bare_lf",
            ),
            (
                &[
                    ("EHLO x\r\n", "250"),
                    ("MAIL FROM:<a@example.net>\r\n", "250"),
                    ("RSET\n", "250"),
                    ("NOOP\r\n", "250"),
                ],
                " ehlo=1 mail=1 rset=1 noop=1 quit=1 commands=5 notes=bare_lf",
            ),
            (
                &[
                    ("EHLO x\r\n", "250"),
                    ("MAIL FROM:<a@example.net>\r\n", "250"),
                    ("RCPT TO:<b@example.com>\r\n", "250"),
                    ("DATA\r\n", content),
                    ("a\n.\nb\r\n.\r\n", "250"),
                ],
                " ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5 notes=bare_lf",
            ),
            (
                &[
                    ("EHLO x\r\n", "250"),
                    ("MAIL FROM:<a@example.net>\r\n", "250"),
                    ("RCPT TO:<b@example.com>\r\n", "250"),
                    ("BDAT 4 LAST\r\na\nb\n", "250"),
                ],
                " ehlo=1 mail=1 rcpt=1 bdat=1 quit=1 commands=5 notes=bare_lf",
            ),
        ];
        for (number, (dialogue, expected)) in cases.into_iter().enumerate() {
            let mut client = Client::connect(instance.smtp_port());
            for (sent, reply) in dialogue {
                client.send(sent.as_bytes());
                let got = client.read_reply().text();
                assert!(got.starts_with(reply), "3.{minor}: {sent}: {got}");
            }
            talk(&mut client, &[("QUIT", "221")]);
            let ends = || instance.log_text().matches("disconnect from").count();
            instance.wait_for("the end of the session", || (ends() == number + 1).then_some(()));
            let log = instance.log_of("smtpd");
            let told =
                log.iter().rev().find_map(|line| line.split_once("disconnect from localhost[127.0.0.1]"));
            assert_eq!(told.map(|(_, text)| text), Some(expected), "3.{minor}");
        }
    }
}

/// Who may send bare newlines: parent domains match as those of mynetworks, whose rule it has and not one of its own name.
#[test]
fn who_may_send_bare_newlines() {
    for (minor, mut plan) in plans("versions-exclusions") {
        let ports = [free_port(), free_port()];
        plan.set("smtpd_forbid_bare_newline", "reject");
        plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1");
        for (port, rules) in ports.into_iter().zip(["mynetworks", "smtpd_forbid_bare_newline_exclusions"]) {
            plan.service(
                Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"))
                    .option("parent_domain_matches_subdomains", rules)
                    .option("smtpd_forbid_bare_newline_exclusions", "example.net, .example.org"),
            );
        }
        let instance = plan.start();
        for (port, name, may) in [
            (ports[0], "x.example.net", true),
            (ports[0], "x.example.org", false),
            (ports[0], "example.net", true),
            (ports[1], "x.example.net", false),
            (ports[1], "x.example.org", true),
        ] {
            let mut client = Client::connect(port);
            let told = format!("XCLIENT NAME={name} ADDR=192.0.2.9");
            talk(&mut client, &[(EHLO, "250"), (&told, "220"), (EHLO, "250")]);
            client.send(b"NOOP\n");
            let code = client.read_reply().code;
            assert_eq!(code, if may { 250 } else { 550 }, "3.{minor}: {name}");
        }
        drop(instance);
    }
}
