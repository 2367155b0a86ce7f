//! The grammar of `$name` and `${...}`: one level at a time, nothing evaluated.
//!
//! [`Tokens`] splits a text into literals and macros; [`Macro::parse`] splits the content of one
//! macro into name or relational expression and its branches. Branches stay unparsed text, because
//! only the one that is chosen counts. The texts of the errors are Postfix's, with their odd quotes.

use address::{DomainName, DomainNameError};
use thiserror::Error;

use crate::error::printable;
use crate::level::CompatibilityLevel;
use crate::logical_lines::trim_start;

/// A text that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// `$` and then nothing that names anything.
    #[error("empty macro name: \"{0}\"")]
    EmptyName(String),
    /// The closing parenthesis or brace is missing.
    #[error("truncated macro reference: \"{0}\"")]
    Truncated(String),
    /// A brace inside an expression has no partner.
    #[error("unbalanced {{}} in attribute expression: \"{0}\"")]
    Unbalanced(String),
    /// Something unexpected: what was wanted, what was read before, what follows.
    #[error("{wanted} at: \"...{seen}>>>{rest}\"")]
    Unexpected {
        /// What was wanted instead.
        wanted: &'static str,
        /// The text up to the fault.
        seen: String,
        /// The text from the fault on, cut at 20 bytes.
        rest: String,
    },
    /// Expansion goes round in circles, or makes a text out of all proportion.
    #[error("unreasonable macro call nesting: \"{0}\"")]
    Nesting(String),
    /// A `level` operator with an operand that is no level.
    #[error("{0}")]
    Level(#[from] crate::level::Malformed),
    /// A number too large to compare; Postfix makes this fatal at once.
    #[error("mac_exp_eval: bad conversion: {0}")]
    Number(String),
    /// A function that has no result for its argument, which Postfix tells in two lines.
    #[error("{why}: bad domain argument in: '{function}{{{argument}}}'")]
    Argument {
        /// The function.
        function: &'static str,
        /// Its argument, expanded.
        argument: String,
        /// What is wrong with that.
        why: DomainNameError,
    },
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// Text that stands for itself.
    Literal(&'a [u8]),
    /// The content of a `$name`, `${...}` or `$(...)`.
    Macro(&'a [u8]),
}

/// Splits a text.
pub struct Tokens<'a> {
    text: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// The tokens of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, rest: text }
    }

    fn reference(&mut self, after: &'a [u8]) -> Result<Token<'a>, ExpandError> {
        let shown = || printable(self.text);
        let (content, rest) = match after.first() {
            Some(open @ (b'{' | b'(')) => {
                let close = if *open == b'{' { b'}' } else { b')' };
                let end = closing(after, *open, close).ok_or_else(|| ExpandError::Truncated(shown()))?;
                (&after[1..end], &after[end + 1..])
            }
            _ => after.split_at(name_length(after)),
        };
        if content.is_empty() && rest.len() == after.len() {
            return Err(ExpandError::EmptyName(shown()));
        }
        self.rest = rest;
        Ok(Token::Macro(content))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, ExpandError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.rest {
            [] => None,
            [b'$', b'$', rest @ ..] => {
                let literal = &self.rest[..1];
                self.rest = rest;
                Some(Ok(Token::Literal(literal)))
            }
            [b'$', after @ ..] => {
                let token = self.reference(after);
                if token.is_err() {
                    self.rest = &[];
                }
                Some(token)
            }
            text => {
                let end = text.iter().position(|byte| *byte == b'$').unwrap_or(text.len());
                let (literal, rest) = text.split_at(end);
                self.rest = rest;
                Some(Ok(Token::Literal(literal)))
            }
        }
    }
}

/// The place of the closer that belongs to the opener at the start of `text`; only the same kind
/// of bracket nests.
fn closing(text: &[u8], open: u8, close: u8) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        if *byte == open {
            depth += 1;
        } else if *byte == close {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

fn name_length(text: &[u8]) -> usize {
    text.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(text.len())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// `<`, `=`, `>` in combination: which outcomes are true.
    less: bool,
    equal: bool,
    greater: bool,
    /// Whether the operands are compatibility levels.
    pub level: bool,
}

impl Operator {
    fn parse(symbol: &[u8]) -> Option<Self> {
        let (less, equal, greater) = match symbol {
            b"==" => (false, true, false),
            b"!=" => (true, false, true),
            b"<" => (true, false, false),
            b"<=" => (true, true, false),
            b">=" => (false, true, true),
            b">" => (false, false, true),
            _ => return None,
        };
        Some(Self { less, equal, greater, level: false })
    }

    /// Compares the (expanded) operands.
    pub fn holds(self, left: &[u8], right: &[u8]) -> Result<bool, ExpandError> {
        let order = if self.level {
            CompatibilityLevel::parse(left)?.cmp(&CompatibilityLevel::parse(right)?)
        } else if is_number(left) && is_number(right) {
            number(left)?.cmp(&number(right)?)
        } else {
            left.cmp(right)
        };
        Ok(match order {
            std::cmp::Ordering::Less => self.less,
            std::cmp::Ordering::Equal => self.equal,
            std::cmp::Ordering::Greater => self.greater,
        })
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn number(digits: &[u8]) -> Result<i64, ExpandError> {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| ExpandError::Number(printable(digits)))
}

/// A function, of 3.11 and later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `domain_to_ascii`
    DomainToAscii,
    /// `domain_to_utf8`
    DomainToUtf8,
}

impl Function {
    fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"domain_to_ascii" => Some(Self::DomainToAscii),
            b"domain_to_utf8" => Some(Self::DomainToUtf8),
            _ => None,
        }
    }

    /// The result for an expanded argument.
    pub(super) fn call(self, argument: &[u8]) -> Result<Vec<u8>, ExpandError> {
        let (function, result) = match self {
            Self::DomainToAscii if argument.is_empty() => {
                let why = "UIDNA_ERROR_EMPTY_LABEL";
                ("domain_to_ascii", Err(DomainNameError::Unconvertible(String::new(), why)))
            }
            Self::DomainToAscii => ("domain_to_ascii", DomainName::to_ascii(argument)),
            Self::DomainToUtf8 => ("domain_to_utf8", DomainName::to_utf8(argument)),
        };
        result.map_err(|why| ExpandError::Argument { function, argument: printable(argument), why })
    }
}

/// What a macro asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The value of a name.
    Name(&'a [u8]),
    /// `{left} OP {right}`.
    Relation {
        /// The left operand, not expanded.
        left: &'a [u8],
        /// The comparison.
        operator: Operator,
        /// The right operand, not expanded.
        right: &'a [u8],
    },
    /// `function{argument}`; nothing may follow.
    Call {
        /// Which one.
        function: Function,
        /// Its argument, not expanded.
        argument: &'a [u8],
    },
}

/// The content of a macro, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Macro<'a> {
    /// What is asked.
    pub subject: Subject<'a>,
    /// What becomes of the answer. A fault here counts only after the subject's own faults.
    pub branches: Result<Branches<'a>, ExpandError>,
}

/// The branches of a macro, not expanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Branches<'a> {
    /// Text for a true (or non-empty) subject.
    pub then: Option<&'a [u8]>,
    /// Text for a false (or empty) subject.
    pub otherwise: Option<&'a [u8]>,
}

impl<'a> Branches<'a> {
    /// Whether there is none, so that the subject's own value is the result.
    pub fn is_empty(&self) -> bool {
        self.then.is_none() && self.otherwise.is_none()
    }

    /// The text that counts.
    pub fn choose(&self, holds: bool) -> &'a [u8] {
        let text = if holds { self.then } else { self.otherwise };
        text.unwrap_or_default()
    }
}

impl<'a> Macro<'a> {
    /// Takes the content of a macro apart.
    ///
    /// # Errors
    /// When it is neither a name nor a relational expression, each with its branches.
    pub fn parse(content: &'a [u8]) -> Result<Self, ExpandError> {
        Parser { content, at: 0 }.parse()
    }
}

struct Parser<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn parse(mut self) -> Result<Macro<'a>, ExpandError> {
        self.skip_space();
        if self.peek() != Some(b'{') {
            if let Some(function) = self.function() {
                return self.call(function);
            }
            let subject = Subject::Name(self.name()?);
            return Ok(Macro { subject, branches: self.branches() });
        }
        let subject = self.relation()?;
        let branches = match self.peek() {
            None | Some(b'?' | b':') => self.branches(),
            Some(_) => Err(self.unexpected("\"?\" or \":\" expected", b"}")),
        };
        Ok(Macro { subject, branches })
    }

    fn rest(&self) -> &'a [u8] {
        &self.content[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn skip_space(&mut self) {
        self.at = self.content.len() - trim_start(self.rest()).len();
    }

    /// The fault is here; `seen` is what Postfix shows of the text before it.
    fn unexpected(&self, wanted: &'static str, seen: &[u8]) -> ExpandError {
        const SHOWN: usize = 20;
        let rest = self.rest();
        let rest = printable(&rest[..rest.len().min(SHOWN)]);
        ExpandError::Unexpected { wanted, seen: printable(seen), rest }
    }

    /// A known function that has an argument. Other names in this place are mistakes, at every version.
    fn function(&mut self) -> Option<Function> {
        let (name, after) = self.rest().split_at(name_length(self.rest()));
        let function = Function::parse(name).filter(|_| trim_start(after).first() == Some(&b'{'))?;
        self.at += name.len();
        self.skip_space();
        Some(function)
    }

    fn call(mut self, function: Function) -> Result<Macro<'a>, ExpandError> {
        let argument = self.group()?;
        if self.peek().is_some() {
            return Err(self.unexpected("unexpected input", &[argument, b"}"].concat()));
        }
        let argument = trim_start(argument).trim_ascii_end();
        Ok(Macro { subject: Subject::Call { function, argument }, branches: Ok(Branches::default()) })
    }

    /// White space may follow a name only when an operator or nothing comes after it.
    fn name(&mut self) -> Result<&'a [u8], ExpandError> {
        let (name, after) = self.rest().split_at(name_length(self.rest()));
        self.at += name.len();
        match trim_start(after).first() {
            None | Some(b'?' | b':') => {
                self.skip_space();
                Ok(name)
            }
            Some(_) => {
                let seen = &self.content[..self.at];
                Err(self.unexpected("attribute name syntax error", seen))
            }
        }
    }

    fn relation(&mut self) -> Result<Subject<'a>, ExpandError> {
        const SYMBOLS: &[u8] = b"<>!=?+-*/~&|%";
        let left = self.group()?;
        let symbol = self.rest();
        let length = symbol.iter().position(|b| !SYMBOLS.contains(b)).unwrap_or(symbol.len());
        let symbol = &symbol[..length];
        let Some(mut operator) = Operator::parse(symbol) else {
            let wanted = "\"==\" or \"!=\"\" or \"<\"\" or \"<=\"\" or \">=\"\" or \">\" expected";
            return Err(self.unexpected(wanted, &[left, b"}"].concat()));
        };
        self.at += length;
        let suffix = self.rest();
        let length = suffix.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(suffix.len());
        match &suffix[..length] {
            b"" => {}
            b"level" => operator.level = true,
            suffix => {
                let wanted = "bad operator suffix";
                let (seen, rest) = (printable(symbol), printable(suffix));
                return Err(ExpandError::Unexpected { wanted, seen, rest });
            }
        }
        self.at += length;
        if trim_start(self.rest()).first() != Some(&b'{') {
            let seen = [b"{", left, b"} ", symbol].concat();
            return Err(self.unexpected("\"{expression}\" expected", &seen));
        }
        self.skip_space();
        let right = self.group()?;
        Ok(Subject::Relation { left, operator, right })
    }

    /// The text inside `{...}`, kept as it is; white space after it is dropped.
    fn group(&mut self) -> Result<&'a [u8], ExpandError> {
        let rest = self.rest();
        let end = closing(rest, b'{', b'}').ok_or_else(|| ExpandError::Unbalanced(printable(rest)))?;
        self.at += end + 1;
        self.skip_space();
        Ok(&rest[1..end])
    }

    fn branches(&mut self) -> Result<Branches<'a>, ExpandError> {
        let Some(operator) = self.peek() else { return Ok(Branches::default()) };
        self.at += 1;
        if operator == b':' {
            return Ok(Branches { then: None, otherwise: Some(self.last_branch()?) });
        }
        if trim_start(self.rest()).first() != Some(&b'{') {
            return Ok(Branches { then: Some(self.rest()), otherwise: None });
        }
        self.skip_space();
        let then = self.group()?;
        let otherwise = match self.peek() {
            None => None,
            Some(b':') => {
                self.at += 1;
                Some(self.last_branch()?)
            }
            Some(_) => return Err(self.unexpected("\":\" expected", &[then, b"}"].concat())),
        };
        Ok(Branches { then: Some(then), otherwise })
    }

    /// `{text}`, or all that is left.
    fn last_branch(&mut self) -> Result<&'a [u8], ExpandError> {
        if trim_start(self.rest()).first() != Some(&b'{') {
            return Ok(self.rest());
        }
        self.skip_space();
        let text = self.group()?;
        match self.peek() {
            None => Ok(text),
            Some(_) => Err(self.unexpected("unexpected input", &[text, b"}"].concat())),
        }
    }
}
