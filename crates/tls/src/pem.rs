//! PEM files: objects between BEGIN and END lines (RFC 7468), in their order.
//!
//! Text outside of objects is ignored, and so is the mark that some editors put before the first line (observed, 3.7.11). An object without its END line, or whose lines are not base64, ends the reading
//! with an error; objects with headers (encrypted keys) cannot be used, and are errors too.

use base64::alphabet::STANDARD;
use base64::engine::{Engine, GeneralPurpose, GeneralPurposeConfig};

/// As OpenSSL reads it: bits that belong to no byte are passed over.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What an editor may put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// `CERTIFICATE`, `PRIVATE KEY`.
    pub(crate) label: String,
    /// Its bytes.
    pub(crate) der: Vec<u8>,
}

/// A file is not PEM; at this object, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) usize);

/// The objects of a file.
pub(crate) fn objects(text: &[u8]) -> Result<Vec<Object>, Malformed> {
    let mut objects = Vec::new();
    let mut open: Option<(String, Vec<u8>)> = None;
    // Files are put together, each with its first line.
    let mut is_first = true;
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii_end();
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(line);
        is_first = false;
        let malformed = Malformed(objects.len() + 1);
        match &mut open {
            None => {
                if let Some(label) = mark(line, b"-----BEGIN ") {
                    open = Some((label, Vec::new()));
                }
            }
            Some((label, body)) => {
                if let Some(end) = mark(line, b"-----END ") {
                    if end != *label {
                        return Err(malformed);
                    }
                    let der = BASE64.decode(body).map_err(|_| malformed)?;
                    objects.push(Object { label: std::mem::take(label), der });
                    open = None;
                    is_first = true;
                } else {
                    body.extend_from_slice(line.trim_ascii());
                }
            }
        }
    }
    if open.is_some() { Err(Malformed(objects.len() + 1)) } else { Ok(objects) }
}

fn mark(line: &[u8], start: &[u8]) -> Option<String> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    String::from_utf8(label.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_in_order() {
        let text =
            b"text\n-----BEGIN A-----\r\nYWJj\r\nZGU=\n-----END A-----\n-----BEGIN B-----\n-----END B-----";
        let found = objects(text).unwrap();
        assert_eq!(found[0], Object { label: "A".into(), der: b"abcde".to_vec() });
        assert_eq!(found[1], Object { label: "B".into(), der: Vec::new() });
        let marked = "\u{feff}-----BEGIN A-----\n-----END A-----\n\u{feff}-----BEGIN A-----\n-----END A-----\nx\n\u{feff}-----BEGIN A-----";
        assert_eq!(objects(marked.as_bytes()).unwrap().len(), 2);
        for (text, at) in [
            ("-----BEGIN A-----\nYWJj", 1),
            ("-----BEGIN A-----\nYWJj\n-----END B-----", 1),
            (
                "-----BEGIN A-----\n-----END A-----\n-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n-----END A-----",
                2,
            ),
        ] {
            assert_eq!(objects(text.as_bytes()), Err(Malformed(at)), "{text}");
        }
    }
}
