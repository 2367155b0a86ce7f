//! anvil, which counts clients over all processes of the service.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipc::anvil::Anvil;

/// Connections to anvil that no session holds. anvil binds a connection to the client it counts, so that each session
/// that is counted needs one of its own.
#[derive(Debug)]
pub struct Anvils {
    pub(super) ipc_timeout: Duration,
    pub(super) free: Mutex<Vec<Anvil>>,
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

/// Whether this client is counted.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// The identity at anvil; absent for exempt clients.
    pub ident: Option<String>,
    /// The connection that counts it.
    pub anvil: Option<Anvil>,
    /// anvil was told of the connection.
    pub counted: bool,
    /// Its connections at once; 0 when they are not counted.
    pub connections: i32,
}
