//! The processes of one service: how many, how many idle, and when another one is wanted (spec master 2.9-2.11).
//!
//! No clock and no descriptor here: events come in with the time they happened, decisions go out. One process is
//! made per connection event, none in advance; a new process counts as idle from its birth.

use std::time::{Duration, Instant};

/// How long a service counts as under stress after the event that says so, and how long the warning about the
/// process limit is not repeated.
pub(crate) const STRESS_PERIOD: Duration = Duration::from_secs(1000);

/// Counts and states of one service's processes.
#[derive(Debug, Clone)]
pub struct Pool {
    limit: u32,
    adapts: bool,
    total: u32,
    idle: u32,
    throttled: bool,
    stress_until: Option<Instant>,
    quiet_until: Option<Instant>,
}

/// What to do with the listening sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Watch them: the next connection needs a new process.
    Watch,
    /// Leave them to the idle processes, or let a throttled service rest.
    Leave,
    /// All processes are taken and no more are allowed.
    Full {
        /// The operator has not been told of this lately.
        warn: bool,
    },
}

impl Pool {
    /// A service without processes. `limit` 0 is none; `adapts` is whether its command line carries `stress`.
    pub fn new(limit: u32, adapts: bool) -> Self {
        Self { limit, adapts, total: 0, idle: 0, throttled: false, stress_until: None, quiet_until: None }
    }

    /// New settings after a reload. The processes and the throttle stay.
    pub fn configure(&mut self, limit: u32, adapts: bool) {
        self.limit = limit;
        self.adapts = adapts;
    }

    /// What the sockets need now. Says `warn` once a period.
    pub fn demand(&mut self, now: Instant) -> Demand {
        if self.throttled || self.idle > 0 {
            return Demand::Leave;
        }
        if self.limit == 0 || self.total < self.limit {
            return Demand::Watch;
        }
        let warn = self.adapts && self.quiet_until.is_none_or(|until| now >= until);
        if warn {
            self.quiet_until = Some(now + STRESS_PERIOD);
        }
        Demand::Full { warn }
    }

    /// A connection is about to get a new process. True when that begins a period of stress: the processes that
    /// serve now must be told to finish soon.
    pub fn connection(&mut self, now: Instant) -> bool {
        if !self.adapts || self.total + 1 != self.limit {
            return false;
        }
        let begins = !self.stressed(now);
        self.stress_until = Some(now + STRESS_PERIOD);
        begins
    }

    /// A process made now is told to hurry.
    pub fn stressed(&self, now: Instant) -> bool {
        self.stress_until.is_some_and(|until| now < until)
    }

    /// A process was made.
    pub(crate) fn born(&mut self) {
        self.total += 1;
        self.idle += 1;
    }

    /// An idle process took work.
    pub fn taken(&mut self) {
        self.idle = self.idle.saturating_sub(1);
    }

    /// A process waits for work again.
    pub fn available(&mut self) {
        self.idle += 1;
    }

    /// A process ended.
    pub(crate) fn died(&mut self, was_idle: bool) {
        self.total = self.total.saturating_sub(1);
        if was_idle {
            self.taken();
        }
    }

    /// Starts or ends the rest after a failure.
    pub fn throttle(&mut self, on: bool) {
        self.throttled = on;
    }

    /// The service rests after a failure.
    pub(crate) fn is_throttled(&self) -> bool {
        self.throttled
    }

    /// Processes alive.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Processes that wait for work.
    pub(crate) fn idle(&self) -> u32 {
        self.idle
    }

    /// The process limit; 0 is none.
    pub fn limit(&self) -> u32 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_a_connection_up_to_the_limit() {
        let now = Instant::now();
        let mut pool = Pool::new(2, false);
        assert_eq!(pool.demand(now), Demand::Watch);
        pool.born();
        assert_eq!(pool.demand(now), Demand::Leave, "the newborn is idle");
        pool.taken();
        assert_eq!(pool.demand(now), Demand::Watch);
        pool.born();
        pool.taken();
        assert_eq!(pool.demand(now), Demand::Full { warn: false });
        pool.available();
        assert_eq!(pool.demand(now), Demand::Leave);
        pool.died(true);
        pool.died(false);
        assert_eq!((pool.total(), pool.demand(now)), (0, Demand::Watch));
    }

    #[test]
    fn no_limit() {
        let mut pool = Pool::new(0, false);
        for _ in 0..500 {
            pool.born();
            pool.taken();
        }
        assert_eq!(pool.demand(Instant::now()), Demand::Watch);
    }

    #[test]
    fn a_throttled_service_rests() {
        let mut pool = Pool::new(5, false);
        pool.throttle(true);
        assert_eq!(pool.demand(Instant::now()), Demand::Leave);
        pool.throttle(false);
        assert_eq!(pool.demand(Instant::now()), Demand::Watch);
    }

    #[test]
    fn stress_begins_with_the_process_that_fills_the_pool() {
        let start = Instant::now();
        let mut pool = Pool::new(2, true);
        assert!(!pool.connection(start));
        assert!(!pool.stressed(start));
        pool.born();
        pool.taken();
        assert!(pool.connection(start), "this one makes total equal to the limit");
        assert!(pool.stressed(start));
        pool.born();
        pool.taken();
        assert_eq!(pool.demand(start), Demand::Full { warn: true });
        assert_eq!(pool.demand(start + Duration::from_secs(999)), Demand::Full { warn: false });
        assert_eq!(pool.demand(start + STRESS_PERIOD), Demand::Full { warn: true });
        pool.died(false);
        let later = start + Duration::from_secs(900);
        assert!(!pool.connection(later), "the period goes on and is extended");
        assert!(pool.stressed(start + Duration::from_secs(1500)));
        assert!(!pool.stressed(later + STRESS_PERIOD));
    }

    #[test]
    fn a_service_that_does_not_adapt_is_never_stressed() {
        let now = Instant::now();
        let mut pool = Pool::new(1, false);
        assert!(!pool.connection(now));
        assert!(!pool.stressed(now));
    }
}
