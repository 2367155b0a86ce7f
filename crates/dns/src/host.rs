//! The addresses of a host, from the system's resolver.

use std::net::IpAddr;

use address::DomainName;
use sys::resolver::{Failure, Family, addresses_of};

/// The addresses of a host name, or the address that the name is, of the families wanted: IPv4 first.
///
/// # Errors
/// There are none; of two failures the temporary one is told.
pub fn host_addresses(name: &[u8], ipv4: bool, ipv6: bool) -> Result<Vec<IpAddr>, Failure> {
    let without_dot = name.strip_suffix(b".").unwrap_or(name);
    if address::host_address(name).is_err() && DomainName::check(without_dot).is_err() {
        return Err(Failure { temporary: false, text: "Name or service not known".into() });
    }
    let families = [(ipv4, Family::V4), (ipv6, Family::V6)];
    let mut addresses = Vec::new();
    let mut worst: Option<Failure> = None;
    for family in families.into_iter().filter(|(wanted, _)| *wanted).map(|(_, family)| family) {
        match addresses_of(name, family) {
            Ok(found) => addresses.extend(found),
            Err(failure) if worst.as_ref().is_none_or(|worst| failure.temporary && !worst.temporary) => {
                worst = Some(failure);
            }
            Err(_) => {}
        }
    }
    match worst {
        Some(failure) if addresses.is_empty() => Err(failure),
        _ => Ok(addresses),
    }
}
