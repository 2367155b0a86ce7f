//! One address or network of a match list: `net/len`, `[net/len]`, `[net]/len`, `[addr]`.

use std::net::IpAddr;

use config::printable;
use ipnetwork::IpNetwork;

/// A network whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNetwork);

/// Why a pattern is no network (spec tables 8).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No address where one has to be.
    #[error("bad address pattern: \"{0}\"")]
    Address(String),
    /// No address in front of the slash.
    #[error("bad network value in \"{0}\"")]
    Value(String),
    /// No number after the slash.
    #[error("bad mask value in \"{0}\"")]
    Mask(String),
    /// A prefix longer than the address.
    #[error("bad mask length in \"{0}\"")]
    MaskLength(String),
    /// Host bits that are not zero.
    #[error("non-null host address bits in \"{pattern}\", perhaps you should use \"{better}\" instead")]
    HostBits {
        /// The pattern.
        pattern: String,
        /// The network that was probably meant.
        better: String,
    },
    /// `[` without `]`.
    #[error("missing ']' character after \"{0}\"")]
    NoBracket(String),
    /// Text after `]`.
    #[error("garbage after \"{0}\"")]
    TextAfter(String),
}

impl Network {
    /// Reads a pattern that may be something else: `None` when it is neither a network nor in brackets.
    pub(crate) fn parse_pattern(pattern: &[u8]) -> Option<Result<Network, NetworkError>> {
        let networkish = pattern.iter().all(|c| c.is_ascii_hexdigit() || b".:/[]".contains(c));
        (networkish && (pattern.contains(&b'/') || pattern.starts_with(b"[")))
            .then(|| Network::parse(pattern))
    }

    /// Reads an address or network, with or without brackets.
    pub fn parse(pattern: &[u8]) -> Result<Network, NetworkError> {
        let Some(inside) = pattern.strip_prefix(b"[") else {
            return Network::parse_plain(pattern);
        };
        let close = inside
            .iter()
            .position(|c| *c == b']')
            .ok_or_else(|| NetworkError::NoBracket(printable(pattern)))?;
        let (address, after) = (&inside[..close], &inside[close + 1..]);
        if after.is_empty() {
            Network::parse_plain(address)
        } else if after.starts_with(b"/") {
            let plain = [address, after].concat();
            Network::parse_plain(&plain)
        } else {
            Err(NetworkError::TextAfter(printable(&pattern[..close + 2])))
        }
    }

    fn parse_plain(text: &[u8]) -> Result<Network, NetworkError> {
        // As inet_pton reads it: no leading zeros, which host_address permits.
        let host_address = |text: &[u8]| {
            std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok()).ok_or(())
        };
        let Some(slash) = text.iter().rposition(|c| *c == b'/') else {
            let address = host_address(text).map_err(|_| NetworkError::Address(printable(text)))?;
            return Ok(Network(IpNetwork::from(address)));
        };
        let digits = std::str::from_utf8(&text[slash + 1..]).unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(NetworkError::Mask(printable(text)));
        }
        let address = host_address(&text[..slash]).map_err(|_| NetworkError::Value(printable(text)))?;
        let network = digits
            .parse()
            .ok()
            .and_then(|prefix| IpNetwork::new(address, prefix).ok())
            .ok_or_else(|| NetworkError::MaskLength(printable(text)))?;
        if network.network() != address {
            let better = format!("{}/{}", network.network(), network.prefix());
            return Err(NetworkError::HostBits { pattern: printable(text), better });
        }
        Ok(Network(network))
    }

    /// The network's own address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.network()
    }

    /// The number of its bits that count.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.0.prefix()
    }

    /// Whether the address is in the network; an IPv4-mapped IPv6 address is IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }
}
