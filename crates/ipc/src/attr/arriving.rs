//! A list that comes in pieces, for an event loop that cannot wait for it.

use std::io::{self, ErrorKind};

/// Bytes read at once.
const CHUNK: usize = 1024;

/// Most bytes of a list: more than any list has that is taken like this.
pub const LIST_LIMIT: usize = 16 * 1024;

/// A null-encoded list on its way.
#[derive(Debug, Default)]
pub struct Arriving(Vec<u8>);

impl Arriving {
    /// Takes what `read` has; false as long as more is to come, which `read` says by [`ErrorKind::WouldBlock`]. At the
    /// end of the stream, and when there is too much, what there is counts as all: a
    /// [`Decoder`](super::Decoder) tells what is missing.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn take(&mut self, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        while end(&self.0).is_none() && self.0.len() < LIST_LIMIT {
            match read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => self.0.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The bytes so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes out the list that has come whole; what came behind it is the start of the next.
    pub(crate) fn whole(&mut self) -> Option<Vec<u8>> {
        let rest = self.0.split_off(end(&self.0)?);
        Some(std::mem::replace(&mut self.0, rest))
    }

    /// Takes out all there is.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Where the first list ends: behind an empty name.
fn end(lists: &[u8]) -> Option<usize> {
    let mut start = 0;
    for (number, string) in lists.split_inclusive(|byte| *byte == 0).enumerate() {
        start += string.len();
        // Names and values take turns.
        if string == b"\0" && number % 2 == 0 {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_list_ends() {
        for (list, expected) in [
            (&b""[..], None),
            (b"\0", Some(1)),
            (b"a\0", None),
            (b"a\0b", None),
            (b"a\0b\0", None),
            (b"a\0b\0\0", Some(5)),
            (b"a\0\0", None),
            (b"a\0\0\0", Some(4)),
            (b"a\0b\0c\0d\0\0more", Some(9)),
        ] {
            assert_eq!(end(list), expected, "{list:?}");
        }
    }

    #[test]
    fn pieces() {
        let pieces: [&[u8]; 4] = [b"status", b"\x000\0rea", b"son\0", b"\0\0"];
        let mut arriving = Arriving::default();
        for (number, piece) in pieces.into_iter().enumerate() {
            let mut left = Some(piece);
            let read = |chunk: &mut [u8]| match left.take() {
                Some(piece) => {
                    chunk[..piece.len()].copy_from_slice(piece);
                    Ok(piece.len())
                }
                None => Err(ErrorKind::WouldBlock.into()),
            };
            assert_eq!(arriving.take(read).unwrap(), number == 3, "piece {number}");
        }
        assert_eq!(arriving.bytes(), b"status\x000\0reason\0\0\0");
        let mut endless = Arriving::default();
        let full = |chunk: &mut [u8]| {
            chunk.fill(b'x');
            Ok(chunk.len())
        };
        assert!(endless.take(full).unwrap(), "too much is all");
        assert!(endless.bytes().len() < LIST_LIMIT + CHUNK);
        assert!(Arriving::default().take(|_| Ok(0)).unwrap(), "the end is all");
        assert!(Arriving::default().take(|_| Err(ErrorKind::ConnectionReset.into())).is_err());
    }
}
