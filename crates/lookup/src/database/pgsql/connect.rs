//! From the places of a server to a session: each address of each in turn, with TLS and without, as the client library
//! goes about it, and in its words.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::Instant;

use super::super::servers::{Host, NoWire, Place, Wire};
use super::protocol::{NoSession, Session};
use super::secure::Way;
use super::target::Target;
use super::{DEFAULT_PORT, Pgsql};

/// Where Debian's server listens.
const DEFAULT_FOLDER: &str = "/var/run/postgresql";

/// A session with the first server that is what is wanted. The error is what the client library says.
pub(super) fn connect(
    login: &Pgsql,
    name: &str,
    places: &[Place],
    deadline: Instant,
) -> Result<Session, String> {
    let mut failures = String::new();
    for target in login.target.passes() {
        for place in places {
            let host = Host { name: name.to_owned(), place: complete(place)? };
            match at_host(login, &host, *target, deadline, &mut failures) {
                Ok(session) => return Ok(session),
                Err(Next::Host) => {}
                Err(Next::Nothing) => return Err(failures),
            }
        }
    }
    Err(failures)
}

/// What is tried after a failure.
enum Next {
    Host,
    /// The server has said no, or nobody knows it.
    Nothing,
}

/// The place with what it does not say.
fn complete(place: &Place) -> Result<Place, String> {
    let socket = |folder: &Path, port: &str| Place::Unix(folder.join(format!(".s.PGSQL.{port}")));
    let (host, port) = match place {
        Place::Unix(folder) if folder.as_os_str().is_empty() => {
            return Ok(socket(Path::new(DEFAULT_FOLDER), DEFAULT_PORT));
        }
        Place::Unix(folder) => return Ok(socket(folder, DEFAULT_PORT)),
        Place::Inet { host, port } if port.is_empty() => (host, DEFAULT_PORT),
        Place::Inet { host, port } => (host, port.as_str()),
    };
    match port.parse::<i32>() {
        Err(_) => Err(format!("invalid integer value \"{port}\" for connection option \"port\"?")),
        Ok(1..=65535) if host.is_empty() => Ok(socket(Path::new(DEFAULT_FOLDER), port)),
        // The folder that a URI names.
        Ok(1..=65535) if host.starts_with('/') => Ok(socket(Path::new(host), port)),
        Ok(1..=65535) => Ok(Place::Inet { host: host.clone(), port: port.to_owned() }),
        Ok(_) => Err(format!("invalid port number: \"{port}\"?")),
    }
}

/// All ways to one host, until one has led to a session or the server has said no.
fn at_host(
    login: &Pgsql,
    host: &Host,
    target: Target,
    deadline: Instant,
    failures: &mut String,
) -> Result<Session, Next> {
    let name = match &host.place {
        Place::Inet { host, .. } => host.as_str(),
        Place::Unix(_) => "",
    };
    let ways = login.security.mode.ways(name.is_empty());
    let attempts = attempts(host).map_err(|why| {
        failures.push_str(&why);
        Next::Host
    })?;
    'addresses: for (attempt, host) in attempts {
        for (number, way) in ways.iter().enumerate() {
            let mut wire = match Wire::connect(&host, deadline) {
                Ok(wire) => wire,
                Err(why) => {
                    *failures += &no_wire(&attempt, &host, &why);
                    continue 'addresses;
                }
            };
            if let Some(mistake) = login.tcp_mistake.as_ref().filter(|_| !name.is_empty()) {
                *failures += &format!("{attempt} failed: {mistake}");
                continue 'addresses;
            }
            let negotiated = login.security.negotiate(&mut wire, *way, name);
            let has_none = negotiated.is_ok() && !wire.is_protected();
            let session =
                negotiated.map_err(NoSession::Refused).and_then(|()| Session::log_in(wire, login, target));
            let failed = |why: &str| format!("{attempt} failed: {why}");
            match session {
                Ok(session) => return Ok(session),
                Err(NoSession::Unfit(why)) => {
                    *failures += &failed(&why);
                    continue 'addresses;
                }
                Err(NoSession::Failed(why)) => {
                    *failures += &failed(&why);
                    return Err(Next::Nothing);
                }
                Err(NoSession::Refused(why)) => *failures += &failed(&why),
            }
            // Where the server had no TLS it has been tried without.
            if number + 1 == ways.len() || (*way == Way::Tls && has_none) {
                return Err(Next::Nothing);
            }
        }
    }
    Err(Next::Host)
}

/// The addresses of a server, with how an attempt at each is told.
fn attempts(host: &Host) -> Result<Vec<(String, Host)>, String> {
    let Place::Inet { host: name, port } = &host.place else {
        let Place::Unix(path) = &host.place else { return Ok(Vec::new()) };
        return Ok(vec![(format!("connection to server on socket \"{}\"", path.display()), host.clone())]);
    };
    if name.parse::<IpAddr>().is_ok() {
        return Ok(vec![(format!("connection to server at \"{name}\", port {port}"), host.clone())]);
    }
    let unknown = |_: std::io::Error| {
        format!("could not translate host name \"{name}\" to address: Name or service not known?")
    };
    let addresses = (name.as_str(), port.parse().unwrap_or_default()).to_socket_addrs().map_err(unknown)?;
    let at = |address: SocketAddr| {
        let address = address.ip();
        let place = Place::Inet { host: address.to_string(), port: port.clone() };
        let attempt = format!("connection to server at \"{name}\" ({address}), port {port}");
        (attempt, Host { name: host.name.clone(), place })
    };
    Ok(addresses.map(at).collect())
}

/// As the client library says it, with question marks for its line ends, as the log shows them.
fn no_wire(attempt: &str, host: &Host, why: &NoWire) -> String {
    match (&host.place, why) {
        (Place::Unix(_), NoWire::Io(error)) => {
            let error = sys::error_text(error);
            format!(
                "{attempt} failed: {error}??Is the server running locally and accepting connections on that socket??"
            )
        }
        (Place::Inet { .. }, NoWire::Io(error)) if error.raw_os_error().is_none() => {
            format!("{attempt} failed: timeout expired?")
        }
        (Place::Inet { .. }, NoWire::Io(error)) => {
            let error = sys::error_text(error);
            format!(
                "{attempt} failed: {error}??Is the server running on that host and accepting TCP/IP connections??"
            )
        }
        (Place::Inet { host, .. }, NoWire::Unknown(_)) => {
            format!("could not translate host name \"{host}\" to address: Name or service not known?")
        }
        (Place::Unix(_), NoWire::Unknown(why)) => format!("{attempt} failed: {why}?"),
    }
}
