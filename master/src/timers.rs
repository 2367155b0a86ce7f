//! One deadline for each thing that master waits for.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Deadlines by what they are for. Setting one again replaces it.
#[derive(Debug)]
pub struct Timers<K> {
    deadlines: HashMap<K, Instant>,
}

impl<K: Copy + Eq + Hash + Ord> Timers<K> {
    /// No deadlines.
    pub fn new() -> Self {
        Self { deadlines: HashMap::new() }
    }

    /// `key` is due at `when`.
    pub fn set(&mut self, key: K, when: Instant) {
        self.deadlines.insert(key, when);
    }

    /// Forgets `key`.
    pub(crate) fn cancel(&mut self, key: K) {
        self.deadlines.remove(&key);
    }

    /// Whether a deadline for `key` is set.
    pub fn is_set(&self, key: K) -> bool {
        self.deadlines.contains_key(&key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
    }

    /// Takes one deadline that is due; the earliest first.
    pub fn due(&mut self, now: Instant) -> Option<K> {
        let (when, key) = self.deadlines.iter().map(|(key, when)| (*when, *key)).min()?;
        if when > now {
            return None;
        }
        self.deadlines.remove(&key);
        Some(key)
    }
}

impl<K: Copy + Eq + Hash + Ord> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn earliest_first_and_replaced() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut timers = Timers::new();
        timers.set("b", at(2));
        timers.set("a", at(1));
        timers.set("c", at(9));
        timers.set("c", at(3));
        timers.set("d", at(1));
        timers.cancel("d");
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(now), None);
        assert_eq!(
            (timers.due(at(5)), timers.due(at(5)), timers.due(at(5))),
            (Some("a"), Some("b"), Some("c"))
        );
        assert!(timers.next().is_none() && !timers.is_set("a"));
    }
}
