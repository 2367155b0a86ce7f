//! `sendmail -bs`: the server on standard input and output, run by the superuser, by an ordinary user, and by
//! `mail_owner`, who has the service itself.
//!
//! Random sessions are compared with Postfix's: replies, lines in the log, records in `maildrop`. `POSTERN_SESSIONS` is
//! how many there are in one run, and `POSTERN_SEED` a number that makes them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use conformance::{Dice, Instance, Plan, Suite, mask, require};
use nix::unistd::Uid;

use crate::addresses::number;
use crate::submission::file_records;

const ROOT: &str = "as an ordinary user sendmail is run by mail_owner";

/// Who runs sendmail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Superuser,
    /// With the group that installed programs have of themselves.
    User,
    Owner,
}

/// What came of a session.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    status: Option<i32>,
    replies: String,
    log: Vec<String>,
    /// The owner of each file in `maildrop`, and its records.
    files: Vec<String>,
}

/// Parameters that matter only to strangers, each of which would refuse the client.
const STRICT: &[(&str, &str)] = &[
    ("smtpd_client_restrictions", "reject"),
    ("smtpd_helo_restrictions", "reject"),
    ("smtpd_sender_restrictions", "reject"),
    ("smtpd_relay_restrictions", "reject"),
    ("smtpd_data_restrictions", "reject"),
    ("smtpd_end_of_data_restrictions", "reject"),
    ("smtpd_etrn_restrictions", "reject"),
    ("smtpd_reject_unlisted_sender", "yes"),
    ("smtpd_milters", "inet:127.0.0.1:1"),
    ("milter_default_action", "reject"),
    ("smtpd_proxy_filter", "127.0.0.1:1"),
    ("content_filter", "smtp:127.0.0.1:1"),
    ("smtpd_upstream_proxy_protocol", "haproxy"),
    ("smtpd_authorized_xclient_hosts", "127.0.0.0/8"),
    ("smtpd_authorized_xforward_hosts", "127.0.0.0/8"),
    ("notify_classes", "protocol,policy,software,resource"),
];

fn plan(name: &str, suite: Suite) -> Plan {
    let mut plan = Plan::for_suite(name, suite);
    plan.without("pickup").set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    plan.set("smtpd_error_sleep_time", "0").set("message_size_limit", "3000");
    plan
}

/// For random sessions: what a user may ask for, too.
fn permissive(suite: Suite) -> Plan {
    let mut plan = plan("stand-alone-random", suite);
    plan.set("smtpd_hard_error_limit", "10").set("authorized_verp_clients", "127.0.0.0/8");
    plan
}

fn session(instance: &Instance, by: By, input: &str) -> Outcome {
    let before = instance.log_of("smtpd").len();
    let sendmail = instance.suite().command("sendmail").expect("a command");
    let sendmail = sendmail.to_str().expect("a name in ASCII");
    let queue = fs::metadata(instance.queue_directory().join("public")).expect("a folder");
    let (user, group) = match by {
        By::Superuser => (0, 0),
        By::User => (65534, queue.gid()),
        By::Owner => (queue.uid(), queue.gid()),
    };
    let outcome = instance.run_path(
        Path::new("/usr/bin/setpriv"),
        &[&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", sendmail, "-bs"],
        input.as_bytes(),
    );
    let mut log = Vec::new();
    if outcome.status == Some(0) {
        instance.wait_for("the last line", || {
            log = instance.log_of("smtpd").split_off(before);
            log.last().is_some_and(|line| line.starts_with("disconnect from")).then_some(())
        });
    }
    let names = HashMap::new();
    let files = instance.queue("maildrop").into_iter().map(|file| {
        let path = instance.queue_directory().join("maildrop").join(&file.queue_id);
        let data = fs::metadata(&path).expect("a file");
        let records: Vec<_> = file_records(&file.bytes()).into_iter().map(without_date).collect();
        fs::remove_file(path).expect("ours");
        let sender = data.uid() == user;
        format!("{sender} {:o} {}", data.mode() & 0o777, mask(&records.join("|"), &names))
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    let log = mask(&log.join("\n"), &names).lines().map(str::to_owned).collect();
    Outcome { status: outcome.status, replies: mask(&outcome.out(), &names), log, files }
}

fn without_date(record: String) -> String {
    const DAYS: [&str; 7] = ["Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, ", "Sun, "];
    match DAYS.iter().find_map(|day| record.find(day)) {
        Some(at) => format!("{}DATE", &record[..at]),
        None => record,
    }
}

#[test]
fn a_user_meets_nothing_that_is_there_for_strangers() {
    require!(Uid::effective().is_root(), ROOT);
    let mut plan = plan("stand-alone", Suite::under_test());
    for (name, value) in STRICT {
        plan.set(name, value);
    }
    let instance = plan.start();
    let input = "EHLO me\r\nXCLIENT NAME=x\r\nXFORWARD NAME=x\r\nSTARTTLS\r\nAUTH PLAIN AGEAYQ==\r\nETRN example.com\r\n\
                 VRFY u\r\nMAIL FROM:<a@example.net> XVERP\r\n\
                 MAIL FROM:<a@example.net> BODY=8BITMIME RET=FULL ENVID=x\r\n\
                 RCPT TO:<no-such@example.com> NOTIFY=NEVER ORCPT=rfc822;x@y\r\nRCPT TO:<u@elsewhere.example>\r\n\
                 DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<u>\r\nRSET\r\nQUIT\r\n";
    for by in [By::Superuser, By::User] {
        let outcome = session(&instance, by, input);
        let replies: Vec<_> = outcome.replies.lines().skip(11).collect();
        assert_eq!(
            replies,
            [
                "550 5.7.0 Error: insufficient authorization",
                "550 5.7.0 Error: insufficient authorization",
                "502 5.5.1 Error: command not implemented",
                "503 5.5.1 Error: authentication not enabled",
                "458 Unable to queue messages",
                "252 2.0.0 u",
                "555 5.5.4 Unsupported option: XVERP",
                "250 2.1.0 Ok",
                "250 2.1.5 Ok",
                "250 2.1.5 Ok",
                "354 End data with <CR><LF>.<CR><LF>",
                "250 2.0.0 Ok: queued as QID1",
                "250 2.1.0 Ok",
                "250 2.1.5 Ok",
                "250 2.0.0 Ok",
                "221 2.0.0 Bye",
            ],
            "{by:?}: {outcome:#?}"
        );
        assert_eq!(
            outcome.log,
            [
                "connect from localhost[127.0.0.1]",
                "warning: do not use ETRN in \"sendmail -bs\" mode",
                "QID1: client=localhost[127.0.0.1]",
                "QID2: client=localhost[127.0.0.1]",
                "disconnect from localhost[127.0.0.1] ehlo=1 xclient=0/1 xforward=0/1 starttls=0/1 auth=0/1 \
                 mail=2/3 rcpt=3 data=1 rset=1 vrfy=1 etrn=0/1 quit=1 commands=10/16",
            ],
            "{by:?}"
        );
        assert_eq!(
            outcome.files,
            ["true 744 S:a@example.net|A:encoding=8bit|A:notify_flags=1|A:dsn_orig_rcpt=rfc822;x@y|\
              R:no-such@example.com|A:dsn_orig_rcpt=rfc822;u@elsewhere.example|R:u@elsewhere.example|M:|\
              N:Received: from me (localhost [127.0.0.1])|N:\tby mx.example.com (Postfix) with ESMTP id QID1;|\
              N:\tDATE|N:Subject: x|N:|N:.dot|X:|E:"],
            "{by:?}"
        );
    }
}

#[test]
fn the_owner_has_the_service_itself() {
    require!(Uid::effective().is_root(), ROOT);
    let mut plan = plan("stand-alone-owner", Suite::under_test());
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.0/8");
    // From 3.9 on all input at once is refused.
    plan.set("smtpd_forbid_unauth_pipelining", "no");
    let instance = plan.start();
    let message = "MAIL FROM:<a@example.net>\r\nRCPT TO:<u@elsewhere.example>\r\nDATA\r\nhi\r\n.\r\n";
    let input = format!("EHLO me\r\n{message}XCLIENT ADDR=192.0.2.1 NAME=x\r\nEHLO x\r\n{message}QUIT\r\n");
    let outcome = session(&instance, By::Owner, &input);
    let replies = &outcome.replies;
    assert!(replies.contains("\r\n250 2.0.0 Ok: queued as QID1\r\n"), "{outcome:#?}");
    assert!(replies.contains("454 4.7.1 <u@elsewhere.example>: Relay access denied"), "{outcome:#?}");
    assert!(outcome.files.is_empty());
    let file = instance.wait_for("a message", || instance.queue("incoming").into_iter().next());
    let records = file.records();
    // A pipe is none of this machine's interfaces, so that headers are a stranger's.
    for expected in ["client_address=127.0.0.1", "rewrite_context=remote", "log_client_port=0"] {
        assert!(records.iter().any(|record| record.contains(expected)), "{expected}: {records:#?}");
    }
}

#[test]
fn without_postdrop_the_server_ends() {
    require!(Uid::effective().is_root(), ROOT);
    let mut plan = plan("stand-alone-without", Suite::under_test());
    plan.set("command_directory", "/nonexistent");
    let instance = plan.start();
    instance.expect_fault("fatal: execvp ");
    let outcome =
        session(&instance, By::Superuser, "HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<u>\r\nNOOP\r\nQUIT\r\n");
    assert_eq!(outcome.status, Some(1));
    assert!(!outcome.replies.contains("250 2.1.5"), "{outcome:#?}");
    instance.wait_for_log("fatal: unable to execute /nonexistent/postdrop");
}

/// A session of random commands and content.
fn random(dice: &mut Dice) -> String {
    const ADDRESSES: &[&str] = &[
        "<a@example.net>",
        "<>",
        "<u>",
        "<\"q q\"@example.com>",
        "<@r,@s:c@d.example>",
        "<a@b..c>",
        "a@b",
        "<a",
        "<a b@c>",
        "<é@example.com>",
        "<a@é.example>",
        "<postmaster>",
        "<a!b>",
        "<a@[192.0.2.1]>",
        "<a@>",
    ];
    const ANY: &[&str] = &[
        "NOOP",
        "RSET",
        "RSET x",
        "VRFY u",
        "VRFY",
        "ETRN example.com",
        "ETRN",
        "HELP",
        "EXPN x",
        "XCLIENT NAME=x",
        "XFORWARD NAME=x",
        "STARTTLS",
        "AUTH PLAIN",
        "AUTH",
        "BDAT 0",
        "BDAT",
        "BDAT 3 LAST x",
        "DATA x",
        "HELO me",
        "EHLO you",
        "HELO",
        "TURN",
        "",
        "MAIL",
        "RCPT",
    ];
    const CONTENT: &[&str] = &["Subject: x", "From: a@b", "", "..", ".x", "text", "é", "a\rb", "To: c", " x"];
    const MAIL: &[&str] = &[
        "BODY=7BIT",
        "BODY=8BITMIME",
        "BODY=x",
        "SMTPUTF8",
        "RET=HDRS",
        "ENVID=a+2Bb",
        "SIZE=10",
        "AUTH=<>",
        "X=y",
        "XVERP",
    ];
    const RCPT: &[&str] = &["NOTIFY=NEVER", "NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;x+2By", "ORCPT=x", "FOO"];
    let mut text = String::new();
    if dice.percent(80) {
        text.push_str(dice.one_of::<&str>(&["EHLO me\r\n", "HELO me\r\n", "EHLO [192.0.2.1]\r\n"]));
    }
    for _ in 0..1 + dice.below(4) {
        let mut commands = vec![format!("MAIL FROM:{}", dice.one_of(ADDRESSES))];
        if dice.percent(40) {
            commands[0].push_str(&format!(" {}", dice.one_of(MAIL)));
        }
        for _ in 0..dice.below(4) {
            let option = if dice.percent(30) { format!(" {}", dice.one_of(RCPT)) } else { String::new() };
            commands.push(format!("RCPT TO:{}{option}", dice.one_of(ADDRESSES)));
        }
        if dice.percent(30) {
            let at = usize::try_from(dice.below(commands.len() as u64 + 1)).expect("small");
            commands.insert(at, (*dice.one_of(ANY)).to_owned());
        }
        text.extend(commands.iter().map(|command| format!("{command}\r\n")));
        let mut content: String =
            (0..dice.below(8)).map(|_| format!("{}\r\n", dice.one_of(CONTENT))).collect();
        if dice.percent(5) {
            content.push_str(&"more of it\r\n".repeat(300));
        }
        match dice.below(10) {
            0 => {}
            1..=3 => text.push_str(&format!("BDAT {} LAST\r\n{content}", content.len())),
            4 => text.push_str(&format!("BDAT {}\r\n{content}", content.len())),
            _ => text.push_str(&format!("DATA\r\n{content}.\r\n")),
        }
    }
    if dice.percent(80) {
        text.push_str("QUIT\r\n");
    }
    text
}

#[test]
fn random_sessions() {
    require!(Uid::effective().is_root(), ROOT);
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_SESSIONS", 25));
    let [postfix, tested] = [Suite::Postfix, Suite::under_test()].map(|suite| permissive(suite).start());
    let mut dice = Dice::new(seed);
    for number in 0..count {
        let input = random(&mut dice);
        let by = *dice.one_of(&[By::Superuser, By::User]);
        let outcomes = [&postfix, &tested].map(|instance| session(instance, by, &input));
        // Postfix's may end with a signal where it refuses a message by its announced size (3.7.11): docs/differences.md.
        if outcomes[0].status.is_none() {
            assert_eq!(outcomes[1].status, Some(0), "POSTERN_SEED={seed}, session {number}:\n{input}");
            continue;
        }
        assert_eq!(outcomes[0], outcomes[1], "POSTERN_SEED={seed}, session {number} by {by:?}:\n{input}");
    }
}
