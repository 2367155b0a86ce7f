//! Logins of a session: which mechanisms it offers, who has logged in (spec tls-sasl 16 to 21).
//!
//! Who answers logins is asked for its mechanisms when a session starts, and again when TLS or XCLIENT has
//! changed what the session is; the dialogue is [`crate::verb::auth`]. What cannot be answered then leaves nothing to
//! offer, and ends the process, as in Postfix. A process with several sessions loses only the one.

mod tables;

use access::client::login::Login;
use ipc::dialect::Dialect;
use sasl::client::TIME_LIMIT;
use sasl::cyrus::Cyrus;
use sasl::{Backend, Clients, Mechanism, SecurityOptions, Settings};

use crate::settings::params::SmtpdParams;
use crate::settings::sasl::Asked;

pub(crate) use tables::SaslTables;

/// What a session offers.
#[derive(Debug)]
pub(crate) struct Offer {
    /// What restricts the mechanisms.
    pub(crate) options: SecurityOptions,
    /// What the security options let pass: these can be used.
    pub mechanisms: Vec<Mechanism>,
    /// Of these, what the filter lets pass: the words of the EHLO line.
    pub announced: String,
}

/// Logins of a session.
#[derive(Debug, Default)]
pub(crate) struct Sasl {
    /// There while logins are possible at all.
    pub offer: Option<Offer>,
    /// Who has logged in.
    pub login: Option<Login>,
    /// Whom the authentication server named last, for the log.
    pub named: Option<Vec<u8>>,
    /// The AUTH command whose response is waited for.
    pub dialogue: Option<Dialogue>,
}

/// An AUTH command that waits for a response.
#[derive(Debug)]
pub(crate) struct Dialogue {
    /// As the client wrote it.
    pub method: Vec<u8>,
    /// What it waits for.
    pub login: sasl::Login,
}

impl Sasl {
    /// Who has logged in, when logins are possible: restrictions know no other before Postfix 3.10.
    #[must_use]
    pub(crate) fn user(&self, dialect: Dialect) -> Option<&Login> {
        self.login.as_ref().filter(|_| self.offer.is_some() || dialect.xclient_logins_count())
    }
}

/// Who answers logins, for all sessions of the process.
#[must_use]
pub(crate) fn backend(params: &SmtpdParams) -> Option<Backend> {
    Some(match &params.sasl.as_ref()?.asked {
        Asked::Dovecot(server) => {
            let (server, families) = (server.clone(), params.access.protocols.families());
            Backend::Dovecot(Clients::new(Settings { server, families, time_limit: TIME_LIMIT }))
        }
        Asked::Cyrus { conf, hostname, local_domain } => {
            Backend::Cyrus(Cyrus::new(conf, hostname, local_domain.as_deref(), lookup::berkeley::get))
        }
    })
}
