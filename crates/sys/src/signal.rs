//! Signals: ignored, default, or noted in a flag and written to a pipe.
//!
//! A handler does the two things that are safe in one: it sets a flag, and writes the signal's number to the
//! pipe when there is one. What a signal means is decided in the program's ordinary flow.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

pub use nix::sys::signal::Signal;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction};

const SIGNALS: usize = 65;
static NOTED: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// What a blocking system call does when a caught signal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupts {
    /// It goes on waiting.
    No,
    /// It ends with `EINTR`.
    Yes,
}

extern "C" fn note(number: libc::c_int) {
    let Ok(index) = usize::try_from(number) else { return };
    if let Some(flag) = NOTED.get(index) {
        flag.store(true, Ordering::SeqCst);
    }
    let pipe = PIPE.load(Ordering::SeqCst);
    if pipe >= 0 {
        let byte = [u8::try_from(number).unwrap_or(0)];
        // SAFETY: errno's address is valid in this thread; the interrupted code must find its errno unchanged.
        let saved = unsafe { *libc::__errno_location() };
        // SAFETY: one readable byte; the pipe's write end is never closed once it is stored; it does not
        // block, and a full pipe is full of wake-ups already.
        let _ = unsafe { libc::write(pipe, byte.as_ptr().cast(), 1) };
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = saved };
    }
}

fn set(signal: Signal, handler: SigHandler, interrupts: Interrupts) -> io::Result<()> {
    let flags = if interrupts == Interrupts::No { SaFlags::SA_RESTART } else { SaFlags::empty() };
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handler is one of ignore, default, or `note`, which does only what a handler may.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Ignores a signal.
///
/// # Errors
/// What `sigaction` says.
pub fn ignore(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigIgn, Interrupts::No)
}

/// Restores a signal's default effect.
///
/// # Errors
/// What `sigaction` says.
pub fn default(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigDfl, Interrupts::No)
}

/// Catches a signal: see [`taken`] and [`pipe`].
///
/// # Errors
/// What `sigaction` says.
pub fn catch(signal: Signal, interrupts: Interrupts) -> io::Result<()> {
    set(signal, SigHandler::Handler(note), interrupts)
}

/// Whether the signal came since the last time this was asked.
#[must_use]
pub fn taken(signal: Signal) -> bool {
    usize::try_from(signal as i32)
        .ok()
        .and_then(|index| NOTED.get(index))
        .is_some_and(|flag| flag.swap(false, Ordering::SeqCst))
}

/// A pipe to wait on: one byte, the signal's number, per caught signal. To be made once in a process.
///
/// # Errors
/// What `pipe` says; `AlreadyExists` the second time.
pub fn pipe() -> io::Result<OwnedFd> {
    let (reader, writer) = crate::fd::pipe()?;
    crate::fd::set_nonblocking(&reader, true)?;
    crate::fd::set_nonblocking(&writer, true)?;
    let writer = writer.into_raw_fd();
    match PIPE.compare_exchange(-1, writer, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => Ok(reader),
        Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// Blocks or unblocks signals in this thread, and in what it starts or execs.
///
/// # Errors
/// What `sigprocmask` says.
pub fn block(signals: &[Signal], blocked: bool) -> io::Result<()> {
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(*signal);
    }
    set.thread_swap_mask(if blocked { SigmaskHow::SIG_BLOCK } else { SigmaskHow::SIG_UNBLOCK })?;
    Ok(())
}

/// Has `SIGALRM` sent after so many seconds; 0 cancels.
pub fn alarm(seconds: u32) {
    // SAFETY: alarm takes an integer and cannot fail.
    unsafe { libc::alarm(seconds) };
}

/// Sends a signal to this thread.
///
/// # Errors
/// What `raise` says.
pub fn raise(signal: Signal) -> io::Result<()> {
    Ok(nix::sys::signal::raise(signal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_signal_is_noted_once_and_written() {
        let reader = pipe().unwrap();
        assert!(pipe().is_err());
        catch(Signal::SIGUSR2, Interrupts::No).unwrap();
        raise(Signal::SIGUSR2).unwrap();
        assert!(taken(Signal::SIGUSR2));
        assert!(!taken(Signal::SIGUSR2));
        let mut byte = [0; 4];
        assert_eq!(crate::fd::read(&reader, &mut byte).unwrap(), 1);
        assert_eq!(i32::from(byte[0]), Signal::SIGUSR2 as i32);
        default(Signal::SIGUSR2).unwrap();
    }
}
