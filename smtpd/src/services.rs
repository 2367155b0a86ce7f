//! The other daemons that a session asks: trivial-rewrite and anvil. One set of connections serves one thread.

use std::cell::RefCell;

use ipc::anvil::Anvil;
use ipc::client::Timers;

use crate::access::policy::PolicyClients;
use crate::params::SmtpdParams;
use crate::resolver::Resolver;

/// Connections to other daemons, opened when first used.
#[derive(Debug)]
pub struct Services {
    /// The service's name in master.cf, as anvil and the log know it.
    pub service_name: String,
    /// trivial-rewrite.
    pub resolver: RefCell<Resolver>,
    /// anvil; absent when no limit is set.
    pub anvil: Option<RefCell<Anvil>>,
    /// Policy servers.
    pub policy: RefCell<PolicyClients>,
}

impl Services {
    /// Connections for one thread; none is open yet.
    pub fn new(params: &SmtpdParams, service_name: &str) -> Self {
        let timers = Timers { timeout: params.ipc_timeout, idle: params.ipc_idle, ttl: params.ipc_ttl };
        Self {
            service_name: service_name.to_string(),
            resolver: RefCell::new(Resolver::new(&params.rewrite_service_name, timers)),
            anvil: params.limits.any().then(|| RefCell::new(Anvil::new(params.ipc_timeout))),
            policy: RefCell::new(PolicyClients::new(params.protocols.families())),
        }
    }
}
