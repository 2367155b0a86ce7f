//! A connection to an authentication server: the handshake, and lines in both directions (spec tls-sasl 19.1 and
//! 19.2).
//!
//! One time limit holds for the connect, for the handshake as a whole, and for each answer as a whole, so that a server
//! that sends a byte now and then holds nobody up.

use std::fmt;
use std::io;
use std::time::Duration;

use smtp::client::{BadEndpoint, ConnectError, Endpoint, Families, Socket};
use smtp::stream::{LineEnd, SmtpStream, TimeLimit, TrailingCr};

use crate::line::{Greeting, Reply, hello};
use crate::mechanism::{Mechanism, Properties};

/// The longest line that is read. Dovecot's own limit is 8192 for what it is sent.
const LINE_LIMIT: usize = 64 * 1024;
/// The most lines that a handshake has, and that are passed over while an answer is waited for.
const LINES_LIMIT: usize = 1000;

/// Where a server listens.
#[derive(Debug, Clone)]
pub struct Server {
    path: String,
    endpoint: Endpoint,
}

impl Server {
    /// From `smtpd_sasl_path`: `inet:HOST:PORT`, or the path of a socket, with or without `unix:` before it;
    /// `known_port` tells the number of a port that has a name of its own (`known_tcp_ports`).
    ///
    /// # Errors
    /// A host without a port, and the like.
    pub fn parse(path: &str, known_port: impl FnOnce(&str) -> Option<u16>) -> Result<Self, BadEndpoint> {
        let endpoint = if path.starts_with("inet:") || path.starts_with("unix:") {
            Endpoint::parse(path)?.with_known_port(known_port)
        } else {
            // Whatever else has a colon in it is a path (observed, 3.7.11).
            Endpoint::parse(&format!("unix:{path}"))?
        };
        Ok(Self { path: path.to_string(), endpoint })
    }

    /// As configured.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Why nobody can be there.
    pub fn fault(&self) -> Option<String> {
        self.endpoint.fault()
    }
}

/// Why there is no connection, in Postfix's words.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nobody listens there, or the address makes no sense.
    #[error("SASL: Connect to Dovecot auth socket '{path}' failed: {reason}")]
    Connect {
        /// As configured.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The server's name has no address.
    #[error("SASL: Connect to Dovecot auth socket '{path}' failed: Cannot assign requested address")]
    NotFound {
        /// As configured.
        path: String,
        /// The resolver's words.
        reason: String,
    },
    /// The server has gone before it could be spoken to.
    #[error("SASL: Couldn't send handshake: {0}")]
    Send(String),
    /// The server speaks another version.
    #[error("SASL: Protocol version mismatch ({0} vs. 1)")]
    Version(u32),
    /// The server tells no version where it should.
    #[error("SASL: Protocol version error")]
    NoVersion,
    /// A server's socket for other purposes.
    #[error("SASL: Connected to wrong auth socket (auth-master instead of auth-client)")]
    WrongSocket,
    /// The server hung up in the middle, or was silent for too long. Postfix has no words for this.
    #[error("SASL: handshake with the auth server was not finished")]
    Lost,
}

impl Trouble {
    /// Tells the log.
    pub fn warn(&self) {
        if let Self::NotFound { path, reason } = self {
            log::warn!("host or service {} not found: {reason}", path.trim_start_matches("inet:"));
        }
        log::warn!("{self}");
    }
}

/// The server has gone, or says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

/// A connection after its handshake.
pub struct Connection {
    stream: SmtpStream<Socket>,
    line: Vec<u8>,
    mechanisms: Vec<Mechanism>,
}

impl Connection {
    /// Connects and shakes hands; `cpid` is a number that no other connection to the server has.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn open(server: &Server, families: Families, limit: Duration, cpid: u32) -> Result<Self, Trouble> {
        let path = &server.path;
        let failed = |error: &io::Error| Trouble::Connect { path: path.clone(), reason: reason(error) };
        let socket = server.endpoint.connect(limit, families).map_err(|error| match error {
            ConnectError::NotFound(reason) => Trouble::NotFound { path: path.clone(), reason },
            ConnectError::Io(error) => failed(&error),
        })?;
        Self::over(socket, limit, cpid).map_err(|trouble| trouble.unwrap_or_else(|error| failed(&error)))
    }

    /// Shakes hands on a socket that is connected.
    ///
    /// # Errors
    /// See [`Trouble`]; or the socket is of no use.
    pub fn over(socket: Socket, limit: Duration, cpid: u32) -> Result<Self, Result<Trouble, io::Error>> {
        let stream = SmtpStream::new(socket, TimeLimit::Deadline { limit, min_data_rate: 0 }).map_err(Err)?;
        let mut connection = Self { stream, line: Vec::new(), mechanisms: Vec::new() };
        connection.handshake(cpid).map_err(Ok)?;
        Ok(connection)
    }

    /// The mechanisms that the server offers, in its order, without private ones.
    #[must_use]
    pub fn mechanisms(&self) -> &[Mechanism] {
        &self.mechanisms
    }

    fn handshake(&mut self, cpid: u32) -> Result<(), Trouble> {
        self.send(hello(cpid).as_bytes()).map_err(|error| {
            Trouble::Send(error.map_or("Connection timed out".into(), |error| reason(&error)))
        })?;
        self.stream.restart_deadline();
        for _ in 0..LINES_LIMIT {
            self.read().map_err(|Lost| Trouble::Lost)?;
            match Greeting::parse(&self.line) {
                Greeting::Version(Some(1)) | Greeting::Other => {}
                Greeting::Version(Some(major)) => return Err(Trouble::Version(major)),
                Greeting::Version(None) => return Err(Trouble::NoVersion),
                Greeting::Mechanism(fields) => {
                    let offered = Mechanism::parse(fields)
                        .filter(|known| !known.properties.contains(Properties::PRIVATE));
                    self.mechanisms.extend(offered);
                }
                // Who has no mechanisms at its process number has no use for clients.
                Greeting::Spid if self.mechanisms.is_empty() => return Err(Trouble::WrongSocket),
                Greeting::Spid => {}
                Greeting::Done => return Ok(()),
            }
        }
        Err(Trouble::Lost)
    }

    /// Sends a line. The error is absent when the server takes nothing.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn send(&mut self, line: &[u8]) -> Result<(), Option<io::Error>> {
        self.stream.restart_deadline();
        self.stream.write(line).and_then(|()| self.stream.flush()).map_err(|error| match error {
            smtp::stream::Error::Lost(error) => error,
            smtp::stream::Error::Timeout => None,
        })
    }

    /// Waits for the answer to a request and hands it to `use_it`; passes over what answers others.
    ///
    /// # Errors
    /// The server has gone, or says nothing that would be an answer in time.
    pub fn answer<T>(&mut self, id: u32, use_it: impl FnOnce(Reply<'_>) -> T) -> Result<T, Lost> {
        self.stream.restart_deadline();
        for _ in 0..LINES_LIMIT {
            self.read()?;
            match Reply::parse(&self.line, id) {
                Reply::NoId => log::warn!("SASL: Protocol error"),
                Reply::Other => {}
                reply => return Ok(use_it(reply)),
            }
        }
        Err(Lost)
    }

    fn read(&mut self) -> Result<(), Lost> {
        match self.stream.read_line(&mut self.line, LINE_LIMIT, TrailingCr::One) {
            Ok(LineEnd::Partial) | Err(_) => return Err(Lost),
            // Lines end in LF alone: a CR before it is part of the last field (observed, 3.7.11).
            Ok(LineEnd::CrLf) => self.line.push(b'\r'),
            Ok(LineEnd::BareLf) => {}
        }
        let end = self.line.iter().position(|&byte| byte == 0).unwrap_or(self.line.len());
        self.line.truncate(end);
        Ok(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("mechanisms", &self.mechanisms).finish_non_exhaustive()
    }
}

/// The system's words, without the number that Rust adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let code = error.raw_os_error().map(|code| format!(" (os error {code})")).unwrap_or_default();
    text.strip_suffix(&code).unwrap_or(&text).to_string()
}
