//! One client's connection, with a limit on each read and write.
//!
//! A socket, or standard input and output under `-S`. Reads are buffered, so that attribute lists and what
//! follows them come from one place; writes are not, as all writers hand over whole lists or replies. The
//! time limit of reads costs one system call when it is first needed and again when it was changed, none otherwise; that of
//! writes none as long as there is room.

use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Bytes read at once, and when that was not enough.
const BUFFER: usize = 4 * 1024;
const LARGE_BUFFER: usize = 16 * 1024;

/// What a front end such as postscreen says about a connection it hands over (spec master 3.10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassAttributes(Vec<(Vec<u8>, Vec<u8>)>);

impl PassAttributes {
    pub(crate) fn new(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self(pairs)
    }

    /// The value of `client_address`, `client_port`, `server_address` or `server_port`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// Whether there are none: then the socket itself tells who the client is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A client.
#[derive(Debug)]
pub struct Connection {
    input: OwnedFd,
    /// Standard output; a socket is written where it is read.
    output: Option<OwnedFd>,
    is_socket: bool,
    limit: Option<Duration>,
    /// What the socket was told last about reads.
    applied: Option<Duration>,
    buffer: Vec<u8>,
    taken: usize,
    peer: Option<SocketAddr>,
    attributes: PassAttributes,
    /// What is to be written, while it is gathered.
    gathered: Option<Vec<u8>>,
}

impl Connection {
    /// A connected socket, blocking. `limit` bounds each read and write.
    #[must_use]
    pub fn new(socket: OwnedFd, peer: Option<SocketAddr>, limit: Option<Duration>) -> Self {
        Self {
            input: socket,
            output: None,
            is_socket: true,
            limit,
            applied: None,
            buffer: Vec::new(),
            taken: 0,
            peer,
            attributes: PassAttributes::default(),
            gathered: None,
        }
    }

    /// Standard input and output.
    pub(crate) fn standard(limit: Option<Duration>) -> io::Result<Self> {
        let mut connection = Self::new(sys::fd::inherited(0)?, None, limit);
        connection.output = Some(sys::fd::inherited(1)?);
        connection.is_socket = false;
        Ok(connection)
    }

    pub(crate) fn with_attributes(mut self, attributes: PassAttributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// The client's address, when accept told one.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// What a front end said about the client.
    #[must_use]
    pub fn attributes(&self) -> &PassAttributes {
        &self.attributes
    }

    /// Bounds each further read and write; `None` leaves waiting to the caller.
    pub fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// Has what is written wait for [`Connection::write_gathered`], or for a read that waits for the client.
    pub(crate) fn gather(&mut self) {
        self.gathered.get_or_insert_default();
    }

    /// Writes what was gathered; what comes then is written at once again.
    pub(crate) fn write_gathered(&mut self) -> io::Result<()> {
        match self.gathered.take() {
            Some(bytes) => self.write_all(&bytes),
            None => Ok(()),
        }
    }

    /// Bytes read ahead.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    /// Whether a read would find something: data, end of file or an error.
    ///
    /// # Errors
    /// What `poll` says.
    pub fn is_readable(&self) -> io::Result<bool> {
        Ok(!self.buffered().is_empty() || sys::poll::readable(&self.input, Some(Duration::ZERO))?)
    }

    /// The descriptor that is written to, for those who wait with limits of their own.
    #[must_use]
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_ref().unwrap_or(&self.input).as_fd()
    }

    /// Whether reads and writes go to one socket.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// The socket, and the bytes read ahead; standard output is closed if there was one.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, Vec<u8>) {
        let ahead = self.buffered().to_vec();
        (self.input, ahead)
    }

    /// What is read from, and what is written to unless it is the same: standard input and output.
    #[must_use]
    pub fn into_ends(self) -> (OwnedFd, Option<OwnedFd>) {
        (self.input, self.output)
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.write_gathered()?;
        self.await_input()?;
        loop {
            match sys::fd::read(&self.input, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
                Ok(got) => return Ok(got),
            }
        }
    }

    fn await_input(&mut self) -> io::Result<()> {
        if !self.is_socket {
            let ready = self.limit.is_none() || sys::poll::readable(&self.input, self.limit)?;
            return if ready { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
        }
        if self.limit != self.applied {
            sys::socket::set_read_timeout(&self.input, self.limit)?;
            self.applied = self.limit;
        }
        Ok(())
    }

    fn await_output(&self) -> io::Result<()> {
        if sys::poll::writable(self.output(), self.limit)? {
            Ok(())
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

/// A blocking socket reports its time limit as "would block".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.buffered().is_empty() && buffer.len() >= BUFFER {
            return self.read_once(buffer);
        }
        let ahead = self.fill_buf()?;
        let count = ahead.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ahead[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl Connection {
    /// Reads what comes next, when all before is taken.
    fn refill(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let more = buffer.len() >= BUFFER;
        buffer.resize(if more { LARGE_BUFFER } else { BUFFER }, 0);
        let got = self.read_once(&mut buffer);
        buffer.truncate(*got.as_ref().unwrap_or(&0));
        self.buffer = buffer;
        self.taken = 0;
        got.map(|_| ())
    }
}

// Called twice for each line of a message, and then there is nothing to read as a rule.
impl BufRead for Connection {
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffered().is_empty() {
            self.refill()?;
        }
        Ok(self.buffered())
    }

    #[inline]
    fn consume(&mut self, amount: usize) {
        self.taken = (self.taken + amount).min(self.buffer.len());
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(gathered) = &mut self.gathered {
            gathered.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        if self.limit.is_none() {
            return sys::fd::write(self.output(), bytes).map_err(timed_out);
        }
        if !self.is_socket {
            self.await_output()?;
            return sys::fd::write(self.output(), bytes);
        }
        loop {
            match sys::socket::send(&self.input, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.await_output()?,
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn reads_lines_and_bulk_and_keeps_the_limit() {
        let (mut peer, socket) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(socket.into(), None, Some(Duration::from_millis(50)));
        peer.write_all(b"one\ntwo\nrest").unwrap();
        let mut line = Vec::new();
        connection.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"one\n");
        assert_eq!(connection.buffered(), b"two\nrest");
        let mut bulk = [0; 8192];
        assert_eq!(connection.read(&mut bulk).unwrap(), 8);
        assert_eq!(connection.read(&mut bulk).unwrap_err().kind(), io::ErrorKind::TimedOut);
        connection.write_all(b"reply").unwrap();
        let mut reply = [0; 5];
        peer.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"reply");
        drop(peer);
        assert_eq!(connection.read(&mut bulk).unwrap(), 0);
    }

    #[test]
    fn gathered_writes_leave_together_or_before_a_wait() {
        let (mut peer, socket) = UnixStream::pair().unwrap();
        peer.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(socket.into(), None, Some(Duration::from_millis(20)));
        let mut got = [0; 16];
        connection.gather();
        connection.write_all(b"one").unwrap();
        connection.write_all(b"two").unwrap();
        assert_eq!(peer.read(&mut got).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        connection.write_gathered().unwrap();
        assert_eq!((peer.read(&mut got).unwrap(), &got[..6]), (6, &b"onetwo"[..]));
        connection.gather();
        connection.write_all(b"three").unwrap();
        assert_eq!(connection.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(peer.read(&mut got).unwrap(), 5);
        connection.write_all(b"four").unwrap();
        assert_eq!(peer.read(&mut got).unwrap(), 4);
    }

    #[test]
    fn a_peer_that_does_not_read_is_a_timeout() {
        let (_peer, socket) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(socket.into(), None, Some(Duration::from_millis(30)));
        let error = connection.write_all(&vec![0; 1 << 24]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
