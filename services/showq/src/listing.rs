//! The listing itself.
//!
//! The envelope is read up to the sender before anything is sent, because time and size come first. Then the content
//! is skipped by the length in the size record, and the extracted segment is read for late recipients. What cannot be
//! read ends the message's list and nothing else.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::MetadataExt;

use ipc::dialect::Dialect;
use ipc::showq::{Message, Recipient, Writer};
use queue::{
    ArrivalTime, DeliveryLogReader, Entry, EnvelopeReader, FORCE_EXPIRE, QueueDirectory, QueueId, QueueName,
    RecordType, Scan, printable, ready,
};

/// In this order.
const LISTED: [QueueName; 5] =
    [QueueName::Maildrop, QueueName::Active, QueueName::Incoming, QueueName::Deferred, QueueName::Hold];

/// What main.cf says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `empty_address_recipient`.
    pub empty_address_recipient: String,
    /// `duplicate_filter_limit`: so many recipients of the log are remembered.
    pub duplicate_filter_limit: usize,
    /// `smtputf8_enable`: UTF-8 is shown as it is.
    pub smtputf8_enable: bool,
    /// `postern_postfix_version`.
    pub dialect: Dialect,
}

impl Settings {
    /// From the parameters.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(config: &config::Config) -> Result<Self, server::Fatal> {
        Ok(Self {
            empty_address_recipient: config.text("empty_address_recipient")?,
            duplicate_filter_limit: usize::try_from(config.integer("duplicate_filter_limit")?).unwrap_or(0),
            smtputf8_enable: config.globals().smtputf8_enable,
            dialect: Dialect::of_postfix_3(config.globals().postfix_minor),
        })
    }
}

/// Lists one queue directory.
#[derive(Debug)]
pub struct Listing<'a> {
    directory: &'a QueueDirectory,
    settings: &'a Settings,
}

/// A message whose list has been begun.
struct Begun {
    /// Recipients already listed with their reasons.
    logged: HashSet<Vec<u8>>,
}

impl<'a> Listing<'a> {
    /// A listing of this queue directory.
    pub fn new(directory: &'a QueueDirectory, settings: &'a Settings) -> Self {
        Self { directory, settings }
    }

    /// Writes all messages.
    ///
    /// # Errors
    /// When the client does not take them.
    pub fn write(&self, writer: &mut Writer<impl Write>) -> io::Result<()> {
        for queue in LISTED {
            let scan = match Scan::new(self.directory, queue) {
                Ok(scan) => scan,
                Err(error) => {
                    log::warn!("open directory {queue}: {}", sys::error_text(&error));
                    continue;
                }
            };
            let mut last: Option<QueueId> = None;
            for entry in scan {
                // A file can be found twice, in its place and as another of its name that is not.
                if last.as_ref() != Some(&entry.id) {
                    self.entry(&entry, writer)?;
                }
                last = Some(entry.id);
            }
        }
        Ok(())
    }

    fn entry(&self, entry: &Entry, writer: &mut Writer<impl Write>) -> io::Result<()> {
        // Not the path where it was found: what is in the wrong place, no other program finds either.
        let path = self.directory.relative_path(entry.queue, &entry.id);
        let Some(metadata) = ready(self.directory, &path) else { return Ok(()) };
        let shown = path.display().to_string();
        match File::open(self.directory.resolve(&path)) {
            Ok(file) => {
                let reader = EnvelopeReader::new(BufReader::new(file), shown);
                self.message(entry, &metadata, reader, writer)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    log::warn!("open {shown}: {}", sys::error_text(&error));
                }
                Ok(())
            }
        }
    }

    fn message(
        &self,
        entry: &Entry,
        metadata: &Metadata,
        mut reader: EnvelopeReader<BufReader<File>>,
        writer: &mut Writer<impl Write>,
    ) -> io::Result<()> {
        let mut message = Message {
            queue_name: entry.queue.as_str().into(),
            queue_id: entry.id.as_str().into(),
            time: 0,
            size: -1,
            forced_expire: metadata.mode() & FORCE_EXPIRE != 0,
            sender: Vec::new(),
        };
        let mut begun: Option<Begun> = None;
        loop {
            let kind = match reader.advance() {
                Ok(Some(kind)) => kind,
                Ok(None) => break,
                Err(error) => {
                    log::warn!("{error}");
                    break;
                }
            };
            match kind {
                RecordType::SIZE => message.size = reader.size().map_or(-1, |size| size.data_size),
                RecordType::TIME if message.time == 0 => {
                    message.time = ArrivalTime::parse(reader.data()).map_or(0, |time| time.sec);
                }
                RecordType::FROM if begun.is_none() => {
                    begun = Some(self.begin(&entry.id, &mut message, reader.data(), metadata, writer)?);
                }
                RecordType::RCPT => {
                    let (Some(begun), Some(recipient)) = (&begun, reader.recipient()) else { continue };
                    let address = self.address(&recipient.address);
                    if !begun.logged.contains(&address) {
                        let original = recipient.original.map_or_else(Vec::new, |original| {
                            printable(&address::external(&original), self.settings.smtputf8_enable)
                        });
                        writer.recipient(&Recipient { original, address, ..Recipient::default() })?;
                    }
                }
                RecordType::MESSAGE if reader.skip_content().is_err() => break,
                RecordType::END => break,
                _ => {}
            }
        }
        if begun.is_some() { writer.end_message() } else { Ok(()) }
    }

    fn begin(
        &self,
        id: &QueueId,
        message: &mut Message,
        sender: &[u8],
        metadata: &Metadata,
        writer: &mut Writer<impl Write>,
    ) -> io::Result<Begun> {
        if message.time <= 0 {
            message.time = metadata.mtime();
        }
        message.sender = self.address(sender);
        let size =
            if message.size < 0 { metadata.size().try_into().unwrap_or(i64::MAX) } else { message.size };
        writer.message(&Message { size, ..message.clone() })?;
        self.logged_recipients(id, writer).map(|logged| Begun { logged })
    }

    /// Lists the recipients of the logs.
    fn logged_recipients(
        &self,
        id: &QueueId,
        writer: &mut Writer<impl Write>,
    ) -> io::Result<HashSet<Vec<u8>>> {
        let mut logged = HashSet::new();
        self.log_of(id, QueueName::Defer, &mut logged, writer)?;
        if self.settings.dialect.showq_tells_origins() {
            self.log_of(id, QueueName::Bounce, &mut logged, writer)?;
        }
        Ok(logged)
    }

    /// Lists the recipients of one log; a log that is not there is no fault.
    fn log_of(
        &self,
        id: &QueueId,
        log: QueueName,
        logged: &mut HashSet<Vec<u8>>,
        writer: &mut Writer<impl Write>,
    ) -> io::Result<()> {
        let path = self.directory.relative_path(log, id);
        let Ok(file) = File::open(self.directory.resolve(&path)) else { return Ok(()) };
        let shown = path.display().to_string();
        let utf8 = self.settings.smtputf8_enable;
        let is_defer = log == QueueName::Defer;
        let mut reader = DeliveryLogReader::new(BufReader::new(file), shown.clone(), is_defer, utf8);
        loop {
            match reader.record() {
                Ok(Some(record)) => {
                    let rcpt = Recipient {
                        original: record.original_recipient,
                        address: record.recipient,
                        log_class: log.as_str().into(),
                        reason: record.reason,
                    };
                    writer.recipient(&rcpt)?;
                    if logged.len() < self.settings.duplicate_filter_limit {
                        logged.insert(rcpt.address);
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    log::warn!("read {shown}: {}", sys::error_text(&error));
                    return Ok(());
                }
            }
        }
    }

    /// External form, printable; the null address by its name.
    fn address(&self, internal: &[u8]) -> Vec<u8> {
        if internal.is_empty() {
            return self.settings.empty_address_recipient.clone().into_bytes();
        }
        printable(&address::external(internal), self.settings.smtputf8_enable)
    }
}
