//! The message on standard input, as lines of bounded length (spec commands 9, "Input").

use std::io::{self, BufRead};

/// A line, or a piece of one that is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: Vec<u8>,
    /// Whether a line end followed.
    pub(crate) ends_line: bool,
}

/// `sendmail_fix_line_endings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEndings {
    /// Carriage returns before the line feed are removed.
    Always,
    /// They are removed if the first line has one.
    Strict,
    /// They stay.
    Never,
}

/// The lines of a message up to its end, without `From ` lines at its start.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    limit: usize,
    endings: LineEndings,
    /// A line with a single dot is part of the message.
    ignore_dot: bool,
    at_line_start: bool,
    first: bool,
    skipping_from: bool,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, limit: usize, endings: LineEndings, ignore_dot: bool) -> Lines<R> {
        Lines {
            reader,
            limit: limit.max(1),
            endings,
            ignore_dot,
            at_line_start: true,
            first: true,
            skipping_from: true,
            ended: false,
        }
    }

    /// The next piece; `None` at the end of the message.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        let mut in_skipped_line = false;
        while !self.ended {
            let Some(piece) = self.piece()? else {
                self.ended = true;
                break;
            };
            let at_line_start = std::mem::replace(&mut self.at_line_start, piece.ends_line);
            if at_line_start {
                // Not one that is longer than the limit (observed, 3.7.11).
                in_skipped_line = self.skipping_from && piece.ends_line && is_from_line(&piece.text);
                self.skipping_from = in_skipped_line;
                // With or without a line end.
                if !self.ignore_dot && piece.text == b"." {
                    self.ended = true;
                    break;
                }
            }
            if !in_skipped_line {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn piece(&mut self) -> io::Result<Option<Piece>> {
        let mut text = Vec::new();
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok((!text.is_empty()).then_some(Piece { text, ends_line: false }));
            }
            let room = &buffer[..buffer.len().min(self.limit - text.len())];
            if let Some(end) = room.iter().position(|c| *c == b'\n') {
                text.extend_from_slice(&room[..end]);
                self.reader.consume(end + 1);
                self.fix_ending(&mut text);
                return Ok(Some(Piece { text, ends_line: true }));
            }
            let taken = room.len();
            text.extend_from_slice(room);
            self.reader.consume(taken);
            if text.len() == self.limit {
                return Ok(Some(Piece { text, ends_line: false }));
            }
        }
    }

    fn fix_ending(&mut self, text: &mut Vec<u8>) {
        if self.endings == LineEndings::Strict && self.first {
            self.endings = if text.ends_with(b"\r") { LineEndings::Always } else { LineEndings::Never };
        }
        self.first = false;
        if self.endings == LineEndings::Always {
            while text.last() == Some(&b'\r') {
                text.pop();
            }
        }
    }
}

/// `From `, with any number of `>` before it.
fn is_from_line(text: &[u8]) -> bool {
    let quotes = text.iter().take_while(|c| **c == b'>').count();
    text.get(quotes..).is_some_and(|text| text.starts_with(b"From "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], ignore_dot: bool) -> Vec<String> {
        let mut lines = Lines::new(input, 4, LineEndings::Always, ignore_dot);
        let mut out = Vec::new();
        while let Some(piece) = lines.next().unwrap() {
            let mark = if piece.ends_line { 'N' } else { 'L' };
            out.push(format!("{mark}{}", String::from_utf8_lossy(&piece.text)));
        }
        out
    }

    #[test]
    fn pieces_observed() {
        for (input, expected) in [
            (&b"a\n.\nb\n"[..], &["Na"][..]),
            (b"abc\n", &["Nabc"]),
            (b"abcd\n", &["Labcd", "N"]),
            (b"abcd.\nq", &["Labcd", "N.", "Lq"]),
            (b"a\r\r\nb\r\n.\r\nc", &["Na", "Nb"]),
            (b"From me you\n>From x\nS:\nFr\n", &["NS:", "NFr"]),
            (b"a\n.", &["Na"]),
            (b"", &[]),
        ] {
            let mut wide = Lines::new(input, 2048, LineEndings::Always, false);
            if input.starts_with(b"From") {
                let mut out = Vec::new();
                while let Some(piece) = wide.next().unwrap() {
                    out.push(format!("N{}", String::from_utf8_lossy(&piece.text)));
                }
                assert_eq!(out, expected);
            } else {
                assert_eq!(lines(input, false), expected);
            }
        }
        assert_eq!(lines(b".\nb\n", true), ["N.", "Nb"]);
    }
}
