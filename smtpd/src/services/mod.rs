//! What the sessions of a process share: the other daemons that they ask, and what these and the system said.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::Config;
use ipc::anvil::Anvil;
use ipc::client::Timers;
use ipc::verify::Client as Verifier;

use crate::access::dnsbl;
use crate::access::policy::PolicyClients;
use crate::access::resolver::Resolver;
use crate::client::names::ClientNames;
use crate::pool::Pool;
use crate::proxy::ProxyParams;
use crate::settings::params::SmtpdParams;
use crate::tls::TlsServer;

/// Connections that a process with several sessions has to trivial-rewrite, at most. A request takes a fraction
/// of a millisecond; more connections would only mean more processes at the other end.
const CONNECTIONS: usize = 8;

/// Connections to other daemons, opened when first used, and shared by all sessions of the process.
#[derive(Debug, Clone)]
pub struct Services {
    /// The service's name in master.cf, as anvil and the log know it.
    pub service_name: String,
    /// Names of clients.
    pub client_names: Arc<ClientNames>,
    /// trivial-rewrite.
    pub resolver: Arc<Resolver>,
    /// What DNS lists said.
    pub dnsbl: Arc<dnsbl::Cache>,
    /// anvil; absent when no limit is set.
    pub anvil: Option<Arc<Anvils>>,
    /// verify.
    pub verify: Arc<Pool<Verifier>>,
    /// Policy servers.
    pub policy: Arc<Pool<PolicyClients>>,
    /// What it takes for TLS; absent when something is missing.
    pub tls: Option<Arc<TlsServer>>,
    /// The authentication server; absent where logins are not enabled.
    pub sasl: Option<Arc<sasl::Clients>>,
    /// The filter, when `smtpd_proxy_filter` is set.
    pub proxy: Option<Arc<ProxyParams>>,
}

/// Connections to anvil that no session holds. anvil binds a connection to the client it counts, so that each session
/// that is counted needs one of its own.
#[derive(Debug)]
pub struct Anvils {
    ipc_timeout: Duration,
    free: Mutex<Vec<Anvil>>,
}

impl Anvils {
    /// A connection for a session.
    pub fn take(&self) -> Anvil {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Anvil::new(self.ipc_timeout))
    }

    /// The connection of a session that has ended, and has said so to anvil.
    pub fn give_back(&self, anvil: Anvil) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(anvil);
    }
}

impl Services {
    /// Connections for one process; none is open yet.
    ///
    /// # Errors
    /// A setting of the filter's that cannot be used.
    pub fn new(config: &Config, params: &SmtpdParams, service_name: &str) -> Result<Self, config::Error> {
        let timers = Timers { timeout: params.ipc_timeout, idle: params.ipc_idle, ttl: params.ipc_ttl };
        let connections = CONNECTIONS.min(params.sessions_per_process);
        let verify = params.verify.service_name.clone();
        let families = params.protocols.families();
        // Where sessions share connections, it is the pool that has one for each server.
        let servers = if params.sessions_per_process > 1 { 1 } else { usize::MAX };
        let anvils = || Arc::new(Anvils { ipc_timeout: params.ipc_timeout, free: Mutex::default() });
        Ok(Self {
            service_name: service_name.to_string(),
            client_names: Arc::default(),
            resolver: Arc::new(Resolver::new(
                &params.rewrite_service_name,
                timers,
                connections,
                params.smtputf8_enable,
            )),
            anvil: params.limits.any().then(anvils),
            verify: Arc::new(Pool::new(params.sessions_per_process, move || Verifier::new(&verify, timers))),
            // A policy server may take its time, so nobody waits for another's answer.
            policy: Arc::new(Pool::new(params.sessions_per_process, move || {
                PolicyClients::new(families, servers)
            })),
            tls: None,
            dnsbl: Arc::default(),
            sasl: crate::sasl::clients(params),
            proxy: ProxyParams::new(config)?.map(Arc::new),
        })
    }
}
