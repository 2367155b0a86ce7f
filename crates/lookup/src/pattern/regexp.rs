//! `regexp:FILE`: POSIX expressions on the `regex` crate (spec tables 9).
//!
//! [`posix`](super::posix) turns a POSIX expression into one of the crate's. Matching takes time linear in the key,
//! whatever the expression; the price is that back-references are refused, and that of several ways to match, groups
//! show the first, where POSIX wants the longest.

use regex::bytes::{Regex, RegexBuilder};

use super::posix::{self, Syntax};
use super::{Engine, Options};

/// Bounds the memory of a compiled expression.
const SIZE_LIMIT: usize = 4 << 20;
/// Case matters.
const SENSITIVE: u32 = 1;
/// Lines are matched each for itself.
const NEWLINE: u32 = 2;
/// The old syntax.
const BASIC: u32 = 4;

/// The engine of regexp tables.
#[derive(Debug)]
pub(crate) struct Regexp;

impl Engine for Regexp {
    const TYPE: &'static str = "regexp";
    const NO_DELIMITER: &'static str = "skipping this rule";
    const SECOND_PATTERN: bool = true;
    const OBSOLETE: &'static [u8] = b"";
    type Expression = Regex;
    type Room<'a> = ();

    fn new() -> Self {
        Regexp
    }

    fn toggle(options: &mut Options, letter: u8) -> bool {
        options.0 ^= match letter {
            b'i' => SENSITIVE,
            b'm' => NEWLINE,
            b'x' => BASIC,
            _ => return false,
        };
        true
    }

    fn compile(&self, pattern: &[u8], options: Options) -> Result<Regex, String> {
        let has = |bit: u32| options.0 & bit != 0;
        let syntax = Syntax { basic: has(BASIC), newline: has(NEWLINE), fold: !has(SENSITIVE) };
        let translated = posix::translate(pattern, syntax).map_err(|why| why.to_string())?;
        RegexBuilder::new(&translated)
            .unicode(false)
            .case_insensitive(syntax.fold)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build()
            .map_err(|why| match why {
                regex::Error::CompiledTooBig(_) => "Regular expression too big".to_owned(),
                other => {
                    let text = other.to_string();
                    format!("Invalid regular expression: {}", text.lines().last().unwrap_or_default())
                }
            })
    }

    fn groups(expression: &Regex) -> usize {
        expression.captures_len() - 1
    }

    fn room(&self) {}

    fn matches(
        (): &mut (),
        expression: &Regex,
        subject: &[u8],
        spans: Option<&mut Vec<Option<(usize, usize)>>>,
    ) -> Result<bool, String> {
        let Some(spans) = spans else { return Ok(expression.is_match(subject)) };
        let mut locations = expression.capture_locations();
        let matched = expression.captures_read(&mut locations, subject).is_some();
        spans.clear();
        if matched {
            spans.extend((0..locations.len()).map(|group| locations.get(group)));
        }
        Ok(matched)
    }
}
