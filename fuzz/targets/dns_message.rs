//! Answers of name servers: whatever the bytes are, they are read to an end, and what is kept is bounded.

#![no_main]

use dns::message::{self, RECORD_LIMIT};
use libfuzzer_sys::fuzz_target;

/// A name of 255 bytes on the wire, each written as an escape of four.
const NAME_LIMIT: usize = 255 * 4;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = message::parse(bytes) {
        assert!(message.answers.len() <= RECORD_LIMIT && message.name.len() <= NAME_LIMIT);
        for record in &message.answers {
            assert!(record.owner.len() <= NAME_LIMIT);
            assert!(!record.to_string().is_empty());
        }
    }
});
