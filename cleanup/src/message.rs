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
//! ([`Message::output_ok`]) tells whether more input is worth taking. Source: spec cleanup 3 to 15.

use std::io::{self, ErrorKind};

use ::message::Text;
use ::message::mime::Structure;
use ipc::cleanup::{Flags, Status};
use queue::{QueueFile, QueueId, RecordType, SizeRecord, sendopts};

use crate::addressing::masquerade::Masquerade;
use crate::addressing::rewrite::Rewrite;
use crate::content::Content;
use crate::envelope::Envelope;
use crate::params::CleanupParams;
use crate::recipients::Recipients;

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
        message.put_formatted(RecordType::SIZE, format_args!("{}", SizeRecord::default()));
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

    /// True while what is written may still become a queue file (spec cleanup 3, stop rule).
    pub fn output_ok(&self) -> bool {
        let mask = if self.flags.contains(Flags::BOUNCE) {
            // These are not worth a bounce; the rest is, and a bounce returns the message.
            Status::BAD | Status::WRITE | Status::SIZE | Status::DEFER
        } else {
            Status::from_bits_retain(u32::MAX)
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
        let extra = Flags::from_bits_retain(extra);
        if Flags::EXTRA.contains(extra) {
            self.flags.insert(extra);
        } else {
            log::warn!("{}: ignoring bad extra flags: {:#x}", self.id, extra.bits());
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

#[cfg(test)]
mod tests {
    use config::{Config, ConfigDir};
    use ipc::cleanup::Reply;
    use ipc::rewrite::Rule;
    use queue::{Hashing, QueueDirectory, QueueName};

    use super::*;

    /// Completes a bare local part, as trivial-rewrite does.
    struct AtExample;

    impl Rewrite for AtExample {
        fn rewrite(&mut self, _: Rule, address: &[u8]) -> Vec<u8> {
            if address.contains(&b'@') { address.to_vec() } else { [address, b"@example.com"].concat() }
        }
    }

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("cleanup-{name}-{}", std::process::id()));
            for folder in ["etc", "incoming", "hold"] {
                std::fs::create_dir_all(path.join(folder)).unwrap();
            }
            // Accounts that exist everywhere; root's instance must name some.
            let settings = "myhostname = mx.example.com\nmail_owner = uucp\nsetgid_group = news\n";
            std::fs::write(path.join("etc/main.cf"), settings).unwrap();
            Scratch(path)
        }

        fn params(&self) -> CleanupParams {
            let directory = ConfigDir::new(self.0.join("etc"));
            CleanupParams::new(&Config::load("cleanup", &directory, &[]).unwrap()).unwrap()
        }

        fn directory(&self) -> QueueDirectory {
            QueueDirectory::new(Hashing::default(), false).at(&self.0)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Feeds records to a new message; where it went and the answer.
    fn run(scratch: &Scratch, flags: Flags, records: &[(u8, Vec<u8>)]) -> (Option<QueueName>, Reply) {
        let (params, masquerade) = (scratch.params(), Masquerade::default());
        let directory = scratch.directory();
        let file = QueueFile::create(&directory, QueueName::Incoming).unwrap();
        let mut rewrite = AtExample;
        let shared = Shared { params: &params, masquerade: &masquerade };
        let mut message = Message::new(shared, &mut rewrite, file, flags);
        for (kind, data) in records {
            if message.output_ok() {
                message.record(RecordType(*kind), data);
            }
        }
        let finished = message.finish(&directory).unwrap();
        (finished.queued, finished.reply)
    }

    fn whole() -> Vec<(u8, Vec<u8>)> {
        let text = "T1795327907 5\nSalice\nRbob\nM\nNReceived: x\nNTo: carol\nN\nNbody\nX\nE";
        text.lines().map(|line| (line.as_bytes()[0], line.as_bytes()[1..].to_vec())).collect()
    }

    #[test]
    fn ends_of_a_message() {
        let scratch = Scratch::new("ends");
        assert_eq!(run(&scratch, Flags::SMTPD, &whole()).0, Some(QueueName::Incoming));
        assert_eq!(run(&scratch, Flags::HOLD, &whole()).0, Some(QueueName::Hold));
        let discarded = run(&scratch, Flags::DISCARD, &whole());
        assert_eq!((discarded.0, discarded.1.status), (None, Status::OK));
        // Cut off anywhere, nothing is queued.
        for end in 0..whole().len() {
            let (queued, reply) = run(&scratch, Flags::SMTPD, &whole()[..end]);
            assert_eq!(queued, None, "{end}");
            assert!(reply.status.intersects(Status::BAD), "{end}");
        }
        assert_eq!(std::fs::read_dir(scratch.0.join("incoming")).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(scratch.0.join("hold")).unwrap().count(), 1);
    }

    /// A generator of numbers, so that a failure can be repeated.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap_or(0) % limit
        }
    }

    #[test]
    fn hostile_records_never_panic() {
        let scratch = Scratch::new("hostile");
        let pieces: [&[u8]; 24] = [
            b"Content-Type: ",
            b"multipart/mixed; boundary=b",
            b"message/rfc822",
            b"--b",
            b"\"",
            b"\\",
            b"(",
            b"<",
            b">",
            b":",
            b";",
            b",",
            b"@",
            b"\0",
            b"\xff",
            b"\r\n",
            b" ",
            b"To: ",
            b"From:",
            b"notify_flags=",
            b"=",
            b"Resent-To: ",
            b"9",
            b"Content-Transfer-Encoding: 8bit",
        ];
        let kinds = b"MNNNNLLXERSTAOWVFCDKInoif</m>wp\0\xff";
        let mut numbers = Numbers(1);
        for _ in 0..300 {
            let mut records = whole();
            for _ in 0..numbers.below(30) {
                let length = numbers.below(8);
                let data: Vec<u8> =
                    (0..length).flat_map(|_| pieces[numbers.below(pieces.len())].to_vec()).collect();
                let at = numbers.below(records.len());
                records.insert(at, (kinds[numbers.below(kinds.len())], data));
            }
            run(&scratch, Flags::from_bits_retain(2 | 16 | 32 | 512), &records);
        }
    }
}
