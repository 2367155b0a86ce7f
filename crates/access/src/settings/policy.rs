//! `smtpd_policy_service_*`: how policy servers are used, unless a list says otherwise (spec access 9.1).

use std::time::Duration;

use config::{Config, Error, KnownPorts};

/// What holds for a service unless its own text says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDefaults {
    /// Limit of the connect and of each read and write.
    pub timeout: Duration,
    /// A connection unused for so long is closed between two sessions.
    pub max_idle: Duration,
    /// A connection of this age is closed between two sessions.
    pub(crate) max_ttl: Duration,
    /// Requests of one connection; 0 is no limit.
    pub request_limit: i32,
    /// Tries of one request.
    pub try_limit: i32,
    /// Pause between two tries.
    pub retry_delay: Duration,
    /// What is done when no try succeeded.
    pub default_action: String,
    /// A word for the server.
    pub policy_context: String,
    /// `known_tcp_ports`
    pub known_ports: KnownPorts,
}

impl PolicyDefaults {
    /// Reads the parameters.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            timeout: config.time("smtpd_policy_service_timeout")?,
            max_idle: config.time("smtpd_policy_service_max_idle")?,
            max_ttl: config.time("smtpd_policy_service_max_ttl")?,
            request_limit: config.integer("smtpd_policy_service_request_limit")?,
            try_limit: config.integer("smtpd_policy_service_try_limit")?,
            retry_delay: config.time("smtpd_policy_service_retry_delay")?,
            default_action: config.text("smtpd_policy_service_default_action")?,
            policy_context: config.text("smtpd_policy_service_policy_context")?,
            known_ports: config.globals().known_tcp_ports.clone(),
        })
    }
}
