//! Writes Berkeley DB files, version 9, in the byte order of this machine (spec tables 5.1): what hash and btree share.

use crate::indexed::berkeley::{OVERFLOW, PAGE_HEADER};

/// The page size of new files.
pub(super) const PAGE: usize = 4096;

/// Pages of a file; number 0 is for the metadata.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) bytes: Vec<u8>,
}

impl Pages {
    pub(super) fn new(count: usize) -> Pages {
        Pages { bytes: vec![0; count * PAGE] }
    }

    pub(super) fn count(&self) -> Result<u32, String> {
        u32::try_from(self.bytes.len() / PAGE).map_err(|_| "File too large".to_owned())
    }

    /// A new page at the end; its number.
    pub(super) fn add(&mut self) -> Result<u32, String> {
        let number = self.count()?;
        self.bytes.resize(self.bytes.len() + PAGE, 0);
        Ok(number)
    }

    pub(super) fn page(&mut self, number: u32) -> &mut [u8] {
        let at = number as usize * PAGE;
        &mut self.bytes[at..at + PAGE]
    }

    /// Fills in the header of a page.
    pub(super) fn header(&mut self, number: u32, header: &Header) {
        let page = self.page(number);
        // The log sequence number of files that are not logged.
        put32(page, 4, 1);
        put32(page, 8, number);
        put32(page, 12, header.before);
        put32(page, 16, header.next);
        put16(page, 20, header.items);
        put16(page, 22, header.offset);
        page[24] = header.level;
        page[25] = header.kind;
    }

    /// A chain of overflow pages with these bytes; the number of the first.
    pub(super) fn overflow(&mut self, bytes: &[u8]) -> Result<u32, String> {
        let mut chunks = bytes.chunks(PAGE - PAGE_HEADER).peekable();
        let first = self.count()?;
        let mut before = 0;
        while let Some(chunk) = chunks.next() {
            let number = self.add()?;
            let next = if chunks.peek().is_some() { number + 1 } else { 0 };
            // `items` counts the references.
            let offset = chunk.len();
            self.header(number, &Header { before, next, items: 1, offset, level: 0, kind: OVERFLOW });
            self.page(number)[PAGE_HEADER..PAGE_HEADER + chunk.len()].copy_from_slice(chunk);
            before = number;
        }
        Ok(first)
    }

    /// The part of page 0 that both types have.
    pub(super) fn meta(&mut self, magic: u32, kind: u8) -> Result<(), String> {
        let last = self.count()? - 1;
        let meta = self.page(0);
        put32(meta, 4, 1);
        put32(meta, 12, magic);
        put32(meta, 16, 9);
        put32(meta, 20, u32::try_from(PAGE).unwrap_or(0));
        meta[25] = kind;
        put32(meta, 32, last);
        // The file's identity to the library's buffer pool.
        meta[52..72].copy_from_slice(&identity());
        Ok(())
    }
}

/// The fields of a page's header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) before: u32,
    pub(super) next: u32,
    pub(super) items: usize,
    pub(super) offset: usize,
    pub(super) level: u8,
    pub(super) kind: u8,
}

pub(super) fn put16(page: &mut [u8], at: usize, value: usize) {
    // Pages are shorter than 65536 bytes.
    let value = u16::try_from(value).unwrap_or(u16::MAX);
    page[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

pub(super) fn put32(page: &mut [u8], at: usize, value: u32) {
    page[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn identity() -> [u8; 20] {
    use std::hash::{BuildHasher, RandomState};
    let mut identity = [0; 20];
    for chunk in identity.chunks_mut(8) {
        let random = RandomState::new().hash_one(std::process::id()).to_ne_bytes();
        let length = chunk.len();
        chunk.copy_from_slice(&random[..length]);
    }
    identity
}
