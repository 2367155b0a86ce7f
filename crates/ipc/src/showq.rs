//! The queue listing: what `public/showq` sends to `postqueue` (spec ipc 17).
//!
//! No request: the server speaks at once and closes. Shape (null encoding):
//!
//! 1. announcement `protocol=mail_queue_list_protocol`
//! 2. for each message a list: `queue_name`, `queue_id`, `time`, `size`, `forced_expire`, `sender`, then any number of
//!    times `recipient`, `reason`; since 3.11 `original_recipient`, `recipient`, `log_class`, `reason`
//! 3. an empty list
//!
//! [`Writer`] is the server's side, [`Reader`] the client's. A message can have any number of recipients, so both work
//! piece by piece. Whatever else arrives is an [`Error`]; the client ends with `malformed showq server response`.

use std::io::{self, BufRead, Write};

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::dialect::Dialect;

const QUEUE_NAME: &str = "queue_name";
const QUEUE_ID: &str = "queue_id";
const TIME: &str = "time";
const SIZE: &str = "size";
const FORCED_EXPIRE: &str = "forced_expire";
const SENDER: &str = "sender";
const ORIGINAL_RECIPIENT: &str = "original_recipient";
const RECIPIENT: &str = "recipient";
const LOG_CLASS: &str = "log_class";
const REASON: &str = "reason";

/// A message in the queue, without its recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `maildrop`, `active`, `incoming`, `deferred` or `hold`.
    pub queue_name: Vec<u8>,
    /// The queue ID.
    pub queue_id: Vec<u8>,
    /// Arrival, in seconds.
    pub time: i64,
    /// Bytes of the content.
    pub size: i64,
    /// Whether the message goes back to its sender at the next attempt.
    pub forced_expire: bool,
    /// In external form; never empty.
    pub sender: Vec<u8>,
}

/// A recipient that a message is still to be delivered to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The original recipient, in external form, or empty; not told before 3.11.
    pub original: Vec<u8>,
    /// In external form.
    pub address: Vec<u8>,
    /// The log that the reason is from: `defer`, `bounce`, or nothing; not told before 3.11.
    pub log_class: Vec<u8>,
    /// Why it was not delivered yet; empty when nothing is known.
    pub reason: Vec<u8>,
}

/// The server's side.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    dialect: Dialect,
}

impl<W: Write> Writer<W> {
    /// Begins a listing with the announcement. `output` is best buffered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut output: W, dialect: Dialect) -> io::Result<Self> {
        output.write_all(&Protocol::MAIL_QUEUE_LIST.begin().finish())?;
        Ok(Writer { output, dialect })
    }

    /// Begins a message.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn message(&mut self, message: &Message) -> io::Result<()> {
        let list = Encoder::null()
            .string(QUEUE_NAME, &message.queue_name)
            .string(QUEUE_ID, &message.queue_id)
            .long(TIME, message.time)
            .long(SIZE, message.size)
            .int(FORCED_EXPIRE, i32::from(message.forced_expire))
            .string(SENDER, &message.sender);
        self.output.write_all(list.unterminated())
    }

    /// Adds a recipient to the message begun last.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn recipient(&mut self, rcpt: &Recipient) -> io::Result<()> {
        let list = Encoder::null();
        let group = if self.dialect.showq_tells_origins() {
            list.string(ORIGINAL_RECIPIENT, &rcpt.original)
                .string(RECIPIENT, &rcpt.address)
                .string(LOG_CLASS, &rcpt.log_class)
        } else {
            list.string(RECIPIENT, &rcpt.address)
        };
        self.output.write_all(group.string(REASON, &rcpt.reason).unterminated())
    }

    /// Ends the message begun last.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end_message(&mut self) -> io::Result<()> {
        self.output.write_all(&Encoder::null().finish())
    }

    /// Ends the listing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.output.write_all(&Encoder::null().finish())?;
        self.output.flush()
    }
}

/// One piece of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message begins.
    Message(Message),
    /// A recipient of the message begun last.
    Recipient(Recipient),
    /// The message begun last has no more recipients.
    EndOfMessage,
}

/// The client's side.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    from: String,
    dialect: Dialect,
    in_message: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the announcement; `from` is the stream's name in warnings, such as `public/showq socket`.
    ///
    /// # Errors
    /// When it is none, or another service's.
    pub fn new(mut input: R, from: impl Into<String>, dialect: Dialect) -> Result<Self, Error> {
        let from = from.into();
        Protocol::MAIL_QUEUE_LIST.expect(&mut input, &from)?;
        Ok(Reader { input, from, dialect, in_message: false })
    }

    /// The next piece; `None` at the end of the listing.
    ///
    /// # Errors
    /// When something else arrives, or the server closes too early.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let ends = self.at_terminator()?;
        if ends {
            // The one byte just seen.
            self.input.consume(1);
        }
        match (self.in_message, ends) {
            (false, true) => Ok(None),
            (true, true) => {
                self.in_message = false;
                Ok(Some(Event::EndOfMessage))
            }
            (false, false) => {
                self.in_message = true;
                self.message().map(|message| Some(Event::Message(message)))
            }
            (true, false) => self.recipient().map(|recipient| Some(Event::Recipient(recipient))),
        }
    }

    fn at_terminator(&mut self) -> Result<bool, Error> {
        loop {
            match self.input.fill_buf() {
                Ok(buffer) => return Ok(buffer.first() == Some(&0)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The decoder meets the same error and words it.
                Err(_) => return Ok(false),
            }
        }
    }

    fn message(&mut self) -> Result<Message, Error> {
        let mut list = Decoder::null(&mut self.input, &self.from, Flags::STRICT);
        Ok(Message {
            queue_name: list.string(QUEUE_NAME)?,
            queue_id: list.string(QUEUE_ID)?,
            time: list.long(TIME)?,
            size: list.long(SIZE)?,
            forced_expire: list.int(FORCED_EXPIRE)? != 0,
            sender: list.string(SENDER)?,
        })
    }

    fn recipient(&mut self) -> Result<Recipient, Error> {
        let mut list = Decoder::null(&mut self.input, &self.from, Flags::STRICT);
        let mut rcpt = Recipient::default();
        if self.dialect.showq_tells_origins() {
            rcpt.original = list.string(ORIGINAL_RECIPIENT)?;
            rcpt.address = list.string(RECIPIENT)?;
            rcpt.log_class = list.string(LOG_CLASS)?;
        } else {
            rcpt.address = list.string(RECIPIENT)?;
        }
        rcpt.reason = list.string(REASON)?;
        Ok(rcpt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observed from Postfix 3.7.11: one held message with two recipients.
    const HELD: &[u8] = b"protocol\0mail_queue_list_protocol\0\0\
        queue_name\0hold\0queue_id\0EA7C9996105\0time\x001795328574\0size\x00177\0forced_expire\x000\0\
        sender\0joe@ipc.example.test\0recipient\0a@other.test\0reason\0\0\
        recipient\0b@other.test\0reason\0\0\0\0";

    fn held() -> Message {
        Message {
            queue_name: b"hold".to_vec(),
            queue_id: b"EA7C9996105".to_vec(),
            time: 1_795_328_574,
            size: 177,
            forced_expire: false,
            sender: b"joe@ipc.example.test".to_vec(),
        }
    }

    #[test]
    fn writes_what_postfix_writes() {
        let recipient = |address: &[u8]| Recipient { address: address.to_vec(), ..Recipient::default() };
        let all = [recipient(b"a@other.test"), recipient(b"b@other.test")];
        assert_eq!(written(7, &all).expect("a vector takes all"), HELD);
    }

    fn written(minor: u32, recipients: &[Recipient]) -> io::Result<Vec<u8>> {
        let mut wire = Vec::new();
        let mut writer = Writer::new(&mut wire, Dialect::of_postfix_3(minor))?;
        writer.message(&held())?;
        for recipient in recipients {
            writer.recipient(recipient)?;
        }
        writer.end_message()?;
        writer.finish()?;
        Ok(wire)
    }

    fn read(minor: u32, wire: &[u8]) -> Result<Vec<Event>, Error> {
        let mut reader = Reader::new(wire, "public/showq socket", Dialect::of_postfix_3(minor))?;
        let mut events = Vec::new();
        while let Some(event) = reader.next_event()? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn more_about_recipients_since_3_11() {
        let told = Recipient {
            original: b"alias@other.test".to_vec(),
            address: b"b@other.test".to_vec(),
            log_class: b"defer".to_vec(),
            reason: b"host not found".to_vec(),
        };
        let wire = written(11, std::slice::from_ref(&told)).expect("a vector takes all");
        let expected: &[u8] = b"sender\0joe@ipc.example.test\0original_recipient\0alias@other.test\0\
            recipient\0b@other.test\0log_class\0defer\0reason\0host not found\0\0\0";
        assert!(wire.ends_with(expected), "{}", String::from_utf8_lossy(&wire));
        assert_eq!(read(12, &wire).expect("well-formed")[1], Event::Recipient(told.clone()));
        // The dialects are not mixed: neither side can guess.
        assert!(read(10, &wire).is_err());
        assert!(read(11, HELD).is_err());
        let before = written(10, &[told]).expect("a vector takes all");
        assert!(before.ends_with(b"recipient\0b@other.test\0reason\0host not found\0\0\0"));
    }

    #[test]
    fn reads_what_postfix_writes() {
        let events = read(7, HELD).expect("well-formed");
        let recipient = |address: &[u8]| {
            Event::Recipient(Recipient { address: address.to_vec(), ..Recipient::default() })
        };
        let expected = [
            Event::Message(held()),
            recipient(b"a@other.test"),
            recipient(b"b@other.test"),
            Event::EndOfMessage,
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn every_cut_is_an_error() {
        for end in 0..HELD.len() {
            assert!(read(7, &HELD[..end]).is_err(), "{end}");
        }
    }
}
