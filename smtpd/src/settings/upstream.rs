//! The settings of the load balancer in front of the server (spec smtpd 7.3).

use std::time::Duration;

use config::{Config, Error};

/// `smtpd_upstream_proxy_protocol`, when it is `haproxy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpstreamProxy {
    /// `smtpd_upstream_proxy_timeout`: how long the header may let itself be waited for.
    pub timeout: Duration,
}

impl UpstreamProxy {
    /// The settings; `None` when there is no load balancer.
    ///
    /// # Errors
    /// A protocol that does not exist.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, Error> {
        let timeout = config.time("smtpd_upstream_proxy_timeout")?;
        let name = "smtpd_upstream_proxy_protocol";
        match config.text(name)?.as_str() {
            "" => Ok(None),
            "haproxy" => Ok(Some(Self { timeout })),
            other => Err(config.wrong(name, format!("unsupported {name} value: {other}"))),
        }
    }
}
