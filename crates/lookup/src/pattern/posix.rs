//! POSIX regular expressions, as the GNU C library reads them, written in the syntax of the `regex` crate.
//!
//! Extended and basic syntax in the C locale, with GNU's `\w`, `\<` and the like. Refused with the library's texts:
//! what the library refuses. Refused with our own: back-references, which no linear-time matcher has.

/// How an expression is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syntax {
    /// The old syntax, in which `\(` is a group.
    pub(crate) basic: bool,
    /// `.` and negated brackets do not match newline, `^` and `$` match at lines.
    pub(crate) newline: bool,
    /// Letters match in both cases.
    pub(crate) fold: bool,
}

/// Why an expression is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PosixError {
    #[error("Invalid preceding regular expression")]
    NothingToRepeat,
    #[error("Unmatched \\{{")]
    OpenBrace,
    #[error("Invalid content of \\{{\\}}")]
    BraceContent,
    #[error("Regular expression too big")]
    TooBig,
    #[error("Invalid regular expression")]
    Invalid,
    #[error("Unmatched [, [^, [:, [., or [=")]
    OpenBracket,
    #[error("Invalid range end")]
    Range,
    #[error("Invalid character class name")]
    ClassName,
    #[error("Invalid collation character")]
    Collation,
    #[error("Invalid back reference")]
    NoSuchGroup,
    #[error("back-references are not supported")]
    BackReference,
    #[error("Trailing backslash")]
    TrailingBackslash,
    #[error("Unmatched ( or \\(")]
    OpenGroup,
    #[error("Unmatched ) or \\)")]
    CloseGroup,
}

/// Most repetitions: GNU's RE_DUP_MAX.
const REPEAT_LIMIT: u32 = 32767;
/// Deepest nesting of groups; the `regex` crate has a limit too.
const NESTING_LIMIT: usize = 200;

/// A token, of either syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Bracket,
    Open,
    Close,
    Or,
    Star,
    Plus,
    Optional,
    Brace,
    LineStart,
    LineEnd,
    Escape(u8),
    Group(u8),
}

/// Translates an expression.
pub(crate) fn translate(pattern: &[u8], syntax: Syntax) -> Result<String, PosixError> {
    let mut translator = Translator {
        input: pattern,
        at: 0,
        syntax,
        out: String::with_capacity(pattern.len() * 2),
        atom: None,
        open: Vec::new(),
        closed: 0,
    };
    while translator.step()? {}
    if translator.open.is_empty() { Ok(translator.out) } else { Err(PosixError::OpenGroup) }
}

struct Translator<'a> {
    input: &'a [u8],
    at: usize,
    syntax: Syntax,
    out: String,
    /// Where in `out` the item starts that a repetition would be of.
    atom: Option<usize>,
    /// Where in `out` the open groups start.
    open: Vec<usize>,
    closed: u8,
}

impl Translator<'_> {
    fn step(&mut self) -> Result<bool, PosixError> {
        let Some(token) = self.token()? else { return Ok(false) };
        let start = self.out.len();
        match token {
            Token::Byte(byte) => self.byte(byte),
            Token::Any => self.out.push_str(if self.syntax.newline { "[^\\n]" } else { "(?s:.)" }),
            Token::Bracket => self.bracket()?,
            Token::Escape(letter) => {
                self.out.push_str(match letter {
                    b'w' => "[0-9A-Za-z_]",
                    b'W' => "[^0-9A-Za-z_]",
                    b's' => "[ \\t-\\r]",
                    b'S' => "[^ \\t-\\r]",
                    b'b' => "\\b",
                    b'B' => "\\B",
                    b'<' => "\\b{start}",
                    b'>' => "\\b{end}",
                    b'`' => "\\A",
                    _ => "\\z",
                });
            }
            Token::Group(number) => {
                return Err(if number > self.closed {
                    PosixError::NoSuchGroup
                } else {
                    PosixError::BackReference
                });
            }
            Token::Open => {
                if self.open.len() >= NESTING_LIMIT {
                    return Err(PosixError::TooBig);
                }
                self.open.push(start);
                self.out.push('(');
                self.atom = None;
                return Ok(true);
            }
            Token::Close => {
                let start = self.open.pop().ok_or(PosixError::CloseGroup)?;
                self.closed = self.closed.saturating_add(1);
                self.out.push(')');
                self.atom = Some(start);
                return Ok(true);
            }
            Token::Or => {
                self.out.push('|');
                self.atom = None;
                return Ok(true);
            }
            Token::LineStart => {
                self.out.push_str(if self.syntax.newline { "(?m:^)" } else { "\\A" });
                self.atom = None;
                return Ok(true);
            }
            Token::LineEnd => self.out.push_str(if self.syntax.newline { "(?m:$)" } else { "\\z" }),
            Token::Star => return self.repeat("*"),
            Token::Plus => return self.repeat("+"),
            Token::Optional => return self.repeat("?"),
            Token::Brace => {
                let range = self.brace()?;
                return self.repeat(&range);
            }
        }
        self.atom = Some(start);
        Ok(true)
    }

    fn token(&mut self) -> Result<Option<Token>, PosixError> {
        let Some(&byte) = self.input.get(self.at) else { return Ok(None) };
        self.at += 1;
        if byte == b'\\' {
            return self.escaped().map(Some);
        }
        let token = match byte {
            b'.' => Token::Any,
            b'[' => Token::Bracket,
            b'*' if self.syntax.basic && self.atom.is_none() => Token::Byte(b'*'),
            b'*' => Token::Star,
            b'^' if self.syntax.basic && !self.at_start() => Token::Byte(byte),
            b'^' => Token::LineStart,
            b'$' if self.syntax.basic && !self.at_end() => Token::Byte(byte),
            b'$' => Token::LineEnd,
            _ if self.syntax.basic => Token::Byte(byte),
            b'(' => Token::Open,
            // One that closes nothing is itself.
            b')' if !self.open.is_empty() => Token::Close,
            b'|' => Token::Or,
            b'+' => Token::Plus,
            b'?' => Token::Optional,
            b'{' => Token::Brace,
            _ => Token::Byte(byte),
        };
        Ok(Some(token))
    }

    fn escaped(&mut self) -> Result<Token, PosixError> {
        let Some(&byte) = self.input.get(self.at) else { return Err(PosixError::TrailingBackslash) };
        self.at += 1;
        let basic = self.syntax.basic;
        Ok(match byte {
            b'(' if basic => Token::Open,
            b')' if basic => Token::Close,
            b'|' if basic => Token::Or,
            b'{' if basic && self.atom.is_none() => Token::Byte(b'{'),
            b'{' if basic => Token::Brace,
            b'+' if basic && self.atom.is_some() => Token::Plus,
            b'?' if basic && self.atom.is_some() => Token::Optional,
            b'1'..=b'9' => Token::Group(byte - b'0'),
            b'w' | b'W' | b's' | b'S' | b'b' | b'B' | b'<' | b'>' | b'`' | b'\'' => Token::Escape(byte),
            _ => Token::Byte(byte),
        })
    }

    /// Whether the `^` just read starts a basic expression, a group or an alternative.
    fn at_start(&self) -> bool {
        let before = &self.input[..self.at - 1];
        before.is_empty() || before.ends_with(b"\\(") || before.ends_with(b"\\|")
    }

    fn at_end(&self) -> bool {
        let after = &self.input[self.at..];
        after.is_empty() || after.starts_with(b"\\)") || after.starts_with(b"\\|")
    }

    fn byte(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() || byte == b'@' {
            self.out.push(char::from(byte));
        } else {
            self.out.push_str(&format!("\\x{byte:02x}"));
        }
    }

    fn repeat(&mut self, how: &str) -> Result<bool, PosixError> {
        let start = self.atom.ok_or(PosixError::NothingToRepeat)?;
        // `a+?` is an optional `a+` here, not a lazy one.
        self.out.insert_str(start, "(?:");
        self.out.push(')');
        self.out.push_str(how);
        Ok(true)
    }

    /// `{n}`, `{n,}`, `{n,m}`, `{,m}` after its opening.
    fn brace(&mut self) -> Result<String, PosixError> {
        if self.atom.is_none() {
            return Err(PosixError::NothingToRepeat);
        }
        let low = self.number()?;
        let high = if self.input.get(self.at) == Some(&b',') {
            self.at += 1;
            self.number()?
        } else {
            low
        };
        let comma = self.input.get(self.at.wrapping_sub(1)) == Some(&b',') || low != high;
        let close: &[u8] = if self.syntax.basic { b"\\}" } else { b"}" };
        if !self.input[self.at..].starts_with(close) {
            return Err(if self.at >= self.input.len() {
                PosixError::OpenBrace
            } else {
                PosixError::BraceContent
            });
        }
        self.at += close.len();
        match (low, high) {
            (None, None) if !comma => Err(PosixError::BraceContent),
            (low, Some(high)) if low.unwrap_or(0) > high => Err(PosixError::BraceContent),
            (Some(number), _) | (_, Some(number)) if number > REPEAT_LIMIT => Err(PosixError::TooBig),
            (_, Some(high)) if high > REPEAT_LIMIT => Err(PosixError::TooBig),
            (low, Some(high)) => Ok(format!("{{{},{high}}}", low.unwrap_or(0))),
            (low, None) => Ok(format!("{{{},}}", low.unwrap_or(0))),
        }
    }

    fn number(&mut self) -> Result<Option<u32>, PosixError> {
        let mut value = None;
        while let Some(digit @ b'0'..=b'9') = self.input.get(self.at) {
            self.at += 1;
            let so_far: u32 = value.unwrap_or(0);
            value = Some((so_far * 10 + u32::from(digit - b'0')).min(REPEAT_LIMIT + 1));
        }
        Ok(value)
    }

    fn bracket(&mut self) -> Result<(), PosixError> {
        let mut set = [false; 256];
        if self.at == self.input.len() {
            return Err(PosixError::Invalid);
        }
        let negated = self.input.get(self.at) == Some(&b'^');
        self.at += usize::from(negated);
        let mut first = true;
        loop {
            let byte = *self.input.get(self.at).ok_or(PosixError::OpenBracket)?;
            if byte == b']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            let Some(from) = self.bracket_item(&mut set)? else { continue };
            let rest = &self.input[self.at..];
            if rest.first() == Some(&b'-') && rest.get(1).is_some_and(|next| *next != b']') {
                self.at += 1;
                let to = self.bracket_item(&mut set)?.ok_or(PosixError::Range)?;
                if from > to {
                    return Err(PosixError::Range);
                }
                set[usize::from(from)..=usize::from(to)].fill(true);
            } else {
                set[usize::from(from)] = true;
            }
        }
        self.emit_set(set, negated);
        Ok(())
    }

    /// A byte, which may start a range, or a class, which is put into `set`.
    fn bracket_item(&mut self, set: &mut [bool; 256]) -> Result<Option<u8>, PosixError> {
        let byte = *self.input.get(self.at).ok_or(PosixError::OpenBracket)?;
        self.at += 1;
        let Some(&kind @ (b':' | b'.' | b'=')) = self.input.get(self.at).filter(|_| byte == b'[') else {
            return Ok(Some(byte));
        };
        let inside = &self.input[self.at + 1..];
        let end = inside.windows(2).position(|pair| pair == [kind, b']']);
        let Some(end) = end else {
            return if kind == b':' { Ok(Some(byte)) } else { Err(PosixError::OpenBracket) };
        };
        let name = &inside[..end];
        self.at += end + 3;
        match (kind, name) {
            (b':', name) => {
                let class = class(name, self.syntax.fold).ok_or(PosixError::ClassName)?;
                for byte in 0..=u8::MAX {
                    set[usize::from(byte)] |= class(byte);
                }
                Ok(None)
            }
            (b'.', [byte]) => Ok(Some(*byte)),
            (b'=', [byte]) => {
                set[usize::from(*byte)] = true;
                Ok(None)
            }
            _ => Err(PosixError::Collation),
        }
    }

    fn emit_set(&mut self, mut set: [bool; 256], negated: bool) {
        if self.syntax.fold {
            for letter in b'a'..=b'z' {
                let (lower, upper) = (usize::from(letter), usize::from(letter.to_ascii_uppercase()));
                let either = set[lower] || set[upper];
                (set[lower], set[upper]) = (either, either);
            }
        }
        if negated {
            set.iter_mut().for_each(|member| *member = !*member);
            if self.syntax.newline {
                set[usize::from(b'\n')] = false;
            }
        }
        self.out.push('[');
        let mut byte = 0;
        while byte < set.len() {
            let length = set[byte..].iter().take_while(|member| **member).count();
            if length > 0 {
                self.out.push_str(&format!("\\x{byte:02x}-\\x{:02x}", byte + length - 1));
            }
            byte += length.max(1);
        }
        // A set with nothing in it matches nothing.
        if self.out.ends_with('[') {
            self.out.push_str("^\\x00-\\xff");
        }
        self.out.push(']');
    }
}

fn class(name: &[u8], fold: bool) -> Option<fn(u8) -> bool> {
    Some(match name {
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"upper" | b"lower" if fold => |byte| byte.is_ascii_alphabetic(),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"space" => config::logical_lines::is_space,
        b"blank" => |byte| byte == b' ' || byte == b'\t',
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"print" => |byte| byte == b' ' || byte.is_ascii_graphic(),
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text as regexp tables of 3.7.11 on glibc gave it; no text: accepted.
    #[test]
    fn errors_observed() {
        for (pattern, expected) in [
            ("*a", "Invalid preceding regular expression"),
            ("a**", ""),
            ("a{", "Unmatched \\{"),
            ("a{1", "Unmatched \\{"),
            ("a{1,2", "Unmatched \\{"),
            ("a{2,1}", "Invalid content of \\{\\}"),
            ("a{99999}", "Regular expression too big"),
            ("{1}", "Invalid preceding regular expression"),
            ("a)", ""),
            ("()", ""),
            ("a||b", ""),
            ("[", "Invalid regular expression"),
            ("[]", "Unmatched [, [^, [:, [., or [="),
            ("[z-a]", "Invalid range end"),
            ("[[:foo:]]", "Invalid character class name"),
            ("(a", "Unmatched ( or \\("),
            ("[[.a.]]", ""),
            ("[[.space.]]", "Invalid collation character"),
            ("\\1", "Invalid back reference"),
            ("a{1,2}{3}", ""),
            ("^*", "Invalid preceding regular expression"),
            ("(*a)", "Invalid preceding regular expression"),
            ("a|*b", "Invalid preceding regular expression"),
            ("a+?", ""),
        ] {
            let syntax = Syntax { basic: false, newline: false, fold: true };
            let result = translate(pattern.as_bytes(), syntax);
            assert_eq!(result.err().map(|e| e.to_string()).unwrap_or_default(), expected, "{pattern}");
        }
    }
}
