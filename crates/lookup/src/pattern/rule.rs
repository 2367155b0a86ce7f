//! A line of a table of regular expressions, taken apart (spec tables 9).

use config::logical_lines::{is_space, trim_start};
use config::printable;

use super::{Engine, Options};

/// `!/text/options`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern<'a> {
    pub(super) text: &'a [u8],
    pub(super) options: Options,
    pub(super) negated: bool,
}

/// A rule with a result.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) first: Pattern<'a>,
    pub(super) second: Option<Pattern<'a>>,
    pub(super) result: &'a [u8],
}

/// What a line can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    If { pattern: Pattern<'a>, extra: &'a [u8] },
    Endif { extra: bool },
    Rule(Rule<'a>),
}

/// Takes a line apart; errors are texts of warnings.
pub(super) fn parse<'a, E: Engine>(line: &'a [u8], warn: &dyn Fn(&str)) -> Result<Parsed<'a>, String> {
    if !line.first().is_some_and(u8::is_ascii_alphanumeric) {
        let (first, rest) = pattern::<E>(line, warn)?;
        if E::SECOND_PATTERN && rest.starts_with(b"!") {
            let (second, rest) = pattern::<E>(rest, warn)?;
            let result = trim_start(rest);
            return Ok(Parsed::Rule(Rule { first, second: Some(second), result }));
        }
        return Ok(Parsed::Rule(Rule { first, second: None, result: trim_start(rest) }));
    }
    let word = |word: &[u8]| {
        let rest = line.get(word.len()..)?;
        (line[..word.len()].eq_ignore_ascii_case(word)
            && rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
        .then_some(rest)
    };
    if let Some(rest) = word(b"if") {
        let (pattern, rest) = pattern::<E>(trim_start(rest), warn)?;
        return Ok(Parsed::If { pattern, extra: trim_start(rest) });
    }
    if let Some(rest) = word(b"endif") {
        return Ok(Parsed::Endif { extra: !trim_start(rest).is_empty() });
    }
    Err("ignoring unrecognized request".to_owned())
}

/// One pattern and what follows its options.
fn pattern<'a, E: Engine>(text: &'a [u8], warn: &dyn Fn(&str)) -> Result<(Pattern<'a>, &'a [u8]), String> {
    let mut negated = false;
    let mut rest = text;
    while let Some(after) = rest.strip_prefix(b"!") {
        negated = !negated;
        rest = trim_start(after);
    }
    let Some((&delimiter, rest)) = rest.split_first() else {
        return Err("no regexp: skipping this rule".to_owned());
    };
    let Some(end) = closing(rest, delimiter) else {
        let delimiter = printable(&[delimiter]);
        return Err(format!("no closing regexp delimiter \"{delimiter}\": {}", E::NO_DELIMITER));
    };
    let (text, mut rest) = (&rest[..end], &rest[end + 1..]);
    let mut options = Options::default();
    while let Some((&letter, after)) = rest.split_first() {
        if is_space(letter) || (E::SECOND_PATTERN && letter == b'!') {
            break;
        }
        if E::OBSOLETE.contains(&letter) {
            warn(&format!("ignoring obsolete regexp option \"{}\"", printable(&[letter])));
        } else if !E::toggle(&mut options, letter) {
            return Err(format!("unknown regexp option \"{}\": skipping this rule", printable(&[letter])));
        }
        rest = after;
    }
    Ok((Pattern { text, options, negated }, rest))
}

/// Where the delimiter is that no backslash hides.
fn closing(text: &[u8], delimiter: u8) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' if delimiter != b'\\' => at += 1,
            byte if byte == delimiter => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}
