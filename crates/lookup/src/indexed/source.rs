//! Bytes at a place: what the readers of index files read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Largest item (key or value) that a reader takes from a file.
pub(crate) const ITEM_LIMIT: usize = 64 << 20;

/// Why a file has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The system cannot read it.
    #[error("{}", config::errno_text(.0))]
    Io(#[from] io::Error),
    /// It is shorter than it says.
    #[error("file is truncated")]
    Truncated,
    /// Its content makes no sense.
    #[error("file is corrupted: {0}")]
    Corrupted(&'static str),
}

/// A file, or bytes in memory for tests and fuzzing.
pub(crate) trait ReadAt {
    /// Reads as many bytes as there are, up to the length of `into`; returns how many.
    fn read_some(&self, at: u64, into: &mut [u8]) -> Result<usize, Broken>;

    /// Its length.
    fn size(&self) -> Result<u64, Broken>;

    /// Its length and when it was changed: another file content has another stamp.
    fn stamp(&self) -> Result<(u64, i64, i64), Broken> {
        Ok((self.size()?, 0, 0))
    }

    /// Fills `into`.
    fn read_all(&self, at: u64, into: &mut [u8]) -> Result<(), Broken> {
        if self.read_some(at, into)? == into.len() { Ok(()) } else { Err(Broken::Truncated) }
    }

    /// Reads `length` bytes, which must be there.
    fn read_vec(&self, at: u64, length: usize) -> Result<Vec<u8>, Broken> {
        if length > ITEM_LIMIT {
            return Err(Broken::Corrupted("an item is too long"));
        }
        // A hostile length costs no memory when the file is short.
        if length > 4096 && at.saturating_add(length as u64) > self.size()? {
            return Err(Broken::Truncated);
        }
        let mut bytes = vec![0; length];
        self.read_all(at, &mut bytes)?;
        Ok(bytes)
    }
}

impl ReadAt for File {
    fn read_some(&self, at: u64, into: &mut [u8]) -> Result<usize, Broken> {
        let mut done = 0;
        while done < into.len() {
            match self.read_at(&mut into[done..], at.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(length) => done += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn size(&self) -> Result<u64, Broken> {
        Ok(self.metadata()?.len())
    }

    fn stamp(&self) -> Result<(u64, i64, i64), Broken> {
        let metadata = self.metadata()?;
        Ok((metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

impl ReadAt for &[u8] {
    fn read_some(&self, at: u64, into: &mut [u8]) -> Result<usize, Broken> {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.len());
        let length = into.len().min(self.len() - from);
        into[..length].copy_from_slice(&self[from..from + length]);
        Ok(length)
    }

    fn size(&self) -> Result<u64, Broken> {
        Ok(self.len() as u64)
    }
}

/// Little- or big-endian numbers out of a page; zero beyond its end, which no caller takes for valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) big: bool,
}

impl Order {
    pub(crate) const LITTLE: Order = Order { big: false };

    pub(crate) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let Some(Ok(raw)) = bytes.get(at..at + 2).map(<[u8; 2]>::try_from) else { return 0 };
        if self.big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) }
    }

    pub(crate) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let Some(Ok(raw)) = bytes.get(at..at + 4).map(<[u8; 4]>::try_from) else { return 0 };
        if self.big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) }
    }

    pub(crate) fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let Some(Ok(raw)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) else { return 0 };
        if self.big { u64::from_be_bytes(raw) } else { u64::from_le_bytes(raw) }
    }
}
