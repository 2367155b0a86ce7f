//! Writes hash files: as many buckets as give half-full pages, each starting with a page of its own (spec tables 5.1).

use super::Entries;
use super::berkeley::{Header, PAGE, Pages, put16, put32};
use crate::indexed::berkeley::{HASH_MAGIC, HASH_META, HASH_SORTED, PAGE_HEADER};
use crate::indexed::hash::hash;

/// Items longer than this get pages of their own.
const BIG: usize = PAGE / 4;
/// Bytes that a bucket should hold on average, at most.
const FILL: usize = PAGE * 6 / 10;

/// The bytes of the file; an error is a text.
pub(super) fn image(entries: &Entries) -> Result<Vec<u8>, String> {
    let stored = |item: &[u8]| if item.len() > BIG { 12 } else { item.len() + 1 };
    let mut total = 0;
    let mut count = 0;
    for (key, value) in entries.iter() {
        total += stored(key) + stored(value) + 4;
        count += 1;
    }
    let buckets = (total / FILL + 1).next_power_of_two().max(2);
    let mask = u32::try_from(buckets - 1).map_err(|_| "File too large".to_owned())?;
    let mut members: Vec<(u32, &[u8], &[u8])> =
        entries.iter().map(|(key, value)| (hash(key) & mask, key, value)).collect();
    members.sort_unstable();
    let mut pages = Pages::new(buckets + 1);
    let mut rest = members.as_slice();
    for bucket in 0..=mask {
        let length = rest.iter().take_while(|(of, _, _)| *of == bucket).count();
        let (here, after) = rest.split_at(length);
        rest = after;
        write_bucket(&mut pages, bucket + 1, here)?;
    }
    pages.meta(HASH_MAGIC, HASH_META)?;
    let meta = pages.page(0);
    put32(meta, 72, mask);
    put32(meta, 76, mask);
    put32(meta, 80, mask >> 1);
    put32(meta, 88, count);
    put32(meta, 92, hash(b"%$sniglet^&\0"));
    // The first page of each doubling, less the number of its first bucket.
    for doubling in 0..=buckets.trailing_zeros() as usize {
        put32(meta, 96 + doubling * 4, 1);
    }
    Ok(pages.bytes)
}

fn write_bucket(pages: &mut Pages, first: u32, members: &[(u32, &[u8], &[u8])]) -> Result<(), String> {
    let (mut number, mut before) = (first, 0);
    let (mut items, mut offset) = (0, PAGE);
    for (_, key, value) in members {
        let pair = [item(pages, key)?, item(pages, value)?];
        let room = offset - (PAGE_HEADER + items * 2);
        if pair[0].len() + pair[1].len() + 4 > room {
            let next = pages.add()?;
            pages.header(number, &Header { before, next, items, offset, level: 0, kind: HASH_SORTED });
            (before, number) = (number, next);
            (items, offset) = (0, PAGE);
        }
        for bytes in pair {
            offset -= bytes.len();
            let page = pages.page(number);
            page[offset..offset + bytes.len()].copy_from_slice(&bytes);
            put16(page, PAGE_HEADER + items * 2, offset);
            items += 1;
        }
    }
    pages.header(number, &Header { before, next: 0, items, offset, level: 0, kind: HASH_SORTED });
    Ok(())
}

fn item(pages: &mut Pages, bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() <= BIG {
        return Ok([&[1], bytes].concat());
    }
    let mut item = vec![0; 12];
    item[0] = 3;
    put32(&mut item, 4, pages.overflow(bytes)?);
    put32(&mut item, 8, u32::try_from(bytes.len()).map_err(|_| "File too large".to_owned())?);
    Ok(item)
}
