//! Ends a process whose loop has stopped turning (spec master 3.13).
//!
//! A thread looks every third of the time limit whether the loop has passed since, or rests in a wait from which
//! anything would wake it; the third time in a row that it has not, the process ends. Postfix does this in the
//! handler of SIGALRM; a thread may log, a handler may not.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const LOOKS: u32 = 3;
/// For the case that even the last words cannot be said.
const SUICIDE_SECONDS: u32 = 5;

#[derive(Debug, Default)]
struct Shared {
    passes: AtomicU32,
    resting: AtomicBool,
    stopped: Mutex<bool>,
    wake: Condvar,
}

/// The watchdog of this process.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching. Without a thread the process does its work unwatched.
    pub(crate) fn start(limit: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("watchdog".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                watched.watch(limit / LOOKS, || {
                    sys::signal::alarm(SUICIDE_SECONDS);
                    maillog::fatal("watchdog timeout");
                });
            })
            .map_err(|error| log::warn!("no watchdog: {}", sys::error_text(&error)))
            .ok();
        Self { shared, thread }
    }

    /// The loop has come around.
    pub(crate) fn pass(&self) {
        self.shared.passes.fetch_add(1, Ordering::Relaxed);
    }

    /// Does what may take any time: waiting for events, or for the accept lock.
    pub(crate) fn rest<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.shared.resting.store(true, Ordering::Relaxed);
        let outcome = wait();
        self.shared.resting.store(false, Ordering::Relaxed);
        outcome
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self, look: Duration, mut bite: impl FnMut()) {
        let (mut last, mut misses) = (self.passes.load(Ordering::Relaxed), 0);
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let waited = self.wake.wait_timeout(stopped, look);
            let (guard, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            stopped = guard;
            if !outcome.timed_out() {
                continue;
            }
            let passes = self.passes.load(Ordering::Relaxed);
            if passes != last || self.resting.load(Ordering::Relaxed) {
                (last, misses) = (passes, 0);
                continue;
            }
            misses += 1;
            if misses >= LOOKS {
                bite();
                misses = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_only_who_stands_still() {
        let shared = Arc::new(Shared::default());
        let bites = Arc::new(AtomicU32::new(0));
        let (watched, counted) = (Arc::clone(&shared), Arc::clone(&bites));
        let thread = std::thread::spawn(move || {
            watched.watch(Duration::from_millis(20), || {
                counted.fetch_add(1, Ordering::Relaxed);
            });
        });
        for _ in 0..20 {
            shared.passes.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(bites.load(Ordering::Relaxed), 0);
        shared.resting.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(bites.load(Ordering::Relaxed), 0);
        shared.resting.store(false, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(150));
        assert!(bites.load(Ordering::Relaxed) >= 1);
        *shared.stopped.lock().unwrap() = true;
        shared.wake.notify_all();
        thread.join().unwrap();
    }
}
