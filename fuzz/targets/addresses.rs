//! Addresses: header lists, paths, names of hosts.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| address::parse_any(bytes));
