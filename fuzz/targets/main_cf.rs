//! main.cf: lines, settings, expansion of every value, conversion of every parameter.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| config::fuzz_main_cf(bytes));
