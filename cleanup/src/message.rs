//! One message on its way into a queue file: records in, records out.
//!
//! A message passes three segments, each with its own rules about which record may stand where: envelope
//! up to `M`, content up to `X`, extracted up to `E`. [`Message::record`] takes the client's records one by
//! one, decides which part of the message a record belongs to, and hands it there: to the envelope, the recipients or
//! the content. The parts write to the output.
//!
//! Memory is bounded whatever the message's size: one record, one header, the open MIME boundaries, the
//! attributes that `queue_file_attribute_count_limit` allows, and the `duplicate_filter_limit` recipients of
//! the duplicate filter.
//!
//! Nothing here is an error for the caller: what goes wrong sets bits in the status, and the stop rule
//! ([`Message::output_ok`]) tells whether more input is worth taking. Source: spec cleanup 3 to 15.

use addressing::{Addressing, Rewrite, Tables};
use checks::{Check, ContentChecks};
use ipc::cleanup::{Flags, Status};
use milter::Milters;
use queue::{QueueDirectory, QueueFile, QueueId, RecordType, attr};

use crate::bounce::{self, Bounce};
use crate::content::{Around, Content};
use crate::envelope::Envelope;
use crate::milter::{Filters, Parts};
use crate::output::{Finished, Output};
use crate::params::CleanupParams;
use crate::recipients::{self, MalformedNotify, Recipients};
use crate::record::Record;

/// What every message of a process shares.
pub(crate) struct Shared<'p> {
    /// The settings.
    pub(crate) params: &'p CleanupParams,
    /// Tables and lists.
    pub(crate) tables: &'p Tables,
    /// Header and body checks.
    pub(crate) checks: &'p ContentChecks,
    /// Checks of headers that Milters add.
    pub(crate) milter_check: Option<&'p Check>,
}

/// The segment that the next record belongs to. Recipients come last in a segment: once one has come, other records
/// are mixed with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Envelope {
        has_recipients: bool,
    },
    Content,
    /// After `X`, which is written when the first extracted record comes.
    ExtractedStart,
    Extracted {
        has_recipients: bool,
    },
    /// After `E`.
    End,
}

/// A message in progress.
pub(crate) struct Message<'p> {
    params: &'p CleanupParams,
    segment: Segment,
    addressing: Addressing<'p>,
    envelope: Envelope<'p>,
    recipients: Recipients<'p>,
    content: Content<'p>,
    filters: Filters<'p>,
    output: Output,
}

impl<'p> Message<'p> {
    /// A message that goes into `file`, under the client's `flags`.
    pub(crate) fn new(
        shared: Shared<'p>,
        rewrite: &'p mut dyn Rewrite,
        file: QueueFile,
        flags: Flags,
    ) -> Self {
        let Shared { params, tables, checks, milter_check } = shared;
        let mut output = Output::new(file, flags, params.line_length_limit);
        Message {
            params,
            segment: Segment::Envelope { has_recipients: false },
            addressing: Addressing::new(&params.mapping, tables, rewrite, flags.contains(Flags::MAP)),
            envelope: Envelope::new(params),
            recipients: Recipients::new(params),
            content: Content::new(params, checks, flags),
            filters: Filters::new(params, milter_check, &mut output),
            output,
        }
    }

    /// The queue ID.
    pub(crate) fn id(&self) -> &QueueId {
        self.output.id()
    }

    /// Takes one record of the client. Nothing is taken after `E`, or when the stop rule holds.
    pub(crate) fn record(&mut self, kind: RecordType, data: &[u8]) {
        match kind {
            RecordType::POINTER | RecordType::PADDING => {
                log::warn!("{}: record type {} not allowed - discarding this message", self.id(), kind.0);
                self.output.fail(Status::BAD);
            }
            _ => match self.segment {
                Segment::Envelope { has_recipients } => self.envelope_record(kind, data, has_recipients),
                Segment::Content => self.content_record(kind, data),
                Segment::ExtractedStart => {
                    self.output.put(RecordType::EXTRACTED, b"");
                    self.segment = Segment::Extracted { has_recipients: false };
                    self.extracted_record(kind, data, false);
                }
                Segment::Extracted { has_recipients } => self.extracted_record(kind, data, has_recipients),
                Segment::End => {}
            },
        }
    }

    /// True while what is written may still become a queue file (spec cleanup 3, stop rule).
    pub(crate) fn output_ok(&self) -> bool {
        self.output.is_ok()
    }

    /// Adds error bits.
    pub(crate) fn fail(&mut self, status: Status) {
        self.output.fail(status);
    }

    /// The client has gone before the end.
    pub(crate) fn give_up(&mut self) {
        self.output.give_up();
    }

    /// The envelope segment (spec cleanup 4).
    fn envelope_record(&mut self, kind: RecordType, data: &[u8], mut has_recipients: bool) {
        match kind {
            RecordType::FLAGS => return self.output.extra_flags(data),
            // The client has none that are active, or none yet.
            RecordType::MILTER_COUNT if queue::leading_number(data).unwrap_or(0) >= 0 => {
                return self.take_over(Milters::default());
            }
            RecordType::MILTER_COUNT => return,
            _ => {}
        }
        let Some(record) = Record::parse(kind, data, &mut self.output) else { return };
        if !record.kind.is_envelope() {
            let (id, kind) = (self.id(), record.kind.0);
            log::warn!("{id}: message rejected: unexpected record type {kind} in envelope");
            return self.output.fail(Status::BAD);
        }
        if !has_recipients && kind.is_envelope_recipient() {
            if !self.envelope.is_ready(&mut self.output) {
                return;
            }
            has_recipients = true;
            self.segment = Segment::Envelope { has_recipients };
        }
        match record.kind {
            RecordType::MESSAGE => {
                self.output.put_place(|places| &mut places.recipients);
                self.output.put(RecordType::MESSAGE, b"");
                self.output.content_begins();
                self.segment = Segment::Content;
            }
            _ if record.kind.is_envelope_recipient() && record.kind != RecordType::KILL => {
                let malformed = MalformedNotify { dsn: "DSN", shown: data };
                self.with_recipients(|recipients, around| recipients.record(&record, &malformed, around));
                self.told_recipient(record.kind);
            }
            _ => {
                if has_recipients {
                    self.output.recipients_are_mixed();
                }
                let is_first_sender = record.kind == RecordType::FROM && self.envelope.sender().is_none();
                self.envelope.record(&record, &mut self.addressing, &mut self.output);
                if is_first_sender {
                    self.sender_bcc();
                    self.with_filters(Filters::sender);
                }
            }
        }
    }

    /// The recipient whom the sender's mail also goes to stands right behind the sender.
    fn sender_bcc(&mut self) {
        let Some(sender) = self.envelope.sender() else { return };
        if self.output.adds_bcc()
            && let Some(bcc) = self.addressing.sender_bcc(sender, &mut self.output)
        {
            self.with_recipients(|recipients, around| recipients.bcc(&bcc, around));
        }
    }

    fn with_recipients(&mut self, act: impl FnOnce(&mut Recipients<'p>, &mut recipients::Around<'_, 'p>)) {
        let mut around = recipients::Around {
            envelope: &self.envelope,
            addressing: &mut self.addressing,
            output: &mut self.output,
        };
        act(&mut self.recipients, &mut around);
    }

    fn told_recipient(&mut self, kind: RecordType) {
        if kind == RecordType::RCPT && self.output.is_ok() {
            self.with_filters(Filters::recipient);
        }
    }

    fn with_filters(&mut self, act: impl FnOnce(&mut Filters<'p>, &mut Parts<'_, 'p>)) {
        let mut parts = Parts {
            envelope: &mut self.envelope,
            recipients: &mut self.recipients,
            addressing: &mut self.addressing,
            output: &mut self.output,
            own_received: self.content.own_received(),
        };
        act(&mut self.filters, &mut parts);
    }

    /// Takes over the Milters of the client.
    pub(crate) fn take_over(&mut self, milters: Milters) {
        self.filters.take_over(milters, &mut self.output);
    }

    fn content_record(&mut self, kind: RecordType, data: &[u8]) {
        let mut around = Around {
            envelope: &self.envelope,
            recipient: self.recipients.last(),
            addressing: &mut self.addressing,
            output: &mut self.output,
        };
        if kind == RecordType::EXTRACTED {
            self.content.end(&mut around);
            self.segment = Segment::ExtractedStart;
        } else {
            self.content.record(kind, data, &mut around);
        }
    }

    /// The extracted segment: what the headers told, late recipients, the end (spec cleanup 13).
    fn extracted_record(&mut self, kind: RecordType, data: &[u8], mut has_recipients: bool) {
        if kind == RecordType::FLAGS {
            return self.output.extra_flags(data);
        }
        let Some(record) = Record::parse(kind, data, &mut self.output) else { return };
        if !kind.is_extracted() {
            let id = self.id();
            log::warn!("{id}: message rejected: unexpected record type {} in extracted envelope", kind.0);
            return self.output.fail(Status::BAD);
        }
        let is_of_run = record.kind.is_extracted_recipient();
        if !has_recipients && is_of_run {
            self.put_meta();
            has_recipients = true;
            self.segment = Segment::Extracted { has_recipients };
        }
        match record.kind {
            RecordType::END => self.extracted_end(),
            _ if is_of_run && record.kind != RecordType::KILL => {
                let malformed = MalformedNotify { dsn: "dsn", shown: record.data };
                self.with_recipients(|recipients, around| recipients.record(&record, &malformed, around));
                self.told_recipient(record.kind);
            }
            _ => {
                if has_recipients {
                    self.output.recipients_are_mixed();
                }
                self.output.put(kind, data);
            }
        }
    }

    /// What the content told about the message.
    fn put_meta(&mut self) {
        self.output.put_detours();
        if let Some(id) = self.content.message_id() {
            self.output.put_attribute(attr::MESSAGE_ID, id);
        }
        if let Some(encoding) = self.content.encoding(&self.envelope) {
            self.output.put_attribute(attr::ENCODING, encoding);
        }
        self.output.put_place(|places| &mut places.meta);
    }

    fn extracted_end(&mut self) {
        let bcc = &self.params.always_bcc;
        let is_allowed = self.output.flags().contains(Flags::BCC) && self.recipients.last().is_some();
        if is_allowed && !bcc.is_empty() {
            self.with_recipients(|recipients, around| recipients.bcc(bcc, around));
        }
        if self.recipients.last().is_some() {
            for address in self.output.take_bcc().iter() {
                self.with_recipients(|recipients, around| recipients.bcc(address, around));
            }
        }
        self.output.put(RecordType::END, b"");
        self.segment = Segment::End;
    }

    /// Ends the message; the client has said all it had to say.
    ///
    /// # Errors
    /// The text of a fatal error: a file that cannot be moved to `hold`.
    pub(crate) fn finish(self, directory: &QueueDirectory) -> Result<Finished, String> {
        let Message {
            params,
            segment,
            mut envelope,
            mut recipients,
            content,
            mut filters,
            mut addressing,
            mut output,
        } = self;
        if output.is_ok() {
            if recipients.last().is_none() {
                output.fail(Status::RCPT);
            }
            if segment != Segment::End {
                output.fail(Status::BAD);
            }
        }
        filters.end(Parts {
            envelope: &mut envelope,
            recipients: &mut recipients,
            addressing: &mut addressing,
            output: &mut output,
            own_received: content.own_received(),
        });
        output.settle();
        if bounce::is_wanted(&envelope, &output) {
            let encoding = content.encoding(&envelope).unwrap_or_default();
            Bounce { params, envelope: &envelope, encoding, output: &mut output }.send();
        }
        output.finish(directory, params.dialect)
    }
}

#[cfg(test)]
mod tests {
    use config::{Config, ConfigDir};
    use ipc::cleanup::Reply;
    use ipc::rewrite::Rule;
    use lookup::Opening;
    use queue::{Hashing, QueueName};

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
        let params = scratch.params();
        let tables = Tables::open(&params.mapping, Opening::Survive).unwrap();
        let directory = scratch.directory();
        let file = QueueFile::create(&directory, QueueName::Incoming).unwrap();
        let mut rewrite = AtExample;
        let checks = ContentChecks::default();
        let shared = Shared { params: &params, tables: &tables, checks: &checks, milter_check: None };
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
