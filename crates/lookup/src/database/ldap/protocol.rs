//! The conversation with a directory server: bind, searches with their entries, unbind (RFC 4511).

use std::io;
use std::time::Instant;

use super::ber::{self, Malformed, Reader};
use super::{Limits, Wire, filter};

/// Bounds what one message takes: an entry.
const MESSAGE_LIMIT: usize = 16 << 20;
/// Bounds what an answer takes.
pub(super) const ANSWER_LIMIT: usize = 64 << 20;
/// Most messages that are passed over because they answer nothing that was asked.
const STRAY_LIMIT: usize = 1000;

/// A result that is not a server's but says what became of the conversation, as OpenLDAP's library numbers it.
pub(super) const SERVER_DOWN: i32 = -1;
pub(super) const LOCAL_ERROR: i32 = -2;
pub(super) const DECODING_ERROR: i32 = -4;
pub(super) const TIMEOUT: i32 = -5;
/// No mechanism is left to log in with.
pub(super) const AUTH_UNKNOWN: i32 = -6;
pub(super) const FILTER_ERROR: i32 = -7;
pub(super) const PARAM_ERROR: i32 = -9;
const CONNECT_ERROR: i32 = -11;
pub(super) const SUCCESS: i32 = 0;
pub(super) const REFERRAL: i32 = 10;
pub(super) const NO_SUCH_OBJECT: i32 = 32;
/// What a server is told that asks for a login in several steps.
pub(super) const SASL_BIND_IN_PROGRESS: i32 = 14;

/// How far below the base a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Base = 0,
    One = 1,
    Sub = 2,
    Children = 3,
}

/// What is searched for.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) base: &'a [u8],
    pub(super) scope: Scope,
    pub(super) filter: &'a [u8],
    pub(super) attributes: &'a [Vec<u8>],
}

/// The attributes of an entry, each with its values.
pub(super) type Entry = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

/// An answer: what was found, and the server's result.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// How much the entries take.
    pub(super) size: usize,
    pub(super) code: i32,
    /// What of it other servers have: of each part the URLs that lead to it.
    pub(super) references: Vec<Vec<Vec<u8>>>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Session {
    wire: Wire,
    last_id: i32,
    /// It can be used no more.
    is_broken: bool,
}

/// One message that was received.
struct Message {
    id: i32,
    kind: u8,
    content: Vec<u8>,
}

impl From<Malformed> for NoAnswer {
    fn from(_: Malformed) -> NoAnswer {
        NoAnswer(DECODING_ERROR)
    }
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> NoAnswer {
        NoAnswer(match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => TIMEOUT,
            _ => SERVER_DOWN,
        })
    }
}

/// Why there is no answer: a number of the library's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoAnswer(pub(super) i32);

/// An entry's name is not kept; its attributes are.
pub(super) fn entry(content: &[u8]) -> Result<Entry, Malformed> {
    let mut reader = Reader::new(content);
    reader.expect(ber::OCTETS)?;
    let mut attributes = Reader::new(reader.expect(ber::SEQUENCE)?);
    let mut entry = Entry::new();
    while !attributes.is_empty() {
        let mut attribute = Reader::new(attributes.expect(ber::SEQUENCE)?);
        let name = attribute.expect(ber::OCTETS)?.to_vec();
        let mut set = Reader::new(attribute.expect(ber::SET)?);
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.expect(ber::OCTETS)?.to_vec());
        }
        entry.push((name, values));
    }
    Ok(entry)
}

/// An operation's result.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: i32,
    /// The URLs of who knows more.
    pub(super) referral: Vec<Vec<u8>>,
    /// What a mechanism of logging in has to say.
    pub(super) credentials: Option<Vec<u8>>,
}

/// Reads an operation's result.
pub(super) fn outcome(content: &[u8]) -> Result<Outcome, Malformed> {
    let mut reader = Reader::new(content);
    let mut outcome = Outcome { code: reader.number(ber::ENUMERATED)?, ..Outcome::default() };
    reader.expect(ber::OCTETS)?;
    reader.expect(ber::OCTETS)?;
    while !reader.is_empty() {
        match reader.any()? {
            (REFERRAL_URLS, urls) => outcome.referral = references(urls)?,
            (SERVER_CREDENTIALS, credentials) => outcome.credentials = Some(credentials.to_vec()),
            _ => {}
        }
    }
    Ok(outcome)
}

/// A list of URLs.
pub(super) fn references(content: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut reader = Reader::new(content);
    let mut urls = Vec::new();
    while !reader.is_empty() {
        urls.push(reader.expect(ber::OCTETS)?.to_vec());
    }
    Ok(urls)
}

/// The number of an operation's result.
fn result(content: &[u8]) -> Result<i32, Malformed> {
    Ok(outcome(content)?.code)
}

/// A message's number, and what it is.
pub(super) fn envelope(content: &[u8]) -> Result<(i32, u8, &[u8]), Malformed> {
    let mut reader = Reader::new(content);
    let id = reader.number(ber::INTEGER)?;
    let (kind, content) = reader.any()?;
    Ok((id, kind, content))
}

const BIND: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND: u8 = 0x42;
const SEARCH: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

/// Parts of results.
const REFERRAL_URLS: u8 = 0xa3;
const SERVER_CREDENTIALS: u8 = 0x87;

/// The operation that asks for TLS (RFC 4511, section 4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

impl Session {
    pub(super) fn new(wire: Wire) -> Session {
        Session { wire, last_id: 0, is_broken: false }
    }

    /// Tells the server who asks; the server's result.
    pub(super) fn bind(&mut self, version: i32, name: &[u8], password: &[u8]) -> Result<i32, NoAnswer> {
        let id = self.send(BIND, |out| {
            ber::put_number(out, ber::INTEGER, version);
            ber::put(out, ber::OCTETS, name);
            ber::put(out, 0x80, password);
        })?;
        let code = self.bound(id)?.code;
        Ok(if code == SASL_BIND_IN_PROGRESS { DECODING_ERROR } else { code })
    }

    /// What the server says to a login.
    fn bound(&mut self, id: i32) -> Result<Outcome, NoAnswer> {
        let message = self.answer(id)?;
        if message.kind != BIND_RESPONSE {
            return Err(Malformed.into());
        }
        Ok(outcome(&message.content)?)
    }

    /// One step of a mechanism's.
    pub(super) fn bind_by(
        &mut self,
        version: i32,
        mechanism: &[u8],
        credentials: Option<&[u8]>,
    ) -> Result<Outcome, NoAnswer> {
        let id = self.send(BIND, |out| {
            ber::put_number(out, ber::INTEGER, version);
            ber::put(out, ber::OCTETS, &[]);
            ber::put_nested(out, 0xa3, |out| {
                ber::put(out, ber::OCTETS, mechanism);
                if let Some(credentials) = credentials {
                    ber::put(out, ber::OCTETS, credentials);
                }
            });
        })?;
        self.bound(id)
    }

    /// Puts TLS around the connection, once the server has agreed to it. What stands in the way is a number of the
    /// server's or the library's.
    pub(super) fn start_tls(&mut self, protect: impl FnOnce(&mut Wire) -> bool) -> Result<(), NoAnswer> {
        let id = self.send(EXTENDED, |out| ber::put(out, 0x80, START_TLS))?;
        let message = self.answer(id)?;
        if message.kind != EXTENDED_RESPONSE {
            return Err(Malformed.into());
        }
        match result(&message.content)? {
            SUCCESS if protect(&mut self.wire) => Ok(()),
            SUCCESS => {
                self.is_broken = true;
                Err(NoAnswer(CONNECT_ERROR))
            }
            code => Err(NoAnswer(code)),
        }
    }

    /// The same without asking: the server expects nothing else.
    pub(super) fn protect(&mut self, protect: impl FnOnce(&mut Wire) -> bool) -> Result<(), NoAnswer> {
        self.is_broken = !protect(&mut self.wire);
        if self.is_broken { Err(NoAnswer(SERVER_DOWN)) } else { Ok(()) }
    }

    /// Whether there is TLS around the connection.
    pub(super) fn is_protected(&self) -> bool {
        self.wire.is_protected()
    }

    /// Whether the connection is to another process of this machine.
    pub(super) fn is_local(&self) -> bool {
        self.wire.is_local()
    }

    /// Searches. Each wait, all of an answer's together, is as long as the limits say.
    pub(super) fn search(
        &mut self,
        search: &Search<'_>,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Found, NoAnswer> {
        let Some(filter) = filter::encode(search.filter) else { return Err(NoAnswer(FILTER_ERROR)) };
        self.wire.until(deadline.min(Instant::now() + limits.timeout));
        let found = self.search_encoded(search, &filter, limits);
        self.is_broken |= found.is_err();
        found
    }

    fn search_encoded(
        &mut self,
        search: &Search<'_>,
        filter: &[u8],
        limits: Limits,
    ) -> Result<Found, NoAnswer> {
        let seconds = i32::try_from(limits.timeout.as_secs()).unwrap_or(i32::MAX);
        let id = self.send(SEARCH, |out| {
            ber::put(out, ber::OCTETS, search.base);
            ber::put_number(out, ber::ENUMERATED, search.scope as i32);
            ber::put_number(out, ber::ENUMERATED, limits.dereference);
            ber::put_number(out, ber::INTEGER, limits.size);
            ber::put_number(out, ber::INTEGER, seconds);
            ber::put(out, ber::BOOLEAN, &[0]);
            out.extend_from_slice(filter);
            ber::put_nested(out, ber::SEQUENCE, |out| {
                search.attributes.iter().for_each(|name| ber::put(out, ber::OCTETS, name));
            });
        })?;
        let mut found = Found::default();
        loop {
            let message = self.answer(id)?;
            match message.kind {
                SEARCH_ENTRY => {
                    found.size += message.content.len();
                    if found.size > ANSWER_LIMIT {
                        return Err(Malformed.into());
                    }
                    found.entries.push(entry(&message.content)?);
                }
                SEARCH_DONE => {
                    let done = outcome(&message.content)?;
                    found.code = done.code;
                    if !done.referral.is_empty() {
                        found.references.push(done.referral);
                    }
                    return Ok(found);
                }
                kind => {
                    found.size += message.content.len() + 100;
                    if found.size > ANSWER_LIMIT {
                        return Err(Malformed.into());
                    }
                    // What else later protocols may have is passed over.
                    if kind == SEARCH_REFERENCE {
                        found.references.push(references(&message.content)?);
                    }
                }
            }
        }
    }

    /// Until when bind and its like are waited for.
    pub(super) fn until(&mut self, deadline: Instant) {
        self.wire.until(deadline);
    }

    fn send(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Result<i32, NoAnswer> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let mut message = Vec::new();
        ber::put_nested(&mut message, ber::SEQUENCE, |out| {
            ber::put_number(out, ber::INTEGER, self.last_id);
            ber::put_nested(out, kind, fill);
        });
        self.wire.send(&message)?;
        Ok(self.last_id)
    }

    /// The next message that answers this request.
    fn answer(&mut self, id: i32) -> Result<Message, NoAnswer> {
        for _ in 0..STRAY_LIMIT {
            let message = self.receive()?;
            if message.id == id {
                return Ok(message);
            }
            // The server takes leave, and says why.
            if message.id == 0 && message.kind == EXTENDED_RESPONSE {
                return Err(NoAnswer(match result(&message.content)? {
                    SUCCESS => SERVER_DOWN,
                    code => code,
                }));
            }
        }
        Err(Malformed.into())
    }

    fn receive(&mut self) -> Result<Message, NoAnswer> {
        let mut head = vec![0; 2];
        self.wire.read_exact(&mut head)?;
        if head[1] > 0x80 {
            let more = usize::from(head[1] & 0x7f).min(4);
            head.resize(2 + more, 0);
            self.wire.read_exact(&mut head[2..])?;
        }
        // The library takes what is no message for an end of the connection.
        let length = match ber::header(&head) {
            Ok(Some((ber::SEQUENCE, length, _))) if length <= MESSAGE_LIMIT => length,
            _ => return Err(NoAnswer(SERVER_DOWN)),
        };
        let mut content = vec![0; length];
        self.wire.read_exact(&mut content)?;
        let (id, kind, content) = envelope(&content)?;
        Ok(Message { id, kind, content: content.to_vec() })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_broken {
            return;
        }
        let mut message = Vec::new();
        ber::put_nested(&mut message, ber::SEQUENCE, |out| {
            ber::put_number(out, ber::INTEGER, self.last_id.wrapping_add(1).max(1));
            ber::put(out, UNBIND, &[]);
        });
        self.wire.leave(&message);
    }
}

/// What a result is called.
pub(super) fn text(code: i32) -> &'static str {
    match code {
        0 => "Success",
        1 => "Operations error",
        2 => "Protocol error",
        3 => "Time limit exceeded",
        4 => "Size limit exceeded",
        5 => "Compare False",
        6 => "Compare True",
        7 => "Authentication method not supported",
        8 => "Strong(er) authentication required",
        9 => "Partial results and referral received",
        10 => "Referral",
        11 => "Administrative limit exceeded",
        12 => "Critical extension is unavailable",
        13 => "Confidentiality required",
        14 => "SASL bind in progress",
        16 => "No such attribute",
        17 => "Undefined attribute type",
        18 => "Inappropriate matching",
        19 => "Constraint violation",
        20 => "Type or value exists",
        21 => "Invalid syntax",
        32 => "No such object",
        33 => "Alias problem",
        34 => "Invalid DN syntax",
        35 => "Entry is a leaf",
        36 => "Alias dereferencing problem",
        47 => "Proxy Authorization Failure",
        48 => "Inappropriate authentication",
        49 => "Invalid credentials",
        50 => "Insufficient access",
        51 => "Server is busy",
        52 => "Server is unavailable",
        53 => "Server is unwilling to perform",
        54 => "Loop detected",
        64 => "Naming violation",
        65 => "Object class violation",
        66 => "Operation not allowed on non-leaf",
        67 => "Operation not allowed on RDN",
        68 => "Already exists",
        69 => "Cannot modify object class",
        70 => "Results too large",
        71 => "Operation affects multiple DSAs",
        80 => "Other (e.g., implementation specific) error",
        -1 => "Can't contact LDAP server",
        -2 => "Local error",
        -3 => "Encoding error",
        -4 => "Decoding error",
        -5 => "Timed out",
        -6 => "Unknown authentication method",
        -7 => "Bad search filter",
        -9 => "Bad parameter to an ldap routine",
        -11 => "Connect error",
        -12 => "Not Supported",
        _ => "Unknown error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What reads hostile bytes survives them: an answer, cut and changed at every place.
    #[test]
    fn damaged_answers() {
        let mut whole = Vec::new();
        ber::put_number(&mut whole, ber::INTEGER, 2);
        ber::put_nested(&mut whole, SEARCH_ENTRY, |out| {
            ber::put(out, ber::OCTETS, b"dc=x");
            ber::put_nested(out, ber::SEQUENCE, |out| {
                ber::put_nested(out, ber::SEQUENCE, |out| {
                    ber::put(out, ber::OCTETS, b"mail");
                    ber::put_nested(out, ber::SET, |out| ber::put(out, ber::OCTETS, b"a@b"));
                });
            });
        });
        let read = |bytes: &[u8]| {
            let (id, kind, content) = envelope(bytes).ok()?;
            let _ = outcome(content);
            Some((id, kind, entry(content).ok()?))
        };
        // A result with a referral and credentials: the ends of strings, too.
        let mut done = Vec::new();
        ber::put_number(&mut done, ber::ENUMERATED, 10);
        ber::put(&mut done, ber::OCTETS, b"");
        ber::put(&mut done, ber::OCTETS, b"");
        ber::put_nested(&mut done, REFERRAL_URLS, |out| ber::put(out, ber::OCTETS, b"ldap://a/"));
        ber::put(&mut done, SERVER_CREDENTIALS, b"v=1");
        let referral = vec![b"ldap://a/".to_vec()];
        let expected = Outcome { code: 10, referral, credentials: Some(b"v=1".to_vec()) };
        assert_eq!(outcome(&done).ok(), Some(expected));
        for at in 0..done.len() {
            let _ = (outcome(&done[..at]), references(&done[at..]));
        }
        let good = (2, SEARCH_ENTRY, vec![(b"mail".to_vec(), vec![b"a@b".to_vec()])]);
        assert_eq!(read(&whole), Some(good));
        for at in 0..whole.len() {
            assert_eq!(read(&whole[..at]), None);
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let _ = read(&damaged);
            }
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = read(&damaged);
            }
        }
    }
}
