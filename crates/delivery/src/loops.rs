//! Who has had a message already: its `Delivered-To:` headers (spec local-delivery 14.1).

use std::collections::HashSet;
use std::io::{BufRead, Seek};

use address::external;
use queue::{RecordReader, RecordType};

/// Names that are remembered; a message with more goes round that much longer.
const LIMIT: usize = 1000;
/// Longest record of a header that is read.
const RECORD_LIMIT: usize = 1 << 28;
const NAME: &[u8] = b"delivered-to:";

/// Addresses in external form and lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveredTo(HashSet<Vec<u8>>);

impl DeliveredTo {
    /// Those of the header whose start the reader is at; only the first record of each counts. A file that cannot be read
    /// has no more of them: whoever copies it says so.
    pub(crate) fn read<R: BufRead + Seek>(records: &mut RecordReader<R>) -> Self {
        let mut found = HashSet::new();
        let mut data = Vec::new();
        let mut at_line_start = true;
        while found.len() < LIMIT
            && let Ok(Some(kind @ (RecordType::NORM | RecordType::CONT))) =
                records.read_normal(&mut data, RECORD_LIMIT)
        {
            let starts_line = std::mem::replace(&mut at_line_start, kind == RecordType::NORM);
            if !starts_line || data.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                continue;
            }
            if !is_header(&data) {
                break;
            }
            if data.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
                found.insert(value(&data[NAME.len()..]).to_ascii_lowercase());
            }
        }
        Self(found)
    }

    /// Whether this address, in internal form, has had the message.
    #[must_use]
    pub fn has(&self, address: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(&external(address).to_ascii_lowercase())
    }
}

/// What stands behind the blanks, up to a NUL; blanks at the end are part of it.
fn value(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let text = &text[text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len())..];
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A name without blanks, and a colon, perhaps with blanks before it.
fn is_header(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
    let name = line[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(|byte| (33..127).contains(byte))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use queue::RecordWriter;

    use super::*;

    #[test]
    fn headers_only() {
        let mut writer = RecordWriter::new(Vec::new());
        for (kind, data) in [
            (RecordType::NORM, &b"Delivered-To: Ann@X"[..]),
            (RecordType::NORM, b"\tDelivered-To: folded@x"),
            (RecordType::CONT, b"Subject: long "),
            (RecordType::NORM, b"Delivered-To: inside@x"),
            (RecordType::NORM, b"DELIVERED-TO: \x0b\"b c\"@x\0y"),
            (RecordType::NORM, b"Delivered-To: behind@x "),
            (RecordType::NORM, b""),
            (RecordType::NORM, b"Delivered-To: body@x"),
            (RecordType::EXTRACTED, b""),
        ] {
            writer.write(kind, data).expect("a vector");
        }
        let mut reader = RecordReader::new(Cursor::new(writer.get_ref()), "x");
        let found = DeliveredTo::read(&mut reader);
        assert_eq!(found.0.len(), 3, "{found:?}");
        for (address, expected) in
            [("ann@x", true), ("ANN@x", true), ("b c@X", true), ("inside@x", false), ("behind@x", false)]
        {
            assert_eq!(found.has(address.as_bytes()), expected, "{address}");
        }
        assert!(!DeliveredTo::default().has(b""));
    }
}
