//! `$name`, `${name}`, `${name?text}`, `${name:text}`, `${{left} op {right} ? {text} : {text}}`.
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

pub use syntax::{ExpandError, Macro, Operator, Subject, Token, Tokens};

use crate::error::printable;

/// The greatest number of tokens in nested expansion, one inside the other.
const MAX_DEPTH: usize = 100;

/// Operands of relational expressions start counting anew; this bounds the sum, for the stack's sake.
const MAX_TOTAL_DEPTH: usize = 400;

/// The greatest length of a result.
pub const MAX_RESULT: usize = 16 << 20;

/// The greatest number of tokens in one expansion.
pub const MAX_TOKENS: usize = 1 << 20;

/// A name space.
pub trait Names {
    /// The raw value of a name; `None` when it is not defined.
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>>;
}

/// How to expand.
pub struct Expander<'a> {
    names: &'a dyn Names,
    recursive: bool,
    allowed: Option<&'a [u8]>,
}

struct Progress {
    tokens: usize,
    total_depth: usize,
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
    /// the error as a warning; what then becomes of the text is its own affair.
    pub fn expand(&self, text: &[u8]) -> Result<Vec<u8>, ExpandError> {
        let mut progress = Progress { tokens: 0, total_depth: 0 };
        self.text(text, 0, &mut progress)
    }

    fn text(&self, text: &[u8], depth: usize, progress: &mut Progress) -> Result<Vec<u8>, ExpandError> {
        let mut result = Vec::with_capacity(text.len());
        for token in Tokens::new(text) {
            match token? {
                Token::Literal(literal) => {
                    Self::step(literal, depth, progress)?;
                    result.extend_from_slice(literal);
                }
                Token::Macro(content) => {
                    Self::step(content, depth, progress)?;
                    progress.total_depth += 1;
                    result.extend_from_slice(&self.content(content, depth + 1, progress)?);
                    progress.total_depth -= 1;
                }
            }
            if result.len() > MAX_RESULT {
                return Err(ExpandError::Nesting(printable(text)));
            }
        }
        Ok(result)
    }

    fn step(token: &[u8], depth: usize, progress: &mut Progress) -> Result<(), ExpandError> {
        progress.tokens += 1;
        if depth >= MAX_DEPTH || progress.total_depth >= MAX_TOTAL_DEPTH || progress.tokens > MAX_TOKENS {
            return Err(ExpandError::Nesting(printable(token)));
        }
        Ok(())
    }

    fn content(&self, content: &[u8], depth: usize, progress: &mut Progress) -> Result<Vec<u8>, ExpandError> {
        let Macro { subject, then, otherwise } = Macro::parse(content)?;
        let has_branches = then.is_some() || otherwise.is_some();
        let holds = match subject {
            Subject::Name(name) if has_branches => {
                self.names.value(name).is_some_and(|value| !value.is_empty())
            }
            Subject::Name(name) => return self.value(name, depth, progress),
            Subject::Relation { left, operator, right } => {
                let left = self.text(left, 0, progress)?;
                let right = self.text(right, 0, progress)?;
                let holds = operator.holds(&left, &right)?;
                if !has_branches {
                    return Ok(if holds { b"true".to_vec() } else { Vec::new() });
                }
                holds
            }
        };
        match if holds { then } else { otherwise } {
            Some(text) => self.text(text, depth, progress),
            None => Ok(Vec::new()),
        }
    }

    fn value(&self, name: &[u8], depth: usize, progress: &mut Progress) -> Result<Vec<u8>, ExpandError> {
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
