//! Attribute lists of the internal protocols, in both encodings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ipc::attr::decode_any(bytes));
