//! All unsafe code and raw libc of the workspace, behind safe functions without policy.
//!
//! Each module wraps one family of system calls. A function here does what its system call does and
//! returns the system's error; which error is fatal, what is logged and in which order privileges go is
//! decided by the callers. Every other crate of the workspace forbids `unsafe`.
//!
//! ```
//! let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
//! sys::fd::set_cloexec(&reader, true).unwrap();
//! drop(writer);
//! assert!(sys::poll::readable(&reader, Some(std::time::Duration::ZERO)).unwrap());
//! ```

pub mod disk;
pub mod fd;
pub mod file;
pub mod flock;
pub mod host;
pub mod last_words;
#[cfg(feature = "logarithm")]
mod logarithm;
pub mod map;
pub mod note;
pub mod pass;
#[cfg(feature = "pcre")]
pub mod pcre;
pub mod poll;
pub mod process;
pub mod program;
pub mod resolver;
pub mod signal;
pub mod socket;
pub mod stack;
pub mod terminal;
pub mod time;
pub mod transport;
pub mod user;
pub mod watchdog;

pub use nix::unistd::{Gid, Pid, Uid};

use std::io;
use std::sync::OnceLock;

/// The result of a libc call that reports failure with -1 and `errno`.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The text of an error as the C library's `strerror` gives it: `No such file or directory`.
///
/// Rust's own text ends in ` (os error 2)`, which no log reader expects.
#[must_use]
pub fn error_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => errno_text(number),
        None => match error.kind() {
            io::ErrorKind::WouldBlock => errno_text(libc::EAGAIN),
            io::ErrorKind::AlreadyExists => errno_text(libc::EEXIST),
            io::ErrorKind::TimedOut => errno_text(libc::ETIMEDOUT),
            io::ErrorKind::FileTooLarge => errno_text(libc::EFBIG),
            io::ErrorKind::UnexpectedEof => "Success".to_string(),
            _ => error.to_string(),
        },
    }
}

/// Texts that were asked for; the highest number that Linux has is 133.
static ERRNO_TEXTS: [OnceLock<String>; 134] = [const { OnceLock::new() }; 134];

/// The text of an error number: `No such file or directory` for 2. The C library is asked once.
#[must_use]
pub fn errno_text(number: i32) -> String {
    match usize::try_from(number).ok().and_then(|number| ERRNO_TEXTS.get(number)) {
        Some(text) => text.get_or_init(|| ask_errno_text(number)).clone(),
        None => ask_errno_text(number),
    }
}

fn ask_errno_text(number: i32) -> String {
    let mut buffer = [0 as libc::c_char; 256];
    // SAFETY: the buffer is writable for the length given; the call ends the text with a NUL within it.
    // (The POSIX form of strerror_r, which the libc crate links, always fills the caller's buffer.)
    let failed = unsafe { libc::strerror_r(number, buffer.as_mut_ptr(), buffer.len()) };
    if failed != 0 {
        return format!("Unknown error {number}");
    }
    // SAFETY: the call above succeeded, so the buffer holds a NUL-terminated text.
    unsafe { std::ffi::CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn error_texts_are_the_c_librarys() {
        assert_eq!(super::errno_text(2), "No such file or directory");
        assert_eq!(super::errno_text(2), "No such file or directory");
        for number in [-1, 0, 133, 134, i32::MAX] {
            assert_eq!(super::errno_text(number), super::ask_errno_text(number));
        }
        assert_eq!(super::errno_text(11), "Resource temporarily unavailable");
        let error = std::io::Error::from_raw_os_error(13);
        assert_eq!(super::error_text(&error), "Permission denied");
        assert_eq!(super::error_text(&std::io::ErrorKind::TimedOut.into()), "Connection timed out");
    }
}
