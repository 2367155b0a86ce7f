//! The connections that a process keeps to itself: those with TLS, which nobody else could go on with, and all of a process
//! that makes many deliveries.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cache::{Connections, Kept as Found};

use super::{Connection, lock, wait};

/// The cache of a process.
#[derive(Debug, Default)]
pub(super) struct Own {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    connections: Connections<Connection>,
    /// Somebody closes what has been there for its time.
    is_watched: bool,
}

impl Own {
    /// Keeps a connection for its endpoint, which may be one of a destination.
    pub(super) fn save(
        self: &Arc<Self>,
        endpoint: (&[u8], Vec<u8>),
        destination: Option<(&[u8], Vec<u8>)>,
        connection: Connection,
        ttl: Duration,
    ) {
        let until = Instant::now() + ttl;
        let mut kept = lock(&self.kept);
        if let Some((label, property)) = destination {
            kept.connections.save_destination(label, property, endpoint.0, until);
        }
        kept.connections.save_endpoint(endpoint.0, endpoint.1, connection, until);
        self.watch(kept);
    }

    pub(super) fn find_endpoint(&self, label: &[u8]) -> Option<Found<Connection>> {
        lock(&self.kept).connections.find_endpoint(label)
    }

    pub(super) fn find_destination(&self, label: &[u8]) -> Option<(Vec<u8>, Found<Connection>)> {
        lock(&self.kept).connections.find_destination(label)
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.kept).connections.counts().connections == 0
    }

    /// Sees to it that connections are closed when their time is over.
    fn watch(self: &Arc<Self>, mut kept: MutexGuard<'_, Kept>) {
        if kept.is_watched {
            self.changed.notify_one();
            return;
        }
        let own = Arc::clone(self);
        let watcher = std::thread::Builder::new().name("connections".into()).stack_size(128 * 1024);
        kept.is_watched = watcher.spawn(move || own.close_old()).is_ok();
    }

    fn close_old(&self) {
        let mut kept = lock(&self.kept);
        loop {
            let now = Instant::now();
            kept.connections.expire(now);
            let left = kept.connections.next_end().map(|end| end.saturating_duration_since(now));
            kept = wait(&self.changed, kept, left);
        }
    }
}
