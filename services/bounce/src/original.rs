//! The message that a notice is about: what its file tells, perhaps nothing.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, SeekFrom};

use queue::{
    ArrivalTime, At, Editor, QueueDirectory, QueueId, QueueName, RecordReader, RecordType, SizeRecord, attr,
};
use sys::error_text;
use sys::flock::{self, Mode, Wait};

use crate::header;
use crate::params::Params;

/// Longest record of a message file that is read.
const RECORD_LIMIT: usize = queue::MAX_RECORD_LENGTH;

/// The message file, open for as long as the notice is made.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) file: File,
    /// As in the log.
    name: String,
    /// Seconds since 1970.
    pub(crate) arrival: Option<i64>,
    /// External form; the null sender is the mail system.
    pub(crate) sender: Option<Vec<u8>>,
    /// Of the content, as the size record has it.
    pub(crate) content_size: i64,
    content_offset: Option<u64>,
    /// With its brackets.
    pub(crate) message_id: Option<Vec<u8>>,
}

impl Original {
    /// Opens the message's file; nothing when it is not there. Whatever else keeps it closed is fatal.
    pub(crate) fn open(
        directory: &QueueDirectory,
        service: &str,
        queue: &[u8],
        id: &QueueId,
        params: &Params,
    ) -> Option<Self> {
        // There is no such file in a queue that is none.
        let queue = std::str::from_utf8(queue).ok()?.parse::<QueueName>().ok()?;
        let relative = directory.relative_path(queue, id);
        let name = relative.display().to_string();
        let file = match OpenOptions::new().read(true).write(true).open(directory.resolve(&relative)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => maillog::fatal(format_args!("open {service} {id}: {}", error_text(&error))),
        };
        match flock::lock(&file, Mode::Shared, Wait::No) {
            Ok(true) => {}
            Ok(false) => maillog::fatal(format_args!(
                "cannot get shared lock on {name}: Resource temporarily unavailable"
            )),
            Err(error) => {
                maillog::fatal(format_args!("cannot get shared lock on {name}: {}", error_text(&error)))
            }
        }
        let mut original = Self {
            file,
            name,
            arrival: None,
            sender: None,
            content_size: 0,
            content_offset: None,
            message_id: None,
        };
        original.read(id, params);
        Some(original)
    }

    fn read(&mut self, id: &QueueId, params: &Params) {
        let mut found = Found::default();
        if let Err(error) = found.read(&mut self.records(0), id, params) {
            log::warn!("{error}");
        }
        self.arrival = found.arrival;
        self.sender = found.sender;
        self.content_size = found.size.map_or(0, |size| size.data_size);
        self.content_offset = found.content_offset;
        self.message_id = found.message_id;
    }

    fn records(&self, offset: u64) -> RecordReader<BufReader<At<'_>>> {
        RecordReader::new(BufReader::new(At::new(&self.file, offset)), &*self.name)
    }

    /// A reader of the content; nothing when it is not known where that is.
    pub(crate) fn content(&self) -> Option<RecordReader<BufReader<At<'_>>>> {
        self.content_offset.map(|offset| self.records(offset))
    }

    /// Marks a recipient that was told of. What cannot be marked is logged, and tried again.
    pub(crate) fn mark_done(&self, offset: u64) {
        let editor = match Editor::new(&self.file, &*self.name) {
            Ok(editor) => editor,
            Err(error) => return log::warn!("{error}"),
        };
        // A recipient may be in a log more than once.
        let is_done = |stored: queue::Stored| stored.record.kind == RecordType::DONE;
        if editor.record_at(offset).is_ok_and(is_done) {
            return;
        }
        if let Err(error) = editor.mark_done(offset) {
            log::warn!("{error}");
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Found {
    size: Option<SizeRecord>,
    arrival: Option<i64>,
    sender: Option<Vec<u8>>,
    content_offset: Option<u64>,
    message_id: Option<Vec<u8>>,
}

type Records<'f> = RecordReader<BufReader<At<'f>>>;

impl Found {
    /// Reads until all is known. What the file does not tell is looked for up to its end.
    fn read(
        &mut self,
        records: &mut Records<'_>,
        id: &QueueId,
        params: &Params,
    ) -> Result<(), queue::RecordError> {
        let mut data = Vec::new();
        let reads_header = params.threaded && !params.has_message_id_record;
        let mut in_header = reads_header;
        let mut in_content = false;
        let mut begins_line = true;
        while let Some(kind) = records.read_normal(&mut data, RECORD_LIMIT)? {
            match kind {
                RecordType::SIZE if self.size.is_none() => {
                    self.size = SizeRecord::parse(&data);
                    let offset = self.size.and_then(|size| u64::try_from(size.data_offset).ok());
                    self.content_offset = offset.filter(|offset| *offset > 0);
                }
                RecordType::TIME if self.arrival.is_none() => {
                    self.arrival = ArrivalTime::parse(&data).map(|time| time.sec).filter(|sec| *sec > 0);
                }
                RecordType::FROM if self.sender.is_none() => {
                    let null = format!("MAILER-DAEMON@{}", params.myhostname).into_bytes();
                    self.sender = Some(match &data[..] {
                        b"" => null,
                        sender => header::quoted(sender, params.leaves_eight_bits),
                    });
                }
                RecordType::MESSAGE => {
                    in_content = true;
                    self.content_offset.get_or_insert(records.offset());
                    if self.sender.is_none() {
                        log::warn!("{id}: no sender before message content record");
                    }
                }
                RecordType::NORM | RecordType::CONT if in_content && in_header => {
                    in_header = !begins_line || self.header_line(&data, id);
                    begins_line = kind == RecordType::NORM;
                }
                RecordType::END => break,
                _ => {}
            }
            let is_found = self.content_offset.is_some() && self.arrival.is_some() && self.sender.is_some();
            if is_found && (!in_header || self.message_id.is_some()) {
                break;
            }
        }
        match self.content_offset {
            Some(start) if params.threaded && params.has_message_id_record => {
                self.take_record(records, start, id)
            }
            _ => Ok(()),
        }
    }

    /// A line of the content, as long as it is one of the header: false otherwise. Of several Message-IDs the last counts that
    /// is read.
    fn header_line(&mut self, line: &[u8], id: &QueueId) -> bool {
        const NAME: &[u8] = b"message-id:";
        if !header::continues(line) {
            return false;
        }
        if line.len() >= NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let text = line[NAME.len()..].trim_ascii_start();
            if text.first() == Some(&b'<') && text.trim_ascii_end().last() == Some(&b'>') {
                self.message_id = Some(text.to_vec());
            } else {
                log::warn!("{id}: ignoring malformed Message-ID");
            }
        }
        true
    }

    /// The attribute of the extracted segment.
    fn take_record(
        &mut self,
        records: &mut Records<'_>,
        start: u64,
        id: &QueueId,
    ) -> Result<(), queue::RecordError> {
        let length = self.size.map_or(0, |size| size.data_size);
        let behind = start.saturating_add(u64::try_from(length).unwrap_or(0));
        records.seek(SeekFrom::Start(behind))?;
        let mut data = Vec::new();
        while let Some(kind) = records.read_normal(&mut data, RECORD_LIMIT)? {
            if kind == RecordType::END {
                break;
            }
            if kind != RecordType::ATTR {
                continue;
            }
            let value =
                data.strip_prefix(attr::MESSAGE_ID.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(value) = value {
                match header::message_id(value) {
                    Ok(message_id) => self.message_id = Some(message_id),
                    Err(error) => log::warn!("{id}: malformed Message-ID attribute: {error}"),
                }
                break;
            }
        }
        Ok(())
    }
}
