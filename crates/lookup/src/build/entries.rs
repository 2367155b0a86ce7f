//! The entries of a table in the making: keys and values in one block of memory, with an index of the keys.

use std::hash::{BuildHasher, RandomState};

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: usize,
    key: u32,
    value: u32,
    live: bool,
}

/// Entries in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Open addressing: the index of an entry plus one, or zero.
    slots: Vec<u32>,
    hasher: RandomState,
}

impl Entries {
    /// Where `key` is, if it is there.
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = self.start(key, mask);
        while let Some(index) = self.slots[slot].checked_sub(1) {
            let entry = self.entries[index as usize];
            if entry.live && self.key(&entry) == key {
                return Some(index as usize);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Adds an entry; the caller has made sure that the key is not there. False when there are too many.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        let (Ok(key_length), Ok(value_length)) = (u32::try_from(key.len()), u32::try_from(value.len()))
        else {
            return false;
        };
        if self.entries.len() >= (u32::MAX - 1) as usize {
            return false;
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry { at, key: key_length, value: value_length, live: true });
        if self.entries.len() * 2 > self.slots.len() {
            self.slots = vec![0; (self.slots.len() * 2).max(1024)];
            for index in 0..self.entries.len() {
                self.index(index);
            }
        } else {
            self.index(self.entries.len() - 1);
        }
        true
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, index: usize) {
        self.entries[index].live = false;
    }

    /// Those that are left.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().filter(|entry| entry.live).map(|entry| (self.key(entry), self.value(entry)))
    }

    /// Those that are left, by key.
    pub(crate) fn sorted(&self) -> Vec<(&[u8], &[u8])> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.at..entry.at + entry.key as usize]
    }

    fn value(&self, entry: &Entry) -> &[u8] {
        let at = entry.at + entry.key as usize;
        &self.bytes[at..at + entry.value as usize]
    }

    fn start(&self, key: &[u8], mask: usize) -> usize {
        usize::try_from(self.hasher.hash_one(key) & mask as u64).unwrap_or(0)
    }

    fn index(&mut self, index: usize) {
        let mask = self.slots.len() - 1;
        let entry = self.entries[index];
        let mut slot = self.start(self.key(&entry), mask);
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = u32::try_from(index + 1).unwrap_or(u32::MAX);
    }
}
