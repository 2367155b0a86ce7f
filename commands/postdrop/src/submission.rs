//! Which records a user may submit, and copying them into the maildrop file (spec commands 10, queue-file 16).

use std::io::{self, BufRead, ErrorKind, Seek, Write};
use std::time::SystemTime;

use config::{Globals, printable};
use ipc::dialect::Dialect;
use queue::{ArrivalTime, Attribute, RecordError, RecordReader, RecordType, RecordWriter, attr};

use crate::input::Signalled;
use crate::login_senders::LoginSenders;

/// Why there is no complete file.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The input ended between two records, before its end record: how sendmail takes a message back.
    Cancelled,
    /// A signal came.
    Interrupted,
    /// The submitter does not keep to the protocol; the text is for the fatal error.
    Fatal(String),
    /// The message is incomplete; the text is for the submitter.
    Bad(String),
    /// The file cannot be written.
    Write(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Write(error)
    }
}

/// A message on its way into the file.
#[derive(Debug)]
pub(crate) struct Submission<'a> {
    uid: u32,
    senders: &'a LoginSenders,
    record_limit: usize,
    /// `message_size_limit`: the longest file; none when it is not positive.
    size_limit: Option<u64>,
    has_sender: bool,
    has_recipient: bool,
    /// A size record tells what the message asks for, since 3.11.
    takes_size: bool,
}

/// What is written to the file at once.
const BLOCK: u64 = 4096;

/// What a segment may hold, and the record that ends it.
type Segment = (fn(RecordType) -> bool, RecordType);

/// The segments of a submission.
const SEGMENTS: [Segment; 3] = [
    (RecordType::is_postdrop_envelope, RecordType::MESSAGE),
    (RecordType::is_postdrop_content, RecordType::EXTRACTED),
    (RecordType::is_postdrop_extracted, RecordType::END),
];

impl<'a> Submission<'a> {
    /// A message of the user `uid`, who may be one of `senders`, with what `line_length_limit` and `message_size_limit` allow.
    pub(crate) fn new(uid: u32, globals: &Globals, senders: &'a LoginSenders) -> Submission<'a> {
        let record_limit = usize::try_from(globals.line_length_limit).unwrap_or(0);
        let size_limit = u64::try_from(globals.message_size_limit).ok().filter(|limit| *limit > 0);
        let takes_size = Dialect::of_postfix_3(globals.postfix_minor).knows_requiretls();
        Submission {
            uid,
            senders,
            record_limit,
            size_limit,
            has_sender: false,
            has_recipient: false,
            takes_size,
        }
    }

    /// Copies all records, after a time record of our own.
    pub(crate) fn copy<W: Write + Seek>(
        mut self,
        input: impl BufRead,
        output: &mut RecordWriter<W>,
    ) -> Result<(), Refusal> {
        output.write(RecordType::TIME, &ArrivalTime::from(SystemTime::now()).encode())?;
        let mut input = RecordReader::new(input, "stdin");
        let mut data = Vec::new();
        for (allowed, last) in SEGMENTS {
            loop {
                let kind = match self.record(&mut input, &mut data) {
                    Err(Refusal::Cancelled) if self.is_too_large(output.offset()) => {
                        // Only closing the file brings it to light, and nobody wants the file any more.
                        log::warn!("mail_stream_cleanup: close error");
                        return Err(Refusal::Cancelled);
                    }
                    record => record?,
                };
                if !allowed(kind) || (kind == RecordType::SIZE && !self.takes_size) {
                    return Err(Refusal::Fatal(format!(
                        "uid={}: unexpected record type: {}",
                        self.uid, kind.0
                    )));
                }
                if kind == RecordType::ATTR {
                    self.attribute(&data, output)?;
                } else {
                    self.note(kind, &data)?;
                    output.write(kind, &data)?;
                }
                if self.cannot_be_written(output.offset()) {
                    return Err(Refusal::Write(ErrorKind::FileTooLarge.into()));
                }
                if kind == last {
                    break;
                }
            }
        }
        if self.is_too_large(output.offset()) {
            return Err(Refusal::Write(ErrorKind::FileTooLarge.into()));
        }
        if self.has_sender && self.has_recipient { Ok(()) } else { Err(Refusal::Bad(String::new())) }
    }

    fn is_too_large(&self, size: u64) -> bool {
        self.size_limit.is_some_and(|limit| size > limit)
    }

    /// Whether the limit has been met while the message is still coming: as Postfix's, what it writes goes out block by
    /// block (observed, 3.7.11).
    fn cannot_be_written(&self, size: u64) -> bool {
        self.size_limit.is_some_and(|limit| size > limit && size / BLOCK > limit / BLOCK)
    }

    fn record(
        &self,
        input: &mut RecordReader<impl BufRead>,
        data: &mut Vec<u8>,
    ) -> Result<RecordType, Refusal> {
        match input.read_raw(data, self.record_limit) {
            Ok(Some(kind)) => Ok(kind),
            Ok(None) => Err(Refusal::Cancelled),
            Err(RecordError::Io { source, .. }) if source.get_ref().is_some_and(|e| e.is::<Signalled>()) => {
                Err(Refusal::Interrupted)
            }
            Err(error) => {
                log::warn!("{error}");
                Err(Refusal::Fatal(format!("uid={}: malformed input", self.uid)))
            }
        }
    }

    fn note(&mut self, kind: RecordType, data: &[u8]) -> Result<(), Refusal> {
        match kind {
            RecordType::FROM if data.contains(&0) => {
                return Err(Refusal::Bad("NUL in FROM record".to_owned()));
            }
            RecordType::FROM => {
                self.senders.check(data).map_err(Refusal::Bad)?;
                self.has_sender = true;
            }
            RecordType::RCPT => self.has_recipient = true,
            _ => {}
        }
        Ok(())
    }

    /// Copies an attribute that a user may set; any other is left out.
    fn attribute(&self, data: &[u8], output: &mut RecordWriter<impl Write>) -> Result<(), Refusal> {
        let uid = self.uid;
        // An attribute ends at a NUL, as its readers will see it.
        let data = data.split(|c| *c == 0).next().unwrap_or_default();
        let attribute = match Attribute::parse(data) {
            Ok(attribute) => attribute,
            Err(why) => {
                log::warn!("uid={uid}: ignoring malformed record: {why}: {}", printable(data));
                return Ok(());
            }
        };
        let Attribute { name, value } = attribute;
        if !is_permitted(&attribute) {
            let (name, value) = (printable(name), printable(value));
            log::warn!("uid={uid}: ignoring attribute record: {name}={value}");
            return Ok(());
        }
        Ok(output.write(RecordType::ATTR, &[name, b"=", value].concat())?)
    }
}

fn is_permitted(attribute: &Attribute<'_>) -> bool {
    let name = |wanted: &str| attribute.name == wanted.as_bytes();
    attribute.pseudo_type().is_some()
        || name(attr::TRACE_FLAGS)
        || name(attr::ENCODING) && matches!(attribute.value, b"7bit" | b"8bit" | b"")
        || name(attr::REWRITE_CONTEXT) && matches!(attribute.value, b"local" | b"remote")
}
