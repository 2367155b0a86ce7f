//! The postlogd service.

#![forbid(unsafe_code)]

fn main() {
    server::datagram::<postlogd::Postlogd>("postlogd")
}
