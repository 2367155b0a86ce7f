//! Reject footers: which replies get them, where their lines go, and what their macros stand for.

use conformance::{Client, Plan, Play, ScriptedFilter, Suite, require, version_at_least};

use crate::dialogue::connect;

const UNKNOWN: &str = "500 5.5.2 Error: command not recognized";

/// A reply whose lines all have the same code, as the harness shows it: a dash in every line but the last.
fn lines(text: &str) -> String {
    let count = text.lines().count().max(1);
    let dashed = |(number, line): (usize, &str)| {
        let separator = if number + 1 < count { '-' } else { ' ' };
        format!("{}{separator}{}", &line[..3], &line[4..])
    };
    text.lines().enumerate().map(dashed).collect::<Vec<_>>().join("\n")
}

/// Says each line; each failure is named, and all of them at the end.
fn table(client: &mut Client, dialogue: &[(&str, &str)]) {
    let wrong: Vec<String> = dialogue
        .iter()
        .filter_map(|(line, expected)| {
            let found = client.command(line).text();
            (found != lines(expected)).then(|| format!("{line:?}: {found:?}, expected {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn where_the_text_goes() {
    let mut plan = Plan::new("footer");
    plan.set("smtpd_reject_footer", r"\c. For help, see $server_name\nclient $client_address")
        .set("local_recipient_maps", "inline:{bob=x}")
        .set("smtpd_error_sleep_time", "0");
    let instance = plan.start();
    let mut client = connect(&instance);
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Postfix");
    let help = ". For help, see mx.example.com";
    table(
        &mut client,
        &[
            ("FOO", &format!("500 5.5.2 Error: command not recognized{help}\n500 5.5.2 client 127.0.0.1")),
            // Without an enhanced code there is none to repeat.
            ("HELO", &format!("501 Syntax: HELO hostname{help}\n501 client 127.0.0.1")),
            ("HELO x", "250 mx.example.com"),
            ("ETRN foo.test", &format!("459 <foo.test>: service unavailable{help}\n459 client 127.0.0.1")),
            ("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
            (
                "RCPT TO:<nobody@example.com>",
                &format!(
                    "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in local recipient \
                     table{help}\n550 5.1.1 client 127.0.0.1"
                ),
            ),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("RSET", "250 2.0.0 Ok"),
            ("GET x", "221 2.7.0 Error: I can break rules, too. Goodbye."),
        ],
    );
    // It is not logged.
    instance.wait_for_log(
        "User unknown in local recipient table; from=<a@b.test> to=<nobody@example.com> proto=SMTP",
    );
    // The last word as well.
    instance.stop();
    let instance = plan.set("smtpd_hard_error_limit", "1").set("smtpd_reject_footer", "bye").start();
    let mut client = connect(&instance);
    table(&mut client, &[("FOO", "500 5.5.2 Error: command not recognized\n500 5.5.2 bye")]);
    let last = "421 4.7.0 mx.example.com Error: too many errors\n421 4.7.0 bye";
    assert_eq!(client.read_reply().text(), lines(last));
    assert!(!client.is_open());
}

#[test]
fn macros() {
    let mut plan = Plan::new("footer-macros");
    plan.set(
        "smtpd_reject_footer",
        "$client|$client_name|$client_address|$helo_name|$reverse_client_name|$sender|$sender_name|$sender_domain|\
         $recipient|$recipient_name|$recipient_domain|$server_name|$none|${sender?yes}|${sender:no}|\
         ${{$client_name} == {localhost} ? {here}:{there}}|$$|\\x",
    )
    .set("smtpd_client_restrictions", "reject_unauth_pipelining")
    .set("soft_bounce", "yes");
    let instance = plan.start();
    let mut client = connect(&instance);
    let namaddr = "localhost[127.0.0.1]|localhost|127.0.0.1";
    let end = "mx.example.com|";
    table(
        &mut client,
        &[
            (
                "FOO",
                &format!(
                    "400 4.5.2 Error: command not recognized\n400 4.5.2 {namaddr}||localhost|||||||{end}||no|here|$|\\x"
                ),
            ),
            ("HELO c<l>", "250 mx.example.com"),
            ("MAIL FROM:<\"al ice\"@b.test>", "250 2.1.0 Ok"),
            ("RCPT TO:<joe+ext@example.com>", "250 2.1.5 Ok"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            (
                "DATA x",
                &format!(
                    "401 4.5.4 Syntax: DATA\n401 4.5.4 {namaddr}|c?l?|localhost|al ice@b.test|al ice|b.test|\
                     joe+ext@example.com|joe+ext|example.com|{end}|yes||here|$|\\x"
                ),
            ),
            ("RSET", "250 2.0.0 Ok"),
            ("MAIL FROM:<>", "250 2.1.0 Ok"),
            (
                "MAIL FROM:<>",
                &format!(
                    "403 4.5.1 Error: nested MAIL command\n403 4.5.1 {namaddr}|c?l?|localhost|<>|<>||||\
                     |{end}|yes||here|$|\\x"
                ),
            ),
        ],
    );
    instance.wait_for_log("warning: unknown macro name \"none\" in expansion request");
    instance.stop();
    let instance = plan.set("smtpd_expansion_filter", "abcdefghilo0127").start();
    let mut client = connect(&instance);
    let reply = client.command("FOO").text();
    assert!(reply.contains("\n400 4.5.2 localho___127_0_0_1_|localho__|127_0_0_1||localho__|"), "{reply}");
}

#[test]
fn footers_by_reply() {
    let mut plan = Plan::new("footer-maps");
    plan.set("smtpd_error_sleep_time", "0")
        .set("smtpd_reject_footer", "general")
        .set("smtpd_reject_footer_maps", "fail:never");
    let instance = plan.start();
    // A table that cannot tell leaves the general text.
    table(&mut connect(&instance), &[("FOO", &format!("{UNKNOWN}\n500 5.5.2 general"))]);
    instance.wait_for_log(&format!("warning: fail:never lookup error for \"{UNKNOWN}\""));
    let rules = instance.home().join("footers");
    std::fs::write(
        &rules,
        "/^501/ \\nsyntax\\n\n/^502/ \\c\n/^503/ a$$ b\n/^504/ never\n/^459/ $$(client_name\n/^221/ never\n",
    )
    .expect("the folder is there");
    instance.stop();
    let instance = plan.set("smtpd_reject_footer_maps", &format!("regexp:{}", rules.display())).start();
    table(
        &mut connect(&instance),
        &[
            ("FOO", &format!("{UNKNOWN}\n500 5.5.2 general")),
            ("HELO", "501 Syntax: HELO hostname\n501 \n501 syntax\n501 "),
            ("STARTTLS", "502 5.5.1 Error: command not implemented"),
            ("DATA", "503 5.5.1 Error: need RCPT command"),
            ("ETRN x.test", "459 <x.test>: service unavailable"),
            ("QUIT", "221 2.0.0 Bye"),
        ],
    );
    instance.wait_for_log("warning: empty macro name: \"a$ b\"");
    instance.wait_for_log("warning: truncated macro reference: \"$(client_name\"");
}

#[test]
fn replies_of_the_filter() {
    let filter = ScriptedFilter::start();
    filter.play(
        "RCPT",
        [
            Play::say("550-5.1.1 one\n550-5.1.2 two\n450 4.7.9 three"),
            Play::say("550-one\n550 two"),
            Play::say("550"),
            Play::say("250 ok"),
        ],
    );
    let mut plan = Plan::new("footer-filter");
    plan.proxied(filter.port());
    let instance = plan.set("smtpd_reject_footer", r"\c, sorry\nmore").start();
    table(
        &mut connect(&instance),
        &[
            ("HELO client.example.net", "250 mx.example.com"),
            ("MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
            (
                "RCPT TO:<bob@example.com>",
                "450 5.1.1 one\n450 5.1.2 two\n450 4.7.9 three, sorry\n450 4.7.9 more",
            ),
            ("RCPT TO:<bob@example.com>", "550 one\n550 two, sorry\n550 more"),
            ("RCPT TO:<bob@example.com>", "550 "),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
        ],
    );
}

#[test]
fn refusals_replaced() {
    let has_them = Suite::under_test() == Suite::Postern || version_at_least(3, 11);
    require!(has_them, "Postfix 3.7 does not have the parameters, and beside it they count for nothing");
    let mut plan = Plan::new("reject-filter");
    let instance = plan.prepare();
    let rules = instance.home().join("refusals");
    let text = "/^500/ 450 4.5.2 say that again\n/^501/ 250 2.0.0 all is well\n/^502/ 550 4.7.1 neither\n";
    std::fs::write(&rules, text).expect("the folder is there");
    let instance = plan
        .set("smtpd_reject_filter_maps", &format!("regexp:{}", rules.display()))
        .set("smtpd_reject_footer", "sorry")
        .set("smtpd_hide_client_session", "yes")
        .without_version()
        .start();
    let mut client = connect(&instance);
    table(
        &mut client,
        &[
            ("FOO", "450 4.5.2 say that again\n450 4.5.2 sorry"),
            ("HELO", "501 Syntax: HELO hostname\n501 sorry"),
            ("STARTTLS", "502 5.5.1 Error: command not implemented\n502 5.5.1 sorry"),
        ],
    );
    for line in [
        format!("NOQUEUE: reply filter in: {UNKNOWN}"),
        "NOQUEUE: reply filter out: 450 4.5.2 say that again".to_owned(),
        "warning: NOQUEUE: ignoring invalid reject filter result: 250 2.0.0 all is well".to_owned(),
        "warning: NOQUEUE: ignoring invalid reject filter result: 550 4.7.1 neither".to_owned(),
    ] {
        instance.wait_for_log(&line);
    }
    // Where the message came from is nobody's business.
    assert_eq!(client.send_message("a@example.net", &["bob@example.com"], "Subject: x\n\nx\n").code, 250);
    let files = instance.queue("incoming");
    let content = files[0].content();
    let head: Vec<&str> = content.lines().take(2).collect();
    let id = files[0].path.file_name().expect("a file").to_string_lossy();
    assert_eq!(head[0], format!("Received: by mx.example.com (Postfix) id {id}"));
    assert!(head[1].starts_with("\tfor <bob@example.com>; "), "{content}");
}
