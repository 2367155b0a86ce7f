//! Bytes at a place: what the readers of index files read from.
//!
//! A reader asks for a [`Window`], a part of a file. Where the file is mapped into memory that costs nothing; another
//! process may then change what the window shows at any time, so each number is read once, checked, and used.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use sys::map::{Reader, View};

/// Largest item (key or value) that a reader takes from a file.
pub(crate) const ITEM_LIMIT: usize = 64 << 20;

/// Why a file has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The system cannot read it.
    #[error("{}", sys::error_text(.0))]
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

    /// The bytes from `at`, all of which must be there.
    fn window(&self, at: u64, length: usize) -> Result<Window<'_>, Broken> {
        Ok(Window::Still(Cow::Owned(self.read_vec(at, length)?)))
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

    fn window(&self, at: u64, length: usize) -> Result<Window<'_>, Broken> {
        let from = usize::try_from(at).map_err(|_| Broken::Truncated)?;
        let part = self.get(from..from.saturating_add(length)).ok_or(Broken::Truncated)?;
        Ok(Window::Still(Cow::Borrowed(part)))
    }
}

impl ReadAt for Reader<'_> {
    fn read_some(&self, at: u64, into: &mut [u8]) -> Result<usize, Broken> {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.length());
        let to = from.saturating_add(into.len()).min(self.length());
        Ok(self.part(from..to).map_or(0, |part| part.copy(into)))
    }

    fn size(&self) -> Result<u64, Broken> {
        Ok(self.length() as u64)
    }

    fn window(&self, at: u64, length: usize) -> Result<Window<'_>, Broken> {
        let from = usize::try_from(at).map_err(|_| Broken::Truncated)?;
        let part = self.part(from..from.saturating_add(length));
        part.map(Window::Moving).ok_or(Broken::Truncated)
    }
}

/// A part of a file.
#[derive(Debug)]
pub(crate) enum Window<'a> {
    /// Bytes that nobody changes.
    Still(Cow<'a, [u8]>),
    /// Memory that others may write to.
    Moving(View<'a>),
}

impl Window<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Window::Still(bytes) => bytes.len(),
            Window::Moving(view) => view.len(),
        }
    }

    pub(crate) fn u8(&self, at: usize) -> u8 {
        match self {
            Window::Still(bytes) => bytes.get(at).copied().unwrap_or(0),
            Window::Moving(view) => view.u8(at).unwrap_or(0),
        }
    }

    /// The byte at this place will be wanted soon.
    #[inline]
    pub(crate) fn prefetch(&self, at: usize) {
        if let Window::Moving(view) = self {
            view.prefetch(at);
        }
    }

    /// The bytes of this range; `None` when it is not within.
    pub(crate) fn get(&self, range: Range<usize>) -> Option<Cow<'_, [u8]>> {
        match self {
            Window::Still(bytes) => bytes.get(range).map(Cow::Borrowed),
            Window::Moving(view) => view.part(range).map(|part| Cow::Owned(part.to_vec())),
        }
    }

    /// How the bytes of this range compare with `key`; `None` when it is not within.
    #[inline]
    pub(crate) fn compare(&self, range: Range<usize>, key: &[u8]) -> Option<Ordering> {
        match self {
            Window::Still(bytes) => bytes.get(range).map(|bytes| bytes.cmp(key)),
            Window::Moving(view) => view.part(range).map(|part| part.compare(key)),
        }
    }
}

/// Where `key` is among `count` that are in order, or would be. Both places that may be looked at next are named to
/// `soon`: finding them in memory takes longer than all the rest.
#[inline]
pub(crate) fn search(
    count: usize,
    soon: impl Fn(usize),
    compare: impl Fn(usize) -> Result<Ordering, Broken>,
) -> Result<Result<usize, usize>, Broken> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if low < middle {
            soon(low + (middle - low) / 2);
        }
        if middle + 1 < high {
            soon(middle + 1 + (high - middle - 1) / 2);
        }
        match compare(middle)? {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Ok(Ok(middle)),
        }
    }
    Ok(Err(low))
}

/// Where numbers are read from: zero beyond the end, which no caller takes for valid.
pub(crate) trait Numbers {
    /// Two bytes in the machine's order.
    fn native_u16(&self, at: usize) -> u16;
    /// Four bytes.
    fn native_u32(&self, at: usize) -> u32;
    /// Eight bytes.
    fn native_u64(&self, at: usize) -> u64;
}

impl Numbers for [u8] {
    #[inline]
    fn native_u16(&self, at: usize) -> u16 {
        array(self, at).map_or(0, u16::from_ne_bytes)
    }

    #[inline]
    fn native_u32(&self, at: usize) -> u32 {
        array(self, at).map_or(0, u32::from_ne_bytes)
    }

    #[inline]
    fn native_u64(&self, at: usize) -> u64 {
        array(self, at).map_or(0, u64::from_ne_bytes)
    }
}

#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

impl Numbers for Window<'_> {
    #[inline]
    fn native_u16(&self, at: usize) -> u16 {
        match self {
            Window::Still(bytes) => bytes.native_u16(at),
            Window::Moving(view) => view.u16(at).unwrap_or(0),
        }
    }

    #[inline]
    fn native_u32(&self, at: usize) -> u32 {
        match self {
            Window::Still(bytes) => bytes.native_u32(at),
            Window::Moving(view) => view.u32(at).unwrap_or(0),
        }
    }

    #[inline]
    fn native_u64(&self, at: usize) -> u64 {
        match self {
            Window::Still(bytes) => bytes.native_u64(at),
            Window::Moving(view) => view.u64(at).unwrap_or(0),
        }
    }
}

/// Little- or big-endian numbers out of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) big: bool,
}

impl Order {
    pub(crate) const LITTLE: Order = Order { big: false };

    #[inline]
    pub(crate) fn u16(self, bytes: &(impl Numbers + ?Sized), at: usize) -> u16 {
        let raw = bytes.native_u16(at);
        if self.big { u16::from_be(raw) } else { u16::from_le(raw) }
    }

    #[inline]
    pub(crate) fn u32(self, bytes: &(impl Numbers + ?Sized), at: usize) -> u32 {
        let raw = bytes.native_u32(at);
        if self.big { u32::from_be(raw) } else { u32::from_le(raw) }
    }

    #[inline]
    pub(crate) fn u64(self, bytes: &(impl Numbers + ?Sized), at: usize) -> u64 {
        let raw = bytes.native_u64(at);
        if self.big { u64::from_be(raw) } else { u64::from_le(raw) }
    }
}
