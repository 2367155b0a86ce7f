//! Delivery requests: what the queue manager asks of a delivery agent, and what it hears (spec ipc 18).
//!
//! The agent announces itself, [`Request::read`] takes the common list and one list a recipient, and [`finish`] tells whether
//! a recipient has to be tried again. That was one request, and Postfix's agents close when their client has closed. Ours
//! announce themselves again in the same write as the reply when they could take another request: a client that sees this
//! may send it, any other closes. The name of the option word is a matter of the [`Dialect`].

mod client;

use std::io::{self, BufRead, ErrorKind, Write};
use std::time::SystemTime;

use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::bounce;
use crate::dialect::Dialect;

pub use client::Reply;

bitflags::bitflags! {
    /// What is to be done, beside delivering.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct RequestFlags: i32 {
        /// Mark in the queue file the recipients that need no further attempt.
        const SUCCESS = 1;
        /// Always sent; without effect.
        const BOUNCE = 2;
        /// A probe by the verify service: deliver nothing, tell it what would have become of the recipient.
        const MTA_VERIFY = 256;
        /// A probe by a user (`sendmail -bv`): deliver nothing, tell the trace service.
        const USER_VERIFY = 512;
        /// Deliver, and tell the trace service.
        const RECORD = 1024;
        /// A cached connection may be used.
        const CONNECTION_LOAD = 2048;
        /// The connection may be saved.
        const CONNECTION_STORE = 4096;
        /// The sender was told of a delay, so that its end is to be recorded.
        const DELAY_WAS_TOLD = 8192;
        const _ = !0;
    }
}

impl RequestFlags {
    /// Those that requests to the bounce services have, too.
    #[must_use]
    pub fn trace(self) -> Self {
        self & (Self::MTA_VERIFY | Self::USER_VERIFY | Self::RECORD | Self::DELAY_WAS_TOLD)
    }
}

/// A moment: seconds and microseconds since 1970. All zero is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Moment {
    /// Seconds.
    pub sec: i64,
    /// Microseconds, below a million.
    pub usec: i64,
}

impl Moment {
    /// Whether there is one.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.sec != 0
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), usec: since.subsec_micros().into() }
    }
}

/// When a message passed which place, as queue manager and agents tell each other (spec ipc 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MessageTimes {
    /// It came into the incoming queue.
    pub arrival: Moment,
    /// It entered the active queue.
    pub active: Moment,
    /// An agent was asked.
    pub handed_over: Moment,
    /// The connection to the next server stood.
    pub connected: Moment,
    /// It was delivered.
    pub delivered: Moment,
    /// How often the connection had been used before.
    pub reuses: i32,
}

impl MessageTimes {
    /// Bytes of the structure, which goes over the wire as it lies in memory.
    const LENGTH: usize = 88;

    fn from_wire(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().ok()?;
        let number = |place: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&bytes[place..place + 8]);
            i64::from_ne_bytes(raw)
        };
        let moment = |place| Moment { sec: number(place), usec: number(place + 8) };
        let mut reuses = [0; 4];
        reuses.copy_from_slice(&bytes[80..84]);
        Some(Self {
            arrival: moment(0),
            active: moment(16),
            handed_over: moment(32),
            connected: moment(48),
            delivered: moment(64),
            reuses: i32::from_ne_bytes(reuses),
        })
    }
}

/// The client that the message came from; empty values are not known.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// Host name.
    pub client_name: Vec<u8>,
    /// Address.
    pub client_address: Vec<u8>,
    /// Port.
    pub client_port: Vec<u8>,
    /// `SMTP`, `ESMTP`.
    pub protocol_name: Vec<u8>,
    /// What it called itself.
    pub helo_name: Vec<u8>,
    /// How it has logged in.
    pub sasl_method: Vec<u8>,
    /// Who has.
    pub sasl_username: Vec<u8>,
    /// AUTH of MAIL.
    pub sasl_sender: Vec<u8>,
    /// Queue ID that the message had at first.
    pub log_ident: Vec<u8>,
}

/// A recipient of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recipient {
    /// Original recipient, or empty.
    pub original: Vec<u8>,
    /// Recipient in internal form.
    pub address: Vec<u8>,
    /// Offset of its record in the queue file; -1 is none.
    pub offset: i64,
    /// `type;address`, or empty.
    pub dsn_original: Vec<u8>,
    /// DSN notify flags.
    pub notify_flags: i32,
}

impl Recipient {
    pub(crate) fn read<R: BufRead + ?Sized>(list: &mut Decoder<'_, R>) -> Result<Self, Error> {
        Ok(Self {
            original: list.string("original_recipient")?,
            address: list.string("recipient")?,
            offset: list.long("offset")?,
            dsn_original: list.string("dsn_orig_rcpt")?,
            notify_flags: list.int("notify_flags")?,
        })
    }

    /// As the bounce services are told.
    #[must_use]
    pub fn as_reported(&self) -> bounce::Recipient<'_> {
        bounce::Recipient {
            original: &self.original,
            address: &self.address,
            offset: self.offset,
            dsn_original: &self.dsn_original,
            notify_flags: self.notify_flags,
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Request {
    /// What is to be done.
    pub flags: RequestFlags,
    /// The queue that the message file is in.
    pub queue_name: Vec<u8>,
    /// Its queue ID.
    pub queue_id: Vec<u8>,
    /// Offset of the first content record.
    pub content_offset: i64,
    /// Bytes of content.
    pub content_size: i64,
    /// Where it is to go.
    pub nexthop: Vec<u8>,
    /// `7bit`, `8bit`, or empty.
    pub encoding: Vec<u8>,
    /// The option word of the size record.
    pub sendopts: i32,
    /// Envelope sender.
    pub sender: Vec<u8>,
    /// ENVID, or empty.
    pub envelope_id: Vec<u8>,
    /// RET.
    pub ret_flags: i32,
    /// When the message passed which place.
    pub times: MessageTimes,
    /// Where it came from.
    pub origin: Origin,
    /// `local` or `remote`.
    pub rewrite_context: Vec<u8>,
    /// Who is to get it.
    pub recipients: Vec<Recipient>,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The client has nothing to deliver after all, and has closed.
    #[error("no request")]
    None,
    /// The common list is not what it should be.
    #[error("deliver_request_get: error receiving common attributes")]
    Common(#[from] Error),
    /// The message times are of another size.
    #[error("deliver_request_get: error receiving common attributes")]
    Times {
        /// Bytes that came.
        found: usize,
    },
    /// A recipient's list is not.
    #[error("deliver_request_get: error receiving recipient attributes")]
    Recipient(#[source] Error),
    /// There is nobody to deliver to.
    #[error("{queue_id}: no recipients in delivery request for destination {nexthop}")]
    NoRecipients {
        /// The message.
        queue_id: String,
        /// The destination.
        nexthop: String,
    },
}

impl RequestError {
    /// Logs it, with what is wrong with the list; a client that has nothing to deliver is not worth a line.
    pub fn warn(&self) {
        match self {
            Self::None => return,
            Self::Common(error) | Self::Recipient(error) => error.warn(),
            Self::Times { found } => {
                log::warn!("msg_stats_scan: size mis-match: {found} != {}", MessageTimes::LENGTH);
            }
            Self::NoRecipients { .. } => {}
        }
        log::warn!("{self}");
    }
}

impl Request {
    /// Reads a request from the stream called `from`.
    ///
    /// # Errors
    /// There is no whole request; what is wrong with a list is not yet logged.
    pub fn read<R: BufRead + ?Sized>(
        input: &mut R,
        from: &str,
        dialect: Dialect,
    ) -> Result<Self, RequestError> {
        match input.fill_buf() {
            Ok([]) => return Err(RequestError::None),
            // So it is, too, when the client has not read that there is somebody.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(RequestError::None),
            _ => {}
        }
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let (mut request, count) = Self::read_common(&mut list, dialect)?;
        for _ in 0..count {
            let mut list = Decoder::null(input, from, Flags::STRICT);
            let recipient = Recipient::read(&mut list).and_then(|recipient| list.end().map(|()| recipient));
            request.recipients.push(recipient.map_err(RequestError::Recipient)?);
        }
        if request.recipients.is_empty() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            return Err(RequestError::NoRecipients {
                queue_id: text(&request.queue_id),
                nexthop: text(&request.nexthop),
            });
        }
        Ok(request)
    }

    /// The common list, and the number of recipients.
    fn read_common<R: BufRead + ?Sized>(
        list: &mut Decoder<'_, R>,
        dialect: Dialect,
    ) -> Result<(Self, i32), RequestError> {
        let flags = RequestFlags::from_bits_retain(list.int("flags")?);
        let queue_name = list.string("queue_name")?;
        let queue_id = list.string("queue_id")?;
        let content_offset = list.long("offset")?;
        let content_size = list.long("size")?;
        let nexthop = list.string("nexthop")?;
        let encoding = list.string("encoding")?;
        let sendopts = list.int(dialect.option_word())?;
        let sender = list.string("sender")?;
        let envelope_id = list.string("envelope_id")?;
        let ret_flags = list.int("ret_flags")?;
        let times = list.data("time")?;
        let times = MessageTimes::from_wire(&times).ok_or(RequestError::Times { found: times.len() })?;
        let origin = Origin {
            client_name: list.string("log_client_name")?,
            client_address: list.string("log_client_address")?,
            client_port: list.string("log_client_port")?,
            protocol_name: list.string("log_protocol_name")?,
            helo_name: list.string("log_helo_name")?,
            sasl_method: list.string("sasl_method")?,
            sasl_username: list.string("sasl_username")?,
            sasl_sender: list.string("sasl_sender")?,
            log_ident: list.string("log_ident")?,
        };
        let rewrite_context = list.string("rewrite_context")?;
        let count = list.int("recipient_count")?;
        list.end()?;
        let request = Self {
            flags,
            queue_name,
            queue_id,
            content_offset,
            content_size,
            nexthop,
            encoding,
            sendopts,
            sender,
            envelope_id,
            ret_flags,
            times,
            origin,
            rewrite_context,
            recipients: Vec::new(),
        };
        Ok((request, count))
    }
}

/// Whether the queue manager is done with the recipients of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Each was delivered or bounced.
    All,
    /// At least one is to be tried again.
    Deferred,
}

/// Tells how a request ended. `failure` is why the whole destination is to be let alone for a while.
///
/// # Errors
/// The client cannot be written to.
pub fn finish(
    completion: Completion,
    failure: &bounce::Outcome<'_>,
    output: &mut (impl Write + ?Sized),
) -> io::Result<()> {
    let status = match completion {
        Completion::All => 0,
        Completion::Deferred => -1,
    };
    Encoder::null().group(|list| bounce::dsn(list, failure)).int("status", status).send(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As observed from 3.7.11.
    const COMMON: &str = "flags\x003\0queue_name\0active\0queue_id\0C1A849961F5\0offset\x00277\0size\x00177\0\
        nexthop\0v.example.test\0encoding\0\0smtputf8\x000\0sender\0joe@ipc.example.test\0envelope_id\0\0\
        ret_flags\x000\0time\0TIME\0log_client_name\0\0log_client_address\0\0log_client_port\0\0\
        log_protocol_name\0\0log_helo_name\0\0sasl_method\0\0sasl_username\0\0sasl_sender\0\0log_ident\0\0\
        rewrite_context\0local\0recipient_count\x001\0\0";
    const RECIPIENT: &str = "original_recipient\0Nobody@v.example.test\0recipient\0nobody@v.example.test\0\
        offset\x00252\0dsn_orig_rcpt\0rfc822;nobody@v.example.test\0notify_flags\x000\0\0";

    fn wire(minor: u32) -> Vec<u8> {
        let mut times = Vec::new();
        for number in [1_795_327_907_i64, 5, 1_795_327_910, 7] {
            times.extend(number.to_ne_bytes());
        }
        times.resize(MessageTimes::LENGTH, 0);
        let times = Encoder::null().data("time", &times).finish();
        let times = String::from_utf8(times[5..times.len() - 2].to_vec()).expect("base64");
        let word = Dialect::of_postfix_3(minor).option_word();
        (COMMON.replace("TIME", &times).replace("smtputf8", word) + RECIPIENT).into_bytes()
    }

    fn read(bytes: &[u8], minor: u32) -> Result<Request, RequestError> {
        Request::read(&mut &*bytes, "socket", Dialect::of_postfix_3(minor))
    }

    /// A client that goes without having read the agent's announcement resets the connection.
    #[test]
    fn a_client_that_has_gone_is_no_error() {
        let (mut agent, client) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        agent.write_all(b"status\x000\0\0").expect("a socket has room");
        drop(client);
        let read = Request::read(&mut io::BufReader::new(agent), "socket", Dialect::of_postfix_3(7));
        assert!(matches!(read, Err(RequestError::None)), "{read:?}");
    }

    #[test]
    fn a_request_in_both_dialects() {
        for minor in [7, 9, 10, 12] {
            let request = read(&wire(minor), minor).expect("reads");
            assert_eq!(request.flags, RequestFlags::SUCCESS | RequestFlags::BOUNCE);
            assert_eq!(request.times.arrival, Moment { sec: 1_795_327_907, usec: 5 });
            assert_eq!(request.times.active, Moment { sec: 1_795_327_910, usec: 7 });
            assert!(!request.times.handed_over.is_known());
            let [recipient] = request.recipients.as_slice() else { panic!("{request:?}") };
            assert_eq!(
                (recipient.offset, recipient.address.as_slice()),
                (252, &b"nobody@v.example.test"[..])
            );
        }
        assert!(matches!(read(&wire(10), 7), Err(RequestError::Common(_))));
    }

    #[test]
    fn what_is_no_request() {
        assert!(matches!(read(b"", 7), Err(RequestError::None)));
        let whole = wire(7);
        for end in 1..whole.len() {
            assert!(read(&whole[..end], 7).is_err(), "{end} bytes");
        }
        let text = String::from_utf8(whole).expect("ASCII");
        let nobody = text.replace("recipient_count\x001\0", "recipient_count\x000\0");
        assert_eq!(
            read(nobody.as_bytes(), 7).expect_err("nobody").to_string(),
            "C1A849961F5: no recipients in delivery request for destination v.example.test"
        );
        let fewer = text.replace("recipient_count\x001\0", "recipient_count\x002\0");
        assert!(matches!(read(fewer.as_bytes(), 7), Err(RequestError::Recipient(_))));
        let short = text.replace("AAAAAAAA", "AAAA");
        assert!(matches!(read(short.as_bytes(), 7), Err(RequestError::Times { .. })));
    }

    #[test]
    fn the_answer() {
        let mut wire = Vec::new();
        finish(Completion::Deferred, &bounce::Outcome::default(), &mut wire).expect("a vector");
        assert_eq!(
            wire,
            b"status\0\0diag_type\0\0diag_text\0\0mta_type\0\0mta_mname\0\0action\0\0reason\0\0status\x004294967295\0\0"
        );
    }
}
