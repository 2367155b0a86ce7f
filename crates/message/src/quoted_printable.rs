//! Quoted-printable as Postfix writes it (spec cleanup 8.3; RFC 2045, 6.7).
//!
//! Lines are encoded record by record: what is not printable ASCII, a tab or a blank becomes `=XX`, and so do `=` and a
//! blank or tab at the end of a line; a line is broken when it has more than 72 characters and more are to come.

use crate::Text;

/// A line is broken before a character when it is longer than this.
const LONGEST: usize = 72;

/// The encoder of one body: it keeps the line that has not ended yet.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    line: Vec<u8>,
}

impl Encoder {
    /// Encodes a record; `out` is given each line that has ended.
    pub(crate) fn record(&mut self, ending: Text, text: &[u8], out: &mut impl FnMut(Text, &[u8])) {
        for byte in text {
            if self.line.len() > LONGEST {
                self.line.push(b'=');
                out(Text::Line, &self.line);
                self.line.clear();
            }
            match byte {
                b'=' | 0..=8 | 10..=31 | 127..=255 => self.quote(*byte),
                _ => self.line.push(*byte),
            }
        }
        if ending == Text::Line {
            self.end_line(out);
        }
    }

    /// Ends a line that the last record has left open.
    pub(crate) fn end(&mut self, out: &mut impl FnMut(Text, &[u8])) {
        if !self.line.is_empty() {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut impl FnMut(Text, &[u8])) {
        if let Some(blank @ (b' ' | b'\t')) = self.line.last().copied() {
            self.line.pop();
            self.quote(blank);
        }
        out(Text::Line, &self.line);
        self.line.clear();
    }

    fn quote(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        self.line.push(b'=');
        self.line.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(records: &[(Text, &[u8])]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut out = |_: Text, line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
        let mut encoder = Encoder::default();
        for (ending, text) in records {
            encoder.record(*ending, text, &mut out);
        }
        encoder.end(&mut out);
        lines
    }

    #[test]
    fn lines() {
        for (text, expected) in [
            (&b"abc"[..], "abc"),
            (b"a=b", "a=3Db"),
            (b"\xe9\x7f\0", "=E9=7F=00"),
            (b"a b\tc", "a b\tc"),
            (b"a ", "a=20"),
            (b"a  ", "a =20"),
            (b"\t", "=09"),
            (b"", ""),
            (b".", "."),
        ] {
            assert_eq!(encode(&[(Text::Line, text)]), [expected], "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_broken() {
        let line = [b'x'; 150];
        let lengths: Vec<_> = encode(&[(Text::Line, &line)]).iter().map(String::len).collect();
        assert_eq!(lengths, [74, 74, 4]);
        let lengths: Vec<_> = encode(&[(Text::Line, &line[..73])]).iter().map(String::len).collect();
        assert_eq!(lengths, [73]);
        let pieces =
            encode(&[(Text::Partial, &line[..40]), (Text::Partial, b" "), (Text::Line, &line[..40])]);
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [74, 8]);
        assert_eq!(encode(&[(Text::Partial, b"a ")]), ["a=20"]);
    }
}
