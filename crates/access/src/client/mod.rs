//! The client of a session: name, address and port, as found out at connect or replaced by XCLIENT.
//!
//! Every value is text, because that is how it is compared, logged and handed on; what is not known is the text
//! `unknown`. See spec smtpd 7.

use std::net::{IpAddr, SocketAddr};

pub mod list;
pub mod login;
pub mod protocol;
pub mod text;

/// The text for what is not known.
pub const UNKNOWN: &[u8] = b"unknown";

/// How far a client name can be trusted. The numbers are those of the internal protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameStatus {
    /// Address to name to address agree.
    Ok,
    /// A look-up failed for now.
    Temporary,
    /// There is no name.
    Permanent,
    /// There is a name, but it does not map back to the address.
    Forged,
}

/// The client, and the server end of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Verified name.
    pub name: Vec<u8>,
    /// How far `name` can be trusted.
    pub name_status: NameStatus,
    /// Unverified name.
    pub reverse_name: Vec<u8>,
    /// How far `reverse_name` can be trusted; never [`NameStatus::Forged`].
    pub reverse_status: NameStatus,
    /// Numeric address without prefix or brackets.
    pub address: Vec<u8>,
    /// The address with `IPv6:` before it when it is one.
    pub rfc_address: Vec<u8>,
    /// Port.
    pub port: Vec<u8>,
    /// Address family number as in queue files: 2, 10, or 0 when unknown.
    pub address_type: u16,
    /// Server address.
    pub server_address: Vec<u8>,
    /// Server port.
    pub server_port: Vec<u8>,
    /// `name[address]`, with `:port` if so configured.
    pub namaddr: Vec<u8>,
    /// The address at the other end of the connection, which XCLIENT does not change: `permit_inet_interfaces` goes by
    /// this one (observed on 3.7.11).
    pub connected_from: Option<IpAddr>,
}

impl Client {
    /// The client on a pipe or a UNIX-domain socket.
    pub fn local(address: &str) -> Self {
        Self {
            name: b"localhost".to_vec(),
            name_status: NameStatus::Ok,
            reverse_name: b"localhost".to_vec(),
            reverse_status: NameStatus::Ok,
            address: address.as_bytes().to_vec(),
            rfc_address: rfc_address(address.as_bytes()),
            port: b"0".to_vec(),
            address_type: 0,
            server_address: address.as_bytes().to_vec(),
            server_port: b"0".to_vec(),
            namaddr: Vec::new(),
            connected_from: None,
        }
    }

    /// A client that was gone before it could be asked who it is.
    pub fn unknown() -> Self {
        Self {
            name: UNKNOWN.to_vec(),
            name_status: NameStatus::Permanent,
            reverse_name: UNKNOWN.to_vec(),
            reverse_status: NameStatus::Permanent,
            address: UNKNOWN.to_vec(),
            rfc_address: UNKNOWN.to_vec(),
            port: UNKNOWN.to_vec(),
            address_type: 0,
            server_address: UNKNOWN.to_vec(),
            server_port: UNKNOWN.to_vec(),
            namaddr: Vec::new(),
            connected_from: None,
        }
    }

    /// The client of a connection, before it is known what it is called.
    pub fn connected(peer: SocketAddr, server: Option<SocketAddr>) -> Self {
        let text = |part: &dyn ToString| part.to_string().into_bytes();
        let server = server.map(|server| (text(&server.ip()), text(&server.port())));
        let (server_address, server_port) = server.unwrap_or_else(|| (UNKNOWN.to_vec(), UNKNOWN.to_vec()));
        let address = text(&peer.ip());
        Self {
            name: UNKNOWN.to_vec(),
            name_status: NameStatus::Permanent,
            reverse_name: UNKNOWN.to_vec(),
            reverse_status: NameStatus::Permanent,
            rfc_address: rfc_address(&address),
            address,
            port: text(&peer.port()),
            address_type: address_type(peer.ip()),
            server_address,
            server_port,
            namaddr: Vec::new(),
            connected_from: None,
        }
    }

    /// The address, when it is known.
    pub fn ip(&self) -> Option<IpAddr> {
        std::str::from_utf8(&self.address).ok()?.parse().ok()
    }

    /// Sets the address, its family and its RFC form together; `None` is unknown.
    pub fn set_address(&mut self, address: Option<IpAddr>) {
        match address {
            Some(ip) => {
                self.address = ip.to_string().into_bytes();
                self.rfc_address = rfc_address(&self.address);
                self.address_type = address_type(ip);
            }
            None => {
                self.address = UNKNOWN.to_vec();
                self.rfc_address = UNKNOWN.to_vec();
                // The family stays that of the address before (observed, 3.7.11).
            }
        }
    }

    /// Rebuilds `namaddr` after a change.
    pub fn rename(&mut self, port_logging: bool) {
        self.namaddr = namaddr(&self.name, &self.address, &self.port, port_logging);
    }
}

/// The number of the family as in queue files.
fn address_type(address: IpAddr) -> u16 {
    if address.is_ipv6() { 10 } else { 2 }
}

/// `name[address]`, with `:port` if so configured.
pub fn namaddr(name: &[u8], address: &[u8], port: &[u8], port_logging: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len() + address.len() + port.len() + 3);
    text.extend_from_slice(name);
    text.push(b'[');
    text.extend_from_slice(address);
    text.push(b']');
    if port_logging {
        text.push(b':');
        text.extend_from_slice(port);
    }
    text
}

/// The address with the prefix that RFC 5321 wants for IPv6.
pub fn rfc_address(address: &[u8]) -> Vec<u8> {
    if address.contains(&b':') { [b"IPv6:", address].concat() } else { address.to_vec() }
}
