//! The result of a rule: text with `$1`, `${1}`, `$(1)` and `$$` in it (spec tables 9).

use config::printable;

#[derive(Debug)]
enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

/// A parsed result.
#[derive(Debug)]
pub(super) struct Replacement(Vec<Piece>);

impl Replacement {
    /// Takes a result apart; `zero` is what `$0` is called. `None` when it cannot be used; `warn` has been told.
    pub(super) fn parse(text: &[u8], zero: &str, mut warn: impl FnMut(&str)) -> Option<Replacement> {
        let mut pieces = Vec::new();
        let mut good = true;
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte != b'$' {
                literal.push(byte);
            } else if let Some(after) = rest.strip_prefix(b"$") {
                literal.push(b'$');
                rest = after;
            } else {
                let Some((name, after)) = macro_name(rest) else {
                    log::warn!("truncated macro reference: \"{}\"", printable(text));
                    return None;
                };
                rest = after;
                if name.is_empty() {
                    log::warn!("empty macro name: \"{}\"", printable(text));
                    return None;
                }
                match number(name) {
                    Some(0) => {
                        warn(&format!("{zero} replacement index \"{}\"", printable(name)));
                        good = false;
                    }
                    Some(number) => {
                        pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                        pieces.push(Piece::Group(number));
                    }
                    None => {
                        warn(&format!("non-numeric replacement index \"{}\"", printable(name)));
                        good = false;
                    }
                }
            }
        }
        pieces.push(Piece::Text(literal.into()));
        good.then_some(Replacement(pieces))
    }

    /// The highest group that is named; 0 for none.
    pub(super) fn highest(&self) -> usize {
        let groups = self.0.iter().map(|piece| if let Piece::Group(number) = piece { *number } else { 0 });
        groups.max().unwrap_or(0)
    }

    /// The text before the first group.
    pub(super) fn start(&self) -> &[u8] {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Group(_)) | None => &[],
        }
    }

    /// The result for a key of which the groups matched these spans.
    pub(super) fn expand(&self, key: &[u8], spans: &[Option<(usize, usize)>]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Group(number) => {
                    let span = spans.get(*number).copied().flatten();
                    out.extend_from_slice(span.and_then(|(from, to)| key.get(from..to)).unwrap_or_default());
                }
            }
        }
        out
    }
}

/// The name after a `$`, and what follows; `None` when its brace is not closed.
fn macro_name(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (open, close) = match rest.first() {
        Some(b'{') => (b'{', b'}'),
        Some(b'(') => (b'(', b')'),
        _ => {
            let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
            return Some(rest.split_at(end.unwrap_or(rest.len())));
        }
    };
    let mut level = 0usize;
    for (at, byte) in rest.iter().enumerate() {
        if *byte == open {
            level += 1;
        } else if *byte == close {
            level -= 1;
            if level == 0 {
                return Some((&rest[1..at], &rest[at + 1..]));
            }
        }
    }
    None
}

fn number(name: &[u8]) -> Option<usize> {
    let digits = name.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(name).ok()).flatten()?;
    // A number too big for the machine is certainly more than the number of groups.
    Some(digits.parse().unwrap_or(usize::MAX))
}
