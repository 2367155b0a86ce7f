//! The settings of SASL (spec tls-sasl 16).

use std::path::PathBuf;
use std::time::Duration;

use config::{Config, Error};
use ipc::dialect::Dialect;
use sasl::SecurityOptions;
use sasl::connection::{Connection, Server};
use sasl::cyrus::conf::{Conf, ConfError};
use smtp::client::Families;

/// For a server that is asked by an examination.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is asked: `smtpd_sasl_type`.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// `dovecot`: the server at `smtpd_sasl_path`.
    Dovecot(Server),
    /// `cyrus`.
    Cyrus {
        /// What `smtpd_sasl_path` names.
        conf: Conf,
        /// `myhostname`
        hostname: String,
        /// `smtpd_sasl_local_domain`, when set
        local_domain: Option<String>,
    },
}

/// The settings, when `smtpd_sasl_auth_enable` is set.
#[derive(Debug, Clone)]
pub struct SaslParams {
    /// `smtpd_sasl_type` and `smtpd_sasl_path`
    pub(crate) asked: Asked,
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
        let asked = asked(config)?;
        let options = |name: &str| {
            SecurityOptions::parse(&config.text(name)?).map_err(|error| {
                if matches!(asked, Asked::Dovecot(_)) {
                    return config.wrong(name, error.to_string());
                }
                let (word, text) = (error.word, error.text);
                log::warn!("unknown SASL security options value \"{word}\" in \"{text}\"");
                log::warn!("bad per-session SASL security properties");
                config.wrong(name, "SASL per-connection initialization failed")
            })
        };
        Ok(Some(Self {
            service: config.text("smtpd_sasl_service")?,
            security_options: options("smtpd_sasl_security_options")?,
            tls_security_options: options("smtpd_sasl_tls_security_options")?,
            asked,
            mechanism_filter: config.text("smtpd_sasl_mechanism_filter")?,
            exceptions_networks: config.text("smtpd_sasl_exceptions_networks")?,
            broken_clients: config.boolean("broken_sasl_auth_clients")?,
            response_limit: usize::try_from(config.integer("smtpd_sasl_response_limit")?).unwrap_or(0),
        }))
    }
}

impl SaslParams {
    /// Why nobody can answer at `smtpd_sasl_path`.
    pub(crate) fn server_fault(&self) -> Option<String> {
        match &self.asked {
            Asked::Dovecot(server) => server.fault(),
            Asked::Cyrus { .. } => None,
        }
    }
}

impl SaslParams {
    /// Why the Dovecot server at `smtpd_sasl_path` would not be of use now: without it no client is served.
    pub(crate) fn silence(&self, config: &Config) -> Option<String> {
        let Asked::Dovecot(server) = &self.asked else { return None };
        let protocols = config.globals().inet_protocols;
        let families = Families::enabled(protocols.ipv4, protocols.ipv6);
        match Connection::open(server, families, PATIENCE, std::process::id()) {
            Ok(connection) if connection.mechanisms().is_empty() => {
                Some("no SASL authentication mechanisms".to_owned())
            }
            Ok(_) => None,
            Err(trouble) => Some(trouble.to_string()),
        }
    }
}

fn asked(config: &Config) -> Result<Asked, Error> {
    let name = "smtpd_sasl_type";
    let kind = config.text(name)?;
    let path = config.text("smtpd_sasl_path")?;
    match kind.as_str() {
        "dovecot" => Server::parse(&path, |name| config.globals().known_tcp_ports.get(name))
            .map(Asked::Dovecot)
            .map_err(|error| config.wrong("smtpd_sasl_path", format!("smtpd_sasl_path: {error}"))),
        "cyrus" => {
            let conf = Conf::find(&path, &folders(config)?).map_err(|error| match error {
                ConfError::Parse { path, line } => {
                    log::warn!(
                        "SASL per-process initialization failed: error when parsing configuration file"
                    );
                    let path = path.display();
                    Error::new(format!("SASL per-process initialization failed ({path}, line {line})"))
                }
                other => Error::new(format!("SASL per-process initialization failed: {other}")),
            })?;
            let local_domain =
                Some(config.text("smtpd_sasl_local_domain")?).filter(|domain| !domain.is_empty());
            Ok(Asked::Cyrus { conf, hostname: config.globals().myhostname.clone(), local_domain })
        }
        _ => {
            log::warn!("unsupported SASL server implementation: {kind}");
            Err(config.wrong(name, "SASL per-process initialization failed"))
        }
    }
}

/// Where `smtpd.conf` is looked for. Debian's Postfix 3.7 has a place of its own and knows no other, not even
/// `cyrus_sasl_config_path`; later ones are as the library is (observed, 3.7.11 and 3.11.7). What they do not look at comes
/// last here.
fn folders(config: &Config) -> Result<Vec<PathBuf>, Error> {
    const LIBRARY: [&str; 4] =
        ["/etc/sasl2", "/etc/sasl", "/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib/sasl2"];
    let debian = [config.directory().path().join("sasl"), PathBuf::from("/usr/lib/sasl")];
    let written = config.text("cyrus_sasl_config_path")?;
    let written: Vec<PathBuf> =
        written.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    if !Dialect::of_postfix_3(config.globals().postfix_minor).finds_sasl_as_the_library() {
        return Ok(debian.into_iter().chain(written).collect());
    }
    let first = if written.is_empty() { LIBRARY.map(PathBuf::from).to_vec() } else { written };
    Ok(first.into_iter().chain(debian).collect())
}
