//! A file whose bytes are gathered before they are written, and whose first bytes can be changed after that.
//!
//! `BufWriter` cannot do the latter: the size record is known only at the end of a message, and a small message is still
//! in memory then.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// Bytes gathered before they are written, at most.
const LIMIT: usize = 16 * 1024;
/// Room for a small message.
const FIRST_ROOM: usize = 4 * 1024;

/// A file that is written from its start on.
#[derive(Debug)]
pub struct GatheredFile {
    file: File,
    bytes: Vec<u8>,
    /// What is gathered does not belong to the start of the file.
    begun: bool,
}

impl GatheredFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file, bytes: Vec::with_capacity(FIRST_ROOM), begun: false }
    }

    /// The open file, which lacks what is gathered.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts other bytes in the place of the first ones, and writes all that is gathered. When that fails the first ones
    /// are as they were.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn rewrite_start<const N: usize>(&mut self, start: &[u8; N]) -> io::Result<()> {
        let Some(place) = self.bytes.first_chunk_mut::<N>().filter(|_| !self.begun) else {
            self.write_gathered()?;
            return self.file.write_all_at(start, 0);
        };
        let before = std::mem::replace(place, *start);
        let outcome = self.write_gathered();
        if outcome.is_err() {
            match self.bytes.first_chunk_mut::<N>() {
                Some(place) if !self.begun => *place = before,
                // The failure that is told is the first.
                _ => drop(self.file.write_all_at(&before, 0)),
            }
        }
        outcome
    }

    /// Writes what is gathered; what cannot be written stays.
    fn write_gathered(&mut self) -> io::Result<()> {
        let mut done = 0;
        let outcome = loop {
            match self.bytes.get(done..) {
                None | Some([]) => break Ok(()),
                Some(rest) => match self.file.write(rest) {
                    Ok(0) => break Err(ErrorKind::WriteZero.into()),
                    Ok(count) => done += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                },
            }
        };
        self.begun |= done > 0;
        self.bytes.drain(..done);
        outcome
    }
}

impl Write for GatheredFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > LIMIT {
            self.write_gathered()?;
        }
        if data.len() < LIMIT {
            self.bytes.extend_from_slice(data);
            return Ok(data.len());
        }
        let count = self.file.write(data)?;
        self.begun |= count > 0;
        Ok(count)
    }

    // Called twice for each line of a message, and then there is room as a rule.
    #[inline]
    fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        if data.len() < LIMIT && self.bytes.len() + data.len() <= LIMIT {
            self.bytes.extend_from_slice(data);
            return Ok(());
        }
        while !data.is_empty() {
            match self.write(data) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => data = &data[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_gathered()
    }
}

impl Seek for GatheredFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.write_gathered()?;
        self.begun = true;
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_start_is_changed_wherever_it_is() {
        let scratch = Scratch::new("gathered");
        let path = scratch.path().join("incoming/file");
        let pieces = [1, 4, 100, LIMIT - 105, LIMIT - 104, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT];
        for first in pieces {
            for second in pieces {
                let mut file = GatheredFile::new(File::create(&path).expect("created"));
                let mut expected = Vec::new();
                for (piece, byte) in [(first, b'a'), (second, b'b'), (5, b'c')] {
                    let data = vec![byte; piece];
                    file.write_all(&data).expect("written");
                    expected.extend_from_slice(&data);
                    assert!(file.bytes.len() <= LIMIT);
                }
                expected[..3].copy_from_slice(b"xyz");
                file.rewrite_start(b"xyz").expect("written");
                file.write_all(b"end").expect("written");
                file.flush().expect("written");
                expected.extend_from_slice(b"end");
                assert_eq!(fs::read(&path).expect("readable"), expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn elsewhere_is_not_the_start() {
        let scratch = Scratch::new("sought");
        let path = scratch.path().join("incoming/file");
        let mut file = GatheredFile::new(File::create(&path).expect("created"));
        file.write_all(b"abcdef").expect("written");
        file.seek(SeekFrom::Start(4)).expect("sought");
        file.write_all(b"ghij").expect("written");
        file.rewrite_start(b"xyz").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"xyzdghij");
    }

    #[test]
    fn what_cannot_be_written_is_as_it_was() {
        let scratch = Scratch::new("ungathered");
        let path = scratch.path().join("incoming/file");
        fs::write(&path, "").expect("written");
        let mut file = GatheredFile::new(File::open(&path).expect("opened"));
        file.write_all(b"abcdef").expect("gathered");
        assert!(file.rewrite_start(b"xyz").is_err());
        assert_eq!(file.bytes, b"abcdef");
    }
}
