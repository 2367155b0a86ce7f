//! Tokens of RFC 822 address text, as the rewriting service sees them (spec trivial-rewrite 2).
//!
//! A token list is flat: no phrase, no group, no route. White space between tokens is dropped when scanning
//! and put back where two words would otherwise run together. Nothing is refused: every byte string is some
//! token list.

use crate::quoting;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A bare word.
    Atom(Vec<u8>),
    /// What stood between double quotes, without backslashes.
    QuotedString(Vec<u8>),
    /// What stood between brackets.
    DomainLiteral(Vec<u8>),
    /// A comment, verbatim and with its parentheses.
    Comment(Vec<u8>),
    /// One of `( ) < > @ , ; : \ " . [ ]`, or `%`, `!`, `|`.
    Operator(u8),
}

impl Token {
    /// Whether this is the operator `byte`.
    #[must_use]
    pub fn is(&self, byte: u8) -> bool {
        *self == Token::Operator(byte)
    }

    fn is_word(&self) -> bool {
        !matches!(self, Token::Operator(_))
    }
}

/// The specials of RFC 822.
pub(crate) fn is_special(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'.' | b'[' | b']')
}

/// What ends an atom and is a token of its own.
fn is_operator(byte: u8) -> bool {
    is_special(byte) && byte != b'\\' || matches!(byte, b'%' | b'!' | b'|')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Line breaks and tabs that are part of a token become one space each.
fn flatten(byte: u8) -> u8 {
    if is_blank(byte) { b' ' } else { byte }
}

/// A scanner over address text; an iterator of tokens.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `text`.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Scanner { rest: text }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Up to `end`, which is consumed; a backslash takes the next byte literally.
    fn until(&mut self, end: u8) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(byte) = self.byte() {
            match byte {
                b'\\' => out.extend(self.byte().map(flatten)),
                _ if byte == end => break,
                _ => out.push(flatten(byte)),
            }
        }
        out
    }

    fn comment(&mut self) -> Vec<u8> {
        let mut out = vec![b'('];
        let mut depth = 1usize;
        while let Some(byte) = self.byte() {
            out.push(byte);
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => out.extend(self.byte()),
                _ => {}
            }
        }
        out
    }

    fn atom(&mut self) -> Token {
        let mut out = Vec::new();
        let mut quoted = false;
        while let Some(&byte) = self.rest.first() {
            if byte == b'\\' {
                self.byte();
                if let Some(byte) = self.byte().map(flatten) {
                    quoted |= byte <= b' ' || byte == 127 || is_special(byte) || is_operator(byte);
                    out.push(byte);
                }
            } else if is_blank(byte) || is_operator(byte) {
                break;
            } else {
                quoted |= byte < b' ' || byte == 127;
                out.push(byte);
                self.byte();
            }
        }
        if quoted { Token::QuotedString(out) } else { Token::Atom(out) }
    }
}

impl Iterator for Scanner<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        while self.rest.first().copied().is_some_and(is_blank) {
            self.byte();
        }
        let first = *self.rest.first()?;
        if first == b'\\' || !is_operator(first) {
            return Some(self.atom());
        }
        self.byte();
        Some(match first {
            b'(' => Token::Comment(self.comment()),
            b'[' => Token::DomainLiteral(self.until(b']')),
            b'"' => Token::QuotedString(self.until(b'"')),
            _ => Token::Operator(first),
        })
    }
}

/// All tokens of `text`.
#[must_use]
pub fn scan(text: &[u8]) -> Vec<Token> {
    Scanner::new(text).collect()
}

/// Name and value of a line of an alias file, if it has both: what stands before and behind the first colon, unless a comma
/// comes before it.
#[must_use]
pub fn alias(tokens: &[Token]) -> Option<(&[Token], &[Token])> {
    let at = tokens.iter().position(|token| token.is(b':') || token.is(b','))?;
    let is_entry = tokens[at].is(b':') && at > 0 && at + 1 < tokens.len();
    is_entry.then(|| (&tokens[..at], &tokens[at + 1..]))
}

/// The internal form of a token list: contents without quotes.
#[must_use]
pub fn internal<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut previous: Option<&Token> = None;
    for token in tokens {
        if let Some(previous) = previous
            && (previous.is_word() && token.is_word() || previous.is(b',') || token.is(b'<'))
        {
            out.push(b' ');
        }
        match token {
            Token::Atom(text) | Token::QuotedString(text) | Token::Comment(text) => {
                out.extend_from_slice(text);
            }
            Token::DomainLiteral(text) => {
                out.push(b'[');
                out.extend_from_slice(text);
                out.push(b']');
            }
            Token::Operator(byte) => out.push(*byte),
        }
        previous = Some(token);
    }
    out
}

/// The external form of a token list: its internal form with the local part quoted where it must be.
#[must_use]
pub fn external<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Vec<u8> {
    quoting::external(&internal(tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_observed() {
        for (text, internal_form, external_form) in [
            ("a @ b . c", "a@b.c", "a@b.c"),
            ("x!a[b]", "x!a [b]", "\"x!a [b]\""),
            ("\"joe\"@x", "joe@x", "joe@x"),
            ("\"a b\"@x", "a b@x", "\"a b\"@x"),
            ("a b@c", "a b@c", "\"a b\"@c"),
            ("a\\@b", "a@b", "a@b"),
            ("a\\ b@c", "a b@c", "\"a b\"@c"),
            ("joe (c)", "joe (c)", "\"joe (c)\""),
            ("<joe@x>", "<joe@x>", "\"<joe\"@x>"),
            ("a,b%c", "a, b%c", "\"a, b%c\""),
            ("a@[1.2\\].3]", "a@[1.2].3]", "a@[1.2].3]"),
            ("\"open", "open", "open"),
            ("(a (b\\)) c", "(a (b\\)) c", "\"(a (b\\\\)) c\""),
        ] {
            let tokens = scan(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&internal(&tokens)), internal_form, "{text}");
            assert_eq!(String::from_utf8_lossy(&external(&tokens)), external_form, "{text}");
        }
    }
}
