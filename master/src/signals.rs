//! The signals that master answers, and how it ends (spec master 2.14, 2.15).

use sys::signal::{Interrupts, Signal};
use sys::{Pid, error_text};

use crate::Fatal;

/// Signals that end master and, with it, its process group.
pub(crate) const TERMINATING: [Signal; 3] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Seconds that the end may take.
const LAST_WORDS: u32 = 5;

/// Catches what is to be caught.
///
/// # Errors
/// What the system says.
pub fn install() -> Result<(), Fatal> {
    for signal in TERMINATING.into_iter().chain([Signal::SIGHUP, Signal::SIGCHLD, Signal::SIGUSR1]) {
        sys::signal::catch(signal, Interrupts::No)
            .map_err(|error| Fatal(format!("sigaction: {}", error_text(&error))))?;
    }
    Ok(())
}

/// Ends the process group that this process leads, then this process by the same signal. A master that leads none
/// (`-d` in a script) ends its `children` one by one, and leaves the script alone.
pub fn terminate(signal: Signal, init: bool, children: impl Iterator<Item = Pid>) -> ! {
    // Nothing below may keep the operator waiting; none of the errors could be told better than by the end itself.
    let _ = sys::signal::default(Signal::SIGALRM);
    sys::signal::alarm(LAST_WORDS);
    let _ = sys::signal::ignore(Signal::SIGTERM);
    // First the log line, as the log daemon is in the group.
    log::info!("terminating on signal {}", signal as i32);
    let group = Pid::from_raw(-sys::process::pid().as_raw());
    if sys::process::kill(group, Some(Signal::SIGTERM)).is_err() {
        for child in children {
            let _ = sys::process::kill(child, Some(Signal::SIGTERM));
        }
    }
    if init {
        sys::process::exit_now(0);
    }
    let _ = sys::signal::default(signal);
    let _ = sys::signal::raise(signal);
    sys::process::exit_now(1)
}
