//! Headers and MIME structure as a stream: no whole message in memory.
//!
//! A message is a sequence of text records, each a whole line or a piece of one ([`Text`]). [`mime::Structure`]
//! takes them one by one and tells a [`mime::Sink`] what they are: logical headers (folded lines joined),
//! the end of the primary header, body text, MIME errors. It keeps one header, the open boundaries and
//! nothing else, each with a bound.
//!
//! [`header`] knows the header names that mail handling treats specially, [`content_type`] reads the two
//! MIME headers that decide about structure, [`phrase`] writes a full name, [`quoted_printable`] a body that must
//! have no 8-bit bytes.
//!
//! Source: spec cleanup 8, 10, 12; RFC 5322, RFC 2045, RFC 2046.
//!
//! ```
//! use message::header;
//!
//! assert_eq!(header::name_length(b"To : joe"), Some(2));
//! assert_eq!(header::known(b"to").map(|known| known.name), Some("To"));
//! assert_eq!(header::name_length(b"no header"), None);
//! ```

#![forbid(unsafe_code)]

mod content_type;
pub mod encoded_words;
pub mod header;
pub mod mime;
pub mod phrase;
mod quoted_printable;

/// How a text record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The end of a line (`N`).
    Line,
    /// The next record continues the line (`L`).
    Partial,
}

/// True when a byte is outside ASCII.
pub(crate) fn has_8bit(text: &[u8]) -> bool {
    !text.is_ascii()
}
