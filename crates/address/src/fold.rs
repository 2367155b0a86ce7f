//! Case folding of addresses, names and keys (spec tables 3).

use std::borrow::Cow;

/// `text` with case folded: Unicode folding when `utf8` and the text is UTF-8, else ASCII letters only.
#[must_use]
pub fn fold(text: &[u8], utf8: bool) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) if utf8 && !text.is_ascii() => fold_unicode(text).into_bytes(),
        _ => text.to_ascii_lowercase(),
    }
}

/// The same of a name that is folded by Unicode; one that is in lower case already, as most are, is not copied.
#[must_use]
pub fn folded(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(fold(text, true))
    }
}

/// Full case folding: lower, upper, and lower case again give what the folding tables of Unicode have (`ß` and `ẞ`
/// become `ss`, a final sigma an ordinary one), but for the dotless i, which has no folding there, and Cherokee, whose
/// letters fold to their older, upper case.
fn fold_unicode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ı' => out.push(c),
            '\u{13a0}'..='\u{13fd}' | '\u{ab70}'..='\u{abbf}' => out.extend(c.to_uppercase()),
            _ => out.extend(c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding() {
        assert_eq!(fold("ÉTÉ".as_bytes(), true), "été".as_bytes());
        assert_eq!(fold("Straße".as_bytes(), true), b"strasse");
        assert_eq!(fold("STRAẞE ΣΑΣ K ﬁ ı".as_bytes(), true), "strasse σασ k fi ı".as_bytes());
        assert_eq!(fold("\u{ab70}\u{13f8}\u{13a0}".as_bytes(), true), "\u{13a0}\u{13f0}\u{13a0}".as_bytes());
        assert_eq!(fold("ÉT".as_bytes(), false), "Ét".as_bytes());
        assert_eq!(fold(b"A\xffB", true), b"a\xffb");
        for text in ["", "a.example", "A.example", "É", "é", "ẞ"] {
            assert_eq!(folded(text.as_bytes()), fold(text.as_bytes(), true), "{text}");
        }
    }
}
