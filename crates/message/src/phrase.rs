//! A full name as an RFC 5322 phrase or comment (spec cleanup 12, step 4).

/// The name as a phrase: as it is when no character needs quoting, else one quoted string.
///
/// Words of an unquoted phrase are separated by one blank.
pub fn phrase(name: &[u8]) -> Vec<u8> {
    if name.iter().any(|byte| b"%!()<>@,;:\\\".[]".contains(byte)) {
        let mut quoted = Vec::with_capacity(name.len() + 2);
        quoted.push(b'"');
        for byte in name {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(*byte);
        }
        quoted.push(b'"');
        return quoted;
    }
    let words: Vec<&[u8]> = name.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::phrase;

    #[test]
    fn forms() {
        assert_eq!(phrase(b"Alice  User"), b"Alice User");
        assert_eq!(phrase(br#"Alice Q. "Quoted" User"#), br#""Alice Q. \"Quoted\" User""#);
        assert_eq!(phrase(b""), b"");
    }
}
