//! Many commands in one TLS record.

use conformance::{Client, Offer, Plan, Service, TlsClient};

use super::Identities;

/// More than a server reads at a time, less than a record holds: what the server has taken from the socket and has not
/// read yet must not wait for more from the client, who waits for replies.
#[test]
fn commands_of_one_record_are_all_answered() {
    let mut plan = Plan::new("tls-pipelining");
    plan.set("smtpd_tls_security_level", "may").set("smtpd_tls_chain_files", "$config_directory/ecdsa.pem");
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    let instance = plan.prepare();
    let _identities = Identities::make(&instance.home().join("etc"));
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
    let tls = TlsClient::new(Offer::default());
    let mut client = Client::connect(instance.smtp_port());
    assert_eq!(client.command("EHLO client.example.net").code, 250);
    let (mut client, _) = client.start_tls(&tls).expect("a handshake");
    assert_eq!(client.command("EHLO client.example.net").code, 250);
    for count in [40_usize, 100, 250] {
        let recipients: String =
            (0..count).map(|n| format!("RCPT TO:<someone-{n:06}@example.com>\r\n")).collect();
        client.send(format!("MAIL FROM:<a@example.net>\r\n{recipients}DATA\r\n").as_bytes());
        let codes: Vec<u16> = (0..count + 2).map(|_| client.read_reply().code).collect();
        assert_eq!(codes[count + 1], 354, "{count}: {codes:?}");
        assert!(codes[..=count].iter().all(|code| *code == 250), "{count}: {codes:?}");
        assert_eq!(client.command("Subject: one record\r\n\r\nHello\r\n.").code, 250, "{count}");
    }
    assert_eq!(client.command("QUIT").code, 221);
}
