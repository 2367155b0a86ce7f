//! Values that are lists: words between commas and white space, and `{ groups }`.
//!
//! What the words mean (patterns, tables, networks) is the `lookup` crate's business.

use thiserror::Error;

use crate::logical_lines::trim;

/// What separates words.
pub(crate) const SEPARATORS: &[u8] = b", \t\r\n";

/// The words of a list without groups; empty ones vanish.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| SEPARATORS.contains(byte)).filter(|word| !word.is_empty())
}

/// The same of a text.
pub fn text_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| u8::try_from(c).is_ok_and(|byte| SEPARATORS.contains(&byte)))
        .filter(|word| !word.is_empty())
}

/// The words of a list where `{` ... `}` holds a word together, even in its middle: `inline:{a=b, c=d}`
/// is one word. The braces stay.
///
/// ```
/// let words: Vec<_> = config::list::words_with_groups(b"a, {b, c} inline:{d=e, f=g}").collect();
/// assert_eq!(words, [&b"a"[..], b"{b, c}", b"inline:{d=e, f=g}"]);
/// ```
pub fn words_with_groups(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !SEPARATORS.contains(byte))?;
        let mut depth = 0_usize;
        let mut end = rest.len();
        for (at, byte) in rest.iter().enumerate().skip(start) {
            match byte {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                byte if depth == 0 && SEPARATORS.contains(byte) => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let word = &rest[start..end];
        rest = &rest[end..];
        Some(word)
    })
}

/// A word that is not one well-formed `{ group }`; the field is the whole text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupError {
    /// No `{` at the start.
    #[error("no '{{' at start of text in \"{0}\"")]
    NoOpening(String),
    /// No matching `}`.
    #[error("missing '}}' in \"{0}\"")]
    NoClosing(String),
    /// Text after the matching `}`.
    #[error("syntax error after '}}' in \"{0}\"")]
    TextAfter(String),
}

/// The text between the braces of a group, without white space at its ends.
///
/// # Errors
/// When `word` is not one group.
pub fn group(word: &[u8]) -> Result<&[u8], GroupError> {
    let shown = || crate::error::printable(word);
    if word.first() != Some(&b'{') {
        return Err(GroupError::NoOpening(shown()));
    }
    let mut depth = 0_usize;
    for (at, byte) in word.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let after = trim(&word[at + 1..]);
            return if after.is_empty() {
                Ok(trim(&word[1..at]))
            } else {
                Err(GroupError::TextAfter(shown()))
            };
        }
    }
    Err(GroupError::NoClosing(shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("{ a = b }", Ok("a = b")),
            ("{{a} b}", Ok("{a} b")),
            ("{}", Ok("")),
            ("{a", Err("missing '}' in \"{a\"")),
            ("{a} b", Err("syntax error after '}' in \"{a} b\"")),
            ("a", Err("no '{' at start of text in \"a\"")),
        ];
        for (input, expected) in cases {
            let result = group(input.as_bytes()).map_err(|e| e.to_string());
            assert_eq!(result, expected.map(str::as_bytes).map_err(str::to_owned), "{input}");
        }
    }

    #[test]
    fn grouped_words() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" , ", &[]),
            ("a{b c}d, e", &["a{b c}d", "e"]),
            ("{a {b c} d} e", &["{a {b c} d}", "e"]),
            ("{a b", &["{a b"]),
            ("a} b", &["a}", "b"]),
        ];
        for (input, expected) in cases {
            let words: Vec<_> = words_with_groups(input.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|w| w.as_bytes()).collect();
            assert_eq!(words, expected, "{input}");
        }
    }
}
