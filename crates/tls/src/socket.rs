//! A peer's socket, in clear text at first, and with TLS around it after a handshake.
//!
//! The descriptor blocks, but only the first read of [`Transport::read_patiently`] waits;
//! [`Transport::flush_at_once`] is done only when all records have been sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustls::Connection;
use sys::transport::Transport;

/// A socket that may have TLS around it.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    tls: Option<Box<Connection>>,
}

impl Socket {
    /// In clear text.
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(crate) fn protect(&mut self, connection: Connection) {
        self.tls = Some(Box::new(connection));
    }

    /// Tells the peer that nothing more comes, and does not wait for it to say the same. Without TLS this is nothing.
    pub fn close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The peer may have gone: then it does not want to know.
            let _ = send(tls, &self.tcp);
        }
    }
}

/// The TCP socket, of which no call waits.
pub(crate) struct AtOnce<'s>(pub(crate) &'s TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::socket::receive(self.0, buffer)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::socket::send(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends records that wait.
fn send(tls: &mut Connection, tcp: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(&mut AtOnce(tcp))? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn not_tls(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// What was taken in already; `None` when that is nothing.
fn taken_in(tls: &mut Connection, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match tls.reader().read(buffer) {
        // The peer closed without saying so: nothing that was read depends on it.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Some(0)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

/// Takes in what `from` has.
fn take_in(tls: &mut Connection, tcp: &TcpStream, from: &mut dyn Read) -> io::Result<()> {
    tls.read_tls(from)?;
    let outcome = tls.process_new_packets();
    // An alert, or the answer to an update of keys.
    match send(tls, tcp) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
        _ => {}
    }
    outcome.map_err(not_tls)?;
    Ok(())
}

impl Transport for Socket {
    fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read_at_once(buffer) };
        loop {
            if let Some(count) = taken_in(tls, buffer)? {
                return Ok(count);
            }
            take_in(tls, &self.tcp, &mut AtOnce(&self.tcp))?;
        }
    }

    fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return self.tcp.read_patiently(buffer) };
        if let Some(count) = taken_in(tls, buffer)? {
            return Ok(Some(count));
        }
        take_in(tls, &self.tcp, &mut &self.tcp)?;
        taken_in(tls, buffer)
    }

    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.write_at_once(bytes) };
        send(tls, &self.tcp)?;
        let taken = tls.writer().write(bytes)?;
        match send(tls, &self.tcp) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush_at_once(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => send(tls, &self.tcp),
            None => Ok(()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
