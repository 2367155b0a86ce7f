//! Address verification: is mail for an address deliverable? (spec ipc 9)
//!
//! `query` asks, `update` is how delivery agents tell what became of a probe. One list each way, null encoding, strict.
//! [`Client`] is the asking side; [`Request`], [`Answer`] and [`send_status`] are what the service needs.

use std::io::{self, BufRead, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::{Persistent, Timers};

/// `status` of an answer: done.
pub const OK: i32 = 0;
/// `status` of an answer: the service failed.
pub const FAIL: i32 = -1;
/// `status` of an answer: the request makes no sense.
pub const BAD: i32 = -2;

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Deliverable.
    Ok,
    /// Not for now.
    Defer,
    /// Not deliverable.
    Bounce,
    /// Nothing so far: a probe is under way.
    Todo,
}

impl Status {
    /// From its number.
    #[must_use]
    pub fn from_wire(number: i32) -> Option<Status> {
        [Status::Ok, Status::Defer, Status::Bounce, Status::Todo]
            .into_iter()
            .find(|status| status.to_wire() == number)
    }

    /// Its number.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        match self {
            Status::Ok => 0,
            Status::Defer => 1,
            Status::Bounce => 2,
            Status::Todo => 3,
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What is known of this address?
    Query {
        /// Address in internal form.
        address: Vec<u8>,
    },
    /// A probe has ended.
    Update {
        /// Address in internal form.
        address: Vec<u8>,
        /// Number of the status: any, from whoever sends it.
        status: i32,
        /// Text.
        reason: Vec<u8>,
    },
    /// Something else, of this name; the rest of the list is unread.
    Unknown(Vec<u8>),
}

impl Request {
    /// Reads a request from the stream called `from`.
    ///
    /// # Errors
    /// The list is not what it should be; not yet logged.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Request, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let name = list.string("request")?;
        let request = match name.as_slice() {
            b"query" => Request::Query { address: list.string("address")? },
            b"update" => Request::Update {
                address: list.string("address")?,
                status: list.int("recipient_status")?,
                reason: list.string("reason")?,
            },
            _ => return Ok(Request::Unknown(name)),
        };
        list.end()?;
        Ok(request)
    }
}

/// What the service answers to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is known.
    pub status: Status,
    /// Text.
    pub reason: Vec<u8>,
}

impl Answer {
    /// Sends the answer.
    ///
    /// # Errors
    /// The client cannot be written to.
    pub fn send(&self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        Encoder::null()
            .int("status", OK)
            .int("recipient_status", self.status.to_wire())
            .string("reason", &self.reason)
            .send(output)
    }
}

/// Sends the answer to an update, or to what is no request.
///
/// # Errors
/// The client cannot be written to.
pub fn send_status(status: i32, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
    Encoder::null().int("status", status).send(output)
}

/// A client of the service.
#[derive(Debug)]
pub struct Client(Persistent);

impl Client {
    /// A client of `private/SERVICE`; connects when first used.
    #[must_use]
    pub fn new(service: &str, timers: Timers) -> Client {
        Client(Persistent::new(&format!("private/{service}"), Protocol::ADDRESS_VERIFICATION, timers))
    }

    /// What is known of an address. `None` when the service fails, or says something that is no status: with its number.
    ///
    /// # Errors
    /// The number that is no status.
    pub fn query(&mut self, address: &[u8]) -> Result<Option<Answer>, i32> {
        let request = Encoder::null().string("request", "query").string("address", address);
        let reply = self.0.try_request(&request, Flags::MISSING, |list| {
            let status = list.int("status")?;
            let number = list.int("recipient_status")?;
            let reason = list.string("reason")?;
            list.end()?;
            Ok((status, number, reason))
        });
        match reply {
            Some((OK, number, reason)) => match Status::from_wire(number) {
                Some(status) => Ok(Some(Answer { status, reason })),
                None => Err(number),
            },
            _ => Ok(None),
        }
    }
}

impl Client {
    /// Tells what a probe has found about an address. False when the service fails, or refuses.
    #[must_use]
    pub fn update(&mut self, address: &[u8], answer: &Answer) -> bool {
        let request = Encoder::null()
            .string("request", "update")
            .string("address", address)
            .int("recipient_status", answer.status.to_wire())
            .string("reason", &answer.reason);
        let reply = self.0.try_request(&request, Flags::MISSING, |list| {
            let status = list.int("status")?;
            list.end()?;
            Ok(status)
        });
        reply == Some(OK)
    }
}

/// Digits of the time in a probe sender.
const DIGITS: &[u8; 31] = b"0123456789BCDFGHJKLMNPQRSTVWXYZ";

/// The sender of probes: `address_verify_sender`, with the current slot of `address_verify_sender_ttl` after its local
/// part when that is not zero. Not yet rewritten; empty is the null sender.
#[must_use]
pub fn probe_sender(base: &[u8], ttl: Duration, now: SystemTime) -> Vec<u8> {
    if base.is_empty() || base == b"<>" {
        return Vec::new();
    }
    if ttl.is_zero() {
        return base.to_vec();
    }
    let at = base.iter().rposition(|&byte| byte == b'@').unwrap_or(base.len());
    [&base[..at], &digits(slot(ttl, now)), &base[at..]].concat()
}

/// Whether `address` is the sender of probes that may still be answered: that of now, or of the slot before or after.
/// `base` is fully qualified.
#[must_use]
pub fn is_probe_sender(address: &[u8], base: &[u8], ttl: Duration, now: SystemTime) -> bool {
    if base.is_empty() {
        return false;
    }
    if ttl.is_zero() {
        return address.eq_ignore_ascii_case(base);
    }
    let at = base.iter().rposition(|&byte| byte == b'@').unwrap_or(base.len());
    let (Some(local), Some(tail)) = (address.get(..at), address.get(at..)) else { return false };
    let Some(end) = tail.len().checked_sub(base.len() - at) else { return false };
    let (number, domain) = tail.split_at(end);
    let current = slot(ttl, now);
    local.eq_ignore_ascii_case(&base[..at])
        && domain.eq_ignore_ascii_case(&base[at..])
        && [current.wrapping_sub(1), current, current.wrapping_add(1)]
            .iter()
            .any(|&slot| value(number) == Some(slot))
}

fn slot(ttl: Duration, now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / ttl.as_secs().max(1)
}

/// The number that the digits are; leading zeros are none the worse.
fn value(digits: &[u8]) -> Option<u64> {
    let digit =
        |byte: &u8| DIGITS.iter().position(|known| known == byte).and_then(|at| u64::try_from(at).ok());
    let add = |number: u64, byte| number.checked_mul(31)?.checked_add(digit(byte)?);
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

fn digits(mut number: u64) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        text.push(DIGITS[usize::try_from(number % 31).unwrap_or_default()]);
        number /= 31;
        if number == 0 {
            break;
        }
    }
    text.reverse();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let mut wire = &b"request\0query\0address\0joe@x\0\0"[..];
        assert_eq!(
            Request::read(&mut wire, "test").expect("reads"),
            Request::Query { address: b"joe@x".to_vec() }
        );
        let mut wire = &b"request\0update\0address\0joe@x\0recipient_status\x002\0reason\0no\0\0"[..];
        let update = Request::Update { address: b"joe@x".to_vec(), status: 2, reason: b"no".to_vec() };
        assert_eq!(Request::read(&mut wire, "test").expect("reads"), update);
        let mut wire = &b"request\0foo\0\0"[..];
        assert_eq!(Request::read(&mut wire, "test").expect("reads"), Request::Unknown(b"foo".to_vec()));
        assert!(Request::read(&mut &b"request\0query\0\0"[..], "test").is_err());
        let mut wire = Vec::new();
        Answer { status: Status::Todo, reason: b"x".to_vec() }.send(&mut wire).expect("a vector");
        assert_eq!(wire, b"status\x000\0recipient_status\x003\0reason\0x\0\0");
    }

    #[test]
    fn probe_senders() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let ttl = Duration::from_secs(10);
        assert_eq!(probe_sender(b"", ttl, at(5)), b"");
        assert_eq!(probe_sender(b"<>", Duration::ZERO, at(5)), b"");
        assert_eq!(probe_sender(b"probe", Duration::ZERO, at(5)), b"probe");
        assert_eq!(probe_sender(b"probe@a.b", ttl, at(310)), b"probe10@a.b");
        for (address, seconds, expected) in [
            ("PROBE10@a.b", 310, true),
            ("probe10@A.b", 300, true),
            ("probe10@a.b", 320, true),
            ("probe10@a.b", 330, false),
            ("probe@a.b", 310, false),
            ("probe0010@a.b", 310, true),
            ("probeZZZZZZZZZZZZZZZZ@a.b", 310, false),
            ("probe10@a.c", 310, false),
            ("p", 310, false),
            ("probe@a", 310, false),
        ] {
            let found = is_probe_sender(address.as_bytes(), b"probe@a.b", ttl, at(seconds));
            assert_eq!(found, expected, "{address} {seconds}");
        }
        assert!(is_probe_sender(b"probe@a.b", b"probe@a.b", Duration::ZERO, at(1)));
    }
}
