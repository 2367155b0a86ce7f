//! Berkeley DB files: what hash and btree have in common, pages and overflow chains (spec tables 5.1).
//!
//! Page 0 holds the metadata: magic number, version, page size. Every page starts with 26 bytes: its number, those of
//! its neighbours, the number of items, the level and the type; then an array of offsets of items. Numbers are in
//! the byte order of the machine that wrote the file, which the magic number shows. Refused: encrypted files, files
//! with checksums, several databases in one file, custom comparison and hash functions.

use super::source::{Broken, ITEM_LIMIT, Order, ReadAt, Window};

pub(crate) const PAGE_HEADER: usize = 26;
pub(crate) const HASH_MAGIC: u32 = 0x0006_1561;
pub(crate) const BTREE_MAGIC: u32 = 0x0005_3162;

pub(crate) const HASH_UNSORTED: u8 = 2;
pub(crate) const BTREE_INTERNAL: u8 = 3;
pub(crate) const BTREE_LEAF: u8 = 5;
pub(crate) const OVERFLOW: u8 = 7;
pub(crate) const HASH_META: u8 = 8;
pub(crate) const BTREE_META: u8 = 9;
pub(crate) const HASH_SORTED: u8 = 13;

/// Length of the part of page 0 that is read.
pub(crate) const META: usize = 512;

/// What both types say on page 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) order: Order,
    pub(crate) page_size: usize,
    pub(crate) last_page: u32,
    pub(crate) flags: u32,
}

impl Meta {
    /// Reads the start of page 0.
    pub(crate) fn parse(page: &Window<'_>, magic: u32, versions: &[u32], kind: u8) -> Result<Meta, Broken> {
        let order = [false, true]
            .map(|big| Order { big })
            .into_iter()
            .find(|order| order.u32(page, 12) == magic)
            .ok_or_else(|| Broken::Io(std::io::Error::from_raw_os_error(22)))?;
        let page_size = order.u32(page, 20) as usize;
        if !versions.contains(&order.u32(page, 16)) {
            return Err(Broken::Corrupted("unsupported version of the file format"));
        }
        if !page_size.is_power_of_two() || !(512..=65536).contains(&page_size) {
            return Err(Broken::Corrupted("bad page size"));
        }
        if page.u8(24) != 0 || page.u8(26) != 0 {
            return Err(Broken::Corrupted("encrypted, checksummed and partitioned files are not supported"));
        }
        if page.u8(25) != kind || order.u32(page, 8) != 0 {
            return Err(Broken::Corrupted("bad metadata page"));
        }
        Ok(Meta { order, page_size, last_page: order.u32(page, 32), flags: order.u32(page, 48) })
    }

    /// Reads page `number`; `None` for a page that was reserved and never written.
    pub(crate) fn page<'a>(&self, file: &'a impl ReadAt, number: u32) -> Result<Option<Page<'a>>, Broken> {
        if number == 0 || number > self.last_page {
            return Err(Broken::Corrupted("page number out of range"));
        }
        let bytes = file.window(u64::from(number) * self.page_size as u64, self.page_size)?;
        let items = usize::from(self.order.u16(&bytes, 20));
        let page = Page { order: self.order, bytes, items };
        if page.kind() == 0 {
            return Ok(None);
        }
        if page.order.u32(&page.bytes, 8) != number {
            return Err(Broken::Corrupted("a page has the wrong number"));
        }
        if PAGE_HEADER + page.items() * 2 > self.page_size {
            return Err(Broken::Corrupted("too many items on a page"));
        }
        Ok(Some(page))
    }

    /// The bytes of an item that has pages of its own.
    pub(crate) fn overflow(&self, file: &impl ReadAt, first: u32, length: u32) -> Result<Vec<u8>, Broken> {
        let length = length as usize;
        if length > ITEM_LIMIT || length as u64 > file.size()? {
            return Err(Broken::Corrupted("an item is too long"));
        }
        let mut bytes = Vec::with_capacity(length);
        let (mut number, mut before) = (first, 0);
        // Every page adds something, so a loop ends.
        while bytes.len() < length {
            let page = self.page(file, number)?.ok_or(Broken::Corrupted("empty overflow page"))?;
            let here = usize::from(page.order.u16(&page.bytes, 22));
            let data = page.bytes.get(PAGE_HEADER..PAGE_HEADER + here).filter(|data| !data.is_empty());
            let data = data.ok_or(Broken::Corrupted("bad overflow page"))?;
            if page.kind() != OVERFLOW || page.before() != before || bytes.len() + data.len() > length {
                return Err(Broken::Corrupted("bad chain of overflow pages"));
            }
            bytes.extend_from_slice(&data);
            (before, number) = (number, page.next());
        }
        Ok(bytes)
    }
}

#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) order: Order,
    pub(crate) bytes: Window<'a>,
    items: usize,
}

impl Page<'_> {
    pub(crate) fn before(&self) -> u32 {
        self.order.u32(&self.bytes, 12)
    }

    pub(crate) fn next(&self) -> u32 {
        self.order.u32(&self.bytes, 16)
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }

    pub(crate) fn level(&self) -> u8 {
        self.bytes.u8(24)
    }

    pub(crate) fn kind(&self) -> u8 {
        self.bytes.u8(25)
    }

    /// Where item `index` starts.
    pub(crate) fn offset(&self, index: usize) -> Result<usize, Broken> {
        let at = usize::from(self.order.u16(&self.bytes, PAGE_HEADER + index * 2));
        if at < PAGE_HEADER + self.items() * 2 || at >= self.bytes.len() {
            return Err(Broken::Corrupted("an item is outside its page"));
        }
        Ok(at)
    }
}
