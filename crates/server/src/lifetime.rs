//! When a process leaves by itself: idle, worn out, or retired (spec master 3.11).

use std::time::{Duration, Instant};

use crate::start::Lifetime;

/// The timers and the count of one process.
#[derive(Debug)]
pub(crate) struct Age {
    max_use: Option<u32>,
    max_idle: Option<Duration>,
    uses: u32,
    idle_until: Option<Instant>,
    retire_at: Option<Instant>,
}

/// Why to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Idle,
    Retired,
}

impl Age {
    pub(crate) fn new(lifetime: &Lifetime) -> Self {
        let now = Instant::now();
        let mut age = Self {
            max_use: lifetime.max_use,
            max_idle: lifetime.max_idle,
            uses: 0,
            idle_until: None,
            retire_at: lifetime.retire.and_then(|age| now.checked_add(age)),
        };
        age.rest();
        age
    }

    /// Idle time begins now.
    pub(crate) fn rest(&mut self) {
        self.rest_since(Instant::now());
    }

    /// Idle time has begun at this moment.
    pub(crate) fn rest_since(&mut self, start: Instant) {
        self.idle_until = self.max_idle.and_then(|limit| start.checked_add(limit));
    }

    /// There is a client: idle time does not run.
    pub(crate) fn work(&mut self) {
        self.idle_until = None;
    }

    /// One more request has been served.
    pub(crate) fn count(&mut self) {
        self.uses = self.uses.saturating_add(1);
    }

    /// Whether the requests served are enough.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.max_use.is_some_and(|limit| self.uses >= limit)
    }

    /// How long to wait at most before [`Age::over`] is to be asked; `None` is for ever.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let next = match (self.idle_until, self.retire_at) {
            (Some(idle), Some(retire)) => idle.min(retire),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return None,
        };
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Whether the time has come.
    pub(crate) fn over(&self) -> Option<Over> {
        let now = Instant::now();
        if self.retire_at.is_some_and(|at| at <= now) {
            return Some(Over::Retired);
        }
        self.idle_until.is_some_and(|at| at <= now).then_some(Over::Idle)
    }

    /// Keeps the process until its clients are done, and no longer: for one that drains.
    pub(crate) fn drain(&mut self) {
        self.max_use = Some(1);
        self.retire_at = None;
    }
}

/// When a retiring service leaves: after `max_idle` times `max_use` seconds, at most 18000.
pub(crate) fn retirement(lifetime: &Lifetime) -> Duration {
    const LIMIT: Duration = Duration::from_secs(18000);
    match (lifetime.max_idle, lifetime.max_use) {
        (Some(idle), Some(uses)) => idle.saturating_mul(uses).min(LIMIT),
        _ => LIMIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(max_use: u32, max_idle: Duration) -> Lifetime {
        Lifetime {
            max_use: Some(max_use),
            max_idle: Some(max_idle),
            retire: None,
            watchdog: Duration::from_secs(18000),
        }
    }

    #[test]
    fn idle_and_use() {
        let mut age = Age::new(&lifetime(2, Duration::from_millis(20)));
        assert_eq!(age.over(), None);
        age.work();
        assert_eq!(age.wait(), None);
        age.count();
        assert!(!age.is_worn_out());
        age.count();
        assert!(age.is_worn_out());
        age.rest();
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(age.wait(), Some(Duration::ZERO));
        assert_eq!(age.over(), Some(Over::Idle));
    }

    #[test]
    fn retirement_is_bounded() {
        assert_eq!(retirement(&lifetime(100, Duration::from_secs(100))), Duration::from_secs(10000));
        assert_eq!(retirement(&lifetime(1000, Duration::from_secs(100))), Duration::from_secs(18000));
        let mut endless = lifetime(1, Duration::from_secs(1));
        endless.max_use = None;
        assert_eq!(retirement(&endless), Duration::from_secs(18000));
    }
}
