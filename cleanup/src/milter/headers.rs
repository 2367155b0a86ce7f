//! Headers as they stand in a queue file that may have been edited: pointers are followed, and it is known which one led
//! to each header.
//!
//! A header that is changed over and over leaves a chain of pointers, one for each change. What has been followed once is
//! skipped after that, or many changes would cost the square of their number.

use std::collections::HashMap;
use std::io::{BufReader, SeekFrom};

use message::header::name_length;
use queue::{At, Editor, MAX_RECORD_LENGTH, RecordError, RecordReader, RecordType, pointer_target};

/// Most names that are counted.
const NAMES: usize = 200_000;
/// Longest name that is counted.
const NAME_LIMIT: usize = 256;

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

/// Chains of pointers that have been followed, each by its first pointer: the last pointer of it that was known. What
/// stands behind that one is read anew. A pointer stays one, and only the last of a chain is ever led elsewhere.
#[derive(Debug, Default)]
pub(super) struct Chains(HashMap<u64, u64>);

/// How many headers a file has, so that nobody has to look for one that is not there: a Milter that adds many, each
/// behind the last or by a name that there is none of, would have all of them read for each.
#[derive(Debug, Default)]
pub(super) struct Counts {
    all: u64,
    /// Of each name in small letters, but for this system's own `Received:`.
    named: HashMap<Vec<u8>, u64>,
}

impl Counts {
    pub(super) fn all(&self) -> u64 {
        self.all
    }

    /// How many of this name an edit can mean.
    pub(super) fn named(&self, name: &[u8]) -> u64 {
        self.named.get(&name.to_ascii_lowercase()).copied().unwrap_or(0)
    }

    /// Counts one more; whether that could be done.
    #[must_use]
    pub(super) fn add(&mut self, header: &[u8], is_hidden: bool) -> bool {
        let Some(length) = name_length(header).filter(|length| *length <= NAME_LIMIT) else { return false };
        self.all += 1;
        if !is_hidden {
            *self.named.entry(header[..length].to_ascii_lowercase()).or_default() += 1;
        }
        self.named.len() <= NAMES
    }

    /// Counts one less, that is not hidden; whether that could be done.
    #[must_use]
    pub(super) fn remove(&mut self, header: &[u8]) -> bool {
        let Some(length) = name_length(header) else { return false };
        let Some(count) = self.named.get_mut(&header[..length].to_ascii_lowercase()) else { return false };
        *count = count.saturating_sub(1);
        self.all = self.all.saturating_sub(1);
        true
    }
}

/// Reads content.
pub(super) struct Lines<'e> {
    reader: RecordReader<BufReader<At<'e>>>,
    chains: &'e mut Chains,
    /// The place behind the headers.
    place: u64,
    start: u64,
    /// The first record of the next header, once it is known.
    ahead: Option<(Line, Vec<u8>)>,
    begun: bool,
}

impl<'e> Lines<'e> {
    /// From an offset on, up to the place behind the headers, and then the body.
    pub(super) fn new(editor: &Editor<'e>, chains: &'e mut Chains, start: u64, place: u64) -> Self {
        Lines { reader: editor.reader(), chains, place, start, ahead: None, begun: false }
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
        let mut first = None;
        let (kind, at) = loop {
            let kind = self.reader.read_raw(data, limit)?;
            let at = self.reader.record_offset();
            match kind {
                Some(RecordType::POINTER) => {
                    // One that leads to what stands behind it anyway is one all the same.
                    let is_placeholder = pointer_target(data) == Some(0);
                    self.reader.follow(data)?;
                    if at == self.place {
                        break (RecordType::POINTER, at);
                    }
                    if is_placeholder {
                        continue;
                    }
                    via = Some(at);
                    if first.is_none() {
                        first = Some(at);
                        if let Some(last) = self.chains.0.get(&at).filter(|last| **last != self.place) {
                            self.reader.seek(SeekFrom::Start(*last))?;
                        }
                    }
                }
                Some(RecordType::PADDING) => {}
                Some(kind) => break (kind, at),
                None => break (RecordType::END, at),
            }
        };
        if let (Some(first), Some(last)) = (first, via)
            && first != last
        {
            self.chains.0.insert(first, last);
        }
        Ok(Line { kind, at, via })
    }

    /// Whether the last header was followed by the place behind the headers, not by a line that is none.
    pub(super) fn are_at_the_place(&self) -> bool {
        self.ahead.is_none()
    }

    /// Leaves out what looks like further lines of a header before the first one: who looks for a header to edit does not
    /// mind them (observed, 3.7.11).
    pub(super) fn skip_further_lines(&mut self) -> Result<(), RecordError> {
        let mut data = Vec::new();
        loop {
            let line = self.next_into(&mut data, MAX_RECORD_LENGTH)?;
            if is_end(&line) || !matches!(data.first(), Some(b' ' | b'\t')) {
                self.ahead = Some((line, data));
                return Ok(());
            }
        }
    }

    /// The next header; `None` where the body begins: at the place behind the headers, or at a line that belongs to no
    /// header, as a Milter may have made it.
    pub(super) fn header(&mut self) -> Result<Option<Header>, RecordError> {
        let mut text = Vec::new();
        let first = self.next_into(&mut text, MAX_RECORD_LENGTH)?;
        if is_end(&first) || name_length(&text).is_none() {
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
            let is_further = is_open || matches!(data.first(), Some(b' ' | b'\t'));
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
