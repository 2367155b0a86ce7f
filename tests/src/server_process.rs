//! Other people's servers that run beside the tests: until they serve, and until they have ended.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until it serves; false when it ends before, or does not for long.
pub(crate) fn comes_up(child: &mut Child, serves: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !serves() {
        let ended = !matches!(child.try_wait(), Ok(None));
        if ended || Instant::now() > deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// Ends it with this signal; one that does not obey for long is killed.
pub(crate) fn end(mut child: Child, signal: Signal) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = kill(Pid::from_raw(id), signal);
    }
    let deadline = Instant::now() + PATIENCE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            drop(child.kill());
        }
        thread::sleep(PAUSE);
    }
}
