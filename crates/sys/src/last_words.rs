//! What a signal handler does before it ends the process: says a line, removes files.
//!
//! A handler may come in the middle of anything, even of an allocation: it can only use what was made ready before.
//! [`say`] makes the lines ready, [`remove`] a path. The handler itself allocates nothing, takes no lock, and makes
//! only calls that signal-safety(7) allows. Handlers of other signals that end here do not interrupt each other.

use std::cell::UnsafeCell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::time::{StampStyle, stamp_now};

/// Bytes of a line, its time stamp included; what is longer is cut.
const LINE: usize = 1024;
/// The longest path, the NUL included. Files in a queue have names of a few dozen bytes, relative to its directory.
const PATH: usize = 512;

/// Where a line goes.
#[derive(Debug)]
pub enum Way {
    /// An open file or terminal.
    File(OwnedFd),
    /// A connected socket; when it takes no more (its other end was started anew), a datagram to this path.
    Socket(Option<OwnedFd>, CString),
}

/// One line of the last words, complete but for the time.
#[derive(Debug)]
pub struct Line {
    /// Where it goes.
    pub way: Way,
    /// What comes before the time.
    pub before: Vec<u8>,
    /// How the time is written.
    pub stamp: Option<StampStyle>,
    /// What comes after it, with the line's end if it needs one.
    pub after: Vec<u8>,
}

static LINES: AtomicPtr<Vec<Line>> = AtomicPtr::new(ptr::null_mut());

/// Makes the lines ready that [`crate::watchdog`] says when it ends the process.
///
/// Lines made ready before are forgotten and stay in memory, as a handler may be reading them: this is for once in a
/// process, or a few times.
pub fn say(lines: Vec<Line>) {
    LINES.store(Box::into_raw(Box::new(lines)), Ordering::Release);
}

/// A place for a path. Places are made when none is free, and never given back: there are as many as there have been
/// unfinished files at a time.
struct Slot {
    /// The slot that was made before this one.
    next: *const Slot,
    state: AtomicU8,
    path: UnsafeCell<[u8; PATH]>,
}

/// Nobody uses this slot.
const FREE: u8 = 0;
/// Its path is being written.
const TAKEN: u8 = 1;
/// Its path names a file that is to be removed.
const NAMED: u8 = 2;

static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

/// A file to remove when the process is ended, until this is dropped.
///
/// No file is removed after that: when it has been removed already, dropping waits for the process's end, which is near.
#[derive(Debug)]
#[must_use]
pub struct Removal(&'static Slot);

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

// SAFETY: `next` is never changed once others see the slot, and `path` is written only by who has made the state `TAKEN`.
unsafe impl Sync for Slot {}

/// Names a file to remove when the process is ended.
///
/// # Errors
/// `InvalidInput` for a path that is too long or has a NUL in it.
pub fn remove(path: &Path) -> io::Result<Removal> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= PATH || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let slot = free_slot().unwrap_or_else(new_slot);
    // SAFETY: the state is `TAKEN`, so nobody else writes, and no handler reads. The bytes and a NUL fit, by the check
    // above.
    unsafe {
        let buffer = slot.path.get().cast::<u8>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, bytes.len());
        buffer.add(bytes.len()).write(0);
    }
    slot.state.store(NAMED, Ordering::SeqCst);
    Ok(Removal(slot))
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: null, or a slot that `new_slot` made and that is never freed.
    let first = unsafe { SLOTS.load(Ordering::Acquire).as_ref() };
    // SAFETY: as above.
    std::iter::successors(first, |slot| unsafe { slot.next.as_ref() })
}

/// A free slot, now `TAKEN`.
fn free_slot() -> Option<&'static Slot> {
    let take =
        |slot: &&Slot| slot.state.compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::Relaxed).is_ok();
    slots().find(take)
}

/// One more slot, `TAKEN`.
fn new_slot() -> &'static Slot {
    let slot = Box::leak(Box::new(Slot {
        next: ptr::null(),
        state: AtomicU8::new(TAKEN),
        path: UnsafeCell::new([0; PATH]),
    }));
    let mut first = SLOTS.load(Ordering::Acquire);
    loop {
        slot.next = first;
        match SLOTS.compare_exchange(first, slot, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return slot,
            Err(other) => first = other,
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if self.0.state.compare_exchange(NAMED, FREE, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // The file has been removed: the process is about to end, and nobody may be told of the file any more.
            loop {
                std::thread::park();
            }
        }
    }
}

/// Removes the named files now, if there are any. What a handler does, for an end that is not a signal's: no [`Removal`] that
/// is there comes to its end after this.
pub fn remove_now() {
    for slot in slots() {
        if slot.state.compare_exchange(NAMED, TAKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            // SAFETY: the state was `NAMED`, so the buffer holds a path and its NUL; nobody writes it before the
            // `Removal` has been dropped.
            unsafe { libc::unlink(slot.path.get().cast()) };
        }
    }
}

/// Has a signal end the process with this status, after the named files were removed.
///
/// # Errors
/// What `sigaction` says.
pub fn end_at_sigterm(status: i32) -> io::Result<()> {
    TERMINATED.store(status, Ordering::Relaxed);
    catch(Signal::SIGTERM, terminated)
}

static TERMINATED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn terminated(_: libc::c_int) {
    remove_now();
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(TERMINATED.load(Ordering::Relaxed)) };
}

/// Installs a handler during which the other one waits.
pub(crate) fn catch(signal: Signal, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGALRM);
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, mask);
    // SAFETY: both handlers do only what a handler may.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Says the lines. For handlers.
pub(crate) fn speak() {
    // SAFETY: null, or a box that `say` made and that is never freed.
    let Some(lines) = (unsafe { LINES.load(Ordering::Acquire).as_ref() }) else { return };
    for line in lines {
        let mut text = Text { bytes: [0; LINE], len: 0 };
        text.push(&line.before);
        if let Some(style) = line.stamp {
            text.push(&stamp_now(style));
        }
        text.push(&line.after);
        let said = text.bytes.get(..text.len).unwrap_or_default();
        match &line.way {
            Way::File(fd) => {
                let _ = crate::fd::write(fd, said);
            }
            Way::Socket(socket, path) => {
                let sent = socket.as_ref().is_some_and(|socket| crate::fd::write(socket, said).is_ok());
                if !sent {
                    send_to(path, said);
                }
            }
        }
    }
}

struct Text {
    bytes: [u8; LINE],
    len: usize,
}

impl Text {
    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.len).zip(bytes) {
            *place = *byte;
            self.len += 1;
        }
    }
}

/// One datagram. Nothing can be done about a failure.
fn send_to(path: &CString, bytes: &[u8]) {
    // SAFETY: an all-zero address is a valid value of this plain C structure.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or_default();
    let path = path.as_bytes_with_nul();
    if path.len() > address.sun_path.len() {
        return;
    }
    for (place, byte) in address.sun_path.iter_mut().zip(path) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_un>()).unwrap_or_default();
    // SAFETY: takes integers.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0) };
    if socket >= 0 {
        // SAFETY: the bytes and the address are readable for the lengths given. The socket stays open: the process ends.
        let _ = unsafe {
            libc::sendto(socket, bytes.as_ptr().cast(), bytes.len(), 0, (&raw const address).cast(), length)
        };
    }
}

/// A copy of a descriptor, for [`Way`], so that its number is never another file's when the handler comes.
///
/// # Errors
/// What `fcntl` says.
pub fn copy(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_named_file_goes_and_one_that_is_done_with_stays() {
        let path = std::env::temp_dir().join(format!("sys-last-words-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        let other = path.with_extension("other");
        std::fs::write(&other, "y").unwrap();
        let removal = remove(&path).unwrap();
        let stays = remove(&other).unwrap();
        drop(stays);
        remove_now();
        assert!(!path.exists() && other.exists());
        std::mem::forget(removal);
        drop(remove(&other).unwrap());
        assert_eq!(slots().count(), 2, "slots are used again");
        assert!(remove(Path::new(&"x".repeat(PATH))).is_err());
    }

    #[test]
    fn lines_find_their_way() {
        let path = std::env::temp_dir().join(format!("sys-last-socket-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let daemon = UnixDatagram::bind(&path).unwrap();
        let (gone, other) = UnixDatagram::pair().unwrap();
        drop(other);
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let line =
            |way, stamp| Line { way, before: b"<18>".to_vec(), stamp, after: b" h x[1]: fatal: y".to_vec() };
        say(vec![
            line(Way::Socket(Some(gone.into()), name), Some(StampStyle::Syslog)),
            line(Way::Socket(None, CString::new("/nowhere/to/be/found").unwrap()), None),
        ]);
        speak();
        let mut buffer = [0; 200];
        let got = daemon.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..got]).unwrap();
        assert_eq!(text.len(), "<18>Nov 22 06:14:14 h x[1]: fatal: y".len(), "{text}");
        assert!(text.starts_with("<18>") && text.ends_with(" h x[1]: fatal: y"), "{text}");
        std::fs::remove_file(path).unwrap();
    }
}
