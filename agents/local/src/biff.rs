//! The note to who waits for mail at a terminal (spec local-delivery 10.1).

use std::net::{Ipv4Addr, UdpSocket};

/// Of the service `biff`, where the system's list has none.
const PORT: u16 = 512;

/// Tells the local service that a user's mailbox has a message behind this offset. Nobody needs to listen.
pub(crate) fn tell(user: &str, offset: u64) {
    let text = format!("{user}@{offset}\0");
    let sent = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.send_to(text.as_bytes(), (Ipv4Addr::LOCALHOST, PORT)));
    if let Err(error) = sent {
        log::debug!("biff_notify: {}", sys::error_text(&error));
    }
}
