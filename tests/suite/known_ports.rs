//! `known_tcp_ports`: a service that has its name from there is found by all that smtpd calls.

use conformance::{AuthAnswer, AuthServer, Client, MilterScript, Plan, PolicyServer, ScriptedMilter, base64};

#[test]
fn smtpd_calls_services_by_name() {
    let policy = PolicyServer::saying("REJECT by name");
    let auth = AuthServer::start(&AuthServer::greeting(&["PLAIN plaintext"]), |_| {
        AuthAnswer::line("OK\t{id}\tuser=alice")
    });
    let milter = ScriptedMilter::start(MilterScript::default());
    let milter_port = milter.endpoint().rsplit(':').next().expect("a port").to_owned();
    let mut plan = Plan::new("known-ports");
    plan.set(
        "known_tcp_ports",
        &format!("ourpolicy=ours={}, ourauth={}, ourmilter={milter_port}", policy.port(), auth.port()),
    )
    .set("smtpd_milters", "inet:127.0.0.1:ourmilter")
    .set("smtpd_sasl_auth_enable", "yes")
    .set("smtpd_sasl_type", "dovecot")
    .set("smtpd_sasl_path", "inet:127.0.0.1:ourauth")
    .set(
        "smtpd_sender_restrictions",
        "permit_sasl_authenticated, \
         check_policy_service inet:127.0.0.1:ourpolicy",
    )
    .set("smtpd_recipient_restrictions", "check_policy_service { inet:127.0.0.1:ours, timeout=10 }, permit");
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example.net");
    let refused = |what: &str| {
        format!(
            "554 5.7.1 <{what}>: {} address rejected: by name",
            match what {
                "a@example.net" => "Sender",
                _ => "Recipient",
            }
        )
    };
    client.command("MAIL FROM:<a@example.net>");
    assert_eq!(client.command("RCPT TO:<bob@example.com>").text(), refused("a@example.net"));
    client.command("RSET");
    let login = client.command(&format!("AUTH PLAIN {}", base64("x")));
    assert_eq!(login.text(), "235 2.7.0 Authentication successful");
    client.command("MAIL FROM:<a@example.net>");
    assert_eq!(client.command("RCPT TO:<bob@example.com>").text(), refused("bob@example.com"));
    client.command("QUIT");
    assert!(!milter.packets(0).is_empty(), "the Milter was called");
}
