//! What a connected client is called: the name of its address, and whether that name has the address in turn.
//!
//! Look-ups go through the system's resolver (hosts file, DNS and what else `nsswitch.conf` says), as in Postfix. See
//! spec smtpd 7.2.

use std::net::IpAddr;

use address::DomainName;
use metrics::Fault;
use sys::resolver::{Family, addresses_of, name_of};

/// What `getnameinfo` asks.
const SYSTEM_RESOLVER: &str = "system resolver";

/// A name that a look-up gave, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The name.
    Found(Vec<u8>),
    /// The look-up failed for now.
    Temporary,
    /// There is no name.
    None,
    /// There is a name, but its addresses are others.
    Forged,
}

/// What a client is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName {
    /// The name that has the client's address; verified.
    pub name: Name,
    /// The name of the client's address, whatever addresses that name has.
    pub reverse_name: Name,
}

/// Looks up the name of an address, then the addresses of that name. Warnings about names that are wrong go to the
/// log.
pub fn client_name(address: IpAddr) -> ClientName {
    let reverse = match name_of(address) {
        Ok(name) => {
            // Its own names a machine has in a file.
            if !address.is_loopback() {
                metrics::fault_over(Fault::Dns, &SYSTEM_RESOLVER);
            }
            name
        }
        Err(failure) => {
            if failure.temporary {
                let detail = format_args!("name of {address}: {}", failure.text);
                metrics::fault(Fault::Dns, &SYSTEM_RESOLVER, &detail);
            }
            let name = if failure.temporary { Name::Temporary } else { Name::None };
            return ClientName { name: name.clone(), reverse_name: name };
        }
    };
    // What looks like an address or is no name at all would fool whoever reads the log.
    if address::host_address(&reverse).is_ok() {
        log::warn!("numeric hostname: {}", String::from_utf8_lossy(&reverse));
        return ClientName { name: Name::None, reverse_name: Name::None };
    }
    if let Err(fault) = DomainName::check(&reverse) {
        log::warn!("{fault}");
        return ClientName { name: Name::None, reverse_name: Name::None };
    }
    let name = forward(&reverse, address);
    ClientName { name, reverse_name: Name::Found(reverse) }
}

/// Whether the name has the address.
fn forward(name: &[u8], address: IpAddr) -> Name {
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let shown = String::from_utf8_lossy(name);
    match addresses_of(name, family) {
        Ok(addresses) if addresses.contains(&address) => Name::Found(name.to_vec()),
        Ok(_) => {
            log::warn!("hostname {shown} does not resolve to address {address}");
            Name::Forged
        }
        Err(failure) => {
            log::warn!("hostname {shown} does not resolve to address {address}: {}", failure.text);
            if failure.temporary { Name::Temporary } else { Name::Forged }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, client_name};

    #[test]
    fn localhost_has_its_name() {
        let found = client_name("127.0.0.1".parse().expect("an address"));
        assert_eq!(found.name, Name::Found(b"localhost".to_vec()));
        assert_eq!(found.reverse_name, found.name);
    }

    #[test]
    fn an_address_of_documentation_has_none() {
        let found = client_name("192.0.2.1".parse().expect("an address"));
        assert!(matches!(found.name, Name::None | Name::Temporary), "{found:?}");
    }
}
