//! One message on its way into a queue file: records in, records out.
//!
//! A message passes three segments, each with its own rules about which record may stand where: envelope
//! up to `M`, content up to `X`, extracted up to `E`. [`Message::record`] takes the client's records one by
//! one and writes the queue file's; the modules `envelope`, `content` and `extracted` hold one segment each.
//!
//! Memory is bounded whatever the message's size: one record, one header, the open MIME boundaries, the
//! attributes that `queue_file_attribute_count_limit` allows, and the `duplicate_filter_limit` recipients of
//! the duplicate filter.
//!
//! Nothing here is an error for the caller: what goes wrong sets bits in the status, and the stop rule
//! ([`Message::output_ok`]) tells whether more input is worth taking. Source: spec cleanup.md 3 to 15.

use std::io::{self, ErrorKind};

use ::message::Text;
use ::message::mime::Structure;
use ipc::cleanup::{Flags, Status};
use queue::{QueueFile, QueueId, RecordType, SizeRecord, sendopts};

use crate::content::Content;
use crate::envelope::Envelope;
use crate::masquerade::Masquerade;
use crate::params::CleanupParams;
use crate::recipient::Recipients;
use crate::rewrite::Rewrite;

/// What every message of a process shares.
pub struct Shared<'p> {
    /// The settings.
    pub params: &'p CleanupParams,
    /// Masquerading of host names.
    pub masquerade: &'p Masquerade,
}

/// The segment that the next record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Envelope,
    Content,
    /// After `X`, which is written when the first extracted record comes.
    ExtractedStart,
    Extracted,
    /// After `E`.
    End,
}

/// A message in progress.
pub struct Message<'p> {
    pub(crate) shared: Shared<'p>,
    pub(crate) rewrite: &'p mut dyn Rewrite,
    pub(crate) file: QueueFile,
    pub(crate) id: QueueId,
    pub(crate) flags: Flags,
    pub(crate) status: Status,
    /// Enhanced status code and text of the first reason to reject; empty when there is none.
    pub(crate) reason: Vec<u8>,
    pub(crate) segment: Segment,
    pub(crate) size: SizeRecord,
    pub(crate) envelope: Envelope,
    pub(crate) recipients: Recipients,
    pub(crate) content: Content,
    /// The MIME walk; away while it works.
    pub(crate) structure: Option<Box<Structure>>,
    /// The client announced Milters, so places to edit are reserved.
    pub(crate) reserve: bool,
}

impl<'p> Message<'p> {
    /// A message that goes into `file`, under the client's `flags`.
    pub fn new(shared: Shared<'p>, rewrite: &'p mut dyn Rewrite, file: QueueFile, flags: Flags) -> Self {
        let mut size = SizeRecord::default();
        if flags.contains(Flags::SMTPUTF8) {
            size.sendopts |= sendopts::SMTPUTF8_REQUESTED;
        }
        let mut message = Message {
            id: file.id().clone(),
            recipients: Recipients::default(),
            envelope: Envelope::default(),
            content: Content::default(),
            structure: None,
            shared,
            rewrite,
            file,
            flags,
            status: Status::OK,
            reason: Vec::new(),
            segment: Segment::Envelope,
            size,
            reserve: false,
        };
        message.put(RecordType::SIZE, &SizeRecord::default().encode());
        message
    }

    /// Takes one record of the client. Nothing is taken after `E`, or when the stop rule holds.
    pub fn record(&mut self, kind: RecordType, data: &[u8]) {
        match kind {
            RecordType::POINTER | RecordType::PADDING => {
                log::warn!("{}: record type {} not allowed - discarding this message", self.id, kind.0);
                self.status.insert(Status::BAD);
            }
            _ => match self.segment {
                Segment::Envelope => self.envelope_record(kind, data),
                Segment::Content => self.content_record(kind, data),
                Segment::ExtractedStart => {
                    self.put(RecordType::EXTRACTED, b"");
                    self.segment = Segment::Extracted;
                    self.recipients.started = false;
                    self.extracted_record(kind, data);
                }
                Segment::Extracted => self.extracted_record(kind, data),
                Segment::End => {}
            },
        }
    }

    /// True while what is written may still become a queue file (spec cleanup.md 3, stop rule).
    pub fn output_ok(&self) -> bool {
        let mask = if self.flags.contains(Flags::BOUNCE) {
            // These are not worth a bounce; the rest is, and a bounce returns the message.
            Status::BAD | Status::WRITE | Status::SIZE | Status::DEFER
        } else {
            Status(u32::MAX)
        };
        !self.status.intersects(mask) && !self.flags.contains(Flags::DISCARD)
    }

    /// True after `E`.
    pub fn is_complete(&self) -> bool {
        self.segment == Segment::End
    }

    /// Adds error bits.
    pub fn fail(&mut self, status: Status) {
        self.status.insert(status);
    }

    /// Adds error bits with a reason; the first reason stays.
    pub(crate) fn reject(&mut self, status: Status, reason: &str) {
        self.status.insert(status);
        if self.reason.is_empty() {
            self.reason = reason.as_bytes().to_vec();
        }
    }

    /// Adds the flags of an `f` record.
    pub(crate) fn extra_flags(&mut self, data: &[u8]) {
        let extra = queue::leading_number(data).unwrap_or(0);
        // A C int.
        let extra = u32::try_from(extra & i64::from(u32::MAX)).unwrap_or(0);
        if extra & !Flags::EXTRA.0 == 0 {
            self.flags.insert(Flags(extra));
        } else {
            log::warn!("{}: ignoring bad extra flags: {extra:#x}", self.id);
        }
    }

    /// Takes an `m` record: the client has Milters, or might have had.
    pub(crate) fn milters(&mut self, data: &[u8]) {
        if queue::leading_number(data).unwrap_or(0) >= 0 {
            self.reserve = true;
        }
    }

    /// Writes a record.
    pub(crate) fn put(&mut self, kind: RecordType, data: &[u8]) {
        if self.output_ok() {
            let result = self.file.writer().write(kind, data);
            self.written(result);
        }
    }

    /// Writes an attribute record.
    pub(crate) fn put_attribute(&mut self, name: &str, value: &[u8]) {
        if self.output_ok() {
            let result = self.file.writer().write_attribute(name, value);
            self.written(result);
        }
    }

    /// Writes a record of formatted text.
    pub(crate) fn put_formatted(&mut self, kind: RecordType, text: std::fmt::Arguments<'_>) {
        if self.output_ok() {
            let result = self.file.writer().write_text(kind, text);
            self.written(result);
        }
    }

    /// Writes text, as several records when it is longer than `line_length_limit`.
    pub(crate) fn put_text(&mut self, ending: Text, text: &[u8]) {
        let limit = self.shared.params.line_length_limit.max(1);
        let mut rest = text;
        while rest.len() > limit {
            let (part, more) = rest.split_at(limit);
            self.put(RecordType::CONT, part);
            rest = more;
        }
        let kind = match ending {
            Text::Line => RecordType::NORM,
            Text::Partial => RecordType::CONT,
        };
        self.put(kind, rest);
    }

    /// Reserves a place where a Milter's edit can be reached from.
    pub(crate) fn put_placeholder(&mut self) {
        if self.reserve && self.output_ok() {
            let result = self.file.writer().write_pointer(0);
            self.written(result);
        }
    }

    /// Pads a record of `length` bytes so that a pointer can overwrite it.
    pub(crate) fn put_padding(&mut self, kind: RecordType, length: usize) {
        const POINTER_DATA: usize = 15;
        if self.reserve && length < POINTER_DATA && self.output_ok() {
            let result = self.file.writer().write_padding(kind, POINTER_DATA - length);
            self.written(result);
        }
    }

    /// Where the next record goes.
    pub(crate) fn offset(&mut self) -> i64 {
        i64::try_from(self.file.writer().offset()).unwrap_or(i64::MAX)
    }

    /// Notes a write error.
    pub(crate) fn written(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        if error.kind() == ErrorKind::FileTooLarge {
            log::warn!("{}: queue file size limit exceeded", self.id);
            self.status.insert(Status::SIZE);
        } else {
            log::warn!("{}: write queue file: {}", self.id, sys::error_text(&error));
            self.status.insert(Status::WRITE);
        }
    }
}
