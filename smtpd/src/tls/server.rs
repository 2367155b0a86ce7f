//! What a process has for TLS: keys, certificates, tables; opened as the superuser (spec tls-sasl 2.2 and 4).

use std::sync::Arc;
use std::time::SystemTime;

use ipc::client::Timers;
use metrics::Fault;
use tls::expiry::{Concern, Urgency};
use tls::{Handshake, Named, Peer, Server, Socket, TicketKeys};
use tls_settings::LogLevel;

use crate::settings::params::SmtpdParams;
use crate::settings::tls::{Demand, TlsParams};
use crate::tls::names::ServerNames;
use crate::tls::tickets::Tickets;

/// TLS that works.
#[derive(Debug)]
pub struct TlsServer {
    server: Server,
    names: Option<ServerNames>,
}

impl TlsServer {
    /// Opens everything. Without what it takes there is no TLS, and the log says why: STARTTLS is answered 454 then.
    ///
    /// # Errors
    /// The text of a fatal line, for a table type that is not there.
    pub fn open(params: &SmtpdParams) -> Result<Option<Self>, String> {
        let tls = &params.tls;
        if tls.demand == Demand::None {
            return Ok(None);
        }
        for warning in &tls.warnings {
            log::warn!("{warning}");
        }
        if tls.log_level.contains(LogLevel::DUMP) {
            log::warn!("smtpd_tls_loglevel: this server does not show what goes on inside a handshake");
        }
        let names = ServerNames::open(&tls.sni_maps)?;
        if let Some(names) = names.as_ref().filter(|_| lookup::only_examines()) {
            names.examine();
        }
        if tls.log_level.contains(LogLevel::VERBOSE) {
            log::info!("initializing the server-side TLS engine");
        }
        Ok(Self::start(params).map(|server| Self { server, names }))
    }

    fn start(params: &SmtpdParams) -> Option<Server> {
        let tls = &params.tls;
        if !tls.has_certificate() {
            if tls.ask_ccert || tls.req_ccert {
                log::warn!("Need a server cert to request client certs");
            }
            log::warn!("No server certs available. TLS won't be enabled");
            return None;
        }
        if !tls.settings.chain_files.is_empty() && !tls.settings.pairs.is_empty() {
            log::warn!(
                "Both smtpd_tls_chain_files and one or more of the legacy  smtpd_tls_cert_file, \
                 smtpd_tls_eccert_file or smtpd_tls_dcert_file are non-empty; the legacy  parameters will be ignored"
            );
        }
        let tickets = tls.ticket_lifetime.map(|lifetime| {
            let timers = Timers {
                timeout: params.access.ipc_timeout,
                idle: params.access.ipc_idle,
                ttl: params.access.ipc_ttl,
            };
            Arc::new(Tickets::new(&tls.tlsmgr_service_name, timers, lifetime)) as Arc<dyn TicketKeys>
        });
        let Some(server) = Server::new(&tls.settings, tickets) else {
            metrics::fault(Fault::Certificate, &files(tls), &"cannot be used: the log says why");
            return None;
        };
        for word in server.unknown_cipher_words() {
            log::warn!("ignoring cipher list item \"{word}\"");
        }
        if lookup::only_examines() || metrics::is_on() {
            let concerns =
                tls::expiry::concerns(&tls.settings.chain_files, &tls.settings.pairs, SystemTime::now());
            if lookup::only_examines() {
                concerns.iter().for_each(|concern| log::warn!("{}", concern.text));
            }
            tell(tls, &concerns);
        }
        // A handshake tells it otherwise.
        if let Some(fault) = server.cipher_fault().filter(|_| lookup::only_examines()) {
            log::warn!("{fault}");
        }
        Some(server)
    }

    /// The cipher list as the log shows it.
    pub fn cipher_list(&self) -> Option<&str> {
        self.server.cipher_list()
    }

    /// One handshake.
    ///
    /// # Errors
    /// There is no session.
    pub fn accept(
        &self,
        socket: &mut Socket,
        namaddr: &str,
        tls: &TlsParams,
    ) -> Result<tls::Outcome, tls::HandshakeError> {
        let names = |name: &[u8]| match &self.names {
            Some(names) => names.find(name, namaddr),
            None => Named::Unknown,
        };
        let peer =
            Peer { namaddr, log_tickets: tls.log_level.contains(LogLevel::CACHE), server_name: &names };
        Handshake::new(&self.server, &peer)?.run(socket, tls.starttls_timeout)
    }
}

/// Where the certificates are.
fn files(tls: &TlsParams) -> String {
    let pairs = tls.settings.pairs.iter().map(|pair| pair.certificates.as_str());
    let chains = Some(tls.settings.chain_files.as_str()).filter(|files| !files.is_empty());
    chains.map_or_else(|| pairs.collect::<Vec<_>>().join(", "), str::to_owned)
}

/// Tells whether the certificates hold.
fn tell(tls: &TlsParams, concerns: &[Concern]) {
    match concerns.iter().find(|concern| concern.urgency == Urgency::Now) {
        Some(concern) => metrics::fault(Fault::Certificate, &files(tls), &concern.text),
        None => metrics::fault_over(Fault::Certificate, &files(tls)),
    }
}
