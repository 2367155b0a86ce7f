//! Packets: four bytes of length in network order, a code, data (spec milter 3). The length counts code and data.

use crate::reply;

/// The longest packet that is taken from a filter. Postfix takes up to [`UNREASONABLE`] bytes, and keeps them in memory.
pub const LIMIT: u32 = 16 * 1024 * 1024;
/// What Postfix calls unreasonable.
pub(crate) const UNREASONABLE: u32 = 1_073_741_823;
/// Bytes of a length.
pub const HEADER: usize = 4;

/// A packet from a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub code: u8,
    /// What follows.
    pub data: &'a [u8],
}

/// What is wrong with the length or the data of a packet, as the log tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Length 0.
    Empty,
    /// A length above [`LIMIT`].
    TooLong(u32),
    /// No four bytes are left for a number.
    ShortNumber,
    /// Nothing is left for a string.
    ShortString,
    /// A string without its NUL.
    Unterminated,
    /// Bytes behind the last item.
    LeftOver(usize),
}

impl Malformed {
    /// The line in the log about the filter of this name.
    #[must_use]
    pub fn text(self, milter: &str) -> String {
        match self {
            Self::Empty => format!("milter {milter}: bad packet length: 0"),
            Self::TooLong(length) => {
                // Postfix's own limit where that is exceeded, ours below it.
                let limit = if length > UNREASONABLE { UNREASONABLE } else { LIMIT };
                format!("milter {milter}: unreasonable packet length: {length} > {limit}")
            }
            Self::ShortNumber => format!("milter {milter}: input packet too short for network long"),
            Self::ShortString => format!("milter {milter}: packet too short for string"),
            // The last word is spelled as in Postfix.
            Self::Unterminated => {
                format!("milter8_read_data: milter {milter}: missing string null termimator")
            }
            Self::LeftOver(bytes) => format!("milter8_read_data: left-over data {bytes} bytes"),
        }
    }
}

/// Reads the length at the head of a packet.
///
/// # Errors
/// It is 0 or above [`LIMIT`].
pub fn length(header: [u8; HEADER]) -> Result<usize, Malformed> {
    match u32::from_be_bytes(header) {
        0 => Err(Malformed::Empty),
        length if length > LIMIT => Err(Malformed::TooLong(length)),
        length => Ok(length as usize),
    }
}

/// Appends a packet.
pub fn write(out: &mut Vec<u8>, code: u8, data: &[u8]) {
    let length = u32::try_from(data.len() + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(code);
    out.extend_from_slice(data);
}

/// Appends a string and its NUL; it ends before the first NUL of its own.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text.split(|&byte| byte == 0).next().unwrap_or_default());
    out.push(0);
}

/// Takes the items of a packet's data one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// Of this data.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// A number of four bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn number(&mut self) -> Result<u32, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed::ShortNumber)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A string.
    ///
    /// # Errors
    /// Nothing is left, or no NUL is in it.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        if self.0.is_empty() {
            return Err(Malformed::ShortString);
        }
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Malformed::Unterminated)?;
        let (string, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Ok(string)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::LeftOver(self.0.len())) }
    }
}

/// What the log says a connection ended in when so many bytes of a packet's data had come.
#[must_use]
pub(crate) fn lost_in(milter: &str, code: u8, got: usize, reason: &str) -> String {
    let item = match code {
        reply::INSHEADER | reply::CHGHEADER if got < 4 => "network long",
        // Version, actions, steps, the first list of macros.
        reply::OPTNEG if got < 16 => "network long",
        reply::REPLBODY | reply::QUARANTINE | reply::REPLYCODE => "data",
        _ => return format!("milter8_read_data: milter {milter}: EOF while reading string: {reason}"),
    };
    format!("milter {milter}: EOF while reading {item}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::{Items, Malformed, UNREASONABLE, length, push_string, write};

    #[test]
    fn packets() {
        let mut out = Vec::new();
        write(&mut out, b'c', b"");
        let mut data = Vec::new();
        push_string(&mut data, b"a\0b");
        write(&mut out, b'H', &data);
        assert_eq!(out, b"\0\0\0\x01c\0\0\0\x03Ha\0");
        assert_eq!(length([0, 0, 0, 3]), Ok(3));
        assert_eq!(length([0; 4]), Err(Malformed::Empty));
        let long = length([0x7f, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(
            long.text("inet:x:1"),
            format!("milter inet:x:1: unreasonable packet length: 2147483647 > {UNREASONABLE}")
        );
    }

    #[test]
    fn items() {
        let mut items = Items::new(b"\0\0\x01\x02name\0\0x");
        assert_eq!(items.number(), Ok(0x102));
        assert_eq!(items.string(), Ok(&b"name"[..]));
        assert_eq!(items.string(), Ok(&b""[..]));
        assert_eq!(items.end(), Err(Malformed::LeftOver(1)));
        assert_eq!(items.string(), Err(Malformed::Unterminated));
        assert_eq!(items.number(), Err(Malformed::ShortNumber));
        assert_eq!(Items::new(b"").string(), Err(Malformed::ShortString));
    }
}
