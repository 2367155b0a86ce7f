//! Numbers as `scanf` reads them: what `%u` and `%lu` accept (spec ipc 2.1).

/// Reads white space, an optional sign and digits; anything after them makes the text malformed.
///
/// As in the C library a negative number wraps around and one that is too large becomes the largest.
pub(super) fn unsigned(text: &[u8]) -> Option<u64> {
    let start = text.iter().position(|c| !matches!(c, b' ' | b'\t'..=b'\r'))?;
    let (negative, digits) = match text[start] {
        b'-' => (true, &text[start + 1..]),
        b'+' => (false, &text[start + 1..]),
        _ => (false, &text[start..]),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: Option<u64> = Some(0);
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = u64::from(digit - b'0');
        value = value.and_then(|v| v.checked_mul(10)?.checked_add(digit));
    }
    Some(match (value, negative) {
        (None, _) => u64::MAX,
        (Some(v), true) => v.wrapping_neg(),
        (Some(v), false) => v,
    })
}

/// A 32-bit attribute: status codes -1 and -2 travel as 4294967295 and 4294967294.
#[allow(clippy::cast_possible_truncation)] // what `%u` does to a larger number
pub(super) fn int(text: &[u8]) -> Option<i32> {
    unsigned(text).map(|v| v as u32 as i32)
}

/// A 64-bit attribute.
#[allow(clippy::cast_possible_wrap)]
pub(super) fn long(text: &[u8]) -> Option<i64> {
    unsigned(text).map(|v| v as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_scanf_takes_them() {
        for (text, expected) in [
            (&b"0"[..], Some(0)),
            (b"4294967295", Some(-1)),
            (b"4294967294", Some(-2)),
            (b"-1", Some(-1)),
            (b" +7", Some(7)),
            (b"", None),
            (b"x", None),
            (b"-", None),
            (b"12x", None),
        ] {
            assert_eq!(int(text), expected, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(long(b"18446744073709551615"), Some(-1));
        assert_eq!(long(b"99999999999999999999999"), Some(-1));
    }
}
