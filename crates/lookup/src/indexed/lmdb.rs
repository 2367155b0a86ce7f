//! `lmdb:` files: LMDB's copy-on-write B+tree, read without its library (spec tables 5.3).
//!
//! Pages 0 and 1 describe two states of the database; the one with the higher transaction number holds. A tree's
//! pages start with 16 bytes: number, flags, and the bounds of the free space; then offsets of nodes. Only the unnamed
//! database without duplicates is read. The library maps the file into memory and believes it; this reader believes
//! nothing: every number is checked against the page and the file, and a descent is as deep as the tree says.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::btree::partition;
use super::source::{Broken, Order, ReadAt};
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

fn tree_meta(bytes: &[u8], at: usize) -> TreeMeta {
    TreeMeta { flags: LE.u16(bytes, at + 4), depth: LE.u16(bytes, at + 6), root: LE.u64(bytes, at + 40) }
}

impl State {
    fn parse(page: &[u8]) -> Result<State, Broken> {
        let meta = page.get(PAGE_HEADER..PAGE_HEADER + META_LENGTH).ok_or(Broken::Truncated)?;
        let page_size = LE.u32(meta, 24) as usize;
        if LE.u16(page, 10) & 8 == 0 || LE.u32(meta, 0) != MAGIC {
            return Err(Broken::Corrupted("this is no LMDB file"));
        }
        if LE.u32(meta, 4) != 1 {
            return Err(Broken::Corrupted("unsupported version of the file format"));
        }
        if !page_size.is_power_of_two() || !(256..=65536).contains(&page_size) {
            return Err(Broken::Corrupted("bad page size"));
        }
        let state = State {
            page_size,
            free: tree_meta(meta, 24),
            main: tree_meta(meta, 72),
            last_page: LE.u64(meta, 120),
            transaction: LE.u64(meta, 128),
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
        let mut start = [0; USUAL + PAGE_HEADER + META_LENGTH];
        let length = file.read_some(0, &mut start)?;
        let first = State::parse(&start[..length])?;
        let second = if first.page_size == USUAL {
            State::parse(start.get(USUAL..length).unwrap_or_default())?
        } else {
            State::parse(&file.read_vec(first.page_size as u64, PAGE_HEADER + META_LENGTH)?)?
        };
        if second.page_size != first.page_size {
            return Err(Broken::Corrupted("two page sizes"));
        }
        Ok(if second.transaction > first.transaction { second } else { first })
    }

    fn page(&self, file: &impl ReadAt, number: u64, expected: u16) -> Result<Page, Broken> {
        let mut bytes = vec![0; self.page_size];
        file.read_all(self.offset(number)?, &mut bytes)?;
        let page = Page { bytes };
        let lower = page.lower();
        if LE.u64(&page.bytes, 0) != number || page.flags() & 0x6f != expected {
            return Err(Broken::Corrupted("bad page"));
        }
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

    fn root(&self, file: &impl ReadAt, tree: TreeMeta) -> Result<Option<Page>, Broken> {
        if !self.has_root(tree)? {
            return Ok(None);
        }
        self.page(file, tree.root, expected(tree.depth)).map(Some)
    }

    fn value(&self, file: &impl ReadAt, node: &Node<'_>) -> Result<Vec<u8>, Broken> {
        match node.flags {
            0 => Ok(node.data.get(..node.size).ok_or(Broken::Corrupted("bad node"))?.to_vec()),
            BIG_DATA => {
                let number = node.overflow()?;
                let at = self.offset(number)?;
                let mut header = [0; PAGE_HEADER];
                file.read_all(at, &mut header)?;
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
    fn page(&mut self, page: &Page, depth: u16) -> Result<bool, Broken> {
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
                (self.pages)(node.overflow()?, run as u64);
            }
            if !(self.visit)(node.key, &self.state.value(self.file, &node)?) {
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
struct Page {
    bytes: Vec<u8>,
}

struct Node<'a> {
    key: &'a [u8],
    data: &'a [u8],
    size: usize,
    flags: u16,
    child: u64,
}

impl Node<'_> {
    fn overflow(&self) -> Result<u64, Broken> {
        if self.data.len() < 8 { Err(Broken::Corrupted("bad node")) } else { Ok(LE.u64(self.data, 0)) }
    }
}

impl Page {
    fn flags(&self) -> u16 {
        LE.u16(&self.bytes, 10)
    }

    fn lower(&self) -> usize {
        usize::from(LE.u16(&self.bytes, 12))
    }

    fn nodes(&self) -> usize {
        self.lower().saturating_sub(PAGE_HEADER) / 2
    }

    fn node(&self, index: usize) -> Result<Node<'_>, Broken> {
        let at = usize::from(LE.u16(&self.bytes, PAGE_HEADER + index * 2));
        let node = self.bytes.get(at..).filter(|_| at >= self.lower()).unwrap_or_default();
        let [low, high, flags, key_length] = [0, 2, 4, 6].map(|at| LE.u16(node, at));
        let key_end = 8 + usize::from(key_length);
        let key = node.get(8..key_end).ok_or(Broken::Corrupted("bad node"))?;
        let size = usize::from(low) | usize::from(high) << 16;
        let child = u64::from(low) | u64::from(high) << 16 | u64::from(flags) << 32;
        Ok(Node { key, data: &node[key_end..], size, flags, child })
    }
}

/// Most branch pages that are remembered.
const CACHE_LIMIT: usize = 4096;

/// An LMDB file, with the branch pages of its present state. Others may write: each look-up reads the state anew, and
/// forgets the pages when state or file are not those it knows.
#[derive(Debug, Default)]
pub(crate) struct Lmdb {
    branches: Mutex<Branches>,
}

#[derive(Debug, Default)]
struct Branches {
    state: Option<State>,
    stamp: (u64, i64, i64),
    pages: HashMap<u64, Arc<Page>>,
}

impl Branches {
    fn page(&mut self, state: &State, file: &impl ReadAt, number: u64) -> Result<Arc<Page>, Broken> {
        if let Some(page) = self.pages.get(&number) {
            return Ok(Arc::clone(page));
        }
        let page = Arc::new(state.page(file, number, BRANCH)?);
        if self.pages.len() < CACHE_LIMIT {
            self.pages.insert(number, Arc::clone(&page));
        }
        Ok(page)
    }
}

impl Format for Lmdb {
    fn open(file: &impl ReadAt) -> Result<Self, Broken> {
        State::read(file).map(|_| Lmdb::default())
    }

    fn get(&self, file: &impl ReadAt, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let state = State::read(file)?;
        let stamp = file.stamp()?;
        if !state.has_root(state.main)? {
            return Ok(None);
        }
        let mut number = state.main.root;
        if state.main.depth > 1 {
            let mut branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
            if branches.state != Some(state) || branches.stamp != stamp {
                *branches = Branches { state: Some(state), stamp, pages: HashMap::new() };
            }
            for _ in 1..state.main.depth {
                let page = branches.page(&state, file, number)?;
                // The key of the first child is empty.
                let after = partition(page.nodes() - 1, |index| Ok(page.node(index + 1)?.key <= key))?;
                number = page.node(after)?.child;
            }
        }
        let page = state.page(file, number, LEAF)?;
        let at = partition(page.nodes(), |index| Ok(page.node(index)?.key < key))?;
        if at == page.nodes() {
            return Ok(None);
        }
        let node = page.node(at)?;
        if node.key.cmp(key) != Ordering::Equal {
            return Ok(None);
        }
        state.value(file, &node).map(Some)
    }

    fn each(&self, file: &impl ReadAt, visit: Visit<'_>) -> Result<(), Broken> {
        let state = State::read(file)?;
        state.walk(file, state.main, &mut |_, _| {}, visit)
    }
}
