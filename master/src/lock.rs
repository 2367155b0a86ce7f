//! The two lock files that keep a second master away (spec master 2.3).
//!
//! `pid/master.pid` in the queue directory and `master.lock` in the data directory hold master's process id,
//! right-aligned in 32 columns. The lock, not the file, says that master runs; it lasts as long as the value.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use sys::error_text;
use sys::flock::{Mode, Wait, lock};

use crate::Fatal;
use crate::owner::Owner;

/// A locked file.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Locked {
    /// Ours.
    Yes(LockFile),
    /// Another process holds it.
    No,
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

impl LockFile {
    /// Opens the file, making it when needed, and locks it without waiting.
    ///
    /// # Errors
    /// `open lock file PATH: REASON`.
    pub(crate) fn open(path: &Path, owner: Owner) -> Result<Locked, Fatal> {
        let failed = |why: String| Fatal(format!("open lock file {}: {why}", path.display()));
        let file = owner
            .act(|| sys::file::open_or_create(path, &options(), 0o644))
            .map_err(|error| failed(error_text(&error)))?
            .map_err(|error| failed(error.to_string()))?;
        let taken = lock(&file, Mode::Exclusive, Wait::No)
            .map_err(|error| failed(format!("unable to set exclusive lock: {}", error_text(&error))))?;
        Ok(if taken { Locked::Yes(Self { file, path: path.to_owned() }) } else { Locked::No })
    }

    /// As [`open`](Self::open); held by another process is an error too.
    ///
    /// # Errors
    /// `open lock file PATH: REASON`.
    pub(crate) fn require(path: &Path, owner: Owner) -> Result<Self, Fatal> {
        match Self::open(path, owner)? {
            Locked::Yes(lock) => Ok(lock),
            Locked::No => Err(Fatal(format!(
                "open lock file {}: unable to set exclusive lock: Resource temporarily unavailable",
                path.display()
            ))),
        }
    }

    /// Writes this process's id over what is there.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write_pid(&mut self) -> Result<(), Fatal> {
        let text = format!("{:>32}\n", sys::process::pid().as_raw());
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| Fatal(format!("write {}: {}", self.path.display(), error_text(&error))))
    }
}

/// Whether another process holds the lock; a file that is not there is not locked, and is not made.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn is_held(path: &Path) -> Result<bool, Fatal> {
    if !path.exists() {
        return Ok(false);
    }
    Ok(matches!(LockFile::open(path, Owner::Ourselves)?, Locked::No))
}
