//! Notices to the postmaster: which errors are against the protocol.

mod sessions;

use conformance::{AuthAnswer, AuthServer, Client, Plan};

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
        let told = instance.queue("incoming").len();
        let mut client = Client::connect(instance.smtp_port());
        client.command(EHLO);
        for line in *before {
            client.command(line);
        }
        let reply = client.command(last).text();
        client.command("QUIT");
        // The notice is in the queue before the server hangs up.
        client.read_to_end();
        if (instance.queue("incoming").len() > told) != *expected {
            wrong.push(format!("{before:?}, {last:?}: {reply:?}, expected a notice: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let text = instance.queue("incoming")[0].content();
    assert!(text.contains(&format!(" In:  {EHLO}\n")) && text.contains(" In:  AUTH\n"), "{text}");
}

#[test]
fn what_is_told_of_a_session() {
    sessions::play("notices/sessions.txt");
}

#[test]
fn limits_that_make_no_sense() {
    sessions::play("notices/sizes.txt");
}
