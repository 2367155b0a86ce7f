//! External and internal form of one address, as plain bytes (spec trivial-rewrite 2.2, 2.3).

use crate::token::is_special;

/// Whether a local part cannot be written as a dot-string. Bytes above 127 are never a reason to quote.
#[must_use]
fn needs_quotes(local_part: &[u8]) -> bool {
    local_part.is_empty()
        || local_part.split(|c| *c == b'.').any(<[u8]>::is_empty)
        || local_part.iter().any(|c| *c <= b' ' || *c == 127 || is_special(*c) && *c != b'.')
}

/// The external form of an address in internal form: the local part, which ends at the last `@`, is quoted
/// where it has to be. A source route in front is copied as it is.
#[must_use]
pub fn external(internal: &[u8]) -> Vec<u8> {
    let start = behind_route(internal);
    let end = internal.iter().rposition(|c| *c == b'@').filter(|at| *at >= start).unwrap_or(internal.len());
    quoted(internal, start, end)
}

/// The form of an address in internal form in MAIL and RCPT: as [`external`], but what looks like a source route is part of
/// the local part, and the null address stays what it is.
#[must_use]
pub fn envelope_form(internal: &[u8]) -> Vec<u8> {
    if internal.is_empty() {
        return Vec::new();
    }
    quoted(internal, 0, internal.iter().rposition(|c| *c == b'@').unwrap_or(internal.len()))
}

/// Where the local part begins: behind a source route, if there is one.
fn behind_route(address: &[u8]) -> usize {
    match address.first() {
        Some(b'@') => address.iter().position(|c| *c == b':').map_or(0, |at| at + 1),
        _ => 0,
    }
}

/// The address with the part from `start` to `end` in quotes where that has to be.
fn quoted(internal: &[u8], start: usize, end: usize) -> Vec<u8> {
    let local_part = &internal[start..end];
    if !needs_quotes(local_part) {
        return internal.to_vec();
    }
    let mut out = Vec::with_capacity(internal.len() + 4);
    out.extend_from_slice(&internal[..start]);
    out.push(b'"');
    for byte in local_part {
        if matches!(byte, b'"' | b'\\' | b'\r') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out.extend_from_slice(&internal[end..]);
    out
}

/// The internal form of an address in external form: quotes and backslashes are removed up to the last `@`
/// outside quotes, what follows is copied, and so is a source route in front (spec cleanup 5.5).
#[must_use]
pub fn internal(external: &[u8]) -> Vec<u8> {
    let mut quoted = false;
    let mut escaped = false;
    let start = behind_route(external);
    let mut end = external.len();
    for (index, byte) in external.iter().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'@' if !quoted => end = index,
            _ => {}
        }
    }
    let mut internal = Vec::with_capacity(external.len());
    internal.extend_from_slice(&external[..start]);
    let mut bytes = external[start..end].iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {}
            b'\\' => internal.extend(bytes.next()),
            _ => internal.push(*byte),
        }
    }
    internal.extend_from_slice(&external[end..]);
    internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_where_needed() {
        for (internal, expected) in [
            ("joe@example.com", "joe@example.com"),
            ("al ice@example.com", "\"al ice\"@example.com"),
            ("a@b@c", "\"a@b\"@c"),
            ("", "\"\""),
            ("@x", "\"\"@x"),
            ("@x:joe@y", "@x:joe@y"),
            ("@x:a b@y", "@x:\"a b\"@y"),
            (".a@x", "\".a\"@x"),
            ("a..b@x", "\"a..b\"@x"),
            ("a\"b\\c@x", "\"a\\\"b\\\\c\"@x"),
            ("j\u{f6}rg@x", "j\u{f6}rg@x"),
        ] {
            assert_eq!(String::from_utf8_lossy(&external(internal.as_bytes())), expected);
        }
    }

    #[test]
    fn unquoted() {
        for (external, expected) in [
            ("joe@example.com", "joe@example.com"),
            ("\"al ice\"@example.com", "al ice@example.com"),
            ("\"a@b\\\"\"@x", "a@b\"@x"),
            ("\"\"", ""),
            ("a@\"b\"", "a@\"b\""),
            ("@x:\"\"", "@x:"),
            ("@x:\"a b\"@y", "@x:a b@y"),
            ("@x", "@x"),
            ("a\\", "a"),
        ] {
            assert_eq!(String::from_utf8_lossy(&internal(external.as_bytes())), expected);
        }
    }
}
