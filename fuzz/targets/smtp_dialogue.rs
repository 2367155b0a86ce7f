//! A server that says anything, whatever it is told, and hangs up.
#![no_main]

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use smtp::client::{Conversation, ReplyLimits, Socket};

fuzz_target!(|bytes: &[u8]| {
    let (own, mut peer) = UnixStream::pair().expect("descriptors");
    // As much as a socket holds.
    peer.write_all(&bytes[..bytes.len().min(64 * 1024)]).expect("room");
    peer.shutdown(Shutdown::Write).expect("connected");
    let limits = ReplyLimits { line_length_limit: 2048, utf8: true };
    let mut conversation =
        Conversation::new(Socket::Unix(own), Duration::from_secs(60), limits).expect("a socket");
    for _ in 0..64 {
        let Ok(reply) = conversation.command(b"NOOP", &mut |_| {}) else { break };
        assert!(!reply.lines().is_empty(), "the last line is what counts");
    }
});
