//! Addresses of hosts in text, and address literals `[1.2.3.4]`, `[IPv6:::1]` (RFC 5321 section 4.1.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest text of an address: as in the C library, `INET6_ADDRSTRLEN` without its NUL.
const ADDRESS_LIMIT: usize = 45;

/// Why a text is no host address; `Display` is the text of Postfix's warning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostAddressError {
    /// No address at all.
    #[error("valid_hostaddr: empty address")]
    Empty,
    /// A byte that cannot be in a dotted quad.
    #[error("valid_ipv4_hostaddr: invalid character {0}(decimal): {1}")]
    Ipv4Character(u8, String),
    /// A number above 255, or none between dots.
    #[error("valid_ipv4_hostaddr: invalid octet value: {0}")]
    Ipv4Octet(String),
    /// Not four numbers.
    #[error("valid_ipv4_hostaddr: invalid octet count: {0}")]
    Ipv4Count(String),
    /// Not an IPv6 address.
    #[error("valid_ipv6_hostaddr: malformed address: {0}")]
    Ipv6(String),
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned()
}

/// An IPv4 or IPv6 address in plain text; what contains a colon is taken for IPv6.
pub fn host_address(text: &[u8]) -> Result<IpAddr, HostAddressError> {
    if text.is_empty() {
        return Err(HostAddressError::Empty);
    }
    if text.contains(&b':') { ipv6_address(text).map(IpAddr::V6) } else { ipv4_address(text).map(IpAddr::V4) }
}

/// A dotted quad. Leading zeros are permitted in an octet, as in Postfix.
pub fn ipv4_address(text: &[u8]) -> Result<Ipv4Addr, HostAddressError> {
    if let Some(byte) = text.iter().find(|c| !c.is_ascii_digit() && **c != b'.') {
        return Err(HostAddressError::Ipv4Character(*byte, shown(text)));
    }
    let mut octets = [0u8; 4];
    let mut count = 0;
    for part in text.split(|c| *c == b'.') {
        if part.is_empty() || count == 4 {
            return Err(HostAddressError::Ipv4Count(shown(text)));
        }
        let value = part.iter().fold(0u32, |v, c| v.saturating_mul(10).saturating_add(u32::from(c - b'0')));
        octets[count] = u8::try_from(value).map_err(|_| HostAddressError::Ipv4Octet(shown(text)))?;
        count += 1;
    }
    if count != 4 {
        return Err(HostAddressError::Ipv4Count(shown(text)));
    }
    Ok(Ipv4Addr::from(octets))
}

/// An IPv6 address without prefix.
pub fn ipv6_address(text: &[u8]) -> Result<Ipv6Addr, HostAddressError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| HostAddressError::Ipv6(shown(text)))
}

/// The domain of an address that names a host by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressLiteral(pub IpAddr);

impl AddressLiteral {
    /// Reads `[1.2.3.4]` or `[IPv6:...]`, with nothing after the bracket.
    #[must_use]
    pub fn parse(domain: &[u8]) -> Option<AddressLiteral> {
        let inside = domain.strip_prefix(b"[")?.strip_suffix(b"]")?;
        if inside.contains(&b']') || inside.len() > ADDRESS_LIMIT {
            return None;
        }
        AddressLiteral::parse_inside(inside).ok()
    }

    /// Reads what stands between the brackets.
    pub fn parse_inside(inside: &[u8]) -> Result<AddressLiteral, HostAddressError> {
        match inside.split_at_checked(5) {
            Some((tag, address)) if tag.eq_ignore_ascii_case(b"ipv6:") => {
                ipv6_address(address).map(|a| AddressLiteral(IpAddr::V6(a)))
            }
            _ => ipv4_address(inside).map(|a| AddressLiteral(IpAddr::V4(a))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        for (text, good) in [
            ("[127.0.0.1]", true),
            ("[IPv6:::1]", true),
            ("[ipv6:2001:db8::1]", true),
            ("[300.1.1.1]", false),
            ("[::1]", false),
            ("[1.2.3]", false),
            ("[1.2.3.4]]", false),
            ("[1.2.3.4]x", false),
            ("1.2.3.4", false),
            ("[]", false),
        ] {
            assert_eq!(AddressLiteral::parse(text.as_bytes()).is_some(), good, "{text}");
        }
        assert_eq!(
            ipv4_address(b"::1").unwrap_err().to_string(),
            "valid_ipv4_hostaddr: invalid character 58(decimal): ::1"
        );
    }
}
