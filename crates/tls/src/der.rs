//! Reading DER: tag, length, contents, with nothing left to chance (X.690).
//!
//! Only what certificates need: definite lengths of up to four bytes, tags of one byte. Everything is a slice of the
//! input; a length that goes beyond it ends the reading.

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// `OBJECT IDENTIFIER`
pub(crate) const OID: u8 = 0x06;

/// Elements, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'d> {
    rest: &'d [u8],
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'d> {
    pub(crate) tag: u8,
    pub(crate) contents: &'d [u8],
    /// Tag, length and contents.
    pub(crate) whole: &'d [u8],
}

impl<'d> Reader<'d> {
    pub(crate) fn new(bytes: &'d [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next element.
    pub(crate) fn any(&mut self) -> Option<Element<'d>> {
        let (&tag, after) = self.rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, after) = after.split_first()?;
        let (length, after) = match first {
            0..=0x7f => (usize::from(first), after),
            0x81..=0x84 => {
                let (bytes, after) = after.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), after)
            }
            _ => return None,
        };
        let (contents, rest) = after.split_at_checked(length)?;
        let whole = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        Some(Element { tag, contents, whole })
    }

    /// The next element, if it has this tag; otherwise the reading has failed.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Element<'d>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// The next element if it has this tag; otherwise nothing is taken.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Element<'d>> {
        let mut ahead = *self;
        let element = ahead.expect(tag)?;
        *self = ahead;
        Some(element)
    }

    /// The contents of the next element, for reading on in them.
    pub(crate) fn inside(&mut self, tag: u8) -> Option<Reader<'d>> {
        self.expect(tag).map(|element| Self::new(element.contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (bytes, contents) in [
            (&[0x30, 2, 1, 2][..], Some(2)),
            (&[0x30, 0x81, 1, 9], Some(1)),
            (&[0x30, 0x82, 0, 0], Some(0)),
            (&[0x30, 3, 1, 2], None),
            (&[0x30, 0x80, 1, 2], None),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1], None),
            (&[0x30, 0x85, 0, 0, 0, 0, 0], None),
            (&[0x3f, 1, 1], None),
            (&[0x30], None),
            (&[], None),
        ] {
            assert_eq!(Reader::new(bytes).any().map(|element| element.contents.len()), contents, "{bytes:?}");
        }
    }
}
