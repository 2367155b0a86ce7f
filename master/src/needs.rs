//! Services that others talk to, and that master.cf does not have.
//!
//! Postfix serves without them: a client waits, and is told of a temporary error, or mail stays in the queue. Nothing in
//! the log says that master.cf is the cause.

use std::collections::BTreeSet;
use std::path::Path;

use config::mastercf::Transport;
use config::mastercf_arguments::settings;
use config::{Assignment, Config};

use crate::definition::Definition;

/// Which services a program talks to, by the parameters that name them.
const NEEDS: [(&str, &[&str]); 6] = [
    ("smtpd", &["cleanup_service_name", "rewrite_service_name", ANVIL]),
    ("qmqpd", &["cleanup_service_name"]),
    ("pickup", &["cleanup_service_name"]),
    ("cleanup", &["rewrite_service_name"]),
    ("qmgr", &["rewrite_service_name", "bounce_service_name", "defer_service_name", "trace_service_name"]),
    ("bounce", &["cleanup_service_name"]),
];
/// No parameter: this service has always the same name.
const ANVIL: &str = "anvil";
/// Without any of these, and of the number of connections, it is not asked.
const RATES: [&str; 5] = [
    "smtpd_client_auth_rate_limit",
    "smtpd_client_connection_rate_limit",
    "smtpd_client_message_rate_limit",
    "smtpd_client_new_tls_session_rate_limit",
    "smtpd_client_recipient_rate_limit",
];
/// Programs that only a queue manager talks to.
const AGENTS: [&str; 8] = ["discard", "error", "lmtp", "local", "pipe", "smtp", "virtual", "qmgr"];
/// Parameters that name a transport for mail, when they are set.
const TRANSPORTS: [&str; 5] =
    ["content_filter", "default_transport", "local_transport", "relay_transport", "virtual_transport"];

/// What is missing, a line each.
pub(crate) fn missing(config: &Config, services: &[Definition], master_cf: &Path) -> Vec<String> {
    let names: BTreeSet<&[u8]> = services
        .iter()
        .map(|service| &service.entry)
        .filter(|entry| entry.transport != Transport::Inet)
        .map(|entry| entry.name.as_slice())
        .collect();
    let has = |name: &str| names.contains(name.as_bytes());
    let runs = |program: &str| services.iter().any(|service| service.entry.command == program.as_bytes());
    let mut told = BTreeSet::new();
    let mut lines = Vec::new();
    for service in services {
        let needs = NEEDS.iter().find(|(program, _)| service.entry.command == program.as_bytes());
        let Some((program, parameters)) = needs else { continue };
        for parameter in *parameters {
            let name = match *parameter {
                ANVIL if has_no_limits(config, service) => continue,
                ANVIL => ANVIL.to_owned(),
                // Mail goes to another server and not into the queue.
                "cleanup_service_name" if !value(config, service, "smtpd_proxy_filter").is_empty() => {
                    continue;
                }
                parameter => value(config, service, parameter),
            };
            if !name.is_empty() && !has(&name) && told.insert(name.clone()) {
                let (file, line) = (master_cf.display(), service.entry.line);
                lines.push(format!(
                    "master.cf has no {name} service, which {program} talks to ({file}, line {line})"
                ));
            }
        }
    }
    let queue = value_of(config, "queue_service_name");
    let delivers = AGENTS.iter().any(|program| runs(program));
    if delivers && !has(&queue) {
        lines.push(format!("{}: no {queue} service: no mail is delivered", master_cf.display()));
    }
    for parameter in TRANSPORTS {
        let Some(origin) = config.origin(parameter).filter(|_| delivers) else { continue };
        let transport = value_of(config, parameter);
        let transport = transport.split(':').next().unwrap_or_default().trim();
        if !transport.is_empty() && !has(transport) {
            lines.push(format!("{parameter}: master.cf has no {transport} service ({origin})"));
        }
    }
    lines
}

/// Whether a server counts nothing. Of a parameter that only other programs know there is no default here.
fn has_no_limits(config: &Config, service: &Definition) -> bool {
    let is_off = |parameter: &&str| matches!(&*value(config, service, parameter), "" | "0");
    value(config, service, "smtpd_client_connection_count_limit") == "0" && RATES.iter().all(is_off)
}

/// A parameter as the processes of this service see it.
fn value(config: &Config, service: &Definition, parameter: &str) -> String {
    let arguments = &service.entry.arguments;
    let own = settings(arguments.iter().map(Vec::as_slice)).flatten();
    let own = own.filter_map(|setting| Assignment::parse(setting).ok());
    let own = own.filter(|setting| setting.name == parameter.as_bytes()).last();
    match own {
        Some(setting) => {
            let text = String::from_utf8_lossy(setting.value).into_owned();
            maillog::silently(|| config.expand(&text)).unwrap_or(text)
        }
        None => value_of(config, parameter),
    }
}

fn value_of(config: &Config, parameter: &str) -> String {
    // One that cannot be used is told of by others.
    maillog::silently(|| config.expand(&format!("${parameter}"))).unwrap_or_default()
}
