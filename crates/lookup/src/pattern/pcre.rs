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
    /// Room for results that no look-up uses at the moment.
    idle: Mutex<Vec<Matcher>>,
}

/// Room for the results of one look-up after another.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    engine: &'a Pcre,
    matcher: Option<Matcher>,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.engine.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.matcher.take());
    }
}

impl Engine for Pcre {
    const TYPE: &'static str = "pcre";
    const NO_DELIMITER: &'static str = "ignoring this rule";
    const SECOND_PATTERN: bool = false;
    const OBSOLETE: &'static [u8] = b"X";
    type Expression = Expression;
    type Room<'a> = Room<'a>;

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

    fn room(&self) -> Room<'_> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Room { engine: self, matcher: idle.or_else(|| Matcher::new(USUAL_GROUPS)) }
    }

    fn matches(
        room: &mut Room<'_>,
        expression: &Expression,
        subject: &[u8],
        spans: Option<&mut Vec<Option<(usize, usize)>>>,
    ) -> Result<bool, String> {
        let mut own = None;
        if spans.is_some() && expression.groups() > USUAL_GROUPS {
            own = Matcher::new(expression.groups());
        }
        let matcher = own.as_mut().or(room.matcher.as_mut()).ok_or("no memory")?;
        let matched = matcher.matches(expression, subject)?;
        if matched && let Some(spans) = spans {
            spans.clear();
            spans.extend((0..=expression.groups()).map(|group| matcher.span(group)));
        }
        Ok(matched)
    }
}
