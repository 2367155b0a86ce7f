//! Descriptors: flags, duplicates, and those inherited from the parent process.
//!
//! Everything Postern opens itself is close-on-exec from birth; these functions are for descriptors that
//! come from elsewhere. [`inherited`] is the one door by which a bare number becomes an owned descriptor,
//! and it opens once per number, so that two owners can never close the same one.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use crate::checked;

/// Numbers that [`inherited`] has given out in this process.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes ownership of a descriptor that the parent process left open at number `n`.
///
/// # Errors
/// `EBADF` when the number is not open; `EBUSY` when it was taken before.
pub fn inherited(n: RawFd) -> io::Result<OwnedFd> {
    if !is_open(n) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    if !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(n) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: the number is open, and the set above hands each number out once, so that nobody else made
    // an owner of it by this door.
    Ok(unsafe { OwnedFd::from_raw_fd(n) })
}

/// Whether number `n` is an open descriptor.
#[must_use]
pub fn is_open(n: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag of a number; on a closed number it fails with EBADF.
    unsafe { libc::fcntl(n, libc::F_GETFD) != -1 }
}

/// Opens `/dev/null` on each of 0, 1 and 2 that is closed, as every Postfix command does first.
///
/// # Errors
/// What `open` says about `/dev/null`.
pub fn open_standard_descriptors() -> io::Result<()> {
    for n in 0..3 {
        if !is_open(n) {
            // The lowest free number is n, as the lower ones are open. Without close-on-exec, as befits 0-2.
            // SAFETY: the path is a NUL-terminated constant; the number is kept open for good on purpose.
            checked(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })?;
        }
    }
    Ok(())
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// What `fcntl` says.
pub fn set_cloexec(fd: impl AsFd, on: bool) -> io::Result<()> {
    let value = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: the borrowed descriptor is open; F_SETFD takes an integer.
    checked(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, value) }).map(|_| ())
}

/// Sets close-on-exec on a number that nobody owns; a closed number is no error.
pub(crate) fn set_cloexec_number(n: RawFd) {
    // SAFETY: F_SETFD changes a flag of a number; on a closed number it fails with EBADF, which is ignored.
    let _ = unsafe { libc::fcntl(n, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// Sets or clears non-blocking mode.
///
/// # Errors
/// What `ioctl` says.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let mut on = libc::c_int::from(on);
    // SAFETY: the borrowed descriptor is open; FIONBIO reads one int at the address given, which is a live local.
    checked(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONBIO, &raw mut on) })?;
    Ok(())
}

/// Whether the descriptor is in non-blocking mode.
///
/// # Errors
/// What `fcntl` says.
#[cfg(test)]
pub(crate) fn is_nonblocking(fd: impl AsFd) -> io::Result<bool> {
    // SAFETY: the borrowed descriptor is open; F_GETFL reads its flags.
    let flags = checked(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// A close-on-exec duplicate with a number of at least `least`.
///
/// # Errors
/// What `fcntl` says.
pub(crate) fn dup_at_least(fd: impl AsFd, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrowed descriptor is open; F_DUPFD_CLOEXEC takes an integer.
    let new = checked(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) })?;
    // SAFETY: the kernel just made this number for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Makes `fd` a standard descriptor: 0, 1 or 2, without close-on-exec.
///
/// # Errors
/// What `dup2` says; `EINVAL` for another number.
pub fn dup_to_standard(fd: impl AsFd, n: RawFd) -> io::Result<()> {
    if !(0..=2).contains(&n) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: 0, 1 and 2 have no owner in a Rust program; the standard streams use them by number.
    checked(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), n) }).map(|_| ())
}

/// Bytes that can be read at once (`FIONREAD`).
///
/// # Errors
/// What `ioctl` says.
pub fn readable_bytes(fd: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD stores one int at the address given, which is a live local.
    checked(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Whether the descriptor is a terminal.
#[must_use]
pub fn is_terminal(n: RawFd) -> bool {
    // SAFETY: isatty only asks about a number; on a closed one it answers 0.
    unsafe { libc::isatty(n) == 1 }
}

/// Reads once into `buffer`.
///
/// # Errors
/// What `read` says, `EINTR` included.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is writable for the length given.
    let got = unsafe { libc::read(fd.as_fd().as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Writes once from `bytes`.
///
/// # Errors
/// What `write` says, `EINTR` included.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the bytes are readable for the length given.
    let put = unsafe { libc::write(fd.as_fd().as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(put).map_err(|_| io::Error::last_os_error())
}

/// A close-on-exec pipe: read end, write end.
///
/// # Errors
/// What `pipe2` says.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_duplicates() {
        let (reader, writer) = pipe().unwrap();
        assert!(!is_nonblocking(&reader).unwrap());
        set_nonblocking(&reader, true).unwrap();
        assert!(is_nonblocking(&reader).unwrap());
        let high = dup_at_least(&reader, 128).unwrap();
        assert!(high.as_raw_fd() >= 128);
        assert_eq!(write(&writer, b"abc").unwrap(), 3);
        assert_eq!(readable_bytes(&high).unwrap(), 3);
        let mut buffer = [0; 8];
        assert_eq!(read(&high, &mut buffer).unwrap(), 3);
        assert_eq!(read(&high, &mut buffer).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    }

    #[test]
    fn an_inherited_number_is_given_out_once() {
        use std::os::fd::IntoRawFd;
        let number = dup_at_least(pipe().unwrap().0, 300).unwrap().into_raw_fd();
        assert!(inherited(number).is_ok());
        let number = dup_at_least(pipe().unwrap().0, number).unwrap().into_raw_fd();
        assert_eq!(inherited(number).unwrap_err().raw_os_error(), Some(libc::EBUSY));
        assert_eq!(inherited(9999).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
