//! A connection to a server: in clear text, or with TLS around it.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use smtp::client::Socket;
use sys::transport::Transport;
use tls::HandshakeError;
use tls::client::{Client, Handshake, Outcome, Peer};

/// The bytes under a session.
#[derive(Debug)]
pub(crate) enum Wire {
    Clear(Socket),
    Encrypted(tls::Socket),
}

impl Wire {
    /// A connection in clear text that somebody else had: of a socket in the file system, or of TCP.
    pub(crate) fn of_descriptor(descriptor: OwnedFd, is_path: bool) -> Self {
        Self::Clear(if is_path {
            Socket::Unix(UnixStream::from(descriptor))
        } else {
            Socket::Tcp(TcpStream::from(descriptor))
        })
    }

    /// Runs a handshake, and goes on under TLS.
    ///
    /// # Errors
    /// There is no session; the connection is of no use any more.
    pub(crate) fn protect(
        &mut self,
        client: &Client,
        peer: Peer<'_>,
        limit: Duration,
    ) -> Result<Outcome, HandshakeError> {
        // What reads and writes of TLS do is the same on every kind of socket.
        let socket = TcpStream::from(self.as_fd().try_clone_to_owned()?);
        let mut socket = tls::Socket::new(socket);
        let outcome = Handshake::new(client, peer)?.run(&mut socket, limit)?;
        *self = Self::Encrypted(socket);
        Ok(outcome)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Self::Encrypted(socket) = self {
            socket.close_notify();
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Clear(socket) => socket.as_fd(),
            Self::Encrypted(socket) => socket.as_fd(),
        }
    }
}

impl Transport for Wire {
    fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.read_at_once(buffer),
            Self::Encrypted(socket) => socket.read_at_once(buffer),
        }
    }

    fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Clear(socket) => socket.read_patiently(buffer),
            Self::Encrypted(socket) => socket.read_patiently(buffer),
        }
    }

    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.write_at_once(bytes),
            Self::Encrypted(socket) => socket.write_at_once(bytes),
        }
    }

    fn flush_at_once(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(socket) => socket.flush_at_once(),
            Self::Encrypted(socket) => socket.flush_at_once(),
        }
    }
}
