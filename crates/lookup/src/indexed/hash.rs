//! `hash:` files: Berkeley DB's linear hashing, versions 8 and 9 (spec tables 5.1).
//!
//! A key's hash names a bucket, the bucket a page, and that page starts a chain of pages with pairs of items. Version
//! 9 has its pages sorted; the reader does not rely on it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::berkeley::{HASH_MAGIC, HASH_META, HASH_SORTED, HASH_UNSORTED, META, Meta, PAGE_HEADER, Page};
use super::source::{Broken, ReadAt, Window};
use super::{Format, Visit};

const SPARES: usize = 96;
const KEY_DATA: u8 = 1;
const DUPLICATES: u8 = 2;
const OFF_PAGE: u8 = 3;

/// The hash of a key: FNV-1 from zero.
pub(crate) fn hash(key: &[u8]) -> u32 {
    key.iter().fold(0, |hash: u32, byte| hash.wrapping_mul(16_777_619) ^ u32::from(*byte))
}

/// A hash file. Nothing is remembered: `postmap` rewrites such a file in place.
#[derive(Debug)]
pub(crate) struct Hash;

struct Table<'a> {
    meta: Meta,
    page: Window<'a>,
    max_bucket: u32,
}

impl<'a> Table<'a> {
    fn read(file: &'a impl ReadAt) -> Result<Table<'a>, Broken> {
        let page = file.window(0, META)?;
        let meta = Meta::parse(&page, HASH_MAGIC, &[8, 9], HASH_META)?;
        let table = Table { meta, max_bucket: meta.order.u32(&page, 72), page };
        if meta.flags & 2 != 0 {
            return Err(Broken::Corrupted("several databases in one file are not supported"));
        }
        if meta.order.u32(&table.page, 92) != hash(b"%$sniglet^&\0") {
            return Err(Broken::Corrupted("unknown hash function"));
        }
        if table.max_bucket > meta.last_page {
            return Err(Broken::Corrupted("more buckets than pages"));
        }
        Ok(table)
    }

    fn bucket(&self, key: &[u8]) -> u32 {
        let order = self.meta.order;
        let bucket = hash(key) & order.u32(&self.page, 76);
        if bucket > self.max_bucket { bucket & order.u32(&self.page, 80) } else { bucket }
    }

    fn first_page(&self, bucket: u32) -> u32 {
        // The number of the doubling that made the bucket.
        let doubling = (32 - bucket.leading_zeros()) as usize;
        bucket.wrapping_add(self.meta.order.u32(&self.page, SPARES + doubling.min(31) * 4))
    }

    /// Visits the pages of a bucket until `visit` has an answer.
    fn chain<T>(
        &self,
        file: &impl ReadAt,
        bucket: u32,
        mut visit: impl FnMut(&Page<'_>) -> Result<Option<T>, Broken>,
    ) -> Result<Option<T>, Broken> {
        let (mut number, mut before) = (self.first_page(bucket), 0);
        while let Some(page) = self.meta.page(file, number)? {
            // As each page names the one before, a chain cannot come back to itself.
            if !matches!(page.kind(), HASH_UNSORTED | HASH_SORTED)
                || page.before() != before
                || page.items() % 2 != 0
            {
                return Err(Broken::Corrupted("bad hash page"));
            }
            if let Some(found) = visit(&page)? {
                return Ok(Some(found));
            }
            (before, number) = (number, page.next());
            if number == 0 {
                break;
            }
        }
        Ok(None)
    }

    /// Where an item is: its type and what follows.
    fn item(page: &Page<'_>, index: usize) -> Result<Range<usize>, Broken> {
        let start = page.offset(index)?;
        let end = if index == 0 { page.bytes.len() } else { page.offset(index - 1)? };
        if start < end { Ok(start..end) } else { Err(Broken::Corrupted("bad item")) }
    }

    fn data(&self, file: &impl ReadAt, page: &Page<'_>, index: usize) -> Result<Vec<u8>, Broken> {
        let item = Table::item(page, index)?;
        let at = item.start;
        match page.bytes.u8(at) {
            KEY_DATA => page.bytes.get(at + 1..item.end).map(Cow::into_owned),
            OFF_PAGE if item.len() >= 12 => {
                let (first, length) =
                    (page.order.u32(&page.bytes, at + 4), page.order.u32(&page.bytes, at + 8));
                return self.meta.overflow(file, first, length);
            }
            // The first of several values.
            DUPLICATES if item.len() >= 3 => {
                let end = at + 3 + usize::from(page.order.u16(&page.bytes, at + 1));
                page.bytes.get(at + 3..end).filter(|_| end <= item.end).map(Cow::into_owned)
            }
            _ => return Err(Broken::Corrupted("unsupported type of item")),
        }
        .ok_or(Broken::Corrupted("bad item"))
    }

    fn is_key(&self, file: &impl ReadAt, page: &Page<'_>, index: usize, key: &[u8]) -> Result<bool, Broken> {
        let item = Table::item(page, index)?;
        match page.bytes.u8(item.start) {
            KEY_DATA => Ok(item.len() - 1 == key.len()
                && page.bytes.compare(item.start + 1..item.end, key) == Some(Ordering::Equal)),
            OFF_PAGE
                if item.len() >= 12 && page.order.u32(&page.bytes, item.start + 8) as usize != key.len() =>
            {
                Ok(false)
            }
            _ => Ok(self.data(file, page, index)? == key),
        }
    }
}

impl Format for Hash {
    fn open(file: &impl ReadAt) -> Result<Self, Broken> {
        Table::read(file).map(|_| Hash)
    }

    fn get(&self, file: &impl ReadAt, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let table = Table::read(file)?;
        table.chain(file, table.bucket(key), |page| {
            for index in (0..page.items()).step_by(2) {
                if table.is_key(file, page, index, key)? {
                    return Ok(Some(table.data(file, page, index + 1)?));
                }
            }
            Ok(None)
        })
    }

    fn each(&self, file: &impl ReadAt, visit: Visit<'_>) -> Result<(), Broken> {
        let table = Table::read(file)?;
        for bucket in 0..=table.max_bucket {
            let stopped = table.chain(file, bucket, |page| {
                for index in (0..page.items()).step_by(2) {
                    let key = table.data(file, page, index)?;
                    if !visit(&key, &table.data(file, page, index + 1)?) {
                        return Ok(Some(()));
                    }
                }
                Ok(None)
            })?;
            if stopped.is_some() {
                break;
            }
        }
        Ok(())
    }
}

const _: () = assert!(PAGE_HEADER < META);
