//! `memcache:FILE`: a memcached server, and the table behind it (spec tables 17).
//!
//! Text lines: `get KEY` is answered by `VALUE KEY FLAGS LENGTH`, the value and `END`, or by `END` alone. What the server does
//! not know is looked up in the table that `backup` names, and then stored. Every line and value is bounded.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use config::printable;

use super::servers::{Engine, Failure, Host, NoWire, Place, Servers, Wire};
use super::{Parameters, Shape};
use crate::build::Sizes;
use crate::changes::{self, Changes, Missing};
use crate::{Flags, Kind, LookupError, OpenError, Opening, SequenceError, Table, VisitEntry};

/// How long a server that cannot be reached is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection is kept that nobody uses.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);
/// How much of an unexpected reply is told.
const TOLD: usize = 30;

/// The table.
#[derive(Debug)]
struct MemcacheTable {
    /// Its query is the key as the server knows it.
    shape: Shape,
    backup: Option<Box<dyn Table>>,
    flags: i32,
    ttl: i32,
    tries: i32,
    pause: Duration,
    line_limit: usize,
    data_limit: usize,
    servers: Arc<Servers<Memcache>>,
}

/// The same for somebody who changes it.
#[derive(Debug)]
struct ChangedTable {
    /// Nothing is behind it: that is asked here.
    table: MemcacheTable,
    backup: Option<Box<dyn Changes>>,
}

/// The server: how long it is waited for.
#[derive(Debug, PartialEq)]
struct Memcache {
    timeout: Duration,
}

/// A connection.
#[derive(Debug)]
struct Session(Wire);

/// What is wrong with an answer.
enum Fault {
    Io(io::Error),
    /// A value without its line end, or no end of the answer.
    NoEnd,
    Unexpected(Vec<u8>),
    /// What is changed so (`update`, `delete`) is not; the answer.
    Refused(&'static str, Vec<u8>),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

/// Opens the table of this name.
pub(crate) fn open(
    reference: String,
    name: &[u8],
    (flags, opening): (Flags, Opening),
    depth: usize,
) -> Result<Box<dyn Table>, OpenError> {
    let behind = |backup: &[u8]| crate::open::open_nested(backup, flags, opening, depth + 1);
    let (mut table, backup) = read(reference, name, (flags, opening), behind)?;
    table.backup = backup;
    Ok(Box::new(table))
}

/// Opens it to have it changed, and the table behind it.
pub(crate) fn open_for_changes(
    reference: String,
    name: &[u8],
    flags: Flags,
    how: (Sizes, Missing),
    depth: usize,
) -> Result<Box<dyn Changes>, OpenError> {
    let behind = |backup: &[u8]| changes::open_nested(backup, flags, how, depth + 1);
    let (table, backup) = read(reference, name, (flags, Opening::FatalErrors), behind)?;
    Ok(Box::new(ChangedTable { table, backup }))
}

/// The table, and the one behind it, which `behind` opens.
fn read<T>(
    reference: String,
    name: &[u8],
    (flags, opening): (Flags, Opening),
    behind: impl FnOnce(&[u8]) -> Result<T, OpenError>,
) -> Result<(MemcacheTable, Option<T>), OpenError> {
    if flags.has(Flags::NO_UNAUTH) {
        let why = "map is not allowed for security-sensitive data";
        return Err(OpenError::new(format!("{reference} {why}")));
    }
    let parameters = Parameters::open(name)?;
    let from_one = |parameter, default| parameters.integer_from(parameter, default, 1);
    // The order in which Postfix finds mistakes.
    let (timeout, ttl) = (parameters.integer("timeout", 2)?, parameters.integer("ttl", 3600)?);
    let flag_bits = parameters.integer("flags", 0)?;
    let (pause, tries) = (from_one("retry_pause", 1)?, from_one("max_try", 2)?);
    let (line_limit, data_limit) = (from_one("line_size_limit", 1024)?, from_one("data_size_limit", 10240)?);
    let host = host(&parameters.text("memcache", "inet:localhost:11211", 0)?)?;
    let backup = parameters.text("backup", "", 0)?;
    let backup = (!backup.is_empty()).then(|| behind(&backup)).transpose()?;
    let key_format = parameters.text("key_format", "%s", 0)?;
    let texts = (&key_format[..], &b"%s"[..]);
    let names = (reference, printable(name));
    let shape = Shape::open(names, texts, &parameters, (flags, opening), ("memcache", "for key:"))?;
    let seconds = |number: i32| Duration::from_secs(u64::try_from(number).unwrap_or_default());
    let size = |number: i32| usize::try_from(number).unwrap_or_default();
    let servers =
        Servers::shared(Memcache { timeout: seconds(timeout) }, vec![host], (RETRY_INTERVAL, IDLE_INTERVAL));
    let table = MemcacheTable {
        shape,
        backup: None,
        flags: flag_bits,
        ttl,
        tries,
        pause: seconds(pause),
        line_limit: size(line_limit),
        data_limit: size(data_limit),
        servers,
    };
    Ok((table, backup))
}

fn host(text: &[u8]) -> Result<Host, OpenError> {
    let shown = printable(text);
    let (transport, endpoint) = match shown.split_once(':') {
        Some((transport, endpoint)) if !transport.is_empty() && !endpoint.is_empty() => (transport, endpoint),
        _ => {
            let text = format!("need service transport:endpoint instead of \"{shown}\"");
            return Err(OpenError::new(text));
        }
    };
    let place = match transport {
        "unix" | "local" => Place::Unix(PathBuf::from(endpoint)),
        "inet" => {
            let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Place::Inet { host: host.to_owned(), port: port.to_owned() }
        }
        _ => {
            let text = format!("invalid transport name: {transport} in service: {shown}");
            return Err(OpenError::new(text));
        }
    };
    Ok(Host { name: endpoint.to_owned(), place })
}

impl Engine for Memcache {
    const NAME: &'static str = "memcache";

    type Connection = Session;

    fn connect(&self, host: &Host, deadline: Instant) -> Result<Session, String> {
        Wire::connect(host, deadline).map(Session).map_err(|why| match why {
            NoWire::Io(error) if error.kind() == io::ErrorKind::TimedOut => "Connection timed out".to_owned(),
            NoWire::Io(error) => sys::error_text(&error),
            NoWire::Unknown(why) => {
                log::warn!("host or service {} not found: {why}", host.name);
                "Cannot assign requested address".to_owned()
            }
        })
    }

    fn limits(&self) -> (Duration, Duration) {
        let (connect, lookup) = super::servers::LIMITS;
        (if self.timeout.is_zero() { connect } else { self.timeout }, lookup)
    }

    fn connect_failed(host: &Host, why: &str) -> String {
        format!("connect to {}: {why}", host.name)
    }

    fn known() -> &'static Mutex<Vec<Weak<Servers<Memcache>>>> {
        static KNOWN: Mutex<Vec<Weak<Servers<Memcache>>>> = Mutex::new(Vec::new());
        &KNOWN
    }

    fn is_away(_why: &str) -> bool {
        true
    }

    fn query_failed(table: &str, _host: &Host, why: &str) -> String {
        format!("{table}: {why}")
    }
}

impl Session {
    /// A line without its end.
    fn line(&mut self, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            if byte[0] == b'\n' {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if line.len() >= limit {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
            line.push(byte[0]);
        }
    }

    fn get(&mut self, key: &[u8], line_limit: usize, data_limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        self.0.send(&[b"get ", key, b"\r\n"].concat())?;
        let line = self.line(line_limit)?;
        if line == b"END" {
            return Ok(None);
        }
        let Some(length) = value_length(&line).filter(|length| *length <= data_limit) else {
            return Err(Fault::Unexpected(line));
        };
        let mut value = vec![0; length + 2];
        self.0.read_exact(&mut value).map_err(|_| Fault::NoEnd)?;
        if value.split_off(length) != b"\r\n" {
            return Err(Fault::NoEnd);
        }
        // Which line that is does not matter to Postfix.
        self.line(line_limit)?;
        // A text of C.
        value.truncate(value.iter().position(|byte| *byte == 0).unwrap_or(length));
        Ok(Some(value))
    }

    fn set(&mut self, head: &[u8], value: &[u8], line_limit: usize) -> Result<(), Fault> {
        self.0.send(&[head, value, b"\r\n"].concat())?;
        let line = self.line(line_limit)?;
        if line == b"STORED" { Ok(()) } else { Err(Fault::Refused("update", line)) }
    }

    /// Says whether there was something to delete.
    fn delete(&mut self, key: &[u8], line_limit: usize) -> Result<bool, Fault> {
        self.0.send(&[b"delete ", key, b"\r\n"].concat())?;
        match self.line(line_limit)? {
            line if line == b"DELETED" => Ok(true),
            line if line == b"NOT_FOUND" => Ok(false),
            line => Err(Fault::Refused("delete", line)),
        }
    }
}

/// The last number of `VALUE KEY FLAGS LENGTH`.
fn value_length(line: &[u8]) -> Option<usize> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.next().filter(|word| *word == b"VALUE")?;
    let length = words.nth(2)?;
    std::str::from_utf8(length).ok()?.parse().ok()
}

impl MemcacheTable {
    /// Whether keys of this kind are never stored; it has been told then.
    fn refuses(&self, key: &[u8]) -> bool {
        let is_refused = self.shape.checks_utf8() && std::str::from_utf8(key).is_err();
        if is_refused {
            crate::utf8::warn_of_key(&self.shape.name, key);
        }
        is_refused
    }

    /// The key as the server knows it; `None` when it is not asked for.
    fn key(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        if key.is_empty() {
            return Ok(None);
        }
        let Some(key) = self.shape.key(key)? else { return Ok(None) };
        let key = self.shape.query(&key, |text, out| out.extend_from_slice(text));
        // Nothing that ends a key or a command is a part of one.
        let is_good = |key: &Vec<u8>| {
            let ends = |byte: &u8| config::logical_lines::is_space(*byte) || *byte == 0;
            !key.is_empty() && !key.iter().any(ends)
        };
        Ok(key.filter(is_good))
    }

    /// Does something with a connection, again when the server breaks off or makes no sense.
    fn ask<T>(&self, work: impl Fn(&mut Session) -> Result<T, Fault>) -> Result<T, LookupError> {
        let (name, shown) = (&self.shape.name, &self.shape.shown);
        for attempt in 1..=self.tries {
            if attempt > 1 {
                thread::sleep(self.pause);
            }
            let mut outcome = None;
            let is_reached = self.servers.with(name, &mut |session, deadline, _| {
                session.0.until(deadline.min(Instant::now() + self.servers.engine().limits().0));
                let result = work(session);
                let is_good = result.is_ok();
                outcome = Some(result);
                if is_good { Ok(()) } else { Err(Failure::Unwanted) }
            });
            match outcome {
                Some(Ok(result)) => return Ok(result),
                _ if !is_reached => break,
                // Whoever finds that out first tells it; the others find the server left alone.
                Some(Err(Fault::Io(error))) if attempt == self.tries => {
                    let why = text(&error);
                    // A line that is too long is about one key.
                    let is_of_key = error.kind() == io::ErrorKind::InvalidData;
                    if (is_of_key || self.servers.is_silent(&why)) && attempt > 1 {
                        log::warn!("database {name}: I/O error: {why}");
                    }
                }
                Some(Err(fault)) if attempt > 1 => match fault {
                    Fault::Io(_) => {}
                    Fault::NoEnd => log::warn!("{shown}: EOF receiving memcache server reply"),
                    Fault::Unexpected(line) => {
                        log::warn!("{shown}: unexpected memcache server reply: {}", told(&line));
                    }
                    Fault::Refused(what, line) => {
                        log::warn!("database {name}: {what} failed: {}", told(&line));
                    }
                },
                _ => {}
            }
        }
        Err(LookupError::Retry)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        self.ask(|session| session.get(key, self.line_limit, self.data_limit))
    }

    /// Stores what was found behind it: what cannot be stored is looked up again.
    fn remember(&self, key: &[u8], value: &[u8]) {
        let _ = self.store(key, value);
    }

    fn store(&self, key: &[u8], value: &[u8]) -> Result<(), LookupError> {
        let (name, shown) = (&self.shape.name, printable(key));
        if value.len() > self.data_limit {
            let limit = self.data_limit;
            log::warn!(
                "database {name}: data for key {shown} is too long (data_size_limit={limit}) -- not stored"
            );
            return Err(LookupError::Retry);
        }
        let head = format!(" {} {} {}\r\n", self.flags, self.ttl, value.len());
        let head = [b"set ", key, head.as_bytes()].concat();
        self.ask(|session| session.set(&head, value, self.line_limit))
    }
}

/// The beginning of a reply.
fn told(line: &[u8]) -> String {
    printable(&line[..line.len().min(TOLD)])
}

fn text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "Connection timed out".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server has closed the connection".to_owned(),
        io::ErrorKind::InvalidData => "the line is too long".to_owned(),
        _ => sys::error_text(error),
    }
}

impl Table for MemcacheTable {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let Some(cached) = self.key(key)? else { return Ok(None) };
        let known = self.get(&cached);
        let Some(backup) = &self.backup else { return known };
        if let Ok(Some(value)) = known {
            return Ok(Some(value));
        }
        // It is asked for the key as it is folded here (observed, 3.7.11).
        let found = backup.lookup(&self.shape.folded(key))?;
        if let Some(value) = &found {
            self.remember(&cached, value);
        }
        Ok(found)
    }

    fn reason(&self) -> Option<String> {
        self.servers.outage()
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.shape.name
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        if let Some(backup) = &self.backup {
            return backup.each(visit);
        }
        log::warn!("database {}: first/next support requires backup database", self.shape.name);
        Ok(())
    }
}

impl Changes for ChangedTable {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        if self.table.refuses(key) {
            return Ok(None);
        }
        let Some(cached) = self.table.key(key)? else { return Ok(None) };
        let known = self.table.get(&cached);
        let Some(backup) = &self.backup else { return known };
        if let Ok(Some(value)) = known {
            return Ok(Some(value));
        }
        let found = backup.lookup(&self.table.shape.folded(key))?;
        if let Some(value) = &found {
            self.table.remember(&cached, value);
        }
        Ok(found)
    }

    /// With a table behind it, what becomes of the entry there counts.
    fn update(&self, key: &[u8], value: &[u8]) -> Result<(), LookupError> {
        if self.table.refuses(key) {
            return Ok(());
        }
        let Some(cached) = self.table.key(key)? else { return Ok(()) };
        let stored = self.table.store(&cached, value);
        self.backup.as_ref().map_or(stored, |backup| backup.update(&self.table.shape.folded(key), value))
    }

    /// What is refused counts as deleted (observed, 3.7.11).
    fn delete(&self, key: &[u8]) -> Result<bool, LookupError> {
        if self.table.refuses(key) {
            return Ok(true);
        }
        let Some(cached) = self.table.key(key)? else { return Ok(false) };
        let deleted = self.table.ask(|session| session.delete(&cached, self.table.line_limit));
        self.backup.as_ref().map_or(deleted, |backup| backup.delete(&self.table.shape.folded(key)))
    }

    fn each(&self, visit: VisitEntry<'_>) -> Result<(), SequenceError> {
        match &self.backup {
            Some(backup) => backup.each(visit),
            None => self.table.each(visit),
        }
    }

    fn reason(&self) -> Option<String> {
        self.table.reason()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (line, length) in [
            ("VALUE a 0 3", Some(3)),
            ("VALUE  a  0 3 99", Some(3)),
            ("VALUE a 0", None),
            ("VALUE a 0 x", None),
            ("VALUE a 0 -1", None),
            ("VALUE a 0 99999999999999999999999", None),
            ("END", None),
            ("", None),
        ] {
            assert_eq!(value_length(line.as_bytes()), length, "{line}");
        }
    }
}
