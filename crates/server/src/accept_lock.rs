//! The accept lock, by which idle processes take turns: for what is not taken by `accept`, where one event cannot be meant
//! for one process.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use sys::flock;
use sys::poll::{PollFd, PollFlags};

use crate::leave::Reason;
use crate::lifetime::Age;
use crate::start::{Fatal, Transport};
use crate::startup::Link;
use crate::watchdog::Watchdog;

/// `pid/TYPE.NAME`, held by the one idle process of a service that waits for a connection (spec master 3.4).
#[derive(Debug)]
pub(crate) struct AcceptLock {
    file: File,
}

impl AcceptLock {
    /// Opens or creates the lock file, relative to the directory inherited from master.
    pub(crate) fn open(transport: Transport, service_name: &str) -> Result<Self, Fatal> {
        let path = PathBuf::from(format!("pid/{}.{service_name}", transport.name()));
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = sys::file::open_or_create(&path, &options, 0o600)
            .map_err(|error| Fatal::new(format!("open lock file {}: {error}", path.display())))?;
        Ok(Self { file })
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) {
        if let Err(error) = flock::lock(&self.file, flock::Mode::Exclusive, flock::Wait::Forever) {
            maillog::fatal(format_args!("select lock: {}", sys::error_text(&error)));
        }
    }

    /// Gives it back.
    pub(crate) fn unlock(&self) {
        if let Err(error) = flock::unlock(&self.file) {
            maillog::fatal(format_args!("select unlock: {}", sys::error_text(&error)));
        }
    }
}

/// The accept lock, held; given back when this goes out of scope.
pub(crate) struct AcceptGuard<'a>(&'a Link);

impl<'a> AcceptGuard<'a> {
    /// Waits for this process's turn.
    pub(crate) fn take(link: &'a Link, watchdog: &Watchdog) -> Self {
        if let Some(lock) = &link.lock {
            watchdog.rest(|| lock.lock());
        }
        Self(link)
    }
}

impl Drop for AcceptGuard<'_> {
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
    fds.extend(link.lifeline.iter().map(|(parent, _)| PollFd::new(parent.as_fd(), PollFlags::POLLIN)));
    fds.extend(link.listeners.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    if let Err(error) = sys::poll::any(&mut fds, age.wait()) {
        maillog::fatal(format_args!("poll: {}", sys::error_text(&error)));
    }
    if let Some(over) = age.over() {
        return Err(Reason::Over(over));
    }
    let has_event = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
    let others = fds.len() - link.listeners.len();
    if fds.iter().take(others).any(has_event) {
        return Err(Reason::MasterGone);
    }
    let ready = fds.iter().skip(others).position(has_event);
    Ok(ready.and_then(|index| link.listeners.get(index)))
}
