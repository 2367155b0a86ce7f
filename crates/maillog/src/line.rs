//! The text of one line: severity, the bytes that may be shown, the length limit (spec master 4.1).

use std::fmt;

/// Bytes of a message that are logged; the rest is cut off.
pub const MESSAGE_LIMIT: usize = 2000;

/// Bytes of a whole line: what postlogd takes. A message leaves room for a name of any usual length.
pub(crate) const LINE_LIMIT: usize = 4096;

/// No more room than this is kept for the next line.
pub(crate) const KEPT_LENGTH: usize = 4096;

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No prefix.
    Info,
    /// `warning: `
    Warning,
    /// `error: `
    Error,
    /// `fatal: `
    Fatal,
    /// `panic: `
    Panic,
}

impl Severity {
    /// The prefix of the line, with its colon and blank.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Info => "",
            Self::Warning => "warning: ",
            Self::Error => "error: ",
            Self::Fatal => "fatal: ",
            Self::Panic => "panic: ",
        }
    }

    /// Takes a text with a prefix apart.
    #[must_use]
    pub fn split(text: &[u8]) -> (Self, &[u8]) {
        [Self::Warning, Self::Error, Self::Fatal, Self::Panic]
            .into_iter()
            .find_map(|severity| Some((severity, text.strip_prefix(severity.prefix().as_bytes())?)))
            .unwrap_or((Self::Info, text))
    }

    /// The word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::Panic => "panic",
        }
    }
}

/// Which bytes above 127 may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    /// None: `smtputf8_enable = no`.
    Ascii,
    /// Those of valid UTF-8.
    Utf8,
}

/// Appends `text` with every byte that must not be shown replaced by `?`, cut to [`MESSAGE_LIMIT`] bytes.
pub(crate) fn printable(text: &[u8], charset: Charset, out: &mut Vec<u8>) {
    let begun = out.len();
    all_printable(text.get(..4 * MESSAGE_LIMIT).unwrap_or(text), charset, out);
    out.truncate(begun + MESSAGE_LIMIT);
}

/// As [`printable`], whole.
pub(crate) fn all_printable(text: &[u8], charset: Charset, out: &mut Vec<u8>) {
    // As nearly all are.
    if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).as_bytes();
            match (c.is_ascii(), charset) {
                (true, _) if c.is_ascii_graphic() || c == ' ' => out.extend_from_slice(bytes),
                (true, _) => out.push(b'?'),
                (false, Charset::Utf8) => out.extend_from_slice(bytes),
                (false, Charset::Ascii) => out.resize(out.len() + bytes.len(), b'?'),
            }
        }
        out.resize(out.len() + chunk.invalid().len(), b'?');
    }
}

/// Bytes of a peer or file as they appear in a line: see [`shown`].
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(&'a [u8]);

/// Bytes for a log line: one `?` for each control character and each byte that is not part of valid UTF-8.
#[must_use]
pub fn shown(bytes: &[u8]) -> Shown<'_> {
    Shown(bytes)
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for part in chunk.valid().split_inclusive(|c: char| c.is_ascii_control()) {
                match part.as_bytes().split_last() {
                    Some((last, _)) if last.is_ascii_control() => {
                        out.write_str(&part[..part.len() - 1])?;
                        out.write_str("?")?;
                    }
                    _ => out.write_str(part)?,
                }
            }
            for _ in chunk.invalid() {
                out.write_str("?")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_printable(text: &[u8], charset: Charset) -> Vec<u8> {
        let mut out = b"before".to_vec();
        printable(text, charset, &mut out);
        out.split_off(6)
    }

    #[test]
    fn what_may_be_shown() {
        let table: &[(&[u8], &str, &str)] = &[
            (b"plain text", "plain text", "plain text"),
            (b"a\tb\nc\x7f\0", "a?b?c??", "a?b?c??"),
            ("ü€".as_bytes(), "ü€", "?????"),
            (b"\xff\xc3", "??", "??"),
            (b"\xe2\x82x", "??x", "??x"),
        ];
        for (input, utf8, ascii) in table {
            assert_eq!(made_printable(input, Charset::Utf8), utf8.as_bytes(), "{input:?}");
            assert_eq!(made_printable(input, Charset::Ascii), ascii.as_bytes(), "{input:?}");
            assert_eq!(shown(input).to_string(), *utf8, "{input:?}");
        }
    }

    #[test]
    fn a_message_is_cut() {
        assert_eq!(made_printable(&[b'x'; 5000], Charset::Utf8).len(), MESSAGE_LIMIT);
        assert_eq!(made_printable(&[0xff; 5000], Charset::Utf8).len(), MESSAGE_LIMIT);
    }
}
