//! Tests that cannot run here: never silently.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

/// Notes that the named test did not run, and why. `tests/run` counts and prints these.
pub fn record_skip(test: &str, reason: &str) {
    println!("SKIPPED {test}: {reason}");
    if let Some(path) = env::var_os("POSTERN_SKIP_LOG") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let suite = env::var("POSTERN_UNDER_TEST").unwrap_or_else(|_| "postfix".into());
        // In one piece: others write there at the same time.
        let line = format!("{suite}: {test}: {reason}\n");
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the list of skipped tests is part of the result");
    }
}

/// Ends the test, counted and named as skipped, unless the condition holds.
#[macro_export]
macro_rules! require {
    ($condition:expr, $reason:expr) => {
        if !$condition {
            let name = std::thread::current().name().unwrap_or("?").to_owned();
            $crate::record_skip(&name, $reason);
            return;
        }
    };
}
