//! Files mapped into memory: to read, or as numbers that several processes count with.
//!
//! Two things make a mapping dangerous, and both are dealt with here. Other processes may change the file: a [`View`]
//! copies or compares bytes and never lends them as `&[u8]`, of which Rust would believe that they stay as they are;
//! each is read once, by volatile reads. And the file may shrink, or its disk fail: then the kernel sends `SIGBUS` to whoever touches a page that is not there. A handler
//! puts a page of zeros in that place and notes the mapping as lost; the reader asks [`Reader::is_intact`] when it is done
//! and throws away what it found when the answer is no. Any other `SIGBUS` has the effect it had before.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// Most mappings that a process has at a time; a caller that gets no more reads the file instead.
const SLOTS: usize = 512;

/// A place where the handler finds a mapping.
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    /// Whether a page that takes the place of one that is gone is written to.
    is_written: AtomicBool,
    lost: AtomicBool,
}

static MAPS: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        is_written: AtomicBool::new(false),
        lost: AtomicBool::new(false),
    }
}; SLOTS];

/// What `SIGBUS` did before, and the size of a page.
struct Before {
    action: libc::sigaction,
    page: usize,
}

static BEFORE: OnceLock<Before> = OnceLock::new();

/// A file in memory, as long as it was when it was mapped.
#[derive(Debug)]
pub struct Map {
    start: NonNull<u8>,
    length: usize,
    /// Where the last page starts.
    last_page: usize,
    slot: &'static Slot,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("lost", &self.lost).finish_non_exhaustive()
    }
}

// SAFETY: the memory belongs to the value, and is only read.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

extern "C" fn fault(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the kernel passes a valid siginfo_t to a handler that was set with SA_SIGINFO.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // Zero and less: sent by a process.
    if code > 0 {
        let within = |slot: &&Slot| {
            slot.start.load(Ordering::Acquire) <= address && address < slot.end.load(Ordering::Acquire)
        };
        if let Some(slot) = MAPS.iter().find(within) {
            slot.lost.store(true, Ordering::Release);
            let page = address & !(before.page - 1);
            let written = if slot.is_written.load(Ordering::Acquire) { libc::PROT_WRITE } else { 0 };
            // SAFETY: errno's address is valid in this thread; the interrupted code must find its errno unchanged.
            let saved = unsafe { *libc::__errno_location() };
            // SAFETY: the page is part of a mapping of ours, which its owner has not given back: it is being used. The
            // call is a plain system call. Readers take any byte for possible.
            let zeros = unsafe {
                libc::mmap(
                    page as *mut libc::c_void,
                    before.page,
                    libc::PROT_READ | written,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            // SAFETY: as above.
            unsafe { *libc::__errno_location() = saved };
            if zeros != libc::MAP_FAILED {
                return;
            }
        }
    }
    // SAFETY: the action is the one that the kernel reported. A fault comes again when this returns; what a process
    // sent does not, and is sent again.
    unsafe {
        libc::sigaction(signal, &raw const before.action, std::ptr::null_mut());
        if code <= 0 {
            libc::raise(signal);
        }
    }
}

/// Sets the handler, once; the size of a page.
fn handle_faults() -> io::Result<usize> {
    if let Some(before) = BEFORE.get() {
        return Ok(before.page);
    }
    // SAFETY: a sigaction of zeros is a valid one; the call writes it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks for the present action only.
    crate::checked(unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut action) })?;
    // SAFETY: takes an integer.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
    if BEFORE.set(Before { action, page }).is_err() {
        return Ok(page);
    }
    // SAFETY: a sigaction of zeros is a valid one.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = fault as extern "C" fn(_, _, _) as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the handler does only what a handler may: atomics, and system calls.
    crate::checked(unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut()) })?;
    Ok(page)
}

impl Map {
    /// Maps the whole of a file. Its read position means nothing from then on.
    ///
    /// # Errors
    /// What the system says; `OutOfMemory` when there are too many mappings, or the file is empty.
    pub fn new(file: &impl AsFd) -> io::Result<Map> {
        let page = handle_faults()?;
        let file = file.as_fd().as_raw_fd();
        let length = size(file)?;
        let (start, slot) = map(file, length, Access::Read)?;
        Ok(Map { start, length, last_page: (length - 1) & !(page - 1), slot })
    }

    /// Starts reading.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { map: self, last_page: Cell::new(false) }
    }
}

/// What is done with a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    ReadAndWrite,
}

/// Maps a file that all see which map it. Faults are handled.
fn map(file: libc::c_int, length: usize, access: Access) -> io::Result<(NonNull<u8>, &'static Slot)> {
    if length == 0 {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let free =
        |slot: &&Slot| slot.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
    let slot = MAPS.iter().find(free).ok_or(io::ErrorKind::OutOfMemory)?;
    let written = if access == Access::ReadAndWrite { libc::PROT_WRITE } else { 0 };
    // SAFETY: a new mapping of a descriptor that is open; the result is checked.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | written, libc::MAP_SHARED, file, 0)
    };
    let Some(address) = NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED) else {
        let error = io::Error::last_os_error();
        slot.taken.store(false, Ordering::Release);
        return Err(error);
    };
    slot.lost.store(false, Ordering::Relaxed);
    slot.is_written.store(access == Access::ReadAndWrite, Ordering::Release);
    slot.end.store(start as usize + length, Ordering::Release);
    slot.start.store(start as usize, Ordering::Release);
    Ok((address, slot))
}

/// Maps a file of numbers that several processes change at once, until this process ends. The descriptor is not needed
/// any more. Numbers on a page that the file loses are this process's alone from then on.
///
/// # Errors
/// What the system says; `OutOfMemory` when there are too many mappings, or the file is empty.
pub fn shared_numbers(file: &impl AsFd) -> io::Result<&'static [AtomicU64]> {
    handle_faults()?;
    let file = file.as_fd().as_raw_fd();
    let count = size(file)? / size_of::<AtomicU64>();
    let (start, _) = map(file, count * size_of::<AtomicU64>(), Access::ReadAndWrite)?;
    // SAFETY: the mapping has so many bytes, is never taken away (faults put another page in its place), and starts at a
    // page, so that numbers are aligned; every bit pattern is one. Other processes change them only as this one does, or
    // by way of the file, of which atomics believe anything.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), count) })
}

/// What reads a mapping, and tells in the end whether it was there all the time.
#[derive(Debug)]
pub struct Reader<'a> {
    map: &'a Map,
    /// Whether something on the last page was read.
    last_page: Cell<bool>,
}

impl<'a> Reader<'a> {
    /// How long the file was when it was mapped.
    #[must_use]
    pub fn length(&self) -> usize {
        self.map.length
    }

    /// A part of the file; `None` when it is not within.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Option<View<'a>> {
        if range.end > self.map.last_page {
            self.last_page.set(true);
        }
        View { start: self.map.start.as_ptr(), length: self.map.length, map: PhantomData }.part(range)
    }

    /// Whether all that was read was in the file, and no zeros in place of pages that are gone. `file` is the one that
    /// was mapped.
    ///
    /// A file that has lost pages has lost the last one, which is touched to see that. What the file has lost of its
    /// last page only, nothing but its length can show: that is asked for when the reader has been there.
    #[must_use]
    pub fn is_intact(&self, file: &impl AsFd) -> bool {
        let map = self.map;
        let last =
            View { start: map.start.as_ptr(), length: map.length, map: PhantomData }.u8(map.length - 1);
        fence(Ordering::Acquire);
        last.is_some()
            && !map.slot.lost.load(Ordering::Acquire)
            && (!self.last_page.get() || size(file.as_fd().as_raw_fd()).is_ok_and(|size| size == map.length))
    }
}

/// The length of a file. Its read position moves, which nobody uses of a file that is mapped; a stat costs twice as much.
fn size(file: libc::c_int) -> io::Result<usize> {
    // SAFETY: takes a descriptor and two numbers.
    let end = unsafe { libc::lseek(file, 0, libc::SEEK_END) };
    usize::try_from(end).map_err(|_| io::Error::last_os_error())
}

/// A part of a mapping. Any byte may change at any time.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    start: *const u8,
    length: usize,
    map: PhantomData<&'a Map>,
}

/// A number at any address.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<T: Copy>(T);

impl<'a> View<'a> {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// A part of this part; `None` when it is not within.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Option<View<'a>> {
        if range.start > range.end || range.end > self.length {
            return None;
        }
        // SAFETY: the new start is within the mapping, or at its end.
        let start = unsafe { self.start.add(range.start) };
        Some(View { start, length: range.end - range.start, map: PhantomData })
    }

    /// Reads a number, whose every bit pattern is one.
    #[inline]
    fn number<T: Copy>(&self, at: usize) -> Option<T> {
        if at.checked_add(size_of::<T>())? > self.length {
            return None;
        }
        // SAFETY: the bytes are within the mapping, which is readable as long as the map lives, by way of the handler
        // even where the file has no more bytes. The type read has no alignment; callers ask for integers.
        Some(unsafe { self.start.add(at).cast::<Unaligned<T>>().read_volatile() }.0)
    }

    /// The byte at this place; `None` beyond the end, as with the other numbers.
    #[inline]
    #[must_use]
    pub fn u8(&self, at: usize) -> Option<u8> {
        self.number(at)
    }

    /// The number of two bytes at this place, in the machine's order.
    #[inline]
    #[must_use]
    pub fn u16(&self, at: usize) -> Option<u16> {
        self.number(at)
    }

    /// The number of four bytes at this place, in the machine's order.
    #[inline]
    #[must_use]
    pub fn u32(&self, at: usize) -> Option<u32> {
        self.number(at)
    }

    /// The number of eight bytes at this place, in the machine's order.
    #[inline]
    #[must_use]
    pub fn u64(&self, at: usize) -> Option<u64> {
        self.number(at)
    }

    /// Copies as many bytes as there are, up to the length of `into`; returns how many.
    pub fn copy(&self, into: &mut [u8]) -> usize {
        let length = into.len().min(self.length);
        let mut words = into[..length].chunks_exact_mut(8);
        for (at, word) in words.by_ref().enumerate() {
            word.copy_from_slice(&self.u64(at * 8).unwrap_or(0).to_ne_bytes());
        }
        for (at, byte) in words.into_remainder().iter_mut().enumerate() {
            *byte = self.u8(length / 8 * 8 + at).unwrap_or(0);
        }
        length
    }

    /// The bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        self.copy(&mut bytes);
        bytes
    }

    /// Asks for the byte at this place to be brought nearer: it will be wanted soon.
    #[inline]
    pub fn prefetch(&self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        if at < self.length {
            // SAFETY: a hint, which reads nothing and never faults; the place is within the mapping.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(self.start.add(at).cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }

    /// How the bytes compare with others.
    #[inline]
    #[must_use]
    pub fn compare(&self, with: &[u8]) -> std::cmp::Ordering {
        let common = self.length.min(with.len());
        let words = with[..common].chunks_exact(8);
        let rest = words.remainder();
        for (at, word) in words.enumerate() {
            // As big-endian numbers, eight bytes compare as they do one after another.
            let here = u64::from_be_bytes(self.u64(at * 8).unwrap_or(0).to_ne_bytes());
            match here.cmp(&u64::from_be_bytes(word.try_into().unwrap_or_default())) {
                std::cmp::Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        for (at, byte) in rest.iter().enumerate() {
            match self.u8(common - rest.len() + at).unwrap_or(0).cmp(byte) {
                std::cmp::Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        self.length.cmp(&with.len())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        self.slot.start.store(usize::MAX, Ordering::Release);
        self.slot.end.store(0, Ordering::Release);
        // SAFETY: the mapping is this value's, and no reference to it is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        self.slot.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn temporary(content: &[u8]) -> std::fs::File {
        let path = std::env::temp_dir().join(format!("map-{}-{}", std::process::id(), content.len()));
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_file_that_shrinks_is_noticed_and_survived() {
        let file = temporary(&[7; 100_000]);
        let map = Map::new(&file).unwrap();
        let byte = |map: &Map, at: usize| map.reader().part(at..at + 1).unwrap().u8(0);
        assert_eq!(byte(&map, 99_999), Some(7));
        let reader = map.reader();
        assert!(reader.part(0..20).is_some() && reader.is_intact(&file));
        file.set_len(10).unwrap();
        // Nothing that is gone has been read yet, but might have been.
        assert!(!reader.is_intact(&file));
        assert_eq!(byte(&map, 99_999), Some(0));
        assert_eq!(byte(&map, 50_000), Some(0));
        // Once lost, it stays so.
        file.set_len(100_000).unwrap();
        assert!(!map.reader().is_intact(&file));
        let again = Map::new(&file).unwrap();
        assert!(again.reader().is_intact(&file));
        drop(map);
        assert_eq!(byte(&again, 9), Some(7));
    }

    #[test]
    fn a_file_that_shrinks_within_its_last_page_is_noticed() {
        let file = temporary(&[7; 5000]);
        let map = Map::new(&file).unwrap();
        let (first, last) = (map.reader(), map.reader());
        assert!(first.part(0..4096).is_some());
        let view = last.part(4999..5000).unwrap();
        file.set_len(4200).unwrap();
        assert_eq!(view.u8(0), Some(0));
        assert!(!last.is_intact(&file));
        // What it saw is still there.
        assert!(first.is_intact(&file));
    }

    #[test]
    fn views() {
        let file = temporary(b"abcdefghijklm");
        let map = Map::new(&file).unwrap();
        let reader = map.reader();
        assert!(reader.part(1..14).is_none());
        let view = reader.part(0..13).unwrap();
        assert_eq!(view.len(), 13);
        assert_eq!(view.u16(1), Some(u16::from_ne_bytes(*b"bc")));
        assert_eq!(view.u32(9), Some(u32::from_ne_bytes(*b"jklm")));
        assert_eq!(view.u64(4), Some(u64::from_ne_bytes(*b"efghijkl")));
        assert_eq!((view.u64(6), view.u8(13), view.u16(usize::MAX)), (None, None, None));
        let part = view.part(1..12).unwrap();
        assert_eq!(part.to_vec(), b"bcdefghijkl");
        assert!(view.part(1..14).is_none() && view.part(14..14).is_none());
        let mut few = [0; 3];
        assert_eq!((part.copy(&mut few), &few), (3, b"bcd"));
        for other in
            ["", "b", "bcdefghijkl", "bcdefghijklm", "bcdefghijk", "bcdefghijkx", "bcdefgxijkl", "a", "c"]
        {
            assert_eq!(part.compare(other.as_bytes()), b"bcdefghijkl"[..].cmp(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn numbers_are_shared_until_the_file_is_gone() {
        let file = temporary(&[0; 65_536]);
        let (one, other) = (shared_numbers(&file).unwrap(), shared_numbers(&file).unwrap());
        one[8191].fetch_add(7, Ordering::Relaxed);
        assert_eq!((one.len(), other[8191].load(Ordering::Relaxed)), (8192, 7));
        file.set_len(4096).unwrap();
        one[8191].fetch_add(2, Ordering::Relaxed);
        other[511].fetch_add(1, Ordering::Relaxed);
        assert_eq!((one[8191].load(Ordering::Relaxed), one[511].load(Ordering::Relaxed)), (2, 1));
        assert_eq!(other[8191].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nothing_to_map() {
        assert!(Map::new(&temporary(b"")).is_err());
    }
}
