//! The parameters of TLS (spec tls-sasl 12).

use std::time::Duration;

use config::Config;
use ipc::dialect::Dialect;
use server::Fatal;
use tls_settings::{Grade, LogLevel, Parameters};

use crate::protocol::Protocol;
use crate::tls::Level;

/// What a level has in main.cf.
#[derive(Debug, Clone)]
pub(crate) struct Suites {
    pub(crate) protocols: String,
    pub(crate) grade: String,
    pub(crate) exclusions: Vec<String>,
}

/// The parameters.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where no table says otherwise.
    pub(crate) level: Level,
    /// Anything may be done with TLS.
    pub(crate) is_wanted: bool,
    pub(crate) wraps: bool,
    pub(crate) notes_offers: bool,
    pub(crate) limit: Duration,
    pub(crate) log_level: LogLevel,
    /// The version whose words the log has.
    pub(crate) dialect: Dialect,
    pub(crate) opportunistic: Suites,
    pub(crate) mandatory: Suites,
    pub(crate) verify_match: Vec<String>,
    pub(crate) secure_match: Vec<String>,
    pub(crate) fingerprints: Vec<String>,
    pub(crate) trust_anchors: Vec<String>,
    /// As written: a name, `hostname`, `nexthop` or nothing.
    pub(crate) server_name: String,
    pub(crate) wildcards_go_deep: bool,
    pub(crate) keeps_sessions: bool,
    /// `smtp_tls_connection_reuse`
    pub(crate) keeps_connections: bool,
    /// Servers must have names of an MTA-STS policy.
    pub(crate) enforces_sts: bool,
    pub(crate) min_backoff: Duration,
    /// Keys, certificates, authorities.
    pub(crate) client: tls::client::Settings,
    /// What is told at the start.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    pub(crate) fn new(config: &Config, protocol: Protocol) -> Result<Self, Fatal> {
        let name = |rest: &str| protocol.parameter(&format!("smtp_tls_{rest}"));
        let text = |rest: &str| config.text(&name(rest));
        let words = |rest: &str| -> Result<Vec<String>, Fatal> { Ok(listed(&text(rest)?)) };
        let parameters = Parameters::new(config, protocol.prefix());
        let mut warnings = Vec::new();
        let log_level = parameters.log_level(&mut warnings)?;
        let level = level(config, protocol)?;
        let is_wanted =
            level > Level::None || !text("policy_maps")?.is_empty() || !text("per_site")?.is_empty();
        if is_wanted {
            let grade = if level > Level::May { Grade::Mandatory } else { Grade::Opportunistic };
            warnings.extend(parameters.unhonoured(grade)?);
            let early = name("block_early_mail_reply");
            if config.boolean(&early)? {
                warnings.push(format!("{early} = yes has no effect: there is no renegotiation"));
            }
        }
        let exclusions = listed(&text("exclude_ciphers")?);
        let mut mandatory_exclusions = exclusions.clone();
        mandatory_exclusions.extend(listed(&text("mandatory_exclude_ciphers")?));
        Ok(Self {
            level,
            is_wanted,
            wraps: config.boolean(&name("wrappermode"))?,
            notes_offers: config.boolean(&name("note_starttls_offer"))?,
            limit: config.time(&protocol.parameter("smtp_starttls_timeout"))?,
            log_level,
            dialect: Dialect::of_postfix_3(config.globals().postfix_minor),
            opportunistic: Suites { protocols: text("protocols")?, grade: text("ciphers")?, exclusions },
            mandatory: Suites {
                protocols: text("mandatory_protocols")?,
                grade: text("mandatory_ciphers")?,
                exclusions: mandatory_exclusions,
            },
            verify_match: words("verify_cert_match")?,
            secure_match: words("secure_cert_match")?,
            fingerprints: digests(&text("fingerprint_cert_match")?),
            trust_anchors: words("trust_anchor_file")?,
            server_name: text("servername")?,
            wildcards_go_deep: config.boolean("tls_wildcard_matches_multiple_labels")?,
            keeps_connections: config.boolean(&name("connection_reuse"))?,
            enforces_sts: config.globals().postfix_minor >= 11
                && config.boolean(&protocol.parameter("smtp_tls_enforce_sts_mx_patterns"))?,
            keeps_sessions: !text("session_cache_database")?.is_empty(),
            min_backoff: config.time("minimal_backoff_time")?,
            client: parameters.client_settings()?,
            warnings,
        })
    }
}

impl Settings {
    /// Whether there is one to be shown to servers.
    pub(crate) fn has_certificate(&self) -> bool {
        !self.client.chain_files.is_empty() || !self.client.pairs.is_empty()
    }
}

/// The words of a list; commas, blanks and colons part them.
pub(crate) fn listed(text: &str) -> Vec<String> {
    let words = text.split([',', ':', ' ', '\t', '\r', '\n']);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Digests, in which colons mean nothing.
fn digests(text: &str) -> Vec<String> {
    let words = text.split([',', '|', ' ', '\t', '\r', '\n']);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The level, by its own parameter or by the older ones.
fn level(config: &Config, protocol: Protocol) -> Result<Level, Fatal> {
    let name = protocol.parameter("smtp_tls_security_level");
    let text = config.text(&name)?;
    if !text.is_empty() {
        return Level::named(&text)
            .ok_or_else(|| config.wrong(&name, format!("Invalid TLS level \"{text}\"")).into());
    }
    let is = |name: &str| config.boolean(&protocol.parameter(name));
    Ok(if is("smtp_enforce_tls")? {
        if is("smtp_tls_enforce_peername")? { Level::Verify } else { Level::Encrypt }
    } else if is("smtp_use_tls")? {
        Level::May
    } else {
        Level::None
    })
}
