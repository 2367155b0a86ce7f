//! The cleanup protocol: how one message is handed to `public/cleanup`.
//!
//! Shape (null encoding, spec ipc 6):
//!
//! 1. server: announcement `protocol=cleanup_protocol`, `queue_id=ID`; the queue file exists by then
//! 2. client: one strict list, `flags=N`
//! 3. client: queue-file records up to `E` (crate `queue`), with no list framing around them
//! 4. server: `status=N`, `reason=TEXT`; both close
//!
//! [`Client`] is the producer's side (smtpd, pickup, bounce, local); [`announce`], [`read_flags`] and
//! [`Reply::send`] are the server's. What cannot be read is a typed error; the caller decides which
//! status that is.

use std::io::{self, BufRead, Write};

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags as Rules};
use crate::client::Stream;

const QUEUE_ID: &str = "queue_id";
const FLAGS: &str = "flags";
const STATUS: &str = "status";
const REASON: &str = "reason";

bitflags::bitflags! {
    /// Options of one message, as sent by the client in `flags` (spec ipc 6.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u32 {
        /// Bounce bad mail to its sender and report success.
        const BOUNCE = 1;
        /// Header and body checks, strict MIME checks, reject and strip characters.
        const FILTER = 2;
        /// Put the message on hold.
        const HOLD = 4;
        /// Throw the message away and report success.
        const DISCARD = 8;
        /// Automatic BCC recipients are allowed.
        const BCC = 16;
        /// Canonical, masquerade and virtual alias mapping are allowed.
        const MAP = 32;
        /// Milters are allowed.
        const MILTER = 64;
        /// The client wants a Milter's SMTP reply in `reason`.
        const SMTP_REPLY = 128;
        /// The sender asked for SMTPUTF8.
        const SMTPUTF8 = 256;
        /// Turn SMTPUTF8 on when UTF-8 is found.
        const SMTPUTF8_AUTODETECT = 512;
        /// The sender asked for REQUIRETLS (Postfix 3.11 and later).
        const REQUIRETLS = 1024;
        /// What a stream record `f` may add: HOLD and DISCARD.
        const EXTRA = 4 | 8;
        /// smtpd's flags before `receive_override_options` (114).
        const SMTPD = 2 | 16 | 32 | 64;
        /// pickup's flags before `receive_override_options` (115).
        const PICKUP = 1 | 2 | 16 | 32 | 64;
        /// Mail made by the mail system itself (32).
        const INTERNAL = 32;
    }
}

impl Flags {
    /// What a word of `receive_override_options` switches off: nothing for the one that is smtpd's own affair.
    #[must_use]
    pub fn overridden(word: &str) -> Option<Self> {
        match word {
            "no_unknown_recipient_checks" => Some(Self::empty()),
            "no_address_mappings" => Some(Self::BCC | Self::MAP),
            "no_header_body_checks" => Some(Self::FILTER),
            "no_milters" => Some(Self::MILTER),
            _ => None,
        }
    }
}

bitflags::bitflags! {
    /// The final `status`: a set of error bits, empty on success (spec ipc 6.3).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Status: u32 {
        /// Malformed input.
        const BAD = 1;
        /// The queue file could not be written.
        const WRITE = 2;
        /// The message exceeds `message_size_limit`.
        const SIZE = 4;
        /// The content was rejected.
        const CONT = 8;
        /// `hopcount_limit` was reached.
        const HOPS = 16;
        /// There was no recipient.
        const RCPT = 64;
        /// The before-queue filter failed; made inside smtpd only.
        const PROXY = 128;
        /// Service not available, try later.
        const DEFER = 256;
        /// Service denied; from postdrop only.
        const NOPERM = 512;
        /// A bare line feed; made inside smtpd only.
        const BARE_LF = 65536;
    }
}

impl Status {
    /// Success.
    pub const OK: Self = Self::empty();

    /// True when no error is set.
    pub fn is_ok(self) -> bool {
        self.is_empty()
    }

    /// The reply code, enhanced status and text of the most significant bit. smtpd's replies use
    /// another order and other words (spec cleanup 3); this table serves bounces and pickup's log.
    pub fn detail(self) -> Detail {
        DETAILS.iter().find(|(bit, _)| self.intersects(*bit)).map_or(SUCCESS, |(_, detail)| *detail)
    }
}

/// What a status means to an SMTP client and in a delivery status notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// SMTP reply code.
    pub code: u16,
    /// Enhanced status code.
    pub dsn: &'static str,
    /// The text.
    pub text: &'static str,
}

const fn detail(code: u16, dsn: &'static str, text: &'static str) -> Detail {
    Detail { code, dsn, text }
}

const SUCCESS: Detail = detail(250, "2.0.0", "Success");

const DETAILS: [(Status, Detail); 10] = [
    (Status::DEFER, detail(451, "4.7.1", "service unavailable")),
    (Status::PROXY, detail(451, "4.3.0", "queue file write error")),
    (Status::BAD, detail(451, "4.3.0", "internal protocol error")),
    (Status::RCPT, detail(550, "5.1.0", "no recipients specified")),
    (Status::HOPS, detail(554, "5.4.0", "too many hops")),
    (Status::SIZE, detail(552, "5.3.4", "message file too big")),
    (Status::CONT, detail(550, "5.7.1", "message content rejected")),
    (Status::WRITE, detail(451, "4.3.0", "queue file write error")),
    (Status::NOPERM, detail(550, "5.7.1", "service denied")),
    (Status::BARE_LF, detail(521, "5.5.2", "bare <LF> received")),
];

/// The server's final answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reply {
    /// Error bits; no bits is success.
    pub status: Status,
    /// A full SMTP reply, or an enhanced status code and text, or empty. Not empty on success when the
    /// message was bounced.
    pub reason: Vec<u8>,
}

impl Reply {
    /// Sends the answer: the server's last word.
    ///
    /// # Errors
    /// When the client has gone.
    pub fn send(&self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let status = i32::from_ne_bytes(self.status.bits().to_ne_bytes());
        Encoder::null().int(STATUS, status).string(REASON, &self.reason).send(output)
    }

    /// Reads the answer; `from` is the stream's name.
    ///
    /// # Errors
    /// When it is not such a list.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Reply, Error> {
        let mut list = Decoder::null(input, from, Rules::STRICT);
        let status = list.int(STATUS)?;
        let reason = list.string(REASON)?;
        list.end()?;
        Ok(Reply { status: Status::from_bits_retain(u32::from_ne_bytes(status.to_ne_bytes())), reason })
    }
}

/// Server: announces the protocol and the queue ID of the file that has just been made.
///
/// # Errors
/// When the client has gone.
pub fn announce(output: &mut (impl Write + ?Sized), queue_id: &str) -> io::Result<()> {
    Protocol::CLEANUP.begin().string(QUEUE_ID, queue_id).send(output)
}

/// Server: reads the options.
///
/// # Errors
/// When they are not there or not well formed; the message is then status [`Status::BAD`].
pub fn read_flags<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Flags, Error> {
    let mut list = Decoder::null(input, from, Rules::STRICT);
    let flags = list.int(FLAGS)?;
    list.end()?;
    Ok(Flags::from_bits_retain(u32::from_ne_bytes(flags.to_ne_bytes())))
}

/// The producer's side of one message.
///
/// [`Client::start`] reads the announcement; then the options ([`write_flags`]) and the records go out through
/// [`Write`] (wrap it in a `BufWriter` and the queue crate's record writer, so that cleanup is not woken for each), and
/// [`Client::finish`] takes the answer. Dropping a client before `E` was sent cancels the message.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    queue_id: String,
}

impl Client {
    /// Reads the announcement on a fresh connection.
    ///
    /// # Errors
    /// When it is another protocol, or the queue ID is not plain letters, digits and `_`.
    pub fn start(mut stream: Stream) -> Result<Client, Error> {
        let (input, name) = stream.input();
        let mut list = Decoder::null(input, name, Rules::STRICT);
        Protocol::CLEANUP.expect_first(&mut list)?;
        let queue_id = list.string(QUEUE_ID)?;
        list.end()?;
        match String::from_utf8(queue_id) {
            Ok(queue_id) if is_queue_id(&queue_id) => Ok(Client { stream, queue_id }),
            Ok(value) => Err(bad_queue_id(value, name.to_owned())),
            Err(error) => {
                Err(bad_queue_id(String::from_utf8_lossy(error.as_bytes()).into_owned(), name.to_owned()))
            }
        }
    }

    /// The ID of the queue file that the message goes into.
    #[must_use]
    pub fn queue_id(&self) -> &str {
        &self.queue_id
    }

    /// The connection, for a producer that hands over Milters.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Reads the answer and closes. An answer that cannot be read is [`Status::WRITE`], after the warning
    /// that belongs to it.
    #[must_use]
    pub fn finish(self) -> Reply {
        self.answer().unwrap_or_else(|error| {
            error.warn();
            Reply { status: Status::WRITE, reason: Vec::new() }
        })
    }

    /// The same, for a client that says itself what cannot be read.
    ///
    /// # Errors
    /// There is no answer, or it makes no sense.
    pub fn answer(mut self) -> Result<Reply, Error> {
        let (input, name) = self.stream.input();
        Reply::read(input, name)
    }
}

/// Writes the options: once, before the first record.
///
/// # Errors
/// As for writing.
pub fn write_flags(output: &mut impl Write, flags: Flags) -> io::Result<()> {
    let flags = i32::from_ne_bytes(flags.bits().to_ne_bytes());
    output.write_all(&Encoder::null().int(FLAGS, flags).finish())
}

impl Write for Client {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The alphabet of queue IDs (spec queue-file 3); the crate `queue` has the type.
fn is_queue_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn bad_queue_id(value: String, from: String) -> Error {
    Error::Constant { name: QUEUE_ID.to_owned(), value, from, expected: "queue ID".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_of_each_list() {
        let mut wire = Vec::new();
        announce(&mut wire, "475CE996328").unwrap();
        assert_eq!(wire, b"protocol\0cleanup_protocol\0queue_id\x00475CE996328\0\0");
        wire.clear();
        Reply::default().send(&mut wire).unwrap();
        assert_eq!(wire, b"status\x000\0reason\0\0\0");
        let reply = Reply { status: Status::CONT, reason: b"5.7.1 no such thing".to_vec() };
        wire.clear();
        reply.send(&mut wire).unwrap();
        assert_eq!(wire, b"status\x008\0reason\x005.7.1 no such thing\0\0");
        assert_eq!(Reply::read(&mut wire.as_slice(), "test").unwrap(), reply);
        assert_eq!(read_flags(&mut &b"flags\x00178\0\0"[..], "test").unwrap(), Flags::from_bits_retain(178));
        assert_eq!(
            read_flags(&mut &b"bogus\x00178\0\0"[..], "cleanup socket").unwrap_err().to_string(),
            "unexpected attribute bogus from cleanup socket (expecting: flags)"
        );
    }

    #[test]
    fn one_message() {
        let (client, server) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || {
            announce(&mut &server, "475CE996328").unwrap();
            let mut input = BufReader::new(&server);
            assert_eq!(read_flags(&mut input, "cleanup socket").unwrap(), Flags::SMTPD);
            let mut records = [0; 2];
            input.read_exact(&mut records).unwrap();
            assert_eq!(records, *b"E\0");
            Reply { status: Status::RCPT, reason: Vec::new() }.send(&mut &server).unwrap();
        });
        let mut client = Client::start(Stream::new(client, "public/cleanup")).unwrap();
        assert_eq!(client.queue_id(), "475CE996328");
        write_flags(&mut client, Flags::SMTPD).unwrap();
        client.write_all(b"E\0").unwrap();
        assert_eq!(client.finish().status, Status::RCPT);
        serving.join().unwrap();
    }

    #[test]
    fn a_server_that_says_nonsense() {
        let bad: [&[u8]; 4] = [
            b"",
            b"protocol\0bounce_protocol\0\0",
            b"protocol\0cleanup_protocol\0\0",
            b"protocol\0cleanup_protocol\0queue_id\0../x\0\0",
        ];
        for announcement in bad {
            let (client, mut server) = UnixStream::pair().unwrap();
            server.write_all(announcement).unwrap();
            drop(server);
            assert!(Client::start(Stream::new(client, "public/cleanup")).is_err());
        }
    }

    #[test]
    fn words_of_receive_override_options() {
        let cleared: Flags =
            ["no_address_mappings", "no_milters"].into_iter().filter_map(Flags::overridden).collect();
        assert_eq!(Flags::PICKUP - cleared, Flags::BOUNCE | Flags::FILTER);
        assert_eq!(Flags::overridden("no_unknown_recipient_checks"), Some(Flags::empty()));
        assert_eq!(Flags::overridden("x"), None);
    }

    #[test]
    fn the_most_significant_bit_gives_the_text() {
        assert_eq!((Status::WRITE | Status::SIZE).detail().text, "message file too big");
        assert_eq!((Status::BAD | Status::DEFER).detail().text, "service unavailable");
        assert_eq!(Status::OK.detail().code, 250);
    }
}
