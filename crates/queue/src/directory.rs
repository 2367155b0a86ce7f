//! The queue directory: where a file is, how it moves, and how missing sub-directories come about.
//!
//! Daemons have `queue_directory` as their current directory, so their root is empty and every path, in the system
//! calls and in the log, is relative. Commands and tests may give a root; paths in the log stay relative then too.

use std::borrow::Cow;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::id::QueueId;
use crate::name::{Hashing, QueueName};
use sys::error_text as text;

/// Mode of hashed sub-directories.
const SUBDIRECTORY_MODE: u32 = 0o700;

/// A Postfix queue directory with its settings.
#[derive(Debug, Clone, Default)]
pub struct QueueDirectory {
    root: PathBuf,
    hashing: Hashing,
    long_queue_ids: bool,
}

impl QueueDirectory {
    /// The queue directory that is the current directory. `enable_long_queue_ids` matters only for new files.
    pub fn new(hashing: Hashing, enable_long_queue_ids: bool) -> Self {
        Self { root: PathBuf::new(), hashing, long_queue_ids: enable_long_queue_ids }
    }

    /// The queue directory of an instance, as seen by a process that has changed to it.
    pub fn configured(globals: &config::Globals) -> Self {
        let depth = usize::try_from(globals.hash_queue_depth).unwrap_or(1);
        Self::new(Hashing::new(&globals.hash_queue_names, depth), globals.enable_long_queue_ids)
    }

    /// The same queue settings below another root.
    #[must_use]
    pub fn at(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// The hashing settings.
    pub fn hashing(&self) -> &Hashing {
        &self.hashing
    }

    /// Whether new files get long IDs.
    pub fn long_queue_ids(&self) -> bool {
        self.long_queue_ids
    }

    /// The path of a file as it appears in the log: relative to the queue directory.
    pub fn relative_path(&self, queue: QueueName, id: &QueueId) -> PathBuf {
        self.hashing.path(queue, id)
    }

    /// The path of a file, to open it.
    pub fn path(&self, queue: QueueName, id: &QueueId) -> PathBuf {
        self.hashing.path_below(&self.root, queue, id)
    }

    /// A relative path below the root.
    pub fn resolve<'a>(&self, relative: &'a Path) -> Cow<'a, Path> {
        if self.root.as_os_str().is_empty() {
            Cow::Borrowed(relative)
        } else {
            Cow::Owned(self.root.join(relative))
        }
    }

    /// The queue directory's path; empty where it is the current directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Moves a message file to another queue, making sub-directories as needed.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn move_file(&self, id: &QueueId, from: QueueName, to: QueueName) -> io::Result<()> {
        self.rename(&self.relative_path(from, id), &self.relative_path(to, id))
    }

    /// Renames by relative paths. Missing sub-directories of the new path are made, then the rename is tried once
    /// more.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.sane_rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.make_parents(to)? => {
                self.sane_rename(from, to)
            }
            result => result,
        }
    }

    /// Makes the missing hashed sub-directories above a relative path; whether there were any. The queue's own
    /// directory is never made: when it is missing the queue is not set up.
    ///
    /// # Errors
    /// A sub-directory cannot be made.
    pub fn make_parents(&self, relative: &Path) -> io::Result<bool> {
        let Some(parent) = relative.parent() else { return Ok(false) };
        let mut made = false;
        let mut path = PathBuf::new();
        for (depth, component) in parent.components().enumerate() {
            path.push(component);
            if depth == 0 {
                continue;
            }
            match DirBuilder::new().mode(SUBDIRECTORY_MODE).create(self.resolve(&path)) {
                Ok(()) => made = true,
                // Somebody else was faster: a reason to try again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => made = true,
                Err(error) => {
                    log::warn!("mkdir {}: {}", path.display(), text(&error));
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// Over NFS a rename can be done and still be reported as failed, when the reply was lost.
    fn sane_rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old, new) = (self.resolve(from), self.resolve(to));
        let result = fs::rename(&old, &new);
        let gone =
            |path: &Path| matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
        if result.is_err() && gone(&old) && fs::metadata(&new).is_ok() {
            log::info!("sane_rename({},{}): worked around spurious NFS error", from.display(), to.display());
            return Ok(());
        }
        result
    }
}
