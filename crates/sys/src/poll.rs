//! Waiting for descriptors, with a time limit that interrupted calls do not stretch.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
pub use nix::poll::{PollFd, PollFlags};
use nix::poll::{PollTimeout, poll};

/// Waits until a read would not block (data, end of file, or an error to report); false at the time limit.
///
/// # Errors
/// What `poll` says.
pub fn readable(fd: impl AsFd, limit: Option<Duration>) -> io::Result<bool> {
    one(fd.as_fd(), PollFlags::POLLIN, limit)
}

/// Waits until a write would not block; false at the time limit.
///
/// # Errors
/// What `poll` says.
pub fn writable(fd: impl AsFd, limit: Option<Duration>) -> io::Result<bool> {
    one(fd.as_fd(), PollFlags::POLLOUT, limit)
}

fn one(fd: BorrowedFd<'_>, events: PollFlags, limit: Option<Duration>) -> io::Result<bool> {
    Ok(any(&mut [PollFd::new(fd, events)], limit)? > 0)
}

/// Waits for any of several; the number of descriptors with events, 0 at the time limit.
///
/// # Errors
/// What `poll` says, except for interruption by a signal: then it waits for the rest of the time.
pub fn any(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<usize> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut left = limit;
    loop {
        match poll(fds, timeout(left)) {
            Ok(count) => {
                let count = usize::try_from(count).unwrap_or(0);
                // A span too long for one call (24 days) ends early with nothing; then wait on.
                if count > 0 || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(count);
                }
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    }
}

/// Milliseconds for `poll`, rounded up so that a wait never ends before its time.
fn timeout(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else { return PollTimeout::NONE };
    let millis = left.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis)
        .map_or(PollTimeout::MAX, |millis| PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept() {
        let (reader, writer) = crate::fd::pipe().unwrap();
        let start = Instant::now();
        assert!(!readable(&reader, Some(Duration::from_millis(30))).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert!(writable(&writer, None).unwrap());
        drop(writer);
        assert!(readable(&reader, None).unwrap());
    }
}
