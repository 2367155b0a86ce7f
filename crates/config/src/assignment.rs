//! `name = value`, as lines of main.cf and `-o` options have it.
//!
//! ```
//! let line = config::Assignment::parse(b" mail_name =  My Mail ").unwrap();
//! assert_eq!((line.name, line.value), (&b"mail_name"[..], &b"My Mail"[..]));
//! ```
//!
//! The name runs to white space or `=`; any other byte is accepted in it. White space around name
//! and value is dropped; the value may be empty.

use thiserror::Error;

use crate::logical_lines::{is_space, trim, trim_start};

/// A name and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The name; never empty.
    pub name: &'a [u8],
    /// The value; may be empty.
    pub value: &'a [u8],
}

/// Text that is not `name = value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The text is blank or starts with `=`.
    #[error("missing attribute name")]
    Name,
    /// Something else than `=` comes after the name.
    #[error("missing '=' after attribute name")]
    Equals,
}

impl<'a> Assignment<'a> {
    /// Splits `text`.
    ///
    /// # Errors
    /// When the name or the `=` is missing.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let text = trim_start(text);
        let end = text.iter().position(|b| is_space(*b) || *b == b'=').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if name.is_empty() {
            return Err(Malformed::Name);
        }
        match trim_start(rest).strip_prefix(b"=") {
            Some(value) => Ok(Self { name, value: trim(value) }),
            None => Err(Malformed::Equals),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        type Outcome = Result<(&'static str, &'static str), Malformed>;
        let cases: &[(&str, Outcome)] = &[
            ("a=b", Ok(("a", "b"))),
            (" a \t= b = c \r", Ok(("a", "b = c"))),
            ("a=", Ok(("a", ""))),
            ("a==", Ok(("a", "="))),
            ("a b = c", Err(Malformed::Equals)),
            ("foo", Err(Malformed::Equals)),
            ("= bar", Err(Malformed::Name)),
            ("", Err(Malformed::Name)),
            ("  ", Err(Malformed::Name)),
        ];
        for (input, expected) in cases {
            let expected = expected.map(|(n, v)| Assignment { name: n.as_bytes(), value: v.as_bytes() });
            assert_eq!(Assignment::parse(input.as_bytes()), expected, "{input:?}");
        }
    }
}
