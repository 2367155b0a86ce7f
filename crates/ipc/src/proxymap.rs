//! proxymap: tables that another process has open (spec ipc 10, tables 13.3).
//!
//! Request, null encoding: `request`, `table`, `flags`, then what the request needs. Reply: `status`, then `flags`
//! (open), `value` (lookup), or `key` and `value` (sequence). From 3.11 on ([`Dialect`]) a request has
//! `instance_flags`, those of the open call, before `flags`, which open then lacks; and each reply has `flags` behind
//! `status`, but the one to a request that is not known.
//!
//! Those `flags` are the state of the table: the server of 3.11 takes the flags of each request for the table's own, down
//! to which form of keys an index file has. So a client starts with what open returned, and sends back what the latest
//! reply said; whoever sends flags of its own has hash and lmdb tables panic, and cdb tables find nothing (observed with
//! 3.11.7).

use std::io::{self, BufRead, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::Persistent;
use crate::dialect::Dialect;

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
    /// Of the client's open call; up to 3.10 those of the request have them in them.
    pub instance_flags: u32,
    /// Of this request.
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
    pub fn read<R: BufRead + ?Sized>(
        input: &mut R,
        from: &str,
        dialect: Dialect,
    ) -> Result<Result<Request, Vec<u8>>, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let name = list.string("request")?;
        if !matches!(name.as_slice(), b"open" | b"lookup" | b"update" | b"delete" | b"sequence") {
            return Ok(Err(name));
        }
        list.restart(Flags::STRICT);
        let table = list.string("table")?;
        let mut flags_of =
            |attribute: &str| list.int(attribute).map(|flags| u32::try_from(flags).unwrap_or(0));
        let (instance_flags, flags) = if !dialect.proxymap_tells_instance_flags() {
            let flags = flags_of("flags")?;
            (flags, flags)
        } else if name == b"open" {
            let flags = flags_of("instance_flags")?;
            (flags, flags)
        } else {
            (flags_of("instance_flags")?, flags_of("flags")?)
        };
        let action = match name.as_slice() {
            b"open" => Action::Open,
            b"lookup" => Action::Lookup(list.string("key")?),
            b"update" => Action::Update(list.string("key")?, list.string("value")?),
            b"delete" => Action::Delete(list.string("key")?),
            _ => Action::Sequence(list.int("function")?),
        };
        list.end()?;
        Ok(Ok(Request { table, instance_flags, flags, action }))
    }
}

/// A reply, in the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// To open, with the table's flags.
    Opened(Status, u32),
    /// To lookup.
    Value(Status, &'a [u8]),
    /// To update and delete.
    Done(Status),
    /// To sequence.
    Entry(Status, &'a [u8], &'a [u8]),
    /// To what is no request.
    Unknown,
}

impl Reply<'_> {
    /// Sends it; `flags` are those that the table has now, which later versions tell.
    ///
    /// # Errors
    ///
    /// What the stream says.
    pub fn send(&self, dialect: Dialect, flags: u32, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let flags_of = |flags: u32| i32::try_from(flags).unwrap_or(0);
        let status = |status: &Status| {
            let list = Encoder::null().int("status", status.number());
            if dialect.proxymap_tells_instance_flags() { list.int("flags", flags_of(flags)) } else { list }
        };
        match self {
            Reply::Opened(opened, flags) => {
                Encoder::null().int("status", opened.number()).int("flags", flags_of(*flags))
            }
            Reply::Value(found, value) => status(found).string("value", value),
            Reply::Done(done) => status(done),
            Reply::Entry(found, key, value) => status(found).string("key", key).string("value", value),
            Reply::Unknown => Encoder::null().int("status", Status::Bad.number()),
        }
        .send(output)
    }
}

/// The table that a client has open, as its requests name it.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// `type:name`.
    pub table: &'a [u8],
    /// The flags of the open call.
    pub instance_flags: u32,
    /// How the server's version talks.
    pub dialect: Dialect,
}

impl Opened<'_> {
    /// The beginning of a request; open has no flags but those of the instance.
    fn request(&self, name: &str, flags: Option<u32>) -> Encoder {
        let number = |flags: u32| i32::try_from(flags).unwrap_or(0);
        let list = Encoder::null().string("request", name).string("table", self.table);
        if !self.dialect.proxymap_tells_instance_flags() {
            return list.int("flags", number(flags.unwrap_or(self.instance_flags)));
        }
        let list = list.int("instance_flags", number(self.instance_flags));
        match flags {
            Some(flags) => list.int("flags", number(flags)),
            None => list,
        }
    }
}

/// Asks again until there is a status that has a meaning.
fn ask<T>(
    connection: &mut Persistent,
    step: &str,
    request: &Encoder,
    mut parse: impl FnMut(&mut Decoder<'_, crate::client::Stream>) -> Result<(i32, T), Error>,
) -> (Status, T) {
    loop {
        let (number, rest) = connection.request_for(step, request, &mut parse);
        if let Some(status) = Status::from_number(number) {
            return (status, rest);
        }
        log::warn!("proxymap service: unexpected reply status {number}");
        connection.close();
        sleep(RETRY_PAUSE);
    }
}

/// Has the service open a table; its flags.
pub fn open(connection: &mut Persistent, opened: &Opened<'_>) -> (Status, u32) {
    ask(connection, "dict_proxy_open:", &opened.request("open", None), |list| {
        let reply = (list.int("status")?, u32::try_from(list.int("flags")?).unwrap_or(0));
        list.end()?;
        Ok(reply)
    })
}

/// What there is for a key.
#[derive(Debug)]
pub struct Answer {
    /// How the request ended.
    pub status: Status,
    /// The flags that the table has now; those of the request where the version does not tell them.
    pub flags: u32,
    /// The value, if there is one.
    pub value: Vec<u8>,
}

/// The value of a key.
pub fn lookup(connection: &mut Persistent, opened: &Opened<'_>, flags: u32, key: &[u8]) -> Answer {
    let request = opened.request("lookup", Some(flags)).string("key", key);
    let (status, (flags, value)) = ask(connection, "dict_proxy_lookup:", &request, |list| {
        let status = list.int("status")?;
        let flags = if opened.dialect.proxymap_tells_instance_flags() {
            u32::try_from(list.int("flags")?).unwrap_or(0)
        } else {
            flags
        };
        let reply = (status, (flags, list.string("value")?));
        list.end()?;
        Ok(reply)
    });
    Answer { status, flags, value }
}

/// Stores a value: how the request ended, and the flags that the table has now where the version tells them.
pub fn update(
    connection: &mut Persistent,
    opened: &Opened<'_>,
    flags: u32,
    (key, value): (&[u8], &[u8]),
) -> (Status, u32) {
    let request = opened.request("update", Some(flags)).string("key", key).string("value", value);
    ask(connection, "dict_proxy_update:", &request, |list| changed(list, opened, flags))
}

fn changed(
    list: &mut Decoder<'_, crate::client::Stream>,
    opened: &Opened<'_>,
    flags: u32,
) -> Result<(i32, u32), Error> {
    let status = list.int("status")?;
    let flags = if opened.dialect.proxymap_tells_instance_flags() {
        u32::try_from(list.int("flags")?).unwrap_or(0)
    } else {
        flags
    };
    list.end()?;
    Ok((status, flags))
}

/// The first entry, or the one after that which was told last: how the request ended, and key and value.
pub fn sequence(
    connection: &mut Persistent,
    opened: &Opened<'_>,
    flags: u32,
    is_first: bool,
) -> (Status, (Vec<u8>, Vec<u8>)) {
    let request = opened.request("sequence", Some(flags)).int("function", i32::from(!is_first));
    ask(connection, "dict_proxy_sequence:", &request, |list| {
        let status = list.int("status")?;
        if opened.dialect.proxymap_tells_instance_flags() {
            list.int("flags")?;
        }
        let reply = (status, (list.string("key")?, list.string("value")?));
        list.end()?;
        Ok(reply)
    })
}

/// Deletes a key: how the request ended, and the flags that the table has now where the version tells them.
pub fn delete(connection: &mut Persistent, opened: &Opened<'_>, flags: u32, key: &[u8]) -> (Status, u32) {
    let request = opened.request("delete", Some(flags)).string("key", key);
    ask(connection, "dict_proxy_delete:", &request, |list| changed(list, opened, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Dialect = Dialect::of_postfix_3(10);
    const NEW: Dialect = Dialect::of_postfix_3(11);

    fn read(bytes: &[u8], dialect: Dialect) -> Option<Request> {
        Request::read(&mut &bytes[..], "proxymap socket", dialect).ok()?.ok()
    }

    #[test]
    fn requests_as_each_version_has_them() {
        let opened = |dialect| Opened { table: b"inline:{a=b}", instance_flags: 64, dialect };
        let looked_up = |instance_flags| Request {
            table: b"inline:{a=b}".to_vec(),
            instance_flags,
            flags: 80,
            action: Action::Lookup(b"a".to_vec()),
        };
        let cases: [(Encoder, &[u8], Dialect, Request); 4] = [
            (
                opened(OLD).request("open", None),
                b"request\0open\0table\0inline:{a=b}\0flags\x0064\0\0",
                OLD,
                Request {
                    table: b"inline:{a=b}".to_vec(),
                    instance_flags: 64,
                    flags: 64,
                    action: Action::Open,
                },
            ),
            (
                opened(NEW).request("open", None),
                b"request\0open\0table\0inline:{a=b}\0instance_flags\x0064\0\0",
                NEW,
                Request {
                    table: b"inline:{a=b}".to_vec(),
                    instance_flags: 64,
                    flags: 64,
                    action: Action::Open,
                },
            ),
            (
                opened(OLD).request("lookup", Some(80)).string("key", "a"),
                b"request\0lookup\0table\0inline:{a=b}\0flags\x0080\0key\0a\0\0",
                OLD,
                looked_up(80),
            ),
            (
                opened(NEW).request("lookup", Some(80)).string("key", "a"),
                b"request\0lookup\0table\0inline:{a=b}\0instance_flags\x0064\0flags\x0080\0key\0a\0\0",
                NEW,
                looked_up(64),
            ),
        ];
        for (list, bytes, dialect, request) in cases {
            assert_eq!(list.finish(), bytes);
            assert_eq!(read(bytes, dialect), Some(request));
            let other = if dialect == OLD { NEW } else { OLD };
            assert_eq!(read(bytes, other), None, "the other version's list is an error");
        }
    }

    #[test]
    fn replies_as_each_version_has_them() {
        let cases: [(Reply<'_>, Dialect, &[u8]); 8] = [
            (Reply::Opened(Status::Ok, 80), OLD, b"status\x000\0flags\x0080\0\0"),
            (Reply::Opened(Status::Ok, 80), NEW, b"status\x000\0flags\x0080\0\0"),
            (Reply::Value(Status::Ok, b"v"), OLD, b"status\x000\0value\0v\0\0"),
            (Reply::Value(Status::Ok, b"v"), NEW, b"status\x000\0flags\x0064\0value\0v\0\0"),
            (Reply::Done(Status::Retry), NEW, b"status\x002\0flags\x0064\0\0"),
            (Reply::Entry(Status::NoKey, b"", b""), OLD, b"status\x001\0key\0\0value\0\0\0"),
            (Reply::Entry(Status::NoKey, b"", b""), NEW, b"status\x001\0flags\x0064\0key\0\0value\0\0\0"),
            (Reply::Unknown, NEW, b"status\x003\0\0"),
        ];
        for (reply, dialect, bytes) in cases {
            let mut sent = Vec::new();
            reply.send(dialect, 64, &mut sent).unwrap();
            assert_eq!(sent, bytes, "{reply:?}");
        }
    }
}
