//! Policy servers that people run, asked by each suite.

use conformance::{
    Client, DnsServer, FilterProgram, Instance, Plan, RealFilter, SpfPolicy, free_port, require,
};

use crate::dialogue::{content, talk};

fn plan(name: &str, endpoint: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_authorized_xclient_hosts", "static:all")
        .set("smtpd_hard_error_limit", "10000")
        .set("smtpd_error_sleep_time", "0")
        .set(
            "smtpd_recipient_restrictions",
            &format!("reject_unauth_destination, check_policy_service {endpoint}"),
        );
    plan
}

/// A client from elsewhere, past MAIL.
fn stranger(instance: &Instance, helo: &str, sender: &str) -> Client {
    let mut client = Client::connect(instance.smtp_port());
    talk(
        &mut client,
        &[
            ("XCLIENT NAME=spike.example ADDR=192.0.2.1", "220"),
            (&format!("EHLO {helo}"), "250"),
            (&format!("MAIL FROM:<{sender}>"), "250"),
        ],
    );
    client
}

#[test]
fn postgrey() {
    let port = free_port();
    let server = RealFilter::start(FilterProgram::Postgrey, port, 0);
    require!(server.is_ok(), server.as_ref().expect_err("the reason"));
    let server = server.expect("just seen");
    let instance = plan("postgrey", &format!("inet:127.0.0.1:{port}")).start();
    let mut client = stranger(&instance, "spike.example", "alice@example.net");
    let refused = "450 4.2.0 <bob@example.com>: Recipient address rejected: Greylisted, see \
                   http://postgrey.schweikert.ch/help/example.com.html";
    assert_eq!(client.command("RCPT TO:<bob@example.com>").text(), refused, "{}", server.output());
    instance.wait_for_log(&format!("NOQUEUE: reject: RCPT from spike.example[192.0.2.1]: {refused}; from=<"));
    // Whoever comes back after a second is let in, and a header tells.
    instance.wait_for("second thoughts", || {
        let reply = client.command("RCPT TO:<bob@example.com>").text();
        assert!(reply == refused || reply == "250 2.1.5 Ok", "{reply}");
        (reply == "250 2.1.5 Ok").then_some(())
    });
    talk(&mut client, &[("DATA", "354")]);
    content(&mut client, b"Subject: x\r\n\r\nbody\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    let message = instance.queue("incoming")[0].content();
    assert!(message.starts_with("X-Greylist: delayed ") && message.contains("\nSubject: x\n"), "{message}");
    assert!(server.output().contains("action=greylist, reason=new"), "{}", server.output());
    assert!(server.output().contains("action=pass, reason=triplet found"), "{}", server.output());
}

#[test]
fn policyd_spf() {
    require!(
        DnsServer::possible(),
        "needs the superuser, mount namespaces and port 53 of a loopback address"
    );
    let server = SpfPolicy::start();
    require!(server.is_ok(), server.as_ref().expect_err("the reason"));
    let server = server.expect("just seen");
    let instance = plan("policyd-spf", &server.endpoint())
        .with_dns(
            "pass.example TXT v=spf1 ip4:192.0.2.0/24 -all\nfail.example TXT v=spf1 -all\n\
             soft.example TXT v=spf1 ~all\nperm.example TXT v=spf1 foo -all\n",
        )
        .prepare();
    server.serve(&instance.home().join("etc/resolv.conf"));
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    for (helo, sender, reply, header) in [
        (
            "pass.example",
            "a@pass.example",
            "250 2.1.5 Ok",
            "Received-SPF: Pass (mailfrom) identity=mailfrom;",
        ),
        (
            "x.example",
            "a@soft.example",
            "250 2.1.5 Ok",
            "Received-SPF: Softfail (mailfrom) identity=mailfrom;",
        ),
        ("x.example", "a@none.example", "250 2.1.5 Ok", "Received-SPF: None (mailfrom) identity=mailfrom;"),
        (
            "x.example",
            "a@fail.example",
            "550 5.7.23 <bob@example.com>: Recipient address rejected: Message rejected due to: SPF fail - not authorized",
            "",
        ),
        (
            "fail.example",
            "a@pass.example",
            "550 5.7.23 <bob@example.com>: Recipient address rejected: Message rejected due to: SPF fail - not authorized",
            "",
        ),
        ("x.example", "a@perm.example", "550 5.7.24 ", ""),
    ] {
        let mut client = stranger(&instance, helo, sender);
        let said = client.command("RCPT TO:<bob@example.com>").text();
        assert!(said.starts_with(reply), "{sender} from {helo}: {said}");
        if header.is_empty() {
            instance.wait_for_log(&format!(
                "NOQUEUE: reject: RCPT from spike.example[192.0.2.1]: {said}; from=<{sender}>"
            ));
            continue;
        }
        talk(&mut client, &[("DATA", "354")]);
        content(&mut client, b"Subject: x\r\n\r\nbody\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
        let messages = instance.queue("incoming");
        assert!(messages.iter().any(|file| file.content().starts_with(header)), "{header}");
    }
    assert!(!instance.log_text().contains("problem talking"), "{}", instance.log_text());
}
