//! A reader that never runs ahead: single bytes from a descriptor, behind the `BufRead` face.

use std::io::{self, BufRead, Read};

/// Takes one byte at a time from `R`, so that whatever follows an attribute list (a passed descriptor,
/// queue file records for another reader) is still in the socket afterwards.
#[derive(Debug)]
pub struct Unbuffered<R> {
    inner: R,
    byte: Option<u8>,
}

impl<R: Read> Unbuffered<R> {
    /// Wraps `inner`.
    pub fn new(inner: R) -> Self {
        Unbuffered { inner, byte: None }
    }

    /// The stream inside. At most the byte last seen by `fill_buf` and not consumed is lost; a
    /// [`super::Decoder`] leaves none.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Unbuffered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match (self.byte, buf.first_mut()) {
            (Some(byte), Some(first)) => {
                *first = byte;
                self.byte = None;
                Ok(1)
            }
            _ => self.inner.read(buf),
        }
    }
}

impl<R: Read> BufRead for Unbuffered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.byte.is_none() {
            let mut one = [0u8; 1];
            if self.inner.read(&mut one)? == 1 {
                self.byte = Some(one[0]);
            }
        }
        Ok(self.byte.as_slice())
    }

    fn consume(&mut self, amount: usize) {
        if amount > 0 {
            self.byte = None;
        }
    }
}
