//! REQUIRETLS (RFC 8689) of an SMTP client.

use conformance::{Client, Offer, Plan, Service, TlsClient, free_port};

use super::plans;
use crate::dialogue::{EHLO, talk};
use crate::tls::Identities;

const REFUSED: &str = "555 5.5.4 Unsupported option: REQUIRETLS";
const ASK: &str = "MAIL FROM:<a@example.net> REQUIRETLS";

#[test]
fn it_is_announced_and_kept_within_tls() {
    for (minor, mut plan) in plans("versions-requiretls") {
        plan.set("smtpd_tls_security_level", "may")
            .set("smtpd_tls_chain_files", "$config_directory/ecdsa.pem");
        plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
        let off = other(&mut plan, "requiretls_enable", "no");
        let hidden = other(&mut plan, "smtpd_discard_ehlo_keywords", "requiretls, dsn");
        let instance = plan.prepare();
        let _identities = Identities::make(&instance.home().join("etc"));
        let outcome = instance.start_master(&["-w"]);
        assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
        let tls = TlsClient::new(Offer::default());
        let within = |port: u16| {
            let mut client = Client::connect(port);
            assert!(!client.command(EHLO).announces("REQUIRETLS"));
            talk(&mut client, &[(ASK, REFUSED)]);
            client.start_tls(&tls).expect("a handshake").0
        };
        for port in [off, hidden] {
            let mut client = within(port);
            assert!(!client.command(EHLO).announces("REQUIRETLS"));
            talk(&mut client, &[(ASK, REFUSED), ("QUIT", "221")]);
        }
        let words = if minor >= 11 { "DSN, REQUIRETLS" } else { "DSN" };
        let told = instance.wait_for_log("discarding EHLO keywords: ");
        assert!(told.ends_with(&format!(": {words}")), "3.{minor}: {told}");
        let mut client = within(instance.smtp_port());
        if minor < 11 {
            assert!(!client.command(EHLO).announces("REQUIRETLS"));
            talk(&mut client, &[(ASK, REFUSED)]);
            continue;
        }
        talk(&mut client, &[(ASK, "250 2.1.0 Ok"), ("RSET", "250")]);
        let announced = client.command(EHLO).lines;
        assert_eq!(announced.last().map(String::as_str), Some("REQUIRETLS"), "{announced:?}");
        for (option, header, headers) in [
            ("requiretls", "Require-TLS-ESMTP: no", 2),
            ("REQUIRETLS", "Require-TLS-ESMTP: yes", 1),
            ("REQUIRETLS REQUIRETLS", "X: y", 1),
        ] {
            let mail = format!("MAIL FROM:<a@example.net> {option}");
            talk(&mut client, &[(&mail, "250"), ("RCPT TO:<b@example.com>", "250"), ("DATA", "354")]);
            let reply = client.command(&format!("{header}\r\n\r\nx\r\n.")).text();
            let id = reply.strip_prefix("250 2.0.0 Ok: queued as ").expect("it was queued");
            let files = instance.queue("incoming");
            let records = files.iter().find(|file| file.queue_id == id).expect("its file").records();
            assert!(records[1].ends_with(" 32"), "{records:#?}");
            let found = records.iter().filter(|record| record.contains("Require-TLS-ESMTP")).count();
            assert_eq!(found, headers, "{records:#?}");
        }
        talk(
            &mut client,
            &[
                ("MAIL FROM:<a@example.net> REQUIRETLS=yes", "555 5.5.4 Unsupported option: REQUIRETLS=yes"),
                ("HELO client.example.net", "250"),
                (ASK, "250 2.1.0 Ok"),
                ("QUIT", "221"),
            ],
        );
    }
}

/// A further server with this setting.
fn other(plan: &mut Plan, name: &str, value: &str) -> u16 {
    let port = free_port();
    plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option(name, value));
    port
}
