//! Counters that several gateways share in a Redis server: `anvil_shared_counters` (not of Postfix).
//!
//! Each client has two hashes there. One has the number of its sessions at each gateway, which that gateway writes as it
//! knows it, so that a server that has lost everything has it again with the next event; gateways show by a key that
//! expires that they are alive, and the sessions of one that is not count no more. The other has its rates, and expires
//! when the period is over.
//!
//! Who asks anvil waits for the answer of the server, and so does everybody else who asks then: [`TIME_LIMIT`] is for
//! all of a question. After a failure it is not asked for a while, [`PAUSE`], and this process's own counters count.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use ipc::anvil::Counters;

use crate::place::Place;
use crate::remote::Rate;

/// For one question, connecting included.
const TIME_LIMIT: Duration = Duration::from_millis(500);
/// Of this, for finding the host's addresses.
const LOOK_UP_LIMIT: Duration = Duration::from_millis(250);
/// For how long a server that failed is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// How often a gateway shows that it is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// For how long it counts as alive after that, in seconds.
const ALIVE: u64 = 15;
/// For how long sessions are remembered of a client of whom nothing is heard, in seconds.
const SESSIONS: u64 = 86_400;
/// The most gateways that are counted, and the longest line or value of an answer.
const ITEMS_LIMIT: usize = 2048;
const BYTES_LIMIT: usize = 4096;

const NAMES: [&str; Rate::COUNT] = ["rate", "mail", "rcpt", "newtls", "auth", "tlstr"];

/// The counters at a server.
#[derive(Debug)]
pub(crate) struct Shared {
    place: Place,
    gateway: String,
    period: u64,
    stream: Option<BufReader<TcpStream>>,
    /// Since when the server is known to be away, and when it is asked again.
    away_until: Option<Instant>,
    heartbeat: Instant,
}

/// What comes from a server.
#[derive(Debug)]
enum Value {
    Integer(i64),
    Bytes(Option<Vec<u8>>),
    List(Vec<Value>),
}

impl Shared {
    /// From the parameter; nothing when it is empty.
    ///
    /// # Errors
    /// It names no server. That the server's host cannot be found is an outage like others.
    pub(crate) fn new(place: &str, hostname: &str, time_unit: Duration) -> Result<Option<Self>, String> {
        if place.is_empty() {
            return Ok(None);
        }
        let place = Place::parse(place)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Some(Self {
            place,
            gateway: format!("{hostname}/{}/{}", std::process::id(), since.as_nanos()),
            period: time_unit.as_secs().max(1) + 1,
            stream: None,
            away_until: None,
            heartbeat: Instant::now(),
        }))
    }

    /// Looks the host up while the process has the root and the files of every other: one that has changed its root
    /// may find nothing later. An outage is told.
    pub(crate) fn find(&mut self) {
        if let Err(error) = self.place.addresses(TIME_LIMIT) {
            self.is_away(&error);
        }
        self.place.forget_pending();
    }

    /// When [`Shared::beat`] is due.
    pub(crate) fn next_heartbeat(&self) -> Instant {
        self.heartbeat
    }

    /// Shows that this gateway is alive, when it is time.
    pub(crate) fn beat(&mut self) {
        if Instant::now() >= self.heartbeat {
            self.heartbeat = Instant::now() + HEARTBEAT;
            let commands = vec![self.alive()];
            self.ask(&commands);
        }
    }

    /// This gateway has so many sessions of the client, and this has happened: all counters, everywhere.
    pub(crate) fn event(&mut self, ident: &[u8], sessions: i32, event: Option<Rate>) -> Option<Counters> {
        let ident = common(ident);
        let (count_key, rate_key) = (key(b"sessions:", ident), key(b"rates:", ident));
        let sessions = sessions.to_string();
        let mut commands = vec![
            self.alive(),
            match sessions.as_str() {
                "0" => words(&[b"HDEL", &count_key, self.gateway.as_bytes()]),
                sessions => words(&[b"HSET", &count_key, self.gateway.as_bytes(), sessions.as_bytes()]),
            },
            words(&[b"EXPIRE", &count_key, SESSIONS.to_string().as_bytes()]),
        ];
        if let Some(rate) = event {
            commands.push(words(&[b"HINCRBY", &rate_key, NAMES[rate as usize].as_bytes(), b"1"]));
        }
        commands.push(words(&[b"TTL", &rate_key]));
        commands.push(words(&[b"HGETALL", &rate_key]));
        commands.push(words(&[b"HGETALL", &count_key]));
        let mut answers = self.ask(&commands)?;
        let (count, rates, left) = (answers.pop()?, answers.pop()?, answers.pop()?);
        let (at_gateways, rates) = (pairs(count), pairs(rates));
        // A period begins with the first event in it.
        let mut more = Vec::new();
        if matches!(left, Value::Integer(-1)) {
            more.push(words(&[b"EXPIRE", &rate_key, self.period.to_string().as_bytes()]));
        }
        let mut shown = vec![b"MGET".to_vec()];
        shown.extend(at_gateways.iter().map(|(gateway, _)| key(b"gateway:", gateway)));
        let asked = shown.len() > 1;
        if asked {
            more.push(shown);
        }
        let mut answers = if more.is_empty() { Vec::new() } else { self.ask(&more)? };
        let alive = match answers.pop().filter(|_| asked) {
            Some(Value::List(values)) => values,
            _ => Vec::new(),
        };
        let is_alive = |value: &Value| matches!(value, Value::Bytes(Some(_)));
        let living = at_gateways.iter().zip(&alive).filter(|(_, value)| is_alive(value));
        let count = living.fold(0_i32, |sum, ((_, number), _)| sum.saturating_add((*number).max(0)));
        let rate = |name: &str| {
            rates.iter().find(|(field, _)| field == name.as_bytes()).map_or(0, |(_, number)| *number)
        };
        let [connection, mail, rcpt, newtls, auth, tlstr] = NAMES.map(rate);
        Some(Counters { count, rate: connection, mail, rcpt, newtls, auth, tlstr })
    }

    fn alive(&self) -> Vec<Vec<u8>> {
        let key = key(b"gateway:", self.gateway.as_bytes());
        words(&[b"SET", &key, b"1", b"EX", ALIVE.to_string().as_bytes()])
    }

    /// The answers to some commands; nothing while the server is away. Each outage is told once, and its end.
    fn ask(&mut self, commands: &[Vec<Vec<u8>>]) -> Option<Vec<Value>> {
        if self.away_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let deadline = Instant::now() + TIME_LIMIT;
        // A connection that was closed since the last question shows only when it is used.
        let kept = self.stream.is_some();
        let mut result = self.converse(commands, deadline);
        if kept && result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::TimedOut) {
            result = self.converse(commands, deadline);
        }
        match result {
            Ok(values) => {
                if self.away_until.take().is_some() {
                    log::info!(
                        "anvil_shared_counters = {}: the server is back, counters are shared again",
                        self.place.text()
                    );
                }
                Some(values)
            }
            Err(error) => {
                self.is_away(&error);
                None
            }
        }
    }

    /// Each outage is told once; the addresses may be others when the server is back.
    fn is_away(&mut self, error: &io::Error) {
        if self.away_until.is_none() {
            let (place, reason) = (self.place.text(), sys::error_text(error));
            log::warn!("anvil_shared_counters = {place}: {reason}; this host counts alone");
        }
        self.away_until = Some(Instant::now() + PAUSE);
        self.place.failed();
    }

    fn converse(&mut self, commands: &[Vec<Vec<u8>>], deadline: Instant) -> io::Result<Vec<Value>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(self.connect(deadline)?),
        };
        let mut request = Vec::new();
        for command in commands {
            request.extend(format!("*{}\r\n", command.len()).into_bytes());
            for word in command {
                request.extend(format!("${}\r\n", word.len()).into_bytes());
                request.extend_from_slice(word);
                request.extend_from_slice(b"\r\n");
            }
        }
        stream.get_ref().set_write_timeout(Some(left(deadline)?))?;
        stream.get_mut().write_all(&request).map_err(timed_out)?;
        let values = commands.iter().map(|_| value(&mut stream, deadline, 0)).collect::<io::Result<_>>()?;
        self.stream = Some(stream);
        Ok(values)
    }

    fn connect(&mut self, deadline: Instant) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.place.addresses(left(deadline)?.min(LOOK_UP_LIMIT))? {
            match TcpStream::connect_timeout(address, left(deadline)?) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn words(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

fn key(kind: &[u8], name: &[u8]) -> Vec<u8> {
    [b"postern:anvil:", kind, name].concat()
}

/// `SERVICE:CLIENT` as all hosts have it: where the service's name has an address, `192.0.2.1:25` or `[2001:db8::1]:25`,
/// that is a host's own. Names of services have neither dots nor brackets.
fn common(ident: &[u8]) -> &[u8] {
    let end = if ident.starts_with(b"[") {
        ident.iter().position(|byte| *byte == b']').map(|end| end + 1)
    } else {
        ident.iter().position(|byte| *byte == b':').filter(|end| ident[..*end].contains(&b'.'))
    };
    let rest = end.and_then(|end| ident[end..].strip_prefix(b":")).filter(|rest| rest.contains(&b':'));
    rest.unwrap_or(ident)
}

/// The time that is left; an error when there is none.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket's own time limit has another name.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// Fields of a hash, with numbers.
fn pairs(value: Value) -> Vec<(Vec<u8>, i32)> {
    let Value::List(values) = value else { return Vec::new() };
    let mut words = values.into_iter().map(|value| match value {
        Value::Bytes(bytes) => bytes.unwrap_or_default(),
        _ => Vec::new(),
    });
    let mut pairs = Vec::new();
    while let (Some(field), Some(number)) = (words.next(), words.next()) {
        let number = std::str::from_utf8(&number).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let bounded = number.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        pairs.push((field, i32::try_from(bounded).unwrap_or(i32::MAX)));
    }
    pairs
}

/// Reads one answer of the protocol RESP2. What the server calls an error is one.
fn value(stream: &mut BufReader<TcpStream>, deadline: Instant, depth: usize) -> io::Result<Value> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "this is no Redis server");
    let line = line(stream, deadline)?;
    let (kind, text) = line.split_first().ok_or_else(broken)?;
    let text = String::from_utf8_lossy(text).into_owned();
    let number = || text.parse::<i64>().map_err(|_| broken());
    let length = || number().map(|number| usize::try_from(number).ok());
    Ok(match kind {
        b'+' => Value::Bytes(Some(text.into_bytes())),
        b'-' => return Err(io::Error::other(text)),
        b':' => Value::Integer(number()?),
        b'$' => match length()? {
            None => Value::Bytes(None),
            Some(length) if length > BYTES_LIMIT => return Err(broken()),
            Some(length) => {
                let mut bytes = Vec::with_capacity(length + 2);
                while bytes.len() < length + 2 {
                    bytes.push(byte(stream, deadline)?);
                }
                bytes.truncate(length);
                Value::Bytes(Some(bytes))
            }
        },
        b'*' => match length()? {
            None => Value::List(Vec::new()),
            Some(length) if length > ITEMS_LIMIT || depth > 0 => return Err(broken()),
            Some(length) => Value::List(
                (0..length).map(|_| value(stream, deadline, depth + 1)).collect::<io::Result<_>>()?,
            ),
        },
        _ => return Err(broken()),
    })
}

fn line(stream: &mut BufReader<TcpStream>, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() > BYTES_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no Redis server"));
        }
        line.push(byte(stream, deadline)?);
    }
    let end = line.strip_suffix(b"\r\n").map_or(line.len() - 1, <[u8]>::len);
    line.truncate(end);
    Ok(line)
}

fn byte(stream: &mut BufReader<TcpStream>, deadline: Instant) -> io::Result<u8> {
    if stream.buffer().is_empty() {
        stream.get_ref().set_read_timeout(Some(left(deadline)?))?;
    }
    let byte = *stream.fill_buf().map_err(timed_out)?.first().ok_or(io::ErrorKind::UnexpectedEof)?;
    stream.consume(1);
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let new = |place: &str| Shared::new(place, "mx.example.com", Duration::from_secs(60));
        assert!(new("").expect("nothing").is_none());
        assert!(new("redis:127.0.0.1:6379").expect("a server").is_some());
        assert!(new("redis:127.0.0.1").is_err());
    }

    #[test]
    fn services_of_all_hosts() {
        for (ident, expected) in [
            ("smtp:192.0.2.1", "smtp:192.0.2.1"),
            ("smtp:2001:db8::1", "smtp:2001:db8::1"),
            ("192.0.2.9:25:192.0.2.1", "25:192.0.2.1"),
            ("mx.example.com:smtp:2001:db8::1", "smtp:2001:db8::1"),
            ("[2001:db8::9]:25:192.0.2.1", "25:192.0.2.1"),
            ("192.0.2.9:25", "192.0.2.9:25"),
            ("[", "["),
            ("", ""),
        ] {
            assert_eq!(common(ident.as_bytes()), expected.as_bytes(), "{ident}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_found_is_an_outage() {
        let place = "redis:no-such-host.invalid:6379";
        let mut shared = Shared::new(place, "x", Duration::from_secs(60)).expect("a server").expect("one");
        shared.find();
        assert!(shared.away_until.is_some());
        assert!(shared.event(b"smtp:192.0.2.1", 1, None).is_none());
    }

    #[test]
    fn servers_that_mean_no_good() {
        for said in [
            &b"$999999999\r\n"[..],
            b"*999999\r\n",
            b"*1\r\n*1\r\n*1\r\n",
            b"HTTP/1.1 400\r\n",
            b"-NOAUTH no\r\n",
            b"$-\r\n",
            b"",
        ] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let said = said.to_vec();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                let _ = stream.write_all(&said);
            });
            let place = format!("redis:127.0.0.1:{port}");
            let mut shared =
                Shared::new(&place, "x", Duration::from_secs(60)).expect("a server").expect("one");
            assert!(shared.event(b"smtp:192.0.2.1", 1, Some(Rate::Connection)).is_none());
            assert!(shared.away_until.is_some());
            server.join().expect("a server that did its work");
        }
    }
}
