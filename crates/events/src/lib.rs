//! Readiness of many descriptors, and timers: the one event loop of the programs that are one by nature.
//!
//! It stands on mio, whose events come once; here what is not used up comes again, as in Postfix's own loops: a service
//! may take one connection, or one request, and return. For that each event is asked for anew when it is told, which
//! costs a system call; who takes all there is each time spares it ([`EventLoop::watch_arrivals`]).
//!
//! ```
//! use std::time::Duration;
//! use events::{EventLoop, Happened, Interest, Timer, Token};
//!
//! let (reader, writer) = std::io::pipe()?;
//! let mut events = EventLoop::new()?;
//! events.watch(&reader, Token(1), Interest::Read)?;
//! events.set_timer(Timer(1), Duration::from_millis(1));
//! assert_eq!(events.turn(None)?, [Happened::Timer(Timer(1))]);
//! drop(writer);
//! assert!(matches!(events.turn(None)?[..], [Happened::Ready(Token(1), readiness)] if readiness.read));
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;

/// A program's name for a descriptor it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A program's name for a timer.
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
    fn of_mio(self) -> mio::Interest {
        match self {
            Self::Read => mio::Interest::READABLE,
            Self::Write => mio::Interest::WRITABLE,
            Self::Both => mio::Interest::READABLE | mio::Interest::WRITABLE,
        }
    }
}

/// What a descriptor is ready for. After an error it is ready for both: the next read or write tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Something to read, or the end.
    pub read: bool,
    /// Room to write, or nobody to write to.
    pub write: bool,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// A descriptor is ready.
    Ready(Token, Readiness),
    /// A timer has run out.
    Timer(Timer),
}

/// A descriptor that is watched.
#[derive(Debug, Clone, Copy)]
struct Watched {
    token: Token,
    interest: Interest,
    /// What is not used up comes again.
    comes_again: bool,
}

/// Descriptors and timers of one process.
#[derive(Debug)]
pub struct EventLoop {
    poll: mio::Poll,
    ready: mio::Events,
    /// By the number of the descriptor, which is its name to mio.
    watched: Vec<Option<Watched>>,
    timers: BTreeSet<(Instant, Timer)>,
    due: HashMap<Timer, Instant>,
}

impl EventLoop {
    /// Most descriptors that are told of in one turn.
    const TURN: usize = 64;

    /// One that watches nothing.
    ///
    /// # Errors
    /// The system gives no event queue.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: mio::Poll::new()?,
            ready: mio::Events::with_capacity(Self::TURN),
            watched: Vec::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
        })
    }

    /// Watches a descriptor under this name. It must be given up with [`EventLoop::forget`] before it is closed, unless
    /// no copy of it stays open.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn watch(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.begin(fd, Watched { token, interest, comes_again: true })
    }

    /// As [`EventLoop::watch`], for who takes all there is each time, until a read or write would block: he is told of what
    /// arrives, and not again of what he has left.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn watch_arrivals(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.begin(fd, Watched { token, interest, comes_again: false })
    }

    fn begin(&mut self, fd: impl AsFd, watched: Watched) -> io::Result<()> {
        let number = fd.as_fd().as_raw_fd();
        let index = index(number)?;
        let interest = watched.interest.of_mio();
        self.poll.registry().register(&mut SourceFd(&number), mio::Token(index), interest)?;
        if self.watched.len() <= index {
            self.watched.resize(index + 1, None);
        }
        self.watched[index] = Some(watched);
        Ok(())
    }

    /// Watches a descriptor that is watched already for something else.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn change(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let number = fd.as_fd().as_raw_fd();
        let index = index(number)?;
        let place = self.watched.get_mut(index);
        let known = place.as_ref().and_then(|place| **place);
        if known.is_none_or(|known| known.interest != interest) {
            let registry = self.poll.registry();
            registry.reregister(&mut SourceFd(&number), mio::Token(index), interest.of_mio())?;
        }
        if let Some(place) = place {
            let comes_again = known.is_none_or(|known| known.comes_again);
            *place = Some(Watched { token, interest, comes_again });
        }
        Ok(())
    }

    /// Watches a descriptor no more.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn forget(&mut self, fd: impl AsFd) -> io::Result<()> {
        self.forget_closing(&fd);
        self.poll.registry().deregister(&mut SourceFd(&fd.as_fd().as_raw_fd()))
    }

    /// Watches a descriptor no more that is closed behind this, and of which there is no copy, in no process: the system
    /// forgets it by itself.
    pub fn forget_closing(&mut self, fd: impl AsFd) {
        let index = usize::try_from(fd.as_fd().as_raw_fd()).ok();
        if let Some(known) = index.and_then(|index| self.watched.get_mut(index)) {
            *known = None;
        }
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

    /// Waits up to `limit` and tells what happened, timers first. A signal may end the wait with nothing.
    ///
    /// # Errors
    /// What `epoll_wait` says.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<Vec<Happened>> {
        let now = Instant::now();
        let timer = self.timers.first().map(|(at, _)| at.saturating_duration_since(now));
        let limit = match (limit, timer) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.ready.clear();
        match self.poll.poll(&mut self.ready, limit) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut happened = Vec::new();
        let now = Instant::now();
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            self.due.remove(&timer);
            happened.push(Happened::Timer(timer));
        }
        for event in &self.ready {
            let index = event.token().0;
            let Some(watched) = self.watched.get(index).copied().flatten() else { continue };
            let failed = event.is_error();
            let readiness = Readiness {
                read: event.is_readable() || event.is_read_closed() || failed,
                write: event.is_writable() || event.is_write_closed() || failed,
            };
            happened.push(Happened::Ready(watched.token, readiness));
            if !watched.comes_again {
                continue;
            }
            // So that it comes again if it is not used up. One that was closed in between will not come again.
            if let Ok(number) = RawFd::try_from(index) {
                let registry = self.poll.registry();
                let interest = watched.interest.of_mio();
                let _ = registry.reregister(&mut SourceFd(&number), event.token(), interest);
            }
        }
        Ok(happened)
    }
}

/// Where a descriptor stands in the table.
fn index(number: RawFd) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const READ: Readiness = Readiness { read: true, write: false };
    const WRITE: Readiness = Readiness { read: false, write: true };

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
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(7), READ)]);
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(7), READ)]);
        events.forget(&reader).unwrap();
        events.cancel_timer(Timer(2));
        assert_eq!(events.turn(Some(Duration::from_millis(5))).unwrap(), []);
    }

    #[test]
    fn what_is_used_up_does_not_come_again() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let mut events = EventLoop::new().unwrap();
        events.watch(&one, Token(1), Interest::Both).unwrap();
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(1), WRITE)]);
        events.change(&one, Token(2), Interest::Read).unwrap();
        assert_eq!(events.turn(Some(Duration::ZERO)).unwrap(), []);
        other.write_all(b"x").unwrap();
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(2), READ)]);
        one.read_exact(&mut [0]).unwrap();
        assert_eq!(events.turn(Some(Duration::ZERO)).unwrap(), []);
        drop(other);
        let end = events.turn(None).unwrap();
        assert!(matches!(end[..], [Happened::Ready(Token(2), Readiness { read: true, .. })]), "{end:?}");
    }

    #[test]
    fn arrivals_are_told_of_once() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let mut events = EventLoop::new().unwrap();
        events.watch_arrivals(&one, Token(1), Interest::Read).unwrap();
        other.write_all(b"x").unwrap();
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(1), READ)]);
        assert_eq!(events.turn(Some(Duration::ZERO)).unwrap(), []);
        other.write_all(b"x").unwrap();
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(1), READ)]);
        events.change(&one, Token(2), Interest::Both).unwrap();
        let both = Readiness { read: true, write: true };
        assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(2), both)]);
        assert_eq!(events.turn(Some(Duration::ZERO)).unwrap(), []);
        drop(other);
        let end = events.turn(None).unwrap();
        assert!(matches!(end[..], [Happened::Ready(Token(2), Readiness { read: true, .. })]), "{end:?}");
    }

    #[test]
    fn a_number_is_used_again() {
        let mut events = EventLoop::new().unwrap();
        for round in 0..3 {
            let (reader, writer) = sys::fd::pipe().unwrap();
            events.watch(&reader, Token(round), Interest::Read).unwrap();
            sys::fd::write(&writer, b"x").unwrap();
            assert_eq!(events.turn(None).unwrap(), [Happened::Ready(Token(round), READ)]);
            // Closed without a word: the queue forgets it by itself.
        }
        assert_eq!(events.turn(Some(Duration::ZERO)).unwrap(), []);
    }
}
