//! A client's socket, in clear text at first, and with TLS around it after a handshake.
//!
//! It does not block: a call that would have to wait says so, and [`std::io::Write::flush`] is done only when all
//! records have been sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustls::ServerConnection;

/// A socket that may have TLS around it.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Socket {
    /// In clear text. The descriptor is expected not to block.
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(crate) fn protect(&mut self, connection: Box<ServerConnection>) {
        self.tls = Some(connection);
    }

    /// Tells the peer that nothing more comes, and does not wait for it to say the same. Without TLS this is nothing.
    pub fn close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The peer may have gone: then it does not want to know.
            let _ = send(tls, &mut self.tcp);
        }
    }
}

/// Sends records that wait.
fn send(tls: &mut ServerConnection, tcp: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(tcp)? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn not_tls(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                // The peer closed without saying so: nothing that was read depends on it.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            tls.read_tls(&mut self.tcp)?;
            let outcome = tls.process_new_packets();
            // An alert, or the answer to an update of keys.
            match send(tls, &mut self.tcp) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            outcome.map_err(not_tls)?;
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.write(bytes) };
        send(tls, &mut self.tcp)?;
        let taken = tls.writer().write(bytes)?;
        match send(tls, &mut self.tcp) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => send(tls, &mut self.tcp),
            None => Ok(()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
