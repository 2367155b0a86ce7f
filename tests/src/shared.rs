//! What the threads of a server that plays a script have in common: its state, who waits for a change of it, and whether
//! it is to end.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state, shared.
#[derive(Debug, Default)]
pub(crate) struct Shared<S> {
    state: Mutex<S>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl<S> Shared<S> {
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits for a change.
    pub(crate) fn changed(&self) {
        self.changed.notify_all();
    }

    /// The state once `done` is true of it; fails the test with the words of `trouble` when that takes too long.
    pub(crate) fn once(
        &self,
        done: impl Fn(&S) -> bool,
        trouble: impl Fn(&S) -> String,
    ) -> MutexGuard<'_, S> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !done(&state) {
            assert!(Instant::now() < deadline, "{}", trouble(&state));
            let wait = Duration::from_millis(100);
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// The server has been told to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Tells the server to end; a connection wakes the thread that accepts.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// The same for a server at a port of this host.
    pub(crate) fn stop_at(&self, port: u16) {
        self.stop();
        drop(TcpStream::connect(("127.0.0.1", port)));
    }
}
