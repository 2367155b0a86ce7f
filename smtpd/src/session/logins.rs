//! Logins that a session offers (spec tls-sasl 16).

use access::client::list::Untold;

use crate::sasl::Offer;
use crate::session::standing::Standing;

impl Standing<'_> {
    /// Finds out what can be offered now: at the start, and when TLS or XCLIENT have changed what the session is. A login
    /// stays. `false` ends the session without a word.
    #[must_use]
    pub(crate) fn start_sasl(&mut self) -> bool {
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
            Err(text) if self.params.access.sessions_per_process > 1 => {
                log::error!("{text}");
                false
            }
            Err(text) => maillog::fatal(text),
        }
    }

    /// After a TLS handshake: who has logged in before is nobody now.
    #[must_use]
    pub(crate) fn restart_sasl(&mut self) -> bool {
        self.sasl.login = None;
        self.sasl.named = None;
        self.start_sasl()
    }

    /// # Errors
    /// The text of a fatal line.
    fn offer(&self, options: sasl::SecurityOptions) -> Result<Offer, String> {
        const NONE: &str = "no SASL authentication mechanisms";
        let Some(backend) = &self.services.sasl else {
            return Err(NONE.to_string());
        };
        let mechanisms = backend.mechanisms(options);
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
        Ok(Offer { options, mechanisms, announced })
    }

    /// Whether this client is told that it may log in.
    ///
    /// # Errors
    /// It cannot be told.
    pub(crate) fn is_told_of_auth(&self) -> Result<bool, Untold> {
        match &self.tables.sasl.exceptions {
            Some(exceptions) => exceptions.has(&self.client).map(|hidden| !hidden),
            None => Ok(true),
        }
    }
}
