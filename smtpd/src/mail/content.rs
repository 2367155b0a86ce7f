//! Pieces of content.

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
