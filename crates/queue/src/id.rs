//! Queue IDs: the names of queue files.
//!
//! A short ID is `%05X` of the microseconds followed by the inode number in upper-case hexadecimal; a long ID is
//! seconds and microseconds in base 52, the letter `z`, and the inode number in base 51. An ID tells by itself which
//! form it has: it is long when its last `z` has ten characters or more before it, so no reader depends on
//! `enable_long_queue_ids`.
//!
//! Refused: names that are empty, longer than 255 bytes, or hold anything but letters, digits and `_`
//! ([`InvalidQueueId`]).

use std::borrow::{Borrow, Cow};
use std::fmt::{self, Write};
use std::str::FromStr;

use thiserror::Error;

/// Digits of the long form, value 0 first: no vowels, so that no word can come about by chance.
const DIGITS: &[u8; 52] = b"0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
/// Separates the time from the inode number; base 51 leaves it out.
const INODE_SEPARATOR: u8 = b'z';
/// Least number of base 52 digits of the seconds.
const SECONDS_WIDTH: usize = 6;
/// Exact number of base 52 digits of the microseconds.
const USEC_WIDTH: usize = 4;
/// Hexadecimal digits of the microseconds in a short ID and in the hash key of a long one.
const USEC_HEX_WIDTH: usize = 5;
/// Longest name of a queue file.
const MAX_LENGTH: usize = 255;

/// The name is not a queue ID.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a valid queue ID: {}", String::from_utf8_lossy(.0))]
pub struct InvalidQueueId(pub Vec<u8>);

/// A valid queue ID, short or long.
///
/// ```
/// use queue::QueueId;
/// let short = QueueId::short(301_714, 10_051_922);
/// assert_eq!(short.as_str(), "49A92996152");
/// assert_eq!(short.inode(), Some(10_051_922));
/// let long = QueueId::long(1_795_328_279, 670_742, 10_052_481);
/// assert_eq!(long.as_str(), "4jXJlq4m2tz1SlqS");
/// assert!(long.is_long());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(Box<str>);

impl QueueId {
    /// The ID of the default form, of the microseconds (0..=999999) and the inode number of the file.
    pub fn short(usec: u32, inode: u64) -> Self {
        let mut id = String::with_capacity(24);
        // Writing to a string cannot fail.
        let _ = write!(id, "{usec:05X}{inode:X}");
        Self(id.into_boxed_str())
    }

    /// The ID of the long form (`enable_long_queue_ids = yes`).
    pub fn long(sec: u64, usec: u32, inode: u64) -> Self {
        let mut id = String::with_capacity(24);
        push_digits(&mut id, sec, 52, SECONDS_WIDTH);
        push_digits(&mut id, u64::from(usec), 52, USEC_WIDTH);
        id.push(char::from(INODE_SEPARATOR));
        push_digits(&mut id, inode, 51, 1);
        Self(id.into_boxed_str())
    }

    /// Checks a file name or an attribute value.
    ///
    /// # Errors
    /// When the name is not a valid queue ID.
    pub fn parse(name: &[u8]) -> Result<Self, InvalidQueueId> {
        match std::str::from_utf8(name) {
            Ok(text) if is_valid(name) => Ok(Self(text.into())),
            _ => Err(InvalidQueueId(name.to_vec())),
        }
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the ID has the long form.
    pub fn is_long(&self) -> bool {
        self.separator().is_some()
    }

    /// The inode number that is part of the ID, if one can be decoded.
    pub fn inode(&self) -> Option<u64> {
        let bytes = self.0.as_bytes();
        match self.separator() {
            Some(at) => decode(&bytes[at + 1..], 51),
            None => match bytes.get(USEC_HEX_WIDTH..) {
                Some(hex) if !hex.is_empty() && hex.iter().all(u8::is_ascii_hexdigit) => {
                    u64::from_str_radix(&self.0[USEC_HEX_WIDTH..], 16).ok()
                }
                _ => None,
            },
        }
    }

    /// The microseconds part: five hexadecimal digits for both forms. A long ID that cannot be decoded gives `00000`;
    /// a short ID shorter than that gives what there is.
    pub(crate) fn usec_hex(&self) -> String {
        match self.separator() {
            Some(at) => {
                let usec = decode(&self.0.as_bytes()[at - USEC_WIDTH..at], 52).unwrap_or(0);
                format!("{usec:05X}")
            }
            None => self.0.chars().take(USEC_HEX_WIDTH).collect(),
        }
    }

    /// The short ID with the same microseconds and this inode number.
    #[must_use]
    pub fn short_form(&self, inode: u64) -> Self {
        Self(format!("{}{inode:X}", self.usec_hex()).into_boxed_str())
    }

    /// The ID of the same form and time with this inode number.
    #[must_use]
    pub fn with_inode(&self, inode: u64) -> Self {
        match self.separator() {
            Some(at) => {
                let mut id = self.0[..=at].to_owned();
                push_digits(&mut id, inode, 51, 1);
                Self(id.into_boxed_str())
            }
            None => self.short_form(inode),
        }
    }

    /// The text whose leading characters name the hashed sub-directories.
    pub(crate) fn hash_key(&self) -> Cow<'_, str> {
        if self.is_long() { Cow::Owned(self.usec_hex()) } else { Cow::Borrowed(&self.0) }
    }

    /// Index of the separator of a long ID.
    fn separator(&self) -> Option<usize> {
        let at = self.0.as_bytes().iter().rposition(|&byte| byte == INODE_SEPARATOR)?;
        (at >= SECONDS_WIDTH + USEC_WIDTH).then_some(at)
    }
}

/// Whether the name of a directory entry is a queue ID.
pub fn is_valid(name: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn push_digits(to: &mut String, mut value: u64, base: u64, width: usize) {
    let mut digits = [0u8; 16];
    let mut used = 0;
    while value > 0 || used < width {
        digits[used] = DIGITS[usize::try_from(value % base).unwrap_or(0)];
        value /= base;
        used += 1;
    }
    to.extend(digits[..used].iter().rev().map(|&digit| char::from(digit)));
}

fn decode(text: &[u8], base: u64) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = DIGITS.iter().position(|known| known == byte).and_then(|at| u64::try_from(at).ok())?;
        (digit < base).then_some(())?;
        value.checked_mul(base)?.checked_add(digit)
    })
}

impl FromStr for QueueId {
    type Err = InvalidQueueId;

    fn from_str(text: &str) -> Result<Self, InvalidQueueId> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for QueueId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for QueueId {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Borrow<str> for QueueId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_postfix_encodes() {
        assert_eq!(QueueId::short(301_714, 10_051_922).as_str(), "49A92996152");
        assert_eq!(QueueId::short(0, 1).as_str(), "000001");
        assert_eq!(QueueId::long(1_795_328_279, 670_742, 10_052_481).as_str(), "4jXJlq4m2tz1SlqS");
        assert_eq!(QueueId::long(0, 0, 0).as_str(), "0000000000z0");
    }

    #[test]
    fn both_forms_come_back() {
        for inode in [0u64, 1, 50, 51, 52, 10_052_481, u64::MAX] {
            for (sec, usec) in [(0u64, 0u32), (1, 999_999), (1_795_328_279, 52), (u64::MAX, 5)] {
                let long = QueueId::long(sec, usec, inode);
                assert!(long.is_long(), "{long}");
                assert_eq!(long.inode(), Some(inode), "{long}");
                assert_eq!(long.usec_hex(), format!("{usec:05X}"), "{long}");
                let short = QueueId::short(usec, inode);
                assert!(!short.is_long());
                assert_eq!(short.inode(), Some(inode));
                assert_eq!(short.usec_hex(), format!("{usec:05X}"));
            }
        }
    }

    #[test]
    fn odd_names() {
        for (name, valid) in [
            (&b""[..], false),
            (b"a.1", false),
            (b"AB#FIX", false),
            (b"a_b", true),
            (b"\xff", false),
            (&[b'a'; 255], true),
            (&[b'a'; 256], false),
        ] {
            assert_eq!(QueueId::parse(name).is_ok(), valid, "{name:?}");
        }
        let id = |text: &str| QueueId::parse(text.as_bytes()).expect("valid");
        assert_eq!(id("12345").inode(), None, "no inode part");
        assert_eq!(id("123").usec_hex(), "123");
        assert_eq!(id("0000000000z").inode(), None, "long without inode");
        assert_eq!(id("000000aaaaz0").usec_hex(), "00000", "vowels are no digits");
        assert!(!id("000000000z0").is_long(), "only nine before the separator");
    }
}
