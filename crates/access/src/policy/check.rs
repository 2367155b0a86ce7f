//! `check_policy_service`

use ipc::policy::{Later, Request};
use smtp::xtext;
use tls::{Established, Trust};

use crate::argument::Argument;
use crate::facts::Facts;
use crate::observer::Event;
use crate::policy::settings::PolicyService;
use crate::verdict::{Scope, TableEntry, Trouble, Verdict};

/// What is done when the default action has itself a policy server that fails.
const LAST_RESORT: &str = "451 4.3.5 Server configuration problem";

/// `check_policy_service`
pub fn check_policy_service(facts: &Facts<'_>, argument: &Argument, scope: &Scope<'_>) -> Verdict {
    let Argument::Policy(service) = argument else {
        return Verdict::Trouble(Trouble::Configuration);
    };
    let entry = |value: Vec<u8>, is_default: bool| {
        Verdict::Entry(TableEntry {
            table: service.text.clone(),
            key: b"policy query".to_vec(),
            asked: Vec::new(),
            value,
            name: scope.name.to_vec(),
            class: scope.class,
            no_permit: None,
            permit_is_dunno: false,
            is_default,
        })
    };
    let observer = facts.observer;
    if let Some(observer) = observer
        && !observer.asks_policy()
    {
        observer.event(&Event::Answer { service: &service.text, answer: None });
        return Verdict::Dunno;
    }
    let request = with_request(facts, service, |request| request.encode());
    let answer = facts
        .services
        .policy
        .with_one(|clients| clients.knows(service), |clients| clients.ask(service, &request));
    if let Some(observer) = observer {
        observer.event(&Event::Answer { service: &service.text, answer: answer.as_deref() });
    }
    match answer {
        Some(action) if !facts.params.smtputf8_enable || std::str::from_utf8(&action).is_ok() => {
            entry(action, false)
        }
        Some(action) => {
            let shown = maillog::shown(&action);
            log::warn!("malformed UTF-8 in policy server {} response: \"{shown}\"", service.text);
            fallback(facts, service, entry)
        }
        None => fallback(facts, service, entry),
    }
}

fn fallback(facts: &Facts<'_>, service: &PolicyService, entry: impl Fn(Vec<u8>, bool) -> Verdict) -> Verdict {
    let action = if facts.in_default_action { LAST_RESORT } else { &service.settings.default_action };
    entry(action.as_bytes().to_vec(), true)
}

/// What a server is told of TLS; nothing without.
#[derive(Default)]
struct TlsFacts<'t> {
    server_name: &'t str,
    ccert_subject: Vec<u8>,
    ccert_issuer: Vec<u8>,
    ccert_fingerprint: &'t str,
    ccert_pubkey_fingerprint: &'t str,
    protocol: &'static str,
    cipher: &'static str,
    keysize: i32,
}

impl<'t> TlsFacts<'t> {
    fn of(tls: &'t Established) -> Self {
        let certificate = tls.client_certificate.as_ref();
        // Names that nobody vouches for are no names.
        let vouched = certificate.filter(|_| tls.trust == Trust::Trusted);
        Self {
            server_name: tls.server_name.as_deref().unwrap_or_default(),
            ccert_subject: vouched.map(|names| encoded(&names.subject)).unwrap_or_default(),
            ccert_issuer: vouched.map(|names| encoded(&names.issuer)).unwrap_or_default(),
            ccert_fingerprint: certificate.map(|names| names.fingerprint.as_str()).unwrap_or_default(),
            ccert_pubkey_fingerprint: certificate
                .map(|names| names.pubkey_fingerprint.as_str())
                .unwrap_or_default(),
            protocol: tls.protocol,
            cipher: tls.cipher,
            keysize: i32::from(tls.strength.used),
        }
    }
}

fn encoded(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    xtext::encode(name, &mut text);
    text
}

fn with_request<T>(facts: &Facts<'_>, service: &PolicyService, use_it: impl FnOnce(&Request<'_>) -> T) -> T {
    let client = facts.client;
    let counted = matches!(facts.stage, "DATA" | "BDAT" | "END-OF-MESSAGE");
    let queue_id = match facts.queue_id {
        "NOQUEUE" => "",
        queue_id => queue_id,
    };
    let params = facts.params;
    let login = facts.login;
    let tls = facts.tls.map(TlsFacts::of).unwrap_or_default();
    use_it(&Request {
        protocol_state: if facts.stage == "BDAT" { "DATA" } else { facts.stage },
        protocol_name: facts.protocol.name(),
        client_address: &client.address,
        client_name: &client.name,
        client_port: &client.port,
        reverse_client_name: &client.reverse_name,
        server_address: &client.server_address,
        server_port: &client.server_port,
        helo_name: facts.helo.unwrap_or_default(),
        sender: facts.sender.unwrap_or_default(),
        recipient: facts.recipient.unwrap_or_default(),
        recipient_count: if counted { i32::try_from(facts.recipients).unwrap_or(i32::MAX) } else { 0 },
        queue_id,
        instance: facts.instance,
        size: i64::try_from(facts.size).unwrap_or(i64::MAX),
        etrn_domain: facts.etrn.unwrap_or_default(),
        stress: &params.stress,
        sasl_method: login.map(|login| &login.method[..]).unwrap_or_default(),
        sasl_username: login.map(|login| &login.username[..]).unwrap_or_default(),
        sasl_sender: facts.sasl_sender.unwrap_or_default(),
        ccert_subject: &tls.ccert_subject,
        ccert_issuer: &tls.ccert_issuer,
        ccert_fingerprint: tls.ccert_fingerprint.as_bytes(),
        ccert_pubkey_fingerprint: tls.ccert_pubkey_fingerprint.as_bytes(),
        encryption_protocol: tls.protocol.as_bytes(),
        encryption_cipher: tls.cipher.as_bytes(),
        encryption_keysize: tls.keysize,
        policy_context: &service.settings.policy_context,
        later: Later {
            tls_sni: Some(tls.server_name.as_bytes()),
            compatibility_level: Some(&params.compatibility_level),
            mail_version: Some(&params.mail_version),
        }
        .spoken_in(params.dialect),
    })
}
