//! The header section of a message, field by field.
//!
//! It ends at the first empty line, at the first line that is no header field, or with the message. Line ends may be
//! CR LF or LF. Memory is bounded: what a field has beyond [`FIELD_LIMIT`] is dropped here (the content has it still).

/// Bytes of a field that are kept.
pub const FIELD_LIMIT: usize = 64 * 1024;

/// Collects fields.
#[derive(Debug, Default)]
pub struct Headers {
    /// The field so far, with all its lines, and the line after it as far as it is known.
    field: Vec<u8>,
    /// Where in `field` the last line begins.
    line: usize,
    ended: bool,
}

impl Headers {
    /// Takes a piece of content, and gives each field that it completes to `found`: name and value.
    pub fn push(&mut self, piece: &[u8], found: &mut dyn FnMut(&[u8], &[u8])) {
        let mut rest = piece;
        while !self.ended && !rest.is_empty() {
            let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            let (part, after) = rest.split_at(length);
            rest = after;
            let room = (self.line + FIELD_LIMIT).saturating_sub(self.field.len()).min(FIELD_LIMIT);
            self.field.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line(found);
            }
        }
    }

    /// The message is over: what was begun is complete.
    pub fn end(&mut self, found: &mut dyn FnMut(&[u8], &[u8])) {
        if !self.ended && self.line < self.field.len() {
            self.end_line(found);
        }
        self.give(self.field.len().min(self.line), found);
        self.ended = true;
    }

    fn end_line(&mut self, found: &mut dyn FnMut(&[u8], &[u8])) {
        let line = &self.field[self.line..];
        let continues = self.line > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        if continues {
            // Of a field with many lines the first ones are kept.
            self.field.truncate(FIELD_LIMIT);
            self.line = self.field.len();
            return;
        }
        let is_field = name_length(line).is_some();
        self.give(self.line, found);
        if is_field {
            self.line = self.field.len();
        } else {
            self.ended = true;
            self.field = Vec::new();
            self.line = 0;
        }
    }

    /// Gives away the field that the first `length` bytes are.
    fn give(&mut self, length: usize, found: &mut dyn FnMut(&[u8], &[u8])) {
        let field = &self.field[..length];
        if let Some(name) = name_length(field) {
            let colon = field.iter().position(|byte| *byte == b':').unwrap_or(name);
            found(&field[..name], field[colon + 1..].trim_ascii());
        }
        self.field.drain(..length);
        self.line = 0;
    }
}

/// The length of the field name at the start of a line, if one is there: printable ASCII, then perhaps blanks, a colon.
fn name_length(line: &[u8]) -> Option<usize> {
    let length = line.iter().position(|byte| !byte.is_ascii_graphic() || *byte == b':')?;
    let after = line[length..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    (length > 0 && after == Some(&b':')).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8], size: usize) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut found = |name: &[u8], value: &[u8]| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            all.push((text(name), text(value)));
        };
        let mut headers = Headers::default();
        for piece in message.chunks(size) {
            headers.push(piece, &mut found);
            assert!(headers.field.len() <= 2 * FIELD_LIMIT);
        }
        headers.end(&mut found);
        all
    }

    #[test]
    fn fields_are_found_however_the_message_is_cut() {
        for (message, expected) in [
            ("", ""),
            ("\r\nA: b\r\n", ""),
            ("no header\r\nA: b\r\n", ""),
            ("A: b\r\nSubject : c\r\n d\r\n\te\nF:\r\n\r\nG: h\r\n", "A=b|Subject=c\r\n d\r\n\te|F="),
            ("A: b\r\nnone\r\nC: d\r\n", "A=b"),
            ("A: b", "A=b"),
            ("A: b\r\n c", "A=b\r\n c"),
            (" A: b\r\nC: d\r\n", ""),
        ] {
            for size in 1..=message.len().max(1) {
                let found: Vec<_> = fields(message.as_bytes(), size);
                let found: Vec<_> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
                assert_eq!(found.join("|"), expected, "{message:?} in {size}");
            }
        }
    }

    #[test]
    fn huge_fields_are_cut() {
        let message =
            format!("A: {}\r\nB: {}\r\nC: d\r\n\r\n", "x".repeat(1_000_000), "y\r\n ".repeat(100_000));
        for size in [1000, 4096, 2_000_000] {
            let found = fields(message.as_bytes(), size);
            assert_eq!(found.len(), 3);
            assert!(found[0].1.len() <= FIELD_LIMIT && found[1].1.len() <= FIELD_LIMIT);
            assert_eq!(found[2].1, "d");
        }
    }
}
