//! Addresses of hosts in text, and address literals `[1.2.3.4]`, `[IPv6:::1]` (RFC 5321 section 4.1.3).
//!
//! What Postfix accepts is not quite what is an address: `a:b:c` has the syntax of IPv6 for it. So there are
//! two questions, [`check_host_address`] by Postfix's rules, and [`host_address`] for the address itself. The
//! order of the tests, which decides the warning, is that observed on 3.7.11.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest text of an address: as in the C library, `INET6_ADDRSTRLEN` without its NUL.
const ADDRESS_LIMIT: usize = 45;
/// Most colons in an IPv6 address.
const COLON_LIMIT: usize = 7;

/// Why a text is no host address; `Display` is the text of Postfix's warning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostAddressError {
    /// No address at all.
    #[error("valid_hostaddr: empty address")]
    Empty,
    /// A byte that cannot be in a dotted quad.
    #[error("valid_ipv4_hostaddr: invalid character {0}(decimal): {1}")]
    Ipv4Character(u8, String),
    /// A number above 255.
    #[error("valid_ipv4_hostaddr: invalid octet value: {0}")]
    Ipv4Octet(String),
    /// A first number of zero in an address that is not all zero.
    #[error("valid_ipv4_hostaddr: bad initial octet value: {0}")]
    Ipv4InitialOctet(String),
    /// No number before or after a dot.
    #[error("valid_ipv4_hostaddr: misplaced dot: {0}")]
    Ipv4Dot(String),
    /// Not four numbers.
    #[error("valid_ipv4_hostaddr: invalid octet count: {0}")]
    Ipv4Count(String),
    /// A byte that cannot be in an IPv6 address.
    #[error("valid_ipv6_hostaddr: invalid character {0}(decimal) in IPv6 address: {1}")]
    Ipv6Character(u8, String),
    /// A single colon at the start.
    #[error("valid_ipv6_hostaddr: bad null first field in IPv6 address: {0}")]
    Ipv6First(String),
    /// A single colon at the end.
    #[error("valid_ipv6_hostaddr: bad null last field in IPv6 address: {0}")]
    Ipv6Last(String),
    /// Fewer than two colons.
    #[error("valid_ipv6_hostaddr: too few `:' in IPv6 address: {0}")]
    Ipv6FewColons(String),
    /// More than seven colons.
    #[error("valid_ipv6_hostaddr: too many `:' in IPv6 address: {0}")]
    Ipv6ManyColons(String),
    /// `::` twice.
    #[error("valid_ipv6_hostaddr: too many `::' in IPv6 address: {0}")]
    Ipv6ManyGaps(String),
    /// A dotted quad that is not in the last place.
    #[error("valid_ipv6_hostaddr: malformed IPv4-in-IPv6 address: {0}")]
    Ipv4InIpv6(String),
    /// More than four hexadecimal digits, or no address for another reason.
    #[error("valid_ipv6_hostaddr: malformed IPv6 address: {0}")]
    Ipv6(String),
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned()
}

/// Whether `text` has the form of an IPv4 or IPv6 address; what contains a colon is taken for IPv6.
pub fn check_host_address(text: &[u8]) -> Result<(), HostAddressError> {
    match text {
        b"" => Err(HostAddressError::Empty),
        _ if text.contains(&b':') => check_ipv6(text),
        _ => ipv4_address(text).map(drop),
    }
}

/// An IPv4 or IPv6 address in plain text; what contains a colon is taken for IPv6.
pub fn host_address(text: &[u8]) -> Result<IpAddr, HostAddressError> {
    match text {
        b"" => Err(HostAddressError::Empty),
        _ if text.contains(&b':') => ipv6_address(text).map(IpAddr::V6),
        _ => ipv4_address(text).map(IpAddr::V4),
    }
}

/// A dotted quad. Leading zeros are permitted in an octet, as in Postfix.
pub fn ipv4_address(text: &[u8]) -> Result<Ipv4Addr, HostAddressError> {
    let mut octets = [0u8; 4];
    let mut count = 0;
    let mut octet: Option<u16> = None;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                let value = octet.unwrap_or(0) * 10 + u16::from(byte - b'0');
                let small = u8::try_from(value).map_err(|_| HostAddressError::Ipv4Octet(shown(text)))?;
                octet = Some(value);
                if let Some(place) = octets.get_mut(count) {
                    *place = small;
                }
            }
            b'.' => {
                let rest = &text[at + 1..];
                if octet.is_none() || rest.is_empty() {
                    return Err(HostAddressError::Ipv4Dot(shown(text)));
                }
                if count == 0 && octet == Some(0) && rest.iter().any(|c| !matches!(c, b'0' | b'.')) {
                    return Err(HostAddressError::Ipv4InitialOctet(shown(text)));
                }
                octet = None;
                count += 1;
            }
            _ => return Err(HostAddressError::Ipv4Character(byte, shown(text))),
        }
    }
    if count != 3 || octet.is_none() {
        return Err(HostAddressError::Ipv4Count(shown(text)));
    }
    Ok(Ipv4Addr::from(octets))
}

/// Whether `text` has the form of an IPv6 address for Postfix; the number of fields is not counted.
fn check_ipv6(text: &[u8]) -> Result<(), HostAddressError> {
    let mut colons = 0;
    let mut gap_at = None;
    let mut start = 0;
    for (at, &byte) in text.iter().enumerate() {
        let empty = at == start;
        match byte {
            b'.' if !(2..COLON_LIMIT).contains(&colons) => {
                return Err(HostAddressError::Ipv4InIpv6(shown(text)));
            }
            b'.' => return ipv4_address(&text[start..]).map(drop),
            b':' => {
                if at == 0 && text.get(1).is_some_and(u8::is_ascii_alphanumeric) {
                    return Err(HostAddressError::Ipv6First(shown(text)));
                }
                if colons == COLON_LIMIT {
                    return Err(HostAddressError::Ipv6ManyColons(shown(text)));
                }
                if empty && colons > 0 && gap_at.replace(colons).is_some() {
                    return Err(HostAddressError::Ipv6ManyGaps(shown(text)));
                }
                colons += 1;
                start = at + 1;
            }
            _ if byte.is_ascii_hexdigit() => {
                if at - start == 4 {
                    return Err(HostAddressError::Ipv6(shown(text)));
                }
            }
            _ => return Err(HostAddressError::Ipv6Character(byte, shown(text))),
        }
    }
    if colons < 2 {
        return Err(HostAddressError::Ipv6FewColons(shown(text)));
    }
    if start == text.len() && gap_at != Some(colons - 1) {
        return Err(HostAddressError::Ipv6Last(shown(text)));
    }
    Ok(())
}

/// An IPv6 address without prefix.
pub fn ipv6_address(text: &[u8]) -> Result<Ipv6Addr, HostAddressError> {
    check_ipv6(text)?;
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| HostAddressError::Ipv6(shown(text)))
}

/// The domain of an address that names a host by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressLiteral(pub IpAddr);

impl AddressLiteral {
    /// Whether Postfix takes `domain` for an address literal: `[` address `]` and nothing after it.
    #[must_use]
    pub fn check(domain: &[u8]) -> bool {
        AddressLiteral::inside(domain).is_some_and(|inside| match untagged(inside) {
            Some(address) => check_ipv6(address).is_ok(),
            None => ipv4_address(inside).is_ok(),
        })
    }

    /// Reads `[1.2.3.4]` or `[IPv6:...]`, with nothing after the bracket.
    #[must_use]
    pub fn parse(domain: &[u8]) -> Option<AddressLiteral> {
        AddressLiteral::parse_inside(AddressLiteral::inside(domain)?).ok()
    }

    /// Reads what stands between the brackets.
    pub fn parse_inside(inside: &[u8]) -> Result<AddressLiteral, HostAddressError> {
        match untagged(inside) {
            Some(address) => ipv6_address(address).map(|a| AddressLiteral(IpAddr::V6(a))),
            None => ipv4_address(inside).map(|a| AddressLiteral(IpAddr::V4(a))),
        }
    }

    fn inside(domain: &[u8]) -> Option<&[u8]> {
        let inside = domain.strip_prefix(b"[")?.strip_suffix(b"]")?;
        (!inside.contains(&b']') && inside.len() <= ADDRESS_LIMIT).then_some(inside)
    }
}

fn untagged(inside: &[u8]) -> Option<&[u8]> {
    inside
        .split_at_checked(5)
        .filter(|(tag, _)| tag.eq_ignore_ascii_case(b"ipv6:"))
        .map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, whether it is a literal in brackets, and the complaint when it is one behind `IPv6:`; observed.
    #[test]
    fn forms_observed() {
        for (text, plain, tagged) in [
            ("a:b:c", "invalid character 97(decimal): a:b:c", ""),
            ("a:b", "invalid character 97(decimal): a:b", "too few `:' in IPv6 address: a:b"),
            (":a", "invalid character 58(decimal): :a", "bad null first field in IPv6 address: :a"),
            ("::", "invalid character 58(decimal): ::", ""),
            (":", "invalid character 58(decimal): :", "too few `:' in IPv6 address: :"),
            (":::", "invalid character 58(decimal): :::", "too many `::' in IPv6 address: :::"),
            ("1::2::3", "invalid character 58(decimal): 1::2::3", "too many `::' in IPv6 address: 1::2::3"),
            ("1::", "invalid character 58(decimal): 1::", ""),
            ("1:2:1.2.3.4", "invalid character 58(decimal): 1:2:1.2.3.4", ""),
            ("::1.2.3", "invalid character 58(decimal): ::1.2.3", "invalid octet count: 1.2.3"),
            ("12345::", "invalid octet value: 12345::", "malformed IPv6 address: 12345::"),
            (
                "g::1",
                "invalid character 103(decimal): g::1",
                "invalid character 103(decimal) in IPv6 address: g::1",
            ),
            (
                "a:b:c:",
                "invalid character 97(decimal): a:b:c:",
                "bad null last field in IPv6 address: a:b:c:",
            ),
            ("1.2.3.4", "", "malformed IPv4-in-IPv6 address: 1.2.3.4"),
            ("0001.2.3.4", "", "malformed IPv4-in-IPv6 address: 0001.2.3.4"),
            ("1.2.3", "invalid octet count: 1.2.3", "malformed IPv4-in-IPv6 address: 1.2.3"),
            ("1.2.3.4.5", "invalid octet count: 1.2.3.4.5", "malformed IPv4-in-IPv6 address: 1.2.3.4.5"),
            ("1..2.3", "misplaced dot: 1..2.3", "malformed IPv4-in-IPv6 address: 1..2.3"),
            ("1.2.3.", "misplaced dot: 1.2.3.", "malformed IPv4-in-IPv6 address: 1.2.3."),
            ("1.2.3.256", "invalid octet value: 1.2.3.256", "malformed IPv4-in-IPv6 address: 1.2.3.256"),
            ("0.1.2.3", "bad initial octet value: 0.1.2.3", "malformed IPv4-in-IPv6 address: 0.1.2.3"),
            ("0.0.0.0", "", "malformed IPv4-in-IPv6 address: 0.0.0.0"),
        ] {
            for (inside, expected) in [(text.to_owned(), plain), (format!("IPv6:{text}"), tagged)] {
                assert_eq!(
                    AddressLiteral::check(format!("[{inside}]").as_bytes()),
                    expected.is_empty(),
                    "{inside}"
                );
                if !expected.is_empty() {
                    let error = AddressLiteral::parse_inside(inside.as_bytes()).unwrap_err().to_string();
                    assert_eq!(error.split_once(": ").unwrap().1, expected);
                }
            }
        }
        for text in ["[1.2.3.4]]", "[1.2.3.4]x", "1.2.3.4", "[]", "[::1]"] {
            assert!(!AddressLiteral::check(text.as_bytes()), "{text}");
        }
        assert_eq!(
            AddressLiteral::parse(b"[ipv6:2001:db8::1]").unwrap().0,
            "2001:db8::1".parse::<IpAddr>().unwrap()
        );
    }
}
