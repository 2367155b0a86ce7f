//! What a client is at the other end of: a socket, or standard input and output.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use smtp::stream::SmtpStream;
use sys::transport::{Standard, Transport};
use tls::Socket;

/// The connection of a client, and what is under way on it.
pub(crate) type Stream = SmtpStream<Wire>;

/// The connection of a client.
#[derive(Debug)]
pub(crate) enum Wire {
    /// A socket, that may have TLS around it.
    Socket(Socket),
    /// Two descriptors, without TLS.
    Standard(Standard),
}

impl Wire {
    /// A socket in clear text.
    pub(crate) fn socket(socket: OwnedFd) -> Self {
        Self::Socket(Socket::new(TcpStream::from(socket)))
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn close_notify(&mut self) {
        if let Self::Socket(socket) = self {
            socket.close_notify();
        }
    }

    fn transport(&mut self) -> &mut dyn Transport {
        match self {
            Self::Socket(socket) => socket,
            Self::Standard(standard) => standard,
        }
    }
}

impl Transport for Wire {
    fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.transport().read_at_once(buffer)
    }

    fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.transport().read_patiently(buffer)
    }

    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.transport().write_at_once(bytes)
    }

    fn flush_at_once(&mut self) -> io::Result<()> {
        self.transport().flush_at_once()
    }

    fn limit_reads(&mut self, limit: Duration) -> io::Result<()> {
        self.transport().limit_reads(limit)
    }

    fn output(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.output(),
            Self::Standard(standard) => standard.output(),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            Self::Standard(standard) => standard.as_fd(),
        }
    }
}
