//! `flock(2)` locks: whole file, tied to the open file, shared with Postfix's own daemons (spec ipc 24).
//!
//! fcntl locks would not exclude a real Postfix process, so none are offered here.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::checked;

/// Kind of lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Many holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// What to do while somebody else holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Wait for as long as it takes.
    Forever,
    /// Give up at once.
    No,
}

/// Locks the open file; true when the lock was taken, false when [`Wait::No`] found it held.
///
/// The lock stays until [`unlock`], or until the last descriptor of this open file is closed.
///
/// # Errors
/// What `flock` says, apart from "would block"; an interrupted wait is resumed.
pub fn lock(fd: impl AsFd, mode: Mode, wait: Wait) -> io::Result<bool> {
    let mut operation = match mode {
        Mode::Shared => libc::LOCK_SH,
        Mode::Exclusive => libc::LOCK_EX,
    };
    if wait == Wait::No {
        operation |= libc::LOCK_NB;
    }
    loop {
        // SAFETY: the borrowed descriptor is open; flock takes an integer.
        match checked(unsafe { libc::flock(fd.as_fd().as_raw_fd(), operation) }) {
            Ok(_) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives the lock back.
///
/// # Errors
/// What `flock` says.
pub fn unlock(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: the borrowed descriptor is open; flock takes an integer.
    checked(unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_UN) }).map(|_| ())
}

/// A lock that is given back when the guard goes out of scope.
#[derive(Debug)]
pub struct Guard<T: AsFd> {
    file: T,
}

impl<T: AsFd> Guard<T> {
    /// Locks `file`; `None` when [`Wait::No`] found it held.
    ///
    /// # Errors
    /// What [`lock`] says.
    pub fn new(file: T, mode: Mode, wait: Wait) -> io::Result<Option<Self>> {
        Ok(if lock(&file, mode, wait)? { Some(Self { file }) } else { None })
    }

    /// The locked file.
    pub fn file(&self) -> &T {
        &self.file
    }
}

impl<T: AsFd> Drop for Guard<T> {
    fn drop(&mut self) {
        let _ = unlock(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn exclusive_excludes_and_shared_does_not() {
        let path = std::env::temp_dir().join(format!("sys-flock-{}", std::process::id()));
        let (one, two) = (File::create(&path).unwrap(), File::open(&path).unwrap());
        let held = Guard::new(&one, Mode::Exclusive, Wait::No).unwrap();
        assert!(held.is_some());
        assert!(!lock(&two, Mode::Shared, Wait::No).unwrap());
        drop(held);
        assert!(lock(&two, Mode::Shared, Wait::No).unwrap());
        assert!(lock(&one, Mode::Shared, Wait::No).unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
