//! `lmdb:` files: LMDB's copy-on-write B+tree, read without its library (spec tables 5.3).
//!
//! Pages 0 and 1 describe two states of the database; the one with the higher transaction number holds. A tree's
//! pages start with 16 bytes: number, flags, and the bounds of the free space; then offsets of nodes. Only the unnamed
//! database without duplicates is read. The library believes the file; this reader believes nothing: every number is
//! checked against the page and the file, and a descent is as deep as the tree says.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{Ordering as AtomicOrdering, fence};

use super::source::{Broken, Order, ReadAt, Window, search};
use super::{Format, Visit};

const LE: Order = Order { big: cfg!(target_endian = "big") };
pub(crate) const MAGIC: u32 = 0xBEEF_C0DE;
pub(crate) const PAGE_HEADER: usize = 16;
pub(crate) const META_LENGTH: usize = 136;
pub(crate) const BRANCH: u16 = 1;
pub(crate) const LEAF: u16 = 2;
pub(crate) const OVERFLOW: u16 = 4;
/// The tree has no pages.
pub(crate) const NO_PAGE: u64 = u64::MAX;
const BIG_DATA: u16 = 1;
/// Deeper than any tree of a file that fits on a disk.
const DEPTH_LIMIT: u16 = 32;
const NODE_HEADER: usize = 8;
/// How often the state is read while a writer is changing it: it is writing for the time of one system call.
const ATTEMPTS: usize = 1000;

/// One tree of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeMeta {
    pub(crate) flags: u16,
    pub(crate) depth: u16,
    pub(crate) root: u64,
}

/// One state of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) page_size: usize,
    pub(crate) free: TreeMeta,
    pub(crate) main: TreeMeta,
    pub(crate) last_page: u64,
    pub(crate) transaction: u64,
}

fn tree_meta(page: &Window<'_>, at: usize) -> TreeMeta {
    TreeMeta { flags: LE.u16(page, at + 4), depth: LE.u16(page, at + 6), root: LE.u64(page, at + 40) }
}

impl State {
    /// Reads the state whose page starts at `at` of the window.
    fn parse(page: &Window<'_>, at: usize) -> Result<State, Broken> {
        let meta = at + PAGE_HEADER;
        let page_size = LE.u32(page, meta + 24) as usize;
        if LE.u16(page, at + 10) & 8 == 0 || LE.u32(page, meta) != MAGIC {
            return Err(Broken::Corrupted("this is no LMDB file"));
        }
        if LE.u32(page, meta + 4) != 1 {
            return Err(Broken::Corrupted("unsupported version of the file format"));
        }
        if !page_size.is_power_of_two() || !(256..=65536).contains(&page_size) {
            return Err(Broken::Corrupted("bad page size"));
        }
        let state = State {
            page_size,
            free: tree_meta(page, meta + 24),
            main: tree_meta(page, meta + 72),
            last_page: LE.u64(page, meta + 120),
            transaction: LE.u64(page, meta + 128),
        };
        // Keys in another order, duplicates.
        if state.main.flags & 0x7f != 0 {
            return Err(Broken::Corrupted("unsupported kind of database"));
        }
        Ok(state)
    }

    /// The state that holds.
    pub(crate) fn read(file: &impl ReadAt) -> Result<State, Broken> {
        const USUAL: usize = 4096;
        const LENGTH: usize = PAGE_HEADER + META_LENGTH;
        let start = file.window(0, USUAL + LENGTH)?;
        let first = State::parse(&start, 0)?;
        if first.page_size != USUAL {
            let second = file.window(first.page_size as u64, LENGTH)?;
            return State::newer(first, State::parse(&second, 0)?);
        }
        for _ in 0..ATTEMPTS {
            // A commit writes the transaction number last: what is read after it belongs to it.
            let transactions = || [0, USUAL].map(|at| LE.u64(&start, at + LENGTH - 8));
            let before = transactions();
            fence(AtomicOrdering::Acquire);
            let states = [0, USUAL].map(|at| State::parse(&start, at));
            fence(AtomicOrdering::Acquire);
            if transactions() == before {
                let [first, second] = states;
                return State::newer(first?, second?);
            }
        }
        Err(Broken::Corrupted("the transaction number does not rest"))
    }

    fn newer(first: State, second: State) -> Result<State, Broken> {
        if second.page_size != first.page_size {
            return Err(Broken::Corrupted("two page sizes"));
        }
        Ok(if second.transaction > first.transaction { second } else { first })
    }

    fn page<'a>(&self, file: &'a impl ReadAt, number: u64, expected: u16) -> Result<Page<'a>, Broken> {
        let bytes = file.window(self.offset(number)?, self.page_size)?;
        // The header and the offsets, which are looked at next.
        for at in [0, 64, 128] {
            bytes.prefetch(at);
        }
        let lower = usize::from(LE.u16(&bytes, 12));
        if LE.u64(&bytes, 0) != number || LE.u16(&bytes, 10) & 0x6f != expected {
            return Err(Broken::Corrupted("bad page"));
        }
        let page = Page { bytes, lower };
        if lower < PAGE_HEADER || lower > self.page_size || (expected == BRANCH && page.nodes() == 0) {
            return Err(Broken::Corrupted("bad bounds of a page"));
        }
        Ok(page)
    }

    /// Where a page begins in the file.
    fn offset(&self, number: u64) -> Result<u64, Broken> {
        let offset = number.checked_mul(self.page_size as u64);
        offset
            .filter(|_| (2..=self.last_page).contains(&number))
            .ok_or(Broken::Corrupted("page number out of range"))
    }

    /// Whether the tree has pages; its depth is checked.
    fn has_root(&self, tree: TreeMeta) -> Result<bool, Broken> {
        if tree.root != NO_PAGE && (tree.depth == 0 || tree.depth > DEPTH_LIMIT) {
            return Err(Broken::Corrupted("bad depth of the tree"));
        }
        Ok(tree.root != NO_PAGE)
    }

    fn root<'a>(&self, file: &'a impl ReadAt, tree: TreeMeta) -> Result<Option<Page<'a>>, Broken> {
        if !self.has_root(tree)? {
            return Ok(None);
        }
        self.page(file, tree.root, expected(tree.depth)).map(Some)
    }

    fn value(&self, file: &impl ReadAt, page: &Page<'_>, node: &Node) -> Result<Vec<u8>, Broken> {
        match node.flags {
            0 => {
                let value = page.bytes.get(node.key.end..node.key.end + node.size);
                Ok(value.ok_or(Broken::Corrupted("bad node"))?.into_owned())
            }
            BIG_DATA => {
                let number = page.overflow(node)?;
                let at = self.offset(number)?;
                let header = file.window(at, PAGE_HEADER)?;
                if LE.u64(&header, 0) != number || LE.u16(&header, 10) & OVERFLOW == 0 {
                    return Err(Broken::Corrupted("bad overflow page"));
                }
                file.read_vec(at + PAGE_HEADER as u64, node.size)
            }
            _ => Err(Broken::Corrupted("unsupported type of node")),
        }
    }

    /// Visits the entries of a tree in order. `pages` is told each page and for how many it stands.
    pub(crate) fn walk(
        &self,
        file: &impl ReadAt,
        tree: TreeMeta,
        pages: &mut dyn FnMut(u64, u64),
        visit: Visit<'_>,
    ) -> Result<(), Broken> {
        let Some(root) = self.root(file, tree)? else { return Ok(()) };
        pages(tree.root, 1);
        let mut left = self.last_page;
        Walk { state: self, file, pages, visit, left: &mut left }.page(&root, tree.depth).map(|_| ())
    }
}

struct Walk<'a, F> {
    state: &'a State,
    file: &'a F,
    pages: &'a mut dyn FnMut(u64, u64),
    visit: Visit<'a>,
    left: &'a mut u64,
}

impl<F: ReadAt> Walk<'_, F> {
    fn page(&mut self, page: &Page<'_>, depth: u16) -> Result<bool, Broken> {
        *self.left =
            self.left.checked_sub(1).ok_or(Broken::Corrupted("more pages in the tree than in the file"))?;
        for index in 0..page.nodes() {
            let node = page.node(index)?;
            if depth > 1 {
                (self.pages)(node.child, 1);
                let child = self.state.page(self.file, node.child, expected(depth - 1))?;
                if !self.page(&child, depth - 1)? {
                    return Ok(false);
                }
                continue;
            }
            if node.flags & BIG_DATA != 0 {
                let run = (PAGE_HEADER - 1 + node.size) / self.state.page_size + 1;
                (self.pages)(page.overflow(&node)?, run as u64);
            }
            if !(self.visit)(&page.key(&node)?, &self.state.value(self.file, page, &node)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn expected(depth: u16) -> u16 {
    if depth == 1 { LEAF } else { BRANCH }
}

#[derive(Debug)]
struct Page<'a> {
    bytes: Window<'a>,
    lower: usize,
}

/// An entry of a page.
#[derive(Debug)]
struct Node {
    /// Where its key is in the page; the value follows.
    key: Range<usize>,
    size: usize,
    flags: u16,
    child: u64,
}

impl Page<'_> {
    fn nodes(&self) -> usize {
        self.lower.saturating_sub(PAGE_HEADER) / 2
    }

    fn node(&self, index: usize) -> Result<Node, Broken> {
        let at = usize::from(LE.u16(&self.bytes, PAGE_HEADER + index * 2));
        if at < self.lower || at + NODE_HEADER > self.bytes.len() {
            return Err(Broken::Corrupted("bad node"));
        }
        // Low and high half of the size (of a child, of its page number), flags, length of the key.
        let (low, high) = (LE.u16(&self.bytes, at), LE.u16(&self.bytes, at + 2));
        let (flags, key_length) = (LE.u16(&self.bytes, at + 4), LE.u16(&self.bytes, at + 6));
        let start = at + NODE_HEADER;
        let size = usize::from(low) | usize::from(high) << 16;
        let child = u64::from(low) | u64::from(high) << 16 | u64::from(flags) << 32;
        Ok(Node { key: start..start + usize::from(key_length), size, flags, child })
    }

    fn key(&self, node: &Node) -> Result<Cow<'_, [u8]>, Broken> {
        self.bytes.get(node.key.clone()).ok_or(Broken::Corrupted("bad node"))
    }

    fn compare(&self, node: &Node, key: &[u8]) -> Result<Ordering, Broken> {
        self.bytes.compare(node.key.clone(), key).ok_or(Broken::Corrupted("bad node"))
    }

    /// Finds a key among the nodes from `first` on.
    #[inline]
    fn search(&self, first: usize, key: &[u8]) -> Result<Result<usize, usize>, Broken> {
        let offset = |index: usize| usize::from(LE.u16(&self.bytes, PAGE_HEADER + (first + index) * 2));
        let found = search(
            self.nodes().saturating_sub(first),
            |index| self.bytes.prefetch(offset(index)),
            |index| self.compare(&self.node(first + index)?, key),
        )?;
        Ok(found.map(|at| at + first).map_err(|at| at + first))
    }

    fn overflow(&self, node: &Node) -> Result<u64, Broken> {
        if node.key.end + 8 > self.bytes.len() {
            return Err(Broken::Corrupted("bad node"));
        }
        Ok(LE.u64(&self.bytes, node.key.end))
    }
}

/// An LMDB file. Nothing is remembered, as others may write.
#[derive(Debug)]
pub(crate) struct Lmdb;

impl Format for Lmdb {
    fn open(file: &impl ReadAt) -> Result<Self, Broken> {
        State::read(file).map(|_| Lmdb)
    }

    fn get(&self, file: &impl ReadAt, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let state = State::read(file)?;
        let Some(mut page) = state.root(file, state.main)? else { return Ok(None) };
        for depth in (1..state.main.depth).rev() {
            // The key of the first child is empty.
            let (Ok(at) | Err(at)) = match page.search(1, key)? {
                Err(after) => Ok(after - 1),
                found => found,
            };
            page = state.page(file, page.node(at)?.child, expected(depth))?;
        }
        let Ok(at) = page.search(0, key)? else { return Ok(None) };
        let node = page.node(at)?;
        state.value(file, &page, &node).map(Some)
    }

    fn each(&self, file: &impl ReadAt, visit: Visit<'_>) -> Result<(), Broken> {
        let state = State::read(file)?;
        state.walk(file, state.main, &mut |_, _| {}, visit)
    }
}
