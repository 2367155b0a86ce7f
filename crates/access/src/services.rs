//! The other daemons that restrictions ask.

use std::sync::Arc;

use ipc::client::Timers;
use ipc::pool::Pool;
use ipc::verify::Client as Verifier;

use crate::dnsbl::answers::Cache;
use crate::policy::connection::PolicyClients;
use crate::resolver::Resolver;
use crate::settings::AccessParams;

/// Connections that a process with several sessions has to trivial-rewrite, at most. A request takes a fraction
/// of a millisecond; more connections would only mean more processes at the other end.
const CONNECTIONS: usize = 8;

/// Connections, opened when first used, and shared by all sessions of the process.
#[derive(Debug, Clone)]
pub struct Services {
    /// trivial-rewrite.
    pub resolver: Arc<Resolver>,
    /// What DNS lists said.
    pub dnsbl: Arc<Cache>,
    /// verify.
    pub verify: Arc<Pool<Verifier>>,
    /// Policy servers.
    pub policy: Arc<Pool<PolicyClients>>,
}

impl Services {
    /// Connections for one process; none is open yet.
    pub fn new(params: &AccessParams) -> Self {
        let timers = Timers { timeout: params.ipc_timeout, idle: params.ipc_idle, ttl: params.ipc_ttl };
        let connections = CONNECTIONS.min(params.sessions_per_process);
        let verify = params.verify.service_name.clone();
        let families = params.protocols.families();
        // Where sessions share connections, it is the pool that has one for each server.
        let servers = if params.sessions_per_process > 1 { 1 } else { usize::MAX };
        Self {
            resolver: Arc::new(Resolver::new(
                &params.rewrite_service_name,
                timers,
                connections,
                params.smtputf8_enable,
            )),
            dnsbl: Arc::default(),
            verify: Arc::new(Pool::new(params.sessions_per_process, move || Verifier::new(&verify, timers))),
            // A policy server may take its time, so nobody waits for another's answer.
            policy: Arc::new(Pool::new(params.sessions_per_process, move || {
                PolicyClients::new(families, servers)
            })),
        }
    }
}
