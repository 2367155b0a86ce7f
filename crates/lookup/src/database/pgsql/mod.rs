//! `pgsql:FILE`: PostgreSQL servers (spec tables 15).
//!
//! The messages and the logins are the library's (`postgres-protocol`); the sockets, and how long they are waited for, are
//! ours. What goes wrong is told in the words of Debian's client library, which stand in Postfix's lines.

mod protocol;
mod secure;
mod uri;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Weak};
use std::time::Instant;

use config::printable;

use super::servers::{Engine, Host, NoWire, Place, ServerTable, Servers, Wire, own_name};
use super::{Parameters, Shape};
use crate::{Flags, OpenError, Opening, Table};
use protocol::Session;
use secure::{Security, Way};

const DEFAULT_PORT: &str = "5432";

/// Where Debian's server listens.
const DEFAULT_FOLDER: &str = "/var/run/postgresql";

/// What a server's URI starts with.
const URI: &str = "postgresql://";

/// A login, and what else makes one connection different from another.
#[derive(Debug, Clone, PartialEq)]
struct Pgsql {
    user: String,
    password: Vec<u8>,
    database: String,
    encoding: String,
    security: Security,
    /// What else is set at the session's start.
    session: Vec<(String, String)>,
}

/// Opens the table of this name.
pub(crate) fn open(
    reference: String,
    name: &[u8],
    flags: Flags,
    opening: Opening,
) -> Result<Box<dyn Table>, OpenError> {
    let parameters = Parameters::open(name)?;
    let hosts = Host::list(&parameters.text("hosts", "", 0)?, place);
    let hosts = if hosts.is_empty() { Host::list(b"localhost", place) } else { hosts };
    let user = printable(&parameters.text("user", "", 0)?);
    let password = parameters.text("password", "", 0)?;
    // URIs name the database themselves, which counts from Postfix 3.10 on.
    let all_uris = hosts.iter().all(|host| is_uri(&host.name));
    let least = usize::from(!(all_uris && parameters.postfix_minor() >= 10));
    let database = printable(&parameters.text("dbname", "", least)?);
    // Up to 3.7 there was no choice.
    let encoding = match parameters.postfix_minor() {
        ..8 => "LATIN1".to_owned(),
        _ => printable(&parameters.text("encoding", "UTF8", 1)?),
    };
    if [
        "SJIS",
        "SHIFT_JIS",
        "BIG5",
        "GBK",
        "UHC",
        "GB18030",
        "JOHAB",
        "SHIFTJIS",
        "WIN949",
        "WIN936",
        "WIN950",
        "WIN932",
    ]
    .iter()
    .any(|unsafe_set| encoding.replace(['-', '_'], "").eq_ignore_ascii_case(&unsafe_set.replace('_', "")))
    {
        let why = format!("encoding {encoding} is not supported: a character of it may end in a quote");
        return Err(OpenError::new(format!("{}: {why}", printable(name))));
    }
    // A mistake in it is found before one in the query.
    parameters.integer("expansion_limit", 0)?;
    let query = parameters.query_or_function()?;
    let intervals = parameters.intervals()?;
    let limit_exceeded = ("dict_pgsql_lookup", "for key:");
    let shape =
        Shape::open(reference, printable(name), &query, &parameters, (flags, opening), limit_exceeded)?;
    let engine =
        Pgsql { user, password, database, encoding, security: Security::default(), session: Vec::new() };
    Ok(Box::new(ServerTable::new(shape, Servers::shared(engine, hosts, intervals))))
}

fn is_uri(name: &str) -> bool {
    name.starts_with(URI)
}

fn place(text: &str) -> Place {
    if text.starts_with('/') { Place::Unix(PathBuf::from(text)) } else { Place::inet(text, DEFAULT_PORT) }
}

impl Engine for Pgsql {
    const NAME: &'static str = "pgsql";

    type Connection = Session;

    fn connect(&self, host: &Host, deadline: Instant) -> Result<Session, String> {
        let (place, login) = match host.name.strip_prefix(URI) {
            Some(rest) => uri::read(rest, &self.encoding)?,
            None => (host.place.clone(), self.clone()),
        };
        let socket = |folder: &Path, port: &str| Place::Unix(folder.join(format!(".s.PGSQL.{port}")));
        let place = match place {
            Place::Unix(folder) if folder.as_os_str().is_empty() => {
                socket(Path::new(DEFAULT_FOLDER), DEFAULT_PORT)
            }
            Place::Unix(folder) => socket(&folder, DEFAULT_PORT),
            Place::Inet { host, port } => {
                let port = if port.is_empty() { DEFAULT_PORT.to_owned() } else { port };
                match port.parse::<i32>() {
                    Err(_) => {
                        return Err(format!(
                            "invalid integer value \"{port}\" for connection option \"port\"?"
                        ));
                    }
                    Ok(1..=65535) if host.is_empty() => socket(Path::new(DEFAULT_FOLDER), &port),
                    Ok(1..=65535) => Place::Inet { host, port },
                    Ok(_) => return Err(format!("invalid port number: \"{port}\"?")),
                }
            }
        };
        let host = Host { name: host.name.clone(), place };
        let name = match &host.place {
            Place::Inet { host, .. } => host.as_str(),
            Place::Unix(_) => "",
        };
        let mut failures = String::new();
        'ways: for way in login.security.mode.ways(name.is_empty()) {
            for (attempt, host) in attempts(&host)? {
                let mut wire = match Wire::connect(&host, deadline) {
                    Ok(wire) => wire,
                    // One address after another.
                    Err(why) => {
                        failures += &no_wire(&attempt, &host, &why);
                        continue;
                    }
                };
                let negotiated = login.security.negotiate(&mut wire, *way, name);
                let has_none = negotiated.is_ok() && !wire.is_protected();
                match negotiated.and_then(|()| Session::log_in(wire, &login)) {
                    Ok(session) => return Ok(session),
                    Err(why) => failures += &format!("{attempt} failed: {why}"),
                }
                // Where the server had no TLS it has been tried without.
                if *way == Way::Tls && has_none {
                    break 'ways;
                }
                continue 'ways;
            }
            // None was reached.
            break;
        }
        Err(failures)
    }

    fn known() -> &'static Mutex<Vec<Weak<Servers<Pgsql>>>> {
        static KNOWN: Mutex<Vec<Weak<Servers<Pgsql>>>> = Mutex::new(Vec::new());
        &KNOWN
    }

    fn is_away(why: &str) -> bool {
        !why.contains("FATAL: ")
    }

    fn query_failed(_table: &str, host: &Host, why: &str) -> String {
        format!("pgsql query failed: fatal error from host {}: {why}", host.name)
    }
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
