//! Sources of cidr and regexp tables, and keys for them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lookup::fuzz::rules(bytes));
