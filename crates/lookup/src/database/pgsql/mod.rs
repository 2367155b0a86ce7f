//! `pgsql:FILE`: PostgreSQL servers (spec tables 15).
//!
//! The messages and the logins are the library's (`postgres-protocol`); the sockets, and how long they are waited for, are
//! ours. What goes wrong is told in the words of Debian's client library, which stand in Postfix's lines.

mod connect;
mod protocol;
mod secure;
mod target;
mod uri;

use std::path::PathBuf;
use std::sync::{Mutex, Weak};
use std::time::Instant;

use config::printable;

use super::servers::{Engine, Host, Place, ServerTable, Servers, own_name};
use super::{Parameters, Shape};
use crate::{Flags, OpenError, Opening, Table};
use protocol::Session;
use secure::Security;
use target::Target;

const DEFAULT_PORT: &str = "5432";

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
    target: Target,
    /// What else is set at the session's start.
    session: Vec<(String, String)>,
    /// Why each connection of TCP is given up.
    tcp_mistake: Option<String>,
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
    // A mistake in it is found before those that follow.
    let result_format = parameters.text("result_format", "%s", 1)?;
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
    let limit = parameters.integer("expansion_limit", 0)?;
    let query = parameters.query_or_function()?;
    let intervals = parameters.intervals()?;
    let limit_exceeded = ("dict_pgsql_lookup", "for key:");
    let (names, texts) = ((reference, printable(name)), (&query[..], &result_format[..]));
    let shape = Shape::open(names, texts, &parameters, (flags, opening), limit_exceeded)?.limited(limit);
    let (security, target, session) = (Security::default(), Target::default(), Vec::new());
    let engine = Pgsql { user, password, database, encoding, security, target, session, tcp_mistake: None };
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
        match host.name.strip_prefix(URI) {
            Some(rest) => {
                let (places, login) = uri::read(rest, &self.encoding)?;
                connect::connect(&login, &host.name, &places, deadline)
            }
            None => connect::connect(self, &host.name, std::slice::from_ref(&host.place), deadline),
        }
    }

    fn known() -> &'static Mutex<Vec<Weak<Servers<Pgsql>>>> {
        static KNOWN: Mutex<Vec<Weak<Servers<Pgsql>>>> = Mutex::new(Vec::new());
        &KNOWN
    }

    fn is_away(why: &str) -> bool {
        !why.contains("FATAL: ")
    }

    fn query_failed(_table: &str, host: &Host, why: &str) -> String {
        if why.starts_with(protocol::UNKNOWN_CODE) {
            return format!("pgsql query failed: {why} from host {}", host.name);
        }
        format!("pgsql query failed: fatal error from host {}: {why}", host.name)
    }
}
