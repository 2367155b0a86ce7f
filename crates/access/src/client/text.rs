//! Bytes of a client made fit for being shown, stored or compared.

use std::borrow::Cow;

use smtp::command::Token;

/// Tokens joined with single spaces.
pub fn join(tokens: &[Token]) -> Vec<u8> {
    let words: Vec<&[u8]> = tokens.iter().map(|token| token.text).collect();
    words.join(&b' ')
}

/// Printable ASCII, as C's isprint sees it.
pub fn is_printable(byte: u8) -> bool {
    (32..=126).contains(&byte)
}

/// Non-printable bytes become `with`. With `utf8` (`smtputf8_enable`), characters beyond ASCII that are well-formed
/// UTF-8 stay.
pub fn printable(text: &[u8], with: u8, utf8: bool) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        let keep = |byte: u8| is_printable(byte) || (utf8 && byte >= 0x80);
        shown.extend(chunk.valid().bytes().map(|byte| if keep(byte) { byte } else { with }));
        shown.extend(chunk.invalid().iter().map(|_| with));
    }
    shown
}

/// What a client sent, as a transcript shows it: up to a NUL, and printable.
pub fn as_text(line: &[u8], utf8: bool) -> Cow<'_, [u8]> {
    if line.iter().copied().all(is_printable) {
        return Cow::Borrowed(line);
    }
    Cow::Owned(printable(line.split(|&byte| byte == 0).next().unwrap_or_default(), b'?', utf8))
}

/// Characters that would change the meaning of a Received: header or a log line.
const NEUTRALISED: &[u8] = b"<>()\\\";@ ";

/// A HELO name or XFORWARD value: what is not printable, and what has a meaning in headers, becomes `?`.
pub fn censored(text: &[u8], utf8: bool) -> Vec<u8> {
    let mut text = printable(text, b'?', utf8);
    for byte in &mut text {
        if NEUTRALISED.contains(byte) {
            *byte = b'?';
        }
    }
    text
}

/// Text for the inside of a header comment: what is not printable ASCII, backslashes, and parentheses that close nothing
/// become `?`; those that nothing closes are closed.
pub(crate) fn in_comment(text: &[u8]) -> Vec<u8> {
    let mut open = 0;
    let mut shown: Vec<u8> = text
        .iter()
        .map(|&byte| match byte {
            b'(' => {
                open += 1;
                byte
            }
            b')' if open > 0 => {
                open -= 1;
                byte
            }
            b')' | b'\\' => b'?',
            byte if is_printable(byte) => byte,
            _ => b'?',
        })
        .collect();
    shown.extend(std::iter::repeat_n(b')', open));
    shown
}

/// At most `limit` bytes of the text.
pub fn head(text: &[u8], limit: usize) -> &[u8] {
    &text[..text.len().min(limit)]
}

/// C-style escapes: `\r\n`, `\t`, `\\`, octal for the rest of what is not printable.
pub fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'\\' => out.push_str("\\\\"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            12 => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            11 => out.push_str("\\v"),
            byte if is_printable(byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{censored, escaped, in_comment, printable};

    #[test]
    fn comments() {
        assert_eq!(in_comment(b"jo)e(\\"), b"jo?e(?)");
        assert_eq!(in_comment("a(b(c)\u{e9}\n".as_bytes()), b"a(b(c)???)");
        assert_eq!(in_comment(b"alice"), b"alice");
    }

    #[test]
    fn censoring() {
        assert_eq!(censored(b"a<b>@(c)\"d", false), b"a?b???c??d");
        assert_eq!(censored(b"sp ike", false), b"sp?ike");
        assert_eq!(censored("h\u{e9}".as_bytes(), false), b"h??");
        assert_eq!(censored(b"h\xc3\xa9\xe9 ", true), b"h\xc3\xa9??");
        assert_eq!(printable("h\u{e9}\u{1}".as_bytes(), b' ', true), "h\u{e9} ".as_bytes());
        assert_eq!(escaped(b"NOOP\r\n\x01\\"), "NOOP\\r\\n\\001\\\\");
    }
}
