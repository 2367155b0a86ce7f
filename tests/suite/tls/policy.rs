//! What a policy server is told of TLS.

use conformance::{Client, Offer, Plan, PolicyServer, Service, TlsClient};

use super::{Identities, fingerprint};

const NAMES: [&str; 7] = [
    "ccert_subject",
    "ccert_issuer",
    "ccert_fingerprint",
    "ccert_pubkey_fingerprint",
    "encryption_protocol",
    "encryption_cipher",
    "encryption_keysize",
];

#[test]
fn attributes() {
    let server = PolicyServer::saying("DUNNO");
    let mut plan = Plan::new("tls-policy");
    for (name, value) in [
        ("smtpd_tls_security_level", "may"),
        ("smtpd_tls_chain_files", "$config_directory/ecdsa.pem"),
        ("smtpd_tls_CAfile", "$config_directory/authority.crt"),
        ("smtpd_tls_ask_ccert", "yes"),
        ("smtpd_recipient_restrictions", &format!("check_policy_service {}", server.endpoint())),
    ] {
        plan.set(name, value);
    }
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    let instance = plan.prepare();
    let identities = Identities::make(&instance.home().join("etc"));
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
    let digests = |name: &str| {
        let identity = identities.get(name).expect("made");
        (fingerprint(identity.der()), fingerprint(&identity.public_key()))
    };
    let (trusted, trusted_key) = digests("trusted");
    let (stranger, stranger_key) = digests("stranger");
    let (deep, deep_key) = digests("deep");
    let suite = "TLS_AES_256_GCM_SHA384";
    let cases: [(&str, [&str; 7]); 4] = [
        ("", ["", "", "", "", "TLSv1.3", suite, "256"]),
        ("trusted", ["client.example.net", "Authority", &trusted, &trusted_key, "TLSv1.3", suite, "256"]),
        ("stranger", ["", "", &stranger, &stranger_key, "TLSv1.3", suite, "256"]),
        ("deep", ["(deep)+20client)+20\\+20+C3+A9", "Middle", &deep, &deep_key, "TLSv1.3", suite, "256"]),
    ];
    let mut failures = Vec::new();
    for (identity, expected) in &cases {
        let tls = TlsClient::new(Offer { identity: identities.get(identity), ..Offer::default() });
        let (mut client, _) = Client::connect(instance.smtp_port()).start_tls(&tls).expect("TLS");
        for line in ["EHLO x.example", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.com>", "QUIT"] {
            let reply = client.command(line);
            assert!(reply.code < 300, "{line}: {}", reply.text());
        }
        let request = server.requests().pop().expect("it was asked");
        let found = NAMES.map(|name| request.get(name));
        if found != *expected {
            failures.push(format!("{identity:?}: {found:?} instead of {expected:?}"));
        }
    }
    let mut client = Client::connect(instance.smtp_port());
    for line in ["EHLO x.example", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.com>"] {
        client.command(line);
    }
    let request = server.requests().pop().expect("it was asked");
    assert_eq!(NAMES.map(|name| request.get(name)), ["", "", "", "", "", "", "0"]);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
