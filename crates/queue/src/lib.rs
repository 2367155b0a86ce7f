//! Queue IDs, records, queue files and queue directories.
//!
//! A message in the queue is one file. Its name is the queue ID, its directory is the queue, its permission bits say
//! whether it is complete. The states of a message and the legal moves:
//!
//! | state | what exists | who moves it on |
//! |---|---|---|
//! | temporary | `incoming/USEC.PID` or `maildrop/USEC.PID`, mode 0600 (0644) | its writer renames it: named |
//! | named | `incoming/ID` or `maildrop/ID`, mode 0600 (0644) | its writer: held, dropped, or complete |
//! | held unfinished | `hold/ID`, mode 0600 | its writer: dropped, or on hold |
//! | submitted | `maildrop/ID`, mode 0744 (0700 when re-queued) | pickup, after cleanup has a copy: removed |
//! | incoming | `incoming/ID`, mode 0700 | qmgr: active; postsuper: on hold, submitted |
//! | active | `active/ID`, mode 0700 | qmgr: deferred, incoming, corrupt, removed; postsuper |
//! | deferred | `deferred/ID`, mtime = next attempt | qmgr: active; postsuper: on hold, submitted |
//! | on hold | `hold/ID`, mode 0700 | postsuper: deferred, submitted, removed |
//! | corrupt | `corrupt/ID` | an operator |
//!
//! A crash in the first three states leaves a file that every reader skips; the client got no reply, so nothing is
//! lost. `postsuper -p` removes such files after a week. Each later move is one `rename`, so a crash leaves the message
//! in one queue or the other. Only `submitted` to `incoming` makes a copy; a crash between the copy and the removal
//! delivers twice, never not at all.
//!
//! What is in a file is read with [`EnvelopeReader`] or, record by record, with [`RecordReader`]. It changes in two
//! ways, both through an [`Editor`]: while the file is named, cleanup lays a Milter's edits over it; while the message is
//! active, a recipient is marked done as soon as it is delivered or bounced, before anything else forgets it.
//!
//! Bits next to the three of the owner: 0040 asks the queue manager not to wait for dead destinations, 0010 forces
//! expiry ([`FORCE_EXPIRE`]); 0400 alone marks a file that a delivery agent found corrupt.
//!
//! ```
//! use queue::{RecordReader, RecordType, RecordWriter};
//! let mut writer = RecordWriter::new(Vec::new());
//! writer.write(RecordType::FROM, b"alice@example.com")?;
//! writer.write_line(b"Hello", 2048)?;
//! let bytes = writer.into_inner();
//! let mut reader = RecordReader::new(&bytes[..], "memory");
//! let mut data = Vec::new();
//! assert_eq!(reader.read_raw(&mut data, 2048)?, Some(RecordType::FROM));
//! assert_eq!(data, b"alice@example.com");
//! assert_eq!(reader.read_raw(&mut data, 2048)?, Some(RecordType::NORM));
//! assert_eq!(reader.read_raw(&mut data, 2048)?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod attribute;
mod attributes;
mod delivery_log;
mod directory;
mod editor;
mod envelope;
mod envelope_reader;
mod file;
mod gathered;
mod id;
mod name;
mod reader;
mod record;
mod scan;
#[cfg(test)]
mod scratch;
mod size;
mod writer;

pub use attribute::{Attribute, AttributeError, attr};
pub use attributes::Attributes;
pub use delivery_log::{DeliveryLogReader, DeliveryRecord, printable};
pub use directory::QueueDirectory;
pub use editor::{Appended, At, EditError, Editor, Stored, mark_done};
pub use envelope::{Envelope, Placed, Recipient};
pub use envelope_reader::{EnvelopeReader, Place};
pub use file::{GivingUp, QueueFile};
pub use gathered::GatheredFile;
pub use id::{InvalidQueueId, QueueId, is_valid};
pub use name::{Hashing, QueueName, UnknownQueue};
pub use reader::{RecordError, RecordReader, pointer_target};
pub use record::{MAX_RECORD_LENGTH, Record, RecordType, Segment, until_nul};
pub use scan::{Entry, Scan, ready};
pub use size::{ArrivalTime, SizeRecord, digits, leading_number, notify, qmgr_flags, sendopts, warning_time};
pub use writer::RecordWriter;

/// Entry for fuzzing: reads `input` as everything that this crate reads from files and sockets.
///
/// Never panics, and ends, whatever the bytes.
pub fn parse_any(input: &[u8]) {
    let mut data = Vec::new();
    let mut reader = RecordReader::new(input, "raw");
    while let Ok(Some(kind)) = reader.read_raw(&mut data, MAX_RECORD_LENGTH) {
        let _ = (SizeRecord::parse(&data), ArrivalTime::parse(&data), leading_number(&data));
        let _ = (Attribute::parse(&data).map(|attribute| attribute.pseudo_type()), kind.name());
    }
    let mut reader = RecordReader::new(std::io::Cursor::new(input), "normal");
    while let Ok(Some(_)) = reader.read_normal(&mut data, MAX_RECORD_LENGTH) {}
    let mut envelope = Envelope::default();
    let mut recipients = Vec::new();
    let mut reader = EnvelopeReader::new(std::io::Cursor::new(input), "envelope");
    while let Ok(Some(_)) = reader.gather(&mut envelope, &mut recipients, 3) {
        let _ = reader.look_ahead(&mut envelope);
        recipients.clear();
    }
    let mut log = DeliveryLogReader::new(input, "log", true, true);
    while let Ok(Some(_)) = log.record() {}
    if let Ok(id) = QueueId::parse(input) {
        let _ = (id.inode(), id.usec_hex(), Hashing::default().path(QueueName::Deferred, &id));
    }
}

/// Mode of a message file that an agent has found to be damaged: the queue manager puts it away.
pub const CORRUPT: u32 = 0o400;
/// Mode bit of a message file: the queue manager returns the message at the next attempt.
pub const FORCE_EXPIRE: u32 = 0o010;
/// Mode bit of a message file: its destinations are not to be treated as dead.
pub const FLUSH: u32 = 0o040;
