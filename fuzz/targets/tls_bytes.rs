//! What clients send before and in a handshake, and what files may hold: certificates, ClientHello, PEM, lists.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    tls::fuzz::bytes(input);
    if let Ok(text) = std::str::from_utf8(input) {
        tls::fuzz::lists(text);
    }
});
