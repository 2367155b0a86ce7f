//! Header lines: which lines are some, and what stands in them.

/// Whether a line may stand in a message's header: `name:`, or more of the line before.
pub(crate) fn continues(line: &[u8]) -> bool {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return true;
    }
    let end =
        line.iter().position(|byte| !(b'!'..=b'~').contains(byte) || *byte == b':').unwrap_or(line.len());
    let behind = line[end..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    end > 0 && behind == Some(&b':')
}

/// An address of a message file in external form; line ends are blanks. Unless bytes of eight bits are left as they are they
/// stand behind backslashes.
pub(crate) fn quoted(internal: &[u8], leaves_eight_bits: bool) -> Vec<u8> {
    let start = match internal.first() {
        Some(b'@') => internal.iter().position(|byte| *byte == b':').map_or(0, |at| at + 1),
        _ => 0,
    };
    let end =
        internal.iter().rposition(|byte| *byte == b'@').filter(|at| *at >= start).unwrap_or(internal.len());
    let local_part = &internal[start..end];
    let mut out = if leaves_eight_bits || local_part.is_ascii() {
        address::external(internal)
    } else {
        let mut out = [&internal[..start], b"\""].concat();
        for &byte in local_part {
            if matches!(byte, b'"' | b'\\' | b'\r') || !byte.is_ascii() {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
        out.extend_from_slice(&internal[end..]);
        out
    };
    out.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    out
}

/// A Message-ID from its record: one pair of brackets with something between them, and nothing around.
pub(crate) fn message_id(text: &[u8]) -> Result<Vec<u8>, String> {
    let shown = || maillog::shown(text).to_string();
    if text.first() != Some(&b'<') {
        return Err(format!("no '<' at start of text in \"{}\"", shown()));
    }
    // Brackets inside are counted (observed, 3.10).
    let mut depth = 0_usize;
    let closes = |byte: &u8| {
        match byte {
            b'<' => depth += 1,
            b'>' => depth -= 1,
            _ => {}
        }
        depth == 0
    };
    match text.iter().position(closes) {
        None => Err(format!("missing '>' in \"{}\"", shown())),
        Some(end) if end + 1 < text.len() => Err(format!("syntax error after '>' in \"{}\"", shown())),
        Some(_) => Ok(text.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As observed from 3.7.11.
    #[test]
    fn header_lines() {
        for (line, expected) in [
            ("Subject: x", true),
            (" leading", true),
            ("Subject : x", true),
            ("a\t: b", true),
            ("A:", true),
            ("a b: c", false),
            (":x", false),
            ("From foo", false),
            ("", false),
            ("\u{c3}: b", false),
        ] {
            assert_eq!(continues(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn senders() {
        for (internal, expected) in [
            (&b"a b@x"[..], &b"\"a b\"@x"[..]),
            (b"\xe9@x", b"\"\\\xe9\"@x"),
            (b"a@\xe9", b"a@\xe9"),
            (b"@r:a b@c", b"@r:\"a b\"@c"),
            (b"a\nb@x", b"\"a b\"@x"),
        ] {
            assert_eq!(quoted(internal, false), expected);
        }
        assert_eq!(quoted(b"\xe9@x", true), b"\xe9@x");
    }
}
