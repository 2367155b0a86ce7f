//! Text to numbers, times and yes/no, exactly as lax and as strict as Postfix.
//!
//! Numbers are read as C's `strtol` reads them: white space and a sign may come first, nothing may
//! come after. A time looks at one byte after the digits, its unit, and at nothing behind it.

use std::time::Duration;

use crate::logical_lines::trim_start;

/// A decimal number and the text behind it. `None` without digits or when it does not fit.
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = trim_start(text);
    let unsigned = text.strip_prefix(b"+").or(text.strip_prefix(b"-")).unwrap_or(text);
    let digits = unsigned.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(unsigned.len());
    if digits == 0 {
        return None;
    }
    let (number, rest) = text.split_at(text.len() - unsigned.len() + digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// A whole text as a 64-bit number.
pub fn long(text: &[u8]) -> Option<i64> {
    match number(text)? {
        (value, []) => Some(value),
        _ => None,
    }
}

/// A whole text as a 32-bit number.
pub fn integer(text: &[u8]) -> Option<i32> {
    long(text)?.try_into().ok()
}

/// `yes` or `no` in any letter case; nothing else.
pub fn boolean(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"yes") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"no") {
        Some(false)
    } else {
        None
    }
}

/// A number and an optional unit (`s m h d w`), `unit` when there is none. The result fits a
/// 32-bit number of seconds.
///
/// ```
/// use config::value::time;
/// assert_eq!(time(b"5min", b's').unwrap().as_secs(), 300);
/// assert_eq!(time(b"2", b'h').unwrap().as_secs(), 7200);
/// assert_eq!(time(b"5 m", b's'), None);
/// ```
pub fn time(text: &[u8], unit: u8) -> Option<Duration> {
    // A letter alone is that many times nothing, as C's `strtol` has it (observed, 3.7.11).
    let (count, rest) = match number(text) {
        None if text.is_empty() => return None,
        found => found.unwrap_or((0, text)),
    };
    let seconds: i64 = match rest.first().unwrap_or(&unit) {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 86_400,
        b'w' => 604_800,
        _ => return None,
    };
    let total = i32::try_from(count.checked_mul(seconds)?).ok()?;
    Some(Duration::from_secs(u64::try_from(total).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases: &[(&str, Option<i32>)] = &[
            ("0", Some(0)),
            ("+3", Some(3)),
            (" -3", Some(-3)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
            ("99999999999999999999", None),
            ("0x10", None),
            ("1k", None),
            ("1 ", None),
            ("\"1\"", None),
            ("", None),
            ("-", None),
            ("+-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text.as_bytes()), *expected, "{text:?}");
        }
        assert_eq!(long(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(long(b"9223372036854775808"), None);
    }

    #[test]
    fn times() {
        let cases: &[(&str, u8, Option<u64>)] = &[
            ("5", b'h', Some(18_000)),
            ("+5", b's', Some(5)),
            (" 5s5", b's', Some(5)),
            ("0", b'd', Some(0)),
            ("1w", b's', Some(604_800)),
            ("-1", b's', None),
            ("1.5h", b's', None),
            ("5y", b's', None),
            ("d", b's', Some(0)),
            ("weeks", b's', Some(0)),
            ("x", b's', None),
            (" d", b's', None),
            ("-d", b's', None),
            ("5M", b's', None),
            ("", b's', None),
            ("40000w", b's', None),
            ("3000000000", b's', None),
        ];
        for (text, unit, expected) in cases {
            assert_eq!(time(text.as_bytes(), *unit).map(|t| t.as_secs()), *expected, "{text:?}");
        }
    }

    #[test]
    fn booleans() {
        let cases = [("yes", Some(true)), ("NO", Some(false)), ("true", None), ("1", None), ("", None)];
        for (text, expected) in cases {
            assert_eq!(boolean(text.as_bytes()), expected, "{text:?}");
        }
    }
}
