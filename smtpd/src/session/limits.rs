//! Limits per client, counted by anvil over all processes of the service (spec access 11).
//!
//! A limit L allows the value L. Without an answer from anvil there is no limit.

use std::net::IpAddr;

use access::settings::classes::Classes;
use ipc::anvil::{Anvil, Client, Connected, ident};

use crate::log;
use crate::session::standing::Standing;

/// What is counted of a client during its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// MAIL.
    Message,
    /// RCPT and VRFY.
    Recipient,
    /// AUTH.
    Auth,
}

impl Standing<'_> {
    /// Counts the connection; the text of a refusal when there are too many.
    pub(crate) fn connection_limits(&mut self) -> Option<String> {
        let ident = self.identify_at_anvil()?;
        let answer = self.limits.anvil.as_mut()?.connect(&ident);
        self.limits.counted = true;
        let Connected { count, rate } = answer?;
        self.limits.connections = count;
        let limits = &self.params.limits;
        let exceeded = if above(count, limits.connection_count) {
            Some(("Connection concurrency", count))
        } else if above(rate, limits.connection_rate) {
            Some(("Connection rate", rate))
        } else {
            None
        };
        let (what, value) = exceeded?;
        log::limit_exceeded(what, value, &self.client, &self.services.service_name);
        let address = String::from_utf8_lossy(&self.client.address);
        Some(format!(
            "421 4.7.0 {} Error: too many connections from {address}",
            self.params.access.myhostname
        ))
    }

    /// Who the client is at anvil, and a connection to it; nothing for a client that is not counted.
    fn identify_at_anvil(&mut self) -> Option<String> {
        let anvils = self.services.anvil.as_ref()?;
        if self.is_exempt() {
            return None;
        }
        let ident = self.identity_at_anvil();
        self.limits.anvil.get_or_insert_with(|| anvils.take());
        self.limits.ident = Some(ident.clone());
        Some(ident)
    }

    /// Whether the client is not counted. The list is asked for each event, as Postfix does (observed, 3.7.11): it may be a
    /// table that changes.
    fn is_exempt(&self) -> bool {
        self.xclient_allowed == Ok(true) || self.tables.limit_exceptions.has(&self.client).unwrap_or(false)
    }

    /// Whether this client has made more TLS sessions than it may, before it makes another one.
    pub(crate) fn too_many_tls_sessions_so_far(&mut self) -> bool {
        let limit = self.params.limits.new_tls_session_rate;
        self.tls_session_rate(Anvil::newtls_status).is_some_and(|rate| above(rate, limit))
    }

    /// Counts a TLS session; the text of a refusal when there are too many.
    pub(crate) fn new_tls_session(&mut self) -> Option<String> {
        let limit = self.params.limits.new_tls_session_rate;
        let rate = self.tls_session_rate(Anvil::newtls).filter(|rate| above(*rate, limit))?;
        log::limit_exceeded("New TLS session rate", rate, &self.client, &self.services.service_name);
        let namaddr = String::from_utf8_lossy(&self.client.namaddr);
        Some(format!(
            "421 4.7.0 {} Error: too many new TLS sessions from {namaddr}",
            self.params.access.myhostname
        ))
    }

    fn tls_session_rate(&mut self, ask: impl FnOnce(&mut Anvil, &str) -> Option<i32>) -> Option<i32> {
        if self.params.limits.new_tls_session_rate <= 0 {
            return None;
        }
        let ident = self.identify_at_anvil()?;
        ask(self.limits.anvil.as_mut()?, &ident)
    }

    fn identity_at_anvil(&self) -> String {
        let service = &self.services.service_name;
        let text = String::from_utf8_lossy(&self.client.address);
        // The parameters are of the version that first counted by network.
        let networks = self.params.limits.networks.zip(text.parse::<IpAddr>().ok());
        match networks {
            Some((prefix, address)) => ident(service, &Client::Network(address, prefix.length_for(address))),
            None => ident(service, &Client::Text(&text)),
        }
    }

    /// Counts an event; the text of a refusal when there are too many.
    pub(crate) fn rate_limit(&mut self, event: Event) -> Option<String> {
        let limits = &self.params.limits;
        let (limit, what, reply) = match event {
            Event::Message => (limits.message_rate, "Message delivery request rate", "too much mail from"),
            Event::Recipient => (limits.recipient_rate, "Recipient address rate", "too many recipients from"),
            Event::Auth => (limits.auth_rate, "AUTH command rate", "too many AUTH commands from"),
        };
        if limit <= 0 {
            return None;
        }
        let ident = self.identify_at_anvil()?;
        let anvil = self.limits.anvil.as_mut()?;
        let rate = match event {
            Event::Message => anvil.message(&ident),
            Event::Recipient => anvil.recipient(&ident),
            Event::Auth => anvil.auth(&ident),
        }?;
        if !above(rate, limit) {
            return None;
        }
        log::limit_exceeded(what, rate, &self.client, &self.services.service_name);
        self.transcript.error(Classes::POLICY);
        let address = String::from_utf8_lossy(&self.client.address);
        Some(format!("450 4.7.1 Error: {reply} {address}"))
    }

    /// The client has gone.
    pub(crate) fn forget_connection(&mut self) {
        if self.services.anvil.is_some() && self.is_exempt() && !self.limits.counted {
            return;
        }
        let (Some(ident), Some(mut anvil)) = (self.limits.ident.take(), self.limits.anvil.take()) else {
            return;
        };
        if std::mem::take(&mut self.limits.counted) {
            // The answer has nothing to say; anvil's own trouble is in the log.
            let _ = anvil.disconnect(&ident);
        }
        if let Some(anvils) = &self.services.anvil {
            anvils.give_back(anvil);
        }
    }
}

fn above(value: i32, limit: i32) -> bool {
    limit > 0 && value > limit
}
