//! Reply codes (RFC 5321 section 4.2) and enhanced status codes (RFC 3463).

use std::fmt;

/// A three-digit reply code whose first digit is 2, 3, 4 or 5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// A code from its number; `None` outside 200..=599.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// The code at the start of a reply line: three digits, then the end, a space or `-`.
    #[must_use]
    pub(crate) fn of_line(line: &[u8]) -> Option<Self> {
        let digits = line.get(..3)?;
        if !digits.iter().all(u8::is_ascii_digit) || !matches!(line.get(3), None | Some(b' ' | b'-')) {
            return None;
        }
        Self::new(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The first digit.
    #[must_use]
    pub const fn class(self) -> u16 {
        self.0 / 100
    }

    /// Second and third digit are 21: the sender of this reply closes the connection (421, 521, 221).
    #[must_use]
    pub const fn closes(self) -> bool {
        self.0 % 100 == 21
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// An enhanced status code `class.subject.detail`, class 2, 4 or 5.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EnhancedStatus {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedStatus {
    /// A status from its numbers; `None` unless class is 2, 4 or 5 and the others have at most three digits.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        if matches!(class, 2 | 4 | 5) && subject <= 999 && detail <= 999 {
            Some(Self { class, subject, detail })
        } else {
            None
        }
    }

    /// The status at the start of `text` and the number of bytes it takes. It ends at white space or the end.
    #[must_use]
    pub fn prefix(text: &[u8]) -> Option<(Self, usize)> {
        let len = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let mut parts = text[..len].split(|&byte| byte == b'.');
        let class = number(parts.next()?, 1)?;
        let subject = number(parts.next()?, 3)?;
        let detail = number(parts.next()?, 3)?;
        if parts.next().is_some() {
            return None;
        }
        Some((Self::new(u8::try_from(class).ok()?, subject, detail)?, len))
    }

    /// The first number: 2, 4 or 5.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.class
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

fn number(digits: &[u8], most: usize) -> Option<u16> {
    if digits.is_empty() || digits.len() > most || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_line() {
        for (line, code) in [
            (&b"250 ok"[..], Some(250)),
            (b"250-ok", Some(250)),
            (b"250", Some(250)),
            (b"250x", None),
            (b"25 ok", None),
            (b"199 no", None),
            (b"999 no", None),
            (b"", None),
        ] {
            assert_eq!(ReplyCode::of_line(line).map(ReplyCode::get), code, "{line:?}");
        }
        assert!(ReplyCode::new(421).unwrap().closes());
        assert!(!ReplyCode::new(450).unwrap().closes());
    }

    #[test]
    fn status_prefix() {
        for (text, status) in [
            (&b"5.7.1 no"[..], Some("5.7.1")),
            (b"2.0.0", Some("2.0.0")),
            (b"4.999.999\t", Some("4.999.999")),
            (b"3.0.0 x", None),
            (b"5.7", None),
            (b"5.7.1.2", None),
            (b"5.7.1000", None),
            (b"5..1", None),
            (b"", None),
        ] {
            assert_eq!(
                EnhancedStatus::prefix(text).map(|(s, _)| s.to_string()).as_deref(),
                status,
                "{text:?}"
            );
        }
    }
}
