//! The settings of TLS (spec tls-sasl 1, 2 and 11).

use std::time::Duration;

use config::list::text_words;
use config::{Config, Error};
use tls::{AskClients, CipherLists, KeyPair, Settings};

use crate::settings::tls_log_level::LogLevel;
use crate::settings::tls_unhonoured;

/// Whether clients may or have to use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// There is no TLS.
    None,
    /// Who wants to may: `smtpd_tls_security_level = may`.
    Offered,
    /// Nothing goes without: `encrypt`, and wrapper mode.
    Required,
}

/// The settings.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a main.cf parameter of its own")]
pub struct TlsParams {
    /// `smtpd_tls_security_level`, or the older two parameters.
    pub demand: Demand,
    /// `smtpd_tls_wrappermode`
    pub wrappermode: bool,
    /// `smtpd_tls_auth_only`, which a demand for TLS includes.
    pub auth_only: bool,
    /// `smtpd_tls_ask_ccert`
    pub ask_ccert: bool,
    /// `smtpd_tls_req_ccert`, which is nothing unless TLS is required.
    pub req_ccert: bool,
    /// `smtpd_tls_received_header`
    pub received_header: bool,
    /// `smtpd_starttls_timeout`
    pub starttls_timeout: Duration,
    /// `smtpd_tls_loglevel`
    pub log_level: LogLevel,
    /// `tls_server_sni_maps`
    pub sni_maps: String,
    /// How long a session may be resumed by a ticket; absent without tickets.
    pub ticket_lifetime: Option<Duration>,
    /// `tlsmgr_service_name`
    pub tlsmgr_service_name: String,
    /// Keys, protocols and ciphers.
    pub settings: Settings,
    /// What will not be as it was asked for: warnings, once a process.
    pub warnings: Vec<String>,
}

impl TlsParams {
    /// Reads the settings; an unknown level is fatal.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let wrappermode = config.boolean("smtpd_tls_wrappermode")?;
        let demand = if wrappermode { Demand::Required } else { demand(config)? };
        let required = demand == Demand::Required;
        let wants = config.boolean("smtpd_tls_req_ccert")?;
        let req_ccert = wants && required;
        let ask_ccert = config.boolean("smtpd_tls_ask_ccert")?;
        let mut warnings = Vec::new();
        let level = config.text("smtpd_tls_loglevel")?;
        let log_level = LogLevel::parse("smtpd_tls_loglevel", &level, &mut warnings);
        if demand != Demand::None {
            if wants && !required {
                warnings.push("Can't require client certs unless TLS is required".to_string());
            }
            warnings.extend(tls_unhonoured::settings(config, parameters(demand))?);
        }
        let lifetime = config.time("smtpd_tls_session_cache_timeout")?;
        let no_ticket = text_words(&config.text("tls_ssl_options")?)
            .any(|word| word.split(':').any(|option| option.eq_ignore_ascii_case("NO_TICKET")));
        let tickets =
            !config.text("tls_session_ticket_cipher")?.is_empty() && !no_ticket && !lifetime.is_zero();
        Ok(Self {
            demand,
            wrappermode,
            auth_only: config.boolean("smtpd_tls_auth_only")? || required,
            ask_ccert,
            req_ccert,
            received_header: config.boolean("smtpd_tls_received_header")?,
            starttls_timeout: config.time("smtpd_starttls_timeout")?,
            log_level,
            sni_maps: config.text("tls_server_sni_maps")?,
            ticket_lifetime: tickets.then_some(lifetime),
            tlsmgr_service_name: config.text("tlsmgr_service_name")?,
            settings: settings(config, required, ask_ccert || req_ccert)?,
            warnings,
        })
    }

    /// Whether a certificate is configured at all.
    pub fn has_certificate(&self) -> bool {
        !self.settings.chain_files.is_empty() || !self.settings.pairs.is_empty()
    }
}

/// The level; the text is not looked at in wrapper mode.
fn demand(config: &Config) -> Result<Demand, Error> {
    let level = config.text("smtpd_tls_security_level")?;
    let is = |word: &&str| level.eq_ignore_ascii_case(word);
    Ok(if level.is_empty() {
        if config.boolean("smtpd_enforce_tls")? {
            Demand::Required
        } else if config.boolean("smtpd_use_tls")? {
            Demand::Offered
        } else {
            Demand::None
        }
    } else if is(&"none") {
        Demand::None
    } else if is(&"may") {
        Demand::Offered
    } else if is(&"encrypt") {
        Demand::Required
    } else if ["verify", "secure", "fingerprint"].iter().any(is) {
        log::warn!("smtpd_tls_security_level: unsupported TLS level \"{level}\", using \"encrypt\"");
        Demand::Required
    } else {
        return Err(config.wrong("smtpd_tls_security_level", format!("Invalid TLS level \"{level}\"")));
    })
}

/// The parameter of the protocol list, and that of the grade, for what is asked of clients.
fn parameters(demand: Demand) -> (&'static str, &'static str) {
    if demand == Demand::Required {
        ("smtpd_tls_mandatory_protocols", "smtpd_tls_mandatory_ciphers")
    } else {
        ("smtpd_tls_protocols", "smtpd_tls_ciphers")
    }
}

fn settings(config: &Config, required: bool, ask: bool) -> Result<Settings, Error> {
    let (protocols, grade) = parameters(if required { Demand::Required } else { Demand::Offered });
    let mut exclusions = vec![config.text("smtpd_tls_exclude_ciphers")?];
    if required {
        exclusions.push(config.text("smtpd_tls_mandatory_exclude_ciphers")?);
    }
    if ask {
        exclusions.push("aNULL".to_string());
    }
    let depth = config.integer("smtpd_tls_ccert_verifydepth")?;
    Ok(Settings {
        chain_files: config.text("smtpd_tls_chain_files")?,
        pairs: pairs(config)?,
        ca_file: config.text("smtpd_tls_CAfile")?,
        ca_path: config.text("smtpd_tls_CApath")?,
        append_default_ca: config.boolean("tls_append_default_CA")?,
        ask: if ask { AskClients::Yes } else { AskClients::No },
        verify_depth: usize::try_from(depth).unwrap_or(0),
        digest: config.text("smtpd_tls_fingerprint_digest")?,
        protocols: config.text(protocols)?,
        grade: config.text(grade)?,
        lists: CipherLists {
            high: config.text("tls_high_cipherlist")?,
            medium: config.text("tls_medium_cipherlist")?,
            low: config.text("tls_low_cipherlist")?,
            export: config.text("tls_export_cipherlist")?,
        },
        exclusions,
        curves: config.text("tls_eecdh_auto_curves")?,
        server_order: config.boolean("tls_preempt_cipherlist")?,
    })
}

/// The older parameters, those that are set. DSA is left to [`tls_unhonoured`].
fn pairs(config: &Config) -> Result<Vec<KeyPair>, Error> {
    let mut pairs = Vec::new();
    for (what, certificates, key) in [
        ("RSA", "smtpd_tls_cert_file", "smtpd_tls_key_file"),
        ("ECDSA", "smtpd_tls_eccert_file", "smtpd_tls_eckey_file"),
    ] {
        let certificates = config.text(certificates)?;
        if !certificates.is_empty() && !certificates.eq_ignore_ascii_case("none") {
            pairs.push(KeyPair { what, certificates, key: config.text(key)? });
        }
    }
    Ok(pairs)
}
