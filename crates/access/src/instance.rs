//! What tells one transaction from another, for policy servers.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Room for the usual instance.
const INSTANCE: usize = 32;

/// Process, time and a count, in hexadecimal digits: unique for policy servers (spec access 9.2).
pub fn of(time: SystemTime) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut instance = String::with_capacity(INSTANCE);
    // Writing to a string does not fail.
    let _ = write!(
        instance,
        "{:x}.{:x}.{:x}.{count:x}",
        sys::process::id(),
        since.as_secs(),
        since.subsec_micros()
    );
    instance
}
