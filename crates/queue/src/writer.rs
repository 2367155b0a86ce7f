//! Writing records to a file or a socket.
//!
//! [`RecordWriter`] does not buffer: give it a `BufWriter`. It counts the bytes, so that the offset of each record is
//! known without asking the system; the offset is needed for the size record and for edits in place.

use std::fmt;
use std::io::{self, Seek, SeekFrom, Write};

use crate::record::{MAX_RECORD_LENGTH, RecordType};

/// Data of a pointer record.
pub(crate) const POINTER_DATA: usize = 15;
/// A pointer record with its header.
pub(crate) const POINTER_LENGTH: u64 = 2 + POINTER_DATA as u64;

/// Writes records one after the other.
#[derive(Debug)]
pub struct RecordWriter<W> {
    stream: W,
    offset: u64,
}

impl<W> RecordWriter<W> {
    /// A writer at the start of a stream.
    pub fn new(stream: W) -> Self {
        Self { stream, offset: 0 }
    }

    /// Offset where the next record goes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The stream, to write something else than records to it.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.stream
    }

    /// The stream.
    pub fn get_ref(&self) -> &W {
        &self.stream
    }

    /// Gives the stream back. Nothing is flushed.
    pub fn into_inner(self) -> W {
        self.stream
    }
}

impl<W: Write> RecordWriter<W> {
    /// Writes a record.
    ///
    /// # Errors
    /// When writing fails, or the data are longer than a record can be.
    pub fn write(&mut self, kind: RecordType, data: &[u8]) -> io::Result<()> {
        let (header, used) = header(kind, data.len())?;
        self.stream.write_all(&header[..used])?;
        self.stream.write_all(data)?;
        self.offset += (used + data.len()) as u64;
        Ok(())
    }

    /// Writes a record of formatted text.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_text(&mut self, kind: RecordType, text: fmt::Arguments<'_>) -> io::Result<()> {
        if let Some(text) = text.as_str() {
            return self.write(kind, text.as_bytes());
        }
        let mut short = ShortText { bytes: [0; SHORT_TEXT], length: 0 };
        match fmt::Write::write_fmt(&mut short, text) {
            Ok(()) => self.write(kind, short.bytes.get(..short.length).unwrap_or_default()),
            Err(fmt::Error) => self.write(kind, text.to_string().as_bytes()),
        }
    }

    /// Writes an attribute record, `name=value`.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_attribute(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        let length = name.len() + 1 + value.len();
        let (header, used) = header(RecordType::ATTR, length)?;
        self.stream.write_all(&header[..used])?;
        self.stream.write_all(name.as_bytes())?;
        self.stream.write_all(b"=")?;
        self.stream.write_all(value)?;
        self.offset += (used + length) as u64;
        Ok(())
    }

    /// Writes one line that a program makes itself: as [`Self::write_line`], but a line of exactly `limit` bytes is one
    /// `N` record.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_own_line(&mut self, line: &[u8], limit: usize) -> io::Result<()> {
        let limit = limit.max(1);
        let mut rest = line;
        while rest.len() > limit {
            let (part, more) = rest.split_at(limit);
            self.write(RecordType::CONT, part)?;
            rest = more;
        }
        self.write(RecordType::NORM, rest)
    }

    /// Writes one line of text: `L` records of `limit` bytes as long as more than that is left, then an `N` record.
    /// A line of exactly `limit` bytes becomes an `L` and an empty `N`, as smtpd does it.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_line(&mut self, line: &[u8], limit: usize) -> io::Result<()> {
        let limit = limit.max(1);
        let mut rest = line;
        while rest.len() >= limit {
            let (part, more) = rest.split_at(limit);
            self.write(RecordType::CONT, part)?;
            rest = more;
        }
        self.write(RecordType::NORM, rest)
    }

    /// Writes a pointer record (17 bytes); offset 0 is a placeholder without a jump.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_pointer(&mut self, target: u64) -> io::Result<()> {
        self.write_text(RecordType::POINTER, format_args!("{target:POINTER_DATA$}"))
    }

    /// Writes a record and, if it is shorter than a pointer record, padding of a type behind it, so that a pointer can be
    /// laid over both.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_padded(&mut self, kind: RecordType, data: &[u8], padding: RecordType) -> io::Result<()> {
        self.write(kind, data)?;
        self.pad_for_pointer(data.len(), padding)
    }

    /// Pads the record just written, of `length` bytes of data, as [`Self::write_padded`] does.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn pad_for_pointer(&mut self, length: usize, padding: RecordType) -> io::Result<()> {
        if length < POINTER_DATA { self.write_padding(padding, POINTER_DATA - length) } else { Ok(()) }
    }

    /// Pads by `count` bytes, header included, with a record of type `w` (or `p`, which then does not jump). The
    /// smallest record has three bytes, even for a count of one or two.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn write_padding(&mut self, kind: RecordType, count: usize) -> io::Result<()> {
        let width = count.saturating_sub(2).max(1);
        self.write_text(kind, format_args!("{:>width$}", "0"))
    }

    /// Flushes the stream.
    ///
    /// # Errors
    /// When the stream cannot be flushed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<W: Write + Seek> RecordWriter<W> {
    /// Moves to an offset; the next record is written there.
    ///
    /// # Errors
    /// When the stream cannot seek there.
    pub fn seek(&mut self, to: SeekFrom) -> io::Result<()> {
        self.offset = self.stream.seek(to)?;
        Ok(())
    }
}

/// Formatted text of this length needs no memory of its own: size records, pointers, times.
const SHORT_TEXT: usize = 128;

/// Text as long as it stays short; what does not fit is an error.
struct ShortText {
    bytes: [u8; SHORT_TEXT],
    length: usize,
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Type byte and length; the array and how much of it is used.
fn header(kind: RecordType, length: usize) -> io::Result<([u8; 5], usize)> {
    if length > MAX_RECORD_LENGTH {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "record too long"));
    }
    let mut header = [kind.0, 0, 0, 0, 0];
    let mut used = 1;
    let mut rest = length;
    loop {
        let group = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        header[used] = if rest > 0 { group | 0x80 } else { group };
        used += 1;
        if rest == 0 {
            return Ok((header, used));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut RecordWriter<Vec<u8>>) -> io::Result<()>) -> Vec<u8> {
        let mut writer = RecordWriter::new(Vec::new());
        write(&mut writer).expect("a vector takes all");
        assert_eq!(writer.offset(), writer.get_ref().len() as u64);
        writer.into_inner()
    }

    #[test]
    fn lengths() {
        for (length, bytes) in [
            (0usize, &b"\x00"[..]),
            (95, b"\x5f"),
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (300, b"\xac\x02"),
            (2048, b"\x80\x10"),
            (102_400, b"\x80\xa0\x06"),
        ] {
            let data = written(|writer| writer.write(RecordType::NORM, &vec![b'x'; length]));
            assert_eq!(&data[1..1 + bytes.len()], bytes, "{length}");
            assert_eq!(data.len(), 1 + bytes.len() + length);
        }
    }

    #[test]
    fn lines_are_split_at_the_limit() {
        type Write = fn(&mut RecordWriter<Vec<u8>>, &[u8], usize) -> std::io::Result<()>;
        type Case<'c> = (Write, usize, &'c [(char, usize)]);
        let cases: [Case<'_>; 6] = [
            (RecordWriter::write_line, 2047, &[('N', 2047)]),
            (RecordWriter::write_line, 2048, &[('L', 2048), ('N', 0)]),
            (RecordWriter::write_line, 2049, &[('L', 2048), ('N', 1)]),
            (RecordWriter::write_own_line, 2048, &[('N', 2048)]),
            (RecordWriter::write_own_line, 2049, &[('L', 2048), ('N', 1)]),
            (RecordWriter::write_own_line, 4096, &[('L', 2048), ('N', 2048)]),
        ];
        for (write, length, expected) in cases {
            let data = written(|writer| write(writer, &vec![b'x'; length], 2048));
            let mut reader = crate::RecordReader::new(&data[..], "test");
            let mut found = Vec::new();
            while let Some(record) = reader.record(4096).expect("whole records") {
                found.push((char::from(record.kind.0), record.data.len()));
            }
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn pointers_padding_attributes() {
        assert_eq!(written(|writer| writer.write_pointer(1484)), b"p\x0f           1484");
        assert_eq!(written(|writer| writer.write_padding(RecordType::POINTER, 10)), b"p\x08       0");
        for count in 0..3 {
            assert_eq!(written(|writer| writer.write_padding(RecordType::PADDING, count)), b"w\x010");
        }
        for length in [0, 1, SHORT_TEXT - 1, SHORT_TEXT, SHORT_TEXT + 1, 1000] {
            let text = "x".repeat(length);
            let expected = written(|writer| writer.write(RecordType::NORM, text.as_bytes()));
            assert_eq!(
                written(|writer| writer.write_text(RecordType::NORM, format_args!("{text}"))),
                expected
            );
        }
        assert_eq!(written(|writer| writer.write_attribute("ret_flags", b"2")), b"A\x0bret_flags=2");
    }
}
