//! The server's side of a handshake, within a time limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::server::{Accepted, Acceptor};
use rustls::{Error, ServerConnection};

use crate::hello::{Hellos, Said};
use crate::server_name::Hiding;
use crate::socket::AtOnce;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peers cannot agree, or one of them does not speak TLS.
    #[error("{0}")]
    Protocol(String),
    /// The client has gone.
    #[error("lost connection")]
    Lost,
    /// The socket's error, or that the time is over.
    #[error("{}", sys::error_text(.0))]
    Io(#[from] io::Error),
    /// The settings allow none; the text is a warning.
    #[error("{0}")]
    Settings(String),
}

/// A socket with an end of time, for one handshake.
pub(crate) struct Channel<'s> {
    tcp: &'s TcpStream,
    until: Instant,
    hellos: Hellos,
    _hiding: Hiding,
}

impl<'s> Channel<'s> {
    pub(crate) fn new(tcp: &'s TcpStream, limit: Duration) -> Self {
        Self { tcp, until: Instant::now() + limit, hellos: Hellos::new(), _hiding: Hiding::begin() }
    }

    /// Reads until the client's first message is there.
    pub(crate) fn client_hello(&mut self) -> Result<Accepted, HandshakeError> {
        let mut acceptor = Acceptor::default();
        loop {
            if acceptor.read_tls(self)? == 0 {
                return Err(HandshakeError::Lost);
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let _ = alert.write_all(self);
                    return Err(protocol(&error));
                }
            }
        }
    }

    /// What the client's first message said.
    pub(crate) fn said(&self) -> &Said {
        self.hellos.said()
    }

    /// Runs the handshake to its end.
    pub(crate) fn finish(&mut self, connection: &mut ServerConnection) -> Result<(), HandshakeError> {
        loop {
            while connection.wants_write() {
                connection.write_tls(self)?;
            }
            if !connection.is_handshaking() {
                return Ok(());
            }
            if connection.read_tls(self)? == 0 {
                return Err(HandshakeError::Lost);
            }
            if let Err(error) = connection.process_new_packets() {
                // The alert that says why.
                let _ = connection.write_tls(self);
                return Err(protocol(&error));
            }
        }
    }
}

pub(crate) fn protocol(error: &Error) -> HandshakeError {
    HandshakeError::Protocol(error.to_string())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

fn timed_out() -> io::Error {
    ErrorKind::TimedOut.into()
}

impl Read for Channel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { tcp, until, hellos, .. } = self;
        hellos.read(buffer, |buffer| {
            loop {
                match AtOnce(tcp).read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if !sys::poll::readable(&**tcp, Some(left(*until)?))? {
                            return Err(timed_out());
                        }
                    }
                    other => return other,
                }
            }
        })
    }
}

impl Write for Channel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match AtOnce(self.tcp).write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !sys::poll::writable(self.tcp, Some(left(self.until)?))? {
                        return Err(timed_out());
                    }
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
