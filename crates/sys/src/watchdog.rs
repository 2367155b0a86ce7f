//! A timer that ends a process which stands still, without a thread and nearly without system calls.
//!
//! The alarm comes when the time has gone since it was set, and then every eighth of it: the third that finds the process
//! at work ends it. At the end of each rest the alarm is set anew if it is older than a quarter of the time. So a process
//! that rests often enough is never interrupted in its work, which every blocking call of it would have to bear, and in a
//! rest once at most. The end says and removes what was made ready in [`crate::last_words`].

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::last_words;

/// Alarms until the end.
const BITE: u32 = 3;
/// For the case that even the last words cannot be said.
const SUICIDE_SECONDS: u32 = 5;
/// Keeps a broken service from spinning.
const PAUSE_SECONDS: u32 = 1;

static RESTING: AtomicBool = AtomicBool::new(false);
/// Whether the alarm is set.
static ARMED: AtomicBool = AtomicBool::new(false);
static MISSES: AtomicU32 = AtomicU32::new(0);

/// C's `struct itimerval`, which the libc crate does not have on every platform.
#[repr(C)]
struct IntervalTimer {
    interval: libc::timeval,
    value: libc::timeval,
}

unsafe extern "C" {
    /// POSIX.
    fn setitimer(which: libc::c_int, new: *const IntervalTimer, old: *mut IntervalTimer) -> libc::c_int;
}

const ITIMER_REAL: libc::c_int = 0;

/// The watchdog of this process: there is one. A fork's child has none until it starts its own.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
    set: Cell<Instant>,
}

impl Watchdog {
    /// Starts watching: a process that does not rest for `limit`, or up to a quarter longer, is ended with status 1.
    ///
    /// # Errors
    /// What `sigaction` and `setitimer` say.
    pub fn start(limit: Duration) -> io::Result<Self> {
        last_words::catch(Signal::SIGALRM, alarmed)?;
        RESTING.store(false, Ordering::SeqCst);
        set(limit)?;
        Ok(Self { limit, set: Cell::new(Instant::now()) })
    }

    /// Does what may take any time: waiting for events, or for a lock. It must bear to be interrupted.
    pub fn rest<T>(&self, wait: impl FnOnce() -> T) -> T {
        RESTING.store(true, Ordering::SeqCst);
        let outcome = wait();
        self.pass();
        RESTING.store(false, Ordering::SeqCst);
        outcome
    }

    fn pass(&self) {
        let now = Instant::now();
        if !ARMED.load(Ordering::SeqCst) || now.duration_since(self.set.get()) >= self.limit / 4 {
            // It was set at the start by the same call.
            let _ = set(self.limit);
            self.set.set(now);
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = set_timer(Duration::ZERO, Duration::ZERO);
    }
}

fn set(limit: Duration) -> io::Result<()> {
    MISSES.store(0, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    set_timer(limit, limit / 8)
}

fn set_timer(value: Duration, interval: Duration) -> io::Result<()> {
    let timer = IntervalTimer { interval: timeval(interval), value: timeval(value) };
    // SAFETY: the new value is a live local; the old one is not asked for.
    crate::checked(unsafe { setitimer(ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }).map(|_| ())
}

fn timeval(span: Duration) -> libc::timeval {
    libc::timeval {
        tv_sec: libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::from(span.subsec_micros()),
    }
}

extern "C" fn alarmed(_: libc::c_int) {
    if RESTING.load(Ordering::SeqCst) {
        // It is woken once, and not again and again.
        let _ = set_timer(Duration::ZERO, Duration::ZERO);
        ARMED.store(false, Ordering::SeqCst);
        return;
    }
    if MISSES.fetch_add(1, Ordering::SeqCst) + 1 < BITE {
        return;
    }
    let _ = set_timer(Duration::ZERO, Duration::ZERO);
    let _ = crate::signal::default(Signal::SIGALRM);
    // It is blocked while its handler runs.
    let _ = crate::signal::block(&[Signal::SIGALRM], false);
    crate::signal::alarm(SUICIDE_SECONDS);
    last_words::speak();
    last_words::remove_now();
    // SAFETY: both take integers; _exit does not return.
    unsafe {
        libc::poll(std::ptr::null_mut(), 0, i32::try_from(PAUSE_SECONDS * 1000).unwrap_or(1000));
        libc::_exit(1)
    };
}
