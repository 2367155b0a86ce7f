//! Makes and changes index files: hash, btree, cdb and lmdb (spec tables 4.5, 5).
//!
//! [`Writer`] collects entries in memory and writes the file in one go. A new file of an existing table takes the
//! place of its content: hash and btree files are rewritten in place under an exclusive lock, as Postfix does; cdb
//! files are written aside and renamed; lmdb files get a new state in one transaction. An incremental change reads
//! all entries, changes them and writes them all, under one lock.

mod berkeley;
mod btree;
mod cdb;
mod entries;
mod hash;
mod lmdb;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use config::printable;
use sys::flock::Mode;

use crate::indexed::source::Broken;
use crate::indexed::{self, BTREE, CDB, Format, HASH, IndexType, LMDB, Locking};
use crate::{Flags, OpenError, debug, fold};
use entries::Entries;

/// What becomes of the entries that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// They go: the table is made anew.
    New,
    /// They stay: entries are added or deleted.
    Kept,
}

/// Values of main.cf that the writers use.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// `lmdb_map_size`.
    pub lmdb_map_size: u64,
}

/// A table in the making.
#[derive(Debug)]
pub struct Writer {
    kind: IndexType,
    reference: String,
    name: Vec<u8>,
    flags: Flags,
    sizes: Sizes,
    path: PathBuf,
    file: File,
    entries: Entries,
    with_nul: bool,
    /// Tables of type `debug` around this one, the innermost first, as they call what they hold.
    watchers: Vec<String>,
}

/// The types that [`Writer::open`] can make, and what it calls them.
fn index_type(kind: &[u8]) -> Option<IndexType> {
    [HASH, BTREE, CDB, LMDB].into_iter().find(|known| known.name.as_bytes() == kind)
}

/// The index file of a table of a type that [`Writer`] makes.
#[must_use]
pub fn index_path(kind: &[u8], name: &[u8]) -> Option<PathBuf> {
    index_type(kind).map(|kind| kind.path(name))
}

/// Whether tables of this type can be made.
#[must_use]
pub fn can_make(kind: &[u8]) -> bool {
    index_type(kind).is_some()
}

/// Whether entries of tables of this type can be deleted; cdb says so by itself.
#[must_use]
pub fn can_delete(kind: &[u8]) -> bool {
    index_type(kind).is_some()
}

/// How a change ends for those who watch.
fn end(changed: bool) -> &'static str {
    if changed { debug::SUCCESS } else { debug::FAILED }
}

impl Writer {
    /// Opens the index file of `kind:name` for writing; it is locked until [`Writer::commit`].
    ///
    /// # Errors
    ///
    /// The text of the fatal error: a type that cannot be made, a file that cannot be.
    pub fn open(
        kind: &[u8],
        name: &[u8],
        flags: Flags,
        content: Content,
        sizes: Sizes,
    ) -> Result<Writer, OpenError> {
        let shown_kind = printable(kind);
        let Some(known) = index_type(kind) else {
            return Err(OpenError::new(if crate::TYPES.contains(&shown_kind.as_str()) {
                format!("unsupported dictionary type: {shown_kind} does not support bulk-mode creation.")
            } else {
                format!(
                    "unsupported dictionary type: {shown_kind}. Is the postfix-{shown_kind} package installed?"
                )
            }));
        };
        if known.locking == Locking::None && content == Content::Kept {
            return Err(OpenError::new(
                "dict_cdb_open: inappropriate open flags for cdb database - \
                 specify O_RDONLY or O_WRONLY|O_CREAT|O_TRUNC",
            ));
        }
        crate::migration::warn_of_berkeley_db(kind, name);
        let mut path = known.path(name);
        if known.locking == Locking::None {
            path.as_mut_os_string().push(".tmp");
        }
        let file = open_locked(&path, known).map_err(|error| {
            OpenError::new(format!("open database {}: {}", path.display(), sys::error_text(&error)))
        })?;
        let mut writer = Writer::of(known, name, flags, sizes, path, file);
        if flags.has(Flags::TRY0NULL) != flags.has(Flags::TRY1NULL) {
            writer.with_nul = flags.has(Flags::TRY1NULL);
        }
        if content == Content::Kept {
            writer.load().map_err(|error| {
                OpenError::new(format!("open database {}: {error}", writer.path.display()))
            })?;
        }
        Ok(writer)
    }

    /// A new content for a file that [`Writer::open`] opened and that its caller has kept: a process that has gone into a
    /// jail since cannot see its name.
    ///
    /// # Errors
    ///
    /// The text of the fatal error: a type whose files are not rewritten in place, a lock that cannot be had.
    pub fn again(
        kind: &[u8],
        name: &[u8],
        flags: Flags,
        file: &File,
        sizes: Sizes,
    ) -> Result<Writer, OpenError> {
        let shown_kind = printable(kind);
        let known = index_type(kind).filter(|known| known.locking != Locking::None).ok_or_else(|| {
            OpenError::new(format!("unsupported dictionary type: {shown_kind} is not written in place"))
        })?;
        let path = known.path(name);
        let locked = file.try_clone().and_then(|file| {
            indexed::lock(&file, known.locking, Mode::Exclusive)?;
            Ok(file)
        });
        let file = locked.map_err(|error| {
            OpenError::new(format!("lock database {}: {}", path.display(), sys::error_text(&error)))
        })?;
        Ok(Writer::of(known, name, flags, sizes, path, file))
    }

    /// A writer without entries.
    fn of(known: IndexType, name: &[u8], flags: Flags, sizes: Sizes, path: PathBuf, file: File) -> Writer {
        Writer {
            kind: known,
            reference: format!("{}:{}", known.name, printable(name)),
            name: name.to_vec(),
            flags,
            sizes,
            path,
            file,
            entries: Entries::default(),
            watchers: Vec::new(),
            // Files that are locked, and so rewritten in place, have keys with NUL.
            with_nul: known.locking != Locking::None,
        }
    }

    fn load(&mut self) -> Result<(), Broken> {
        fn each<F: Format>(file: &File, entries: &mut Entries) -> Result<(), Broken> {
            F::open(file)?.each(file, &mut |key, value| entries.add(key, value))
        }
        if self.file.metadata()?.len() == 0 {
            return Ok(());
        }
        match self.kind.name {
            "hash" => each::<indexed::hash::Hash>(&self.file, &mut self.entries),
            "btree" => each::<indexed::btree::Btree>(&self.file, &mut self.entries),
            _ => each::<indexed::lmdb::Lmdb>(&self.file, &mut self.entries),
        }
    }

    /// Has each change told as by these tables of type `debug` (see [`debug::watched_by`]).
    pub fn watch(&mut self, watchers: Vec<String>) {
        self.watchers = watchers;
    }

    /// The file whose rights the caller may want to look at.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    fn form(&self, text: &[u8], nul: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text);
        if nul {
            bytes.push(0);
        }
        bytes
    }

    /// Adds an entry; one that is there already stays, goes or gives a warning, as the flags say.
    ///
    /// # Errors
    ///
    /// The entry cannot be stored in a table of this type.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), OpenError> {
        let key = if self.flags.has(Flags::FOLD_FIX) {
            fold(key, self.flags.has(Flags::UTF8))
        } else {
            key.to_vec()
        };
        self.store(&key, value, self.with_nul)
    }

    /// Adds an entry as it is: not folded, without trailing NUL.
    ///
    /// # Errors
    ///
    /// As [`Writer::put`].
    pub(crate) fn put_raw(&mut self, key: &[u8], value: &[u8]) -> Result<(), OpenError> {
        self.store(key, value, false)
    }

    /// Adds an entry in the place of one that is there.
    ///
    /// # Errors
    ///
    /// As [`Writer::put`].
    pub fn replace(&mut self, key: &[u8], value: &[u8]) -> Result<(), OpenError> {
        self.delete_alone(key);
        self.put(key, value)
    }

    /// Adds an entry as it is in the place of one that is there.
    ///
    /// # Errors
    ///
    /// As [`Writer::put`].
    pub fn replace_raw(&mut self, key: &[u8], value: &[u8]) -> Result<(), OpenError> {
        if let Some(index) = self.entries.find(key) {
            self.entries.remove(index);
        }
        self.put_raw(key, value)
    }

    fn store(&mut self, key: &[u8], value: &[u8], nul: bool) -> Result<(), OpenError> {
        let deed = (!self.watchers.is_empty()).then(|| debug::update(key, value));
        let is_new = self.store_alone(key, value, nul)?;
        if let Some(deed) = deed {
            debug::tell(&self.watchers, &deed, end(is_new));
        }
        Ok(())
    }

    /// Whether the entry is there now; else there was one with its key.
    fn store_alone(&mut self, key: &[u8], value: &[u8], nul: bool) -> Result<bool, OpenError> {
        let stored = self.form(key, nul);
        if self.kind.locking == Locking::Record && !lmdb::key_fits(&stored) {
            return Err(OpenError::new(format!("error updating {}: {}", self.reference, lmdb::BAD_SIZE)));
        }
        if let Some(index) = self.entries.find(&stored) {
            if self.flags.has(Flags::REPLACE_DUPLICATES) {
                self.entries.remove(index);
            } else if self.flags.has(Flags::IGNORE_DUPLICATES) {
                return Ok(false);
            } else {
                let shown = self.shown();
                let key = printable(key);
                if self.flags.has(Flags::WARN_DUPLICATES) {
                    log::warn!("{shown}: duplicate entry: \"{key}\"");
                    return Ok(false);
                }
                return Err(OpenError::new(format!("{shown}: duplicate entry: \"{key}\"")));
            }
        }
        let value = self.form(value, nul);
        if self.entries.add(&stored, &value) {
            Ok(true)
        } else {
            Err(OpenError::new(format!("error writing {}: Value too large", self.shown())))
        }
    }

    fn shown(&self) -> String {
        match self.kind.locking {
            Locking::Flock => self.kind.shown(&self.name),
            Locking::Record => self.reference.clone(),
            Locking::None => printable(&self.name),
        }
    }

    /// Deletes an entry, in whichever form its key is stored; whether there was one.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let was_there = self.delete_alone(key);
        if !self.watchers.is_empty() {
            debug::tell(&self.watchers, &debug::deletion(key), end(was_there));
        }
        was_there
    }

    fn delete_alone(&mut self, key: &[u8]) -> bool {
        let key = if self.flags.has(Flags::FOLD_FIX) {
            fold(key, self.flags.has(Flags::UTF8))
        } else {
            key.to_vec()
        };
        for nul in [true, false] {
            if let Some(index) = self.entries.find(&self.form(&key, nul)) {
                self.entries.remove(index);
                return true;
            }
        }
        false
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// The text of the fatal error.
    pub fn commit(self) -> Result<(), OpenError> {
        let written = self.write();
        // A lock lasts as long as any descriptor of the file, and the caller may have one.
        let _ = match self.kind.locking {
            Locking::Record => sys::flock::unlock_record(&self.file),
            _ => sys::flock::unlock(&self.file),
        };
        written
    }

    fn write(&self) -> Result<(), OpenError> {
        let failed = |why: String| OpenError::new(format!("error writing {}: {why}", self.shown()));
        if self.kind.locking == Locking::Record {
            return lmdb::write(&self.file, &self.entries, self.sizes.lmdb_map_size).map_err(failed);
        }
        let image = match self.kind.name {
            "hash" => hash::image(&self.entries),
            "btree" => btree::image(&self.entries),
            _ => cdb::image(&self.entries),
        };
        let written =
            image.and_then(|image| rewrite(&self.file, &image).map_err(|error| sys::error_text(&error)));
        written.map_err(failed)?;
        if self.kind.locking == Locking::None {
            std::fs::rename(&self.path, self.kind.path(&self.name)).map_err(|error| {
                OpenError::new(format!(
                    "rename database {}: {}",
                    self.path.display(),
                    sys::error_text(&error)
                ))
            })?;
        }
        Ok(())
    }
}

fn rewrite(file: &File, image: &[u8]) -> std::io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(image, 0)?;
    file.sync_data()
}

/// Opens and locks a file; again, when it was replaced before the lock came.
fn open_locked(path: &Path, kind: IndexType) -> std::io::Result<File> {
    loop {
        if kind.locking == Locking::Flock
            && std::fs::metadata(path).is_ok_and(|found| found.len() == 0 && found.is_file())
        {
            log::warn!("removing zero-length database file: {}", path.display());
            std::fs::remove_file(path)?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
        let locking = if kind.locking == Locking::None { Locking::Flock } else { kind.locking };
        indexed::lock(&file, locking, Mode::Exclusive)?;
        let (mine, there) = (file.metadata()?, std::fs::metadata(path));
        if there.is_ok_and(|there| there.ino() == mine.ino() && there.dev() == mine.dev()) {
            return Ok(file);
        }
    }
}
