//! Threads that wait for work, so that not every session costs the making of a thread.
//!
//! A thread that has done its work asks for more, and is sent home when none comes for a while. Nobody waits for a
//! thread: work that no idle thread can take at once is handed back to whoever gives it, for a new thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread waits for work.
pub(crate) const REST: Duration = Duration::from_secs(10);

/// Work for threads, and those who wait for it.
pub(crate) struct ThreadPool<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    /// Never more than threads wait.
    work: VecDeque<T>,
    waiting: usize,
    closed: bool,
}

impl<T> ThreadPool<T> {
    pub(crate) fn new() -> Self {
        let state = State { work: VecDeque::new(), waiting: 0, closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives work to a thread that waits; back when there is none.
    pub(crate) fn give(&self, work: T) -> Option<T> {
        let mut state = self.state();
        if state.waiting == 0 {
            return Some(work);
        }
        // Counted here and not when it wakes: who comes next must not count on the same thread.
        state.waiting -= 1;
        state.work.push_back(work);
        self.wake.notify_one();
        None
    }

    /// Waits for work; none means that the thread is to end.
    pub(crate) fn next(&self) -> Option<T> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        state.waiting += 1;
        let idle = |state: &mut State<T>| state.work.is_empty() && !state.closed;
        let waited = self.wake.wait_timeout_while(state, REST, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let work = state.work.pop_front();
        if work.is_none() {
            state.waiting = state.waiting.saturating_sub(1);
        }
        work
    }

    /// Sends all home who wait, and who will ask.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_to_who_waits() {
        let pool = ThreadPool::new();
        assert_eq!(pool.give(1), Some(1), "nobody waits");
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| pool.next())).collect();
            while pool.state().waiting < 2 {
                std::thread::yield_now();
            }
            assert_eq!((pool.give(2), pool.give(3), pool.give(4)), (None, None, Some(4)));
            let mut done: Vec<_> = waiting.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
            done.sort_unstable();
            assert_eq!(done, [2, 3]);
            let last = scope.spawn(|| pool.next());
            while pool.state().waiting < 1 {
                std::thread::yield_now();
            }
            pool.close();
            assert_eq!(last.join().unwrap(), None);
        });
        assert_eq!(pool.next(), None, "closed");
    }
}
