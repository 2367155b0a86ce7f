//! `hash:` files: Berkeley DB's linear hashing, versions 8 and 9 (spec tables 5.1).
//!
//! A key's hash names a bucket, the bucket a page, and that page starts a chain of pages with pairs of items. Version
//! 9 has its pages sorted; the reader does not rely on it.

use super::berkeley::{HASH_MAGIC, HASH_META, HASH_SORTED, HASH_UNSORTED, META, Meta, PAGE_HEADER, Page};
use super::source::{Broken, ReadAt};
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

struct Table {
    meta: Meta,
    page: [u8; META],
}

impl Table {
    fn read(file: &impl ReadAt) -> Result<Table, Broken> {
        let mut page = [0; META];
        file.read_all(0, &mut page)?;
        let meta = Meta::parse(&page, HASH_MAGIC, &[8, 9], HASH_META)?;
        let table = Table { meta, page };
        if meta.flags & 2 != 0 {
            return Err(Broken::Corrupted("several databases in one file are not supported"));
        }
        if table.meta.order.u32(&page, 92) != hash(b"%$sniglet^&\0") {
            return Err(Broken::Corrupted("unknown hash function"));
        }
        if table.max_bucket() > meta.last_page {
            return Err(Broken::Corrupted("more buckets than pages"));
        }
        Ok(table)
    }

    fn max_bucket(&self) -> u32 {
        self.meta.order.u32(&self.page, 72)
    }

    fn bucket(&self, key: &[u8]) -> u32 {
        let order = self.meta.order;
        let bucket = hash(key) & order.u32(&self.page, 76);
        if bucket > self.max_bucket() { bucket & order.u32(&self.page, 80) } else { bucket }
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
        mut visit: impl FnMut(&Page) -> Result<Option<T>, Broken>,
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

    fn item<'a>(&self, page: &'a Page, index: usize) -> Result<&'a [u8], Broken> {
        let start = page.offset(index)?;
        let end = if index == 0 { page.bytes.len() } else { page.offset(index - 1)? };
        page.bytes.get(start..end).filter(|item| !item.is_empty()).ok_or(Broken::Corrupted("bad item"))
    }

    fn data(&self, file: &impl ReadAt, item: &[u8]) -> Result<Vec<u8>, Broken> {
        let order = self.meta.order;
        match item[0] {
            KEY_DATA => Ok(item[1..].to_vec()),
            OFF_PAGE if item.len() >= 12 => self.meta.overflow(file, order.u32(item, 4), order.u32(item, 8)),
            // The first of several values.
            DUPLICATES => {
                let length = usize::from(order.u16(item, 1));
                Ok(item.get(3..3 + length).ok_or(Broken::Corrupted("bad duplicate"))?.to_vec())
            }
            _ => Err(Broken::Corrupted("unsupported type of item")),
        }
    }

    fn is_key(&self, file: &impl ReadAt, item: &[u8], key: &[u8]) -> Result<bool, Broken> {
        match item[0] {
            KEY_DATA => Ok(item[1..] == *key),
            OFF_PAGE if item.len() >= 12 && self.meta.order.u32(item, 8) as usize != key.len() => Ok(false),
            _ => Ok(self.data(file, item)? == key),
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
                if table.is_key(file, table.item(page, index)?, key)? {
                    return Ok(Some(table.data(file, table.item(page, index + 1)?)?));
                }
            }
            Ok(None)
        })
    }

    fn each(&self, file: &impl ReadAt, visit: Visit<'_>) -> Result<(), Broken> {
        let table = Table::read(file)?;
        for bucket in 0..=table.max_bucket() {
            let stopped = table.chain(file, bucket, |page| {
                for index in (0..page.items()).step_by(2) {
                    let key = table.data(file, table.item(page, index)?)?;
                    if !visit(&key, &table.data(file, table.item(page, index + 1)?)?) {
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
