//! The settings of limits per client (spec access 11).

use std::net::IpAddr;

use config::{Config, Error};
use ipc::dialect::Dialect;

/// Per-client limits; 0 is none.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// `smtpd_client_connection_count_limit`
    pub(crate) connection_count: i32,
    /// `smtpd_client_connection_rate_limit`
    pub(crate) connection_rate: i32,
    /// `smtpd_client_message_rate_limit`
    pub(crate) message_rate: i32,
    /// `smtpd_client_recipient_rate_limit`
    pub(crate) recipient_rate: i32,
    /// `smtpd_client_auth_rate_limit`
    pub(crate) auth_rate: i32,
    /// `smtpd_client_new_tls_session_rate_limit`
    pub(crate) new_tls_session_rate: i32,
    /// How much of an address anvil is told, since 3.8; before that, all of it
    pub networks: Option<PrefixLengths>,
}

impl ClientLimits {
    /// No limits.
    pub(crate) fn clear(&mut self) {
        self.connection_count = 0;
        self.connection_rate = 0;
        self.message_rate = 0;
        self.recipient_rate = 0;
        self.auth_rate = 0;
        self.new_tls_session_rate = 0;
    }

    /// Whether any limit is set: otherwise anvil is not asked at all.
    pub fn any(&self) -> bool {
        [
            self.connection_count,
            self.connection_rate,
            self.message_rate,
            self.recipient_rate,
            self.auth_rate,
            self.new_tls_session_rate,
        ]
        .iter()
        .any(|limit| *limit > 0)
    }
}

impl ClientLimits {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            connection_count: config.integer("smtpd_client_connection_count_limit")?,
            connection_rate: config.integer("smtpd_client_connection_rate_limit")?,
            message_rate: config.integer("smtpd_client_message_rate_limit")?,
            recipient_rate: config.integer("smtpd_client_recipient_rate_limit")?,
            auth_rate: config.integer("smtpd_client_auth_rate_limit")?,
            new_tls_session_rate: config.integer("smtpd_client_new_tls_session_rate_limit")?,
            networks: PrefixLengths::new(config)?,
        })
    }
}

/// `smtpd_client_ipv4_prefix_length` and `smtpd_client_ipv6_prefix_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLengths {
    /// For IPv4 addresses.
    pub ipv4: u8,
    /// For IPv6 addresses.
    pub ipv6: u8,
}

impl PrefixLengths {
    /// The lengths, in the dialect that has them.
    ///
    /// # Errors
    /// A parameter out of range.
    pub fn new(config: &Config) -> Result<Option<Self>, Error> {
        if !Dialect::of_postfix_3(config.globals().postfix_minor).anvil_knows_networks() {
            return Ok(None);
        }
        let length = |name| config.integer(name).map(|length| u8::try_from(length).unwrap_or(u8::MAX));
        let name = "smtpd_client_ipv4_prefix_length";
        let number = config.integer(name)?;
        if number < 0 {
            let text = format!("inet_prefix_top: bad IPv4 address prefix length: {number}");
            return Err(config.wrong(name, text));
        }
        let ipv4 = length(name)?;
        Ok(Some(Self { ipv4, ipv6: length("smtpd_client_ipv6_prefix_length")? }))
    }

    /// The one for this address.
    pub(crate) fn length_for(self, address: IpAddr) -> u8 {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}
