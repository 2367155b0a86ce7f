//! Where the header of a message ends, for `-h` and `-b`.
//!
//! A text record belongs to the header as long as it looks like a header field or a continuation of one. A record
//! behind an unterminated one is not looked at, but only when that one was printed: with `-b` alone a long header line
//! ends the header at its second record (observed, 3.7.11).

/// Whether a text record looks like (the start of) a header field, or like a continuation line.
pub(crate) fn is_header(text: &[u8]) -> bool {
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return true;
    }
    let name = text.iter().take_while(|byte| byte.is_ascii_graphic() && **byte != b':').count();
    let rest = &text[name..];
    let colon = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    name > 0 && colon == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::is_header;

    #[test]
    fn headers() {
        for (text, expected) in [
            ("Subject: x", true),
            ("a:", true),
            ("a : c", true),
            ("a\t: c", true),
            ("\tcontinued", true),
            (" : c", true),
            ("", false),
            (":x", false),
            ("a b: c", false),
            ("From foo", false),
            ("é: x", false),
            ("\u{1}: c", false),
        ] {
            assert_eq!(is_header(text.as_bytes()), expected, "{text:?}");
        }
    }
}
