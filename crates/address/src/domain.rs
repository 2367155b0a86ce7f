//! Host and domain names by Postfix's rules (spec main-cf 7.1, trivial-rewrite 7).

use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Longest label, in bytes.
const LABEL_LIMIT: usize = 63;
/// Longest name, in bytes.
const NAME_LIMIT: usize = 255;
/// Bytes of a name that a warning shows.
const SHOWN: usize = 100;

/// A name that passed [`DomainName::check`], in the spelling received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DomainName(Vec<u8>);

/// Why a name is no host name; `Display` is the text of Postfix's warning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainNameError {
    /// No name at all.
    #[error("valid_hostname: empty hostname")]
    Empty,
    /// A label of more than 63 bytes.
    #[error("valid_hostname: hostname label too long: {0}")]
    LabelTooLong(String),
    /// A leading, trailing or doubled dot.
    #[error("valid_hostname: misplaced delimiter: {0}")]
    MisplacedDelimiter(String),
    /// A hyphen at the start or end of a label.
    #[error("valid_hostname: misplaced hyphen: {0}")]
    MisplacedHyphen(String),
    /// Something that is no letter, digit, hyphen, underscore or dot.
    #[error("valid_hostname: invalid character {0}(decimal): {1}")]
    InvalidCharacter(u8, String),
    /// Digits and dots only.
    #[error("valid_hostname: numeric hostname: {0}")]
    Numeric(String),
    /// More than 255 bytes.
    #[error("valid_hostname: bad length {0} for {1}...")]
    TooLong(usize, String),
    /// Non-ASCII, and not a valid international domain name.
    #[error("midna_domain_to_ascii_create: Problem translating domain \"{0}\" to ASCII form: {1}")]
    Unconvertible(String, &'static str),
    /// ASCII, and not what any international domain name is written as.
    #[error("midna_domain_to_utf8_create: Problem translating domain \"{0}\" to UTF8 form: {1}")]
    NotShown(String, &'static str),
}

impl DomainName {
    /// Takes a name that is valid in ASCII.
    pub fn parse(name: &[u8]) -> Result<DomainName, DomainNameError> {
        DomainName::check(name).map(|()| DomainName(name.to_vec()))
    }

    /// Whether `name` is a valid host name; underscores are permitted, as in Postfix.
    pub fn check(name: &[u8]) -> Result<(), DomainNameError> {
        let shown = || String::from_utf8_lossy(&name[..name.len().min(SHOWN)]).into_owned();
        if name.is_empty() {
            return Err(DomainNameError::Empty);
        }
        let mut label = 0;
        let mut numeric = true;
        for (at, &byte) in name.iter().enumerate() {
            let next = name.get(at + 1).copied();
            match byte {
                b'.' => {
                    if label == 0 || next.is_none() {
                        return Err(DomainNameError::MisplacedDelimiter(shown()));
                    }
                    label = 0;
                    continue;
                }
                b'-' => {
                    numeric = false;
                    if label == 0 || matches!(next, None | Some(b'.')) {
                        return Err(DomainNameError::MisplacedHyphen(shown()));
                    }
                }
                b'0'..=b'9' => {}
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => numeric = false,
                _ => return Err(DomainNameError::InvalidCharacter(byte, shown())),
            }
            label += 1;
            if label > LABEL_LIMIT {
                return Err(DomainNameError::LabelTooLong(shown()));
            }
        }
        if numeric {
            return Err(DomainNameError::Numeric(shown()));
        }
        if name.len() > NAME_LIMIT {
            return Err(DomainNameError::TooLong(name.len(), shown()));
        }
        Ok(())
    }

    /// As [`DomainName::check`], for a name that may be in Unicode: it must convert to a valid ASCII name.
    pub fn check_international(name: &[u8]) -> Result<(), DomainNameError> {
        DomainName::check(&DomainName::to_ascii(name)?)
    }

    /// The ASCII form of a name in Unicode (UTS 46); an ASCII name stays as it is.
    pub fn to_ascii(name: &[u8]) -> Result<Vec<u8>, DomainNameError> {
        if name.is_ascii() {
            return Ok(name.to_vec());
        }
        // ICU looks for empty labels before anything else; the one behind a last dot is none.
        if name.strip_suffix(b".").unwrap_or(name).split(|c| *c == b'.').any(<[u8]>::is_empty) {
            return Err(unconvertible(name));
        }
        // What is wrong with an ASCII label is for `check` to say, but for what no name can have.
        let converted = Uts46::new().to_ascii(name, AsciiDenyList::EMPTY, Hyphens::Check, DnsLength::Ignore);
        match converted {
            Ok(name)
                if !name
                    .bytes()
                    .any(|c| c != b'_' && c != b'.' && c != b'-' && !c.is_ascii_alphanumeric()) =>
            {
                Ok(name.into_owned().into_bytes())
            }
            _ => Err(unconvertible(name)),
        }
    }

    /// The form of a name in Unicode, as people read it; a name that is in Unicode stays as it is.
    pub fn to_utf8(name: &[u8]) -> Result<Vec<u8>, DomainNameError> {
        if !name.is_ascii() {
            return Ok(name.to_vec());
        }
        let shown = || String::from_utf8_lossy(&name[..name.len().min(SHOWN)]).into_owned();
        if name.is_empty()
            || name.strip_suffix(b".").unwrap_or(name).split(|c| *c == b'.').any(<[u8]>::is_empty)
        {
            return Err(DomainNameError::NotShown(shown(), "UIDNA_ERROR_EMPTY_LABEL"));
        }
        if name.iter().any(|c| !matches!(c, b'_' | b'.' | b'-') && !c.is_ascii_alphanumeric()) {
            return Err(DomainNameError::Unconvertible(shown(), "malformed ASCII label(s)"));
        }
        let (converted, outcome) = Uts46::new().to_unicode(name, AsciiDenyList::EMPTY, Hyphens::Check);
        match outcome {
            Ok(()) => Ok(converted.into_owned().into_bytes()),
            Err(_) => Err(DomainNameError::NotShown(shown(), "UIDNA_ERROR_INVALID_ACE_LABEL")),
        }
    }

    /// The name as received.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

fn unconvertible(name: &[u8]) -> DomainNameError {
    let shown = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]).into_owned();
    DomainNameError::Unconvertible(shown, conversion_fault(name))
}

/// What the ICU library, which Postfix uses, would say of a name that does not convert; the commonest causes.
fn conversion_fault(name: &[u8]) -> &'static str {
    let labels = || name.split(|c| *c == b'.');
    if labels().any(<[u8]>::is_empty) {
        "UIDNA_ERROR_EMPTY_LABEL"
    } else if labels().any(|label| label.starts_with(b"-")) {
        "UIDNA_ERROR_LEADING_HYPHEN"
    } else if labels().any(|label| label.ends_with(b"-")) {
        "UIDNA_ERROR_TRAILING_HYPHEN"
    } else if labels().any(|label| label.get(2..4) == Some(b"--")) {
        "UIDNA_ERROR_HYPHEN_3_4"
    } else {
        "malformed ASCII label(s)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for (name, expected) in [
            ("mail.example.com", ""),
            ("b_c.d", ""),
            ("1.2.x", ""),
            ("", "empty hostname"),
            (&long, &format!("hostname label too long: {long}")),
            ("a..b", "misplaced delimiter: a..b"),
            ("a.", "misplaced delimiter: a."),
            (".a", "misplaced delimiter: .a"),
            ("-a.b", "misplaced hyphen: -a.b"),
            ("a.b-", "misplaced hyphen: a.b-"),
            ("a:25", "invalid character 58(decimal): a:25"),
            ("1.2.3", "numeric hostname: 1.2.3"),
        ] {
            let found = DomainName::check(name.as_bytes())
                .map_or_else(|e| e.to_string().replace("valid_hostname: ", ""), |()| String::new());
            assert_eq!(found, expected);
        }
        let name = vec![b"abcdefgh.".as_slice(); 40].concat();
        assert_eq!(
            DomainName::check(&name[..name.len() - 1]),
            Err(DomainNameError::TooLong(359, String::from_utf8_lossy(&name[..100]).into_owned()))
        );
    }

    #[test]
    fn international_names() {
        assert_eq!(DomainName::to_ascii("b\u{fc}cher.example".as_bytes()).unwrap(), b"xn--bcher-kva.example");
        assert!(DomainName::check_international(b"\xff.example").is_err());
        for (name, error) in [
            (".\u{e4}.test", "UIDNA_ERROR_EMPTY_LABEL"),
            ("\u{e4}.test..", "UIDNA_ERROR_EMPTY_LABEL"),
            ("\u{e4}..test", "UIDNA_ERROR_EMPTY_LABEL"),
        ] {
            let found = DomainName::to_ascii(name.as_bytes());
            assert_eq!(found, Err(DomainNameError::Unconvertible(name.to_owned(), error)));
        }
        assert_eq!(DomainName::to_ascii("\u{e4}.test.".as_bytes()).unwrap(), b"xn--4ca.test.");
    }
}
