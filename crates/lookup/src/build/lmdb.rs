//! Writes LMDB files: a whole new tree in pages that the present state does not use, then a metadata page that makes
//! it the present state (spec tables 5.3). A crash in between leaves the old state; the pages of the old state become
//! the free list, which the library and the next writer use again.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Entries;
use crate::indexed::lmdb::{BRANCH, LEAF, MAGIC, META_LENGTH, NO_PAGE, OVERFLOW, PAGE_HEADER, State};

const NEW_PAGE: usize = 4096;
/// Keys can be no longer.
const KEY_LIMIT: usize = 511;
/// Flags of the tree of free pages: keys are numbers; the database is a file, not a directory.
const FREE_FLAGS: u16 = 0x4008;
const BIG_DATA: u16 = 1;

/// The library's text for a key that is too long.
pub(super) const BAD_SIZE: &str =
    "MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size";

/// Whether a key can be stored.
pub(super) fn key_fits(key: &[u8]) -> bool {
    (1..=KEY_LIMIT).contains(&key.len())
}

/// A tree's description in the metadata.
#[derive(Debug, Default)]
struct Tree {
    depth: u16,
    branches: u64,
    leaves: u64,
    overflows: u64,
    entries: u64,
    root: u64,
}

/// Pages under construction, with consecutive numbers.
struct Pages {
    size: usize,
    first: u64,
    bytes: Vec<u8>,
}

impl Pages {
    fn next(&self) -> u64 {
        self.first + (self.bytes.len() / self.size) as u64
    }

    fn add(&mut self, count: usize) -> (u64, &mut [u8]) {
        let number = self.next();
        let at = self.bytes.len();
        self.bytes.resize(at + count * self.size, 0);
        self.bytes[at..at + 8].copy_from_slice(&number.to_ne_bytes());
        (number, &mut self.bytes[at..])
    }

    fn overflow(&mut self, value: &[u8]) -> (u64, u64) {
        let count = (PAGE_HEADER - 1 + value.len()) / self.size + 1;
        let (number, pages) = self.add(count);
        put16(pages, 10, OVERFLOW);
        pages[12..16].copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_ne_bytes());
        pages[PAGE_HEADER..PAGE_HEADER + value.len()].copy_from_slice(value);
        (number, count as u64)
    }

    /// Largest node on a page; with a bigger value the value gets pages of its own.
    fn node_limit(&self) -> usize {
        (((self.size - PAGE_HEADER) / 2) & !1) - 2
    }
}

fn put16(page: &mut [u8], at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

/// A page of nodes being filled, from its end.
struct Filling {
    page: Vec<u8>,
    nodes: usize,
    upper: usize,
}

impl Filling {
    fn new(size: usize) -> Filling {
        Filling { page: vec![0; size], nodes: 0, upper: size }
    }

    fn put(&mut self, node: &[u8]) -> bool {
        let length = node.len().next_multiple_of(2);
        if PAGE_HEADER + (self.nodes + 1) * 2 + length > self.upper {
            return false;
        }
        self.upper -= length;
        self.page[self.upper..self.upper + node.len()].copy_from_slice(node);
        put16(&mut self.page, PAGE_HEADER + self.nodes * 2, small(self.upper));
        self.nodes += 1;
        true
    }

    fn finish(self, pages: &mut Pages, flags: u16) -> u64 {
        let (number, page) = pages.add(1);
        page[8..].copy_from_slice(&self.page[8..]);
        put16(page, 10, flags);
        put16(page, 12, small(PAGE_HEADER + self.nodes * 2));
        put16(page, 14, small(self.upper));
        number
    }
}

fn small(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn low_high(value: u64) -> [u16; 3] {
    [0, 16, 32].map(|shift| u16::try_from(value >> shift & 0xffff).unwrap_or(0))
}

fn node(low: u16, high: u16, flags: u16, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut node = Vec::with_capacity(8 + key.len() + data.len());
    for half in [low, high, flags, small(key.len())] {
        node.extend_from_slice(&half.to_ne_bytes());
    }
    node.extend_from_slice(key);
    node.extend_from_slice(data);
    node
}

fn build(pages: &mut Pages, sorted: &[(&[u8], &[u8])]) -> Tree {
    let mut tree = Tree { root: NO_PAGE, entries: sorted.len() as u64, ..Tree::default() };
    let Some((mut first, _)) = sorted.first().copied() else { return tree };
    let mut level: Vec<(&[u8], u64)> = Vec::new();
    let mut page = Filling::new(pages.size);
    for (key, value) in sorted {
        let [low, high, _] = low_high(value.len() as u64);
        let leaf = if 8 + key.len() + value.len() > pages.node_limit() {
            let (number, count) = pages.overflow(value);
            tree.overflows += count;
            node(low, high, BIG_DATA, key, &number.to_ne_bytes())
        } else {
            node(low, high, 0, key, value)
        };
        if !page.put(&leaf) {
            level.push((first, page.finish(pages, LEAF)));
            first = key;
            page = Filling::new(pages.size);
            page.put(&leaf);
        }
    }
    level.push((first, page.finish(pages, LEAF)));
    tree.leaves = level.len() as u64;
    tree.depth = 1;
    while level.len() > 1 {
        level = branches(pages, &level);
        tree.branches += level.len() as u64;
        tree.depth += 1;
    }
    tree.root = level[0].1;
    tree
}

fn branches<'a>(pages: &mut Pages, level: &[(&'a [u8], u64)]) -> Vec<(&'a [u8], u64)> {
    let mut parents = Vec::new();
    let mut page = Filling::new(pages.size);
    let mut first: &[u8] = level[0].0;
    for (at, (key, child)) in level.iter().enumerate() {
        let [low, middle, high] = low_high(*child);
        // A last page with one child only would be no page to the library: leave two for it.
        let last_two = at + 2 == level.len() && page.nodes > 2 && !fits_two(&page, level, at);
        let shown: &[u8] = if page.nodes == 0 { b"" } else { key };
        if last_two || !page.put(&node(low, middle, high, shown, b"")) {
            parents.push((first, page.finish(pages, BRANCH)));
            first = key;
            page = Filling::new(pages.size);
            page.put(&node(low, middle, high, b"", b""));
        }
    }
    parents.push((first, page.finish(pages, BRANCH)));
    parents
}

/// Whether the child at this place and the one after it still fit.
fn fits_two(page: &Filling, level: &[(&[u8], u64)], at: usize) -> bool {
    let length: usize =
        level[at..at + 2].iter().map(|(key, _)| (8 + key.len()).next_multiple_of(2) + 2).sum();
    PAGE_HEADER + page.nodes * 2 + length <= page.upper
}

fn put_tree(meta: &mut [u8], at: usize, pad: u32, flags: u16, tree: &Tree) {
    meta[at..at + 4].copy_from_slice(&pad.to_ne_bytes());
    put16(meta, at + 4, flags);
    put16(meta, at + 6, tree.depth);
    let numbers = [tree.branches, tree.leaves, tree.overflows, tree.entries, tree.root];
    for (index, number) in numbers.into_iter().enumerate() {
        meta[at + 8 + index * 8..at + 16 + index * 8].copy_from_slice(&number.to_ne_bytes());
    }
}

fn meta_page(
    number: u64,
    size: usize,
    map_size: u64,
    trees: [&Tree; 2],
    last_page: u64,
    transaction: u64,
) -> Vec<u8> {
    let mut page = vec![0; PAGE_HEADER + META_LENGTH];
    page[..8].copy_from_slice(&number.to_ne_bytes());
    put16(&mut page, 10, 8);
    let meta = &mut page[PAGE_HEADER..];
    meta[..4].copy_from_slice(&MAGIC.to_ne_bytes());
    meta[4..8].copy_from_slice(&1u32.to_ne_bytes());
    meta[16..24].copy_from_slice(&map_size.to_ne_bytes());
    put_tree(meta, 24, u32::try_from(size).unwrap_or(0), FREE_FLAGS, trees[0]);
    put_tree(meta, 72, 0, 0, trees[1]);
    meta[120..128].copy_from_slice(&last_page.to_ne_bytes());
    meta[128..136].copy_from_slice(&transaction.to_ne_bytes());
    page
}

/// Makes `entries` the content of the file, which the caller has locked; an error is a text.
pub(super) fn write(file: &File, entries: &Entries, map_size: u64) -> Result<(), String> {
    let text = |error: std::io::Error| sys::error_text(&error);
    let empty = file.metadata().map_err(text)?.len() == 0;
    let empty_tree = Tree { root: NO_PAGE, ..Tree::default() };
    if empty {
        for number in 0..2 {
            let mut page = meta_page(number, NEW_PAGE, map_size, [&empty_tree, &empty_tree], 1, 0);
            page.resize(NEW_PAGE, 0);
            file.write_all_at(&page, number * NEW_PAGE as u64).map_err(text)?;
        }
    }
    let old = State::read(file).map_err(|error| error.to_string())?;
    let used = if empty { Vec::new() } else { used_pages(file, &old)? };
    let sorted = entries.sorted();
    let mut pages = Pages { size: old.page_size, first: 2, bytes: Vec::new() };
    let mut main = build(&mut pages, &sorted);
    // Behind the old tree when there is no room before it: page numbers differ, so it is built anew.
    let needed = pages.next();
    if used
        .iter()
        .any(|(number, count)| *number < needed + free_pages_length(&old, needed) && number + count > 2)
    {
        let first = used.iter().map(|(number, count)| number + count).max().unwrap_or(2);
        pages = Pages { size: old.page_size, first, bytes: Vec::new() };
        main = build(&mut pages, &sorted);
    }
    let transaction = old.transaction + 1;
    let main_end = pages.next();
    let last_used = old.last_page.max(main_end - 1);
    // All pages that neither the metadata nor the new tree use, in falling order, counted.
    let mut free: Vec<u64> =
        (2..=last_used).rev().filter(|number| !(pages.first..main_end).contains(number)).collect();
    // The pages of the list itself come after the tree; some may have been free.
    let length = (free.len() + 1) * 8 / old.page_size + 3;
    free.retain(|number| !(main_end..main_end + length as u64).contains(number));
    let free_tree = if free.is_empty() {
        Tree { root: NO_PAGE, ..Tree::default() }
    } else {
        free.insert(0, free.len() as u64);
        let list: Vec<u8> = free.iter().flat_map(|number| number.to_ne_bytes()).collect();
        build(&mut pages, &[(&transaction.to_ne_bytes(), &list)])
    };
    let last_page = old.last_page.max(pages.next() - 1);
    file.write_all_at(&pages.bytes, pages.first * pages.size as u64).map_err(text)?;
    let length = (last_page + 1) * pages.size as u64;
    if file.metadata().map_err(text)?.len() < length {
        file.set_len(length).map_err(text)?;
    }
    file.sync_data().map_err(text)?;
    let map_size = map_size.max(length);
    let number = transaction & 1;
    let meta = meta_page(number, pages.size, map_size, [&free_tree, &main], last_page, transaction);
    file.write_all_at(&meta, number * pages.size as u64).map_err(text)?;
    file.sync_data().map_err(text)
}

/// An upper bound of the pages that the list of free pages takes.
fn free_pages_length(old: &State, needed: u64) -> u64 {
    (old.last_page + needed) * 8 / old.page_size as u64 + 4
}

/// The pages of the present state: first and count of each run.
fn used_pages(file: &File, state: &State) -> Result<Vec<(u64, u64)>, String> {
    let mut used = Vec::new();
    for tree in [state.main, state.free] {
        state
            .walk(file, tree, &mut |number, count| used.push((number, count)), &mut |_, _| true)
            .map_err(|error| error.to_string())?;
    }
    Ok(used)
}
