//! Tables in index files: hash, btree, cdb, lmdb (spec tables 5), and what they have in common.
//!
//! A [`Format`] finds a key in the bytes of a file; [`Indexed`] has the file, its locks, the two ways to write a key
//! (with a trailing NUL and without), and notices when the file has been replaced or rewritten. A file is mapped into
//! memory. That makes look-ups fast and decides nothing: what the mapping cannot answer, because the file has grown, has
//! shrunk, or makes no sense, is read from the file instead. A file that is truncated or corrupted is a warning and a
//! temporary error at each look-up that meets the damage.

pub(crate) mod berkeley;
pub(crate) mod btree;
pub(crate) mod cdb;
pub(crate) mod hash;
pub(crate) mod lmdb;
pub(crate) mod source;

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use config::printable;

use crate::{
    Flags, Given, Kind, LookupError, OpenError, SequenceError, Standing, Table, VisitResult, fold, texthash,
};
use source::{Broken, ReadAt};
use sys::map::Map;

/// Called with each key and value; false ends the visit.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// A file format.
pub(crate) trait Format: Sized + Send + Sync + std::fmt::Debug {
    /// Checks that the file is of this format.
    fn open(file: &impl ReadAt) -> Result<Self, Broken>;

    /// The value of a key, both as they are in the file.
    fn get(&self, file: &impl ReadAt, key: &[u8]) -> Result<Option<Vec<u8>>, Broken>;

    /// Visits all entries.
    fn each(&self, file: &impl ReadAt, visit: Visit<'_>) -> Result<(), Broken>;
}

/// A source file younger than its index and changed longer ago than this is worth a warning.
const STALE: Duration = Duration::from_secs(100);

/// How readers and writers of a file keep out of each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locking {
    /// `flock(2)`.
    Flock,
    /// fcntl(2) record locks, on the whole file.
    Record,
    /// The file never changes; a new one takes its name.
    None,
}

/// What differs between the table types besides the format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexType {
    pub(crate) name: &'static str,
    pub(crate) suffix: &'static str,
    pub(crate) locking: Locking,
}

pub(crate) const HASH: IndexType = IndexType { name: "hash", suffix: ".db", locking: Locking::Flock };
pub(crate) const BTREE: IndexType = IndexType { name: "btree", suffix: ".db", locking: Locking::Flock };
pub(crate) const CDB: IndexType = IndexType { name: "cdb", suffix: ".cdb", locking: Locking::None };
pub(crate) const LMDB: IndexType = IndexType { name: "lmdb", suffix: ".lmdb", locking: Locking::Record };

impl IndexType {
    /// The index file of the table of this name.
    pub(crate) fn path(&self, name: &[u8]) -> PathBuf {
        let mut path = crate::path(name).as_os_str().to_owned();
        path.push(self.suffix);
        path.into()
    }

    /// How errors name the file: lmdb shows the table, the others the file.
    pub(crate) fn shown(&self, name: &[u8]) -> String {
        if self.locking == Locking::Record {
            format!("{}:{}", self.name, printable(name))
        } else {
            format!("{}{}", printable(name), self.suffix)
        }
    }
}

/// Which form of keys a file has shown to hold.
mod form {
    pub(super) const UNKNOWN: u8 = 0;
    pub(super) const WITH_NUL: u8 = 1;
    pub(super) const WITHOUT: u8 = 2;
}

/// A table in an index file.
#[derive(Debug)]
pub(crate) struct Indexed<F: Format> {
    name: String,
    registered: String,
    shown: String,
    /// What the index file is made from, if that is there.
    source: Option<String>,
    file: File,
    map: RwLock<Option<Map>>,
    modified: (i64, i64),
    lock: Option<SharedLock>,
    multi_writer: bool,
    flags: Flags,
    form: AtomicU8,
    format: F,
}

impl<F: Format> Indexed<F> {
    pub(crate) fn open(
        kind: IndexType,
        reference: String,
        name: &[u8],
        flags: Flags,
    ) -> Result<Self, OpenError> {
        let path = kind.path(name);
        let failed =
            |why: String| OpenError::new(format!("open database {}{}: {why}", printable(name), kind.suffix));
        let file = File::open(&path).map_err(|error| failed(sys::error_text(&error)))?;
        let metadata = file.metadata().map_err(|error| failed(sys::error_text(&error)))?;
        if metadata.is_dir() {
            return Err(failed("Is a directory".to_owned()));
        }
        let lock = (flags.has(Flags::LOCK) && kind.locking != Locking::None)
            .then(|| SharedLock { locking: kind.locking, holders: Mutex::new(0) });
        // The writer of a Berkeley DB file may be half-way through.
        let guard = lock.as_ref().map(|lock| lock.hold(&file)).transpose();
        let guard = guard.map_err(|error| failed(sys::error_text(&error)))?;
        let format = F::open(&file).map_err(|error| failed(error.to_string()))?;
        let modified = file.metadata().map(|now| stamp(&now)).unwrap_or_else(|_| stamp(&metadata));
        drop(guard);
        warn_if_stale(name, kind, &metadata);
        let source = std::str::from_utf8(name).ok().filter(|path| Path::new(path).is_file());
        if let Some(path) = source.filter(|_| crate::settings::examines_source(&reference)) {
            texthash::examine(path, flags);
        }
        Ok(Indexed {
            registered: format!("{reference}(0,{})", flags.names()),
            // Messages name the index file, but for lmdb.
            name: if kind.locking == Locking::Record {
                reference
            } else {
                format!("{reference}{}", kind.suffix)
            },
            shown: kind.shown(name),
            source: source.map(str::to_owned),
            map: RwLock::new(Map::new(&file).ok()),
            file,
            modified,
            lock,
            multi_writer: kind.locking == Locking::Record,
            flags,
            form: AtomicU8::new(form::UNKNOWN),
            format,
        })
    }

    fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let _guard = self.lock.as_ref().map(|lock| lock.hold(&self.file)).transpose()?;
        let form = self.form.load(Ordering::Relaxed);
        let may = |flag: Flags, other: u8| {
            form != other
                && (self.flags.has(flag)
                    || !self.flags.has(Flags::TRY0NULL) && !self.flags.has(Flags::TRY1NULL))
        };
        if may(Flags::TRY1NULL, form::WITHOUT) {
            let mut with_nul = Vec::with_capacity(key.len() + 1);
            with_nul.extend_from_slice(key);
            with_nul.push(0);
            if let Some(value) = self.get(&with_nul)? {
                self.form.store(form::WITH_NUL, Ordering::Relaxed);
                return Ok(Some(value));
            }
        }
        if may(Flags::TRY0NULL, form::WITH_NUL)
            && let Some(value) = self.get(key)?
        {
            self.form.store(form::WITHOUT, Ordering::Relaxed);
            return Ok(Some(value));
        }
        Ok(None)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        if let Some(map) = &*self.map.read().unwrap_or_else(PoisonError::into_inner) {
            let reader = map.reader();
            if let Ok(value) = self.format.get(&reader, key)
                && reader.is_intact(&self.file)
            {
                return Ok(value);
            }
        }
        let value = self.format.get(&self.file, key)?;
        // It is not what it was when it was mapped.
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Map::new(&self.file).ok();
        Ok(value)
    }
}

fn stamp(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

fn warn_if_stale(name: &[u8], kind: IndexType, index: &Metadata) {
    let Ok(source) = std::fs::metadata(crate::path(name)) else { return };
    let (Ok(changed), Ok(built)) = (source.modified(), index.modified()) else { return };
    if changed > built && SystemTime::now().duration_since(changed).is_ok_and(|age| age > STALE) {
        let name = printable(name);
        log::warn!("database {name}{} is older than source file {name}", kind.suffix);
    }
}

impl<F: Format> Table for Indexed<F> {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let key = if self.flags.has(Flags::FOLD_FIX) {
            Cow::Owned(fold(key, self.flags.has(Flags::UTF8)))
        } else {
            Cow::Borrowed(key)
        };
        match self.find(&key) {
            Ok(value) => Ok(value.map(until_nul)),
            Err(error) => {
                log::warn!("error reading {}: {error}", self.shown);
                Err(LookupError::Retry)
            }
        }
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn registered_name(&self) -> &str {
        &self.registered
    }

    fn key_forms(&self) -> Flags {
        match self.form.load(Ordering::Relaxed) {
            form::WITH_NUL => Flags::TRY1NULL,
            form::WITHOUT => Flags::TRY0NULL,
            _ => Flags::TRY0NULL.with(Flags::TRY1NULL),
        }
    }

    fn results(&self, visit: VisitResult<'_>) {
        if let Some(path) = &self.source {
            return texthash::results(&self.name, path, visit);
        }
        // A file that is broken is told of when it is asked.
        let _ = self.each(&mut |key, text| {
            visit(&self.name, &Given { standing: Standing::Key(key), text, is_whole: true });
            true
        });
    }

    fn each(&self, visit: Visit<'_>) -> Result<(), SequenceError> {
        let failed = |error: Broken| {
            log::warn!("error reading {}: {error}", self.shown);
            SequenceError::Failed
        };
        let _guard =
            self.lock.as_ref().map(|lock| lock.hold(&self.file)).transpose().map_err(|e| failed(e.into()))?;
        let cut = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        self.format
            .each(&self.file, &mut |key, value| visit(&key[..cut(key)], &value[..cut(value)]))
            .map_err(failed)
    }

    fn has_changed(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|now| now.nlink() == 0 || (!self.multi_writer && stamp(&now) != self.modified))
    }
}

fn until_nul(mut value: Vec<u8>) -> Vec<u8> {
    if let Some(end) = value.iter().position(|byte| *byte == 0) {
        value.truncate(end);
    }
    value
}

/// A shared lock of the process on a table's file: one lock for all threads that are inside.
#[derive(Debug)]
struct SharedLock {
    locking: Locking,
    holders: Mutex<usize>,
}

struct Held<'a> {
    lock: &'a SharedLock,
    file: &'a File,
}

impl SharedLock {
    fn hold<'a>(&'a self, file: &'a File) -> std::io::Result<Held<'a>> {
        let mut holders = self.holders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *holders == 0 {
            lock(file, self.locking, sys::flock::Mode::Shared)?;
        }
        *holders += 1;
        Ok(Held { lock: self, file })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut holders = self.lock.holders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *holders -= 1;
        if *holders == 0 {
            let _ = match self.lock.locking {
                Locking::Record => sys::flock::unlock_record(self.file),
                _ => sys::flock::unlock(self.file),
            };
        }
    }
}

/// Locks a file the way its type wants; waits for as long as it takes.
pub(crate) fn lock(file: &File, locking: Locking, mode: sys::flock::Mode) -> std::io::Result<()> {
    match locking {
        Locking::Flock => sys::flock::lock(file, mode, sys::flock::Wait::Forever).map(|_| ()),
        Locking::Record => sys::flock::lock_record(file, mode),
        Locking::None => Ok(()),
    }
}

/// Opens `bytes` as each of the formats, and looks for a key in them; for fuzzing.
pub fn read_any(bytes: &[u8]) {
    fn read<F: Format>(bytes: &[u8]) {
        let Ok(format) = F::open(&bytes) else { return };
        let _ = format.get(&bytes, b"key\0");
        let mut count = 0;
        let mut keys = Vec::new();
        let _ = format.each(&bytes, &mut |key, _| {
            count += 1;
            keys.push(key.to_vec());
            count < 100
        });
        for key in keys {
            let _ = format.get(&bytes, &key);
        }
    }
    read::<hash::Hash>(bytes);
    read::<btree::Btree>(bytes);
    read::<cdb::Cdb>(bytes);
    read::<lmdb::Lmdb>(bytes);
}
