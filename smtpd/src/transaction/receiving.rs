//! A message that is being received (spec smtpd 2.9 and 2.10).

use crate::mail::refusal::Refusal;

/// The state of a message that is being received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiving {
    /// Bytes so far: each line with its CRLF, each piece as if it had one.
    pub size: u64,
    /// A bare newline was seen, and is to be refused at the end.
    pub bare_newline: bool,
    /// `message_size_limit` was exceeded.
    pub too_big: bool,
    /// The reply that follows a chunk of no use.
    pub refusal: Option<Refusal>,
    /// A line that a chunk left unfinished, at most `line_length_limit` bytes.
    pub rest: Vec<u8>,
    /// The client may send content, or has sent some.
    pub started: bool,
    /// The next piece starts a line.
    pub line_start: bool,
    /// The same, for the count of bytes.
    pub counted_line_start: bool,
    /// The line before ended in LF alone.
    pub after_bare_newline: bool,
    /// No line has gone out that is not a `From ` line.
    pub before_first_line: bool,
}

impl Default for Receiving {
    fn default() -> Self {
        Self {
            size: 0,
            bare_newline: false,
            too_big: false,
            refusal: None,
            rest: Vec::new(),
            started: false,
            line_start: true,
            counted_line_start: true,
            after_bare_newline: false,
            before_first_line: true,
        }
    }
}

impl Receiving {
    /// The content is refused at its end, and nobody gets any more of it.
    pub fn is_bad(&self) -> bool {
        self.too_big || self.bare_newline
    }
}

/// What is remembered of a BDAT transaction between its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    /// Chunks are being stored.
    Storing,
    /// A chunk failed: discard until BDAT LAST or RSET.
    Discarding,
}
