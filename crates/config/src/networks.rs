//! The default of `mynetworks`: the networks this host is in, by `mynetworks_style`.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::error::Error;
use crate::interfaces::InterfaceAddress;
use crate::settings::Settings;

/// How much of an own address names the trusted network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Host,
    Subnet,
    Class,
}

impl Style {
    fn parse(settings: &Settings) -> Result<Self, Error> {
        let value = settings.text("mynetworks_style")?;
        let error = |text| Err(Error::at(text, settings.origin("mynetworks_style")));
        let mut styles = Vec::new();
        for word in value.split([' ', '\t', '\r', '\n', ',']).filter(|word| !word.is_empty()) {
            styles.push(match word.to_ascii_lowercase().as_str() {
                "host" => Self::Host,
                "subnet" => Self::Subnet,
                "class" => Self::Class,
                _ => return error(format!("unknown mynetworks mask style value \"{word}\" in \"{value}\"")),
            });
        }
        styles.dedup();
        match styles[..] {
            [style] => Ok(style),
            _ => error(format!("bad mynetworks_style value: {value}; specify exactly one value")),
        }
    }

    fn prefix(self, own: &InterfaceAddress) -> u8 {
        match (self, own.address) {
            (Self::Host, IpAddr::V4(_)) => 32,
            (Self::Host, IpAddr::V6(_)) => 128,
            (Self::Class, IpAddr::V4(address)) => class_prefix(address),
            (Self::Subnet | Self::Class, _) => own.prefix,
        }
    }
}

fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192..224 => 24,
        _ => 4,
    }
}

/// The default value of `mynetworks`.
pub(crate) fn default_mynetworks(settings: &Settings, own: &[InterfaceAddress]) -> Result<String, Error> {
    let style = Style::parse(settings)?;
    let mut networks: Vec<String> = Vec::new();
    for address in own {
        let text = network(address.address, style.prefix(address));
        if !networks.contains(&text) {
            networks.push(text);
        }
    }
    // With a blank behind each, as Postfix has it; what `postconf -j` prints shows the last one.
    Ok(networks.iter().map(|network| format!("{network} ")).collect())
}

fn network(address: IpAddr, prefix: u8) -> String {
    let network = IpNetwork::new(address, prefix).map_or(address, |network| network.network());
    match network {
        IpAddr::V4(network) => format!("{network}/{prefix}"),
        IpAddr::V6(network) => format!("[{network}]/{prefix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_by_style() {
        let cases = [
            (Style::Host, "192.0.2.2", 24, "192.0.2.2/32"),
            (Style::Subnet, "192.0.2.2", 24, "192.0.2.0/24"),
            (Style::Class, "10.1.2.3", 24, "10.0.0.0/8"),
            (Style::Class, "172.16.1.1", 24, "172.16.0.0/16"),
            (Style::Class, "230.1.1.1", 24, "224.0.0.0/4"),
            (Style::Class, "fd00::2", 64, "[fd00::]/64"),
            (Style::Subnet, "::1", 128, "[::1]/128"),
        ];
        for (style, address, prefix, expected) in cases {
            let own = InterfaceAddress { address: address.parse().unwrap(), prefix };
            assert_eq!(network(own.address, style.prefix(&own)), expected, "{style:?} of {address}");
        }
    }
}
