//! tlsmgr: seeds, keys of session tickets, session caches (spec ipc 11).
//!
//! One list each way, null encoding, replies read leniently. [`Client`] asks for ticket keys; [`Received`] and [`Reply`]
//! are what the service needs. A request whose attributes are not what they should be is answered as its kind is, with
//! [`BAD`]; one of an unknown name not at all.

use std::io::{self, BufRead, Write};

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::{Persistent, Timers};

/// Done.
pub const OK: i32 = 0;
/// There is none.
pub const NOT_FOUND: i32 = -1;
/// The request makes no sense, or the cache is off.
pub const BAD: i32 = -2;

/// Length of a ticket key's name.
pub const KEY_NAME: usize = 16;
/// Length of a ticket key with all its parts: name, cipher key, authentication key, time.
pub const KEY: usize = KEY_NAME + 32 + 32 + 8;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is there a cache of this type, and how long do sessions last?
    Policy {
        /// `smtpd`, `smtp`, `lmtp`.
        cache_type: Vec<u8>,
    },
    /// Random bytes.
    Seed {
        /// How many; any number, from whoever sends it.
        size: i32,
    },
    /// A session.
    Lookup {
        /// As above.
        cache_type: Vec<u8>,
        /// Its key.
        cache_id: Vec<u8>,
    },
    /// Keeps a session.
    Update {
        /// As above.
        cache_type: Vec<u8>,
        /// Its key.
        cache_id: Vec<u8>,
        /// The library's own bytes.
        session: Vec<u8>,
    },
    /// Forgets a session.
    Delete {
        /// As above.
        cache_type: Vec<u8>,
        /// Its key.
        cache_id: Vec<u8>,
    },
    /// The ticket key of this name; the current one for the empty name.
    TicketKey {
        /// The name; of any length, from whoever sends it.
        name: Vec<u8>,
    },
}

/// What came from a client.
#[derive(Debug)]
pub enum Received {
    /// A request.
    Request(Request),
    /// A request of a known name with attributes that are not those; it has been logged.
    Malformed(Reply),
    /// A request of another name; its attributes have been read.
    Unknown,
}

impl Received {
    /// Reads a request from the stream called `from`.
    ///
    /// # Errors
    /// The stream has ended, or holds no list.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Received, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let name = list.string("request")?;
        let Some(malformed) = Reply::to_malformed(&name) else {
            list.pairs()?;
            return Ok(Received::Unknown);
        };
        match Request::attributes(&name, &mut list) {
            Ok(request) => Ok(Received::Request(request)),
            // The next list begins behind this one's end; without an end there is nothing to go by.
            Err(error) if list.is_ended() => {
                error.warn();
                Ok(Received::Malformed(malformed))
            }
            Err(error) => Err(error),
        }
    }
}

impl Request {
    fn attributes<R: BufRead + ?Sized>(name: &[u8], list: &mut Decoder<'_, R>) -> Result<Request, Error> {
        let request = match name {
            b"seed" => Request::Seed { size: list.int("size")? },
            b"tktkey" => Request::TicketKey { name: list.data("keyname")? },
            _ => {
                let cache_type = list.string("cache_type")?;
                match name {
                    b"policy" => Request::Policy { cache_type },
                    b"lookup" => Request::Lookup { cache_type, cache_id: list.string("cache_id")? },
                    b"delete" => Request::Delete { cache_type, cache_id: list.string("cache_id")? },
                    _ => Request::Update {
                        cache_type,
                        cache_id: list.string("cache_id")?,
                        session: list.data("session")?,
                    },
                }
            }
        };
        list.end()?;
        Ok(request)
    }
}

/// A reply as the server writes it.
#[derive(Clone, Debug)]
pub struct Reply(Encoder);

impl Reply {
    fn begin(status: i32) -> Encoder {
        Encoder::null().int("status", status)
    }

    /// To `policy`; `timeout` in seconds.
    #[must_use]
    pub fn policy(status: i32, cachable: bool, timeout: i32) -> Reply {
        Reply(Self::begin(status).int("cachable", i32::from(cachable)).int("timeout", timeout))
    }

    /// To `seed`.
    #[must_use]
    pub fn seed(status: i32, seed: &[u8]) -> Reply {
        Reply(Self::begin(status).data("seed", seed))
    }

    /// To `lookup`.
    #[must_use]
    pub fn session(status: i32, session: &[u8]) -> Reply {
        Reply(Self::begin(status).data("session", session))
    }

    /// To `update` and `delete`.
    #[must_use]
    pub fn status(status: i32) -> Reply {
        Reply(Self::begin(status))
    }

    /// To `tktkey`.
    #[must_use]
    pub fn ticket_key(status: i32, key: &[u8]) -> Reply {
        Reply(Self::begin(status).data("keybuf", key))
    }

    /// To a request of this name that has not the attributes it should have.
    fn to_malformed(name: &[u8]) -> Option<Reply> {
        Some(match name {
            b"policy" => Self::policy(BAD, false, 0),
            b"seed" => Self::seed(BAD, b""),
            b"lookup" => Self::session(BAD, b""),
            b"update" | b"delete" => Self::status(BAD),
            b"tktkey" => Self::ticket_key(BAD, b""),
            _ => return None,
        })
    }

    /// Writes the reply.
    ///
    /// # Errors
    /// What the write says.
    pub fn send(self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.0.send(output)
    }
}

/// A client of the service.
#[derive(Debug)]
pub struct Client(Persistent);

impl Client {
    /// A client of `private/SERVICE`; connects when first used.
    #[must_use]
    pub fn new(service: &str, timers: Timers) -> Client {
        Client(Persistent::new(&format!("private/{service}"), Protocol::TLSMGR, timers))
    }

    /// The ticket key of this name, or the current one for the empty name. `None` when the service has none, and within
    /// that when it does not answer; that has been logged.
    ///
    /// # Errors
    /// The service does not answer.
    pub fn ticket_key(&mut self, name: &[u8]) -> Result<Option<[u8; KEY]>, Unanswered> {
        let request = Encoder::null().string("request", "tktkey").data("keyname", name);
        let reply = self.0.try_request(&request, Flags::NONE, |list| {
            let status = list.int("status")?;
            let key = list.data("keybuf")?;
            list.end()?;
            Ok((status, key))
        });
        let (status, key) = reply.ok_or(Unanswered)?;
        Ok(key.try_into().ok().filter(|_| status == OK))
    }
}

/// The service does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &[u8]) -> Received {
        Received::read(&mut &wire[..], "test").expect("a list")
    }

    fn wire(reply: Reply) -> Vec<u8> {
        let mut wire = Vec::new();
        reply.send(&mut wire).expect("a vector");
        wire
    }

    #[test]
    fn requests() {
        let id = || (b"smtpd".to_vec(), b"x&s=smtp".to_vec());
        let (cache_type, cache_id) = id();
        for (list, expected) in [
            (&b"request\0policy\0cache_type\0smtpd\0\0"[..], Request::Policy { cache_type: id().0 }),
            (b"request\0seed\0size\x0032\0\0", Request::Seed { size: 32 }),
            (
                b"request\0update\0cache_type\0smtpd\0cache_id\0x&s=smtp\0session\0YWJj\0\0",
                Request::Update { cache_type, cache_id, session: b"abc".to_vec() },
            ),
            (b"request\0tktkey\0keyname\0\0\0", Request::TicketKey { name: Vec::new() }),
        ] {
            match read(list) {
                Received::Request(request) => assert_eq!(request, expected),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(read(b"request\0foo\0a\0b\0\0"), Received::Unknown));
        let Received::Malformed(reply) = read(b"request\0policy\0\0") else { panic!("not malformed") };
        assert_eq!(wire(reply), b"status\x004294967294\0cachable\x000\0timeout\x000\0\0");
        assert!(Received::read(&mut &b"request\0seed\0"[..], "test").is_err());
    }

    #[test]
    fn replies() {
        assert_eq!(wire(Reply::seed(OK, b"abc")), b"status\x000\0seed\0YWJj\0\0");
        assert_eq!(wire(Reply::ticket_key(NOT_FOUND, b"")), b"status\x004294967295\0keybuf\0\0\0");
    }
}
