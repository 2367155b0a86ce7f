//! `pcre:FILE`: Perl-compatible expressions, by way of PCRE2 (spec tables 10).

use std::sync::{Mutex, PoisonError};

use sys::pcre::{
    ANCHORED, CASELESS, DOLLAR_ENDONLY, DOTALL, EXTENDED, Expression, MULTILINE, Matcher, UNGREEDY,
};

use super::{Engine, Options};

/// Groups for which there is room that is used again and again.
const USUAL_GROUPS: usize = 16;
/// Case matters: the default is that it does not.
const DEFAULTS: u32 = CASELESS | DOTALL;

/// The engine of pcre tables.
#[derive(Debug, Default)]
pub(crate) struct Pcre {
    /// Room for results that no thread uses at the moment.
    idle: Mutex<Vec<Matcher>>,
}

impl Pcre {
    fn take(&self) -> Option<Matcher> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.or_else(|| Matcher::new(USUAL_GROUPS))
    }

    fn put(&self, matcher: Matcher) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(matcher);
    }
}

impl Engine for Pcre {
    const TYPE: &'static str = "pcre";
    const NO_DELIMITER: &'static str = "ignoring this rule";
    const SECOND_PATTERN: bool = false;
    const OBSOLETE: &'static [u8] = b"X";
    type Expression = Expression;

    fn new() -> Self {
        Pcre::default()
    }

    fn toggle(options: &mut Options, letter: u8) -> bool {
        options.0 ^= match letter {
            b'i' => CASELESS,
            b'm' => MULTILINE,
            b's' => DOTALL,
            b'x' => EXTENDED,
            b'A' => ANCHORED,
            b'E' => DOLLAR_ENDONLY,
            b'U' => UNGREEDY,
            _ => return false,
        };
        true
    }

    fn compile(&self, pattern: &[u8], options: Options) -> Result<Expression, String> {
        // The options are toggled from their defaults.
        Expression::new(pattern, options.0 ^ DEFAULTS)
            .map_err(|why| format!("error in regex at offset {}: {}", why.offset, why.text))
    }

    fn groups(expression: &Expression) -> usize {
        expression.groups()
    }

    fn matches(
        &self,
        expression: &Expression,
        subject: &[u8],
        spans: Option<&mut Vec<Option<(usize, usize)>>>,
    ) -> Result<bool, String> {
        let many = spans.is_some() && expression.groups() > USUAL_GROUPS;
        let matcher = if many { Matcher::new(expression.groups()) } else { self.take() };
        let mut matcher = matcher.ok_or("no memory")?;
        let matched = matcher.matches(expression, subject);
        if let (Ok(true), Some(spans)) = (&matched, spans) {
            spans.clear();
            spans.extend((0..=expression.groups()).map(|group| matcher.span(group)));
        }
        if !many {
            self.put(matcher);
        }
        matched
    }
}
