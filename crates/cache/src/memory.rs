//! A cache in memory, with a bound on the number and size of its entries.
//!
//! What is stored is the owner's affair: it comes back as it came. An entry is given out for as long as entries of its
//! cache last. Full, the cache first forgets what is over, then what is oldest.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Entries at most.
const ENTRIES: usize = 20_000;
/// Bytes of an entry at most; a TLS session of OpenSSL's takes two kilobytes, or as much more as the peer's certificates.
const SIZE: usize = 32 * 1024;

/// A value, and since when it is there.
#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    since: Instant,
}

/// The cache.
#[derive(Debug)]
pub struct Memory {
    entries: HashMap<Vec<u8>, Entry>,
    timeout: Duration,
    limit: usize,
}

impl Memory {
    /// An empty cache whose entries last so long.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { entries: HashMap::new(), timeout, limit: ENTRIES }
    }

    /// The value of this key.
    pub fn get(&mut self, key: &[u8]) -> Option<&[u8]> {
        let is_over = self.entries.get(key)?.since.elapsed() > self.timeout;
        if is_over {
            self.entries.remove(key);
        }
        self.entries.get(key).map(|entry| entry.value.as_slice())
    }

    /// Keeps a value; tells whether it does.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> bool {
        if value.len() > SIZE {
            return false;
        }
        if self.entries.len() >= self.limit && !self.entries.contains_key(&key) {
            self.make_room();
        }
        self.entries.insert(key, Entry { value, since: Instant::now() });
        true
    }

    /// Forgets a value.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.entries.remove(key).is_some()
    }

    /// Forgets what is over; when that is too little, the older half.
    fn make_room(&mut self) {
        let timeout = self.timeout;
        self.entries.retain(|_, entry| entry.since.elapsed() <= timeout);
        if self.entries.len() >= self.limit {
            let mut ages: Vec<_> = self.entries.values().map(|entry| entry.since).collect();
            let middle = ages.len() / 2;
            let (_, &mut median, _) = ages.select_nth_unstable(middle);
            self.entries.retain(|_, entry| entry.since >= median);
            // All of one age: there is no older half.
            if self.entries.len() >= self.limit {
                self.entries.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_in_number_size_and_time() {
        let mut cache = Memory { limit: 4, ..Memory::new(Duration::from_secs(100)) };
        for number in 0..50u8 {
            assert!(cache.put(vec![number], vec![number; 3]));
            assert!(cache.entries.len() <= 4);
            assert_eq!(cache.get(&[number]), Some(&[number; 3][..]));
        }
        assert!(!cache.put(vec![0], vec![0; SIZE + 1]));
        assert!(cache.delete(&[49]) && !cache.delete(&[49]));
        let mut cache = Memory::new(Duration::ZERO);
        cache.put(vec![1], vec![1]);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(cache.get(&[1]), None);
    }
}
