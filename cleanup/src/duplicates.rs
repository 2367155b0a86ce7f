//! The duplicate filter (spec cleanup 6.3).

use std::collections::HashSet;

/// The recipients written so far, as far as `duplicate_filter_limit` lets it know them.
#[derive(Debug)]
pub(crate) struct DuplicateFilter {
    /// Case-folded keys.
    seen: HashSet<Vec<u8>>,
    /// How many are kept; 0 for all.
    limit: usize,
}

impl DuplicateFilter {
    /// A filter that has seen nothing.
    pub(crate) fn new(limit: usize) -> Self {
        DuplicateFilter { seen: HashSet::new(), limit }
    }

    /// False for a key that was here before, in any case. A full filter knows the keys it has, and lets others pass.
    pub(crate) fn is_new(&mut self, key: Vec<u8>) -> bool {
        let key = folded(key);
        if self.limit == 0 || self.seen.len() < self.limit {
            return self.seen.insert(key);
        }
        !self.seen.contains(&key)
    }

    /// Forgets a key.
    pub(crate) fn forget(&mut self, key: Vec<u8>) {
        self.seen.remove(&folded(key));
    }
}

fn folded(mut key: Vec<u8>) -> Vec<u8> {
    if !key.is_ascii() {
        return lookup::fold(&key, true);
    }
    key.make_ascii_lowercase();
    key
}

#[cfg(test)]
mod tests {
    use super::DuplicateFilter;

    #[test]
    fn what_is_known_and_what_passes() {
        let is_new = |filter: &mut DuplicateFilter, text: &[u8]| filter.is_new(text.to_vec());
        let mut filter = DuplicateFilter::new(2);
        for (text, expected) in [
            (&b"a@x"[..], true),
            (b"A@X", false),
            ("\u{c4}@x".as_bytes(), true),
            ("\u{e4}@x".as_bytes(), false),
            // Full.
            (b"\xff@x", true),
            (b"\xff@x", true),
            (b"a@x", false),
        ] {
            assert_eq!(is_new(&mut filter, text), expected, "{}", text.escape_ascii());
        }
        let mut filter = DuplicateFilter::new(0);
        for number in 0..2000 {
            assert!(filter.is_new(format!("{number}").into_bytes()));
        }
        assert!(!is_new(&mut filter, b"7"));
    }
}
