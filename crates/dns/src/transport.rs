//! One question, put to the servers of `resolv.conf` in turn: UDP first, TCP for what does not fit.
//!
//! Every wait has an end: `attempts` rounds, and in each a time limit for each server, as in the C library. An answer counts when
//! it comes from the server asked, bears the question's number, and repeats the question; anything else is ignored
//! until the time is up.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::message::{self, Flags, Malformed, Message, ResponseCode};
use crate::record::RecordType;
use crate::resolv_conf::ResolvConf;

/// Largest UDP answer that is read.
const UDP_LIMIT: usize = 65_535;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The name cannot be put into a question.
    BadName,
    /// No server gave an answer in time, or each said that it could not.
    Unavailable,
    /// The answer makes no sense.
    Malformed,
}

/// Asks the servers; the first that answers decides.
///
/// # Errors
/// None did.
pub(crate) fn ask(
    conf: &ResolvConf,
    name: &[u8],
    kind: RecordType,
    flags: Flags,
) -> Result<Message, NoAnswer> {
    static ROTATION: AtomicUsize = AtomicUsize::new(0);
    let first = if conf.rotate { ROTATION.fetch_add(1, Ordering::Relaxed) } else { 0 };
    let count = conf.servers.len().max(1);
    for _ in 0..conf.attempts {
        for number in 0..conf.servers.len() {
            let server = conf.servers[(first + number) % count];
            let limit = time_limit(conf.timeout, number, count);
            let id = random_id();
            let question = message::query(id, name, kind, flags).ok_or(NoAnswer::BadName)?;
            let asked = Asked { id, name, kind, question: &question };
            match asked.exchange(server, conf.use_vc, limit) {
                Ok(answer) if is_final(answer.code) => return Ok(answer),
                Err(Failed::Malformed) => return Err(NoAnswer::Malformed),
                Ok(_) | Err(Failed::Io) => {}
            }
        }
    }
    Err(NoAnswer::Unavailable)
}

/// Another server may do better after these.
fn is_final(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::ServerFailure | ResponseCode::NotImplemented | ResponseCode::Refused)
}

/// How long the server in this place is waited for: in each round the same (observed, glibc 2.36). From the second place
/// on the limit doubles from one to the next, and all share it.
fn time_limit(timeout: Duration, place: usize, servers: usize) -> Duration {
    if place == 0 {
        return timeout;
    }
    let shift = u32::try_from(place).unwrap_or(u32::MAX).min(8);
    let shared = timeout.as_secs().saturating_mul(1 << shift) / servers.max(1) as u64;
    Duration::from_secs(shared.max(1))
}

/// A number that others cannot guess: a keyed hash, the key of which comes from the system.
fn random_id() -> u16 {
    let [.., high, low] = RandomState::new().build_hasher().finish().to_be_bytes();
    u16::from_be_bytes([high, low])
}

enum Failed {
    Io,
    Malformed,
}

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Self {
        Failed::Io
    }
}

struct Asked<'q> {
    id: u16,
    name: &'q [u8],
    kind: RecordType,
    question: &'q [u8],
}

impl Asked<'_> {
    fn exchange(&self, server: SocketAddr, use_vc: bool, limit: Duration) -> Result<Message, Failed> {
        let deadline = Instant::now() + limit;
        if use_vc {
            return self.over_tcp(server, deadline);
        }
        let answer = self.over_udp(server, deadline)?;
        // TCP gets a time limit of its own: the server has shown that it is there.
        if answer.truncated { self.over_tcp(server, Instant::now() + limit) } else { Ok(answer) }
    }

    fn over_udp(&self, server: SocketAddr, deadline: Instant) -> Result<Message, Failed> {
        let own: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own)?;
        // A connected socket hears no one else, and hears of a port that nobody listens on.
        socket.connect(server)?;
        socket.send(self.question)?;
        loop {
            socket.set_read_timeout(Some(left(deadline)?))?;
            // Many may wait at once: there is a buffer when there is something to read.
            socket.peek(&mut [0])?;
            let mut buffer = vec![0; UDP_LIMIT];
            let length = socket.recv(&mut buffer)?;
            let bytes = &buffer[..length];
            match message::parse(bytes) {
                Ok(answer) if self.is_answered_by(&answer) => return Ok(answer),
                Err(Malformed) if bytes.starts_with(&self.id.to_be_bytes()) => return Err(Failed::Malformed),
                _ => {}
            }
        }
    }

    fn over_tcp(&self, server: SocketAddr, deadline: Instant) -> Result<Message, Failed> {
        let mut stream = TcpStream::connect_timeout(&server, left(deadline)?)?;
        stream.set_write_timeout(Some(left(deadline)?))?;
        let length = u16::try_from(self.question.len()).map_err(|_| Failed::Malformed)?;
        stream.write_all(&[&length.to_be_bytes()[..], self.question].concat())?;
        let mut length = [0; 2];
        read_whole(&mut stream, &mut length, deadline)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        read_whole(&mut stream, &mut bytes, deadline)?;
        match message::parse(&bytes) {
            Ok(answer) if self.is_answered_by(&answer) => Ok(answer),
            _ => Err(Failed::Malformed),
        }
    }

    fn is_answered_by(&self, answer: &Message) -> bool {
        let name = self.name.strip_suffix(b".").unwrap_or(self.name);
        answer.id == self.id && answer.kind == self.kind.number() && answer.name.eq_ignore_ascii_case(name)
    }
}

fn read_whole(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> Result<(), Failed> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(buffer)? {
            0 => return Err(Failed::Io),
            length => buffer = buffer.get_mut(length..).unwrap_or_default(),
        }
    }
    Ok(())
}

fn left(deadline: Instant) -> Result<Duration, Failed> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Failed::Io),
        left => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_c_library() {
        let seconds = |timeout: u64, servers: usize| -> Vec<u64> {
            let limit = |place| time_limit(Duration::from_secs(timeout), place, servers).as_secs();
            (0..servers).map(limit).collect()
        };
        // Times between the questions to servers that were silent.
        assert_eq!(seconds(1, 1), [1]);
        assert_eq!(seconds(2, 2), [2, 2]);
        assert_eq!(seconds(3, 3), [3, 2, 4]);
        assert_eq!(seconds(1, 3), [1, 1, 1]);
    }
}
