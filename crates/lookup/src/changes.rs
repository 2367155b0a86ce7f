//! Tables that are changed entry by entry while programs work with them: what those remember for a time.
//!
//! Index files that a program has for itself are better written by [`crate::build`] alone. Here are those that are on a
//! server, which has one entry changed at a time, and the tables that stand behind it.

use std::fmt::Debug;

use config::printable;

use crate::build::{Content, Sizes, Writer, index_path};
use crate::debug::Watched;
use crate::error::Blame;
use crate::network::ProxiedChanges;
use crate::{Flags, LookupError, OpenError, Opening, SequenceError, TYPES, VisitEntry, drivers, migration};

/// Deepest nesting of tables behind tables.
const NESTING_LIMIT: usize = 20;

/// A table that can be changed.
pub trait Changes: Debug + Send + Sync {
    /// The value for `key`.
    ///
    /// # Errors
    /// The table cannot tell; it has been logged why.
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError>;

    /// Stores a value, in the place of one that is there.
    ///
    /// # Errors
    /// It has not been stored; it has been logged why.
    fn update(&self, key: &[u8], value: &[u8]) -> Result<(), LookupError>;

    /// Deletes an entry. Says whether there was one.
    ///
    /// # Errors
    /// The table cannot tell; it has been logged why.
    fn delete(&self, key: &[u8]) -> Result<bool, LookupError>;

    /// Calls `visit` with each key and value until it says false.
    ///
    /// # Errors
    /// This type of table cannot, or the table is broken.
    fn each(&self, visit: VisitEntry<'_>) -> Result<(), SequenceError>;

    /// The system's words for what made the last request fail, as far as there are any.
    fn reason(&self) -> Option<String> {
        None
    }
}

/// Whether tables of this type are on a server that has entries changed.
#[must_use]
pub fn are_served(kind: &[u8]) -> bool {
    kind == b"memcache" && TYPES.contains(&"memcache")
}

/// What becomes of an index file that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is made.
    Made,
    /// It is an error.
    Told,
}

/// Opens `type:name` for changes.
///
/// # Errors
/// The text of the fatal error: it cannot be opened, or nobody can change tables of its type.
pub fn open(
    reference: &[u8],
    flags: Flags,
    sizes: Sizes,
    missing: Missing,
) -> Result<Box<dyn Changes>, OpenError> {
    open_nested(reference, flags, (sizes, missing), 0)
}

pub(crate) fn open_nested(
    reference: &[u8],
    flags: Flags,
    (sizes, missing): (Sizes, Missing),
    depth: usize,
) -> Result<Box<dyn Changes>, OpenError> {
    let shown = printable(reference);
    let (kind, name) = match reference.iter().position(|byte| *byte == b':') {
        Some(at) if at > 0 && at + 1 < reference.len() => (&reference[..at], &reference[at + 1..]),
        _ => {
            let text = format!("open dictionary: expecting \"type:name\" form instead of \"{shown}\"");
            return Err(Blame::Reference.of(text));
        }
    };
    if depth > NESTING_LIMIT {
        return Err(Blame::Type.of(format!("unreasonable table nesting: \"{shown}\"")));
    }
    match kind {
        #[cfg(feature = "memcache")]
        b"memcache" => crate::database::change_memcache(shown, name, flags, (sizes, missing), depth),
        b"proxy" if flags.has(Flags::NO_PROXY) => open_nested(name, flags, (sizes, missing), depth + 1),
        b"proxy" => Ok(Box::new(ProxiedChanges::open(name, flags)?)),
        b"debug" => {
            let table = open_nested(name, flags, (sizes, missing), depth + 1)?;
            Ok(Box::new(Watched::new(table, printable(name))))
        }
        b"hash" | b"btree" | b"lmdb" => Ok(Box::new(IndexChanges::open(kind, name, flags, sizes, missing)?)),
        kind if TYPES.iter().any(|known| known.as_bytes() == kind) => {
            Err(OpenError::new(format!("{shown} map requires O_RDONLY access mode")))
        }
        kind => Err(drivers::unsupported(kind)),
    }
}

/// An index file that others may have open, too: it is read and written for each request.
#[derive(Debug)]
struct IndexChanges {
    kind: Vec<u8>,
    name: Vec<u8>,
    flags: Flags,
    sizes: Sizes,
}

impl IndexChanges {
    fn open(
        kind: &[u8],
        name: &[u8],
        flags: Flags,
        sizes: Sizes,
        missing: Missing,
    ) -> Result<IndexChanges, OpenError> {
        // What a table of Berkeley DB's types may have become.
        let made = migration::to_make(kind, name)?;
        let kind = made.as_deref().and_then(|made| made.split(|byte| *byte == b':').next()).unwrap_or(kind);
        let path = index_path(kind, name);
        if missing == Missing::Told
            && let Some(path) = path
            && let Err(error) = std::fs::metadata(&path)
        {
            let (path, error) = (path.display(), sys::error_text(&error));
            return Err(OpenError::new(format!("open database {path}: {error}")));
        }
        let flags = flags.with(Flags::REPLACE_DUPLICATES).with(Flags::LOCK).without(Flags::WARN_DUPLICATES);
        let table = IndexChanges { kind: kind.to_vec(), name: name.to_vec(), flags, sizes };
        table.writer()?.commit()?;
        Ok(table)
    }

    fn writer(&self) -> Result<Writer, OpenError> {
        Writer::open(&self.kind, &self.name, self.flags, Content::Kept, self.sizes)
    }

    fn table(&self) -> Result<Box<dyn crate::Table>, OpenError> {
        let reference = [&self.kind[..], b":", &self.name].concat();
        crate::open(&reference, self.flags.without(Flags::REPLACE_DUPLICATES), Opening::FatalErrors)
    }

    fn fails(&self, error: &OpenError) -> LookupError {
        log::warn!("{}:{} is unavailable. {error}", printable(&self.kind), printable(&self.name));
        LookupError::Retry
    }
}

impl Changes for IndexChanges {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        self.table().map_err(|error| self.fails(&error))?.lookup(key)
    }

    fn update(&self, key: &[u8], value: &[u8]) -> Result<(), LookupError> {
        let stored = self.writer().and_then(|mut writer| {
            writer.put(key, value)?;
            writer.commit()
        });
        stored.map_err(|error| self.fails(&error))
    }

    fn delete(&self, key: &[u8]) -> Result<bool, LookupError> {
        let deleted = self.writer().and_then(|mut writer| {
            let was_there = writer.delete(key);
            if was_there {
                writer.commit()?;
            }
            Ok(was_there)
        });
        deleted.map_err(|error| self.fails(&error))
    }

    fn each(&self, visit: VisitEntry<'_>) -> Result<(), SequenceError> {
        let table = self.table().map_err(|error| self.fails(&error));
        table.map_err(|_| SequenceError::Unavailable)?.each(visit)
    }
}
