//! What servers say to the SMTP client, and to posttls-finger.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| smtp_agent::fuzz::dialogue(bytes));
