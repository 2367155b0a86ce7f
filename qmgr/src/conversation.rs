//! Conversations with other daemons that nobody waits for: what is to be written goes out as there is room, a list that
//! comes is taken as it arrives.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use ipc::announce::Protocol;
use ipc::attr::Arriving;

/// A connection to the socket of a service.
#[derive(Debug)]
pub(crate) struct Conversation {
    stream: UnixStream,
    /// `private/NAME`
    pub(crate) path: String,
    arriving: Arriving,
    outgoing: Vec<u8>,
    written: usize,
}

impl Conversation {
    /// Connects without waiting: a service that nobody listens for, or whose backlog is full, is an error.
    pub(crate) fn open(path: String) -> io::Result<Self> {
        let stream = sys::socket::connect_unix_at_once(Path::new(&path))?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, path, arriving: Arriving::default(), outgoing: Vec::new(), written: 0 })
    }

    /// How the stream is called in warnings.
    pub(crate) fn name(&self) -> String {
        format!("{} socket", self.path)
    }

    /// The list that arrives, once it is there as a whole or the stream has ended; the next one begins then.
    pub(crate) fn list(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Self { stream, arriving, .. } = self;
        let is_whole = arriving.take(|chunk| {
            loop {
                match stream.read(chunk) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    result => return result,
                }
            }
        })?;
        Ok(is_whole.then(|| std::mem::take(arriving).bytes().to_vec()))
    }

    /// Whether a list announces this protocol; what is wrong with it is logged.
    pub(crate) fn is_announcement(&self, list: &[u8], protocol: Protocol) -> bool {
        match protocol.expect(&mut &*list, &self.name()) {
            Ok(()) => true,
            Err(error) => {
                error.warn();
                false
            }
        }
    }

    /// Begins to write; as [`write`](Self::write).
    pub(crate) fn send(&mut self, bytes: Vec<u8>) -> io::Result<bool> {
        self.outgoing = bytes;
        self.written = 0;
        self.write()
    }

    /// Writes what there is room for; whether that was all.
    pub(crate) fn write(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.outgoing.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.outgoing = Vec::new();
        Ok(true)
    }
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
