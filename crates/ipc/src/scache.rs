//! The connection cache: open connections as descriptors, under labels (spec ipc 13).
//!
//! Null encoding. A descriptor goes over when its receiver has asked for it with an empty list ([`ready`]): behind a
//! request to save, and behind the reply of a find; who got one from a find says so once more. Labels and properties are
//! any bytes; the names `label` and `property` come twice in some lists.
//!
//! [`Client`] is for who has connections, [`Request`] and [`Reply`] are what the service needs.

use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::{Failure, Persistent, Stream, Timers};

/// Done.
pub const OK: i32 = 0;
/// The request makes no sense.
pub const BAD: i32 = 1;
/// There is none.
pub const FAILED: i32 = 2;

const DUMMY: &str = "dummy";
/// Tries of the client before it does without the service, and the pause between them.
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_secs(1);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Keeps a connection, which follows.
    SaveEndpoint {
        /// Seconds; any number, from whoever sends it.
        ttl: i32,
        /// Of the endpoint.
        label: Vec<u8>,
        /// What is to be known of the connection.
        property: Vec<u8>,
    },
    /// Wants a connection.
    FindEndpoint {
        /// Of the endpoint.
        label: Vec<u8>,
    },
    /// Says that a destination has this endpoint.
    SaveDestination {
        /// As above.
        ttl: i32,
        /// Of the destination.
        label: Vec<u8>,
        /// What is to be known of the destination.
        property: Vec<u8>,
        /// Of the endpoint.
        endpoint: Vec<u8>,
    },
    /// Wants a connection to a destination.
    FindDestination {
        /// Of the destination.
        label: Vec<u8>,
    },
}

/// What came from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A request.
    Request(Request),
    /// A request of a known kind with attributes that are not those; it has been logged.
    Malformed(Kind),
    /// A request of another name; its attributes have been read.
    Unknown(Vec<u8>),
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Request::SaveEndpoint`]
    SaveEndpoint,
    /// [`Request::FindEndpoint`]
    FindEndpoint,
    /// [`Request::SaveDestination`]
    SaveDestination,
    /// [`Request::FindDestination`]
    FindDestination,
}

impl Received {
    /// Reads a request from the stream called `from`.
    ///
    /// # Errors
    /// The stream has ended, or holds no list.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Received, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let name = list.string("request")?;
        let kind = match &*name {
            b"save_endp" => Kind::SaveEndpoint,
            b"find_endp" => Kind::FindEndpoint,
            b"save_dest" => Kind::SaveDestination,
            b"find_dest" => Kind::FindDestination,
            _ => {
                list.pairs()?;
                return Ok(Received::Unknown(name));
            }
        };
        match Request::attributes(kind, &mut list) {
            Ok(request) => Ok(Received::Request(request)),
            // Whatever it was, the next request begins behind this list (observed, 3.7.11).
            Err(error) => match list.pass_over(&error) {
                Ok(()) => {
                    error.warn();
                    Ok(Received::Malformed(kind))
                }
                Err(_) => Err(error),
            },
        }
    }
}

impl Request {
    fn attributes<R: BufRead + ?Sized>(kind: Kind, list: &mut Decoder<'_, R>) -> Result<Request, Error> {
        let request = match kind {
            Kind::SaveEndpoint => Request::SaveEndpoint {
                ttl: list.int("ttl")?,
                label: list.string("label")?,
                property: list.string("property")?,
            },
            Kind::FindEndpoint => Request::FindEndpoint { label: list.string("label")? },
            Kind::SaveDestination => Request::SaveDestination {
                ttl: list.int("ttl")?,
                label: list.string("label")?,
                property: list.string("property")?,
                endpoint: list.string("label")?,
            },
            Kind::FindDestination => Request::FindDestination { label: list.string("label")? },
        };
        list.end()?;
        Ok(request)
    }

    fn encoded(&self) -> Encoder {
        let begin = |name: &str| Encoder::null().string("request", name);
        match self {
            Request::SaveEndpoint { ttl, label, property } => {
                begin("save_endp").int("ttl", *ttl).string("label", label).string("property", property)
            }
            Request::FindEndpoint { label } => begin("find_endp").string("label", label),
            Request::SaveDestination { ttl, label, property, endpoint } => begin("save_dest")
                .int("ttl", *ttl)
                .string("label", label)
                .string("property", property)
                .string("label", endpoint),
            Request::FindDestination { label } => begin("find_dest").string("label", label),
        }
    }
}

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply(Encoder);

impl Reply {
    /// To a request to save.
    #[must_use]
    pub fn status(status: i32) -> Reply {
        Reply(Encoder::null().int("status", status))
    }

    /// To a request for an endpoint.
    #[must_use]
    pub fn endpoint(status: i32, property: &[u8]) -> Reply {
        Reply(Self::status(status).0.string("property", property))
    }

    /// To a request for a destination: its own property, then that of the connection.
    #[must_use]
    pub fn destination(status: i32, destination: &[u8], endpoint: &[u8]) -> Reply {
        Reply(Self::endpoint(status, destination).0.string("property", endpoint))
    }

    /// Writes the reply.
    ///
    /// # Errors
    /// What the write says.
    pub fn send(self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.0.send(output)
    }
}

/// Tells the other side to send a descriptor, or that it has come.
///
/// # Errors
/// What the write says.
pub fn ready(output: &mut (impl Write + ?Sized)) -> io::Result<()> {
    Encoder::null().string(DUMMY, "").send(output)
}

/// Waits for the other side to say so.
///
/// # Errors
/// It says something else.
pub fn await_ready<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<(), Error> {
    let mut list = Decoder::null(input, from, Flags::STRICT);
    list.string(DUMMY)?;
    list.end()
}

/// A connection that was found.
#[derive(Debug)]
pub struct Found {
    /// Of the destination; empty where an endpoint was asked for.
    pub destination: Vec<u8>,
    /// Of the connection.
    pub endpoint: Vec<u8>,
    /// The connection.
    pub connection: OwnedFd,
}

/// A client of the service. One that cannot be reached is done without from then on.
#[derive(Debug)]
pub struct Client {
    /// None when it is done without.
    service: Option<Persistent>,
    path: String,
}

impl Client {
    /// A client of `private/SERVICE`; connects when first used.
    #[must_use]
    pub fn new(service: &str, timers: Timers) -> Client {
        let path = format!("private/{service}");
        Client { service: Some(Persistent::new(&path, Protocol::CONNECTION_CACHE, timers)), path }
    }

    /// Keeps a connection for as many seconds.
    pub fn save_endpoint(&mut self, ttl: i32, label: &[u8], property: &[u8], connection: impl AsFd) {
        let request =
            Request::SaveEndpoint { ttl, label: label.to_vec(), property: property.to_vec() }.encoded();
        self.converse(|stream| {
            request.clone().send(stream)?;
            let (input, name) = stream.input();
            await_ready(input, name)?;
            sys::pass::send(&*stream, &connection)?;
            read_status(stream)
        });
    }

    /// Says that a destination has this endpoint.
    pub fn save_destination(&mut self, ttl: i32, label: &[u8], property: &[u8], endpoint: &[u8]) {
        let (label, property, endpoint) = (label.to_vec(), property.to_vec(), endpoint.to_vec());
        let request = Request::SaveDestination { ttl, label, property, endpoint }.encoded();
        self.converse(|stream| {
            request.clone().send(stream)?;
            read_status(stream)
        });
    }

    /// Takes a connection to an endpoint.
    pub fn find_endpoint(&mut self, label: &[u8]) -> Option<Found> {
        let request = Request::FindEndpoint { label: label.to_vec() }.encoded();
        self.find(&request, false)
    }

    /// Takes a connection to a destination.
    pub fn find_destination(&mut self, label: &[u8]) -> Option<Found> {
        let request = Request::FindDestination { label: label.to_vec() }.encoded();
        self.find(&request, true)
    }

    fn find(&mut self, request: &Encoder, is_destination: bool) -> Option<Found> {
        self.converse(|stream| {
            request.clone().send(stream)?;
            let (input, name) = stream.input();
            let mut list = Decoder::null(input, name, Flags::STRICT);
            let status = list.int("status")?;
            let destination = if is_destination { list.string("property")? } else { Vec::new() };
            let endpoint = list.string("property")?;
            list.end()?;
            if status != OK {
                return Ok(None);
            }
            ready(stream)?;
            let connection = sys::pass::receive(&*stream)?;
            ready(stream)?;
            Ok(Some(Found { destination, endpoint, connection }))
        })?
    }

    fn converse<T>(&mut self, mut talk: impl FnMut(&mut Stream) -> Result<T, Failure>) -> Option<T> {
        let service = self.service.as_mut()?;
        for tries in 1..=TRIES {
            match service.converse(&mut talk) {
                Ok(result) => return Some(result),
                Err(failure) => {
                    if tries == TRIES || !failure.is_ordinary() {
                        log::warn!("problem talking to service {}: {failure}", self.path);
                    }
                    if tries < TRIES {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        }
        log::warn!("disabling connection caching");
        self.service = None;
        None
    }
}

fn read_status(stream: &mut Stream) -> Result<i32, Failure> {
    let (input, name) = stream.input();
    let mut list = Decoder::null(input, name, Flags::STRICT);
    let status = list.int("status")?;
    list.end()?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_written() {
        let (label, property) = (b"l\n".to_vec(), b"p=1\n\n".to_vec());
        for request in [
            Request::SaveEndpoint { ttl: 2, label: label.clone(), property: property.clone() },
            Request::FindEndpoint { label: label.clone() },
            Request::SaveDestination {
                ttl: 2,
                label: label.clone(),
                property: property.clone(),
                endpoint: b"e".to_vec(),
            },
            Request::FindDestination { label: label.clone() },
        ] {
            let wire = request.encoded().finish();
            assert_eq!(Received::read(&mut &wire[..], "test").unwrap(), Received::Request(request));
        }
    }

    #[test]
    fn what_is_no_request() {
        let read = |list: &str| Received::read(&mut list.replace('|', "\0").as_bytes(), "test");
        assert_eq!(read("request|find_endp||").unwrap(), Received::Malformed(Kind::FindEndpoint));
        assert_eq!(read("request|find_endp|labl|x||").unwrap(), Received::Malformed(Kind::FindEndpoint));
        assert_eq!(read("request|x|label|y||").unwrap(), Received::Unknown(b"x".to_vec()));
        assert!(read("request|find_endp|label|x").is_err());
    }
}
