//! A filter's socket: packets in and out, each wait with its limit (spec milter 2.4).
//!
//! Writes are collected, and go out when an answer is waited for or [`FULL`] bytes have come together. Nothing is read
//! beyond the packet that was asked for: the socket may go to another process.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use maillog::Cause;
use smtp::client::{ConnectError, Endpoint, Families, Socket};
use sys::poll::{readable, writable};
use sys::socket::{receive, send};

use crate::packet::{self, HEADER, Malformed};

/// What is collected before it is written.
const FULL: usize = 4096;
/// Memory for a packet grows by this, with what has come.
const PIECE: usize = 64 * 1024;

/// Why a connection is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What happened.
    pub cause: Cause,
    /// The system's words.
    pub text: String,
}

impl Broken {
    fn late() -> Self {
        Self { cause: Cause::Timeout, text: "Connection timed out".into() }
    }

    fn lost(error: &io::Error) -> Self {
        let cause = if error.kind() == ErrorKind::TimedOut { Cause::Timeout } else { Cause::Lost };
        Self { cause, text: reason(error) }
    }

    fn unconnected(error: &io::Error) -> Self {
        let cause = match error.kind() {
            ErrorKind::ConnectionRefused => Cause::Refused,
            ErrorKind::TimedOut => Cause::Timeout,
            _ => Cause::Unreachable,
        };
        Self { cause, text: reason(error) }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a packet did not come.
#[derive(Debug)]
pub enum Lost {
    /// Nothing of it has come.
    Header(Broken),
    /// The length makes no sense.
    Malformed(Malformed),
    /// Its code has not come.
    Code(Broken),
    /// So many bytes have come of the data of a packet with this code.
    Data(u8, usize, Broken),
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    out: Vec<u8>,
    input: Vec<u8>,
    limit: Duration,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// What the log says.
    pub fn open(endpoint: &Endpoint, limit: Duration, families: Families) -> Result<Self, Broken> {
        match endpoint.connect(limit, families) {
            Ok(Socket::Tcp(socket)) => Ok(Self::over(socket.into())),
            Ok(Socket::Unix(socket)) => Ok(Self::over(socket.into())),
            Err(ConnectError::NotFound(text)) => {
                let place = endpoint.to_string();
                log::warn!("host or service {} not found: {text}", place.trim_start_matches("inet:"));
                Err(Broken { cause: Cause::Unreachable, text: "Cannot assign requested address".into() })
            }
            Err(ConnectError::Io(error)) => Err(Broken::unconnected(&error)),
        }
    }

    /// Over a socket that is connected.
    #[must_use]
    pub fn over(socket: OwnedFd) -> Self {
        Self { socket, out: Vec::new(), input: Vec::new(), limit: Duration::from_secs(30) }
    }

    /// The limit of each wait from now on.
    pub fn limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Sends packets, soon.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, packets: &[u8]) -> Result<(), Broken> {
        self.out.extend_from_slice(packets);
        if self.out.len() < FULL { Ok(()) } else { self.flush() }
    }

    /// Sends what is collected.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&mut self) -> Result<(), Broken> {
        let out = mem::take(&mut self.out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            match send(&self.socket, rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match writable(&self.socket, Some(self.limit)) {
                        Ok(true) => {}
                        Ok(false) => return Err(Broken::late()),
                        Err(error) => return Err(Broken::lost(&error)),
                    }
                }
                Err(error) => return Err(Broken::lost(&error)),
            }
        }
        self.out = out;
        self.out.clear();
        Ok(())
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// It did not come as a whole.
    pub fn read(&mut self) -> Result<packet::Packet<'_>, Lost> {
        let mut header = [0; HEADER];
        self.fill(&mut header).map_err(|(_, reason)| Lost::Header(reason))?;
        let length = packet::length(header).map_err(Lost::Malformed)?;
        let mut code = [0];
        self.fill(&mut code).map_err(|(_, reason)| Lost::Code(reason))?;
        let wanted = length - 1;
        self.input.clear();
        while self.input.len() < wanted {
            let start = self.input.len();
            self.input.resize(wanted.min(start + PIECE), 0);
            let mut input = mem::take(&mut self.input);
            let filled = self.fill(&mut input[start..]);
            self.input = input;
            filled.map_err(|(got, reason)| Lost::Data(code[0], start + got, reason))?;
        }
        Ok(packet::Packet { code: code[0], data: &self.input })
    }

    /// Fills the buffer; otherwise how much came, and why no more.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), (usize, Broken)> {
        let mut got = 0;
        while got < buffer.len() {
            match receive(&self.socket, &mut buffer[got..]) {
                // Postfix shows what the number 0 stands for among errors.
                Ok(0) => return Err((got, Broken { cause: Cause::Lost, text: "Application error".into() })),
                Ok(more) => got += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match readable(&self.socket, Some(self.limit)) {
                        Ok(true) => {}
                        Ok(false) => return Err((got, Broken::late())),
                        Err(error) => return Err((got, Broken::lost(&error))),
                    }
                }
                Err(error) => return Err((got, Broken::lost(&error))),
            }
        }
        Ok(())
    }

    /// Ends the connection in peace: what the filter has said too much is taken, as a socket that is closed over unread
    /// bytes takes back what was sent last.
    pub fn end(mut self) {
        // A filter that is gone does not need it.
        let _ = self.flush();
        let mut unread = [0; FULL];
        for _ in 0..FULL {
            if !matches!(receive(&self.socket, &mut unread), Ok(1..)) {
                return;
            }
        }
    }

    /// Ends the connection for all processes that have it: who has it open as well must not go on.
    pub(crate) fn poison(self) {
        // One that the peer has ended is as good.
        let _ = sys::socket::shut_down(&self.socket);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The system's words, without the number that Rust adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let code = error.raw_os_error().map(|code| format!(" (os error {code})")).unwrap_or_default();
    text.strip_suffix(&code).unwrap_or(&text).to_string()
}
