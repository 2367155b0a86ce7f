//! A command line and its tokens, as Postfix splits them (spec smtpd 1.5.1).
//!
//! Shape: white space separates tokens; `<...>` and `"..."` are runs inside which white space does not; `:` ends
//! a token that is `to:` or `from:`. Nothing is refused here: a run without its end marks the token as
//! unterminated, and MAIL and RCPT answer that with their own syntax reply.

/// One token of a command line: a piece of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token<'a> {
    /// The text, quotes and backslashes kept.
    pub text: &'a [u8],
    /// A `<` or `"` run has no end.
    pub unterminated: bool,
}

impl<'a> Token<'a> {
    /// A text that is one token, whatever is in it.
    #[must_use]
    pub fn whole(text: &'a [u8]) -> Self {
        Self { text, unterminated: false }
    }

    /// The text equals `word`, in any case.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word.as_bytes())
    }
}

/// A command line in tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    tokens: Vec<Token<'a>>,
}

impl<'a> Command<'a> {
    /// Splits a line without its line end. What follows a NUL is not looked at, as in Postfix (observed, 3.7.11).
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let mut scanner = Scanner { rest: line };
        let mut tokens = Vec::new();
        while let Some(token) = scanner.token() {
            tokens.push(token);
        }
        Self { tokens }
    }

    /// The tokens; the first is the verb.
    #[must_use]
    pub fn tokens(&self) -> &[Token<'a>] {
        &self.tokens
    }

    /// The verb as received, when there is any token.
    #[must_use]
    pub fn verb(&self) -> Option<&'a [u8]> {
        self.tokens.first().map(|token| token.text)
    }

    /// The verb is `verb`, in any case.
    #[must_use]
    pub fn is(&self, verb: &str) -> bool {
        self.tokens.first().is_some_and(|token| token.is(verb))
    }

    /// The tokens after the verb.
    #[must_use]
    pub fn arguments(&self) -> &[Token<'a>] {
        self.tokens.get(1..).unwrap_or_default()
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn token(&mut self) -> Option<Token<'a>> {
        while self.rest.first().is_some_and(|&byte| is_space(byte)) {
            self.next();
        }
        let line = self.rest;
        let mut unterminated = false;
        loop {
            let text = &line[..line.len() - self.rest.len()];
            let Some(&byte) = self.rest.first().filter(|byte| !is_space(**byte)) else {
                return (!text.is_empty()).then_some(Token { text, unterminated });
            };
            self.next();
            match byte {
                b'<' => unterminated |= !self.angle_run(),
                b'"' => unterminated |= !self.quoted_run(),
                b'\\' => _ = self.next(),
                b':' if text.eq_ignore_ascii_case(b"to") || text.eq_ignore_ascii_case(b"from") => {
                    return Some(Token { text: &line[..=text.len()], unterminated });
                }
                _ => {}
            }
        }
    }

    /// Takes up to the matching `>`, counting nested `<`. Depth is a count, not recursion: input is hostile.
    fn angle_run(&mut self) -> bool {
        let mut depth = 1u32;
        while let Some(byte) = self.next() {
            match byte {
                b'\\' => _ = self.next(),
                // A string without end uses up the line, so this run has no end either.
                b'"' => _ = self.quoted_run(),
                b'<' => depth += 1,
                b'>' => {
                    depth -= 1;
                    if depth == 0 {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }

    fn quoted_run(&mut self) -> bool {
        while let Some(byte) = self.next() {
            match byte {
                b'\\' => _ = self.next(),
                b'"' => return true,
                _ => {}
            }
        }
        false
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        let show = |token: &Token| {
            let mark = if token.unterminated { "!" } else { "" };
            format!("{}{mark}", String::from_utf8_lossy(token.text))
        };
        Command::parse(line.as_bytes()).tokens().iter().map(show).collect()
    }

    #[test]
    fn tokens() {
        for (line, tokens) in [
            ("", &[][..]),
            (" \t ", &[]),
            ("NOOP", &["NOOP"]),
            ("  mail  from:<a@b.test>  SIZE=1 ", &["mail", "from:", "<a@b.test>", "SIZE=1"]),
            ("MAIL FROM: <a>", &["MAIL", "FROM:", "<a>"]),
            ("MAIL FROM :<a>", &["MAIL", "FROM", ":<a>"]),
            ("RCPT tO:a", &["RCPT", "tO:", "a"]),
            ("RCPT xto:a", &["RCPT", "xto:a"]),
            ("RCPT TO:<a b@c>", &["RCPT", "TO:", "<a b@c>"]),
            ("RCPT TO:<a@b>foo x", &["RCPT", "TO:", "<a@b>foo", "x"]),
            ("RCPT TO:<a<b>c> d", &["RCPT", "TO:", "<a<b>c>", "d"]),
            ("RCPT TO:<\"a>b\"@c>", &["RCPT", "TO:", "<\"a>b\"@c>"]),
            ("RCPT TO:\"a b\"@c d", &["RCPT", "TO:", "\"a b\"@c", "d"]),
            ("RCPT TO:<a\\>b> c", &["RCPT", "TO:", "<a\\>b>", "c"]),
            ("RCPT TO:<a b", &["RCPT", "TO:", "<a b!"]),
            ("RCPT TO:<a@b\\>", &["RCPT", "TO:", "<a@b\\>!"]),
            ("RCPT TO:\"a b", &["RCPT", "TO:", "\"a b!"]),
            ("a\\ b c", &["a\\ b", "c"]),
            ("NOOP\0xyz", &["NOOP"]),
            ("NO\0OP", &["NO"]),
        ] {
            assert_eq!(split(line), tokens, "{line:?}");
        }
    }
}
