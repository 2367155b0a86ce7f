//! Notices to the postmaster: which errors are against the protocol.

mod sessions;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use conformance::{
    AuthAnswer, AuthServer, Client, Instance, Plan, QueueFile, Suite, require, version_at_least,
};
use nix::unistd::Uid;

use crate::dialogue::EHLO;

const MAIL: &str = "MAIL FROM:<alice@example.net>";
const RCPT: &str = "RCPT TO:<bob@example.com>";

/// What a client says last, after what, and whether the postmaster is told.
const CASES: &[(&[&str], &str, bool)] = &[
    (&[], "AUTH", true),
    (&[], "AUTH FOO", false),
    (&[], "AUTH PLAIN AGEAYg==", false),
    (&["AUTH PLAIN"], "*", false),
    (&[MAIL], "AUTH PLAIN", true),
    (&[], "EHLO", true),
    (&[], "FOO", true),
    (&[], "", true),
    (&[], "MAIL", true),
    (&[], "MAIL FROM:<a@b> FOO", true),
    (&[], "MAIL FROM:<a@b> SIZE=99999999999", false),
    (&[MAIL], MAIL, true),
    (&[], RCPT, true),
    (&[MAIL], "RCPT", true),
    (&[MAIL], "RCPT TO:<>", true),
    (&[MAIL], "RCPT TO:<bob@elsewhere.example>", false),
    (&[], "DATA", true),
    (&[MAIL], "DATA", false),
    (&[MAIL, RCPT], "DATA x", true),
    (&[], "RSET x", true),
    (&[], "VRFY", true),
    (&[], "ETRN", true),
    (&[], "ETRN -x-", true),
    (&[], "STARTTLS", true),
    (&[], "BDAT", true),
    (&[], "XCLIENT FOO=x", true),
    (&[], "XFORWARD ADDR=x", true),
    (&[], "GET / HTTP/1.0", false),
    (&[], "NOOP x", false),
];

#[test]
fn what_is_against_the_protocol() {
    let server = AuthServer::start(&AuthServer::greeting(&["PLAIN plaintext"]), |request| {
        let text = if request.response().is_some() { "FAIL\t{id}" } else { "CONT\t{id}\t" };
        AuthAnswer::line(text)
    });
    let mut plan = Plan::new("notices");
    plan.set("notify_classes", "protocol")
        .set("smtpd_sasl_auth_enable", "yes")
        .set("smtpd_sasl_type", "dovecot")
        .set("smtpd_sasl_path", &server.path())
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set("smtpd_authorized_xforward_hosts", "127.0.0.1")
        .set("smtpd_relay_restrictions", "reject_unauth_destination");
    let instance = plan.start();
    let mut wrong = Vec::new();
    for (before, last, expected) in CASES {
        let told = messages(&instance);
        let mut client = Client::connect(instance.smtp_port());
        client.command(EHLO);
        for line in *before {
            client.command(line);
        }
        let reply = client.command(last).text();
        client.command("QUIT");
        // The notice is in the queue before the server hangs up.
        client.read_to_end();
        if messages(&instance).is_subset(&told) == *expected {
            wrong.push(format!("{before:?}, {last:?}: {reply:?}, expected a notice: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let text = instance.queue("incoming")[0].content();
    assert!(text.contains(&format!(" In:  {EHLO}\n")) && text.contains(" In:  AUTH\n"), "{text}");
}

/// The messages in the queue; one that was broken off may still be going.
fn messages(instance: &Instance) -> BTreeSet<PathBuf> {
    let complete = instance.queue("incoming").into_iter().filter(QueueFile::is_complete);
    complete.map(|file| file.path).collect()
}

#[test]
fn what_is_told_of_a_session() {
    sessions::play("notices/sessions.txt");
}

#[test]
fn limits_that_make_no_sense() {
    require!(
        !version_at_least(3, 11) || Suite::under_test().is_ours("smtpd"),
        "what 3.11's own server obeys of a chunk that is too long depends on when it comes"
    );
    sessions::play("notices/sizes.txt");
}

/// The lengths of long text records, and whether one is the beginning of a line.
fn lengths(file: &QueueFile) -> Vec<(usize, bool)> {
    let records = file.records();
    let lengths = records.iter().filter_map(|record| {
        let (kind, text) = record.split_once("_text: ")?;
        let text = if kind == "regular" { text } else { text.trim_start_matches(' ') };
        Some((text.len(), kind != "regular"))
    });
    lengths.filter(|(length, cut)| *length > 100 || *cut).collect()
}

#[test]
fn words_that_are_longer_than_a_line() {
    // What cuts a line of the notice is cleanup, by its own limit.
    let mut plan = Plan::new("notices-long-words");
    plan.set("notify_classes", "protocol");
    *plan.smtpd() = plan.smtpd().clone().option("line_length_limit", "512");
    let instance = plan.start();
    for (length, expected) in [(506, 511), (507, 512), (508, 513), (511, 516), (512, 517), (600, 517)] {
        let mut client = Client::connect(instance.smtp_port());
        client.command(EHLO);
        client.command(&"x".repeat(length));
        client.command("QUIT");
        client.read_to_end();
        let files = instance.queue("incoming");
        assert_eq!(lengths(&files[0]), [(expected, false)], "{length}");
        fs::remove_file(&files[0].path).expect("nobody else takes it");
    }
}

#[test]
fn lines_of_a_bounce_that_are_longer_than_its_limit() {
    require!(Uid::effective().is_root(), "delivers mail");
    let mut plan = Plan::new("notices-long-bounces");
    plan.with_delivery()
        .set(
            "transport_maps",
            &format!(
                "inline:{{{{bad.example=error:no {}}},{{sender.example=retry:later}}}}",
                "x".repeat(600)
            ),
        )
        .without("bounce")
        .service(
            conformance::Service::new("bounce unix - - n - 0 bounce").option("line_length_limit", "512"),
        );
    plan.set("smtpd_reject_unlisted_recipient", "no");
    let instance = plan.start();
    let mut client = crate::dialogue::greeted(&instance);
    let reply = client.send_message("a@sender.example", &["b@bad.example"], "Subject: x\n\nx\n");
    assert_eq!(reply.code, 250);
    let file = instance.wait_for("the notice", || instance.queue("deferred").into_iter().next());
    let lengths = lengths(&file);
    assert!(
        lengths.iter().all(|(_, cut)| !cut) && lengths.iter().any(|(length, _)| *length > 600),
        "{lengths:?}"
    );
}
