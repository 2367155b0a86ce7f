//! How a program ends when it cannot go on (spec master 3.14).

use std::cell::Cell;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::line::Severity;

/// Keeps a broken service, together with master's throttle, from spinning.
const PAUSE: Duration = Duration::from_secs(1);

type Hook = Box<dyn FnOnce() + Send>;
static HOOK: Mutex<Option<Hook>> = Mutex::new(None);
static EXITING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Fatal errors and panics end this thread, not the process.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Sets what runs between the line of a fatal error and the exit: removing a half-written file, or an exit
/// with another status. Replaces the one before.
pub fn on_fatal(hook: impl FnOnce() + Send + 'static) {
    *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hook));
}

/// Logs `fatal: TEXT`, runs the hook, pauses, exits with status 1.
pub fn fatal(text: impl Display) -> ! {
    fatal_status(1, text)
}

/// As [`fatal`], with another exit status. A fatal error during a fatal exit is not logged.
pub fn fatal_status(status: i32, text: impl Display) -> ! {
    if CONTAINED.get() {
        crate::logger::emit(Severity::Fatal, format_args!("{text}"));
        sys::process::sleep(PAUSE);
        std::panic::resume_unwind(Box::new("fatal error"));
    }
    if !EXITING.swap(true, Ordering::SeqCst) {
        crate::logger::emit(Severity::Fatal, format_args!("{text}"));
        let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hook) = hook {
            hook();
        }
    }
    sys::process::sleep(PAUSE);
    sys::process::exit_now(status)
}

/// Logs `panic: TEXT`, pauses, aborts.
pub fn panic(text: impl Display) -> ! {
    if !EXITING.swap(true, Ordering::SeqCst) {
        crate::logger::emit(Severity::Panic, format_args!("{text}"));
    }
    sys::process::sleep(PAUSE);
    std::process::abort()
}

/// From now on a panic or a fatal error in this thread is logged and then unwinds, for a thread that serves one of many
/// clients: whoever started it catches it (`std::panic::catch_unwind`). [`panic()`] still ends the process.
pub fn contain_panics() {
    CONTAINED.set(true);
}

/// Makes a panic of this language, in any thread, end the process as [`panic()`] does.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("unknown cause");
        if CONTAINED.get() {
            let place = info.location().map(|place| format!(", at {}:{}", place.file(), place.line()));
            let text = format!("{text}{}", place.unwrap_or_default());
            crate::logger::emit(Severity::Panic, format_args!("{text}"));
            return;
        }
        match info.location() {
            Some(place) => panic(format_args!("{text}, at {}:{}", place.file(), place.line())),
            None => panic(text),
        }
    }));
}
