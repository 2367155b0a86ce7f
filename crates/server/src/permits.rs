//! Open files of a process with many sessions: few for a session that is idle, more for one that works.
//!
//! A session has its client, and perhaps one descriptor more, for as long as it lives. What it needs while it works
//! (files, connections to other programs, look-ups) it takes all at once, as one [`Permit`], and gives back as one: a
//! session that has a part of it never waits for another part. There are as many permits as there are descriptors left for
//! them. A session that finds none waits for a while, and is then told so; it never meets a system call that fails.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a session waits for a permit.
const PATIENCE: Duration = Duration::from_secs(10);
/// A process that has too few descriptors for all its sessions at work has a permit for one in so many, at least.
const SESSIONS_A_PERMIT: usize = 8;

/// What a service with several sessions in a process needs, in descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The process itself: its tables, its connections to other daemons, those it keeps open, where its threads wait.
    pub process: usize,
    /// A session, all the time.
    pub session: usize,
    /// A session that works, more than that.
    pub work: usize,
}

/// The clients that a process has at once, each in a thread, and what they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// How many.
    pub count: usize,
    /// What they need.
    pub descriptors: Descriptors,
}

impl Sessions {
    /// One after the other; nobody counts descriptors.
    pub const ONE: Self = Self { count: 1, descriptors: Descriptors { process: 0, session: 0, work: 0 } };
}

impl Descriptors {
    /// What so many sessions need when all of them work.
    #[must_use]
    pub fn wanted(self, sessions: usize) -> usize {
        sessions.saturating_mul(self.session + self.work).saturating_add(self.process)
    }

    /// Sessions, of those `wanted`, and permits, for which a limit of open files is enough.
    #[must_use]
    pub fn fit(self, limit: usize, wanted: usize) -> (usize, usize) {
        let room = limit.saturating_sub(self.process);
        let needs = |sessions: usize| {
            let permits = sessions.div_ceil(SESSIONS_A_PERMIT);
            sessions.saturating_mul(self.session).saturating_add(permits.saturating_mul(self.work))
        };
        // Nearly right, and then right.
        let eight = SESSIONS_A_PERMIT * self.session + self.work;
        let mut sessions = wanted.min(room.saturating_mul(SESSIONS_A_PERMIT) / eight.max(1)).max(1);
        while sessions > 1 && needs(sessions) > room {
            sessions -= 1;
        }
        let left = room.saturating_sub(sessions.saturating_mul(self.session));
        (sessions, left.checked_div(self.work).unwrap_or(sessions).clamp(1, sessions))
    }
}

/// The permits of a process.
#[derive(Debug)]
pub struct Permits {
    patience: Duration,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Sessions that wait for one: nobody else is to be woken.
    waiting: usize,
}

impl Default for Permits {
    /// More than anybody takes.
    fn default() -> Self {
        Self::new(usize::MAX, PATIENCE)
    }
}

impl Permits {
    /// So many, for each of which a session waits so long.
    #[must_use]
    pub fn new(count: usize, patience: Duration) -> Self {
        let state = State { free: count, waiting: 0 };
        Self { patience, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// So many.
    pub(crate) fn of(count: usize) -> Self {
        Self::new(count, PATIENCE)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit; `None` when none has become free in time. Who has one does not ask for another.
    #[must_use]
    pub fn take(&self) -> Option<Permit<'_>> {
        let mut state = self.state();
        if state.free == 0 {
            state.waiting += 1;
            let waited = self.freed.wait_timeout_while(state, self.patience, |state| state.free == 0);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        state.free = state.free.checked_sub(1)?;
        Some(Permit(self))
    }
}

/// The right to open what one session needs for its work, until it is dropped.
#[derive(Debug)]
pub struct Permit<'d>(&'d Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.free += 1;
        if state.waiting > 0 {
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn as_many_as_fit() {
        let needs = |session, work| Descriptors { process: 100, session, work };
        for (needs, limit, wanted, expected) in [
            (needs(1, 2), 20_000, 10_000, (10_000, 4950)),
            (needs(1, 3), 40_100, 10_000, (10_000, 10_000)),
            (needs(2, 3), 20_000, 10_000, (8378, 1048)),
            (needs(1, 3), 1024, 200, (200, 200)),
            (needs(1, 3), 1024, 1000, (672, 84)),
            (needs(1, 3), 104, 1000, (1, 1)),
            (needs(1, 3), 10, 1000, (1, 1)),
            (needs(1, 0), 1024, 1000, (924, 924)),
        ] {
            let (sessions, permits) = needs.fit(limit, wanted);
            assert_eq!((sessions, permits), expected, "{needs:?} {limit} {wanted}");
            assert_eq!(needs.fit(needs.wanted(wanted), wanted), (wanted, wanted));
        }
    }

    #[test]
    fn never_more_than_there_are_and_everybody_has_a_turn() {
        let permits = Permits::new(3, Duration::from_secs(60));
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let permit = permits.take();
                        assert!(permit.is_some());
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 3);
        assert_eq!(permits.state().free, 3);
    }

    #[test]
    fn patience_ends() {
        let permits = Permits::new(1, Duration::from_millis(20));
        let permit = permits.take();
        assert!(permit.is_some() && permits.take().is_none());
        drop(permit);
        assert!(permits.take().is_some());
    }
}
