//! Sessions that can be taken up again. rustls keeps their secrets to itself: there is no way to write one down, so that
//! they live as long as the process, and no other process has them.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

/// About how many sessions are kept; a server has up to eight.
const LIMIT: usize = 2048;

/// All of them.
#[derive(Debug)]
pub(super) struct Sessions(Arc<ClientSessionMemoryCache>);

impl Default for Sessions {
    fn default() -> Self {
        Self(Arc::new(ClientSessionMemoryCache::new(LIMIT)))
    }
}

impl Sessions {
    /// Those under this name.
    pub(super) fn named(&self, name: &str) -> Arc<Named> {
        let digest = digest::digest(&digest::SHA256, name.as_bytes());
        // rustls has names of hosts for this; half a digest fits in a label.
        let label: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let name =
            ServerName::try_from(label).unwrap_or_else(|_| ServerName::from(std::net::IpAddr::from([0; 4])));
        Arc::new(Named { all: self.0.clone(), name })
    }
}

/// The sessions under one name.
#[derive(Debug)]
pub(super) struct Named {
    all: Arc<ClientSessionMemoryCache>,
    name: ServerName<'static>,
}

impl Named {
    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        let ticket = self.all.take_tls13_ticket(&self.name);
        let has_ticket = ticket.is_some();
        // It can be looked at only by taking it out.
        if let Some(ticket) = ticket {
            self.all.insert_tls13_ticket(self.name.clone(), ticket);
        }
        has_ticket || self.all.tls12_session(&self.name).is_some()
    }
}

impl ClientSessionStore for Named {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.all.set_kx_hint(self.name.clone(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.all.kx_hint(&self.name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.all.set_tls12_session(self.name.clone(), session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.all.tls12_session(&self.name)
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.all.remove_tls12_session(&self.name);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.all.insert_tls13_ticket(self.name.clone(), ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.all.take_tls13_ticket(&self.name)
    }
}
