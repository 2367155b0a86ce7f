//! Milters that fail, and what the log says of it with `milter_log_details`, which Postfix does not have.

use std::fs;

use conformance::{
    Client, Instance, MilterPlay, MilterScript, Plan, ScriptedMilter, Suite, free_port, require,
};

const WHY: &str = "Postern's own";

fn plan(name: &str, milters: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_milters", milters)
        .set("non_smtpd_milters", milters)
        .set("milter_log_details", "yes")
        .set("milter_connect_timeout", "1s")
        .set("milter_command_timeout", "1s")
        .set("milter_content_timeout", "1s")
        .set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    plan
}

/// A session of which nothing is expected but that it ends.
fn session(instance: &Instance) -> Vec<u16> {
    let mut client = Client::connect(instance.smtp_port());
    let commands = [
        "EHLO me",
        "FOO",
        "MAIL FROM:<a@example.net>",
        "RCPT TO:<b@example.com>",
        "DATA",
        "Subject: x\r\n\r\nbody\r\n.",
        "QUIT",
    ];
    let mut codes = vec![client.greeting().code];
    for command in commands {
        let refused = codes.last().is_some_and(|code| *code >= 400);
        if command.starts_with("Subject") && refused {
            continue;
        }
        codes.push(client.command(command).code);
    }
    client.read_to_end();
    codes
}

#[test]
fn the_log_tells_filter_phase_and_cause() {
    let ours = ["smtpd", "cleanup"].map(|daemon| Suite::under_test().is_ours(daemon));
    require!(ours == [true, true], WHY);
    let milter = ScriptedMilter::start(MilterScript::default());
    let instance = plan("milter-failures", &milter.endpoint()).start();
    let garbage = || vec![MilterPlay::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())];
    let (close, silence) = (|| vec![MilterPlay::Close], || vec![MilterPlay::Silence]);
    let unwanted = || vec![MilterPlay::strings(b'h', &["X", "y"])];
    for (code, plays, expected) in [
        (b'O', close(), "negotiation, cause=lost"),
        (b'O', silence(), "negotiation, cause=timeout"),
        (b'O', garbage(), "negotiation, cause=reply"),
        (b'C', close(), "client, cause=lost"),
        (b'H', garbage(), "helo, cause=reply"),
        (b'U', close(), "unknown, cause=lost"),
        (b'M', silence(), "mail, cause=timeout"),
        (b'R', unwanted(), "rcpt, cause=reply"),
        (b'T', close(), "data, cause=lost"),
        (b'L', close(), "header, cause=lost"),
        (b'N', garbage(), "end-of-headers, cause=reply"),
        (b'B', silence(), "body, cause=timeout"),
        (b'E', close(), "end-of-message, cause=lost"),
        (b'E', silence(), "end-of-message, cause=timeout"),
        (b'E', [unwanted(), close()].concat(), "end-of-message, cause=lost"),
        (
            b'E',
            vec![MilterPlay::Bytes(b"\0\0\0\x09h".to_vec()), MilterPlay::Close],
            "end-of-message, cause=lost",
        ),
    ] {
        milter.play(MilterScript::default().at(code, plays));
        let before = instance.log_text().matches("milter-failure: ").count();
        session(&instance);
        let all = instance.wait_for(expected, || {
            let text = instance.log_text();
            (text.matches("milter-failure: ").count() > before).then_some(text)
        });
        let line = all.lines().filter(|line| line.contains("milter-failure: ")).nth(before).expect("a line");
        let start = format!("milter-failure: filter={}, phase={expected}, elapsed=", milter.endpoint());
        assert!(line.contains(&start), "{line} for {expected}");
    }
    // Nothing is left of what was refused.
    assert!(instance.queue("incoming").is_empty());
}

#[test]
fn the_log_tells_why_there_is_no_connection() {
    let ours = ["smtpd", "cleanup", "pickup"].map(|daemon| Suite::under_test().is_ours(daemon));
    require!(ours == [true, true, true], WHY);
    let (refused, missing) = (format!("inet:127.0.0.1:{}", free_port()), "unix:/nonexistent/socket");
    let instance = plan("milter-unconnected", &format!("{refused}, {missing}, bad")).start();
    session(&instance);
    let outcome = instance.run_with_input("sendmail", &["b@example.com"], b"Subject: x\n\nbody\n");
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    for expected in [
        format!("smtpd[{{}}]: milter-failure: filter={refused}, phase=connect, cause=refused, elapsed=0."),
        format!("cleanup[{{}}]: milter-failure: filter={refused}, phase=connect, cause=refused, elapsed=0."),
    ] {
        let (program, rest) = expected.split_once("[{}]").expect("a place");
        instance.wait_for(&expected, || {
            let text = instance.log_text();
            text.lines()
                .any(|line| line.contains(&format!("/{program}[")) && line.contains(rest))
                .then_some(())
        });
    }
    // Without the first filter, which refuses, the others are asked.
    instance.edit_main_cf(|text| text.replace(&format!("{refused}, {missing}, bad"), missing));
    let text = fs::read_to_string(instance.home().join("etc/main.cf")).expect("ours");
    assert!(text.contains("non_smtpd_milters = unix:/nonexistent/socket\n"), "{text}");
    instance.run("postfix", &["reload"]);
    instance.wait_for("the other filter", || {
        session(&instance);
        instance
            .log_text()
            .contains(&format!("filter={missing}, phase=connect, cause=unreachable, "))
            .then_some(())
    });
    instance.edit_main_cf(|text| text.replace(missing, "bad").replace("milter_log_details = yes", ""));
    instance.run("postfix", &["reload"]);
    instance.wait_for("a warning", || {
        session(&instance);
        instance.log_text().contains("needs transport:endpoint instead of \"bad\"").then_some(())
    });
    assert!(!instance.log_text().contains("filter=bad"), "told without being asked to");
}
