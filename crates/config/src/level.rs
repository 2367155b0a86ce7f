//! `compatibility_level`: `major`, `major.minor` or `major.minor.patch`, compared part by part.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::error::printable;
use crate::value;

/// A compatibility level; missing parts are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CompatibilityLevel {
    major: i64,
    minor: i64,
    patch: i64,
}

/// The newest level of the Postfix version that Postern follows.
pub const NEWEST: CompatibilityLevel = CompatibilityLevel { major: 3, minor: 6, patch: 0 };

/// Text that is not a level.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed compatibility level syntax: \"{0}\"")]
pub struct Malformed(String);

impl CompatibilityLevel {
    const GREATEST_MINOR: i64 = 1023;

    /// A level with these parts.
    pub const fn new(major: i64, minor: i64) -> Self {
        Self { major, minor, patch: 0 }
    }

    /// Reads a level.
    ///
    /// # Errors
    /// When the text is something else; minor and patch are at most 1023.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        Self::from_bytes(text).ok_or_else(|| Malformed(printable(text)))
    }

    fn from_bytes(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'.').map(number);
        let major = parts.next()??;
        let [minor, patch] = [parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?];
        let fits = minor <= Self::GREATEST_MINOR && patch <= Self::GREATEST_MINOR;
        (fits && parts.next().is_none()).then_some(Self { major, minor, patch })
    }
}

/// White space and `+` before the digits are accepted (observed with 3.7).
fn number(text: &[u8]) -> Option<i64> {
    value::long(text).filter(|number| *number >= 0)
}

impl FromStr for CompatibilityLevel {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for CompatibilityLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.major)?;
        if self.minor != 0 || self.patch != 0 {
            write!(f, ".{}", self.minor)?;
        }
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let cases = [
            ("0", Some((0, 0, 0))),
            ("3.6", Some((3, 6, 0))),
            ("3.10.1", Some((3, 10, 1))),
            ("3.1023", Some((3, 1023, 0))),
            ("3.1024", None),
            ("3.6.1.1", None),
            ("3.", None),
            (".3", None),
            ("", None),
            ("3x", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("1. +2", Some((1, 2, 0))),
            ("1.-2", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(major, minor, patch)| CompatibilityLevel { major, minor, patch });
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        assert!(CompatibilityLevel::new(3, 10) > CompatibilityLevel::new(3, 6));
        assert_eq!(NEWEST.to_string(), "3.6");
    }
}
