//! What has been delivered for a recipient of the request: a destination that is met again is skipped (spec local-delivery
//! 14.2).

use std::collections::HashSet;

/// A filter with an end to its memory.
#[derive(Debug)]
pub(crate) struct Duplicates {
    /// `duplicate_filter_limit`; 0 is none.
    limit: usize,
    seen: HashSet<Vec<u8>>,
}

impl Duplicates {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, seen: HashSet::new() }
    }

    /// Whether this has been here; it has from now on. What stands between the parts of a key cannot be in one.
    pub(crate) fn meets(&mut self, kind: &str, parts: &[&[u8]]) -> bool {
        let key = key(kind, parts);
        if self.seen.contains(&key) {
            return true;
        }
        if self.limit == 0 || self.seen.len() < self.limit {
            self.seen.insert(key);
        }
        false
    }

    /// Whether this has been here.
    pub(crate) fn knows(&self, kind: &str, parts: &[&[u8]]) -> bool {
        self.seen.contains(&key(kind, parts))
    }
}

fn key(kind: &str, parts: &[&[u8]]) -> Vec<u8> {
    [kind.as_bytes(), b"\0", &parts.join(&0)].concat().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory() {
        let mut duplicates = Duplicates::new(2);
        assert!(!duplicates.meets("a", &[b"X"]));
        assert!(duplicates.meets("a", &[b"x"]));
        assert!(!duplicates.meets("b", &[b"x"]));
        assert!(!duplicates.meets("c", &[b"x"]) && !duplicates.meets("c", &[b"x"]));
        assert!(duplicates.knows("b", &[b"x"]) && !duplicates.knows("c", &[b"x"]));
    }
}
