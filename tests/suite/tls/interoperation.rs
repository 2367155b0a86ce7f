//! Clients that are not ours: OpenSSL's, GnuTLS's, swaks, and Postfix's own smtp at its levels.

use std::path::{Path, PathBuf};

use conformance::{
    Client, DnsServer, Identity, Instance, KeyKind, LogLine, Plan, Service, Special, free_port, peer_program,
    peers_root, require, run,
};
use nix::unistd::Uid;

use super::{Identities, fingerprint};

/// A client, what it is told on standard input, and what the server's log says about its session.
struct Foreign {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    log: &'static str,
}

fn foreign(port: u16, wrapper: u16) -> Vec<Foreign> {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let openssl = PathBuf::from("/usr/bin/openssl");
    let address = format!("127.0.0.1:{port}");
    let s_client =
        |version| text(&["s_client", "-quiet", version, "-starttls", "smtp", "-connect", &address]);
    let gnutls = peer_program("gnutls-cli");
    let gnutls_cli = |priority: &str| {
        let priority = format!("NORMAL:-VERS-ALL:+{priority}");
        text(&[
            "--starttls-proto=smtp",
            "--insecure",
            "--priority",
            &priority,
            "--port",
            &port.to_string(),
            "127.0.0.1",
        ])
    };
    let swaks = |port: u16, how: &str| {
        let script = peer_program("swaks").display().to_string();
        let mail = ["--to", "b@example.com", "--from", "a@example.net"];
        let server = ["--server", "127.0.0.1", "--port", &port.to_string(), how];
        [text(&[&script]), text(&server), text(&mail)].concat()
    };
    let perl = PathBuf::from("/usr/bin/perl");
    let client =
        |name, program: &Path, arguments, log| Foreign { name, program: program.into(), arguments, log };
    vec![
        client(
            "openssl, TLS 1.2",
            &openssl,
            s_client("-tls1_2"),
            "TLSv1.2 with cipher ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        client(
            "openssl, TLS 1.3",
            &openssl,
            s_client("-tls1_3"),
            "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384",
        ),
        client(
            "gnutls, TLS 1.2",
            &gnutls,
            gnutls_cli("VERS-TLS1.2"),
            "TLSv1.2 with cipher ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        client(
            "gnutls, TLS 1.3",
            &gnutls,
            gnutls_cli("VERS-TLS1.3"),
            "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384",
        ),
        client("swaks, STARTTLS", &perl, swaks(port, "--tls"), "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"),
        client(
            "swaks, wrapper",
            &perl,
            swaks(wrapper, "--tls-on-connect"),
            "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384",
        ),
    ]
}

fn perl_modules() -> String {
    let folder = peers_root().join("usr/lib/x86_64-linux-gnu/perl5");
    let versions = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    versions.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>().join(":")
}

#[test]
fn foreign_clients() {
    require!(peer_program("gnutls-cli").exists(), "gnutls-cli was not fetched (tests/setup-peers)");
    require!(Path::new("/usr/bin/openssl").exists(), "there is no openssl command");
    let mut plan = Plan::new("tls-clients");
    let wrapper = free_port();
    for (name, value) in [
        ("smtpd_tls_security_level", "may"),
        ("smtpd_tls_chain_files", "$config_directory/ecdsa.pem"),
        ("smtpd_tls_loglevel", "1"),
    ] {
        plan.set(name, value);
    }
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    plan.service(
        Service::new(format!("127.0.0.1:{wrapper} inet n - n - - smtpd"))
            .option("smtpd_tls_wrappermode", "yes"),
    );
    let instance = plan.prepare();
    let _identities = Identities::make(&instance.home().join("etc"));
    start(&instance);
    let modules = perl_modules();
    let mut failures = Vec::new();
    for Foreign { name, program, arguments, log } in foreign(instance.smtp_port(), wrapper) {
        let seen = instance.log().len();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = run(&program, &arguments, &[("PERL5LIB", &modules)], b"QUIT\r\n");
        let said = outcome.out() + &outcome.err();
        // GnuTLS's client may leave when its input ends, before it hears that.
        if !["221 2.0.0 Bye", "- Handshake was completed"].iter().any(|text| said.contains(text)) {
            failures.push(format!("{name}: {said}"));
        }
        instance.wait_for(name, || {
            let log = instance.log();
            log.get(seen..)?.iter().any(|line| line.text.starts_with("disconnect from")).then_some(())
        });
        let established =
            |line: &LogLine| line.text.contains("TLS connection established from") && line.text.contains(log);
        if !instance.log().get(seen..).unwrap_or_default().iter().any(established) {
            failures.push(format!("{name}: no line with {log:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn start(instance: &Instance) {
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
}

/// The server that Postfix's smtp delivers to, with the certificate of [`site_identity`].
fn site_server(port: u16, level: &str) -> Service {
    Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"))
        .option("smtpd_tls_security_level", level)
        .option("smtpd_tls_chain_files", "$config_directory/site.pem")
        .option("smtpd_tls_loglevel", "1")
        .option("content_filter", "discard:")
}

/// Writes `site.pem`, and the certificates of its authority, into the folder of the configuration.
fn site_identity(folder: &Path) -> Identity {
    let identities = Identities::make(folder);
    let authority = identities.get("authority").expect("made");
    let site = authority.issue(KeyKind::Rsa, "mx.example.com", Special::ForServers);
    site.write(folder, "site");
    site
}

/// Mail for `dN.example` goes by the transport `tlsN`, a smtp with a TLS policy of its own, to a smtpd with TLS, which
/// gives it to discard.
#[test]
fn postfix_smtp_at_its_levels() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    // The policy, and the first word of the client's log line; none where it must not deliver.
    let levels = [
        ("may", Some("Trusted")),
        ("encrypt", Some("Trusted")),
        ("verify match=mx.example.com", Some("Verified")),
        ("secure match=mx.example.com protocols=TLSv1.2", Some("Verified")),
        ("fingerprint match=DIGEST", Some("Verified")),
        ("verify match=other.example", None),
        ("fingerprint match=AA:BB", None),
    ];
    let mut plan = Plan::new("tls-levels");
    plan.with_delivery();
    let port = free_port();
    plan.service(site_server(port, "encrypt"));
    for (name, value) in [
        ("smtp_tls_CAfile", "$config_directory/authority.crt"),
        ("smtp_tls_loglevel", "1"),
        ("smtp_tls_session_cache_database", "btree:$data_directory/smtp_scache"),
        ("transport_maps", "texthash:$config_directory/transport"),
    ] {
        plan.set(name, value);
    }
    for number in 0..levels.len() {
        let policy = format!("texthash:$config_directory/policy{number}");
        let smtp = Service::new(format!("tls{number} unix - - n - - smtp"));
        plan.service(smtp.option("smtp_tls_policy_maps", &policy));
    }
    let instance = plan.prepare();
    let folder = instance.home().join("etc");
    let site = site_identity(&folder);
    let digest = fingerprint(site.der());
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("our own folder");
    let transport = |number| format!("d{number}.example tls{number}:[127.0.0.1]:{port}\n");
    write("transport", (0..levels.len()).map(transport).collect());
    for (number, (policy, _)) in levels.iter().enumerate() {
        write(
            &format!("policy{number}"),
            format!("[127.0.0.1]:{port} {policy}\n").replace("DIGEST", &digest),
        );
    }
    start(&instance);
    let recipients: Vec<String> = (0..levels.len()).map(|number| format!("x@d{number}.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let mut client = Client::connect(instance.smtp_port());
    let reply = client.send_message("a@example.net", &recipients, "Subject: x\n\nx\n");
    assert_eq!(reply.code, 250, "{}", reply.text());
    let mut failures = Vec::new();
    for (number, (policy, word)) in levels.iter().enumerate() {
        let end = format!("to=<x@d{number}.example>, relay=127.0.0.1[127.0.0.1]:{port}");
        let line = instance.wait_for_log(&end);
        let (status, words) = match word {
            Some(word) => {
                ("status=sent (250 2.0.0 Ok: queued as", format!("{word} TLS connection established to"))
            }
            None => ("(Server certificate not verified)", String::new()),
        };
        if !line.contains(status) {
            failures.push(format!("{policy}: {line}"));
        }
        let said = |line: &LogLine| line.text.starts_with(&words);
        if !instance.log().iter().any(said) {
            failures.push(format!("{policy}: smtp did not say {words:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Postfix's smtp at level dane-only: a name server that answers as one that validates, with the digest of the server's
/// certificate, and with another one.
#[test]
fn postfix_smtp_with_dane() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    require!(DnsServer::possible(), "needs a name server of its own");
    let mut plan = Plan::new("tls-dane");
    plan.with_delivery();
    let port = free_port();
    plan.with_dns("");
    plan.resolv_conf("options trust-ad\n");
    plan.service(site_server(port, "may"));
    plan.service(Service::new("dane unix - - n - - smtp"));
    for (name, value) in [
        ("smtp_tls_security_level", "dane-only"),
        ("smtp_dns_support_level", "dnssec"),
        ("smtp_tls_loglevel", "1"),
        ("smtp_host_lookup", "dns"),
    ] {
        plan.set(name, value);
    }
    plan.set(
        "transport_maps",
        &format!(
            "inline:{{ {{good.example = dane:[good.example]:{port}}} {{other.example = dane:[other.example]:{port}}} }}"
        ),
    );
    let instance = plan.prepare();
    let folder = instance.home().join("etc");
    let site = site_identity(&folder);
    let (digest, other) = (fingerprint(site.der()).replace(':', ""), "00".repeat(32));
    let record =
        |name: &str, digest: &str| format!("{name} A 127.0.0.1\n_{port}._tcp.{name} TLSA 3 0 1 {digest}\n");
    instance.dns().change(&format!(
        ". SIGNED\n{}{}",
        record("good.example", &digest),
        record("other.example", &other)
    ));
    start(&instance);
    let mut client = Client::connect(instance.smtp_port());
    let reply =
        client.send_message("a@example.net", &["x@good.example", "x@other.example"], "Subject: x\n\nx\n");
    assert_eq!(reply.code, 250, "{}", reply.text());
    let sent = instance.wait_for_log("to=<x@good.example>, relay=good.example[127.0.0.1]");
    assert!(sent.contains("status=sent (250 2.0.0 Ok: queued as"), "{sent}");
    instance.wait_for_log("Verified TLS connection established to good.example[127.0.0.1]");
    let kept = instance.wait_for_log("to=<x@other.example>, relay=other.example[127.0.0.1]");
    assert!(kept.contains("(Server certificate not verified)"), "{kept}");
}
