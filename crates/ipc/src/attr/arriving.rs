//! A list that comes in pieces, for an event loop that cannot wait for it.

use std::io::{self, ErrorKind};

/// Bytes read at once, and most bytes of a list: more than any list has that is taken like this.
const CHUNK: usize = 1024;
const LIST: usize = 16 * 1024;

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
        while !is_whole(&self.0) {
            match read(&mut chunk) {
                Ok(count) if count > 0 && self.0.len() < LIST => {
                    self.0.extend_from_slice(chunk.get(..count).unwrap_or_default());
                }
                Ok(_) => break,
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
}

/// Whether the list has come to its end, an empty name.
fn is_whole(list: &[u8]) -> bool {
    let mut strings = list.split(|byte| *byte == 0);
    // What is behind the last NUL is not a string yet.
    let mut left = list.iter().filter(|byte| **byte == 0).count();
    while left > 0 {
        if strings.next().is_none_or(<[u8]>::is_empty) {
            return true;
        }
        strings.next();
        left = left.saturating_sub(2);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_list_ends() {
        for (list, whole) in [
            (&b""[..], false),
            (b"\0", true),
            (b"a\0", false),
            (b"a\0b", false),
            (b"a\0b\0", false),
            (b"a\0b\0\0", true),
            (b"a\0\0", false),
            (b"a\0\0\0", true),
            (b"a\0b\0c\0d\0\0more", true),
        ] {
            assert_eq!(is_whole(list), whole, "{list:?}");
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
        assert!(endless.bytes().len() <= LIST);
        assert!(Arriving::default().take(|_| Ok(0)).unwrap(), "the end is all");
        assert!(Arriving::default().take(|_| Err(ErrorKind::ConnectionReset.into())).is_err());
    }
}
