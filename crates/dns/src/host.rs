//! The addresses of a host, from the system's resolver.

use std::net::IpAddr;

use address::DomainName;
use sys::resolver::{Failure, Family, addresses_of};

/// The addresses of a host name, or the address that the name is, of the families wanted. Both are asked for at once: the
/// order, and the reason where there is none, are the C library's (observed, 3.7.11).
///
/// # Errors
/// There are none.
pub fn host_addresses(name: &[u8], ipv4: bool, ipv6: bool) -> Result<Vec<IpAddr>, Failure> {
    let without_dot = name.strip_suffix(b".").unwrap_or(name);
    if address::host_address(name).is_err() && DomainName::check(without_dot).is_err() {
        return Err(Failure { temporary: false, text: "Name or service not known".into() });
    }
    let family = match (ipv4, ipv6) {
        (true, true) => Family::Any,
        (true, false) => Family::V4,
        (false, true) => Family::V6,
        (false, false) => return Ok(Vec::new()),
    };
    addresses_of(name, family)
}
