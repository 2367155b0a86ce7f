//! Pieces of content, and what they become in a queue file.

use queue::RecordType;

/// How leading dots stand in a line of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dots {
    /// As received after DATA: a dot of the content stands doubled.
    Stuffed,
    /// As received in a BDAT chunk, or made by us.
    Plain,
}

/// Whether a piece of content ends its line. Lines longer than `line_length_limit` come in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The end of the line (or the whole of it).
    Last,
    /// More of the same line follows.
    More,
}

/// Whether the content arrived as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Complete: it may be accepted.
    Good,
    /// Too big, or refused by us: nobody may take it for a message.
    Bad,
}

/// Makes records of pieces of lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The next piece goes on with a line.
    within: bool,
}

impl Lines {
    /// The record for a piece; a dot that was stuffed is taken off.
    pub(crate) fn record<'b>(&mut self, bytes: &'b [u8], dots: Dots, piece: Piece) -> (RecordType, &'b [u8]) {
        let bytes = match dots {
            Dots::Stuffed if !self.within => bytes.strip_prefix(b".").unwrap_or(bytes),
            _ => bytes,
        };
        self.within = piece == Piece::More;
        match piece {
            Piece::Last => (RecordType::NORM, bytes),
            Piece::More => (RecordType::CONT, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dot_is_taken_off_where_a_line_begins() {
        let mut lines = Lines::default();
        for (bytes, dots, piece, kind, expected) in [
            ("..a", Dots::Stuffed, Piece::More, RecordType::CONT, ".a"),
            ("..b", Dots::Stuffed, Piece::Last, RecordType::NORM, "..b"),
            (".c", Dots::Plain, Piece::Last, RecordType::NORM, ".c"),
            (".d", Dots::Stuffed, Piece::Last, RecordType::NORM, "d"),
        ] {
            let record = lines.record(bytes.as_bytes(), dots, piece);
            assert_eq!(record, (kind, expected.as_bytes()), "{bytes}");
        }
    }
}
