//! A policy server's answers.
#![no_main]

use std::io::{BufReader, Read};

use ipc::policy::read_action;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = read_action(&mut &bytes[..], "policy");
    if let Ok(action) = &whole {
        assert!(action.len() <= bytes.len() && !action.contains(&0) && !action.contains(&b'\n'));
    }
    // In pieces as in one.
    let pieces = read_action(&mut BufReader::with_capacity(1, bytes.take(u64::MAX)), "policy");
    assert_eq!(whole.ok(), pieces.ok());
});
