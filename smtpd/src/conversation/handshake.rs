//! A handshake in a session: what is logged of it, and what the session is afterwards (spec tls-sasl 2.3 to 2.5,
//! section 8).

use access::client::Client;
use ipc::dialect::Dialect;
use maillog::shown;
use metrics::Family;
use tls::{Established, HandshakeError, Outcome, Trust};
use tls_settings::LogLevel;

use crate::conversation::wire::{Stream, Wire};
use crate::log as lines;
use crate::session::Session;

/// Why the session does not go on behind a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTls {
    /// There is no TLS; the connection is closed without a word.
    Failed,
    /// The client makes too many sessions; it has been told so.
    Refused,
}

impl Session<'_, '_> {
    /// In wrapper mode, before anything is said.
    ///
    /// # Errors
    /// The connection is to be closed without a word.
    pub(crate) fn wrap(&mut self, stream: &mut Stream) -> Result<(), NoTls> {
        if !self.params.tls.wrappermode {
            return Ok(());
        }
        if self.services.tls.is_none() {
            lines::wrappermode_dropped(&self.client, &self.services.service_name);
            return Err(NoTls::Failed);
        }
        if self.too_many_tls_sessions_so_far() {
            lines::tls_refused("TLS service request", &self.client, &self.services.service_name);
            return Err(NoTls::Failed);
        }
        let started = self.start_tls(stream);
        if started == Err(NoTls::Failed) {
            lines::lost_connection(self.place(None));
        }
        started
    }

    /// Runs the handshake. The client's TLS properties, and a refusal that waits, are in the session afterwards.
    ///
    /// # Errors
    /// There is no TLS; the log says why.
    pub(crate) fn start_tls(&mut self, stream: &mut Stream) -> Result<(), NoTls> {
        let services = self.services;
        let (Some(server), Wire::Socket(socket)) = (&services.tls, stream.socket_mut()) else {
            return Err(NoTls::Failed);
        };
        let tls = &self.params.tls;
        let namaddr = shown(&self.client.namaddr).to_string();
        if tls.log_level.contains(LogLevel::VERBOSE) {
            log::info!("setting up TLS connection from {namaddr}");
            if let Some(list) = server.cipher_list() {
                log::info!("{namaddr}: TLS cipher list \"{list}\"");
            }
        }
        let outcome = match server.accept(socket, &namaddr, tls) {
            Ok(outcome) => outcome,
            Err(error) => {
                failed(&error, &namaddr);
                return Err(NoTls::Failed);
            }
        };
        let shows_distrust = tls.req_ccert || tls.log_level.contains(LogLevel::UNTRUSTED);
        succeeded(&outcome, &self.client, tls.log_level, shows_distrust, self.params.access.dialect);
        self.tls = Some(Box::new(outcome.established));
        self.after_handshake()
    }

    /// Refuses a client that makes too many sessions at once, and one that has not shown what is required with the next
    /// reply.
    fn after_handshake(&mut self) -> Result<(), NoTls> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let missing = match tls.trust {
            _ if !self.params.tls.req_ccert => None,
            Trust::Trusted => None,
            Trust::Anonymous => Some("No client certificate presented"),
            Trust::Untrusted => Some("Client certificate not trusted"),
        };
        if !tls.resumed
            && let Some(text) = self.new_tls_session()
        {
            self.reply(text);
            return Err(NoTls::Refused);
        }
        if let Some(text) = missing {
            lines::tls_aborted(&self.client, text);
            let text = format!("421 4.7.1 {} Error: {text}", self.params.access.myhostname);
            self.reply(text);
        }
        Ok(())
    }
}

fn failed(error: &HandshakeError, namaddr: &str) {
    metrics::count(Family::SmtpdTls, &["failed", ""]);
    match error {
        HandshakeError::Protocol(text) => {
            log::info!("SSL_accept error from {namaddr}: -1");
            log::warn!("TLS library problem: {text}");
        }
        HandshakeError::Lost | HandshakeError::Io(_) => {
            log::info!("SSL_accept error from {namaddr}: {error}")
        }
        HandshakeError::Settings(text) => log::warn!("{text}"),
    }
}

fn succeeded(outcome: &Outcome, client: &Client, level: LogLevel, shows_distrust: bool, dialect: Dialect) {
    let Established { resumed, client_certificate, trust, server_name, protocol, .. } = &outcome.established;
    metrics::count(Family::SmtpdTls, &["established", protocol]);
    let namaddr = shown(&client.namaddr);
    if *resumed && level.contains(LogLevel::CACHE) {
        log::info!("{namaddr}: Reusing old session (RFC 5077 session ticket)");
    }
    if let Some(certificate) = client_certificate
        .as_ref()
        .filter(|_| level.intersects(LogLevel::PEER_CERTIFICATE | LogLevel::VERBOSE))
    {
        let (first, second) = dialect.fingerprint_words();
        log::info!(
            "{namaddr}: subject_CN={}, issuer={}, {first}={}, {second}={}",
            shown(&certificate.subject),
            shown(&certificate.issuer),
            certificate.fingerprint,
            certificate.pubkey_fingerprint
        );
    }
    if let Some(distrust) = outcome.distrust.as_ref().filter(|_| shows_distrust) {
        if *resumed {
            log::info!(
                "{namaddr}: re-using session with untrusted certificate, look for details earlier in the log"
            );
        } else {
            log::info!("{}", shown(distrust.log_line(&namaddr.to_string()).as_bytes()));
        }
    }
    if level.contains(LogLevel::SUMMARY) {
        let to = server_name.as_ref().map(|name| format!(" to {name}")).unwrap_or_default();
        log::info!(
            "{} TLS connection established from {namaddr}{to}: {}",
            trust.word(),
            outcome.established.summary()
        );
    }
}
