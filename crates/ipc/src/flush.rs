//! The fast flush service, as its clients see it (spec ipc 15).
//!
//! One request a connection, `request` and what belongs to it; the answer is a `status`. The functions are what clients
//! need, [`Request`] and [`send_status`] what the service needs.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::one_shot;

/// What the service answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// The site or queue ID is none.
    Bad,
    /// The site is not in `fast_flush_domains`.
    Denied,
    /// The service could not be reached, or failed; logged.
    Fail,
}

impl Status {
    fn from_wire(status: i32) -> Status {
        match status {
            0 => Status::Ok,
            3 => Status::Bad,
            4 => Status::Denied,
            _ => Status::Fail,
        }
    }

    fn to_wire(self) -> i32 {
        match self {
            Status::Ok => 0,
            Status::Bad => 3,
            Status::Denied => 4,
            Status::Fail => -1,
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A message was deferred.
    Add {
        /// For this site.
        site: Vec<u8>,
        /// The message.
        queue_id: Vec<u8>,
    },
    /// Schedule all mail of a site.
    SendSite {
        /// The site.
        site: Vec<u8>,
    },
    /// Schedule one deferred message.
    SendFile {
        /// The message.
        queue_id: Vec<u8>,
    },
    /// Send old logs, remove empty ones.
    Refresh,
    /// The same, but send all logs.
    Purge,
    /// Something else; the rest of the list is unread.
    Unknown,
}

impl Request {
    /// Reads a request from the stream called `from`. What follows a whole request is logged, and harms nothing.
    ///
    /// # Errors
    /// The list is not what it should be; not yet logged.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Request, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let request = match list.string("request")?.as_slice() {
            b"add" => Request::Add { site: list.string("site")?, queue_id: list.string("queue_id")? },
            b"send_site" => Request::SendSite { site: list.string("site")? },
            b"send_file" => Request::SendFile { queue_id: list.string("queue_id")? },
            b"rfrsh" => Request::Refresh,
            b"purge" => Request::Purge,
            _ => return Ok(Request::Unknown),
        };
        if let Err(error) = list.end() {
            error.warn();
        }
        Ok(request)
    }
}

/// Sends the answer.
///
/// # Errors
/// The client cannot be written to.
pub fn send_status(status: Status, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
    Encoder::null().int("status", status.to_wire()).send(output)
}

/// Tells that a message for a site was deferred.
pub fn add(path: &str, timeout: Duration, site: &str, queue_id: &str) -> Status {
    Status::from_wire(one_shot(path, Protocol::FLUSH, timeout, |request| {
        request.string("request", "add").string("site", site).string("queue_id", queue_id)
    }))
}

/// Schedules all mail for a site. `path` is the service's socket, such as `public/flush`.
pub fn send_site(path: &str, timeout: Duration, site: &str) -> Status {
    Status::from_wire(one_shot(path, Protocol::FLUSH, timeout, |request| {
        request.string("request", "send_site").string("site", site)
    }))
}

/// Schedules one deferred message.
pub fn send_file(path: &str, timeout: Duration, queue_id: &str) -> Status {
    Status::from_wire(one_shot(path, Protocol::FLUSH, timeout, |request| {
        request.string("request", "send_file").string("queue_id", queue_id)
    }))
}
