//! `socketmap:inet:HOST:PORT:NAME` and `socketmap:unix:PATH:NAME`: netstrings (spec tables 11).
//!
//! All maps of one server share a connection, which is closed after 10 s without use and after 100 s.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::printable;

use super::{Socket, is_timeout, shown, text};
use crate::error::Blame;
use crate::settings::settings;
use crate::{Flags, Kind, LookupError, OpenError, Table};

/// The greatest reply, in a program without a configuration.
const REPLY_LIMIT: usize = 100_000;
/// Bytes of a key in a log line.
const KEY: usize = 100;
/// Digits of the greatest length that is read.
const DIGITS: u64 = 20;
const IDLE: Duration = Duration::from_secs(10);
const AGE: Duration = Duration::from_secs(100);
/// A reason in a log line.
const REASON: usize = 200;

#[derive(Debug)]
struct Open {
    stream: BufReader<Socket>,
    since: Instant,
    used: Instant,
}

type Shared = Arc<Mutex<Option<Open>>>;

static SERVERS: LazyLock<Mutex<HashMap<String, Shared>>> = LazyLock::new(Mutex::default);

/// The table.
#[derive(Debug)]
pub(crate) struct Socketmap {
    name: String,
    /// `inet:HOST:PORT` or `unix:PATH`.
    server: String,
    map: Vec<u8>,
    connection: Shared,
    reason: Mutex<Option<String>>,
}

/// Why an exchange failed.
enum Failure {
    Connect(io::Error),
    Io(io::Error),
    Closed,
    TooBig,
    Format,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                Failure::Closed
            }
            _ => Failure::Io(error),
        }
    }
}

impl Socketmap {
    pub(crate) fn open(reference: String, name: &[u8], flags: Flags) -> Result<Socketmap, OpenError> {
        if flags.has(Flags::NO_UNAUTH) {
            return Err(OpenError::new(format!(
                "{reference} map is not allowed for security-sensitive data"
            )));
        }
        let Some(colon) = name.iter().rposition(|byte| *byte == b':') else {
            return Err(OpenError::new("socketmap requires server:socketmap argument"));
        };
        let (server, map) = (printable(&name[..colon]), name[colon + 1..].to_vec());
        let transport = server.split(':').next().unwrap_or_default();
        if !matches!(transport, "inet" | "unix" | "local") {
            // It ends every program (observed, 3.7.11).
            return Err(
                Blame::Reference.of(format!("invalid transport name: {transport} in service: {server}"))
            );
        }
        let Some((_, place)) = server.split_once(':') else {
            let text = format!("need service transport:endpoint instead of \"{server}\"");
            return Err(OpenError::new(text));
        };
        if transport == "inet" {
            super::check_form(place)?;
            super::examine(&reference, place);
        }
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = Arc::clone(servers.entry(server.clone()).or_default());
        Ok(Socketmap { name: reference, server, map, connection, reason: Mutex::default() })
    }

    /// Keeps the system's words, and tells them.
    fn failed(&self, error: &io::Error) -> String {
        let reason = text(error);
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
        reason
    }

    fn connect(&self) -> io::Result<Socket> {
        match self.server.split_once(':') {
            Some(("inet", host_port)) => Socket::connect_inet(host_port),
            Some((_, path)) => Socket::connect_unix(path),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn exchange(&self, open: &mut Option<Open>, request: &[u8]) -> Result<Vec<u8>, Failure> {
        if open.as_ref().is_some_and(|open| open.used.elapsed() > IDLE || open.since.elapsed() > AGE) {
            *open = None;
        }
        if open.is_none() {
            let stream = BufReader::new(self.connect().map_err(Failure::Connect)?);
            *open = Some(Open { stream, since: Instant::now(), used: Instant::now() });
        }
        let Some(open) = open.as_mut() else { return Err(Failure::Closed) };
        open.stream.get_mut().write_all(request)?;
        let reply = netstring(&mut open.stream)?;
        open.used = Instant::now();
        Ok(reply)
    }

    fn understand(&self, reply: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let end = reply.iter().position(|byte| *byte == b' ');
        let (word, rest) = match end {
            Some(end) => (&reply[..end], Some(&reply[end + 1..])),
            None => (reply, None),
        };
        let (class, error) = match word {
            b"OK" => return Ok(rest.map(<[u8]>::to_vec)),
            b"NOTFOUND" => return Ok(None),
            b"TEMP" => ("temporary", LookupError::Retry),
            b"TIMEOUT" => ("timeout", LookupError::Retry),
            b"PERM" => ("permanent", LookupError::Config),
            _ => ("unknown", LookupError::Retry),
        };
        let reason = rest.filter(|rest| !rest.is_empty());
        let reason = reason.map(|reason| format!(": {}", shown(reason, REASON))).unwrap_or_default();
        log::warn!("{} socketmap server {class} error{reason}", self.name);
        Err(error)
    }
}

/// Reads `LEN:BYTES,`.
fn netstring(stream: &mut impl BufRead) -> Result<Vec<u8>, Failure> {
    let mut digits = Vec::new();
    stream.take(DIGITS).read_until(b':', &mut digits)?;
    if digits.is_empty() {
        return Err(Failure::Closed);
    }
    let complete = digits.last() == Some(&b':');
    let number = if complete { &digits[..digits.len() - 1] } else { &digits[..] };
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return Err(Failure::Format);
    }
    let length = number
        .iter()
        .fold(0usize, |length, digit| length.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    if length > settings().map_or(REPLY_LIMIT, |known| known.socketmap_reply_limit) {
        return Err(Failure::TooBig);
    }
    if !complete {
        return Err(Failure::Format);
    }
    let mut bytes = vec![0; length + 1];
    stream.read_exact(&mut bytes)?;
    if bytes.pop() == Some(b',') { Ok(bytes) } else { Err(Failure::Format) }
}

impl Table for Socketmap {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        if settings().and_then(|known| known.socketmap_query_limit).is_some_and(|limit| key.len() > limit) {
            let (name, key) = (&self.name, shown(key, KEY));
            log::warn!("table {name} query too large: '{key}', returning 'not found'");
            return Ok(None);
        }
        let query = [&self.map, &b" "[..], key].concat();
        let request = [format!("{}:", query.len()).as_bytes(), &query, b","].concat();
        let mut open = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut again = open.is_some();
        loop {
            let why = match self.exchange(&mut open, &request) {
                Ok(reply) => return self.understand(&reply),
                Err(failure) => {
                    *open = None;
                    match failure {
                        // The server may have closed a connection that was kept.
                        Failure::Closed if again => {
                            again = false;
                            continue;
                        }
                        Failure::Connect(error) => {
                            let to = self.server.split_once(':').map_or("", |(_, to)| to);
                            log::warn!("connect to {to}: {}", text(&error));
                            self.failed(&error)
                        }
                        Failure::Io(error) if is_timeout(&error) => "time limit exceeded".to_owned(),
                        Failure::Io(error) => self.failed(&error),
                        Failure::Closed => "unexpected disconnect".to_owned(),
                        Failure::TooBig => "input exceeds size limit".to_owned(),
                        Failure::Format => "input format error".to_owned(),
                    }
                }
            };
            log::warn!("table {} lookup error: {why}", self.name);
            return Err(LookupError::Retry);
        }
    }

    fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn kind(&self) -> Kind {
        Kind::Pattern
    }

    fn name(&self) -> &str {
        &self.name
    }
}
