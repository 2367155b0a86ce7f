//! `btree:` files: Berkeley DB's B+trees, version 9 (spec tables 5.1).
//!
//! Internal pages hold keys and page numbers, leaves pairs of items; the level of a page is one less than that of its
//! parent, and leaves have level 1, which bounds every descent.

use std::cmp::Ordering;
use std::ops::Range;

use super::berkeley::{BTREE_INTERNAL, BTREE_LEAF, BTREE_MAGIC, BTREE_META, META, Meta, Page};
use super::source::{Broken, ReadAt};
use super::{Format, Visit};

const KEY_DATA: u8 = 1;
const OVERFLOW_ITEM: u8 = 3;
/// In an item's type: it has been deleted.
const DELETED: u8 = 0x80;
/// Record numbers, fixed lengths, several databases, sorted duplicates, compression.
const UNSUPPORTED: u32 = 2 | 4 | 8 | 0x10 | 0x20 | 0x80;
const LEAF_LEVEL: u8 = 1;
/// Length and type of an item come before its text.
const LEAF_HEADER: usize = 3;
/// There, the child's page number and the number of its records as well.
const INTERNAL_HEADER: usize = 12;

/// A btree file. Nothing is remembered: `postmap` rewrites such a file in place.
#[derive(Debug)]
pub(crate) struct Btree;

struct Tree {
    meta: Meta,
    root: u32,
}

impl Tree {
    fn read(file: &impl ReadAt) -> Result<Tree, Broken> {
        let page = file.window(0, META)?;
        let meta = Meta::parse(&page, BTREE_MAGIC, &[8, 9, 10], BTREE_META)?;
        if meta.flags & UNSUPPORTED != 0 {
            return Err(Broken::Corrupted("unsupported kind of btree"));
        }
        Ok(Tree { meta, root: meta.order.u32(&page, 88) })
    }

    fn page<'a>(
        &self,
        file: &'a impl ReadAt,
        number: u32,
        parent: Option<&Page<'_>>,
    ) -> Result<Page<'a>, Broken> {
        let page = self.meta.page(file, number)?.ok_or(Broken::Corrupted("empty btree page"))?;
        let level = page.level();
        let fits = match page.kind() {
            BTREE_LEAF => level == LEAF_LEVEL && page.items() % 2 == 0,
            BTREE_INTERNAL => level > LEAF_LEVEL && page.items() > 0,
            _ => false,
        };
        if !fits || parent.is_some_and(|parent| parent.level() != level + 1) {
            return Err(Broken::Corrupted("bad btree page"));
        }
        Ok(page)
    }

    /// Where the text of an item at this place is, that has a header of this length.
    fn text(page: &Page<'_>, at: usize, header: usize) -> Range<usize> {
        let start = at + header;
        start..start + usize::from(page.order.u16(&page.bytes, at))
    }

    fn kind(page: &Page<'_>, at: usize) -> u8 {
        page.bytes.u8(at + 2) & !DELETED
    }

    fn overflow(&self, file: &impl ReadAt, page: &Page<'_>, at: usize) -> Result<Vec<u8>, Broken> {
        let (first, length) = (page.order.u32(&page.bytes, at + 4), page.order.u32(&page.bytes, at + 8));
        self.meta.overflow(file, first, length)
    }

    fn leaf_item(&self, file: &impl ReadAt, page: &Page<'_>, index: usize) -> Result<Vec<u8>, Broken> {
        let at = page.offset(index)?;
        match Tree::kind(page, at) {
            KEY_DATA => {
                let text = page.bytes.get(Tree::text(page, at, LEAF_HEADER));
                Ok(text.ok_or(Broken::Corrupted("bad item"))?.into_owned())
            }
            OVERFLOW_ITEM => self.overflow(file, page, at),
            _ => Err(Broken::Corrupted("unsupported type of item")),
        }
    }

    fn is_deleted(page: &Page<'_>, index: usize) -> Result<bool, Broken> {
        Ok(page.bytes.u8(page.offset(index)? + 2) & DELETED != 0)
    }

    /// How an item compares with `key`; the header of items of internal pages is longer.
    fn compare(
        &self,
        file: &impl ReadAt,
        page: &Page<'_>,
        index: usize,
        key: &[u8],
    ) -> Result<Ordering, Broken> {
        let at = page.offset(index)?;
        let internal = page.kind() == BTREE_INTERNAL;
        let header = if internal { INTERNAL_HEADER } else { LEAF_HEADER };
        match Tree::kind(page, at) {
            KEY_DATA => {
                let compared = page.bytes.compare(Tree::text(page, at, header), key);
                compared.ok_or(Broken::Corrupted("bad item"))
            }
            OVERFLOW_ITEM => {
                // Within an internal item, where its text would be.
                let at = if internal { at + INTERNAL_HEADER } else { at };
                Ok(self.overflow(file, page, at)?.as_slice().cmp(key))
            }
            _ => Err(Broken::Corrupted("unsupported type of item")),
        }
    }

    fn child(&self, page: &Page<'_>, index: usize) -> Result<u32, Broken> {
        Ok(page.order.u32(&page.bytes, page.offset(index)? + 4))
    }

    fn visit(
        &self,
        file: &impl ReadAt,
        page: &Page<'_>,
        left: &mut u32,
        visit: Visit<'_>,
    ) -> Result<bool, Broken> {
        *left = left.checked_sub(1).ok_or(Broken::Corrupted("more pages in the tree than in the file"))?;
        if page.kind() == BTREE_LEAF {
            for index in (0..page.items()).step_by(2) {
                if Tree::is_deleted(page, index)? || Tree::is_deleted(page, index + 1)? {
                    continue;
                }
                let key = self.leaf_item(file, page, index)?;
                if !visit(&key, &self.leaf_item(file, page, index + 1)?) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        for index in 0..page.items() {
            let child = self.page(file, self.child(page, index)?, Some(page))?;
            if !self.visit(file, &child, left, visit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The first of `count` places for which `before` is false.
pub(super) fn partition(
    count: usize,
    mut before: impl FnMut(usize) -> Result<bool, Broken>,
) -> Result<usize, Broken> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

impl Format for Btree {
    fn open(file: &impl ReadAt) -> Result<Self, Broken> {
        Tree::read(file).map(|_| Btree)
    }

    fn get(&self, file: &impl ReadAt, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let tree = Tree::read(file)?;
        let mut page = tree.page(file, tree.root, None)?;
        while page.kind() == BTREE_INTERNAL {
            // The key of the first child means nothing: it is less than all.
            let after = partition(page.items() - 1, |index| {
                Ok(tree.compare(file, &page, index + 1, key)? != Ordering::Greater)
            })?;
            page = tree.page(file, tree.child(&page, after)?, Some(&page))?;
        }
        let pairs = page.items() / 2;
        let mut at =
            partition(pairs, |pair| Ok(tree.compare(file, &page, pair * 2, key)? == Ordering::Less))?;
        while at < pairs && tree.compare(file, &page, at * 2, key)? == Ordering::Equal {
            if !Tree::is_deleted(&page, at * 2)? && !Tree::is_deleted(&page, at * 2 + 1)? {
                return Ok(Some(tree.leaf_item(file, &page, at * 2 + 1)?));
            }
            at += 1;
        }
        Ok(None)
    }

    fn each(&self, file: &impl ReadAt, visit: Visit<'_>) -> Result<(), Broken> {
        let tree = Tree::read(file)?;
        let root = tree.page(file, tree.root, None)?;
        let mut left = tree.meta.last_page;
        tree.visit(file, &root, &mut left, visit).map(|_| ())
    }
}
