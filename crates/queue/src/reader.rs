//! Reading records from a file or a socket.
//!
//! [`RecordReader`] works over any `BufRead`; a reader of a socket can so go on to read attributes from the same
//! buffer. Two modes: *raw* ([`RecordReader::read_raw`]) returns every record; *normal*
//! ([`RecordReader::read_normal`]) follows pointers, skips padding, and after the end record moves to the end of the
//! file, because in an edited file more data follows that is not part of the message.
//!
//! Refused with [`RecordError`], whose texts are the warnings of Postfix: a length of more than four bytes, a length
//! above the caller's limit, an end of file inside a record, a pointer that is no number, more than 10000 jumps back.

use std::io::{self, BufRead, ErrorKind, Seek, SeekFrom};

use thiserror::Error;

use crate::record::{MAX_RECORD_LENGTH, Record, RecordType};

/// Jumps to an offset not larger than the one before, over the life of a reader.
const MAX_REVERSE_JUMPS: u32 = 10_000;
/// Seven bits each; a fifth byte would pass 2^28.
const MAX_LENGTH_BYTES: usize = 4;

/// A record cannot be read. Displays as the warning that Postfix logs, without the prefix.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The length does not end.
    #[error("{stream}: too many length bits, record type {kind}")]
    LengthBits {
        /// Path of the file or name of the socket.
        stream: String,
        /// Decimal type code.
        kind: u8,
    },
    /// End of file inside the length.
    #[error("{stream}: unexpected EOF reading length, record type {kind}")]
    EofInLength {
        /// Path of the file or name of the socket.
        stream: String,
        /// Decimal type code.
        kind: u8,
    },
    /// Longer than the caller allows.
    #[error("{stream}: illegal length {length}, record type {kind}")]
    Length {
        /// Path of the file or name of the socket.
        stream: String,
        /// The length found.
        length: usize,
        /// Decimal type code.
        kind: u8,
    },
    /// End of file inside the data.
    #[error("{stream}: unexpected EOF in data, record type {kind} length {length}")]
    EofInData {
        /// Path of the file or name of the socket.
        stream: String,
        /// Decimal type code.
        kind: u8,
        /// The length announced.
        length: usize,
    },
    /// A pointer record whose value is no number.
    #[error("{stream}: malformed pointer record value: {value}")]
    Pointer {
        /// Path of the file or name of the socket.
        stream: String,
        /// The data found.
        value: String,
    },
    /// The pointers go in a circle.
    #[error("{stream}: too many reverse jump records")]
    ReverseJumps {
        /// Path of the file or name of the socket.
        stream: String,
    },
    /// The end of the message was read from something that cannot seek.
    #[error("{stream}: seek error after reading END record: {}", sys::error_text(source))]
    SeekEnd {
        /// Path of the file or name of the socket.
        stream: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or seeking failed; a time-out of a socket is one of these.
    #[error("{stream}: read: {}", sys::error_text(source))]
    Io {
        /// Path of the file or name of the socket.
        stream: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads records one by one into the caller's buffer.
#[derive(Debug)]
pub struct RecordReader<R> {
    stream: R,
    name: String,
    offset: u64,
    record_offset: u64,
    last_jump: u64,
    reverse_jumps: u32,
}

impl<R> RecordReader<R> {
    /// A reader at the start of a stream. `name` is the path or socket name for error texts.
    pub fn new(stream: R, name: impl Into<String>) -> Self {
        Self { stream, name: name.into(), offset: 0, record_offset: 0, last_jump: 0, reverse_jumps: 0 }
    }

    /// Offset of the next record, in bytes read or sought to since the start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset of the type byte of the record last returned.
    pub fn record_offset(&self) -> u64 {
        self.record_offset
    }

    /// The stream, to read something else than records from it.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.stream
    }

    /// The stream.
    pub fn get_ref(&self) -> &R {
        &self.stream
    }

    /// Gives the stream back.
    pub fn into_inner(self) -> R {
        self.stream
    }

    /// The name for error texts.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<R: BufRead> RecordReader<R> {
    /// Reads the next record into `data` (cleared first), whatever its type; `None` at end of file. Data longer than
    /// `limit` are refused.
    ///
    /// # Errors
    /// When there is no whole record.
    pub fn read_raw(&mut self, data: &mut Vec<u8>, limit: usize) -> Result<Option<RecordType>, RecordError> {
        data.clear();
        self.record_offset = self.offset;
        if let Some(kind) = self.read_buffered(data, limit)? {
            return Ok(Some(kind));
        }
        let Some(kind) = self.byte()? else { return Ok(None) };
        let length = self.length(kind)?;
        if length > limit.min(MAX_RECORD_LENGTH) {
            return Err(RecordError::Length { stream: self.name.clone(), length, kind });
        }
        self.data(kind, length, data)?;
        Ok(Some(RecordType(kind)))
    }

    /// As [`Self::read_raw`], with an allocation for each record.
    ///
    /// # Errors
    /// As `read_raw`.
    pub fn record(&mut self, limit: usize) -> Result<Option<Record>, RecordError> {
        let mut data = Vec::new();
        Ok(self.read_raw(&mut data, limit)?.map(|kind| Record { kind, data }))
    }

    /// The next record, if it is whole in the buffer and good, as nearly all are.
    fn read_buffered(&mut self, data: &mut Vec<u8>, limit: usize) -> Result<Option<RecordType>, RecordError> {
        let buffer = self.fill()?;
        let Some((&kind, rest)) = buffer.split_first() else { return Ok(None) };
        let Some((length, used)) = decoded_length(rest) else { return Ok(None) };
        if length > limit.min(MAX_RECORD_LENGTH) {
            return Ok(None);
        }
        let Some(content) = rest.get(used..used + length) else { return Ok(None) };
        data.extend_from_slice(content);
        let taken = 1 + used + length;
        self.stream.consume(taken);
        self.offset += taken as u64;
        Ok(Some(RecordType(kind)))
    }

    fn fill(&mut self) -> Result<&[u8], RecordError> {
        loop {
            match self.stream.fill_buf() {
                // A second call, as a buffer returned from inside the loop would stay borrowed.
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(RecordError::Io { stream: self.name.clone(), source }),
            }
        }
        self.stream.fill_buf().map_err(|source| RecordError::Io { stream: self.name.clone(), source })
    }

    fn byte(&mut self) -> Result<Option<u8>, RecordError> {
        let Some(&byte) = self.fill()?.first() else { return Ok(None) };
        self.stream.consume(1);
        self.offset += 1;
        Ok(Some(byte))
    }

    fn length(&mut self, kind: u8) -> Result<usize, RecordError> {
        let mut length = 0;
        for group in 0..MAX_LENGTH_BYTES {
            let Some(byte) = self.byte()? else {
                return Err(RecordError::EofInLength { stream: self.name.clone(), kind });
            };
            length |= usize::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(RecordError::LengthBits { stream: self.name.clone(), kind })
    }

    /// Appends as the data arrive: a length alone must not make us allocate.
    fn data(&mut self, kind: u8, length: usize, data: &mut Vec<u8>) -> Result<(), RecordError> {
        while data.len() < length {
            let wanted = length - data.len();
            let buffer = self.fill()?;
            let taken = buffer.len().min(wanted);
            if taken == 0 {
                return Err(RecordError::EofInData { stream: self.name.clone(), kind, length });
            }
            data.extend_from_slice(&buffer[..taken]);
            self.stream.consume(taken);
            self.offset += taken as u64;
        }
        Ok(())
    }
}

impl<R: BufRead + Seek> RecordReader<R> {
    /// Reads the next record of the message as it is after all edits: jumps where a pointer points to, skips padding,
    /// and reads nothing behind the end record.
    ///
    /// # Errors
    /// When there is no whole record, a pointer is malformed, or pointers go in a circle.
    pub fn read_normal(
        &mut self,
        data: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Option<RecordType>, RecordError> {
        loop {
            match self.read_raw(data, limit)? {
                Some(RecordType::POINTER) => self.follow(data)?,
                Some(RecordType::PADDING) => {}
                Some(RecordType::END) => {
                    self.seek_behind_end()?;
                    return Ok(Some(RecordType::END));
                }
                other => return Ok(other),
            }
        }
    }

    /// Continues where a pointer record's data point to; 0 is a placeholder and leaves the position alone.
    ///
    /// # Errors
    /// When the data are no number, or this is one jump back too many.
    pub fn follow(&mut self, pointer: &[u8]) -> Result<(), RecordError> {
        let target = pointer_target(pointer).ok_or_else(|| RecordError::Pointer {
            stream: self.name.clone(),
            value: String::from_utf8_lossy(pointer).into_owned(),
        })?;
        if target == 0 {
            return Ok(());
        }
        if target <= self.last_jump {
            self.reverse_jumps += 1;
            if self.reverse_jumps > MAX_REVERSE_JUMPS {
                return Err(RecordError::ReverseJumps { stream: self.name.clone() });
            }
        }
        self.last_jump = target;
        self.seek(SeekFrom::Start(target))
    }

    /// Moves to the end of the file: what lies behind an end record is not part of the message.
    ///
    /// # Errors
    /// When the stream cannot seek.
    pub fn seek_behind_end(&mut self) -> Result<(), RecordError> {
        match self.seek(SeekFrom::End(0)) {
            Err(RecordError::Io { stream, source }) => Err(RecordError::SeekEnd { stream, source }),
            result => result,
        }
    }

    /// Moves to an offset; the next record is read from there.
    ///
    /// # Errors
    /// When the stream cannot seek there.
    pub fn seek(&mut self, to: SeekFrom) -> Result<(), RecordError> {
        self.offset =
            self.stream.seek(to).map_err(|source| RecordError::Io { stream: self.name.clone(), source })?;
        Ok(())
    }

    /// As [`Self::seek`] from the start, for a reader that began at the start of its file: what is in the buffer already
    /// is not read again.
    ///
    /// # Errors
    /// When the stream cannot seek there.
    pub(crate) fn go_to(&mut self, offset: u64) -> Result<(), RecordError> {
        let distance = i64::try_from(i128::from(offset) - i128::from(self.offset));
        let outcome = match distance {
            Ok(distance) => self.stream.seek_relative(distance),
            Err(_) => Err(ErrorKind::InvalidInput.into()),
        };
        outcome.map_err(|source| RecordError::Io { stream: self.name.clone(), source })?;
        self.offset = offset;
        Ok(())
    }
}

/// A length and the bytes that it takes, if all of them are here.
fn decoded_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (group, byte) in bytes.iter().take(MAX_LENGTH_BYTES).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return Some((length, group + 1));
        }
    }
    None
}

/// The offset in a pointer record: digits after any leading white space.
pub fn pointer_target(data: &[u8]) -> Option<u64> {
    let digits = data.trim_ascii_start();
    // Offsets are signed on disk; what does not fit an off_t cannot be sought to.
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<i64>().ok())
        .and_then(|offset| u64::try_from(offset).ok())
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;
    use crate::writer::RecordWriter;

    /// The records, by type and data, up to the first error, whose text ends them.
    fn records(stream: impl BufRead + Seek, limit: usize) -> (Vec<(u8, Vec<u8>)>, String) {
        let mut reader = RecordReader::new(stream, "x");
        let mut found = Vec::new();
        loop {
            let mut data = Vec::new();
            match reader.read_normal(&mut data, limit) {
                Ok(Some(kind)) => found.push((kind.0, data)),
                Ok(None) => return (found, String::new()),
                Err(error) => return (found, error.to_string()),
            }
        }
    }

    /// The same for every place where the buffer may end.
    fn first_error(bytes: &[u8], limit: usize) -> String {
        let whole = records(Cursor::new(bytes), limit);
        for size in 1..=bytes.len() {
            let piecewise = BufReader::with_capacity(size, Cursor::new(bytes));
            assert_eq!(records(piecewise, limit), whole, "{bytes:?} in pieces of {size}");
        }
        whole.1
    }

    #[test]
    fn damage_is_told_in_postfix_words() {
        for (bytes, expected) in [
            (&b"N\x80\x80\x80\x80\x01"[..], "x: too many length bits, record type 78"),
            (b"N", "x: unexpected EOF reading length, record type 78"),
            (b"N\x80", "x: unexpected EOF reading length, record type 78"),
            (b"N\x65", "x: illegal length 101, record type 78"),
            (b"N\x05abc", "x: unexpected EOF in data, record type 78 length 5"),
            (b"p\x02ab", "x: malformed pointer record value: ab"),
            (b"p\x00", "x: malformed pointer record value: "),
            (b"p\x02-1", "x: malformed pointer record value: -1"),
            (b"N\x80\x00", ""),
            (b"N\x03abcN\x83\x80\x00abcX\x00N\x02a", "x: unexpected EOF in data, record type 78 length 2"),
            (b"", ""),
        ] {
            assert_eq!(first_error(bytes, 100), expected, "{bytes:?}");
        }
    }

    #[test]
    fn circles_end() {
        let mut writer = RecordWriter::new(Vec::new());
        writer.write(RecordType::NORM, b"x").expect("written");
        writer.write_pointer(3).expect("written");
        assert_eq!(first_error(writer.get_ref(), 100), "x: too many reverse jump records");
    }

    #[test]
    fn edits_are_followed_and_the_rest_is_not_read() {
        let mut writer = RecordWriter::new(Vec::new());
        writer.write_pointer(0).expect("written");
        writer.write(RecordType::NORM, b"one").expect("written");
        writer.write_padding(RecordType::PADDING, 12).expect("written");
        let jump = writer.offset();
        writer.write_pointer(0).expect("written");
        writer.write(RecordType::NORM, b"jumped over").expect("written");
        let end = writer.offset();
        writer.write(RecordType::END, b"").expect("written");
        let edit = writer.offset();
        writer.write(RecordType::NORM, b"two").expect("written");
        writer.write_pointer(end).expect("written");
        let mut bytes = writer.into_inner();
        let at = usize::try_from(jump).expect("small") + 2;
        bytes[at..at + 15].copy_from_slice(format!("{edit:15}").as_bytes());

        let mut reader = RecordReader::new(Cursor::new(&bytes[..]), "x");
        let mut data = Vec::new();
        let mut found = Vec::new();
        while let Some(kind) = reader.read_normal(&mut data, 100).expect("good") {
            found.push((kind, String::from_utf8_lossy(&data).into_owned(), reader.record_offset()));
        }
        let expected = [
            (RecordType::NORM, "one".to_owned(), 17),
            (RecordType::NORM, "two".to_owned(), edit),
            (RecordType::END, String::new(), end),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_length_alone_does_not_allocate() {
        let mut reader = RecordReader::new(&b"N\xff\xff\xff\x7fx"[..], "x");
        let mut data = Vec::new();
        assert!(reader.read_raw(&mut data, MAX_RECORD_LENGTH).is_err());
        assert!(data.capacity() < 1024);
    }
}
