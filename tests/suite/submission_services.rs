//! The services `submission` and `submissions` as the shipped master.cf has them, with a filter before the queue: TLS
//! first, then a login, then mail to anywhere.

use conformance::{
    AuthRequest, AuthServer, Client, ExampleFilter, Identity, KeyKind, Offer, Plan, Service, Special,
    TlsClient, free_port,
};

use crate::dialogue::{EHLO, content, talk};
use crate::sasl::{SUCCESS, plain, server};

const MASTER_CF: &str = include_str!("../../etc/master.cf");

/// The two entries, without the marks that make them comments.
fn entries() -> String {
    let start = MASTER_CF.find("\n#submission ").expect("the first entry") + 1;
    let lines = MASTER_CF[start..].lines().take_while(|line| line.starts_with('#'));
    lines.map(|line| format!("{}\n", &line[1..])).collect()
}

/// A plan with TLS and logins.
fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"))
        .set("smtpd_tls_chain_files", "$config_directory/server.pem")
        .set("smtpd_error_sleep_time", "0");
    plan
}

fn start(plan: &Plan) -> conformance::Instance {
    let instance = plan.prepare();
    let identity = Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", Special::Nothing);
    identity.write(&instance.home().join("etc"), "server");
    let outcome = instance.start_master(&["-w"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    instance
}

/// Logs in, wrongly first, and hands in a message for somewhere else.
fn hand_in(client: &mut Client, server: &AuthServer) {
    let ehlo = client.command(EHLO);
    assert!(ehlo.announces("AUTH") && !ehlo.announces("STARTTLS"), "{ehlo:?}");
    talk(
        client,
        &[
            ("MAIL FROM:<alice@example.com>", "250 2.1.0 Ok"),
            (
                "RCPT TO:<bob@example.org>",
                "554 5.7.1 <bob@example.org>: Recipient address rejected: Access denied",
            ),
            ("RSET", "250 2.0.0 Ok"),
            (&plain("fail"), "535 5.7.8 Error: authentication failed: nope bad"),
            (&plain("ok"), SUCCESS),
            ("MAIL FROM:<alice@example.com>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 Ok"),
            ("DATA", "354"),
        ],
    );
    content(client, b"Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    let last = server.requests().last().map(AuthRequest::text).unwrap_or_default();
    assert!(last.contains(" secured resp="), "{last}");
}

#[test]
fn the_shipped_entries_work() {
    let server = server();
    let (start_tls, wrapped, filter, after) = (free_port(), free_port(), free_port(), free_port());
    let mut plan = plan("submission-services");
    plan.master_cf(
        &entries()
            .replace("submissions inet", &format!("127.0.0.1:{wrapped} inet"))
            .replace("submission inet", &format!("127.0.0.1:{start_tls} inet"))
            .replace("127.0.0.1:10025", &format!("127.0.0.1:{filter}"))
            .replace("private/auth", &server.path()),
    );
    plan.service(
        Service::new(format!("127.0.0.1:{after} inet n - n - - smtpd"))
            .option("smtpd_authorized_xforward_hosts", "127.0.0.0/8"),
    );
    let instance = start(&plan);
    let _filter = ExampleFilter::start(filter, after);
    let tls = TlsClient::new(Offer::default());

    let mut client = Client::connect(start_tls);
    let ehlo = client.command(EHLO);
    assert!(ehlo.announces("STARTTLS") && !ehlo.announces("AUTH"), "{ehlo:?}");
    talk(
        &mut client,
        &[
            (&plain("ok"), "530 5.7.0 Must issue a STARTTLS command first"),
            ("MAIL FROM:<alice@example.com>", "530 5.7.0 Must issue a STARTTLS command first"),
        ],
    );
    let (mut client, _) = client.start_tls(&tls).expect("STARTTLS");
    hand_in(&mut client, &server);
    instance.wait_for_log(
        "warning: localhost[127.0.0.1]: SASL PLAIN authentication failed: nope bad, \
         sasl_username=alice",
    );
    let (mut client, _) = Client::connect_tls(wrapped, &tls).expect("TLS from the start");
    hand_in(&mut client, &server);
    instance.wait_for_log("NOQUEUE: client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=alice");
    let log = instance.log_text();
    for name in [" postfix/submission/smtpd[", " postfix/submissions/smtpd["] {
        assert!(log.contains(name), "{log}");
    }
    let files = instance.queue("incoming");
    assert_eq!(files.len(), 2);
    for file in files {
        let text = file.content();
        assert!(text.contains("\n\tby mx.example.com (Postfix) with ESMTPSA"), "{text}");
    }
}

#[test]
fn tls_changes_what_may_be_used() {
    let server = server();
    let mut plan = plan("sasl-tls");
    let port = plan.smtp_port();
    plan.set("smtpd_tls_security_level", "may")
        .set("smtpd_sasl_auth_enable", "yes")
        .set("smtpd_sasl_type", "dovecot")
        .set("smtpd_sasl_path", &server.path())
        .set("smtpd_sasl_security_options", "noanonymous, noplaintext")
        .set("smtpd_sasl_tls_security_options", "noanonymous");
    let instance = start(&plan);
    let mut client = Client::connect(port);
    assert!(client.command(EHLO).text().contains("250-AUTH CRAM-MD5 FS\n"));
    talk(
        &mut client,
        &[
            (&plain("ok"), "535 5.7.8 Error: authentication failed: Invalid authentication mechanism"),
            (&plain("bob").replace("PLAIN", "FS"), SUCCESS),
            (&plain("ok").replace("PLAIN", "FS"), "503 5.5.1 Error: already authenticated"),
        ],
    );
    // Who has logged in before the handshake is nobody behind it.
    let (mut client, _) = client.start_tls(&TlsClient::new(Offer::default())).expect("STARTTLS");
    assert!(client.command(EHLO).text().contains("250-AUTH PLAIN LOGIN CRAM-MD5 FS\n"));
    talk(
        &mut client,
        &[
            ("MAIL FROM:<alice@example.com>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("RSET", "250 2.0.0 Ok"),
            (&plain("ok"), SUCCESS),
            ("MAIL FROM:<alice@example.com>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.com>", "250 2.1.5 Ok"),
            ("QUIT", "221 2.0.0 Bye"),
        ],
    );
    instance.wait_for_log("disconnect from");
    let log = instance.log_text();
    assert!(log.contains("client=localhost[127.0.0.1]\n"), "{log}");
    assert!(log.contains("client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=alice\n"), "{log}");
}
