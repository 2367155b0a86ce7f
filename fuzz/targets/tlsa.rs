//! TLSA records, and certificates that they are about.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tls::fuzz::tlsa(bytes));
