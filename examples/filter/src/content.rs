//! Where the content of a message ends, and what it is without the dots that SMTP adds.
//!
//! Only CR LF `.` CR LF ends a message. Everything else passes through byte for byte: bare CR and LF, NUL, 8-bit, lines
//! of any length, and the dots that the sender has doubled, because the next hop wants them doubled too. One thing is
//! changed: a dot alone between two line ends that are not both CR LF gets a second dot, so that no server behind,
//! however lenient, takes it for the end of the message and what follows for commands (SMTP smuggling).

/// Finds the end. Its state is what the last few bytes were.
#[derive(Debug)]
pub struct Content {
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// After CR LF, or at the very beginning.
    LineStart,
    /// After a bare LF.
    AfterBareLf,
    /// Within a line.
    Middle,
    /// After a CR that may be the first half of CR LF.
    AfterCr,
    /// After a dot at the start of a line, which is held back; `strict` if the line began after CR LF.
    Dot { strict: bool },
    /// After such a dot and a CR, both held back.
    DotCr { strict: bool },
}

/// What one call has found.
#[derive(Debug, Default)]
pub struct Piece {
    /// As it is to be sent on.
    pub wire: Vec<u8>,
    /// As the message is: without the doubled dots.
    pub plain: Vec<u8>,
    /// Whether this was the last.
    pub end: bool,
}

impl Content {
    pub fn new() -> Content {
        Content { at: At::LineStart }
    }

    /// Takes bytes from `input` into `piece`; how many. Fewer than there are only at the end of the message.
    pub fn take(&mut self, input: &[u8], piece: &mut Piece) -> usize {
        piece.wire.clear();
        piece.plain.clear();
        piece.end = false;
        let mut taken = 0;
        while let Some(&byte) = input.get(taken) {
            if self.at == At::Middle {
                // Most bytes go this way, many at a time.
                let rest = &input[taken..];
                let length = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
                if length > 0 {
                    piece.both(&rest[..length]);
                    taken += length;
                    continue;
                }
            }
            taken += 1;
            self.at = match (self.at, byte) {
                (At::DotCr { strict: true }, b'\n') => {
                    piece.end = true;
                    return taken;
                }
                (At::LineStart, b'.') => At::Dot { strict: true },
                // A CR that is followed by a dot was a bare one.
                (At::AfterBareLf | At::AfterCr, b'.') => At::Dot { strict: false },
                (At::Dot { strict }, b'\r') => At::DotCr { strict },
                (At::Dot { .. }, b'\n') => {
                    piece.lone_dot(b"\n");
                    At::AfterBareLf
                }
                (At::DotCr { strict: false }, b'\n') => {
                    piece.lone_dot(b"\r\n");
                    At::LineStart
                }
                (At::DotCr { .. }, byte) => {
                    piece.lone_dot(b"\r");
                    Content::plain_byte(At::AfterCr, byte, piece)
                }
                (At::Dot { strict }, byte) => {
                    piece.wire.push(b'.');
                    if !strict {
                        piece.plain.push(b'.');
                    }
                    Content::plain_byte(At::Middle, byte, piece)
                }
                (before, byte) => Content::plain_byte(before, byte, piece),
            };
        }
        taken
    }

    /// A byte that is no dot at the start of a line.
    fn plain_byte(before: At, byte: u8, piece: &mut Piece) -> At {
        if before == At::AfterCr && byte == b'.' {
            return At::Dot { strict: false };
        }
        piece.both(&[byte]);
        match byte {
            b'\r' => At::AfterCr,
            b'\n' if before == At::AfterCr => At::LineStart,
            b'\n' => At::AfterBareLf,
            _ => At::Middle,
        }
    }
}

impl Piece {
    fn both(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
        self.plain.extend_from_slice(bytes);
    }

    fn lone_dot(&mut self, line_end: &[u8]) {
        self.wire.extend_from_slice(b"..");
        self.wire.extend_from_slice(line_end);
        self.plain.push(b'.');
        self.plain.extend_from_slice(line_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wire and plain form, and what was left after the end, in pieces of the given size.
    fn take(input: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, Option<Vec<u8>>) {
        let mut content = Content::new();
        let (mut wire, mut plain, mut piece) = (Vec::new(), Vec::new(), Piece::default());
        let mut seen = 0;
        for part in input.chunks(size) {
            let taken = content.take(part, &mut piece);
            seen += taken;
            wire.extend_from_slice(&piece.wire);
            plain.extend_from_slice(&piece.plain);
            if piece.end {
                return (wire, plain, Some(input[seen..].to_vec()));
            }
            assert_eq!(taken, part.len());
        }
        (wire, plain, None)
    }

    #[test]
    fn bytes_pass_as_they_are() {
        // Input up to the end, what is sent on, what the message is.
        for (input, wire, plain) in [
            ("", "", ""),
            ("a\r\n", "a\r\n", "a\r\n"),
            ("..a\r\n...\r\n", "..a\r\n...\r\n", ".a\r\n..\r\n"),
            // A dot that the sender has not doubled: any receiver takes it away.
            (".a\r\n", ".a\r\n", "a\r\n"),
            ("a\nb\rc\r\r\nd\0\u{e9}\r\n", "a\nb\rc\r\r\nd\0\u{e9}\r\n", "a\nb\rc\r\r\nd\0\u{e9}\r\n"),
            ("a\n.b\r\n", "a\n.b\r\n", "a\n.b\r\n"),
            ("a\r.b\r\n", "a\r.b\r\n", "a\r.b\r\n"),
            // Lone dots that end nothing.
            ("a\n.\r\nb\r\n", "a\n..\r\nb\r\n", "a\n.\r\nb\r\n"),
            ("a\r\n.\nb\r\n", "a\r\n..\nb\r\n", "a\r\n.\nb\r\n"),
            ("a\n.\nb\r\n", "a\n..\nb\r\n", "a\n.\nb\r\n"),
            ("a\r\n.\rb\r\n", "a\r\n..\rb\r\n", "a\r\n.\rb\r\n"),
            ("a\r.\r\nb\r\n", "a\r..\r\nb\r\n", "a\r.\r\nb\r\n"),
            ("a\r\n.\r.\r\nb\r\n", "a\r\n..\r..\r\nb\r\n", "a\r\n.\r.\r\nb\r\n"),
            ("a\n.\r\r\nb\r\n", "a\n..\r\r\nb\r\n", "a\n.\r\r\nb\r\n"),
        ] {
            let whole = format!("{input}.\r\nQUIT\r\n");
            for size in 1..=whole.len() {
                let (found_wire, found_plain, left) = take(whole.as_bytes(), size);
                assert_eq!(String::from_utf8_lossy(&found_wire), wire, "{input:?} in {size}");
                assert_eq!(String::from_utf8_lossy(&found_plain), plain, "{input:?} in {size}");
                assert_eq!(left.as_deref(), Some(&b"QUIT\r\n"[..]), "{input:?} in {size}");
            }
        }
    }

    #[test]
    fn nothing_else_is_an_end() {
        for input in ["", "a", "a\r\n", "a\r\n.", "a\r\n.\r", ".\n", "\n.\r\n", "a\r\n.\r\r\n", ".\r.\n"] {
            for size in 1..=input.len().max(1) {
                assert_eq!(take(input.as_bytes(), size).2, None, "{input:?}");
            }
        }
    }
}
