//! Printing one queue file.
//!
//! Three segments, each with a marker line when envelope records are shown. Envelope records are `NAME: DATA` lines,
//! cut at a NUL as C strings are; content is the bytes as they are. With offsets or record types each record has a
//! prefix; with `-v` content lines have the record name too, and pointers and padding are shown.

use std::io::{self, BufRead, Seek, SeekFrom, Write};

use nix::errno::Errno;
use queue::{
    Attribute, MAX_RECORD_LENGTH, RecordError, RecordReader, RecordType, Segment, SizeRecord, attr,
    leading_number, until_nul,
};
use thiserror::Error;

use crate::content::is_header;

/// Longest part of a record in a warning.
const EXCERPT: usize = 100;

/// Why printing ended before the end of the file.
#[derive(Debug, Error)]
pub enum Broken {
    /// A record cannot be read; already logged.
    #[error("record read error")]
    Record,
    /// A pointer that was shown cannot be followed; already logged.
    #[error("bad pointer record, or input is not seekable")]
    Pointer,
    /// The size record or `-s` leads nowhere.
    #[error("seek error: {}", sys::error_text(.0))]
    Seek(io::Error),
    /// Nobody reads what is printed.
    #[error("write error: {}", sys::error_text(.0))]
    Output(#[from] io::Error),
}

/// Which parts of a file are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Envelope records and the markers between segments.
    pub envelope: bool,
    /// The header of the message.
    pub header: bool,
    /// The body of the message.
    pub body: bool,
}

impl Parts {
    /// All parts when none was asked for.
    #[must_use]
    pub(crate) fn or_all(self) -> Self {
        let none = Self::default();
        if self == none { Self { envelope: true, header: true, body: true } } else { self }
    }
}

/// How a file is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Show {
    /// What is shown of it.
    pub parts: Parts,
    /// The file's name before each line.
    pub file_name: bool,
    /// The offset before each record.
    pub offsets: bool,
    /// The decimal record type before each record.
    pub types: bool,
    /// Do not follow pointers, do not stop at the end record. Works only together with `verbose` (observed, 3.7.11).
    pub file_order: bool,
    /// Names before content lines; pointers and padding.
    pub verbose: bool,
}

/// Whether the rest of the file matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoOn,
    Stop,
}

/// Prints one file.
#[derive(Debug)]
pub struct Printer<'a, R, W> {
    reader: RecordReader<R>,
    name: String,
    show: Show,
    output: &'a mut W,
    segment: Segment,
    in_body: bool,
    /// Data size and data offset.
    size: Option<(i64, i64)>,
    /// Whether the record printed before was unterminated text.
    is_line_open: bool,
}

impl<'a, R: BufRead + Seek, W: Write> Printer<'a, R, W> {
    /// A printer for a file of this name.
    pub fn new(stream: R, name: &str, show: Show, output: &'a mut W) -> Self {
        Self {
            reader: RecordReader::new(stream, name),
            name: name.to_owned(),
            show,
            output,
            segment: Segment::Envelope,
            in_body: false,
            size: None,
            is_line_open: false,
        }
    }

    /// Prints the file from an offset on; 0 is the whole file, and only then is it checked to be a queue file.
    ///
    /// # Errors
    /// When a record cannot be read, or the output not be written.
    pub fn print(&mut self, start: u64) -> Result<(), Broken> {
        let mut is_first = start == 0;
        if start != 0 {
            self.seek(start)?;
        }
        let mut data = Vec::new();
        loop {
            let offset = self.reader.offset();
            // Before the record is read: it need not be one.
            if is_first && self.begins_otherwise() {
                self.warn_of_file("input is not a valid queue file")?;
                return Ok(());
            }
            let kind = match self.read(&mut data) {
                Ok(Some(kind)) => kind,
                Ok(None) => return Ok(()),
                // Such as that of a directory, which shows when it is read: Postfix's sees it when the file is closed.
                Err(RecordError::Io { source, .. }) => {
                    let text = format!("close {}: {}", self.name, sys::error_text(&source));
                    return Ok(self.warn(&text)?);
                }
                Err(error) => {
                    self.warn(&error.to_string())?;
                    return Err(Broken::Record);
                }
            };
            if is_first {
                self.begin_segment(Segment::Envelope)?;
                is_first = false;
            }
            if self.record(kind, offset, &data)? == Flow::Stop {
                return Ok(());
            }
            if self.show.verbose && !self.show.file_order {
                self.follow(kind, &data)?;
            }
        }
    }

    /// Whether the first byte is no type of a record that a queue file may begin with.
    fn begins_otherwise(&mut self) -> bool {
        let first = self.reader.get_mut().fill_buf().ok().and_then(|buffer| buffer.first().copied());
        first.is_some_and(|first| first != 0 && !RecordType(first).is_envelope())
    }

    fn read(&mut self, data: &mut Vec<u8>) -> Result<Option<RecordType>, RecordError> {
        if !self.show.verbose {
            return self.reader.read_normal(data, MAX_RECORD_LENGTH);
        }
        self.reader.read_raw(data, MAX_RECORD_LENGTH)
    }

    /// With `-v` a pointer is shown before it is followed.
    fn follow(&mut self, kind: RecordType, data: &[u8]) -> Result<(), Broken> {
        let result = match kind {
            RecordType::POINTER => self.reader.follow(data),
            RecordType::END => self.reader.seek_behind_end(),
            _ => return Ok(()),
        };
        if let Err(error) = result {
            self.warn(&error.to_string())?;
            return Err(Broken::Pointer);
        }
        Ok(())
    }

    fn record(&mut self, kind: RecordType, offset: u64, data: &[u8]) -> Result<Flow, Broken> {
        match kind {
            RecordType::MESSAGE => {
                self.marker(kind, offset, Segment::Content)?;
                if !self.show.parts.header && !self.show.parts.body {
                    self.skip_content()?;
                }
            }
            RecordType::EXTRACTED => {
                self.marker(kind, offset, Segment::Extracted)?;
                if !self.show.parts.envelope {
                    return Ok(Flow::Stop);
                }
            }
            RecordType::END => self.end_marker(offset)?,
            RecordType::NORM => return self.text(kind, offset, data),
            RecordType::CONT if self.segment == Segment::Content => return self.text(kind, offset, data),
            RecordType::SIZE => self.size(offset, data)?,
            _ if self.is_shown() => self.named(kind, offset, data)?,
            _ => {}
        }
        Ok(Flow::GoOn)
    }

    /// Whether records other than markers are shown at this place.
    fn is_shown(&self) -> bool {
        match self.segment {
            Segment::Content if self.in_body => self.show.parts.body,
            Segment::Content => self.show.parts.header,
            Segment::Envelope | Segment::Extracted => self.show.parts.envelope,
        }
    }

    fn marker(&mut self, kind: RecordType, offset: u64, next: Segment) -> Result<(), Broken> {
        if kind == RecordType::MESSAGE && self.segment == Segment::Content {
            self.warn_of_file("out-of-order message content marker")?;
        }
        if kind == RecordType::EXTRACTED && self.segment != Segment::Content {
            self.warn_of_file("out-of-order extracted segment marker")?;
        }
        if self.show.parts.envelope {
            self.prefix(kind, offset)?;
        }
        self.begin_segment(next)
    }

    fn begin_segment(&mut self, segment: Segment) -> Result<(), Broken> {
        self.segment = segment;
        self.in_body = false;
        let title = match segment {
            Segment::Envelope => "ENVELOPE RECORDS",
            Segment::Content => "MESSAGE CONTENTS",
            Segment::Extracted => "HEADER EXTRACTED",
        };
        if self.show.parts.envelope {
            writeln!(self.output, "*** {title} {} ***", self.name)?;
        }
        Ok(())
    }

    fn end_marker(&mut self, offset: u64) -> Result<(), Broken> {
        if self.segment == Segment::Content {
            self.warn_of_file("out-of-order message end marker")?;
        }
        if self.show.parts.envelope {
            self.prefix(RecordType::END, offset)?;
            writeln!(self.output, "*** MESSAGE FILE END {} ***", self.name)?;
        }
        Ok(())
    }

    fn text(&mut self, kind: RecordType, offset: u64, data: &[u8]) -> Result<Flow, Broken> {
        if self.segment == Segment::Content && !self.in_body && !self.is_line_open && !is_header(data) {
            self.in_body = true;
            if !self.show.parts.body {
                if !self.show.parts.envelope {
                    return Ok(Flow::Stop);
                }
                self.skip_content()?;
                return Ok(Flow::GoOn);
            }
        }
        if !self.is_shown() {
            return Ok(Flow::GoOn);
        }
        self.prefix(kind, offset)?;
        if self.show.verbose {
            write!(self.output, "{}: ", kind.content_name())?;
        }
        self.output.write_all(data)?;
        let ends_line = kind == RecordType::NORM || self.show.verbose || self.show.offsets;
        if ends_line {
            self.output.write_all(b"\n")?;
        }
        self.is_line_open = kind == RecordType::CONT && !ends_line;
        Ok(Flow::GoOn)
    }

    /// Without envelope records, the content is where to go on. A record with nonsense in it is used all the same, as
    /// far as one can seek there.
    fn size(&mut self, offset: u64, data: &[u8]) -> Result<(), Broken> {
        if self.is_shown() {
            self.named(RecordType::SIZE, offset, data)?;
        }
        if self.size.is_some() {
            self.warn("file contains multiple size records")?;
            return Ok(());
        }
        let size = two_numbers(data);
        if size.is_none_or(|(size, offset)| size <= 0 || offset <= 0) {
            self.warn(&format!("invalid size record: {}", excerpt(data)))?;
        }
        self.size = size;
        if self.show.parts.envelope {
            return Ok(());
        }
        let content = size.and_then(|(_, offset)| u64::try_from(offset).ok());
        let Some(content) = content else { return Err(Broken::Seek(Errno::EINVAL.into())) };
        self.segment = Segment::Content;
        self.seek(content)
    }

    /// Moves to the extracted segment, when it is known where that is; otherwise the records in between are read and
    /// not shown. Never back: a size record that leads to the start would be an endless loop.
    fn skip_content(&mut self) -> Result<(), Broken> {
        let end = self.size.and_then(|(size, offset)| offset.checked_add(size));
        match end.and_then(|end| u64::try_from(end).ok()) {
            Some(end) if end >= self.reader.offset() => self.seek(end),
            _ => Ok(()),
        }
    }

    fn named(&mut self, kind: RecordType, offset: u64, data: &[u8]) -> Result<(), Broken> {
        let text = until_nul(data);
        let name = kind.name();
        self.prefix(kind, offset)?;
        match kind {
            RecordType::TIME | RecordType::WARN => {
                writeln!(self.output, "{name}: {}", date(text))?;
            }
            RecordType::ATTR => match Attribute::parse(text) {
                Ok(Attribute { name: attribute, value }) => {
                    if attribute == attr::CREATE_TIME.as_bytes() {
                        writeln!(self.output, "{}: {}", attr::CREATE_TIME, date(value))?;
                    } else {
                        write!(self.output, "{name}: ")?;
                        self.line(&[attribute, b"=", value])?;
                    }
                }
                Err(error) => {
                    self.warn_of_file(&format!("malformed attribute: {error}: {}", excerpt(text)))?;
                }
            },
            _ => {
                write!(self.output, "{name}: ")?;
                self.line(&[text])?;
            }
        }
        Ok(())
    }

    fn line(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.output.write_all(part)?;
        }
        self.output.write_all(b"\n")
    }

    /// Ends an open line unless a text record follows, and writes file name, offset and type.
    fn prefix(&mut self, kind: RecordType, offset: u64) -> io::Result<()> {
        let is_text = matches!(kind, RecordType::NORM | RecordType::CONT);
        if self.is_line_open && !is_text {
            self.output.write_all(b"\n")?;
        }
        self.is_line_open = false;
        // Also in the middle of a line that is made of several records, as in 3.11.
        if self.show.file_name {
            write!(self.output, "{}: ", self.name)?;
        }
        if self.show.offsets {
            write!(self.output, "{offset:9} ")?;
        }
        if self.show.types {
            write!(self.output, "{:3} ", kind.0)?;
        }
        Ok(())
    }

    /// What was printed before comes before the warning.
    fn warn(&mut self, text: &str) -> io::Result<()> {
        self.output.flush()?;
        log::warn!("{text}");
        Ok(())
    }

    fn warn_of_file(&mut self, text: &str) -> io::Result<()> {
        let text = format!("{}: {text}", self.name);
        self.warn(&text)
    }

    fn seek(&mut self, to: u64) -> Result<(), Broken> {
        self.reader.seek(SeekFrom::Start(to)).map_err(|error| match error {
            RecordError::Io { source, .. } => Broken::Seek(source),
            _ => Broken::Record,
        })
    }
}

/// The start of hostile data, for a warning.
fn excerpt(data: &[u8]) -> std::borrow::Cow<'_, str> {
    let text = until_nul(data);
    String::from_utf8_lossy(&text[..text.len().min(EXCERPT)])
}

/// The first two fields of a size record.
fn two_numbers(data: &[u8]) -> Option<(i64, i64)> {
    let size = SizeRecord::parse(data)?;
    let has_two = data.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() >= 2;
    has_two.then_some((size.data_size, size.data_offset))
}

/// `asctime` of the seconds at the start of the data.
fn date(data: &[u8]) -> String {
    sys::time::local_seconds(leading_number(data).unwrap_or(0)).asctime()
}
