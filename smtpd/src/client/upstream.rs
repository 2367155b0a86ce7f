//! The load balancer in front of the server, which says who the client is before the client speaks (spec smtpd
//! 7.3).
//!
//! The header is looked at where it lies, and exactly its length is taken; it has to come as a whole. A header that is
//! none, or none within the time limit, ends the session with a local error.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use config::{Config, Error};
use smtp::haproxy::{self, Source};

use crate::client::text;
use crate::settings::params::Protocols;

/// `smtpd_upstream_proxy_protocol`, when it is `haproxy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamProxy {
    /// `smtpd_upstream_proxy_timeout`: how long the header may let itself be waited for.
    pub timeout: Duration,
}

/// There is no header; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl UpstreamProxy {
    /// The settings; `None` when there is no load balancer.
    ///
    /// # Errors
    /// A protocol that does not exist.
    pub fn new(config: &Config) -> Result<Option<Self>, Error> {
        let timeout = config.time("smtpd_upstream_proxy_timeout")?;
        let name = "smtpd_upstream_proxy_protocol";
        match config.text(name)?.as_str() {
            "" => Ok(None),
            "haproxy" => Ok(Some(Self { timeout })),
            other => Err(config.wrong(name, format!("unsupported {name} value: {other}"))),
        }
    }

    /// Takes the header from the connection.
    ///
    /// # Errors
    /// There is none.
    pub fn source(self, connection: BorrowedFd<'_>, protocols: Protocols) -> Result<Source, Broken> {
        let mut buffer = [0; haproxy::LONGEST];
        let broken = |why: &str| {
            log::warn!("haproxy read: {why}");
            Broken
        };
        // Any error of the socket is a client that has gone.
        if !sys::poll::readable(connection, Some(self.timeout)).map_err(|_| broken("EOF"))? {
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
}
