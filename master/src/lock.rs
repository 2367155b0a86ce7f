//! The two lock files that keep a second master away (spec master 2.3).
//!
//! `pid/master.pid` in the queue directory and `master.lock` in the data directory hold master's process id,
//! right-aligned in 32 columns. The lock, not the file, says that master runs; it lasts as long as the value.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use sys::flock::{Mode, Wait, lock};
use sys::{Pid, error_text};

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

/// The process that holds the lock, whatever its file says, as far as the system tells (`/proc/locks` of Linux): of the processes
/// that this one can see, and where the file has the same device there as for `stat`.
///
/// # Errors
/// What `fstat` says.
pub fn holder(file: &File) -> io::Result<Option<Pid>> {
    let data = file.metadata()?;
    let (device, inode) = (data.dev(), data.ino());
    let place = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    Ok(locks.lines().find_map(|line| holder_of(line, &place)))
}

/// `NUMBER: FLOCK ADVISORY WRITE PID PLACE START END`; one that waits for the lock has `->` behind the number.
fn holder_of(line: &str, place: &str) -> Option<Pid> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let is_held = words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE");
    let pid = words.next()?.parse().ok()?;
    (is_held && pid > 0 && words.next() == Some(place)).then(|| Pid::from_raw(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock() {
        let path = std::env::temp_dir().join(format!("master-lock-holder-{}", std::process::id()));
        let (one, two) = (File::create(&path).unwrap(), File::open(&path).unwrap());
        assert_eq!(holder(&two).unwrap(), None);
        assert!(lock(&one, Mode::Shared, Wait::No).unwrap());
        assert_eq!(holder(&two).unwrap(), None);
        assert!(lock(&one, Mode::Exclusive, Wait::No).unwrap());
        assert_eq!(holder(&two).unwrap(), Some(sys::process::pid()));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn lines_of_proc_locks() {
        for (line, want) in [
            ("1: FLOCK  ADVISORY  WRITE 19814 fe:00:77 0 EOF", Some(19814)),
            ("1: FLOCK  ADVISORY  READ 19814 fe:00:77 0 EOF", None),
            ("1: POSIX  ADVISORY  WRITE 19814 fe:00:77 0 EOF", None),
            ("1: -> FLOCK  ADVISORY  WRITE 19814 fe:00:77 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE 19814 fe:00:7 0 EOF", None),
            // Of another name space.
            ("1: FLOCK  ADVISORY  WRITE 0 fe:00:77 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE -1 fe:00:77 0 EOF", None),
            ("1: FLOCK  ADVISORY", None),
            ("", None),
        ] {
            assert_eq!(holder_of(line, "fe:00:77").map(Pid::as_raw), want, "{line}");
        }
    }
}
