//! BER as far as LDAP goes (RFC 4511 section 5.1): tags of one byte, lengths that are known before the content.

/// A text that is no such encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// Appends an element.
pub(super) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let bytes = content.len().to_be_bytes();
            let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
            let bytes = &bytes[start..];
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
}

/// Appends a number, in as few bytes as hold it.
pub(super) fn put_number(out: &mut Vec<u8>, tag: u8, number: i32) {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let is_needless = |at: usize| bytes[at] == sign && (bytes[at + 1] ^ sign) & 0x80 == 0;
    let start = (0..3).take_while(|at| is_needless(*at)).count();
    put(out, tag, &bytes[start..]);
}

/// Appends an element of elements.
pub(super) fn put_nested(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    fill(&mut content);
    put(out, tag, &content);
}

/// What stands before an element's content: its tag, and how long the content is; with the header's own length. `None`
/// when there are too few bytes to tell.
pub(super) fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, Malformed> {
    let [tag, length, rest @ ..] = bytes else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    if *length < 0x80 {
        return Ok(Some((*tag, usize::from(*length), 2)));
    }
    let count = usize::from(*length & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(Malformed);
    }
    let Some(digits) = rest.get(..count) else { return Ok(None) };
    let length = digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
    Ok(Some((*tag, length, 2 + count)))
}

/// Elements one behind the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element's tag and content.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (tag, length, start) = header(self.0)?.ok_or(Malformed)?;
        let end = start.checked_add(length).ok_or(Malformed)?;
        let content = self.0.get(start..end).ok_or(Malformed)?;
        self.0 = &self.0[end..];
        Ok((tag, content))
    }

    /// The content of the next element, which has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let (found, content) = self.any()?;
        if found == tag { Ok(content) } else { Err(Malformed) }
    }

    /// The next element, a number.
    pub(super) fn number(&mut self, tag: u8) -> Result<i32, Malformed> {
        let content = self.expect(tag)?;
        let (first, count) = (*content.first().ok_or(Malformed)?, content.len());
        if count > 4 {
            return Err(Malformed);
        }
        let sign = if first & 0x80 == 0 { 0 } else { -1 };
        Ok(content.iter().fold(sign, |number: i32, byte| number << 8 | i32::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, bytes) in [
            (0, &[2, 1, 0][..]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (-1, &[2, 1, 255]),
            (-129, &[2, 2, 255, 127]),
            (i32::MAX, &[2, 4, 127, 255, 255, 255]),
            (i32::MIN, &[2, 4, 128, 0, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_number(&mut out, INTEGER, number);
            assert_eq!(out, bytes, "{number}");
            assert_eq!(Reader::new(&out).number(INTEGER), Ok(number));
        }
    }

    #[test]
    fn lengths() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let mut out = Vec::new();
            put(&mut out, OCTETS, &vec![7; length]);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.expect(OCTETS).map(<[u8]>::len), Ok(length));
            assert!(reader.is_empty());
        }
        for bad in [&[4][..], &[4, 2, 1], &[4, 0x80], &[4, 0x85, 0, 0, 0, 0, 0], &[0x1f, 1, 0], &[4, 0x82, 1]]
        {
            assert_eq!(Reader::new(bad).any(), Err(Malformed), "{bad:?}");
        }
    }
}
