//! The content of a queue file, told to a Milter (spec milter 10).

use memchr::memchr;
use milter::event::CHUNK;
use milter::{Event, Macros, Milter, Response};
use queue::{MAX_RECORD_LENGTH, RecordError, RecordType};

use super::headers::{Chains, Line, Lines};
use crate::output::Output;

/// What is told goes by the text alone, not by where edits are made.
const NO_PLACE: u64 = 0;

/// Tells the headers, but for this system's own `Received:`, and the body. The answer of the Milter as far as it goes.
///
/// # Errors
/// The file cannot be read.
pub(super) fn tell(
    milter: &mut Milter,
    macros: &dyn Macros,
    own_received: &[u8],
    output: &mut Output,
) -> Option<Result<Response, RecordError>> {
    let start = output.content().start;
    output.read(|editor| {
        let mut told = Told { milter, macros, chunk: Vec::new() };
        // Where a body leads on changes with the next body, so nothing of this is kept.
        let mut chains = Chains::default();
        Ok(told.all(Lines::new(editor, &mut chains, start, NO_PLACE), own_received))
    })
}

struct Told<'t> {
    milter: &'t mut Milter,
    macros: &'t dyn Macros,
    /// The body that has not been sent.
    chunk: Vec<u8>,
}

impl Told<'_> {
    fn all(&mut self, mut lines: Lines<'_>, own_received: &[u8]) -> Result<Response, RecordError> {
        let mut hidden = own_received.is_empty();
        while let Some(header) = lines.header()? {
            if !hidden && header.text == own_received {
                hidden = true;
                continue;
            }
            let response = self.header(&header.text);
            if response != Response::Continue {
                return Ok(response);
            }
        }
        let response = self.milter.event(&Event::EndOfHeaders, self.macros);
        if response != Response::Continue {
            return Ok(response);
        }
        self.body(&mut lines)
    }

    fn header(&mut self, text: &[u8]) -> Response {
        let Some(colon) = memchr(b':', text) else { return Response::Continue };
        let (name, value) = (text[..colon].trim_ascii_end(), &text[colon + 1..]);
        self.milter.event(&Event::Header { name, value }, self.macros)
    }

    fn body(&mut self, lines: &mut Lines<'_>) -> Result<Response, RecordError> {
        let mut is_first = true;
        let mut data = Vec::new();
        loop {
            let Line { kind, .. } = lines.next_into(&mut data, MAX_RECORD_LENGTH)?;
            let end: &[u8] = match kind {
                RecordType::NORM => b"\r\n",
                RecordType::CONT => b"",
                _ => break,
            };
            // The empty line behind the headers.
            if std::mem::take(&mut is_first) && kind == RecordType::NORM && data.is_empty() {
                continue;
            }
            for mut piece in [&data, end] {
                while !piece.is_empty() {
                    let room = CHUNK - self.chunk.len();
                    let (now, later) = piece.split_at(piece.len().min(room));
                    self.chunk.extend_from_slice(now);
                    piece = later;
                    if self.chunk.len() == CHUNK {
                        let response = self.flush();
                        if response != Response::Continue {
                            return Ok(response);
                        }
                    }
                }
            }
        }
        Ok(self.flush())
    }

    fn flush(&mut self) -> Response {
        if self.chunk.is_empty() {
            return Response::Continue;
        }
        let response = self.milter.event(&Event::Body(&self.chunk), self.macros);
        self.chunk.clear();
        response
    }
}
