//! The addresses that are this host's own: `inet_protocols`, `inet_interfaces`, `proxy_interfaces`.

use std::net::{IpAddr, ToSocketAddrs};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, socket};

use crate::error::Error;
use crate::settings::Settings;

/// The address families in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    /// IPv4 is used.
    pub ipv4: bool,
    /// IPv6 is used.
    pub ipv6: bool,
}

impl Protocols {
    /// Whether addresses of this one's family are used.
    pub fn include(self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => self.ipv6,
        }
    }

    /// What `inet_protocols` asks for, less what the kernel does not have.
    pub(crate) fn probe(settings: &Settings) -> Result<Self, Error> {
        let asked = Self::parse(&settings.text("inet_protocols")?, settings)?;
        Ok(Self {
            ipv4: asked.ipv4 && is_supported(AddressFamily::Inet, "IPv4")?,
            ipv6: asked.ipv6 && is_supported(AddressFamily::Inet6, "IPv6")?,
        })
    }

    fn parse(value: &str, settings: &Settings) -> Result<Self, Error> {
        let mut protocols = Self { ipv4: false, ipv6: false };
        for word in split(value) {
            match word.to_ascii_lowercase().as_str() {
                "ipv4" => protocols.ipv4 = true,
                "ipv6" => protocols.ipv6 = true,
                "all" => protocols = Self { ipv4: true, ipv6: true },
                _ => {
                    let text = format!("unknown inet_protocols value \"{word}\" in \"{value}\"");
                    return Err(Error::at(text, settings.origin("inet_protocols")));
                }
            }
        }
        Ok(protocols)
    }
}

fn is_supported(family: AddressFamily, name: &str) -> Result<bool, Error> {
    match socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None) {
        Ok(_) => Ok(true),
        Err(why @ (Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT)) => {
            log::warn!(
                "inet_protocols: disabling {name} name/address support: {}",
                sys::errno_text(why as i32)
            );
            Ok(false)
        }
        Err(why) => Err(Error::io("socket".to_owned(), why.into())),
    }
}

fn split(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', '\t', '\r', '\n', ',']).filter(|word| !word.is_empty())
}

/// An address of this host and the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits that name the network.
    pub prefix: u8,
}

/// The addresses that `inet_interfaces` asks for, in the system's order.
pub(crate) fn own_addresses(
    settings: &Settings,
    protocols: Protocols,
) -> Result<Vec<InterfaceAddress>, Error> {
    let value = settings.text("inet_interfaces")?;
    if !protocols.ipv4 && !protocols.ipv6 {
        return Ok(Vec::new());
    }
    let active = active_addresses(protocols)?;
    if active.is_empty() {
        return Err(Error::new("could not find any active network interfaces"));
    }
    match value.as_str() {
        "all" => Ok(active),
        "loopback-only" => Ok(active.into_iter().filter(|own| own.address.is_loopback()).collect()),
        _ => {
            let mut own = Vec::new();
            for address in resolve_all(settings, "inet_interfaces", &value, protocols)? {
                let Some(interface) = active.iter().find(|active| active.address == address) else {
                    let text = format!("parameter inet_interfaces: no local interface found for {address}");
                    return Err(Error::at(text, settings.origin("inet_interfaces")));
                };
                own.push(*interface);
            }
            Ok(own)
        }
    }
}

/// The addresses of `proxy_interfaces`: other machines' that pass mail on to this one.
pub(crate) fn proxy_addresses(settings: &Settings, protocols: Protocols) -> Result<Vec<IpAddr>, Error> {
    resolve_all(settings, "proxy_interfaces", &settings.text("proxy_interfaces")?, protocols)
}

fn resolve_all(
    settings: &Settings,
    parameter: &str,
    value: &str,
    protocols: Protocols,
) -> Result<Vec<IpAddr>, Error> {
    let mut addresses = Vec::new();
    for item in split(value) {
        let found = resolve(item, protocols);
        if found.is_empty() {
            let text = format!("config variable {parameter}: host not found: {item}");
            return Err(Error::at(text, settings.origin(parameter)));
        }
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

/// The addresses of a host name, or of an address with or without `[]`.
fn resolve(item: &str, protocols: Protocols) -> Vec<IpAddr> {
    let bare = item.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(item);
    let mut found: Vec<IpAddr> = match bare.parse() {
        Ok(address) => vec![address],
        Err(_) => match (bare, 0).to_socket_addrs() {
            Ok(addresses) => addresses.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        },
    };
    found.retain(|address| protocols.include(address));
    found
}

/// The addresses of all interfaces that are up.
fn active_addresses(protocols: Protocols) -> Result<Vec<InterfaceAddress>, Error> {
    let interfaces = getifaddrs().map_err(|e| Error::io("getifaddrs".to_owned(), e.into()))?;
    let mut found: Vec<InterfaceAddress> = Vec::new();
    for interface in interfaces {
        if !interface.flags.contains(InterfaceFlags::IFF_UP) {
            continue;
        }
        let Some(address) = interface.address.as_ref().and_then(ip_address) else { continue };
        // The netmask of an interface has no family of its own on every system.
        let prefix = match (address, interface.netmask.as_ref().and_then(ip_address)) {
            (IpAddr::V4(_), Some(IpAddr::V4(mask))) => mask.to_bits().count_ones(),
            (IpAddr::V6(_), Some(IpAddr::V6(mask))) => mask.to_bits().count_ones(),
            (IpAddr::V4(_), _) => 32,
            (IpAddr::V6(_), _) => 128,
        };
        let own = InterfaceAddress { address, prefix: u8::try_from(prefix).unwrap_or(128) };
        if protocols.include(&address) && !found.iter().any(|known| known.address == address) {
            found.push(own);
        }
    }
    Ok(found)
}

fn ip_address(storage: &SockaddrStorage) -> Option<IpAddr> {
    match storage.family()? {
        AddressFamily::Inet => Some(IpAddr::V4(storage.as_sockaddr_in()?.ip())),
        AddressFamily::Inet6 => Some(IpAddr::V6(storage.as_sockaddr_in6()?.ip())),
        _ => None,
    }
}
