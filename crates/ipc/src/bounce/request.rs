//! The service's side: a request as it comes, and the answer.

use std::io::{self, BufRead, Write};

use super::{APPEND, FLUSH, ONE, TRACE, VERP, WARN};
use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::delivery::Recipient;
use crate::dialect::Dialect;

/// A request. Nothing in it has been looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Add a recipient to the message's log.
    Append(Append),
    /// Tell the sender of the recipients in the log that failed; the log is done with.
    Flush(Message),
    /// Tell the sender of the recipients in the log that are late.
    Warn(Message),
    /// As [`Self::Flush`], in a notice for each recipient, to an address that tells which.
    Verp(Message, Vec<u8>),
    /// Tell the sender of one recipient that failed, without a log.
    One(Message, Recipient, Diagnosis),
    /// Tell the sender what the log says of deliveries; the log is done with.
    Trace(Message),
    /// Something else; the rest of the list is unread.
    Unknown(i32),
}

/// A recipient for a log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Append {
    /// [`FLAG_CLEAN`](super::FLAG_CLEAN) and others.
    pub flags: i32,
    /// The message.
    pub queue_id: Vec<u8>,
    /// Whom it was for.
    pub recipient: Recipient,
    /// What became of it.
    pub diagnosis: Diagnosis,
}

/// The message that a notice is about, as [`Notice`](super::Notice).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Message {
    /// [`FLAG_CLEAN`](super::FLAG_CLEAN), [`FLAG_DELETE`](super::FLAG_DELETE) and others.
    pub flags: i32,
    /// Directory where the message file is.
    pub queue_name: Vec<u8>,
    /// Its queue ID.
    pub queue_id: Vec<u8>,
    /// `7bit`, `8bit`, or empty.
    pub encoding: Vec<u8>,
    /// The option word of the size record.
    pub sendopts: i32,
    /// Envelope sender: the one who gets the notice.
    pub sender: Vec<u8>,
    /// ENVID, or empty.
    pub envelope_id: Vec<u8>,
    /// RET.
    pub ret_flags: i32,
}

/// What happened to a recipient, as [`Outcome`](super::Outcome).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// Enhanced status code.
    pub status: Vec<u8>,
    /// Type of the diagnostic, or empty.
    pub diag_type: Vec<u8>,
    /// The diagnostic of the remote system, or empty.
    pub diag_text: Vec<u8>,
    /// Type of the remote system's name, or empty.
    pub mta_type: Vec<u8>,
    /// Name of the remote system, or empty.
    pub mta_mname: Vec<u8>,
    /// `failed`, `delayed`, `expanded` and so on.
    pub action: Vec<u8>,
    /// Free text.
    pub reason: Vec<u8>,
}

impl Request {
    /// Reads a request from the stream called `from`. What it does not know between and behind its attributes is passed
    /// over, but for the first.
    ///
    /// # Errors
    /// The list is not what it should be; not yet logged.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str, dialect: Dialect) -> Result<Self, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let command = list.int("nrequest")?;
        list.restart(Flags::MISSING);
        let list = &mut list;
        let request = match command {
            APPEND => Self::Append(Append {
                flags: list.int("flags")?,
                queue_id: list.string("queue_id")?,
                recipient: Recipient::read(list)?,
                diagnosis: Diagnosis::read(list)?,
            }),
            FLUSH => Self::Flush(Message::read(list, dialect)?),
            WARN => Self::Warn(Message::read(list, dialect)?),
            VERP => {
                let message = Message::read(list, dialect)?;
                Self::Verp(message, list.string("verp_delimiters")?)
            }
            ONE => {
                let message = Message::read(list, dialect)?;
                Self::One(message, Recipient::read(list)?, Diagnosis::read(list)?)
            }
            TRACE => Self::Trace(Message::read(list, dialect)?),
            other => return Ok(Self::Unknown(other)),
        };
        list.end()?;
        Ok(request)
    }
}

impl Message {
    fn read<R: BufRead + ?Sized>(list: &mut Decoder<'_, R>, dialect: Dialect) -> Result<Self, Error> {
        Ok(Self {
            flags: list.int("flags")?,
            queue_name: list.string("queue_name")?,
            queue_id: list.string("queue_id")?,
            encoding: list.string("encoding")?,
            sendopts: list.int(dialect.option_word())?,
            sender: list.string("sender")?,
            envelope_id: list.string("envelope_id")?,
            ret_flags: list.int("ret_flags")?,
        })
    }
}

impl Diagnosis {
    fn read<R: BufRead + ?Sized>(list: &mut Decoder<'_, R>) -> Result<Self, Error> {
        Ok(Self {
            status: list.string("status")?,
            diag_type: list.string("diag_type")?,
            diag_text: list.string("diag_text")?,
            mta_type: list.string("mta_type")?,
            mta_mname: list.string("mta_mname")?,
            action: list.string("action")?,
            reason: list.string("reason")?,
        })
    }
}

/// Tells a client who speaks to it.
///
/// # Errors
/// The client cannot be written to.
pub fn announce(output: &mut (impl Write + ?Sized)) -> io::Result<()> {
    Protocol::DELIVERY_STATUS.announce(output)
}

/// Sends the answer: 0, the bits of cleanup, or -1.
///
/// # Errors
/// The client cannot be written to.
pub fn send_status(status: i32, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
    Encoder::null().int("status", status).send(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_sends_is_read() {
        let recipient = Recipient { address: b"bob@x.test".to_vec(), offset: 7, ..Recipient::default() };
        let outcome = super::super::Outcome { status: "5.1.1", reason: b"gone", ..Default::default() };
        let list = Encoder::null().int("nrequest", APPEND).int("flags", 1).string("queue_id", "AB");
        let list =
            list.string("unknown", "x").group(|list| super::super::recipient(list, &recipient.as_reported()));
        let wire = list.group(|list| super::super::dsn(list, &outcome)).string("more", "y").finish();
        let request = Request::read(&mut wire.as_slice(), "bounce socket", Dialect::default());
        let Ok(Request::Append(append)) = request else { panic!("{request:?}") };
        assert_eq!((append.recipient, &append.diagnosis.reason[..]), (recipient, &b"gone"[..]));
        for length in 0..wire.len() {
            Request::read(&mut &wire[..length], "bounce socket", Dialect::default()).unwrap_err();
        }
        let unknown = Encoder::null().int("nrequest", 9).finish();
        let request = Request::read(&mut unknown.as_slice(), "bounce socket", Dialect::default());
        assert!(matches!(request, Ok(Request::Unknown(9))));
    }
}
