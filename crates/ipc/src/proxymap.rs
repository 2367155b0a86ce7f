//! proxymap: tables that another process has open (spec ipc 10, tables 13.3).
//!
//! Request, null encoding: `request`, `table`, `flags`, then what the request needs. Reply: `status`, then `flags`
//! (open), `value` (lookup), or `key` and `value` (sequence). The form is that of 3.7 to 3.10.

use std::io::{self, BufRead, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::Persistent;

/// Pause before asking again after an answer that makes no sense.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// With an answer.
    Ok,
    /// The key is not there.
    NoKey,
    /// Try again later.
    Retry,
    /// The request makes no sense.
    Bad,
    /// The table is not one that the service may open.
    Denied,
    /// The table is broken.
    Config,
}

impl Status {
    const ALL: [Status; 6] =
        [Status::Ok, Status::NoKey, Status::Retry, Status::Bad, Status::Denied, Status::Config];

    /// On the wire.
    #[must_use]
    pub fn number(self) -> i32 {
        Self::ALL.into_iter().zip(0..).find(|(status, _)| *status == self).map_or(3, |(_, number)| number)
    }

    fn from_number(number: i32) -> Option<Status> {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }
}

/// A request, as the server gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `type:name`.
    pub table: Vec<u8>,
    /// Of the table, and of this request.
    pub flags: u32,
    /// What to do.
    pub action: Action,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The flags of the table.
    Open,
    /// The value of a key.
    Lookup(Vec<u8>),
    /// A key and its new value.
    Update(Vec<u8>, Vec<u8>),
    /// A key that is to go.
    Delete(Vec<u8>),
    /// The first entry (0) or the next one (1).
    Sequence(i32),
}

impl Request {
    /// Reads a request; an unknown one is its name.
    ///
    /// # Errors
    ///
    /// The list is malformed.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Result<Request, Vec<u8>>, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let name = list.string("request")?;
        if !matches!(name.as_slice(), b"open" | b"lookup" | b"update" | b"delete" | b"sequence") {
            return Ok(Err(name));
        }
        list.restart(Flags::STRICT);
        let table = list.string("table")?;
        let flags = u32::try_from(list.int("flags")?).unwrap_or(0);
        let action = match name.as_slice() {
            b"open" => Action::Open,
            b"lookup" => Action::Lookup(list.string("key")?),
            b"update" => Action::Update(list.string("key")?, list.string("value")?),
            b"delete" => Action::Delete(list.string("key")?),
            _ => Action::Sequence(list.int("function")?),
        };
        list.end()?;
        Ok(Ok(Request { table, flags, action }))
    }
}

/// A reply, in the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// To open.
    Opened(Status, u32),
    /// To lookup.
    Value(Status, &'a [u8]),
    /// To update, delete, and what was not understood.
    Done(Status),
    /// To sequence.
    Entry(Status, &'a [u8], &'a [u8]),
}

impl Reply<'_> {
    /// Sends it.
    ///
    /// # Errors
    ///
    /// What the stream says.
    pub fn send(&self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let list = Encoder::null();
        let number = |status: &Status| status.number();
        match self {
            Reply::Opened(status, flags) => {
                list.int("status", number(status)).int("flags", i32::try_from(*flags).unwrap_or(0))
            }
            Reply::Value(status, value) => list.int("status", number(status)).string("value", value),
            Reply::Done(status) => list.int("status", number(status)),
            Reply::Entry(status, key, value) => {
                list.int("status", number(status)).string("key", key).string("value", value)
            }
        }
        .send(output)
    }
}

fn request(name: &str, table: &[u8], flags: u32) -> Encoder {
    let flags = i32::try_from(flags).unwrap_or(0);
    Encoder::null().string("request", name).string("table", table).int("flags", flags)
}

/// Asks again until there is a status that has a meaning.
fn ask<T>(
    connection: &mut Persistent,
    request: &Encoder,
    mut parse: impl FnMut(&mut Decoder<'_, crate::client::Stream>) -> Result<(i32, T), Error>,
) -> (Status, T) {
    loop {
        let (number, rest) = connection.request(request, &mut parse);
        if let Some(status) = Status::from_number(number) {
            return (status, rest);
        }
        log::warn!("proxymap service: unexpected reply status {number}");
        connection.close();
        sleep(RETRY_PAUSE);
    }
}

/// Has the service open a table; its flags.
pub fn open(connection: &mut Persistent, table: &[u8], flags: u32) -> (Status, u32) {
    ask(connection, &request("open", table, flags), |list| {
        let reply = (list.int("status")?, u32::try_from(list.int("flags")?).unwrap_or(0));
        list.end()?;
        Ok(reply)
    })
}

/// The value of a key.
pub fn lookup(connection: &mut Persistent, table: &[u8], flags: u32, key: &[u8]) -> (Status, Vec<u8>) {
    ask(connection, &request("lookup", table, flags).string("key", key), |list| {
        let reply = (list.int("status")?, list.string("value")?);
        list.end()?;
        Ok(reply)
    })
}
