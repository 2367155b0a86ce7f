//! A message that is being received (spec smtpd 2.9 and 2.10).

use crate::settings::params::BareNewline;

/// What holds for the content of a message, from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How lines may end.
    pub bare_newline: BareNewline,
    /// `message_size_limit`; 0 is none.
    pub size_limit: u64,
    /// `line_length_limit`
    pub line_length_limit: usize,
    /// Only the very first line may be a `From ` line, and what continues it stays with it.
    pub(crate) marks_one_line: bool,
    /// A stuffed dot goes on to the filter, and counts; to cleanup it does not go, and does not count (observed, 3.7.11).
    pub(crate) stuffed_dots_count: bool,
}

/// The state of a message that is being received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receiving {
    /// What holds for it.
    pub rules: Rules,
    /// Bytes so far: each line with its CRLF, each piece as if it had one.
    pub size: u64,
    /// A bare newline was seen, and is to be refused at the end.
    pub bare_newline: bool,
    /// One was seen, and is to be told when the client leaves.
    pub(crate) noted: bool,
    /// `message_size_limit` was exceeded.
    pub too_big: bool,
    /// A line that a chunk left unfinished, at most `line_length_limit` bytes.
    pub rest: Vec<u8>,
    /// The next piece starts a line.
    pub(crate) line_start: bool,
    /// The same, for the count of bytes.
    pub(crate) counted_line_start: bool,
    /// The line before ended in LF alone.
    pub(crate) after_bare_newline: bool,
    /// No line has gone out that is not a `From ` line, or none at all where only one is marked.
    pub(crate) before_first_line: bool,
}

impl Receiving {
    /// A line ended in LF alone.
    pub(crate) fn saw_bare_newline(&mut self) {
        match self.rules.bare_newline {
            BareNewline::Reject => self.bare_newline = true,
            BareNewline::Note => self.noted = true,
            BareNewline::Accept | BareNewline::Normalize => {}
        }
    }

    /// Nothing has come so far.
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            size: 0,
            bare_newline: false,
            noted: false,
            too_big: false,
            rest: Vec::new(),
            line_start: true,
            counted_line_start: true,
            after_bare_newline: false,
            before_first_line: true,
        }
    }

    /// The content is refused at its end, and nobody gets any more of it.
    pub(crate) fn is_bad(&self) -> bool {
        self.too_big || self.bare_newline
    }
}
