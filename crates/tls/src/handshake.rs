//! The server's side of a handshake, within a time limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::server::{Accepted, Acceptor};
use rustls::{Error, ServerConnection};

use crate::hello::offers_tls13;
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

/// A socket with an end of time.
pub(crate) struct Channel<'s> {
    tcp: &'s TcpStream,
    until: Instant,
}

impl<'s> Channel<'s> {
    pub(crate) fn new(tcp: &'s TcpStream, limit: Duration) -> Self {
        Self { tcp, until: Instant::now() + limit }
    }

    /// Reads until the client's first message is there; tells whether it offers TLS 1.3.
    pub(crate) fn client_hello(&mut self) -> Result<(Accepted, bool), HandshakeError> {
        let mut acceptor = Acceptor::default();
        let mut records = Vec::new();
        loop {
            if acceptor.read_tls(&mut Recording { from: self, records: &mut records })? == 0 {
                return Err(HandshakeError::Lost);
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok((accepted, offers_tls13(&records))),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let _ = alert.write_all(self);
                    return Err(protocol(&error));
                }
            }
        }
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

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(timed_out()) } else { Ok(left) }
    }
}

pub(crate) fn protocol(error: &Error) -> HandshakeError {
    HandshakeError::Protocol(error.to_string())
}

fn timed_out() -> io::Error {
    ErrorKind::TimedOut.into()
}

/// Keeps what is read, as much as rustls takes before it gives up.
struct Recording<'r, 's> {
    from: &'r mut Channel<'s>,
    records: &'r mut Vec<u8>,
}

impl Read for Recording<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.records.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Read for Channel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match AtOnce(self.tcp).read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !sys::poll::readable(self.tcp, Some(self.left()?))? {
                        return Err(timed_out());
                    }
                }
                other => return other,
            }
        }
    }
}

impl Write for Channel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match AtOnce(self.tcp).write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !sys::poll::writable(self.tcp, Some(self.left()?))? {
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
