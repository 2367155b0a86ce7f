//! The settings of SASL (spec tls-sasl 16).

use config::{Config, Error};
use sasl::SecurityOptions;
use sasl::connection::Server;

/// The settings, when `smtpd_sasl_auth_enable` is set.
#[derive(Debug, Clone)]
pub struct SaslParams {
    /// `smtpd_sasl_path`
    pub server: Server,
    /// `smtpd_sasl_service`
    pub service: String,
    /// `smtpd_sasl_security_options`
    pub(crate) security_options: SecurityOptions,
    /// `smtpd_sasl_tls_security_options`
    pub(crate) tls_security_options: SecurityOptions,
    /// `smtpd_sasl_mechanism_filter`
    pub(crate) mechanism_filter: String,
    /// `smtpd_sasl_exceptions_networks`
    pub(crate) exceptions_networks: String,
    /// `broken_sasl_auth_clients`
    pub(crate) broken_clients: bool,
    /// `smtpd_sasl_response_limit`
    pub(crate) response_limit: usize,
}

impl SaslParams {
    /// Reads the settings; nothing when logins are not enabled.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Option<Self>, Error> {
        if !config.boolean("smtpd_sasl_auth_enable")? {
            return Ok(None);
        }
        check_type(config)?;
        let path = config.text("smtpd_sasl_path")?;
        let options = |name: &str| {
            SecurityOptions::parse(&config.text(name)?).map_err(|error| config.wrong(name, error.to_string()))
        };
        Ok(Some(Self {
            server: Server::parse(&path, |name| config.globals().known_tcp_ports.get(name))
                .map_err(|error| config.wrong("smtpd_sasl_path", format!("smtpd_sasl_path: {error}")))?,
            service: config.text("smtpd_sasl_service")?,
            security_options: options("smtpd_sasl_security_options")?,
            tls_security_options: options("smtpd_sasl_tls_security_options")?,
            mechanism_filter: config.text("smtpd_sasl_mechanism_filter")?,
            exceptions_networks: config.text("smtpd_sasl_exceptions_networks")?,
            broken_clients: config.boolean("broken_sasl_auth_clients")?,
            response_limit: usize::try_from(config.integer("smtpd_sasl_response_limit")?).unwrap_or(0),
        }))
    }
}

/// Postfix's default is `cyrus`, so who has not chosen is told what there is.
fn check_type(config: &Config) -> Result<(), Error> {
    let name = "smtpd_sasl_type";
    let kind = config.text(name)?;
    if kind == "dovecot" {
        return Ok(());
    }
    let place = config.origin(name).map(|origin| format!(" ({origin})")).unwrap_or_default();
    Err(Error::new(format!(
        "unsupported SASL server implementation: {name} = {kind}: this server asks an authentication server that \
         speaks Dovecot's protocol: set {name} = dovecot, and smtpd_sasl_path to its socket{place}"
    )))
}
