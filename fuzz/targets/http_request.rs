//! Requests to the metrics service, as they come in pieces.
#![no_main]

#[path = "../../services/metrics/src/request.rs"]
mod request;

use libfuzzer_sys::fuzz_target;
use request::{LENGTH_LIMIT, Reading, read};

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(LENGTH_LIMIT)];
    let whole = read(bytes);
    assert!(bytes.len() < LENGTH_LIMIT || whole != Reading::Part);
    // What is settled by a beginning stays so.
    for end in 0..bytes.len() {
        match read(&bytes[..end]) {
            Reading::Part => {}
            settled => return assert_eq!(settled, whole),
        }
    }
});
