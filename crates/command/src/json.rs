//! Texts in JSON, as Postfix's commands write them.

/// A string in quotes. Control characters are escaped; what is not ASCII stays as it is, be it UTF-8 or not.
#[must_use]
pub fn string(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
    out
}

/// The same of text, as text.
#[must_use]
pub fn quoted(text: &str) -> String {
    // What is escaped is ASCII.
    String::from_utf8_lossy(&string(text.as_bytes())).into_owned()
}

/// An object of one pair, as the option `-j` of several commands writes it.
#[must_use]
pub fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
    [b"{", string(key).as_slice(), b": ", &string(value), b"}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As postmap of 3.11.7 wrote them.
    #[test]
    fn observed() {
        let value = b"\x01\x02\x7f/\t.\xc3\xa9\x08\x0c\x0d\x0b \"\\\xff";
        let expected = b"{\"a\": \"\\u0001\\u0002\\u007F/\\t.\xc3\xa9\\b\\f\\r\\u000B \\\"\\\\\xff\"}";
        assert_eq!(pair(b"a", value), expected);
    }
}
