//! Constant databases: 256 hash tables at the end of the file, records before them (spec tables 5.2).
//!
//! Header: for each of 256 tables its position and number of slots, 32 bit little-endian. A slot: hash, position of
//! the record. A record: key length, value length, key, value.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::source::{Broken, ITEM_LIMIT, Order, ReadAt};
use super::{Format, Visit};

const HEADER: usize = 2048;
const LE: Order = Order::LITTLE;
/// Slots are read so many at a time.
const SLOTS: u32 = 8;
/// Most records fit into one read of this length.
const RECORD: usize = 512;

/// The hash of a key.
pub(crate) fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33) ^ u32::from(*byte))
}

/// A cdb file; its header, as the file never changes.
#[derive(Debug)]
pub(crate) struct Cdb {
    header: Vec<u8>,
}

impl Format for Cdb {
    fn open(file: &impl ReadAt) -> Result<Self, Broken> {
        let (header, size) = (file.read_vec(0, HEADER)?, file.size()?);
        for entry in header.chunks_exact(8) {
            let (table, slots) = (u64::from(LE.u32(entry, 0)), u64::from(LE.u32(entry, 4)));
            if table < HEADER as u64 {
                return Err(Broken::Corrupted("a hash table is within the header"));
            }
            if table + slots * 8 > size {
                return Err(Broken::Truncated);
            }
        }
        Ok(Cdb { header })
    }

    fn get(&self, file: &impl ReadAt, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let hash = hash(key);
        let entry = (hash & 255) as usize * 8;
        let (table, slots) = (LE.u32(&self.header[..], entry), LE.u32(&self.header[..], entry + 4));
        if slots == 0 {
            return Ok(None);
        }
        let mut slot = (hash >> 8) % slots;
        let mut left = slots;
        while left > 0 {
            let count = (slots - slot).min(left).min(SLOTS);
            let at = u64::from(table) + u64::from(slot) * 8;
            let window = file.window(at, count as usize * 8)?;
            for index in 0..count as usize {
                let (found, record) = (LE.u32(&window, index * 8), LE.u32(&window, index * 8 + 4));
                if record == 0 {
                    return Ok(None);
                }
                if found == hash
                    && let Some(value) = value(file, record, key)?
                {
                    return Ok(Some(value));
                }
            }
            left -= count;
            slot = if slot + count >= slots { 0 } else { slot + count };
        }
        Ok(None)
    }

    fn each(&self, file: &impl ReadAt, visit: Visit<'_>) -> Result<(), Broken> {
        // Records end where the first table starts.
        let end = self.header.chunks_exact(8).map(|entry| LE.u32(entry, 0)).min().unwrap_or(0);
        let mut at = HEADER as u64;
        let mut head = [0; 8];
        while at < u64::from(end) {
            file.read_all(at, &mut head)?;
            let (key, value) = (LE.u32(&head[..], 0) as usize, LE.u32(&head[..], 4) as usize);
            let record = file.read_vec(at + 8, key.saturating_add(value))?;
            if !visit(&record[..key], &record[key..]) {
                break;
            }
            at += 8 + key as u64 + value as u64;
        }
        Ok(())
    }
}

/// The record's value, if the record is that of `key`.
fn value(file: &impl ReadAt, record: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
    let at = u64::from(record);
    let usual = usize::try_from(file.size()?.saturating_sub(at)).map_or(RECORD, |left| left.min(RECORD));
    let start = file.window(at, usual.max(8))?;
    let (key_length, value_length) = (LE.u32(&start, 0) as usize, LE.u32(&start, 4) as usize);
    if key_length != key.len() {
        return Ok(None);
    }
    if value_length > ITEM_LIMIT {
        return Err(Broken::Corrupted("an item is too long"));
    }
    let whole = 8 + key_length + value_length;
    let window = if whole <= start.len() { start } else { file.window(at, whole)? };
    if window.compare(8..8 + key_length, key) != Some(Ordering::Equal) {
        return Ok(None);
    }
    Ok(window.get(8 + key_length..whole).map(Cow::into_owned))
}
