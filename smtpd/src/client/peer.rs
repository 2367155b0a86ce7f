//! Who is at the other end of a new connection (spec smtpd 7).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use access::client::{Client, NameStatus, UNKNOWN};
use dns::Name;
use server::Connection;
use smtp::haproxy::Source;

use crate::client::names::ClientNames;
use crate::client::upstream::{self, Broken};
use crate::settings::params::SmtpdParams;
use crate::settings::upstream::UpstreamProxy;

/// Finds out address, port and name of the client. A front end that hands a connection over without saying who the
/// client is ends the process; a load balancer that does not say it, the session: [`Broken`] goes with what is known.
pub(crate) fn identify(
    connection: &Connection,
    params: &SmtpdParams,
    names: &ClientNames,
) -> (Client, Result<(), Broken>) {
    let (mut client, found) = match params.upstream_proxy {
        None if connection.attributes().is_empty() => (from_socket(connection, params, names), Ok(())),
        None => (from_attributes(connection, params, names), Ok(())),
        Some(_) if !connection.attributes().is_empty() => {
            log::warn!("ignoring non-empty smtpd_upstream_proxy_protocol setting behind postscreen");
            (from_attributes(connection, params, names), Ok(()))
        }
        Some(_) if !connection.is_socket() => (local(params), Ok(())),
        Some(proxy) => behind(proxy, connection, params, names),
    };
    // Who came by a pipe came from no interface.
    client.connected_from = client.ip().filter(|_| client.address_type != 0);
    client.rename(params.client_port_logging);
    (client, found)
}

/// What the load balancer says.
fn behind(
    proxy: UpstreamProxy,
    connection: &Connection,
    params: &SmtpdParams,
    names: &ClientNames,
) -> (Client, Result<(), Broken>) {
    match upstream::source(proxy, connection.output(), params.access.protocols) {
        Ok(Source::Local) => (from_socket(connection, params, names), Ok(())),
        Ok(Source::Client { client, server }) => (inet(client, Some(server), params, names), Ok(())),
        Err(broken) if params.access.dialect.broken_upstream_proxy_is_unknown() => {
            (Client::unknown(), Err(broken))
        }
        Err(broken) => (from_socket(connection, params, names), Err(broken)),
    }
}

fn from_socket(connection: &Connection, params: &SmtpdParams, names: &ClientNames) -> Client {
    if !connection.is_socket() {
        return local(params);
    }
    // Accept has told it already, but for a socket that came from a front end.
    let peer = match connection.peer() {
        Some(peer) => Ok(Some(peer)),
        None => sys::socket::peer_address(connection.output()),
    };
    match peer {
        Ok(Some(peer)) => {
            let server = sys::socket::local_address(connection.output()).ok().flatten();
            inet(peer, server, params, names)
        }
        Ok(None) => local(params),
        // The client is gone already; the session will find out.
        Err(_) => Client::unknown(),
    }
}

fn local(params: &SmtpdParams) -> Client {
    Client::local(if params.access.protocols.ipv4 { "127.0.0.1" } else { "::1" })
}

fn inet(peer: SocketAddr, server: Option<SocketAddr>, params: &SmtpdParams, names: &ClientNames) -> Client {
    // A mapped address is an IPv4 client that came in through an IPv6 socket.
    let protocols = params.access.protocols;
    let address = if protocols.ipv4 { peer.ip().to_canonical() } else { peer.ip() };
    if !(protocols.ipv4 || protocols.ipv6) {
        maillog::fatal("all network protocols are disabled (inet_protocols = )");
    }
    let family_enabled = if peer.is_ipv4() { protocols.ipv4 } else { protocols.ipv6 };
    if !family_enabled {
        let (family, setting) = if peer.is_ipv4() { ("AF_INET", "ipv6") } else { ("AF_INET6", "ipv4") };
        maillog::fatal(format!("cannot handle socket type {family} with \"inet_protocols = {setting}\""));
    }
    let mut client = Client::connected(SocketAddr::new(address, peer.port()), server);
    if params.peername_lookup {
        name(&mut client, address, names);
    }
    client
}

/// Finds out the name.
fn name(client: &mut Client, address: IpAddr, names: &ClientNames) {
    let found = names.find(address, Instant::now(), dns::client_name);
    (client.name, client.name_status) = status(found.name);
    (client.reverse_name, client.reverse_status) = status(found.reverse_name);
}

fn status(name: Name) -> (Vec<u8>, NameStatus) {
    match name {
        Name::Found(name) => (name, NameStatus::Ok),
        Name::Temporary => (UNKNOWN.to_vec(), NameStatus::Temporary),
        Name::None => (UNKNOWN.to_vec(), NameStatus::Permanent),
        Name::Forged => (UNKNOWN.to_vec(), NameStatus::Forged),
    }
}

/// What postscreen or another front end says.
fn from_attributes(connection: &Connection, params: &SmtpdParams, names: &ClientNames) -> Client {
    let attributes = connection.attributes();
    let get = |attribute: &str, what: &str| {
        attributes.get(attribute).map(<[u8]>::to_vec).unwrap_or_else(|| {
            // As Postfix does it (observed, 3.7.11): the front end is broken, and master shall know.
            maillog::fatal(format!("missing {what} from proxy"))
        })
    };
    let mut client = Client::unknown();
    let address = get("client_address", "client address");
    client.port = get("client_port", "client port");
    client.server_address = get("server_address", "server address");
    client.server_port = get("server_port", "server port");
    let ip = address::host_address(&address)
        .unwrap_or_else(|error| maillog::fatal(format!("client address from proxy: {error}")));
    if !(if ip.is_ipv4() { params.access.protocols.ipv4 } else { params.access.protocols.ipv6 }) {
        maillog::fatal(format!("client address {ip} from proxy: inet_protocols does not have its family"));
    }
    client.set_address(Some(ip));
    if params.peername_lookup {
        name(&mut client, ip, names);
    }
    client
}
