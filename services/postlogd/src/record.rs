//! The parts of a line that syslog wants separately.
//!
//! `Mon DD HH:MM:SS HOST NAME[PID]: TEXT`; time and host are syslog's own affair. The severity is part of the
//! text. The name ends at a blank or a colon, and a line without brackets has the name alone.

/// Whose line it is, and what it says.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `NAME[PID]`.
    pub ident: String,
    /// The rest, without the blanks before it.
    pub text: &'a [u8],
}

/// Words before the name: month, day, time, host.
const WORDS: usize = 4;

/// Takes a line apart; `None` when it is too short to be one.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    // A NUL would end the line in syslog too.
    let mut rest = line.split(|byte| *byte == 0).next()?;
    for _ in 0..WORDS {
        rest = word(rest, is_blank).1;
    }
    let (ident, text) = word(rest, |byte| is_blank(byte) || byte == b':');
    if ident.is_empty() {
        return None;
    }
    Some(Record { ident: String::from_utf8_lossy(ident).into_owned(), text })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The first word and what follows the delimiters behind it.
fn word(text: &[u8], is_delimiter: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let start = text.iter().position(|byte| !is_delimiter(*byte)).unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let end = text.iter().position(|byte| is_delimiter(*byte)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let next = rest.iter().position(|byte| !is_delimiter(*byte)).unwrap_or(rest.len());
    (word, rest.get(next..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_a_real_postlogd_takes_them_apart() {
        type Expected = Option<(&'static str, &'static [u8])>;
        let table: &[(&[u8], Expected)] = &[
            (
                b"Nov 22 06:13:30 ipc postfix/cleanup[21548]: C1A849961F5: message-id=<a@b>",
                Some(("postfix/cleanup[21548]", b"C1A849961F5: message-id=<a@b>")),
            ),
            (b"Nov 22 06:13:30 ipc a[1]: warning: text: more", Some(("a[1]", b"warning: text: more"))),
            (b"Nov  2 06:13:30 h n[3]: twoblanks", Some(("n[3]", b"twoblanks"))),
            (b"a b c d e[1]:   text  two", Some(("e[1]", b"text  two"))),
            (b"a b c d foo bar[1]: text", Some(("foo", b"bar[1]: text"))),
            (b"a b c d foo[1] no colon", Some(("foo[1]", b"no colon"))),
            (b"a b c d [22]: x", Some(("[22]", b"x"))),
            (b"a b c d n[1]:tight", Some(("n[1]", b"tight"))),
            (b"a b c d n[1]: a\0b", Some(("n[1]", b"a"))),
            (b"a b c d e", Some(("e", b""))),
            (b"a b c d", None),
            (b"short", None),
            (b"", None),
        ];
        for (line, expected) in table {
            let found = parse(line);
            let found = found.as_ref().map(|record| (record.ident.as_str(), record.text));
            assert_eq!(found, *expected, "{}", String::from_utf8_lossy(line));
        }
    }
}
