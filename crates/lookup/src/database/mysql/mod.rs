//! `mysql:FILE`: MySQL and MariaDB servers (spec tables 15).
//!
//! The protocol is spoken here: [`protocol`] has its packets, [`login`] how a password is shown. A driver asks queries of
//! its own when it connects, takes only queries that are UTF-8, and bounds single waits, not a look-up.

mod login;
mod protocol;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use config::printable;

use super::servers::{Engine, Host, NoWire, Place, ServerTable, Servers, Wire};
use super::{Parameters, Shape};
use crate::{Flags, OpenError, Opening, Table};
use protocol::Session;

/// Where Debian's server listens; what `localhost` means to the clients of Debian's library.
const DEFAULT_SOCKET: &str = "/run/mysqld/mysqld.sock";

const DEFAULT_PORT: &str = "3306";

/// A login, and what else makes one connection different from another.
#[derive(Debug, PartialEq)]
struct Mysql {
    user: Vec<u8>,
    password: Vec<u8>,
    database: Vec<u8>,
    /// Another character set than the protocol's own.
    charset: Option<String>,
    requires_result_set: bool,
}

/// The character sets without a character that may end in a quote or a backslash, as far as anybody needs them.
const CHARSETS: &[&str] = &["utf8", "utf8mb3", "utf8mb4", "latin1", "ascii", "binary"];

/// Opens the table of this name.
pub(crate) fn open(
    reference: String,
    name: &[u8],
    flags: Flags,
    opening: Opening,
) -> Result<Box<dyn Table>, OpenError> {
    let parameters = Parameters::open(name)?;
    let user = parameters.text("user", "", 0)?;
    let password = parameters.text("password", "", 0)?;
    let database = parameters.text("dbname", "", 1)?;
    for unsupported in
        ["option_file", "tls_cert_file", "tls_key_file", "tls_CAfile", "tls_CApath", "tls_ciphers"]
    {
        parameters.refuse(unsupported)?;
    }
    parameters.flag("tls_verify_cert")?;
    let requires_result_set = parameters.flag("require_result_set")?.unwrap_or(true);
    let mut charset = None;
    if parameters.postfix_minor() >= 9 {
        let name = printable(&parameters.text("charset", "utf8mb4", 1)?);
        if !CHARSETS.contains(&name.as_str()) {
            return Err(parameters.error("not supported", "charset", name.as_bytes()));
        }
        charset = Some(name).filter(|name| name != "utf8mb4");
    }
    let query = parameters.query()?;
    let intervals = parameters.intervals()?;
    let limit_exceeded = ("dict_mysql_lookup", "for key:");
    let shape =
        Shape::open(reference, printable(name), &query, &parameters, (flags, opening), limit_exceeded)?;
    let mut hosts = Host::list(&parameters.text("hosts", "", 0)?, place);
    if hosts.is_empty() {
        hosts = Host::list(b"localhost", place);
    }
    let engine = Mysql { user, password, database, charset, requires_result_set };
    Ok(Box::new(ServerTable::new(shape, Servers::shared(engine, hosts, intervals))))
}

fn place(text: &str) -> Place {
    match Place::inet(text, DEFAULT_PORT) {
        Place::Inet { host, .. } if host.is_empty() || host.eq_ignore_ascii_case("localhost") => {
            Place::Unix(PathBuf::from(DEFAULT_SOCKET))
        }
        place => place,
    }
}

impl Engine for Mysql {
    const NAME: &'static str = "mysql";

    type Connection = Session;

    fn connect(&self, host: &Host, deadline: Instant) -> Result<Session, String> {
        let wire = Wire::connect(host, deadline).map_err(|why| no_wire(host, why))?;
        let mut session = Session::log_in(wire, self)?;
        if let Some(charset) = &self.charset {
            session.set_names(charset, deadline)?;
        }
        Ok(session)
    }

    fn known() -> &'static Mutex<Vec<std::sync::Weak<Servers<Mysql>>>> {
        static KNOWN: Mutex<Vec<std::sync::Weak<Servers<Mysql>>>> = Mutex::new(Vec::new());
        &KNOWN
    }

    fn query_failed(table: &str, _host: &Host, why: &str) -> String {
        format!("{table}: query failed: {why}")
    }
}

/// As the client library says it.
fn no_wire(host: &Host, why: NoWire) -> String {
    let code = |error: &std::io::Error| match error.raw_os_error() {
        Some(code) => code,
        None if error.kind() == std::io::ErrorKind::TimedOut => 110,
        None => 0,
    };
    match (&host.place, why) {
        (Place::Unix(path), NoWire::Io(error)) => {
            format!("Can't connect to local server through socket '{}' ({})", path.display(), code(&error))
        }
        // The library connects without waiting, and tells the error of that, EINPROGRESS, whatever comes of it.
        (Place::Inet { host, .. }, NoWire::Io(_)) => format!("Can't connect to server on '{host}' (115)"),
        (Place::Inet { host, .. }, NoWire::Unknown(why)) if why.starts_with("Servname") => {
            format!("Can't connect to server on '{host}' ({why})")
        }
        (Place::Inet { host, .. }, NoWire::Unknown(why)) => {
            let code = if why.contains("Temporary") { -3 } else { -2 };
            format!("Unknown server host '{host}' ({code})")
        }
        (Place::Unix(path), NoWire::Unknown(why)) => format!("{}: {why}", path.display()),
    }
}
