//! `flock(2)` locks: whole file, tied to the open file, shared with Postfix's own daemons (spec ipc 24).
//!
//! fcntl locks would not exclude a real Postfix process, with two exceptions: LMDB files, and mailboxes. For these
//! there are [`lock_record`], [`try_lock_record`] and [`unlock_record`].

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

/// Takes an fcntl(2) lock on the whole file, as Postfix does on LMDB files; waits for as long as it takes.
///
/// The lock belongs to the open file where the system can do that (`F_OFD_SETLKW`), else to the process.
///
/// # Errors
/// What `fcntl` says; an interrupted wait is resumed.
pub fn lock_record(fd: impl AsFd, mode: Mode) -> io::Result<()> {
    record(&fd, kind(mode), Wait::Forever)
}

/// As [`lock_record`], without waiting; true when the lock was taken.
///
/// # Errors
/// What `fcntl` says, apart from "would block".
pub fn try_lock_record(fd: impl AsFd, mode: Mode) -> io::Result<bool> {
    match record(&fd, kind(mode), Wait::No) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn kind(mode: Mode) -> libc::c_int {
    if mode == Mode::Shared { libc::F_RDLCK } else { libc::F_WRLCK }
}

/// Gives the lock of [`lock_record`] back.
///
/// # Errors
/// What `fcntl` says.
pub fn unlock_record(fd: impl AsFd) -> io::Result<()> {
    record(&fd, libc::F_UNLCK, Wait::No)
}

/// The constants are small.
fn short(constant: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(constant).unwrap_or(0)
}

fn record(fd: &impl AsFd, kind: libc::c_int, wait: Wait) -> io::Result<()> {
    // SAFETY: an all-zero flock is a valid one: from the start of the file, to its end.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = short(kind);
    lock.l_whence = short(libc::SEEK_SET);
    #[cfg(target_os = "linux")]
    let mut command = if wait == Wait::No { libc::F_OFD_SETLK } else { libc::F_OFD_SETLKW };
    let of_process = if wait == Wait::No { libc::F_SETLK } else { libc::F_SETLKW };
    #[cfg(not(target_os = "linux"))]
    let mut command = of_process;
    loop {
        // SAFETY: the borrowed descriptor is open; the lock outlives the call, which only reads it.
        match checked(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command, &raw const lock) }) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Kernels before 3.15.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && command != of_process => {
                command = of_process;
            }
            Err(error) => return Err(error),
        }
    }
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
