//! `$name`, `${name}`, `${name?text}`, `${name:text}`, `${{left} op {right} ? {text} : {text}}`, and the functions of 3.11,
//! `${domain_to_ascii{text}}`, which are there at every version.
//!
//! The same grammar serves main.cf, where values are expanded in their turn, and other places
//! (`smtpd_reject_footer`, `default_rbl_reply`, `mailbox_command`), where they are not and where
//! bytes outside a set become `_`. Who expands brings the name space along.
//!
//! ```
//! use config::expand::{Expander, Names};
//! use std::borrow::Cow;
//!
//! struct One;
//! impl Names for One {
//!     fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
//!         (name == b"y").then_some(Cow::Borrowed(b"1"))
//!     }
//! }
//! let text = Expander::recursive(&One).expand(b"${y?{yes}:{no}} $$y ${z:none}").unwrap();
//! assert_eq!(text, b"yes $y none");
//! ```
//!
//! Refuses circles (more than 100 levels, as Postfix) and, unlike Postfix, results of more than
//! [`MAX_RESULT`] bytes and more than [`MAX_TOKENS`] steps, with the same words.

mod syntax;

use std::borrow::Cow;
use std::fmt;

pub use syntax::{Branches, ExpandError, Function, Macro, Operator, Subject, Token, Tokens};

use crate::error::printable;

/// The greatest number of tokens in nested expansion, one inside the other.
const MAX_DEPTH: usize = 100;

/// Operands of relational expressions start counting anew; this bounds the sum, for the stack's sake.
const MAX_TOTAL_DEPTH: usize = 400;

/// The greatest length of a result.
pub(crate) const MAX_RESULT: usize = 16 << 20;

/// The greatest number of tokens in one expansion.
pub(crate) const MAX_TOKENS: usize = 1 << 20;

/// A name space.
pub trait Names {
    /// The raw value of a name; `None` when it is not defined.
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>>;

    /// Whether a name has a value that is not empty, for `${name?text}` and `${name:text}`. A name space that takes offence at
    /// names that are not defined takes none here.
    fn holds(&self, name: &[u8]) -> bool {
        self.value(name).is_some_and(|value| !value.is_empty())
    }
}

/// How to expand.
pub struct Expander<'a> {
    names: &'a dyn Names,
    recursive: bool,
    allowed: Option<&'a [u8]>,
}

/// Why a text could not be expanded: the faults in the order found. Postfix looks on after the
/// first one, so that there can be several lines to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<ExpandError>);

impl Faults {
    /// The faults.
    pub fn iter(&self) -> impl Iterator<Item = &ExpandError> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl std::error::Error for Faults {}

/// Marks a result that is worth nothing, because of a fault that was noted.
struct Failed;

#[derive(Default)]
struct Progress {
    tokens: usize,
    total_depth: usize,
    faults: Vec<ExpandError>,
}

impl Progress {
    fn fault(&mut self, fault: ExpandError) -> Failed {
        // A number that cannot be compared ends everything at once; nothing is noted after it.
        if !matches!(self.faults.last(), Some(ExpandError::Number(_))) {
            self.faults.push(fault);
        }
        Failed
    }

    fn step(&mut self, token: &[u8], depth: usize) -> Result<(), Failed> {
        self.tokens += 1;
        if depth > MAX_DEPTH || self.total_depth > MAX_TOTAL_DEPTH || self.tokens > MAX_TOKENS {
            return Err(self.fault(ExpandError::Nesting(printable(token))));
        }
        Ok(())
    }
}

impl<'a> Expander<'a> {
    /// Expands values in their turn, as main.cf wants it.
    pub fn recursive(names: &'a dyn Names) -> Self {
        Self { names, recursive: true, allowed: None }
    }

    /// Inserts values as they are.
    pub fn plain(names: &'a dyn Names) -> Self {
        Self { names, recursive: false, allowed: None }
    }

    /// Replaces bytes of inserted values that are not among `allowed` by `_`.
    #[must_use]
    pub fn filtered(self, allowed: &'a [u8]) -> Self {
        Self { allowed: Some(allowed), ..self }
    }

    /// Expands a text.
    ///
    /// # Errors
    /// When the text, or a value it refers to, is malformed or refers to itself. The caller logs
    /// each fault as a warning; what then becomes of the text is its own affair.
    pub fn expand(&self, text: &[u8]) -> Result<Vec<u8>, Faults> {
        let mut progress = Progress::default();
        self.text(text, 0, &mut progress).map_err(|Failed| Faults(progress.faults))
    }

    /// After a fault the rest of the text is still split into tokens, because that may show more
    /// faults, but no more macros are looked at.
    fn text(&self, text: &[u8], depth: usize, progress: &mut Progress) -> Result<Vec<u8>, Failed> {
        let mut result = Ok(Vec::with_capacity(text.len()));
        for token in Tokens::new(text) {
            let part = match token {
                Err(fault) => Err(progress.fault(fault)),
                Ok(Token::Macro(b"")) => {
                    // `${}` is told of only when it is the first fault.
                    return Err(match result {
                        Ok(_) => progress.fault(ExpandError::EmptyName(printable(text))),
                        Err(failed) => failed,
                    });
                }
                Ok(Token::Literal(literal)) => progress.step(literal, depth).map(|()| Cow::Borrowed(literal)),
                Ok(Token::Macro(content)) => match progress.step(content, depth) {
                    Ok(()) if result.is_ok() => self.content(content, depth + 1, progress).map(Cow::Owned),
                    other => other.map(|()| Cow::Borrowed(&b""[..])),
                },
            };
            match (&mut result, part) {
                (Ok(result), Ok(part)) => result.extend_from_slice(&part),
                (_, Ok(_)) => {}
                (_, Err(failed)) => result = Err(failed),
            }
            if result.as_ref().is_ok_and(|result| result.len() > MAX_RESULT) {
                result = Err(progress.fault(ExpandError::Nesting(printable(text))));
            }
            if progress.tokens > MAX_TOKENS {
                break;
            }
        }
        result
    }

    fn content(&self, content: &[u8], depth: usize, progress: &mut Progress) -> Result<Vec<u8>, Failed> {
        progress.total_depth += 1;
        let result = self.evaluate(content, depth, progress);
        progress.total_depth -= 1;
        result
    }

    fn evaluate(&self, content: &[u8], depth: usize, progress: &mut Progress) -> Result<Vec<u8>, Failed> {
        let Macro { subject, branches } = Macro::parse(content).map_err(|fault| progress.fault(fault))?;
        match subject {
            Subject::Name(name) => {
                let branches = branches.map_err(|fault| progress.fault(fault))?;
                if branches.is_empty() {
                    return self.value(name, depth, progress);
                }
                let holds = self.names.holds(name);
                self.text(branches.choose(holds), depth, progress)
            }
            Subject::Call { function, argument } => {
                let argument = self.text(argument, depth, progress)?;
                function.call(&argument).map_err(|fault| progress.fault(fault))
            }
            Subject::Relation { left, operator, right } => {
                let (left, right) = (self.text(left, 0, progress), self.text(right, 0, progress));
                let holds = operator.holds(&left?, &right?).map_err(|fault| progress.fault(fault))?;
                let branches = branches.map_err(|fault| progress.fault(fault))?;
                if branches.is_empty() {
                    return Ok(if holds { b"true".to_vec() } else { Vec::new() });
                }
                self.text(branches.choose(holds), depth, progress)
            }
        }
    }

    fn value(&self, name: &[u8], depth: usize, progress: &mut Progress) -> Result<Vec<u8>, Failed> {
        let Some(value) = self.names.value(name) else { return Ok(Vec::new()) };
        let mut value = if self.recursive { self.text(&value, depth, progress)? } else { value.into_owned() };
        if let Some(allowed) = self.allowed {
            value.iter_mut().filter(|byte| !allowed.contains(byte)).for_each(|byte| *byte = b'_');
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
