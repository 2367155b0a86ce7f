//! Writes btree files: leaves from the sorted entries, then level upon level of internal pages (spec tables 5.1).

use super::Entries;
use super::berkeley::{Header, PAGE, Pages, put16, put32};
use crate::indexed::berkeley::{BTREE_INTERNAL, BTREE_LEAF, BTREE_MAGIC, BTREE_META, PAGE_HEADER};

/// Items longer than this get pages of their own: four have to fit on a page.
const BIG: usize = (PAGE - PAGE_HEADER) / 4 - 10;
const KEY_DATA: u8 = 1;
const OVERFLOW_ITEM: u8 = 3;
/// What stands in place of an item with pages of its own.
const OVERFLOW_ITEM_LENGTH: usize = 12;
/// Where the root is, in every file of this type: the library's `db_verify` takes no other.
const ROOT: u32 = 1;

/// A page that a parent has to name: the least key that leads to it, and its number.
struct Child {
    key: Vec<u8>,
    page: u32,
}

/// A page being filled, from its end.
struct Filling {
    number: u32,
    items: usize,
    offset: usize,
}

impl Filling {
    fn new(pages: &mut Pages) -> Result<Filling, String> {
        Ok(Filling { number: pages.add()?, items: 0, offset: PAGE })
    }

    /// The first page of a level: the root, when all the level's items, of this many bytes, fit on one page.
    fn first(pages: &mut Pages, bytes: usize, items: usize) -> Result<Filling, String> {
        let root = Filling { number: ROOT, items: 0, offset: PAGE };
        if root.has_room(bytes, items) { Ok(root) } else { Filling::new(pages) }
    }

    fn has_room(&self, bytes: usize, items: usize) -> bool {
        PAGE_HEADER + (self.items + items) * 2 + bytes <= self.offset
    }

    fn put(&mut self, pages: &mut Pages, item: &[u8]) {
        self.offset -= item.len();
        let page = pages.page(self.number);
        page[self.offset..self.offset + item.len()].copy_from_slice(item);
        put16(page, PAGE_HEADER + self.items * 2, self.offset);
        self.items += 1;
    }

    fn finish(&self, pages: &mut Pages, before: u32, next: u32, level: u8) {
        let kind = if level == 1 { BTREE_LEAF } else { BTREE_INTERNAL };
        let (items, offset) = (self.items, self.offset);
        pages.header(self.number, &Header { before, next, items, offset, level, kind });
    }
}

/// The bytes of the file; an error is a text.
pub(super) fn image(entries: &Entries) -> Result<Vec<u8>, String> {
    let mut pages = Pages::new(2);
    let mut level = leaves(&mut pages, &entries.sorted())?;
    let mut height = 1;
    while level.len() > 1 {
        height += 1;
        level = parents(&mut pages, level, height)?;
    }
    pages.meta(BTREE_MAGIC, BTREE_META)?;
    let meta = pages.page(0);
    put32(meta, 76, 2);
    put32(meta, 84, u32::from(b' '));
    put32(meta, 88, ROOT);
    Ok(pages.bytes)
}

fn leaves(pages: &mut Pages, sorted: &[(&[u8], &[u8])]) -> Result<Vec<Child>, String> {
    let bytes = sorted.iter().map(|(key, value)| leaf_size(key) + leaf_size(value)).sum();
    let mut page = Filling::first(pages, bytes, sorted.len() * 2)?;
    let mut children = vec![Child { key: Vec::new(), page: page.number }];
    let mut before = 0;
    let mut last: &[u8] = b"";
    for (key, value) in sorted {
        let pair = [leaf_item(pages, key)?, leaf_item(pages, value)?];
        if !page.has_room(pair[0].len() + pair[1].len(), 2) {
            let next = Filling::new(pages)?;
            page.finish(pages, before, next.number, 1);
            before = page.number;
            page = next;
            // The shortest text that is greater than all before and not greater than any that follows.
            let common = last.iter().zip(*key).take_while(|(one, other)| one == other).count();
            children.push(Child { key: key[..(common + 1).min(key.len())].to_vec(), page: page.number });
        }
        for item in &pair {
            page.put(pages, item);
        }
        last = key;
    }
    page.finish(pages, before, 0, 1);
    Ok(children)
}

fn parents(pages: &mut Pages, level: Vec<Child>, height: u8) -> Result<Vec<Child>, String> {
    // The key of a page's first child is never looked at, and left out; that of the first of all is empty anyway.
    let bytes = level.iter().map(|child| internal_size(&child.key)).sum();
    let mut page = Filling::first(pages, bytes, level.len())?;
    let mut parents: Vec<Child> = Vec::new();
    for mut child in level {
        if page.items > 0 && !page.has_room(internal_size(&child.key), 1) {
            page.finish(pages, 0, 0, height);
            page = Filling::new(pages)?;
        }
        if page.items == 0 {
            parents.push(Child { key: std::mem::take(&mut child.key), page: page.number });
        }
        let item = internal_item(pages, &child)?;
        page.put(pages, &item);
    }
    page.finish(pages, 0, 0, height);
    Ok(parents)
}

/// How long the item of a leaf will be.
fn leaf_size(bytes: &[u8]) -> usize {
    if bytes.len() > BIG { OVERFLOW_ITEM_LENGTH } else { (3 + bytes.len()).next_multiple_of(4) }
}

/// How long the item of an internal page will be.
fn internal_size(key: &[u8]) -> usize {
    12 + if key.len() > BIG { OVERFLOW_ITEM_LENGTH } else { key.len().next_multiple_of(4) }
}

fn leaf_item(pages: &mut Pages, bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() > BIG {
        return overflow_item(pages, bytes);
    }
    let mut item = vec![0; 2];
    put16(&mut item, 0, bytes.len());
    item.push(KEY_DATA);
    item.extend_from_slice(bytes);
    item.resize(item.len().next_multiple_of(4), 0);
    Ok(item)
}

fn overflow_item(pages: &mut Pages, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut item = vec![0; OVERFLOW_ITEM_LENGTH];
    item[2] = OVERFLOW_ITEM;
    put32(&mut item, 4, pages.overflow(bytes)?);
    put32(&mut item, 8, u32::try_from(bytes.len()).map_err(|_| "File too large".to_owned())?);
    Ok(item)
}

fn internal_item(pages: &mut Pages, child: &Child) -> Result<Vec<u8>, String> {
    let (kind, text) = if child.key.len() > BIG {
        (OVERFLOW_ITEM, overflow_item(pages, &child.key)?)
    } else {
        (KEY_DATA, child.key.clone())
    };
    let mut item = vec![0; 12];
    put16(&mut item, 0, text.len());
    item[2] = kind;
    put32(&mut item, 4, child.page);
    item.extend_from_slice(&text);
    item.resize(item.len().next_multiple_of(4), 0);
    Ok(item)
}
