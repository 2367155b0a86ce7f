//! The queue listing: what `public/showq` sends to `postqueue` (spec ipc 17).
//!
//! No request: the server speaks at once and closes. Shape (null encoding, Postfix 3.7 to 3.10):
//!
//! 1. announcement `protocol=mail_queue_list_protocol`
//! 2. for each message a list: `queue_name`, `queue_id`, `time`, `size`, `forced_expire`, `sender`, then any number of
//!    times `recipient`, `reason`
//! 3. an empty list
//!
//! [`Writer`] is the server's side, [`Reader`] the client's. A message can have any number of recipients, so both work
//! piece by piece. Whatever else arrives is an [`Error`]; the client ends with `malformed showq server response`.

use std::io::{self, BufRead, Write};

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};

const QUEUE_NAME: &str = "queue_name";
const QUEUE_ID: &str = "queue_id";
const TIME: &str = "time";
const SIZE: &str = "size";
const FORCED_EXPIRE: &str = "forced_expire";
const SENDER: &str = "sender";
const RECIPIENT: &str = "recipient";
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
    /// In external form.
    pub address: Vec<u8>,
    /// Why it was not delivered yet; empty when nothing is known.
    pub reason: Vec<u8>,
}

/// The server's side.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Begins a listing with the announcement. `output` is best buffered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut output: W) -> io::Result<Self> {
        output.write_all(&Protocol::MAIL_QUEUE_LIST.begin().finish())?;
        Ok(Writer { output })
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
    pub fn recipient(&mut self, address: &[u8], reason: &[u8]) -> io::Result<()> {
        let group = Encoder::null().string(RECIPIENT, address).string(REASON, reason);
        self.output.write_all(group.unterminated())
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
    in_message: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the announcement; `from` is the stream's name in warnings, such as `public/showq socket`.
    ///
    /// # Errors
    /// When it is none, or another service's.
    pub fn new(mut input: R, from: impl Into<String>) -> Result<Self, Error> {
        let from = from.into();
        Protocol::MAIL_QUEUE_LIST.expect(&mut input, &from)?;
        Ok(Reader { input, from, in_message: false })
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
        Ok(Recipient { address: list.string(RECIPIENT)?, reason: list.string(REASON)? })
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
        let mut wire = Vec::new();
        let mut writer = Writer::new(&mut wire).expect("a vector takes all");
        writer.message(&held()).expect("a vector takes all");
        writer.recipient(b"a@other.test", b"").expect("a vector takes all");
        writer.recipient(b"b@other.test", b"").expect("a vector takes all");
        writer.end_message().expect("a vector takes all");
        writer.finish().expect("a vector takes all");
        assert_eq!(wire, HELD);
    }

    #[test]
    fn reads_what_postfix_writes() {
        let mut reader = Reader::new(HELD, "public/showq socket").expect("announced");
        let mut events = Vec::new();
        while let Some(event) = reader.next_event().expect("well-formed") {
            events.push(event);
        }
        let recipient =
            |address: &[u8]| Event::Recipient(Recipient { address: address.to_vec(), reason: Vec::new() });
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
            let Ok(mut reader) = Reader::new(&HELD[..end], "test") else { continue };
            let result = loop {
                match reader.next_event() {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            assert!(result.is_err(), "{end}");
        }
    }
}
