//! Case folding of keys (spec tables 3).

/// `text` with case folded: Unicode folding when `utf8` and the text is UTF-8, else ASCII letters only.
#[must_use]
pub fn fold(text: &[u8], utf8: bool) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) if utf8 && !text.is_ascii() => fold_unicode(text).into_bytes(),
        _ => text.to_ascii_lowercase(),
    }
}

/// Full case folding by way of upper case: `ß` becomes `ss` and final sigma an ordinary one, as in the
/// folding tables of Unicode. The dotless i, which has no folding there, is left alone.
fn fold_unicode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == 'ı' {
            out.push(c);
        } else {
            out.extend(c.to_uppercase().flat_map(char::to_lowercase));
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
        assert_eq!(fold("ÉT".as_bytes(), false), "Ét".as_bytes());
        assert_eq!(fold(b"A\xffB", true), b"a\xffb");
    }
}
