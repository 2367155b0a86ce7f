//! What the sessions of a process share: the other daemons that they ask, and what these and the system said.

use std::sync::{Arc, Mutex};

use config::Config;

use crate::client::names::ClientNames;
use crate::proxy::ProxyParams;
use crate::services::anvil::Anvils;
use crate::services::duplicates::Duplicates;
use crate::settings::params::SmtpdParams;
use crate::tls::TlsServer;

pub(crate) mod anvil;
pub(crate) mod duplicates;
pub(crate) mod permits;

/// Connections to other daemons, opened when first used, and shared by all sessions of the process.
#[derive(Debug, Clone)]
pub struct Services {
    /// The service's name in master.cf, as anvil and the log know it.
    pub service_name: String,
    /// Those that restrictions ask.
    pub access: access::services::Services,
    /// Names of clients.
    pub(crate) client_names: Arc<ClientNames>,
    /// anvil; absent when no limit is set.
    pub anvil: Option<Arc<Anvils>>,
    /// What it takes for TLS; absent when something is missing.
    pub tls: Option<Arc<TlsServer>>,
    /// Who answers logins; absent where they are not enabled.
    pub sasl: Option<sasl::Backend>,
    /// The filter, when `smtpd_proxy_filter` is set.
    pub proxy: Option<Arc<ProxyParams>>,
    /// Messages that may come again, with `smtpd_duplicate_time`.
    pub duplicates: Option<Arc<Duplicates>>,
}

impl Services {
    /// Connections for one process; none is open yet.
    ///
    /// # Errors
    /// A setting of the filter's that cannot be used.
    pub fn new(config: &Config, params: &SmtpdParams, service_name: &str) -> Result<Self, config::Error> {
        let anvils = || Arc::new(Anvils { ipc_timeout: params.access.ipc_timeout, free: Mutex::default() });
        Ok(Self {
            service_name: service_name.to_string(),
            access: access::services::Services::new(&params.access),
            client_names: Arc::default(),
            anvil: params.limits.any().then(anvils),
            tls: None,
            sasl: crate::sasl::backend(params),
            duplicates: None,
            proxy: match params.submitter {
                Some(_) => None,
                None => ProxyParams::new(config)?.map(Arc::new),
            },
        })
    }
}
