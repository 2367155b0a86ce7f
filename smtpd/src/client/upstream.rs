//! The load balancer in front of the server, which says who the client is before the client speaks (spec smtpd
//! 7.3).
//!
//! The header is looked at where it lies, and exactly its length is taken; it has to come as a whole. A header that is
//! none, or none within the time limit, ends the session with a local error.

use std::os::fd::BorrowedFd;

use access::client::text;
use access::settings::Protocols;
use smtp::haproxy::{self, Source};

use crate::settings::upstream::UpstreamProxy;

/// There is no header; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Takes the header from the connection.
///
/// # Errors
/// There is none.
pub(crate) fn source(
    proxy: UpstreamProxy,
    connection: BorrowedFd<'_>,
    protocols: Protocols,
) -> Result<Source, Broken> {
    let mut buffer = [0; haproxy::LONGEST];
    let broken = |why: &str| {
        log::warn!("haproxy read: {why}");
        Broken
    };
    // Any error of the socket is a client that has gone.
    if !sys::poll::readable(connection, Some(proxy.timeout)).map_err(|_| broken("EOF"))? {
        return Err(broken("timeout error"));
    }
    let input = match sys::socket::peek(connection, &mut buffer) {
        Ok(0) | Err(_) => return Err(broken("EOF")),
        Ok(length) => &buffer[..length],
    };
    let (source, length) = haproxy::parse(input, protocols.families())
        .map_err(|error| broken(&format!("{error}: {}", text::escaped(input))))?;
    // These bytes are there: this neither waits nor takes more.
    match sys::socket::receive(connection, &mut buffer[..length]) {
        Ok(taken) if taken == length => Ok(source),
        _ => Err(broken("EOF")),
    }
}
