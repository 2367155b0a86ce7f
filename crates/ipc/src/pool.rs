//! Connections to other daemons that the sessions of a process share: one at a time has a connection, and there are
//! never more than a bound, however many sessions there are.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Of those that nobody uses, so many are kept: each has an open file.
pub const KEPT: usize = 32;

/// Up to so many of `T`, made when needed.
pub struct Pool<T> {
    limit: usize,
    make: Box<dyn Fn() -> T + Send + Sync>,
    state: Mutex<State<T>>,
    freed: Condvar,
}

struct State<T> {
    idle: Vec<T>,
    made: usize,
}

impl<T> Pool<T> {
    /// An empty pool of at most `limit`, and at least one.
    pub fn new(limit: usize, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let state = Mutex::new(State { idle: Vec::new(), made: 0 });
        Self { limit: limit.max(1), make: Box::new(make), state, freed: Condvar::new() }
    }

    /// Does something with one of them; waits for one if need be. One that was in use in a panic is thrown away.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        self.with_one(|_| true, work)
    }

    /// The same, with one that suits best, if there is a choice.
    pub fn with_one<R>(&self, suits: impl Fn(&T) -> bool, work: impl FnOnce(&mut T) -> R) -> R {
        let mut lent = Lent { pool: self, item: Some(self.take(suits)) };
        match lent.item.as_mut() {
            Some(item) => work(item),
            None => unreachable!("it was put there above"),
        }
    }

    /// Does something with each that is not in use.
    pub fn each_idle(&self, work: impl FnMut(&mut T)) {
        self.state().idle.iter_mut().for_each(work);
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, suits: impl Fn(&T) -> bool) -> T {
        let none = |state: &mut State<T>| state.idle.is_empty() && state.made >= self.limit;
        let mut state = self.freed.wait_while(self.state(), none).unwrap_or_else(PoisonError::into_inner);
        let suited = state.idle.iter().rposition(suits);
        // Another one makes room for one that suits, as long as there may be more of them.
        if suited.is_some() || state.made >= self.limit || state.idle.len() >= KEPT {
            let last = state.idle.len().saturating_sub(1);
            if !state.idle.is_empty() {
                return state.idle.remove(suited.unwrap_or(last));
            }
        }
        state.made += 1;
        drop(state);
        (self.make)()
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool {{ limit: {}, made: {} }}", self.limit, self.state().made)
    }
}

struct Lent<'a, T> {
    pool: &'a Pool<T>,
    item: Option<T>,
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        let item = self.item.take().filter(|_| !std::thread::panicking());
        let mut state = self.pool.state();
        let surplus = match item {
            Some(item) if state.idle.len() < KEPT => {
                state.idle.push(item);
                None
            }
            item => {
                state.made -= 1;
                item
            }
        };
        drop(state);
        self.pool.freed.notify_one();
        // Closed when nobody waits for it.
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Pool};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn never_more_than_the_bound_and_none_lost() {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let pool = Pool::new(2, || MADE.fetch_add(1, Ordering::SeqCst));
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..100).for_each(|_| pool.with(|_| std::thread::yield_now())));
            }
        });
        assert!(MADE.load(Ordering::SeqCst) <= 2);
        for _ in 0..3 {
            assert!(catch_unwind(AssertUnwindSafe(|| pool.with(|_| panic!("in use")))).is_err());
        }
        pool.with(|_| ());
    }

    #[test]
    fn a_few_are_kept_and_the_one_that_suits_is_preferred() {
        fn all_at_once(pool: &Pool<usize>, count: usize) {
            if count > 0 {
                pool.with(|_| all_at_once(pool, count - 1));
            }
        }
        let made = AtomicUsize::new(0);
        let pool = Pool::new(100, move || made.fetch_add(1, Ordering::SeqCst));
        all_at_once(&pool, 3);
        assert_eq!(pool.with_one(|number| *number == 1, |number| *number), 1);
        assert_eq!(pool.with_one(|number| *number == 9, |number| *number), 3, "another one");
        all_at_once(&pool, 60);
        let state = pool.state();
        assert_eq!((state.idle.len(), state.made), (KEPT, KEPT));
        assert!(Pool::new(1, || 0).with_one(|_| false, |number| *number == 0));
    }
}
