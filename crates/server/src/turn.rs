//! Idle processes that take turns, by the accept lock: for what is not taken by `accept`, where one call cannot be meant
//! for one process.

use std::os::fd::{AsFd, OwnedFd};

use sys::poll::{PollFd, PollFlags};

use crate::leave::Reason;
use crate::lifetime::Age;
use crate::startup::Link;
use crate::watchdog::Watchdog;

/// The accept lock, given back when this goes out of scope.
pub(crate) struct Turn<'a>(&'a Link);

impl<'a> Turn<'a> {
    /// Waits for this process's turn.
    pub(crate) fn take(link: &'a Link, watchdog: &Watchdog) -> Self {
        if let Some(lock) = &link.lock {
            watchdog.rest(|| lock.lock());
        }
        Self(link)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(lock) = &self.0.lock {
            lock.unlock();
        }
    }
}

/// Waits for a listen socket, the end of master, or the end of this process's time.
pub(crate) fn wait<'a>(link: &'a Link, age: &Age) -> Result<Option<&'a OwnedFd>, Reason> {
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(link.listeners.len() + 2);
    fds.push(PollFd::new(link.status.fd().as_fd(), PollFlags::POLLIN));
    fds.extend(link.lifeline.iter().map(|(keeper, _)| PollFd::new(keeper.as_fd(), PollFlags::POLLIN)));
    fds.extend(link.listeners.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    if let Err(error) = sys::poll::any(&mut fds, age.wait()) {
        maillog::fatal(format_args!("poll: {}", sys::error_text(&error)));
    }
    if let Some(over) = age.over() {
        return Err(Reason::Over(over));
    }
    let has_event = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
    let ties = fds.len() - link.listeners.len();
    if fds.iter().take(ties).any(has_event) {
        return Err(Reason::MasterGone);
    }
    let ready = fds.iter().skip(ties).position(has_event);
    Ok(ready.and_then(|index| link.listeners.get(index)))
}
