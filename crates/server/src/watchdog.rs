//! Ends a process whose loop has stopped turning (spec master 3.13).
//!
//! As in Postfix it is the handler of SIGALRM that says `fatal: watchdog timeout`. A handler may not log, so the line is made
//! ready here, beforehand; what rests in a wait from which anything would wake it is not stuck.

use std::time::Duration;

/// The watchdog of this process.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<sys::watchdog::Watchdog>);

impl Watchdog {
    /// Starts watching. When that fails the process does its work unwatched.
    pub(crate) fn start(limit: Duration) -> Self {
        maillog::prepare_fatal("watchdog timeout");
        let started = sys::watchdog::Watchdog::start(limit);
        Self(started.map_err(|error| log::warn!("no watchdog: {}", sys::error_text(&error))).ok())
    }

    /// Does what may take any time: waiting for events, or for the accept lock.
    pub(crate) fn rest<T>(&self, wait: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(watchdog) => watchdog.rest(wait),
            None => wait(),
        }
    }
}
