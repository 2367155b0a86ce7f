//! The requests that a process may serve (`max_use`), over all its clients and threads.
//!
//! A client is a use. One who is served may ask again without having to come anew, where its protocol permits that
//! ([`Visit`]): that is a use, too. The last use is always left to a client who comes, for that is when who takes clients
//! learns that he shall take no more. A visit is short: meanwhile a process neither sees that master has gone, nor does its
//! watchdog see that it gets on, nor can anybody else have it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a client may go on asking, and the part of the watchdog's time that this may take.
const VISIT: Duration = Duration::from_secs(1);
const PART_OF_WATCH: u32 = 16;
/// No limit, for a process that will not serve as many in its life.
const ENDLESS: u32 = u32::MAX;

/// What is left of them; none, when nobody counts.
#[derive(Debug, Default)]
pub struct Uses(AtomicU32);

impl Uses {
    pub(crate) fn of(max_use: Option<u32>) -> Self {
        Self(AtomicU32::new(max_use.unwrap_or(ENDLESS)))
    }

    /// A client has come.
    pub(crate) fn begin(&self) {
        self.take(1);
    }

    /// Whether there is none left.
    pub(crate) fn are_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Takes one if so many are left.
    fn take(&self, least: u32) -> bool {
        let one_less = |left: u32| match left {
            ENDLESS => Some(ENDLESS),
            left => (left >= least).then(|| left - 1),
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// The time that one client is there.
#[derive(Debug)]
pub struct Visit<'s> {
    uses: &'s Uses,
    until: Option<Instant>,
}

impl<'s> Visit<'s> {
    pub(crate) fn new(uses: &'s Uses, watchdog: Duration) -> Self {
        Self { uses, until: Instant::now().checked_add(VISIT.min(watchdog / PART_OF_WATCH)) }
    }

    /// Whether the client may ask once more.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until) && self.uses.0.load(Ordering::Relaxed) >= 2
    }

    /// The client has asked once more.
    pub fn went_on(&self) {
        self.uses.take(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(18000);

    #[test]
    fn the_last_use_is_for_one_who_comes() {
        let uses = Uses::of(Some(3));
        uses.begin();
        let visit = Visit::new(&uses, LONG);
        assert!(visit.may_go_on() && visit.may_go_on(), "who does not ask is not counted");
        visit.went_on();
        assert!(!visit.may_go_on() && !uses.are_over());
        uses.begin();
        assert!(uses.are_over() && !Visit::new(&uses, LONG).may_go_on());
        uses.begin();
        assert!(uses.are_over());
    }

    #[test]
    fn no_limit_and_nobody_who_counts() {
        let uses = Uses::of(None);
        let visit = Visit::new(&uses, LONG);
        assert!((0..1000).all(|_| visit.may_go_on()) && !uses.are_over());
        assert!(!Visit::new(&Uses::default(), LONG).may_go_on());
    }

    #[test]
    fn a_visit_ends() {
        let uses = Uses::of(None);
        let visit = Visit::new(&uses, Duration::from_millis(320));
        assert!(visit.may_go_on());
        std::thread::sleep(Duration::from_millis(25));
        assert!(!visit.may_go_on());
    }
}
