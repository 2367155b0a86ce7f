//! Encoded words (RFC 2047) of generated headers, chosen and cut as Postfix 3.10 does (observed, 3.10.3).
//!
//! A word has at most 75 characters. Text is cut into words by bytes, not by characters, but an escape is never cut. Short
//! text, and text with few bytes that need an escape, is in the encoding `Q`, other text in `B`.

use base64::prelude::{BASE64_STANDARD, Engine};

/// Longest encoded word.
const WORD: usize = 75;
/// Text with fewer bytes is always in `Q`.
const SHORT: usize = 20;
/// What stands around the text, without the character set: `=?` `?Q?` `?=`.
const FRAME: usize = 7;

/// Where the words stand: what must be escaped there differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a phrase, before an address in angle brackets.
    Phrase,
    /// In a comment.
    Comment,
}

impl Place {
    /// Whether a byte stands for itself.
    fn is_plain(self, byte: u8) -> bool {
        match self {
            Place::Phrase => byte.is_ascii_alphanumeric() || b"!*+/-".contains(&byte),
            Place::Comment => byte.is_ascii_graphic() && !b"=?_()\\".contains(&byte),
        }
    }
}

/// The text on one line: control characters and blanks, however many, become one blank, and none at either end.
#[must_use]
pub fn one_line(text: &[u8]) -> Vec<u8> {
    let is_blank = |byte: &u8| *byte == b' ' || byte.is_ascii_control();
    let words: Vec<&[u8]> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

/// The text as encoded words.
#[must_use]
pub fn encoded_words(charset: &str, text: &[u8], place: Place) -> Vec<Vec<u8>> {
    let special = text.iter().filter(|byte| !place.is_plain(**byte)).count();
    let room = WORD.saturating_sub(FRAME + charset.len());
    let (encoding, pieces) = if text.len() >= SHORT && special >= text.len() / 2 {
        let bytes = (room / 4 * 3).max(3);
        ('B', text.chunks(bytes).map(|piece| BASE64_STANDARD.encode(piece).into_bytes()).collect())
    } else {
        ('Q', quoted(text, room, place))
    };
    let word = |piece: Vec<u8>| [format!("=?{charset}?{encoding}?").as_bytes(), &piece, b"?="].concat();
    pieces.into_iter().map(word).collect()
}

fn quoted(text: &[u8], room: usize, place: Place) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    for byte in text {
        let escape = match byte {
            b' ' => vec![b'_'],
            byte if place.is_plain(*byte) => vec![*byte],
            byte => format!("={byte:02X}").into_bytes(),
        };
        if pieces.last().is_some_and(|piece: &Vec<u8>| !piece.is_empty() && piece.len() + escape.len() > room)
        {
            pieces.push(Vec::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.extend(escape);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::{Place, encoded_words, one_line};

    fn words(text: &str, place: Place) -> String {
        let words = encoded_words("utf-8", text.as_bytes(), place);
        String::from_utf8(words.join(&b'|')).unwrap()
    }

    #[test]
    fn as_observed() {
        for (text, expected) in [
            ("J\u{f6}rg M\u{fc}ller", "=?utf-8?Q?J=C3=B6rg_M=C3=BCller?="),
            ("a\u{e9},.:;<>@[]", "=?utf-8?Q?a=C3=A9=2C=2E=3A=3B=3C=3E=40=5B=5D?="),
            (&"\u{e9}".repeat(9), "=?utf-8?Q?=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9?="),
            (&"\u{e9}".repeat(10), "=?utf-8?B?w6nDqcOpw6nDqcOpw6nDqcOpw6k=?="),
            (
                &"\u{e9}".repeat(24),
                "=?utf-8?B?w6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nDqcOpw6nD?=|=?utf-8?B?qcOp?=",
            ),
        ] {
            assert_eq!(words(text, Place::Phrase), expected, "{text}");
        }
        assert_eq!(words("\u{e9}\"b\\c(", Place::Comment), "=?utf-8?Q?=C3=A9\"b=5Cc=28?=");
    }

    #[test]
    fn lines() {
        for (text, expected) in [("a\x01b", "a b"), (" a \t b ", "a b"), ("\x7f", ""), ("", "")] {
            assert_eq!(one_line(text.as_bytes()), expected.as_bytes(), "{text:?}");
        }
    }
}
