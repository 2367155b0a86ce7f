//! From the name of an inet service to the addresses it listens on (spec master 1.4).
//!
//! A host is resolved in the enabled protocols; without a host, `inet_interfaces` decides. Ports are looked up in
//! `known_tcp_ports`, then in the services database. Refused: a host without address, no address at all, a port
//! that is neither known nor a number from 0 to 65535 (Postfix takes larger ones modulo 65536).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use config::KnownPorts;
use config::mastercf::EntryError;
use config::mastercf_endpoint::Endpoint;

/// A protocol family, in the order of `inet_protocols`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Where services without a host listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// `all`: the wildcard addresses.
    All,
    /// These addresses of the machine.
    Some(Vec<IpAddr>),
}

/// The settings that decide about addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Enabled families, preferred first; empty when all are disabled.
    pub families: Vec<Family>,
    /// `inet_interfaces`.
    pub interfaces: Interfaces,
    /// `known_tcp_ports`.
    pub known_ports: KnownPorts,
}

/// Where an inet service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// One address a socket.
    pub hosts: Vec<IpAddr>,
    /// Port name or number, as written.
    pub port: String,
}

impl Network {
    /// The port called `name`.
    pub fn port(&self, name: &str) -> Option<u16> {
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return name.parse().ok();
        }
        self.known_ports.get(name).or_else(|| sys::host::tcp_port(name))
    }

    /// Addresses and identity of the inet service called `name`.
    ///
    /// # Errors
    /// The name is not an endpoint, or leads to no address.
    pub(crate) fn inet_service(&self, name: &[u8]) -> Result<(Addresses, Vec<u8>), EntryError> {
        let endpoint = Endpoint::parse(name).map_err(|e| EntryError::Endpoint(e, name.to_vec()))?;
        let hosts = match &endpoint.host {
            Some(host) => self.resolve(host).ok_or_else(|| EntryError::BadHost(name.to_vec()))?,
            None => self.own(),
        };
        if hosts.is_empty() {
            return Err(EntryError::NoAddress(name.to_vec()));
        }
        let canonical = match (&endpoint.host, self.port(&endpoint.port)) {
            (Some(host), Some(port)) => format!("[{}]:{port}", canonical_host(host)).into_bytes(),
            (None, Some(port)) => port.to_string().into_bytes(),
            (_, None) => name.to_vec(),
        };
        Ok((Addresses { hosts, port: endpoint.port }, canonical))
    }

    fn own(&self) -> Vec<IpAddr> {
        match &self.interfaces {
            Interfaces::Some(list) => list.clone(),
            Interfaces::All => {
                let wildcard = |family: &Family| match family {
                    Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                };
                self.families.iter().map(wildcard).collect()
            }
        }
    }

    /// The addresses of a host in the enabled families, without duplicates; `None` when there are none.
    fn resolve(&self, host: &str) -> Option<Vec<IpAddr>> {
        let found: Vec<IpAddr> = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => (host, 0).to_socket_addrs().ok()?.map(|a| a.ip()).collect(),
        };
        let mut hosts = Vec::new();
        for family in &self.families {
            for address in found.iter().filter(|a| Family::of(**a) == *family) {
                if !hosts.contains(address) {
                    hosts.push(*address);
                }
            }
        }
        if hosts.is_empty() { None } else { Some(hosts) }
    }
}

/// A numeric address as the resolver writes it; a name as it is.
fn canonical_host(host: &str) -> String {
    host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |a| a.to_string())
}

impl Addresses {
    /// The socket addresses.
    ///
    /// # Errors
    /// The port is unknown; the text is the resolver's, as Postfix prints it.
    pub fn sockets(&self, network: &Network) -> Result<Vec<SocketAddr>, String> {
        match network.port(&self.port) {
            Some(port) => Ok(self.hosts.iter().map(|host| SocketAddr::new(*host, port)).collect()),
            None => {
                let host = self.hosts.first().map(IpAddr::to_string).unwrap_or_default();
                Err(format!("{host}:{}: Servname not supported for ai_socktype", self.port))
            }
        }
    }

    /// Someone on another machine can connect.
    pub fn remote(&self) -> bool {
        self.hosts.iter().any(|host| !host.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(families: &[Family], interfaces: Interfaces) -> Network {
        Network { families: families.to_vec(), interfaces, known_ports: KnownPorts::default() }
    }

    #[test]
    fn identities() {
        let both = network(&[Family::V4, Family::V6], Interfaces::All);
        let canonical =
            |name: &str| String::from_utf8(both.inet_service(name.as_bytes()).unwrap().1).unwrap();
        assert_eq!(canonical("25"), "25");
        assert_eq!(canonical("0025"), "25");
        assert_eq!(canonical("127.0.0.1:25"), "[127.0.0.1]:25");
        assert_eq!(canonical("[IPv6:0:0::1]:24"), "[::1]:24");
        assert_eq!(canonical("nosuch"), "nosuch");
    }

    #[test]
    fn addresses() {
        let v4 = network(&[Family::V4], Interfaces::All);
        let hosts = |network: &Network, name: &str| {
            network.inet_service(name.as_bytes()).map(|(a, _)| a.hosts.len()).map_err(|e| e.to_string())
        };
        assert_eq!(hosts(&v4, "25"), Ok(1));
        assert_eq!(hosts(&v4, "[::1]:25"), Err("bad hostname or network address: [::1]:25".to_owned()));
        let both = network(&[Family::V4, Family::V6], Interfaces::All);
        assert_eq!(hosts(&both, "25"), Ok(2));
        let nowhere = network(&[Family::V4], Interfaces::Some(Vec::new()));
        assert_eq!(hosts(&nowhere, "25"), Err("no valid IP address found: 25".to_owned()));
        assert!(v4.inet_service(b"25").unwrap().0.remote());
        assert!(!v4.inet_service(b"127.1.2.3:25").unwrap().0.remote());
    }

    #[test]
    fn ports() {
        let v4 = network(&[Family::V4], Interfaces::All);
        assert_eq!(v4.port("25"), Some(25));
        assert_eq!(v4.port("70000"), None);
        let (unknown, _) = v4.inet_service(b"127.0.0.1:nosuch").unwrap();
        let want = "127.0.0.1:nosuch: Servname not supported for ai_socktype";
        assert_eq!(unknown.sockets(&v4).unwrap_err(), want);
    }
}
