//! Lines of an authentication server, as answers to a request and as parts of a handshake; security options.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sasl::line::{Greeting, Reply, Request, continuation};
use sasl::{Mechanism, SecurityOptions};

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Greeting::Mechanism(fields) = Greeting::parse(line)
            && let Some(mechanism) = Mechanism::parse(fields)
        {
            assert!(mechanism.name.bytes().all(|byte| byte.is_ascii_graphic()));
            let _ = SecurityOptions::default().allow(&mechanism);
        }
        if let Reply::Continue(Some(challenge)) = Reply::parse(line, 7) {
            assert!(challenge.len() < line.len());
        }
        // Whatever a client sends, it is one line with as many fields as were meant.
        let request = Request {
            mechanism: line,
            service: "smtp",
            server_address: line,
            client_address: line,
            secured: true,
            initial_response: Some(line),
        };
        for (text, fields) in [(request.line(7), 9), (continuation(7, line), 3)] {
            assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(text.split(|&byte| byte == b'\t').count(), fields);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = SecurityOptions::parse(text);
    }
});
