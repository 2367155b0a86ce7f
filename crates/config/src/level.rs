//! `compatibility_level`: `major`, `major.minor` or `major.minor.patch`, compared part by part.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::error::printable;

/// A compatibility level; missing parts are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CompatibilityLevel {
    major: u32,
    minor: u32,
    patch: u32,
}

/// The newest level of the Postfix version that Postern follows.
pub const NEWEST: CompatibilityLevel = CompatibilityLevel { major: 3, minor: 6, patch: 0 };

/// Text that is not a level.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed compatibility level syntax: \"{0}\"")]
pub struct Malformed(String);

impl CompatibilityLevel {
    const GREATEST_MINOR: u32 = 1023;

    /// A level with these parts.
    pub const fn new(major: u32, minor: u32) -> Self {
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
        let text = crate::logical_lines::trim_start(text);
        let mut parts = text.split(|byte| *byte == b'.').map(number);
        let major = parts.next()??;
        let [minor, patch] = [parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?];
        let fits = minor <= Self::GREATEST_MINOR && patch <= Self::GREATEST_MINOR;
        (fits && parts.next().is_none()).then_some(Self { major, minor, patch })
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
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
            ("99999999999", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(major, minor, patch)| CompatibilityLevel { major, minor, patch });
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        assert!(CompatibilityLevel::new(3, 10) > CompatibilityLevel::new(3, 6));
        assert_eq!(NEWEST.to_string(), "3.6");
    }
}
