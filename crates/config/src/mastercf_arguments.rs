//! The arguments of a master.cf entry: words with brace protection (spec master 1.5).
//!
//! A word runs to the next blank outside braces. A word that *starts* with `{` must be one balanced group; its
//! outer braces and the blanks just inside them go, and the rest is one argument, inner blanks included. A word
//! that merely contains `{` stays as it is.

use crate::mastercf::is_separator;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The text that the program receives.
    pub text: Vec<u8>,
    /// It was written in braces.
    pub braced: bool,
}

/// What is wrong with a word in braces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BraceError {
    /// The line ends first.
    #[error("missing '}}' in \"{}\"", crate::error::printable(.0))]
    Missing(Vec<u8>),
    /// The word goes on behind the group.
    #[error("syntax error after '}}' in \"{}\"", crate::error::printable(.0))]
    After(Vec<u8>),
}

/// What stands behind each `-o` among these arguments, in the same word or in the next; `None` where there is no next one.
pub fn settings<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> impl Iterator<Item = Option<&'a [u8]>> {
    let mut arguments = arguments.into_iter();
    std::iter::from_fn(move || {
        let rest = arguments.by_ref().find_map(|argument| argument.strip_prefix(b"-o"))?;
        Some(if rest.is_empty() { arguments.next() } else { Some(rest) })
    })
}

/// Splits `text`; every word gives an argument, also those in error.
pub(crate) fn split(text: &[u8]) -> (Vec<Argument>, Vec<BraceError>) {
    let (mut arguments, mut errors) = (Vec::new(), Vec::new());
    for word in words(text, is_separator) {
        if word.first() != Some(&b'{') {
            arguments.push(Argument { text: word.to_vec(), braced: false });
            continue;
        }
        let (inside, error) = unbrace(word);
        arguments.push(Argument { text: inside.to_vec(), braced: true });
        errors.extend(error);
    }
    (arguments, errors)
}

/// The words of a text, each up to the next separator outside braces.
pub fn words(text: &[u8], is_separator: impl Fn(u8) -> bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|b| !is_separator(*b))?;
        let (word, tail) = rest[start..].split_at(word_end(&rest[start..], &is_separator));
        rest = tail;
        Some(word)
    })
}

/// Length of the word at the start of `text`.
pub(crate) fn word_end(text: &[u8], is_separator: impl Fn(u8) -> bool) -> usize {
    let mut level = 0usize;
    for (i, byte) in text.iter().enumerate() {
        match byte {
            b'{' => level += 1,
            b'}' => level = level.saturating_sub(1),
            b if level == 0 && is_separator(*b) => return i,
            _ => {}
        }
    }
    text.len()
}

/// The text inside the group that `word` starts with, and what is wrong with it.
pub fn unbrace(word: &[u8]) -> (&[u8], Option<BraceError>) {
    let mut level = 0usize;
    let close = word.iter().position(|byte| {
        match byte {
            b'{' => level += 1,
            b'}' => level -= 1,
            _ => {}
        }
        level == 0
    });
    match close {
        None => (trim(&word[1..]), Some(BraceError::Missing(word.to_vec()))),
        Some(end) if end + 1 < word.len() => (trim(&word[1..end]), Some(BraceError::After(word.to_vec()))),
        Some(end) => (trim(&word[1..end]), None),
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_separator(*b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !is_separator(*b)).map_or(start, |i| i + 1);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_groups() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("-o a=b", &["-o", "a=b"]),
            ("-o { name = value }  x", &["-o", "name = value", "x"]),
            ("-o{x=y z}", &["-o{x=y z}"]),
            ("{} {  }", &["", ""]),
            ("{ {a} b } c}d", &["{a} b", "c}d"]),
            ("argv=/x ${recipient} #no", &["argv=/x", "${recipient}", "#no"]),
        ];
        for (text, want) in table {
            let (got, errors) = split(text.as_bytes());
            let got: Vec<_> = got.iter().map(|a| std::str::from_utf8(&a.text).unwrap()).collect();
            assert_eq!((got.as_slice(), errors.len()), (*want, 0), "{text}");
        }
    }

    #[test]
    fn errors_keep_the_word() {
        let (words, errors) = split(b"x {a}b { c d");
        assert_eq!(words.len(), 3);
        assert_eq!(words[2].text, b"c d");
        assert_eq!(errors, [BraceError::After(b"{a}b".to_vec()), BraceError::Missing(b"{ c d".to_vec())]);
    }
}
