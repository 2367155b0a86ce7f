//! Tables of regular expressions: the rules that regexp and pcre tables share (spec tables 9, 10).
//!
//! [`rule`] takes a line apart, [`replacement`] a result with `$number`s in it; [`PatternTable`] asks the rules in
//! order. The two types differ in their [`Engine`], in a few texts, and in the second pattern that only regexp has.

#[cfg(feature = "pcre")]
mod pcre;
mod posix;
mod regexp;
mod replacement;
mod rule;

use config::printable;

#[cfg(feature = "pcre")]
pub(crate) use pcre::Pcre;
pub(crate) use regexp::Regexp;

use crate::source::{self, Folder, Line};
use crate::{Flags, Given, Kind, LookupError, OpenError, Standing, Table, VisitResult, base64, watch};
use replacement::Replacement;
use rule::{Parsed, Rule};

/// What compiles and runs the expressions of a table.
pub(crate) trait Engine: Sized + Send + Sync + std::fmt::Debug {
    /// The table type.
    const TYPE: &'static str;
    /// After "no closing regexp delimiter".
    const NO_DELIMITER: &'static str;
    /// Whether `/one/!/two/` is a rule.
    const SECOND_PATTERN: bool;
    /// Letters of options that mean nothing any more.
    const OBSOLETE: &'static [u8];
    /// A compiled expression.
    type Expression: Send + Sync + std::fmt::Debug;
    /// What a look-up needs for its matches, taken once.
    type Room<'a>
    where
        Self: 'a;

    /// An engine for one table.
    fn new() -> Self;

    /// Toggles the option of this letter; false when there is none.
    fn toggle(options: &mut Options, letter: u8) -> bool;

    /// The expression, or the text of the warning after the place.
    fn compile(&self, pattern: &[u8], options: Options) -> Result<Self::Expression, String>;

    /// How many groups an expression has.
    fn groups(expression: &Self::Expression) -> usize;

    /// Room for one look-up.
    fn room(&self) -> Self::Room<'_>;

    /// Whether the expression matches, with the spans of its groups in `spans` if wanted; errors are texts for a
    /// warning, and count as no match.
    fn matches(
        room: &mut Self::Room<'_>,
        expression: &Self::Expression,
        subject: &[u8],
        spans: Option<&mut Vec<Option<(usize, usize)>>>,
    ) -> Result<bool, String>;
}

/// Options of an expression, as bits that its engine gives a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(pub(crate) u32);

/// An expression that has to match, or must not.
#[derive(Debug)]
struct Condition<E: Engine> {
    expression: E::Expression,
    negated: bool,
}

#[derive(Debug)]
enum Step<E: Engine> {
    If { condition: Condition<E>, end: usize, line: usize },
    Match { first: Condition<E>, second: Option<Condition<E>>, result: Replacement, line: usize },
}

/// A table of rules.
#[derive(Debug)]
pub(crate) struct PatternTable<E: Engine> {
    name: String,
    shown: String,
    engine: E,
    steps: Vec<Step<E>>,
}

impl<E: Engine> PatternTable<E> {
    pub(crate) fn open(reference: String, name: &[u8], flags: Flags) -> Result<Self, OpenError> {
        let lines = source::lines(E::TYPE, name, Folder::Empty)?;
        Ok(Self::compile(reference, &printable(name), &lines, flags))
    }

    pub(crate) fn compile(reference: String, shown: &str, lines: &[Line], flags: Flags) -> Self {
        let mut table =
            PatternTable { name: reference, shown: shown.to_owned(), engine: E::new(), steps: Vec::new() };
        let mut open = Vec::new();
        for line in lines {
            if let Err(why) = table.add(line, flags, &mut open) {
                table.warn(line.number, &why);
            }
        }
        for (_, number) in open.into_iter().rev() {
            table.warn(number, "IF has no matching ENDIF");
        }
        table
    }

    fn warn(&self, number: usize, why: &str) {
        log::warn!("{} map {}, line {number}: {why}", E::TYPE, self.shown);
    }

    fn add(&mut self, line: &Line, flags: Flags, open: &mut Vec<(usize, usize)>) -> Result<(), String> {
        match rule::parse::<E>(&line.text, &|why| self.warn(line.number, why))? {
            Parsed::Endif { extra } => {
                let Some((at, _)) = open.pop() else {
                    return Err("ignoring ENDIF without matching IF".to_owned());
                };
                let after = self.steps.len();
                if let Some(Step::If { end, .. }) = self.steps.get_mut(at) {
                    *end = after;
                }
                if extra {
                    self.warn(line.number, "ignoring extra text after ENDIF");
                }
            }
            Parsed::If { pattern, extra } => {
                if !extra.is_empty() {
                    let extra = printable(extra);
                    self.warn(line.number, &format!("ignoring extra text after IF statement: \"{extra}\""));
                    self.warn(line.number, "do not prepend whitespace to statements between IF and ENDIF");
                }
                let expression = self.engine.compile(pattern.text, pattern.options)?;
                open.push((self.steps.len(), line.number));
                let condition = Condition { expression, negated: pattern.negated };
                self.steps.push(Step::If { condition, end: usize::MAX, line: line.number });
            }
            Parsed::Rule(rule) => self.add_rule(&rule, line.number, flags)?,
        }
        Ok(())
    }

    fn add_rule(&mut self, rule: &Rule<'_>, line: usize, flags: Flags) -> Result<(), String> {
        if rule.result.is_empty() {
            self.warn(line, "no replacement text: using empty string");
        }
        let content;
        let text = if flags.has(Flags::FILE_VALUES) {
            content = base64::of_files(rule.result).map_err(|why| format!("{why}: skipping this rule"))?;
            &content
        } else {
            rule.result
        };
        let zero = if E::SECOND_PATTERN { "out-of-range" } else { "out of range" };
        let result = Replacement::parse(text, zero, |why| self.warn(line, why))
            .ok_or("bad replacement syntax: skipping this rule")?;
        let highest = result.highest();
        if highest > 0 && rule.first.negated {
            return Err("$number found in negative match replacement text: skipping this rule".to_owned());
        }
        if highest > 0 && flags.has(Flags::NO_REGSUB) {
            return Err("regular expression substitution is not allowed: skipping this rule".to_owned());
        }
        let first = self.engine.compile(rule.first.text, rule.first.options)?;
        if highest > E::groups(&first) {
            return Err(format!("out of range replacement index \"{highest}\": skipping this rule"));
        }
        let second = match &rule.second {
            Some(pattern) => Some(Condition {
                expression: self.engine.compile(pattern.text, pattern.options)?,
                negated: pattern.negated,
            }),
            None => None,
        };
        let first = Condition { expression: first, negated: rule.first.negated };
        self.steps.push(Step::Match { first, second, result, line });
        Ok(())
    }

    fn holds(
        &self,
        room: &mut E::Room<'_>,
        condition: &Condition<E>,
        key: &[u8],
        line: usize,
        spans: Option<&mut Vec<Option<(usize, usize)>>>,
    ) -> bool {
        match E::matches(room, &condition.expression, key, spans) {
            Ok(matched) => matched != condition.negated,
            // Neither a match nor the absence of one.
            Err(why) => {
                self.warn(line, &why);
                false
            }
        }
    }
}

impl<E: Engine> Table for PatternTable<E> {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        // The expression sees a C string.
        let key = key.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut room = self.engine.room();
        let mut spans = Vec::new();
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match step {
                Step::If { condition, end, line } => {
                    if !self.holds(&mut room, condition, key, *line, None) {
                        at = *end;
                    }
                }
                Step::Match { first, second, result, line } => {
                    let wanted = (result.highest() > 0).then_some(&mut spans);
                    if self.holds(&mut room, first, key, *line, wanted)
                        && second
                            .as_ref()
                            .is_none_or(|second| self.holds(&mut room, second, key, *line, None))
                    {
                        watch::matched(*line);
                        return Ok(Some(result.expand(key, &spans)));
                    }
                }
            }
        }
        Ok(None)
    }

    fn results(&self, visit: VisitResult<'_>) {
        for step in &self.steps {
            if let Step::Match { result, line, .. } = step {
                let standing = Standing::of_rule(&self.shown, *line);
                let given = Given { standing, text: result.start(), is_whole: result.highest() == 0 };
                visit(&self.name, &given);
            }
        }
    }

    fn kind(&self) -> Kind {
        Kind::Pattern
    }

    fn name(&self) -> &str {
        &self.name
    }
}
