//! Changing a message file in place (spec queue-file 13 and 18).
//!
//! A record cannot grow where it stands. What takes its place is written behind the end of the file, with a pointer back
//! to where reading is to go on, and then a pointer record is laid over the old record:
//!
//! ```text
//! before   A  B      C  E
//! after    A  p ───┐ C  E  B1 B2  p
//!                  │ ^     ^      │
//!                  └─┼─────┘      │
//!                    └────────────┘
//! ```
//!
//! Whoever reads the file in between sees it as it was: new data are written first, the pointer that leads to them last,
//! in one write. Short records are padded when they are written, so that a pointer fits over each that may be changed.
//! Marks (a recipient is done) are one byte, over the type.
//!
//! Refused with [`EditError`], with the file as it was: a place where no such record stands, and one without room for a
//! pointer. Offsets are those of [`EnvelopeReader`](crate::EnvelopeReader) and [`RecordReader`].

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use thiserror::Error;

use crate::reader::{RecordError, RecordReader, pointer_target};
use crate::record::{MAX_RECORD_LENGTH, Record, RecordType};
use crate::size::{WARNING_WIDTH, warning_time};
use crate::writer::{POINTER_DATA, POINTER_LENGTH, RecordWriter};

/// Type and length of a warning record: what stands before its data.
const WARNING_HEADER: u64 = 2;

/// An edit that was not made.
#[derive(Debug, Error)]
pub enum EditError {
    /// What was expected at the offset does not stand there.
    #[error("{name}: no {} record at offset {offset}", wanted.name())]
    Other {
        /// Path of the file.
        name: String,
        /// What was expected.
        wanted: RecordType,
        /// Where.
        offset: u64,
    },
    /// The records up to the one that is to be read next are too short for a pointer.
    #[error("{name}: no room for a pointer record at offset {offset}")]
    Room {
        /// Path of the file.
        name: String,
        /// Where.
        offset: u64,
    },
    /// There is no whole record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The file cannot be read or written.
    #[error("{name}: {}", sys::error_text(source))]
    Io {
        /// Path of the file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Edits a message file that is open for reading and writing. Nothing else may append to the file meanwhile.
#[derive(Debug)]
pub struct Editor<'f> {
    file: &'f File,
    name: String,
    /// Where the next edit's data go.
    end: u64,
}

/// Marks a recipient in a file as delivered or bounced, as [`Editor::mark_done`], for who does nothing else with the file:
/// where it ends does not matter then.
///
/// # Errors
/// When no recipient to deliver to stands there, or the file cannot be written.
pub fn mark_done(file: &File, name: &str, recipient: u64) -> Result<(), EditError> {
    Editor { file, name: name.to_owned(), end: 0 }.mark_done(recipient)
}

/// A record as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Offset of what follows.
    pub next: u64,
}

impl<'f> Editor<'f> {
    /// An editor of a file; `name`, its path, is for error texts.
    ///
    /// # Errors
    /// When the size of the file cannot be found out.
    pub fn new(file: &'f File, name: impl Into<String>) -> Result<Self, EditError> {
        let name = name.into();
        match file.metadata() {
            Ok(metadata) => Ok(Self { file, name, end: metadata.len() }),
            Err(source) => Err(EditError::Io { name, source }),
        }
    }

    /// Where the next edit's data go: the end of the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// A reader of the file that leaves the position alone which the file's writer has.
    pub fn reader(&self) -> RecordReader<BufReader<At<'f>>> {
        RecordReader::new(BufReader::new(At { file: self.file, offset: 0 }), &*self.name)
    }

    /// Writes bytes over what stands at an offset.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn overwrite(&self, bytes: &[u8], offset: u64) -> Result<(), EditError> {
        self.write(bytes, offset)
    }

    /// Reads the record at an offset as it stands there: pointers are not followed.
    ///
    /// # Errors
    /// When there is no whole record.
    pub fn record_at(&self, offset: u64) -> Result<Stored, EditError> {
        let stream = BufReader::new(At { file: self.file, offset: 0 });
        let mut reader = RecordReader::new(stream, &*self.name);
        reader.seek(SeekFrom::Start(offset))?;
        match reader.record(MAX_RECORD_LENGTH)? {
            Some(record) => Ok(Stored { record, next: reader.offset() }),
            None => Err(self.io(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Where a pointer record leads to; 0 for a placeholder.
    ///
    /// # Errors
    /// When no pointer record stands there.
    pub fn target(&self, pointer: u64) -> Result<u64, EditError> {
        let Stored { record, .. } = self.record_at(pointer)?;
        if record.kind != RecordType::POINTER {
            return Err(self.other(RecordType::POINTER, pointer));
        }
        let malformed = || self.other(RecordType::POINTER, pointer);
        pointer_target(&record.data).ok_or_else(malformed)
    }

    /// Replaces the records from `from` to `next`, which is the one to read behind them, by those that `write` writes, if
    /// any. The offset of the first.
    ///
    /// # Errors
    /// When there is no room for a pointer, or the file cannot be written.
    pub fn replace(
        &mut self,
        from: u64,
        next: u64,
        write: impl FnOnce(&mut Appended) -> io::Result<()>,
    ) -> Result<u64, EditError> {
        self.check_room(from)?;
        let to = self.append(next, write)?.map_or(next, |added| added.first);
        self.point(from, to)?;
        Ok(to)
    }

    /// Adds records at a place that has been kept for them: a pointer record, which leads nowhere or to what comes next.
    /// The offset of the pointer record that is the place for more behind them.
    ///
    /// # Errors
    /// When no pointer record stands there, or the file cannot be written.
    pub fn insert(
        &mut self,
        place: u64,
        write: impl FnOnce(&mut Appended) -> io::Result<()>,
    ) -> Result<u64, EditError> {
        let target = self.target(place)?;
        let next = if target == 0 { self.record_at(place)?.next } else { target };
        self.check_room(place)?;
        let Some(added) = self.append(next, write)? else { return Ok(place) };
        self.point(place, added.first)?;
        Ok(added.pointer)
    }

    /// Lays a pointer record over what stands at an offset.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn point(&self, offset: u64, target: u64) -> Result<(), EditError> {
        let mut record = RecordWriter::new(Vec::new());
        record.write_pointer(target).map_err(|source| self.io(source))?;
        self.write(record.get_ref(), offset)
    }

    /// Marks a recipient as delivered or bounced.
    ///
    /// # Errors
    /// When no recipient to deliver to stands there, or the file cannot be written.
    pub fn mark_done(&self, recipient: u64) -> Result<(), EditError> {
        self.mark(recipient, RecordType::RCPT, RecordType::DONE)
    }

    /// Marks a recipient as taken away by a Milter.
    ///
    /// # Errors
    /// As [`Self::mark_done`].
    pub fn cancel_recipient(&self, recipient: u64) -> Result<(), EditError> {
        self.mark(recipient, RecordType::RCPT, RecordType::DRCP)
    }

    /// Takes an attribute out.
    ///
    /// # Errors
    /// When no attribute stands there, or the file cannot be written.
    pub fn kill_attribute(&self, attribute: u64) -> Result<(), EditError> {
        self.mark(attribute, RecordType::ATTR, RecordType::KILL)
    }

    /// Rewrites the time of a warning; -1 when it has been sent.
    ///
    /// # Errors
    /// When no record stands there that the time fits in, or the file cannot be written.
    pub fn rewrite_warning(&self, warning: u64, seconds: i64) -> Result<(), EditError> {
        let Record { kind, data } = self.record_at(warning)?.record;
        let new = warning_time(seconds);
        if kind != RecordType::WARN || data.len() != WARNING_WIDTH || new.len() != WARNING_WIDTH {
            return Err(self.other(RecordType::WARN, warning));
        }
        self.write(&new, warning + WARNING_HEADER)
    }

    fn mark(&self, offset: u64, from: RecordType, to: RecordType) -> Result<(), EditError> {
        let mut kind = [0];
        self.file.read_exact_at(&mut kind, offset).map_err(|source| self.io(source))?;
        if kind != [from.0] {
            return Err(self.other(from, offset));
        }
        self.write(&[to.0], offset)
    }

    /// Writes records and a pointer to `next` behind the end, in one write; nothing when there are no records.
    fn append(
        &mut self,
        next: u64,
        write: impl FnOnce(&mut Appended) -> io::Result<()>,
    ) -> Result<Option<Added>, EditError> {
        let mut records = Appended { records: RecordWriter::new(Vec::new()) };
        write(&mut records).map_err(|source| self.io(source))?;
        let mut records = records.records;
        let first = self.end;
        let pointer = first + records.offset();
        if pointer == first {
            return Ok(None);
        }
        records.write_pointer(next).map_err(|source| self.io(source))?;
        self.write(records.get_ref(), first)?;
        self.end = pointer + POINTER_LENGTH;
        Ok(Some(Added { first, pointer }))
    }

    /// A pointer record at `from` must end where the record there ends, or its padding.
    fn check_room(&self, from: u64) -> Result<(), EditError> {
        let no_room = || EditError::Room { name: self.name.clone(), offset: from };
        let Stored { record, mut next } = self.record_at(from)?;
        if matches!(record.kind, RecordType::MESSAGE | RecordType::EXTRACTED | RecordType::END) {
            return Err(no_room());
        }
        while next < from + POINTER_LENGTH {
            let padding = self.record_at(next)?;
            if !padding.is_padding() {
                return Err(no_room());
            }
            next = padding.next;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), EditError> {
        self.file.write_all_at(bytes, offset).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> EditError {
        EditError::Io { name: self.name.clone(), source }
    }

    fn other(&self, wanted: RecordType, offset: u64) -> EditError {
        EditError::Other { name: self.name.clone(), wanted, offset }
    }
}

impl Stored {
    /// Padding behind a short record. That of a sender is a pointer record, which is shorter than one that leads
    /// anywhere, or has been kept for one that will.
    fn is_padding(&self) -> bool {
        match self.record.kind {
            RecordType::PADDING => true,
            RecordType::POINTER => self.record.data.len() < POINTER_DATA,
            _ => false,
        }
    }
}

/// Where new records stand.
struct Added {
    first: u64,
    /// The pointer record behind them.
    pointer: u64,
}

/// The records of an edit.
#[derive(Debug)]
pub struct Appended {
    records: RecordWriter<Vec<u8>>,
}

impl Appended {
    /// Writes a record.
    ///
    /// # Errors
    /// When the data are longer than a record can be.
    pub fn write(&mut self, kind: RecordType, data: &[u8]) -> io::Result<()> {
        self.records.write(kind, data)
    }

    /// Writes a record and pads it with records of type `padding`, so that a later edit can lay a pointer over it.
    ///
    /// # Errors
    /// When the data are longer than a record can be.
    pub fn write_padded(&mut self, kind: RecordType, data: &[u8], padding: RecordType) -> io::Result<()> {
        self.records.write_padded(kind, data, padding)
    }
}

/// A file read at offsets of one's own, so that the position that the file's writer has stays where it is.
#[derive(Debug)]
pub struct At<'f> {
    file: &'f File,
    offset: u64,
}

impl<'f> At<'f> {
    /// At this offset.
    #[must_use]
    pub fn new(file: &'f File, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Read for At<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let base = match to {
            SeekFrom::Start(offset) => return Ok(*self.set(offset)),
            SeekFrom::Current(by) => self.offset.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        base.map(|offset| *self.set(offset)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl At<'_> {
    fn set(&mut self, offset: u64) -> &u64 {
        self.offset = offset;
        &self.offset
    }
}
