//! One request on a connection of its own.

use std::time::Duration;

use super::Stream;
use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Flags};

/// Sends one request to `path` and returns the `status` it is answered with.
///
/// `request` adds the attributes. Any failure is logged in Postfix's words and gives -1.
pub(crate) fn one_shot(
    path: &str,
    protocol: Protocol,
    timeout: Duration,
    request: impl FnOnce(Encoder) -> Encoder,
) -> i32 {
    let mut stream = match Stream::connect(path, timeout) {
        Ok(stream) => stream,
        Err(error) => {
            log::warn!("connect to {path}: {}", sys::error_text(&error));
            return -1;
        }
    };
    let name = stream.name().to_owned();
    if let Err(error) = protocol.expect(&mut stream, &name) {
        error.warn();
        log::warn!("read {name}: {}", error.os_text());
        return -1;
    }
    if let Err(error) = request(Encoder::new(protocol.encoding)).send(&mut stream) {
        log::warn!("write {name}: {}", sys::error_text(&error));
        return -1;
    }
    let mut reply = Decoder::new(protocol.encoding, &mut stream, &name, Flags::STRICT);
    let status = reply.int("status").and_then(|status| reply.end().map(|()| status));
    match status {
        Ok(status) => status,
        Err(error) => {
            error.warn();
            log::warn!("write/read {name}: {}", error.os_text());
            -1
        }
    }
}
