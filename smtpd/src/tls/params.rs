//! The settings of TLS (tls-sasl chapter, sections 1 and 2.1).

use config::{Config, Error};

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
pub struct TlsParams {
    /// `smtpd_tls_security_level`, or the older two parameters.
    pub demand: Demand,
    /// `smtpd_tls_wrappermode`
    pub wrappermode: bool,
    /// `smtpd_tls_auth_only`, which a demand for TLS includes.
    pub auth_only: bool,
}

impl TlsParams {
    /// Reads the settings; an unknown level is fatal.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let wrappermode = config.boolean("smtpd_tls_wrappermode")?;
        let demand = if wrappermode { Demand::Required } else { demand(config)? };
        Ok(Self {
            demand,
            wrappermode,
            auth_only: config.boolean("smtpd_tls_auth_only")? || demand == Demand::Required,
        })
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
        return Err(Error::new(format!("Invalid TLS level \"{level}\"")));
    })
}
