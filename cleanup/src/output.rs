//! Where a message goes: its queue file, and whether that may still become one.
//!
//! All that is written passes here, and all that goes wrong is noted here: the flags that the client gave and `f`
//! records add to, the status bits, the first reason to reject, the size record. What goes wrong is no error for the
//! caller; the stop rule ([`Output::is_ok`]) tells whether more input is worth taking, and nothing is written once it
//! says no. Completes, holds or removes the file. Source: spec cleanup 3 and 15.

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Seek, SeekFrom};
use std::time::SystemTime;

use ipc::cleanup::{Flags, Reply, Status};
use ipc::dialect::Dialect;
use message::Text;
use metrics::Fault;
use queue::{
    EditError, Editor, EnvelopeReader, QueueDirectory, QueueFile, QueueId, QueueName, RecordType, SizeRecord,
    qmgr_flags, sendopts,
};

use crate::bcc::Bcc;

/// A queue file in progress.
pub(crate) struct Output {
    file: QueueFile,
    flags: Flags,
    status: Status,
    /// Enhanced status code and text of the first reason to reject; empty when there is none.
    reason: Vec<u8>,
    size: SizeRecord,
    /// The client announced Milters, so places to edit are reserved.
    reserve: bool,
    /// What was gathered for who reads the file could not be written.
    is_full: bool,
    line_length_limit: usize,
    /// There may be a log with what became of recipients so far.
    has_trace: bool,
    detours: Detours,
    places: Places,
}

/// A record that edits are reached from, and what is read behind them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// Its offset.
    pub(crate) at: u64,
    /// Offset of what comes next.
    pub(crate) next: u64,
}

/// Where edits are reached from; each moves on with what is put there.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The sender's record.
    pub(crate) sender: Place,
    /// Behind the recipients.
    pub(crate) recipients: Place,
    /// Behind the headers; the body comes next.
    pub(crate) headers: Place,
    /// Behind the body.
    pub(crate) body: Place,
    /// Behind what the content told.
    pub(crate) meta: Place,
}

/// What checks of the content say about the way that the message takes.
#[derive(Debug, Default)]
struct Detours {
    /// `transport:nexthop`; the last one counts, as of the next.
    filter: Option<Vec<u8>>,
    /// The only recipient.
    redirect: Option<Vec<u8>>,
    bcc: Bcc,
}

/// What became of a message.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What the client is told.
    pub(crate) reply: Reply,
    /// Where the file is, if there is one.
    pub(crate) queued: Option<QueueName>,
}

impl Output {
    /// Output into `file`, under the client's `flags`. A place for the size record is written.
    pub(crate) fn new(file: QueueFile, flags: Flags, line_length_limit: usize) -> Self {
        let mut size = SizeRecord::default();
        if flags.contains(Flags::SMTPUTF8) {
            size.sendopts |= sendopts::SMTPUTF8_REQUESTED;
        }
        if flags.contains(Flags::REQUIRETLS) {
            size.sendopts |= sendopts::REQUIRETLS;
        }
        let mut output = Output {
            file,
            flags,
            status: Status::OK,
            reason: Vec::new(),
            size,
            reserve: false,
            is_full: false,
            line_length_limit: line_length_limit.max(1),
            has_trace: false,
            detours: Detours::default(),
            places: Places::default(),
        };
        output.put_formatted(RecordType::SIZE, format_args!("{}", SizeRecord::default()));
        output
    }

    /// The queue ID.
    pub(crate) fn id(&self) -> &QueueId {
        self.file.id()
    }

    /// When the file was made.
    pub(crate) fn created(&self) -> SystemTime {
        self.file.created()
    }

    /// What is to be done about the message, and what is allowed.
    pub(crate) fn flags(&self) -> Flags {
        self.flags
    }

    /// What has gone wrong.
    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Enhanced status code and text of the first reason to reject; empty when there is none.
    pub(crate) fn reason(&self) -> &[u8] {
        &self.reason
    }

    /// The options that the delivery of this message needs, as far as is known.
    pub(crate) fn sendopts(&self) -> i64 {
        self.size.sendopts
    }

    /// Whether places are reserved that a Milter's edit can be reached from.
    pub(crate) fn reserves(&self) -> bool {
        self.reserve
    }

    /// True while what is written may still become a queue file (the stop rule).
    pub(crate) fn is_ok(&self) -> bool {
        !self.is_refused() && !self.flags.contains(Flags::DISCARD)
    }

    /// Whether something is wrong that keeps it from becoming one.
    fn is_refused(&self) -> bool {
        let mask = if self.flags.contains(Flags::BOUNCE) {
            // These are not worth a bounce; the rest is, and a bounce returns the message.
            Status::BAD | Status::WRITE | Status::SIZE | Status::DEFER
        } else {
            Status::from_bits_retain(u32::MAX)
        };
        self.status.intersects(mask)
    }

    /// Adds error bits.
    pub(crate) fn fail(&mut self, status: Status) {
        self.status.insert(status);
    }

    /// Adds error bits with a reason; the first reason stays.
    pub(crate) fn reject(&mut self, status: Status, reason: &[u8]) {
        self.status.insert(status);
        if self.reason.is_empty() {
            self.reason = reason.to_vec();
        }
    }

    /// Something has been told about a recipient, which the sender is to hear of if the message is accepted.
    pub(crate) fn has_trace(&mut self) {
        self.has_trace = true;
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
            log::warn!("{}: ignoring bad extra flags: {:#x}", self.id(), extra.bits());
        }
    }

    /// Takes back what the client allowed.
    pub(crate) fn forbid(&mut self, flags: Flags) {
        self.flags.remove(flags);
    }

    /// Whether the client lets others get a copy.
    pub(crate) fn adds_bcc(&self) -> bool {
        self.flags.contains(Flags::BCC)
    }

    /// Adds what is to be done about the message.
    pub(crate) fn request(&mut self, flags: Flags) {
        self.flags.insert(flags);
    }

    /// The message goes through this filter.
    pub(crate) fn filter_through(&mut self, destination: Vec<u8>) {
        self.detours.filter = Some(destination);
    }

    /// The message goes to this address and no other.
    pub(crate) fn redirect_to(&mut self, address: Vec<u8>) {
        self.detours.redirect = Some(address);
    }

    /// The message goes to this address, too.
    pub(crate) fn add_bcc(&mut self, address: Vec<u8>) {
        self.detours.bcc.push(address);
    }

    /// The further recipients; there are none afterwards.
    pub(crate) fn take_bcc(&mut self) -> Bcc {
        std::mem::take(&mut self.detours.bcc)
    }

    /// There may be Milters: places for their edits are reserved from now on.
    pub(crate) fn reserve(&mut self) {
        self.reserve = true;
    }
}

/// Records.
impl Output {
    /// Writes a record.
    pub(crate) fn put(&mut self, kind: RecordType, data: &[u8]) {
        if self.is_ok() {
            let result = self.file.writer().write(kind, data);
            self.written(result);
        }
    }

    /// Writes what the queue manager is told about the way of the message.
    pub(crate) fn put_detours(&mut self) {
        let Detours { filter, redirect, .. } = &self.detours;
        let (filter, redirect) = (filter.clone(), redirect.clone());
        if let Some(filter) = filter {
            self.put(RecordType::FILTER, &filter);
        }
        if let Some(redirect) = redirect {
            self.put(RecordType::REDIRECT, &redirect);
        }
    }

    /// Writes an attribute record.
    pub(crate) fn put_attribute(&mut self, name: &str, value: &[u8]) {
        if self.is_ok() {
            let result = self.file.writer().write_attribute(name, value);
            self.written(result);
        }
    }

    /// Writes a record of formatted text.
    pub(crate) fn put_formatted(&mut self, kind: RecordType, text: std::fmt::Arguments<'_>) {
        if self.is_ok() {
            let result = self.file.writer().write_text(kind, text);
            self.written(result);
        }
    }

    /// Writes text, as several records when it is longer than `line_length_limit`.
    pub(crate) fn put_text(&mut self, ending: Text, text: &[u8]) {
        let mut rest = text;
        while rest.len() > self.line_length_limit {
            let (part, more) = rest.split_at(self.line_length_limit);
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
    pub(crate) fn put_place(&mut self, choose: impl FnOnce(&mut Places) -> &mut Place) {
        if self.reserve && self.is_ok() {
            let at = self.end();
            let result = self.file.writer().write_pointer(0);
            self.written(result);
            let next = self.end();
            *choose(&mut self.places) = Place { at, next };
        }
    }

    /// Pads a record of `length` bytes so that a pointer can overwrite it.
    pub(crate) fn put_padding(&mut self, kind: RecordType, length: usize) {
        if self.reserve && self.is_ok() {
            let result = self.file.writer().pad_for_pointer(length, kind);
            self.written(result);
        }
    }

    /// Where the next record goes.
    pub(crate) fn end(&mut self) -> u64 {
        self.file.writer().offset()
    }

    fn offset(&mut self) -> i64 {
        i64::try_from(self.end()).unwrap_or(i64::MAX)
    }

    /// Where edits are reached from.
    pub(crate) fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    /// Notes a write error.
    fn written(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        if error.kind() == ErrorKind::FileTooLarge {
            log::warn!("{}: queue file size limit exceeded", self.id());
            self.status.insert(Status::SIZE);
        } else {
            no_room(&error);
            log::warn!("{}: write queue file: {}", self.id(), sys::error_text(&error));
            self.status.insert(Status::WRITE);
        }
    }
}

/// What is short of room.
const QUEUE_FILE: &str = "queue file";

/// Tells the operator of a disk that is full.
fn no_room(error: &io::Error) {
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        metrics::fault(Fault::Disk, &QUEUE_FILE, &sys::error_text(error));
    }
}

/// What the size record tells.
impl Output {
    /// The content begins at the next record.
    pub(crate) fn content_begins(&mut self) {
        self.size.data_offset = self.offset();
    }

    /// The content has ended.
    pub(crate) fn content_ends(&mut self) {
        self.size.data_size = self.offset() - self.size.data_offset;
        self.size.content_length = self.size.data_size;
    }

    /// A recipient has been written.
    pub(crate) fn count_recipient(&mut self) {
        self.size.rcpt_count += 1;
    }

    /// Recipients are mixed with other records.
    pub(crate) fn recipients_are_mixed(&mut self) {
        self.size.qmgr_flags |= qmgr_flags::MIXED_RECIPIENTS;
    }

    /// The message is to be sent with these options too.
    pub(crate) fn send_with(&mut self, options: i64) {
        self.size.sendopts |= options;
    }

    /// A recipient's DSN notify flags.
    pub(crate) fn notify(&mut self, flags: i64) {
        self.size.qmgr_flags |= flags << qmgr_flags::NOTIFY_SHIFT;
    }

    /// Some part of the message has UTF-8 outside ASCII; `option` says which, in the size record. Under autodetection
    /// SMTPUTF8 is then requested.
    pub(crate) fn has_utf8(&mut self, option: i64) {
        self.size.sendopts |= option;
        if self.flags.contains(Flags::SMTPUTF8_AUTODETECT) {
            self.size.sendopts |= sendopts::SMTPUTF8_REQUESTED;
        }
    }
}

/// Edits in place.
impl Output {
    /// Writes a pointer record at the end.
    pub(crate) fn put_pointer(&mut self, target: u64) {
        if self.is_ok() {
            let result = self.file.writer().write_pointer(target);
            self.written(result);
        }
    }

    /// Writes what is gathered, for who reads the file. A failure is not noted: the reader tells it.
    pub(crate) fn flush_for_reader(&mut self) -> io::Result<()> {
        if self.is_refused() {
            return Ok(());
        }
        let result = self.file.writer().flush();
        self.is_full = result.is_err();
        result
    }

    /// Writes what an edit has put at the end, before it goes back in the file. The log tells of a failure, in which step,
    /// and again when it was noted before (observed, 3.7.11).
    pub(crate) fn flush_edit(&mut self, step: &str) {
        let result = self.file.writer().flush();
        if let Err(error) = &result {
            log::warn!("{step}: seek file {}: {}", self.path(), sys::error_text(error));
        }
        self.written(result);
    }

    /// Writes what is gathered, and edits the file; nothing when that failed, which has been noted.
    pub(crate) fn edit<T>(&mut self, act: impl FnOnce(&Editor<'_>) -> Result<T, EditError>) -> Option<T> {
        if self.is_ok() { self.read(act) } else { None }
    }

    /// The same for who only reads: what is to be thrown away is read as well.
    pub(crate) fn read<T>(&mut self, act: impl FnOnce(&Editor<'_>) -> Result<T, EditError>) -> Option<T> {
        if self.is_refused() {
            return None;
        }
        let result = self.file.writer().flush();
        self.written(result);
        if self.is_refused() {
            return None;
        }
        let path = self.file.path().to_string_lossy().into_owned();
        match Editor::new(self.file.file(), path).and_then(|editor| act(&editor)) {
            Ok(value) => Some(value),
            Err(EditError::Io { source, .. }) => {
                self.written(Err(source));
                None
            }
            Err(error) => {
                log::warn!("{}: {error}", self.id());
                self.status.insert(Status::WRITE);
                None
            }
        }
    }

    /// Lays a pointer over the record at an offset.
    pub(crate) fn point(&mut self, offset: u64, target: u64) {
        self.edit(|editor| editor.point(offset, target));
    }

    /// Where the content begins, and where it was first written to.
    pub(crate) fn content(&self) -> std::ops::Range<u64> {
        let [from, length] =
            [self.size.data_offset, self.size.data_size].map(|size| u64::try_from(size).unwrap_or(0));
        from..from + length
    }

    /// A new body is longer by this than what was first written.
    pub(crate) fn body_grew(&mut self, by: i64) {
        self.size.content_length = self.size.data_size + by;
    }

    /// A Milter has refused the message: the text is told with its code to clients that take that.
    pub(crate) fn refuse(&mut self, status: Status, reply: &[u8]) {
        let text = reply.get(4..).unwrap_or_default();
        let reason = if self.flags.contains(Flags::SMTP_REPLY) {
            reply.to_vec()
        } else {
            text.iter().map(|byte| if byte.is_ascii_control() { b'_' } else { *byte }).collect()
        };
        self.reject(status, &reason);
    }

    /// As [`Self::reject`], whatever reason there was.
    pub(crate) fn reject_anew(&mut self, status: Status, reason: &[u8]) {
        self.status.insert(status);
        self.reason = reason.to_vec();
    }

    /// Forgets what the content said about the way of the message: it has been told.
    pub(crate) fn forget_detours(&mut self) {
        self.detours.filter = None;
        self.detours.redirect = None;
    }

    /// Tells what has been said about the way of the message since then.
    pub(crate) fn put_late_detours(&mut self) {
        if self.detours.filter.is_none() && self.detours.redirect.is_none() {
            return;
        }
        let (place, first) = (self.places.meta, self.end());
        self.put_detours();
        self.put_pointer(place.next);
        self.point(place.at, first);
    }

    /// The path of the file, for the log.
    pub(crate) fn path(&self) -> std::path::Display<'_> {
        self.file.path().display()
    }
}

/// The end.
impl Output {
    /// The client has gone before the end. What it gave up may have been too large already: a front end that found it
    /// so says no more, and Postfix's cleanup logs its own finding; with places for edits it finds it only when it closes
    /// the file (both observed, 3.7.11).
    pub(crate) fn give_up(&mut self) {
        if self.is_ok() {
            let result = self.file.writer().flush();
            if self.reserve && result.is_err() {
                self.status.insert(Status::SIZE);
            } else {
                self.written(result);
            }
        }
        self.status.insert(Status::BAD);
    }

    /// All has been said: a message to be discarded has no faults, and the size record is written.
    pub(crate) fn settle(&mut self) {
        if self.flags.contains(Flags::DISCARD) {
            self.status = Status::OK;
        }
        if self.is_ok() {
            let size = self.size;
            let result = self.file.rewrite_size(&size);
            self.written(result);
        }
    }

    /// Reads what was written from its start, as far as it could be written.
    pub(crate) fn reread(&mut self) -> Option<EnvelopeReader<BufReader<File>>> {
        // What cannot be flushed lies behind the envelope, and the envelope is what is read.
        let _ = self.file.writer().flush();
        let mut input = BufReader::new(self.file.file().try_clone().ok()?);
        input.seek(SeekFrom::Start(0)).ok()?;
        Some(EnvelopeReader::new(input, self.file.path().to_string_lossy()))
    }

    /// The message has been returned to its sender, so it counts as delivered.
    pub(crate) fn returned(&mut self) {
        self.status = self.status.intersection(Status::WRITE);
        self.flags.insert(Flags::DISCARD);
    }

    /// Completes the file, where it is or on hold, or removes it.
    ///
    /// # Errors
    /// The text of a fatal error: a file that cannot be moved to `hold`.
    pub(crate) fn finish(self, directory: &QueueDirectory, dialect: Dialect) -> Result<Finished, String> {
        if !self.status.is_ok() || self.flags.contains(Flags::DISCARD) {
            return Ok(self.remove(directory, dialect));
        }
        self.commit(directory, dialect)
    }

    fn commit(mut self, directory: &QueueDirectory, dialect: Dialect) -> Result<Finished, String> {
        let mut queue = QueueName::Incoming;
        if self.flags.contains(Flags::HOLD) {
            queue = QueueName::Hold;
            self.file.move_to(directory, queue).map_err(|error| {
                format!("{}: move to hold queue failed: {}", self.file.id(), sys::error_text(&error))
            })?;
        }
        let mut reply = Reply { status: Status::OK, reason: self.reason };
        let id = self.file.id().clone();
        let queued = match self.file.commit() {
            Ok(()) => {
                metrics::fault_over(Fault::Disk, &QUEUE_FILE);
                Some(queue)
            }
            Err(error) => {
                no_room(&error);
                let too_large = error.kind() == ErrorKind::FileTooLarge;
                reply.status = if too_large { Status::SIZE } else { Status::WRITE };
                tell_removal(&id, "canceled", dialect);
                None
            }
        };
        Ok(Finished { reply, queued })
    }

    fn remove(mut self, directory: &QueueDirectory, dialect: Dialect) -> Finished {
        let failed = self.is_full || self.status.intersects(Status::SIZE | Status::WRITE);
        if failed && self.file.writer().flush().is_err() {
            log::warn!("mail_stream_cleanup: close error");
        }
        let id = self.file.id().clone();
        if self.has_trace
            && let Err(error) = fs::remove_file(directory.path(QueueName::Trace, &id))
            && error.kind() != ErrorKind::NotFound
        {
            log::warn!("{id}: remove trace file: {}", sys::error_text(&error));
        }
        if let Err(error) = self.file.discard() {
            log::warn!("{id}: remove queue file: {}", sys::error_text(&error));
        }
        // One whose bounce could not be made is not discarded (observed, 3.10.3).
        let is_discarded = self.flags.contains(Flags::DISCARD) && self.status.is_ok();
        let why = if is_discarded { "discarded" } else { "canceled" };
        tell_removal(&id, why, dialect);
        Finished { reply: Reply { status: self.status, reason: self.reason }, queued: None }
    }
}

/// Tells, since 3.10, that a message is in the queue no more.
fn tell_removal(id: &QueueId, why: &str, dialect: Dialect) {
    if dialect.cleanup_tells_removals() {
        log::info!("{id}: removed ({why})");
    }
}
