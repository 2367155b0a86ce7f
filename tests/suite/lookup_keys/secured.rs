//! Tables that are asked about who the client has shown to be: certificates, names asked for in the handshake, logins.

use std::collections::HashMap;
use std::fmt::Write as _;

use conformance::{
    AuthAnswer, AuthServer, Client, Identity, Instance, KeyKind, Offer, Plan, RecordingMap, Service, Special,
    Suite, TlsClient, base64, require,
};
use nix::unistd::Uid;

/// What every table has.
fn values() -> HashMap<String, String> {
    [
        ("owned@example.net", "joe, alice"),
        ("@owned.example", "alice"),
        ("logins joe", "someone"),
        ("users joe", "DUNNO"),
        ("alice", "INFO known"),
        ("192.0.2.1", "x"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn plan(suite: Suite, server: &AuthServer) -> Plan {
    let mut plan = Plan::for_suite("secured-keys", suite);
    for (name, value) in [
        ("smtpd_tls_security_level", "may"),
        ("smtpd_tls_chain_files", "$config_directory/server.pem"),
        ("smtpd_tls_ask_ccert", "yes"),
        ("smtpd_tls_fingerprint_digest", "sha256"),
        ("tls_server_sni_maps", "proxy:texthash:names"),
        ("relay_clientcerts", "proxy:texthash:certificates, proxy:regexp:patterns"),
        ("local_header_rewrite_clients", "permit_tls_clientcerts, permit_sasl_authenticated"),
        ("smtpd_client_restrictions", "check_ccert_access proxy:texthash:client"),
        (
            "smtpd_helo_restrictions",
            "check_ccert_access { proxy:texthash:helo, { search_order = pubkey_fingerprint, cert_fingerprint } }",
        ),
        ("smtpd_sender_login_maps", "proxy:texthash:logins"),
        (
            "smtpd_sender_restrictions",
            "check_sasl_access proxy:texthash:users, warn_if_reject reject_known_sender_login_mismatch, \
             warn_if_reject reject_authenticated_sender_login_mismatch, \
             warn_if_reject reject_unauthenticated_sender_login_mismatch, reject_sender_login_mismatch",
        ),
        ("smtpd_relay_restrictions", "permit_tls_clientcerts, permit_sasl_authenticated, reject"),
        ("mynetworks", ""),
        ("smtpd_sasl_auth_enable", "yes"),
        ("smtpd_sasl_type", "dovecot"),
        ("smtpd_sasl_exceptions_networks", "proxy:texthash:exceptions"),
        ("smtpd_authorized_xclient_hosts", "static:all"),
        ("recipient_delimiter", "+"),
        ("mydestination", "$myhostname, local.test"),
        ("smtpd_error_sleep_time", "0"),
        ("smtpd_soft_error_limit", "1000"),
        ("smtpd_hard_error_limit", "1000"),
    ] {
        plan.set(name, value);
    }
    plan.set("smtpd_sasl_path", &server.path());
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    plan
}

const SENDERS: &[&str] = &[
    "owned@example.net",
    "Owned+Ext@Example.net",
    "other@owned.example",
    "Other@Sub.Owned.example",
    "\"x y\"@example.net",
    "joe@local.test",
    "joe",
    "nobody@example.net",
    "",
    "@a:owned@example.net",
    "postmaster",
];

struct Side {
    instance: Instance,
    tables: RecordingMap,
}

impl Side {
    fn keys(&self) -> String {
        let keys = self.tables.take();
        keys.into_iter().filter(|key| !key.ends_with(" *")).collect::<Vec<_>>().join(" | ")
    }

    /// One session: who it is, and every command with its reply's code and the keys.
    fn session(&self, name: &str, tls: Option<&TlsClient>, login: Option<&str>) -> String {
        let mut client = Client::connect(self.instance.smtp_port());
        let mut told = format!("{name}, connection: {}\n", self.keys());
        let mut say = |client: &mut Client, command: &str| {
            let reply = client.command(command);
            let auth = reply.announces("AUTH");
            let _ = writeln!(told, "{name}, {command}: {} {auth} {}", reply.code, self.keys());
        };
        say(&mut client, "EHLO client.example");
        if let Some(tls) = tls {
            client = client.start_tls(tls).expect("a handshake").0;
            say(&mut client, "EHLO client.example");
        }
        match login {
            Some("XCLIENT") => say(&mut client, "XCLIENT LOGIN=joe ADDR=192.0.2.1"),
            Some(user) => say(&mut client, &format!("AUTH PLAIN {}", base64(user))),
            None => {}
        }
        say(&mut client, "EHLO client.example");
        for sender in SENDERS {
            say(&mut client, &format!("MAIL FROM:<{sender}>"));
            say(&mut client, "RCPT TO:<b@elsewhere.example>");
            say(&mut client, "RSET");
        }
        say(&mut client, "MAIL FROM:<owned@example.net> AUTH=joe+40example.net");
        say(&mut client, "QUIT");
        told
    }
}

#[test]
fn of_certificates_names_and_logins() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let server = Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", Special::Nothing);
    let client = Identity::self_issued(KeyKind::Ecdsa, "client.example", Special::Nothing);
    let told = [Suite::under_test(), Suite::Postfix].map(|suite| {
        let auth = AuthServer::start(&AuthServer::greeting(&["PLAIN plaintext"]), |request| {
            let user = request.response().unwrap_or_default();
            AuthAnswer::line(&format!("OK\t{{id}}\tuser={user}"))
        });
        let instance = plan(suite, &auth).prepare();
        server.write(&instance.home().join("etc"), "server");
        let tables = RecordingMap::start(&instance, values());
        let started = instance.start_master(&["-w"]);
        assert_eq!(started.status, Some(0), "{}", started.err());
        let side = Side { instance, tables };
        let tls = |identity, server_name| TlsClient::new(Offer { identity, server_name, ..Offer::default() });
        let mut told = side.session("nobody", None, None);
        told += &side.session("XCLIENT", None, Some("XCLIENT"));
        told += &side.session("alice", None, Some("alice"));
        told += &side.session("Joe", None, Some("Joe"));
        told += &side.session("TLS", Some(&tls(None, "")), None);
        for name in ["mx.example.com", "A.B.Example.Com", "unknown.test", "single"] {
            told += &side.session(name, Some(&tls(None, name)), None);
        }
        told += &side.session("certificate", Some(&tls(Some(&client), "a.b.test")), None);
        told += &side.session("certificate and login", Some(&tls(Some(&client), "")), Some("alice"));
        told + &side.tables.asked().join("\n")
    });
    let [ours, theirs] = &told;
    let mut different = String::new();
    for (ours, theirs) in ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs) {
        let _ = write!(different, "under test: {ours}\nPostfix:    {theirs}\n");
    }
    assert!(different.is_empty() && ours.lines().count() == theirs.lines().count(), "{different}");
    assert!(theirs.contains("certificates ") && theirs.contains("names ") && theirs.contains("logins "));
}
