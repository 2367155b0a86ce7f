//! A connected client that a front end such as postscreen hands over: its descriptor, then an attribute list about it
//! (spec master 3.10).
//!
//! A process with one client at a time waits for both ([`Passing::wait`]); an event loop goes on meanwhile
//! ([`Handovers`]). A front end that takes too long is given up, with the client.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use events::{EventLoop, Interest, Token};
use ipc::attr::{Arriving, Decoder, Flags};

use crate::connection::{Connection, PassAttributes};

/// How long a front end may take to hand over a descriptor, and then its attributes.
const LIMIT: Duration = Duration::from_secs(100);
/// Most front ends that an event loop hears at a time, and the first of their tokens, far from all others.
pub(crate) const HANDOVERS: u64 = 0x8000;
pub(crate) const FIRST: u64 = u64::MAX - 0x1_0000 - HANDOVERS;

/// A client on its way.
#[derive(Debug)]
pub(crate) struct Passing {
    stream: OwnedFd,
    client: Option<OwnedFd>,
    /// Absent when the front end says nothing about its client.
    list: Option<Arriving>,
    /// Of the descriptor first, then of the list.
    deadline: Instant,
    /// The time limit of the client's connection.
    limit: Duration,
}

/// How far it has come.
enum Progress {
    /// More is to come.
    Pending,
    /// All is there.
    Arrived(Connection),
    /// It is lost, and the log says why.
    Lost,
}

impl Passing {
    pub(crate) fn new(stream: OwnedFd, limit: Duration) -> Self {
        // Where it fails, reads wait; they come after the stream is readable.
        let _ = sys::fd::set_nonblocking(&stream, true);
        Self {
            stream,
            client: None,
            list: Some(Arriving::default()),
            deadline: Instant::now() + LIMIT,
            limit,
        }
    }

    /// One whose front end says nothing about its client.
    pub(crate) fn without_attributes(stream: OwnedFd, limit: Duration) -> Self {
        Self { list: None, ..Self::new(stream, limit) }
    }

    /// Waits until the client is there.
    pub(crate) fn wait(mut self) -> Option<Connection> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match sys::poll::readable(&self.stream, Some(left)) {
                Ok(true) => {}
                Ok(false) => {
                    self.give_up(&io::ErrorKind::TimedOut.into());
                    return None;
                }
                Err(error) => {
                    self.give_up(&error);
                    return None;
                }
            }
            match self.advance() {
                Progress::Pending => {}
                Progress::Arrived(connection) => return Some(connection),
                Progress::Lost => return None,
            }
        }
    }

    /// Takes what is there, without waiting.
    fn advance(&mut self) -> Progress {
        if self.client.is_none() {
            match sys::pass::receive(&self.stream) {
                Ok(client) => self.client = Some(client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Pending,
                Err(error) => {
                    warn("cannot receive", &error);
                    return Progress::Lost;
                }
            }
            self.deadline = Instant::now() + LIMIT;
        }
        let stream = &self.stream;
        match self.list.as_mut().map(|list| list.take(|chunk| sys::fd::read(stream, chunk))) {
            Some(Ok(false)) => return Progress::Pending,
            Some(Err(error)) => {
                self.give_up(&error);
                return Progress::Lost;
            }
            Some(Ok(true)) | None => {}
        }
        let mut input = self.list.as_ref().map_or(&b"\0"[..], Arriving::bytes);
        match Decoder::null(&mut input, "pass socket", Flags::MISSING).pairs() {
            Ok(pairs) => match self.client.take() {
                Some(client) => Progress::Arrived(
                    Connection::new(client, None, Some(self.limit))
                        .with_attributes(PassAttributes::new(pairs)),
                ),
                None => Progress::Lost,
            },
            Err(error) => {
                error.warn();
                log::warn!("pass_accept_attr: cannot receive connection attributes: {}", error.os_text());
                Progress::Lost
            }
        }
    }

    fn give_up(&self, error: &io::Error) {
        if self.client.is_none() {
            warn("timeout receiving", error);
        } else {
            let error = sys::error_text(error);
            log::warn!("pass_accept_attr: cannot receive connection attributes: {error}");
        }
    }
}

impl AsFd for Passing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn warn(what: &str, error: &io::Error) {
    log::warn!("pass_accept_attr: {what} file descriptor: {}", sys::error_text(error));
}

/// The clients on their way to an event loop.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    passing: HashMap<Token, Passing>,
    made: u64,
}

impl Handovers {
    /// Whether none is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.passing.is_empty()
    }

    /// Waits for what a front end hands over.
    pub(crate) fn begin(&mut self, passing: Passing, events: &mut EventLoop) {
        let token = Token(FIRST + self.made % HANDOVERS);
        self.made += 1;
        if self.passing.contains_key(&token) {
            log::warn!("pass_accept_attr: too many connections are being handed over");
            return;
        }
        match events.watch(&passing, token, Interest::Read) {
            Ok(()) => drop(self.passing.insert(token, passing)),
            Err(error) => log::warn!("watch connection: {}", sys::error_text(&error)),
        }
    }

    /// Goes on with the one of this name, if it is one; the client, when it has arrived.
    pub(crate) fn ready(&mut self, token: Token, events: &mut EventLoop) -> Option<Connection> {
        let progress = self.passing.get_mut(&token)?.advance();
        if matches!(progress, Progress::Pending) {
            return None;
        }
        self.end(token, events);
        match progress {
            Progress::Arrived(connection) => Some(connection),
            Progress::Pending | Progress::Lost => None,
        }
    }

    /// Gives up those whose time is over; how long the others have, at most.
    pub(crate) fn expire(&mut self, events: &mut EventLoop) -> Option<Duration> {
        let now = Instant::now();
        let late = self.passing.iter().filter(|(_, passing)| passing.deadline <= now);
        for token in late.map(|(token, _)| *token).collect::<Vec<_>>() {
            if let Some(passing) = self.passing.get(&token) {
                passing.give_up(&io::ErrorKind::TimedOut.into());
            }
            self.end(token, events);
        }
        self.passing.values().map(|passing| passing.deadline.saturating_duration_since(now)).min()
    }

    fn end(&mut self, token: Token, events: &mut EventLoop) {
        if let Some(passing) = self.passing.remove(&token) {
            let _ = events.forget(&passing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn passed(list: &[u8]) -> Option<Connection> {
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        let (reader, _writer) = sys::fd::pipe().unwrap();
        sys::pass::send(&sender, &reader).unwrap();
        sender.write_all(list).unwrap();
        drop(sender);
        Passing::new(receiver.into(), LIMIT).wait()
    }

    #[test]
    fn descriptor_and_attributes() {
        let passed_on = passed(b"client_address\x00192.0.2.9\0client_port\x001234\0\0").unwrap();
        let found = passed_on.attributes();
        assert_eq!(found.get("client_address"), Some(&b"192.0.2.9"[..]));
        assert_eq!(found.get("client_port"), Some(&b"1234"[..]));
        assert_eq!(found.get("server_port"), None);
        assert!(passed(b"\0").unwrap().attributes().is_empty());
        assert!(passed(b"client_address\x00192").is_none());
        assert!(passed(&[b'x'; 32 * 1024]).is_none(), "no end in sight");
    }

    #[test]
    fn a_slow_front_end_keeps_no_loop_waiting() {
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        let (reader, _writer) = sys::fd::pipe().unwrap();
        let mut events = EventLoop::new().unwrap();
        let mut handovers = Handovers::default();
        handovers.begin(Passing::new(receiver.into(), LIMIT), &mut events);
        assert!(handovers.expire(&mut events).is_some());
        let mut hear = |handovers: &mut Handovers| {
            let happened = events.turn(Some(Duration::ZERO)).unwrap();
            happened.into_iter().find_map(|what| match what {
                events::Happened::Ready(token, _) => handovers.ready(token, &mut events),
                events::Happened::Timer(_) => None,
            })
        };
        assert!(hear(&mut handovers).is_none(), "nothing yet");
        sys::pass::send(&sender, &reader).unwrap();
        assert!(hear(&mut handovers).is_none(), "the descriptor alone");
        sender.write_all(b"client_address\x00192.0.2.9\0").unwrap();
        assert!(hear(&mut handovers).is_none(), "not the whole list");
        sender.write_all(b"\0").unwrap();
        let client = hear(&mut handovers).unwrap();
        assert_eq!(client.attributes().get("client_address"), Some(&b"192.0.2.9"[..]));
        assert!(handovers.is_empty());
    }

    #[test]
    fn a_front_end_that_goes_takes_its_client_along() {
        let (sender, receiver) = UnixStream::pair().unwrap();
        let mut events = EventLoop::new().unwrap();
        let mut handovers = Handovers::default();
        handovers.begin(Passing::new(receiver.into(), LIMIT), &mut events);
        drop(sender);
        assert!(handovers.ready(Token(FIRST), &mut events).is_none());
        assert!(handovers.passing.is_empty());
    }
}
