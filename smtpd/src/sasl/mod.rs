//! Logins of a session: which mechanisms it offers, who has logged in (spec tls-sasl 16 to 21).
//!
//! The authentication server is asked for its mechanisms when a session starts, and again when TLS or XCLIENT has
//! changed what the session is; the dialogue is [`crate::verb::auth`]. What cannot be answered then leaves nothing to
//! offer, and ends the process, as in Postfix. A process with several sessions loses only the one.

mod tables;

use std::sync::Arc;

use sasl::client::TIME_LIMIT;
use sasl::{Clients, Mechanism, Settings};

use crate::client::list::Untold;
use crate::client::login::Login;
use crate::session::Session;
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
    pub fn user(&self) -> Option<&Login> {
        self.login.as_ref().filter(|_| self.offer.is_some())
    }

    /// A login without a dialogue, for the examination of restrictions.
    pub fn assume(&mut self, login: Login, enabled: bool) {
        self.login = Some(login);
        self.offer = enabled.then(|| Offer { mechanisms: Vec::new(), announced: String::new() });
    }
}

/// The clients of the authentication server, for all sessions of the process.
#[must_use]
pub fn clients(params: &SmtpdParams) -> Option<Arc<Clients>> {
    let sasl = params.sasl.as_ref()?;
    let families = params.protocols.families();
    Some(Clients::new(Settings { server: sasl.server.clone(), families, time_limit: TIME_LIMIT }))
}

impl Session<'_> {
    /// Finds out what can be offered now: at the start, and when TLS or XCLIENT have changed what the session is. A login
    /// stays. `false` ends the session without a word.
    #[must_use]
    pub fn start_sasl(&mut self) -> bool {
        self.sasl.offer = None;
        self.sasl.dialogue = None;
        let Some(params) = &self.params.sasl else {
            return true;
        };
        if self.params.tls.auth_only && self.tls.is_none() {
            return true;
        }
        let options = if self.tls.is_some() { params.tls_security_options } else { params.security_options };
        match self.offer(options) {
            Ok(offer) => {
                self.sasl.offer = Some(offer);
                true
            }
            Err(text) if self.params.sessions_per_process > 1 => {
                log::error!("{text}");
                false
            }
            Err(text) => maillog::fatal(text),
        }
    }

    /// After a TLS handshake: who has logged in before is nobody now.
    #[must_use]
    pub fn restart_sasl(&mut self) -> bool {
        self.sasl.login = None;
        self.sasl.named = None;
        self.start_sasl()
    }

    /// # Errors
    /// The text of a fatal line.
    fn offer(&self, options: sasl::SecurityOptions) -> Result<Offer, String> {
        const NONE: &str = "no SASL authentication mechanisms";
        let Some(clients) = &self.services.sasl else {
            return Err(NONE.to_string());
        };
        let mut client = clients.take();
        let offered = client.mechanisms().map_err(|trouble| {
            trouble.warn();
            NONE.to_string()
        })?;
        let mechanisms: Vec<_> =
            offered.iter().filter(|mechanism| options.allow(mechanism)).cloned().collect();
        if mechanisms.is_empty() {
            return Err(NONE.to_string());
        }
        let mut announced = Vec::new();
        for mechanism in &mechanisms {
            let passes = match &self.tables.sasl.mechanism_filter {
                Some(filter) => {
                    filter.matches(mechanism.name.as_bytes()).map_err(|error| error.to_string())?
                }
                None => true,
            };
            if passes {
                announced.push(mechanism.name.as_str());
            }
        }
        if announced.is_empty() {
            let names: Vec<_> = mechanisms.iter().map(|mechanism| mechanism.name.as_str()).collect();
            return Err(format!(
                "smtpd_sasl_mechanism_filter discards all mechanisms in '{}'",
                names.join(" ")
            ));
        }
        let announced = announced.join(" ");
        Ok(Offer { mechanisms, announced })
    }

    /// Whether this client is told that it may log in.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn is_told_of_auth(&self) -> Result<bool, Untold> {
        match &self.tables.sasl.exceptions {
            Some(exceptions) => exceptions.has(&self.client).map(|hidden| !hidden),
            None => Ok(true),
        }
    }
}
