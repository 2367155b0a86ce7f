//! Readiness of many descriptors, and timers, for the servers that are event loops by nature.
//!
//! Descriptors are watched level-triggered, as Postfix does: an event that is not used up comes again.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// A service's name for a descriptor it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A service's name for a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer(pub u64);

/// What to watch a descriptor for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Read,
    /// Room to write.
    Write,
    /// Either.
    Both,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Ready(Token),
    Timer(Timer),
}

/// Descriptors and timers of one process.
#[derive(Debug)]
pub struct EventLoop {
    epoll: Epoll,
    timers: BTreeSet<(Instant, Timer)>,
    due: HashMap<Timer, Instant>,
    finished: u32,
}

impl EventLoop {
    /// Most events taken in one turn.
    const TURN: usize = 64;

    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            timers: BTreeSet::new(),
            due: HashMap::new(),
            finished: 0,
        })
    }

    /// Watches a descriptor under this name. It must be given up with [`EventLoop::forget`] before it is closed.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn watch(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(interest.flags(), token.0))?)
    }

    /// Watches a descriptor that is watched already for something else.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn change(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), token.0);
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Watches a descriptor no more.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn forget(&mut self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Sets a timer, or sets it anew.
    pub fn set_timer(&mut self, timer: Timer, after: Duration) {
        self.cancel_timer(timer);
        if let Some(at) = Instant::now().checked_add(after) {
            self.timers.insert((at, timer));
            self.due.insert(timer, at);
        }
    }

    /// Cancels a timer; one that is not set is no error.
    pub fn cancel_timer(&mut self, timer: Timer) {
        if let Some(at) = self.due.remove(&timer) {
            self.timers.remove(&(at, timer));
        }
    }

    /// An event service says that it is done with one of its connections.
    pub fn finish_connection(&mut self) {
        self.finished = self.finished.saturating_add(1);
    }

    /// Connections finished since the last time this was asked.
    pub(crate) fn take_finished(&mut self) -> u32 {
        std::mem::take(&mut self.finished)
    }

    /// Waits up to `limit` and tells what happened, timers first.
    pub(crate) fn turn(&mut self, limit: Option<Duration>) -> io::Result<Vec<Happened>> {
        let now = Instant::now();
        let timer = self.timers.first().map(|(at, _)| at.saturating_duration_since(now));
        let limit = match (limit, timer) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let mut events = [EpollEvent::empty(); Self::TURN];
        let count = match self.epoll.wait(&mut events, timeout(limit)) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut happened = Vec::with_capacity(count);
        let now = Instant::now();
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            self.due.remove(&timer);
            happened.push(Happened::Timer(timer));
        }
        happened.extend(events.iter().take(count).map(|event| Happened::Ready(Token(event.data()))));
        Ok(happened)
    }
}

/// Milliseconds, rounded up; a span too long for one wait ends early, which harms nobody.
fn timeout(limit: Option<Duration>) -> EpollTimeout {
    let Some(limit) = limit else { return EpollTimeout::NONE };
    let millis = i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_and_timers() {
        let (reader, writer) = sys::fd::pipe().unwrap();
        let mut events = EventLoop::new().unwrap();
        events.watch(&reader, Token(7), Interest::Read).unwrap();
        events.set_timer(Timer(1), Duration::from_millis(20));
        events.set_timer(Timer(2), Duration::from_secs(100));
        events.set_timer(Timer(2), Duration::from_secs(200));
        assert_eq!(events.turn(None).unwrap(), [Happened::Timer(Timer(1))]);
        sys::fd::write(&writer, b"x").unwrap();
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(7))]);
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(7))]);
        events.forget(&reader).unwrap();
        events.cancel_timer(Timer(2));
        assert_eq!(events.turn(Some(Duration::from_millis(5))).unwrap(), []);
    }
}
