//! A filter's replies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::client::{Features, ReplyLimits, parse_reply};

fuzz_target!(|bytes: &[u8]| {
    if let Some((reply, used)) = parse_reply(bytes, ReplyLimits { line_length_limit: 2048, utf8: true }) {
        assert!(used <= bytes.len());
        let _ = (reply.code(), reply.status(), reply.log_text(), reply.wire());
        let _ = Features::of_reply(&reply).xforward();
    }
});
