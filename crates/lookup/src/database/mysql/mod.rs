//! `mysql:FILE`: MySQL and MariaDB servers (spec tables 15).
//!
//! The protocol is spoken here: [`protocol`] has its packets, [`login`] how a password is shown. A driver asks queries of
//! its own when it connects, takes only queries that are UTF-8, and bounds single waits, not a look-up.

mod login;
mod options;
mod protocol;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use config::printable;
use tls::BadFile;

use super::servers::secure::{ALL_CIPHERS, ALL_PROTOCOLS, Context, Files, NoContext, Subject, is_of};
use super::servers::{Engine, Host, NoWire, Place, ServerTable, Servers, Wire};
use super::{Parameters, Shape};
use crate::{Flags, OpenError, Opening, Table};
use options::Options;
use protocol::Session;

/// Where Debian's server listens; what `localhost` means to the clients of Debian's library.
const DEFAULT_SOCKET: &str = "/run/mysqld/mysqld.sock";

const DEFAULT_PORT: &str = "3306";

/// A login, and what else makes one connection different from another.
#[derive(Debug, PartialEq)]
struct Mysql {
    /// Empty is whoever runs the process.
    user: Vec<u8>,
    password: Vec<u8>,
    database: Vec<u8>,
    /// Another character set than the protocol's own.
    charset: Option<String>,
    requires_result_set: bool,
    security: Option<Security>,
}

/// How the connection is protected, where it is to be.
#[derive(Debug, Clone, PartialEq)]
struct Security {
    files: Files,
    ciphers: String,
    /// The certificate has to be the server's, and there has to be one.
    verify_cert: bool,
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
    let mut user = parameters.text("user", "", 0)?;
    let password = parameters.text("password", "", 0)?;
    let database = parameters.text("dbname", "", 1)?;
    // A mistake in it is found before those that follow.
    let result_format = parameters.text("result_format", "%s", 1)?;
    let text = |name: &str, default: &str| parameters.text(name, default, 0).map(|text| printable(&text));
    let options = Options::read(&text("option_file", "")?, &text("option_group", "client")?);
    for option in &options.ignored {
        log::warn!("{reference}: option {option} of the client library's files is not supported -- ignored");
    }
    if user.is_empty() {
        user = options.user.clone().into_bytes();
    }
    let security = security(&parameters, &options)?;
    let requires_result_set = parameters.flag("require_result_set")?.unwrap_or(true);
    let mut charset = None;
    if parameters.postfix_minor() >= 9 {
        let name = printable(&parameters.text("charset", "utf8mb4", 1)?);
        if !CHARSETS.contains(&name.as_str()) {
            return Err(parameters.error("not supported", "charset", name.as_bytes()));
        }
        charset = Some(name).filter(|name| name != "utf8mb4");
    } else if !options.charset.is_empty() {
        let name = &options.charset;
        if !CHARSETS.contains(&name.as_str()) {
            return Err(OpenError::new(format!("{reference}: not supported: default-character-set={name}")));
        }
        charset = Some(name.clone()).filter(|name| name != "utf8mb4");
    }
    // A mistake in it is found before one in the query.
    let limit = parameters.integer("expansion_limit", 0)?;
    let query = parameters.query()?;
    let intervals = parameters.intervals()?;
    let limit_exceeded = ("dict_mysql_lookup", "for key:");
    let (names, texts) = ((reference, printable(name)), (&query[..], &result_format[..]));
    let shape = Shape::open(names, texts, &parameters, (flags, opening), limit_exceeded)?.limited(limit);
    let place = |text: &str| place(text, &options);
    let mut hosts = Host::list(&parameters.text("hosts", "", 0)?, place);
    if hosts.is_empty() {
        hosts = Host::list(b"localhost", place);
    }
    // The library has no name then, and takes the one of its files.
    for host in hosts.iter_mut().filter(|host| !options.host.is_empty() && host.is_unix()) {
        let port = if options.port.is_empty() { DEFAULT_PORT } else { &options.port };
        host.place = Place::Inet { host: options.host.clone(), port: port.to_owned() };
    }
    let engine = Mysql { user, password, database, charset, requires_result_set, security };
    Ok(Box::new(ServerTable::new(shape, Servers::shared(engine, hosts, intervals))))
}

/// Any of these parameters asks for TLS, but a server that has none is good enough, unless its certificate is to be checked
/// (observed, 3.7.11).
fn security(parameters: &Parameters, options: &Options) -> Result<Option<Security>, OpenError> {
    let text = |name: &str, option: &String| {
        let text = parameters.text(name, "", 0).map(|text| printable(&text))?;
        Ok(if text.is_empty() { option.clone() } else { text })
    };
    let files = Files {
        ca_file: text("tls_CAfile", &options.ca_file)?,
        ca_path: text("tls_CApath", &options.ca_path)?,
        cert: text("tls_cert_file", &options.cert)?,
        key: text("tls_key_file", &options.key)?,
    };
    let ciphers = text("tls_ciphers", &options.ciphers)?;
    let wants_files = !ciphers.is_empty() || files != Files::default();
    let verify_cert = parameters.flag("tls_verify_cert")?.unwrap_or(options.verifies && wants_files);
    let is_wanted = verify_cert || wants_files;
    Ok(is_wanted.then_some(Security { files, ciphers, verify_cert }))
}

impl Security {
    /// Puts TLS around the connection; the error is what the client library says.
    fn protect(&self, wire: &mut Wire, host: &Host) -> Result<(), String> {
        let ciphers = if self.ciphers.is_empty() { ALL_CIPHERS } else { &self.ciphers };
        let context = Context::lenient(&self.files, ALL_PROTOCOLS, ciphers).map_err(|why| match why {
            NoContext::File(error) | NoContext::Authorities(BadFile::Unreadable(error)) => {
                format!("{} ({})", sys::error_text(&error), error.raw_os_error().unwrap_or_default())
            }
            NoContext::Identity | NoContext::Authorities(_) => "unsupported".to_owned(),
            NoContext::Ciphers => "no cipher match".to_owned(),
        })?;
        let name = match &host.place {
            Place::Inet { host, .. } => host.as_str(),
            Place::Unix(_) => "localhost",
        };
        let outcome = context.protect(wire, name).map_err(|error| error.to_string())?;
        let is_judged = self.verify_cert || !self.files.ca_file.is_empty() || !self.files.ca_path.is_empty();
        if let Some(error) = outcome.verification_error().filter(|_| is_judged) {
            return Err(error);
        }
        let is_meant =
            outcome.certificate.is_some_and(|certificate| is_of(&certificate, name, Subject::CountsAlone));
        if self.verify_cert && !is_meant {
            return Err("Validation of SSL server certificate failed".to_owned());
        }
        Ok(())
    }
}

fn place(text: &str, options: &Options) -> Place {
    let or =
        |option: &String, default: &str| if option.is_empty() { default.to_owned() } else { option.clone() };
    match Place::inet(text, &or(&options.port, DEFAULT_PORT)) {
        Place::Inet { host, .. } if host.is_empty() || host.eq_ignore_ascii_case("localhost") => {
            Place::Unix(PathBuf::from(or(&options.socket, DEFAULT_SOCKET)))
        }
        place => place,
    }
}

impl Engine for Mysql {
    const NAME: &'static str = "mysql";

    type Connection = Session;

    fn connect(&self, host: &Host, deadline: Instant) -> Result<Session, String> {
        let wire = Wire::connect(host, deadline).map_err(|why| no_wire(host, why))?;
        let mut session = Session::log_in(wire, self, host)?;
        if let Some(charset) = &self.charset {
            session.set_names(charset, deadline)?;
        }
        Ok(session)
    }

    fn known() -> &'static Mutex<Vec<std::sync::Weak<Servers<Mysql>>>> {
        static KNOWN: Mutex<Vec<std::sync::Weak<Servers<Mysql>>>> = Mutex::new(Vec::new());
        &KNOWN
    }

    fn is_away(why: &str) -> bool {
        ["Can't connect", "Lost connection", "Unknown server host"].iter().any(|text| why.starts_with(text))
    }

    fn domain_failed(table: &str, key: &[u8]) {
        log::warn!("{table} 'domain' pattern match failed for '{}'", printable(key));
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
        // The library looks for a socket without a name.
        (Place::Unix(path), NoWire::Io(_)) if path.as_os_str().is_empty() => {
            "Can't connect to local server through socket '' (111)".to_owned()
        }
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
