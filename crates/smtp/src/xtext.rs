//! xtext (RFC 3461 section 4) and utf-8-addr-xtext (RFC 6533 section 3).

/// Appends `value` as xtext: bytes below 33, above 126, `+` and `=` as `+XX` with upper-case digits.
pub fn encode(value: &[u8], out: &mut Vec<u8>) {
    encode_except(value, b"+=", out);
}

/// Appends `value` as Postfix encodes XFORWARD values: `=` stays as it is.
pub fn encode_attribute(value: &[u8], out: &mut Vec<u8>) {
    encode_except(value, b"+", out);
}

fn encode_except(value: &[u8], special: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in value {
        if (33..=126).contains(&byte) && !special.contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'+', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Appends `value` as utf-8-addr-xtext: code points that are not printable ASCII, and `+`, `=` and the backslash, as `\x{XX}`.
/// False, and nothing appended, when it is not UTF-8.
#[must_use]
pub fn encode_unitext(value: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    for character in text.chars() {
        match character {
            '!'..='~' if !matches!(character, '+' | '=' | '\\') => out.push(character as u8),
            _ => out.extend_from_slice(format!("\\x{{{:X}}}", u32::from(character)).as_bytes()),
        }
    }
    true
}

/// The bytes behind xtext; digits in any case. `None` when a `+` is not followed by two hexadecimal digits.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'+' {
            let (digits, tail) = rest.split_at_checked(2)?;
            out.push(hex(digits[0])? << 4 | hex(digits[1])?);
            rest = tail;
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// The bytes behind utf-8-addr-unitext: `\x{HEX}` stands for a code point, other bytes for themselves, a backslash
/// without `x{` too. `None` when an escape is malformed or beyond U+10FFFF. As lax as Postfix 3.7.11 (observed): no
/// digit at all is U+0000, and a surrogate is encoded like any other number.
#[must_use]
pub fn decode_unitext(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let Some(escape) = rest.strip_prefix(b"\\x{") else {
            out.push(byte);
            rest = tail;
            continue;
        };
        let end = escape.iter().position(|&byte| byte == b'}')?;
        let mut value = 0u32;
        for &digit in &escape[..end] {
            value = value << 4 | u32::from(hex(digit)?);
            if value > 0x10_ffff {
                return None;
            }
        }
        encode_code_point(value, &mut out);
        rest = &escape[end + 1..];
    }
    Some(out)
}

fn encode_code_point(value: u32, out: &mut Vec<u8>) {
    match char::from_u32(value) {
        Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            let [_, _, high, low] = value.to_be_bytes();
            out.extend_from_slice(&[0xe0 | high >> 4, 0x80 | (high & 15) << 2 | low >> 6, 0x80 | low & 63]);
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let mut out = Vec::new();
        encode("spike x+=é".as_bytes(), &mut out);
        assert_eq!(out, b"spike+20x+2B+3D+C3+A9");
        assert_eq!(decode(&out).unwrap(), "spike x+=é".as_bytes());
        assert_eq!(decode(b"a+2").as_deref(), None);
        assert_eq!(decode(b"a+zz").as_deref(), None);
        assert_eq!(decode(b"a+2b").as_deref(), Some(&b"a+"[..]));
    }

    #[test]
    fn unitext() {
        let mut out = Vec::new();
        assert!(encode_unitext("é+=\\ a".as_bytes(), &mut out));
        assert_eq!(out, b"\\x{E9}\\x{2B}\\x{3D}\\x{5C}\\x{20}a");
        assert!(!encode_unitext(b"\xe9", &mut Vec::new()));
        assert_eq!(decode_unitext(b"a\\x{E9}b@c").unwrap(), "aéb@c".as_bytes());
        for (text, bytes) in [
            (&b"\\x{}"[..], Some(&b"\0"[..])),
            (b"a\\b\\", Some(b"a\\b\\")),
            (b"\\x41", Some(b"\\x41")),
            (b"\\x{D800}", Some(b"\xed\xa0\x80")),
            (b"\\x{0000041}", Some(b"A")),
            (b"\\x{110000}", None),
            (b"\\x{12", None),
            (b"\\x{zz}", None),
        ] {
            assert_eq!(decode_unitext(text).as_deref(), bytes, "{text:?}");
        }
    }
}
