//! Headers as they stand in a queue file that may have been edited: pointers are followed, and it is known which one led
//! to each header.

use std::io::{BufReader, SeekFrom};

use message::header::name_length;
use queue::{At, Editor, MAX_RECORD_LENGTH, RecordError, RecordReader, RecordType};

/// Longest header that is looked at as a whole: cleanup itself writes none that is longer, and no Milter sends one.
const TEXT_LIMIT: usize = 1 << 24;

/// A record of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) kind: RecordType,
    /// Offset.
    at: u64,
    /// The pointer record that led here.
    via: Option<u64>,
}

/// A header.
#[derive(Debug)]
pub(super) struct Header {
    /// All of it, lines joined by LF.
    pub(super) text: Vec<u8>,
    /// Offset of its first record.
    pub(super) at: u64,
    /// The pointer record that led to it.
    pub(super) via: Option<u64>,
    /// Offset of what is read behind it.
    pub(super) next: u64,
}

impl Header {
    /// Whether that is its name.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        let length = name_length(&self.text).unwrap_or(0);
        self.text[..length].eq_ignore_ascii_case(name)
    }
}

/// Reads content.
pub(super) struct Lines<'e> {
    reader: RecordReader<BufReader<At<'e>>>,
    /// The place behind the headers.
    place: u64,
    start: u64,
    /// The first record of the next header, once it is known.
    ahead: Option<(Line, Vec<u8>)>,
    begun: bool,
}

impl<'e> Lines<'e> {
    /// From an offset on, up to the place behind the headers, and then the body.
    pub(super) fn new(editor: &Editor<'e>, start: u64, place: u64) -> Self {
        Lines { reader: editor.reader(), place, start, ahead: None, begun: false }
    }

    /// The next record that is no padding, and no pointer but that of the place behind the headers.
    pub(super) fn next_into(&mut self, data: &mut Vec<u8>, limit: usize) -> Result<Line, RecordError> {
        if let Some((line, text)) = self.ahead.take() {
            *data = text;
            return Ok(line);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.reader.seek(SeekFrom::Start(self.start))?;
        }
        let mut via = None;
        loop {
            let kind = self.reader.read_raw(data, limit)?;
            let at = self.reader.record_offset();
            match kind {
                Some(RecordType::POINTER) => {
                    let before = self.reader.offset();
                    self.reader.follow(data)?;
                    if at == self.place {
                        return Ok(Line { kind: RecordType::POINTER, at, via });
                    }
                    if self.reader.offset() != before {
                        via = Some(at);
                    }
                }
                Some(RecordType::PADDING) => {}
                Some(kind) => return Ok(Line { kind, at, via }),
                None => return Ok(Line { kind: RecordType::END, at, via }),
            }
        }
    }

    /// The next header; `None` where the body begins.
    pub(super) fn header(&mut self) -> Result<Option<Header>, RecordError> {
        let mut text = Vec::new();
        let first = self.next_into(&mut text, MAX_RECORD_LENGTH)?;
        if is_end(&first) {
            // The place is not part of the body.
            if first.kind != RecordType::POINTER {
                self.ahead = Some((first, text));
            }
            return Ok(None);
        }
        let mut is_open = first.kind == RecordType::CONT;
        let mut data = Vec::new();
        loop {
            let line = self.next_into(&mut data, MAX_RECORD_LENGTH)?;
            let is_further =
                is_open || matches!(data.first(), Some(b' ' | b'\t')) || name_length(&data).is_none();
            if is_end(&line) || !is_further {
                let header = Header { text, at: first.at, via: first.via, next: line.at };
                self.ahead = Some((line, std::mem::take(&mut data)));
                return Ok(Some(header));
            }
            if !is_open && text.len() < TEXT_LIMIT {
                text.push(b'\n');
            }
            if text.len() < TEXT_LIMIT {
                text.extend_from_slice(&data);
            }
            is_open = line.kind == RecordType::CONT;
        }
    }
}

fn is_end(line: &Line) -> bool {
    !matches!(line.kind, RecordType::NORM | RecordType::CONT)
}
