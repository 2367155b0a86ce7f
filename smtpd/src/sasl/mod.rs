//! Logins of a session: which mechanisms it offers, who has logged in (spec tls-sasl 16 to 21).
//!
//! The authentication server is asked for its mechanisms when a session starts, and again when TLS or XCLIENT has
//! changed what the session is; the dialogue is [`crate::verb::auth`]. What cannot be answered then leaves nothing to
//! offer, and ends the process, as in Postfix. A process with several sessions loses only the one.

mod tables;

use std::sync::Arc;

use access::client::login::Login;
use ipc::dialect::Dialect;
use sasl::client::TIME_LIMIT;
use sasl::{Clients, Mechanism, Settings};

use crate::settings::params::SmtpdParams;

pub use tables::SaslTables;

/// What a session offers.
#[derive(Debug)]
pub struct Offer {
    /// What the security options let pass: these can be used.
    pub mechanisms: Vec<Mechanism>,
    /// Of these, what the filter lets pass: the words of the EHLO line.
    pub announced: String,
}

/// Logins of a session.
#[derive(Debug, Default)]
pub struct Sasl {
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
pub struct Dialogue {
    /// As the client wrote it.
    pub method: Vec<u8>,
    /// At the authentication server.
    pub login: sasl::Login,
}

impl Sasl {
    /// Who has logged in, when logins are possible: restrictions know no other before Postfix 3.10.
    #[must_use]
    pub fn user(&self, dialect: Dialect) -> Option<&Login> {
        self.login.as_ref().filter(|_| self.offer.is_some() || dialect.xclient_logins_count())
    }
}

/// The clients of the authentication server, for all sessions of the process.
#[must_use]
pub fn clients(params: &SmtpdParams) -> Option<Arc<Clients>> {
    let sasl = params.sasl.as_ref()?;
    let families = params.access.protocols.families();
    Some(Clients::new(Settings { server: sasl.server.clone(), families, time_limit: TIME_LIMIT }))
}
