//! Message content: lines and chunks as they arrive, on their way to the destination (spec smtpd 2.9 and 2.10).
//!
//! A line comes whole or, above `line_length_limit`, in pieces. This file decides where the message ends, what a line
//! that ends in LF alone may do, and when the message is too big; it allocates nothing per line. How the dots of a
//! line are treated is the destination's matter.

use memchr::memchr;
use smtp::stream::LineEnd;

use crate::log;
use crate::mail::content::{Dots, Piece};
use crate::settings::params::BareNewline;
use crate::transaction::destination::Destination;
use crate::transaction::receiving::Receiving;

/// Whether the message goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// Read on.
    Yes,
    /// That was the end of data.
    No,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Message {
    /// Where it goes.
    pub destination: Destination,
    /// What has come of it.
    pub receiving: Receiving,
}

impl Message {
    /// Takes one line, or a piece of one, after DATA.
    pub(crate) fn data_line(&mut self, line: &[u8], end: LineEnd) -> More {
        let start = self.receiving.line_start;
        let bare = end == LineEnd::BareLf;
        let mode = self.receiving.rules.bare_newline;
        if start && line == b"." && end != LineEnd::Partial {
            // A lone dot ends the message only between two CRLF line ends; any other one is nobody's (RFC 5321
            // section 4.1.1.4 against message smuggling).
            if mode == BareNewline::Accept || !(bare || self.receiving.after_bare_newline) {
                return More::No;
            }
            self.receiving.after_bare_newline = bare;
            self.receiving.before_first_line = false;
            if bare {
                self.receiving.saw_bare_newline();
            }
            return More::Yes;
        }
        if start && self.receiving.before_first_line {
            self.first_line(line);
        }
        if bare {
            self.receiving.saw_bare_newline();
        }
        let piece = if end == LineEnd::Partial { Piece::More } else { Piece::Last };
        self.receiving.line_start = piece == Piece::Last;
        self.receiving.after_bare_newline = bare;
        self.write_content(line, Dots::Stuffed, piece);
        More::Yes
    }

    /// Keeps the first line from being taken for something else: `From ` lines are marked, a line that starts with
    /// white space must not continue our Received: header.
    fn first_line(&mut self, line: &[u8]) {
        let quoted = line.iter().position(|&byte| byte != b'>').unwrap_or(line.len());
        if line[quoted..].starts_with(b"From ") {
            self.write_uncounted(b"X-Mailbox-Line: ", Piece::More);
            self.receiving.before_first_line = !self.receiving.rules.marks_one_line;
            return;
        }
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.write_uncounted(b"", Piece::Last);
        }
        self.receiving.before_first_line = false;
    }

    fn write_uncounted(&mut self, bytes: &[u8], piece: Piece) {
        if !self.receiving.is_bad() {
            self.destination.content(bytes, Dots::Plain, piece);
        }
    }

    /// Writes a piece, unless the message has become bad; the line that made it so is not written either.
    fn write_content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        if self.receiving.is_bad() {
            return;
        }
        let taken_off = dots == Dots::Stuffed
            && self.receiving.counted_line_start
            && bytes.first() == Some(&b'.')
            && !self.receiving.rules.stuffed_dots_count;
        self.receiving.counted_line_start = piece == Piece::Last;
        let length = bytes.len() as u64 + 2 - u64::from(taken_off);
        let limit = self.receiving.rules.size_limit;
        if limit > 0 && limit.saturating_sub(self.receiving.size) < length {
            log::size_limit_exceeded(self.destination.queue_id().unwrap_or(log::NO_QUEUE_ID));
            self.receiving.too_big = true;
            return;
        }
        self.receiving.size += length;
        self.destination.content(bytes, dots, piece);
    }

    /// Takes bytes of a BDAT chunk that is to be stored.
    pub(crate) fn chunk_bytes(&mut self, mut bytes: &[u8]) {
        while let Some(at) = memchr(b'\n', bytes) {
            self.chunk_part(&bytes[..at]);
            self.end_chunk_line();
            bytes = &bytes[at + 1..];
        }
        self.chunk_part(bytes);
    }

    /// Adds bytes to the unfinished line; what is above the line length goes out as pieces.
    fn chunk_part(&mut self, mut bytes: &[u8]) {
        let limit = self.receiving.rules.line_length_limit;
        loop {
            let room = limit.saturating_sub(self.receiving.rest.len());
            let take = bytes.len().min(room);
            self.receiving.rest.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if bytes.is_empty() {
                return;
            }
            // A CR at the end may belong to the line end that follows.
            self.flush_rest(Piece::More);
        }
    }

    fn end_chunk_line(&mut self) {
        let mode = self.receiving.rules.bare_newline;
        let rest = &mut self.receiving.rest;
        if rest.last() == Some(&b'\r') {
            rest.pop();
            while mode == BareNewline::Accept && rest.last() == Some(&b'\r') {
                rest.pop();
            }
        } else {
            self.receiving.saw_bare_newline();
        }
        self.flush_rest(Piece::Last);
    }

    fn flush_rest(&mut self, piece: Piece) {
        let mut rest = std::mem::take(&mut self.receiving.rest);
        self.write_content(&rest, Dots::Plain, piece);
        rest.clear();
        self.receiving.rest = rest;
    }

    /// After the last chunk: a missing final newline is supplied.
    pub(crate) fn end_last_line(&mut self) {
        if !self.receiving.rest.is_empty() {
            self.flush_rest(Piece::Last);
        }
    }
}
