//! A connection of a program that waits for nobody: one with an event loop and many peers, as the queue manager, which
//! talks to hundreds of delivery agents at a time (spec ipc 18). [`crate::client::Stream`] is the one for who may wait.
//!
//! Nothing here blocks, and nothing here is a clock. Lists that are to be sent are put into the channel and leave it by
//! [`Channel::advance`], as far as the peer takes them; lists that arrive are taken from it whole. The program watches
//! the descriptor for room to write as long as [`Channel::wants_write`], and has a timer for each answer that it
//! expects: a peer that never reads, or never answers, shows nowhere else.
//!
//! | what | where it shows |
//! | --- | --- |
//! | nobody listens | [`Channel::connect`]: `ConnectionRefused`, `NotFound` |
//! | too many wait to be accepted | [`Channel::connect`]: `WouldBlock`; nothing tells when there is room, so try later |
//! | the peer closed | [`Channel::receive`]: [`Received::End`], or the start of a list, which a decoder finds too short |
//! | it closed unread what was sent | an error: `BrokenPipe`, `ConnectionReset` |
//! | it does not read | [`Channel::wants_write`] stays true |
//! | it sends without end | a list of [`LIST_LIMIT`] bytes, which no decoder takes, then [`Received::End`] |
//!
//! ```
//! use ipc::attr::{Decoder, Encoder, Flags};
//! use ipc::channel::{Channel, Received};
//! use std::os::unix::net::UnixStream;
//!
//! let (ours, mut theirs) = UnixStream::pair()?;
//! let mut channel = Channel::new(ours, "private/agent")?;
//! assert_eq!(channel.receive()?, Received::Nothing);
//! Encoder::null().int("status", 0).send(&mut theirs)?;
//! let Received::List(list) = channel.receive()? else { panic!("it is there") };
//! let mut input = list.as_slice();
//! let mut list = Decoder::null(&mut input, channel.name(), Flags::STRICT);
//! assert_eq!((list.int("status")?, list.end()?), (0, ()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::attr::{Arriving, Encoder};

pub use crate::attr::LIST_LIMIT;

/// What has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// No whole list yet.
    Nothing,
    /// A list in the null encoding, with its end, unless the peer has closed or it is too long.
    List(Vec<u8>),
    /// The peer will send no more.
    End,
}

/// A connection that does not block.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    name: String,
    /// What is to be sent, of which so many bytes have been.
    outgoing: Vec<u8>,
    sent: usize,
    arriving: Arriving,
    ended: bool,
}

impl Channel {
    /// Connects to `path`, such as `private/smtp`. The connection stands at once, accepted or not: what is put in waits
    /// in the system until the peer is there.
    ///
    /// # Errors
    /// What `connect` says; see above.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(Self::of_nonblocking(UnixStream::from(socket), &path.to_string_lossy()))
    }

    /// Takes a connected socket; `path` names it in warnings.
    ///
    /// # Errors
    /// The socket cannot be made one that does not block.
    pub fn new(socket: UnixStream, path: &str) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::of_nonblocking(socket, path))
    }

    fn of_nonblocking(socket: UnixStream, path: &str) -> Self {
        let name = [path, " socket"].concat();
        let (outgoing, arriving) = (Vec::new(), Arriving::default());
        Self { socket, name, outgoing, sent: 0, arriving, ended: false }
    }

    /// The name in warnings: the path, a space, and the word socket.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a list behind what is to be sent. It stays there until [`Channel::advance`].
    pub fn put(&mut self, list: Encoder) {
        self.outgoing.extend_from_slice(&list.finish());
    }

    /// Whether something is left to be sent: then the descriptor is to be watched for room to write.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Sends what the peer takes, which may be nothing.
    ///
    /// # Errors
    /// What `write` says, but for `WouldBlock`: the connection is of no more use for sending.
    pub fn advance(&mut self) -> io::Result<()> {
        while self.wants_write() {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // A channel at rest holds no memory for what it once sent: there are many of them.
        self.outgoing = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Takes the next list. Several may have come with one event: call it until there is [`Received::Nothing`].
    ///
    /// # Errors
    /// What `read` says, but for `WouldBlock`.
    pub fn receive(&mut self) -> io::Result<Received> {
        let (mut socket, mut ended) = (&self.socket, self.ended);
        let whole = self.arriving.take(|room| {
            if ended {
                return Ok(0);
            }
            loop {
                match socket.read(room) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(0) => {
                        ended = true;
                        return Ok(0);
                    }
                    other => return other,
                }
            }
        })?;
        self.ended = ended;
        if !whole {
            return Ok(Received::Nothing);
        }
        if let Some(list) = self.arriving.whole() {
            return Ok(Received::List(list));
        }
        // The peer has closed, or it sends without end.
        self.ended = true;
        let rest = self.arriving.rest();
        Ok(if rest.is_empty() { Received::End } else { Received::List(rest) })
    }

    /// Takes the next list if all of it came with what was taken before; nothing is read for it.
    pub fn arrived(&mut self) -> Option<Vec<u8>> {
        self.arriving.whole()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
