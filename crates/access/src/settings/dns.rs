//! The settings of restrictions that ask the DNS (spec access 1.5, 2, 5.6, 5.7, 7 and 8.8).

use std::net::IpAddr;

use config::{Config, Error};

use crate::settings::tempfail::TempfailAction;

/// The settings.
#[derive(Debug)]
pub struct DnsParams {
    /// `unknown_hostname_reject_code`
    pub unknown_hostname_reject_code: i32,
    /// `unknown_address_reject_code`
    pub unknown_address_reject_code: i32,
    /// `maps_rbl_reject_code`
    pub maps_rbl_reject_code: i32,
    /// `unknown_helo_hostname_tempfail_action`
    pub unknown_helo_hostname_tempfail_action: TempfailAction,
    /// `unknown_address_tempfail_action`
    pub unknown_address_tempfail_action: TempfailAction,
    /// `default_rbl_reply`
    pub default_rbl_reply: String,
    /// `rbl_reply_maps`
    pub rbl_reply_maps: String,
    /// `maps_rbl_domains`
    pub maps_rbl_domains: String,
    /// `smtpd_expansion_filter`: the bytes that stay.
    pub smtpd_expansion_filter: Vec<u8>,
    /// `smtpd_dns_reply_filter`
    pub smtpd_dns_reply_filter: String,
    /// `permit_mx_backup_networks`
    pub permit_mx_backup_networks: String,
    /// `mydestination`
    pub mydestination: String,
    /// The addresses of `inet_interfaces` and `proxy_interfaces`.
    pub reached_addresses: Vec<IpAddr>,
}

impl DnsParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        Ok(Self {
            unknown_hostname_reject_code: config.integer("unknown_hostname_reject_code")?,
            unknown_address_reject_code: config.integer("unknown_address_reject_code")?,
            maps_rbl_reject_code: config.integer("maps_rbl_reject_code")?,
            unknown_helo_hostname_tempfail_action: TempfailAction::new(
                config,
                "unknown_helo_hostname_tempfail_action",
            )?,
            unknown_address_tempfail_action: TempfailAction::new(config, "unknown_address_tempfail_action")?,
            default_rbl_reply: config.raw("default_rbl_reply")?,
            rbl_reply_maps: config.text("rbl_reply_maps")?,
            maps_rbl_domains: config.text("maps_rbl_domains")?,
            smtpd_expansion_filter: unescaped(config.raw("smtpd_expansion_filter")?.as_bytes()),
            smtpd_dns_reply_filter: config.text("smtpd_dns_reply_filter")?,
            permit_mx_backup_networks: config.text("permit_mx_backup_networks")?,
            mydestination: globals.mydestination.clone(),
            reached_addresses: globals.reached_addresses(config)?,
        })
    }
}

/// The bytes of a text with C's escapes.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'a') => bytes.push(7),
            Some(b'b') => bytes.push(8),
            Some(b'f') => bytes.push(12),
            Some(b'n') => bytes.push(b'\n'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'v') => bytes.push(11),
            Some(first @ b'0'..=b'7') => {
                let mut number = first - b'0';
                for _ in 0..2 {
                    if let Some(digit) = rest.next_if(|digit| matches!(digit, b'0'..=b'7')) {
                        number = number.wrapping_mul(8).wrapping_add(digit - b'0');
                    }
                }
                bytes.push(number);
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escapes() {
        assert_eq!(unescaped(b"\\t\\40!\\\\a\\1012"), b"\t !\\aA2");
    }
}
