//! The settings of TLS (spec tls-sasl 1, 2 and 11).

use std::time::Duration;

use config::list::text_words;
use config::{Config, Error};
use tls::{AskClients, Settings};
use tls_settings::{Grade, LogLevel, Parameters};

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
    pub(crate) wrappermode: bool,
    /// `smtpd_tls_auth_only`, which a demand for TLS includes.
    pub(crate) auth_only: bool,
    /// `smtpd_tls_ask_ccert`
    pub ask_ccert: bool,
    /// `smtpd_tls_req_ccert`, which is nothing unless TLS is required.
    pub(crate) req_ccert: bool,
    /// `smtpd_tls_received_header`
    pub(crate) received_header: bool,
    /// `smtpd_starttls_timeout`
    pub(crate) starttls_timeout: Duration,
    /// `smtpd_tls_loglevel`
    pub log_level: LogLevel,
    /// `tls_server_sni_maps`
    pub(crate) sni_maps: String,
    /// How long a session may be resumed by a ticket; absent without tickets.
    pub(crate) ticket_lifetime: Option<Duration>,
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
        let ask = if ask_ccert || req_ccert { AskClients::Yes } else { AskClients::No };
        let mut warnings = Vec::new();
        let parameters = Parameters::new(config, "smtpd");
        let grade = if required { Grade::Mandatory } else { Grade::Opportunistic };
        let log_level = parameters.log_level(&mut warnings)?;
        if demand != Demand::None {
            if wants && !required {
                warnings.push("Can't require client certs unless TLS is required".to_string());
            }
            warnings.extend(parameters.unhonoured(grade)?);
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
            settings: parameters.settings(grade, ask, "ccert_verifydepth")?,
            warnings,
        })
    }

    /// Whether a certificate is configured at all.
    pub(crate) fn has_certificate(&self) -> bool {
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
