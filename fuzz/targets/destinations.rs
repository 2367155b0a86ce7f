//! Destination lists of aliases and .forward files, names with extensions, and macros.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| destinations::parse_any(bytes));
