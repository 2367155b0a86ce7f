//! The host's name and the addresses of its interfaces.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;

const SERVICES_FILE: &str = "/etc/services";
const SERVICES_LIMIT: u64 = 1 << 20;

/// The name `gethostname` gives.
///
/// # Errors
/// What `gethostname` says.
pub fn name() -> io::Result<String> {
    Ok(nix::unistd::gethostname()?.to_string_lossy().into_owned())
}

/// The NIS domain that the system is in; `None` when it is in none.
pub fn nis_domain() -> Option<String> {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is valid for writes of its length less one, which leaves a NUL at its end.
    let status = unsafe { libc::getdomainname(name.as_mut_ptr().cast(), name.len() - 1) };
    let length = name.iter().position(|byte| *byte == 0)?;
    let domain = String::from_utf8_lossy(&name[..length]).into_owned();
    (status == 0 && !domain.is_empty() && domain != "(none)").then_some(domain)
}

/// The TCP port of this name or alias in /etc/services.
pub fn tcp_port(name: &str) -> Option<u16> {
    let services = BufReader::new(File::open(SERVICES_FILE).ok()?.take(SERVICES_LIMIT));
    services.lines().map_while(Result::ok).find_map(|line| service_port(&line, name))
}

fn service_port(line: &str, name: &str) -> Option<u16> {
    let mut words = line.split('#').next()?.split_whitespace();
    let official = words.next()?;
    let number = words.next()?.strip_suffix("/tcp")?.parse().ok()?;
    (official == name || words.any(|alias| alias == name)).then_some(number)
}

/// One address of one network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface, such as `lo` or `eth0`.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its network mask.
    pub netmask: Option<IpAddr>,
    /// The interface's number, which scopes a link-local IPv6 address; 0 when it has none.
    pub scope: u32,
}

/// The IPv4 and IPv6 addresses of the interfaces that are up, in the system's order.
///
/// # Errors
/// What `getifaddrs` says.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut found = Vec::new();
    for entry in nix::ifaddrs::getifaddrs()? {
        if !entry.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP) {
            continue;
        }
        let Some(storage) = entry.address else { continue };
        let (address, scope) = if let Some(v4) = storage.as_sockaddr_in() {
            (IpAddr::V4(v4.ip()), 0)
        } else if let Some(v6) = storage.as_sockaddr_in6() {
            (IpAddr::V6(v6.ip()), v6.scope_id())
        } else {
            continue;
        };
        let netmask = entry.netmask.and_then(|mask| netmask(&mask, address));
        found.push(InterfaceAddress { interface: entry.interface_name, address, netmask, scope });
    }
    Ok(found)
}

fn netmask(mask: &nix::sys::socket::SockaddrStorage, of: IpAddr) -> Option<IpAddr> {
    match of {
        IpAddr::V4(_) => mask.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())),
        IpAddr::V6(_) => mask.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_of_the_services_file() {
        for (line, name, port) in [
            ("smtp\t\t25/tcp\t\tmail # x", "mail", Some(25)),
            ("smtp\t\t25/tcp\t\tmail # x", "smtp", Some(25)),
            ("smtp\t\t25/tcp\t\tmail # x", "x", None),
            ("smtp 25/udp", "smtp", None),
            ("# smtp 25/tcp", "smtp", None),
        ] {
            assert_eq!(super::service_port(line, name), port, "{line}: {name}");
        }
    }

    #[test]
    fn the_loopback_address_is_found_with_its_mask() {
        let found = super::interface_addresses().unwrap();
        let lo = found.iter().find(|a| a.address.to_string() == "127.0.0.1").unwrap();
        assert_eq!(lo.netmask.unwrap().to_string(), "255.0.0.0");
        assert!(!super::name().unwrap().is_empty());
    }
}
