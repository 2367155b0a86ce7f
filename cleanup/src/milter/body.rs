//! A new body: it takes the room of the old one, and goes on behind the end of the file (spec queue-file 13).

use queue::{RecordType, RecordWriter};

use crate::output::Output;

/// A pointer record.
const POINTER: u64 = 17;

/// A piece of the file that a body may take.
#[derive(Clone, Copy, Debug)]
struct Region {
    start: u64,
    /// Where it ends; open at the end of the file.
    end: Option<u64>,
}

impl Region {
    /// Whether a record fits from an offset on, and a pointer behind it.
    fn fits(&self, at: u64, length: u64) -> bool {
        self.end.is_none_or(|end| at + length + POINTER <= end)
    }
}

/// The room for bodies of one message, and the body that is being written.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// What no body takes, in the order in which it is to be used.
    free: Vec<Region>,
    /// What the body takes.
    used: Vec<Region>,
    /// Bytes that the first body had.
    first: u64,
    writing: Option<Writing>,
}

/// A body that is being written.
#[derive(Debug)]
struct Writing {
    region: Region,
    /// Where the next record goes.
    at: u64,
    /// Bytes of its records.
    length: u64,
    /// A line without its end.
    line: Vec<u8>,
}

impl Body {
    /// Takes a piece of text.
    pub(super) fn part(&mut self, text: &[u8], limit: usize, output: &mut Output) {
        if self.writing.is_none() {
            self.begin(output);
        }
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(writing) = &mut self.writing else { return };
            writing.line.extend_from_slice(piece);
            if writing.line.last() == Some(&b'\n') {
                let mut line = std::mem::take(&mut writing.line);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                self.put_line(&line, limit, output);
            } else {
                self.put_long(limit, output);
            }
        }
    }

    /// No more comes: it leads to what stands behind the content.
    pub(super) fn end(&mut self, limit: usize, output: &mut Output) {
        let Some(writing) = &mut self.writing else { return };
        let line = std::mem::take(&mut writing.line);
        if !line.is_empty() {
            self.put_line(&line, limit, output);
        }
        let Some(mut writing) = self.writing.take() else { return };
        put_pointer(&writing, output.content().end, output);
        writing.region.end.get_or_insert(output.end());
        self.used.push(writing.region);
        let [length, first] = [writing.length, self.first].map(|length| i64::try_from(length).unwrap_or(0));
        output.body_grew(length - first);
        let (place, start) = (output.places().headers.at, self.used.first().map_or(0, |region| region.start));
        output.places().headers.next = start;
        output.point(place, start);
    }

    fn begin(&mut self, output: &mut Output) {
        if self.free.is_empty() && self.used.is_empty() {
            let (start, end) = (output.places().headers.next, output.content().end);
            self.first = end.saturating_sub(start);
            self.free.push(Region { start, end: Some(end) });
        }
        self.free.append(&mut self.used);
        let region = self.free.remove(0);
        self.writing = Some(Writing { region, at: region.start, length: 0, line: Vec::new() });
        // The empty line behind the headers.
        self.put(RecordType::NORM, b"", output);
    }

    /// A line that does not end is not kept as a whole.
    fn put_long(&mut self, limit: usize, output: &mut Output) {
        while let Some(writing) = &mut self.writing
            && writing.line.len() > limit
        {
            let rest = writing.line.split_off(limit);
            let part = std::mem::replace(&mut writing.line, rest);
            self.put(RecordType::CONT, &part, output);
        }
    }

    fn put_line(&mut self, line: &[u8], limit: usize, output: &mut Output) {
        let mut rest = line;
        while rest.len() >= limit {
            let (part, more) = rest.split_at(limit);
            self.put(RecordType::CONT, part, output);
            rest = more;
        }
        self.put(RecordType::NORM, rest, output);
    }

    fn put(&mut self, kind: RecordType, data: &[u8], output: &mut Output) {
        let mut record = RecordWriter::new(Vec::new());
        // Writing to a vector cannot fail, and no record is too long.
        let _ = record.write(kind, data);
        let record = record.into_inner();
        let length = record.len() as u64;
        if self.writing.as_ref().is_some_and(|writing| !writing.region.fits(writing.at, length)) {
            self.next_region(length, output);
        }
        let Some(writing) = &mut self.writing else { return };
        let at = writing.at;
        if writing.region.end.is_some() {
            output.edit(|editor| editor.overwrite(&record, at));
        } else {
            output.put(kind, data);
        }
        writing.at += length;
        writing.length += length;
    }

    /// Goes on where a record of this length fits.
    fn next_region(&mut self, length: u64, output: &mut Output) {
        let Some(writing) = &mut self.writing else { return };
        let next = match self.free.iter().position(|region| region.fits(region.start, length)) {
            Some(place) => self.free.remove(place),
            None => Region { start: output.end(), end: None },
        };
        put_pointer(writing, next.start, output);
        self.used.push(writing.region);
        (writing.region, writing.at) = (next, next.start);
    }
}

/// A pointer where the next record would go.
fn put_pointer(writing: &Writing, target: u64, output: &mut Output) {
    if writing.region.end.is_none() {
        output.put_pointer(target);
    } else {
        output.point(writing.at, target);
    }
}
