//! Attribute lists: the sequences of named values that all internal protocols are made of.
//!
//! Two encodings exist on the wire. The *null* encoding ends each name and each value with a NUL byte and
//! the list with an empty name; the *plain* encoding writes `name=value` lines and ends with an empty line.
//! [`Encoder`] collects one list and writes it in one piece; [`Decoder`] reads one list in the order that
//! the caller asks for, under the reader rules [`Flags`].
//!
//! A decoder takes no byte beyond the list's terminator out of the `BufRead` that it is given. Where nobody may wait,
//! [`Arriving`] gathers a list first, as its pieces come.
//!
//! ```
//! use ipc::attr::{Decoder, Encoder, Flags};
//! let mut wire = Vec::new();
//! Encoder::null().string("address", b"joe@example.com").int("status", -1).send(&mut wire).unwrap();
//! assert_eq!(wire, b"address\0joe@example.com\0status\04294967295\0\0");
//!
//! let mut input = wire.as_slice();
//! let mut list = Decoder::null(&mut input, "rewrite socket", Flags::STRICT);
//! assert_eq!(list.string("address").unwrap(), b"joe@example.com");
//! assert_eq!(list.int("status").unwrap(), -1);
//! list.end().unwrap();
//! ```
//!
//! What it refuses, each with the warning that Postfix logs: lists that end early, attributes out of order
//! under [`Flags::EXTRA`], malformed numbers and base64, more than [`HASH_LIMIT`] entries in a table, and
//! names or values longer than [`VALUE_LIMIT`]. Source: spec ipc 2.

mod arriving;
mod decoder;
mod encoder;
mod error;
mod number;

pub use arriving::{Arriving, LIST_LIMIT};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{Context, Error};

/// Longest name or value that a decoder takes in, in bytes.
///
/// Postfix has no such bound (spec ipc 2.1); certificates and showq reasons get long, so ours is far above
/// anything that is sent, and only keeps a runaway peer from filling the memory.
pub const VALUE_LIMIT: usize = 16 * 1024 * 1024;

/// Most entries in one table attribute (spec ipc 2.2, rule 7).
pub(crate) const HASH_LIMIT: usize = 1024;

/// How a list is written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Names and values that end with NUL: nearly all services.
    Null,
    /// `name=value` lines: anvil and policy delegation.
    Plain,
}

bitflags::bitflags! {
    /// Reader rules (spec ipc 2.2). MORE is not among them: a reader that wants to leave the rest of a list
    /// unread does not call [`Decoder::end`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// A list that ends early is worth a warning.
        const MISSING = 1;
        /// An attribute that is not the next wanted one is an error.
        const EXTRA = 2;
        /// Non-printable bytes of received strings become `?`.
        const PRINTABLE = 8;
        /// [`Flags::MISSING`] and [`Flags::EXTRA`]: what requests and most replies are read with.
        const STRICT = 3;
    }
}

impl Flags {
    /// Unknown attributes are skipped; a list that ends early is not worth a warning.
    pub const NONE: Self = Self::empty();
}

/// One entry of a table attribute: name and value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Entry for fuzzing: decodes `input` as a list of every kind of value under both encodings.
///
/// Never panics, whatever the bytes.
pub fn decode_any(input: &[u8]) {
    for encoding in [Encoding::Null, Encoding::Plain] {
        for flags in [Flags::NONE, Flags::STRICT, Flags::PRINTABLE] {
            let mut rest = input;
            let mut list = Decoder::new(encoding, &mut rest, "fuzz", flags);
            let _ = list.string("s");
            let _ = list.int("i");
            let _ = list.long("l");
            let _ = list.data("d");
            let _ = list.boolean("b");
            let _ = list.hash();
            let _ = list.pairs();
            let _ = list.end();
        }
    }
}
