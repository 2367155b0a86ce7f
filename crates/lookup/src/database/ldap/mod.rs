//! `ldap:FILE`: directory servers (spec tables 16).
//!
//! The protocol is spoken here: [`ber`] is its encoding, [`filter`] and [`url`] read its texts, [`protocol`] has its
//! messages, and [`table`] what becomes of entries. What goes wrong is told in the words of OpenLDAP's library, which
//! stand in Postfix's lines.

pub(crate) mod ber;
pub(crate) mod filter;
pub(crate) mod protocol;
mod table;
mod url;

use std::path::PathBuf;
use std::sync::{Mutex, Weak};
use std::time::{Duration, Instant};

use config::{list, printable};

use super::servers::{Engine, Host, Place, Servers, Wire};
use super::{Parameters, Shape, Template};
use crate::{Flags, OpenError, Opening, Table};
use protocol::{NoAnswer, SERVER_DOWN, SUCCESS, Scope, Session, TIMEOUT};
use table::{LdapTable, Role, Wanted};
use url::Url;

const DEFAULT_PORT: u16 = 389;
/// Where the library looks for a server that `ldapi:///` does not name.
const DEFAULT_SOCKET: &str = "/var/run/slapd/ldapi";

/// How long servers that cannot be reached are left alone. Postfix tries at each look-up; a second keeps many sessions
/// from all waiting for the same one.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection is kept that nobody uses.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);

/// What is asked of a search beside what it searches for.
#[derive(Debug, Clone, Copy)]
struct Limits {
    timeout: Duration,
    /// Most entries.
    size: i32,
    /// Which aliases of the directory are followed.
    dereference: i32,
}

/// A name and a password.
type Login = (Vec<u8>, Vec<u8>);

/// The servers and a login: what makes one connection different from another.
#[derive(Debug, PartialEq)]
struct Ldap {
    /// URLs, as they are tried.
    urls: Vec<Vec<u8>>,
    /// None when the server is not told who asks.
    login: Option<Login>,
    version: i32,
    timeout: Duration,
}

/// Opens the table of this name.
pub(crate) fn open(
    reference: String,
    name: &[u8],
    flags: Flags,
    opening: Opening,
) -> Result<Box<dyn Table>, OpenError> {
    let parameters = Parameters::open(name)?;
    let shown = printable(name);
    let urls = urls(&parameters)?;
    let scope = scope(&shown, &parameters)?;
    let base = parameters.text("search_base", "", 0)?;
    let base = Template::parse(&base).ok_or_else(|| {
        let text = printable(&base);
        OpenError::new(format!("db_common_parse: {shown}: Invalid query template: {text}"))
    })?;
    let filter = parameters.text("query_filter", "(mailacceptinggeneralid=%s)", 0)?;
    let mut result_format = parameters.text("result_format", "", 0)?;
    if result_format.is_empty() {
        result_format = parameters.text("result_filter", "%s", 1)?;
    }
    let timeout = parameters.integer("timeout", 10)?;
    let shape = Shape::open_with(
        (reference, shown.clone()),
        (&filter, &result_format),
        &parameters,
        (flags, opening),
        ("dict_ldap_get_values", "for key:"),
    )?;
    if shape.is_fixed() {
        let filter = printable(&filter);
        log::warn!("dict_ldap_open: {shown}: Fixed query_filter {filter} is probably useless");
    }
    let wanted = Wanted::new([
        (Role::Terminal, parameters.text("terminal_result_attribute", "", 0)?),
        (Role::Leaf, parameters.text("leaf_result_attribute", "", 0)?),
        (Role::Result, parameters.text("result_attribute", "maildrop", 0)?),
        (Role::Special, parameters.text("special_result_attribute", "", 0)?),
    ]);
    let login = login(&parameters)?;
    warn_of_caches(&shown, &parameters)?;
    let recursion_limit = parameters.integer_from("recursion_limit", 1000, 1)?;
    let expansion_limit = parameters.integer("expansion_limit", 0)?;
    let size = parameters.integer("size_limit", expansion_limit)?;
    let mut dereference = parameters.integer("dereference", 0)?;
    if !(0..=3).contains(&dereference) {
        log::warn!(
            "dict_ldap_open: {shown} Unrecognized value {dereference} specified for dereference; using 0"
        );
        dereference = 0;
    }
    if parameters.flag("chase_referrals")? == Some(true) {
        return Err(parameters.error("not supported", "chase_referrals", b"yes"));
    }
    let mut version = parameters.integer_from("version", 3, 2)?;
    if version > 3 {
        log::warn!("dict_ldap_open: {shown} Unknown version {version}, using 3.");
        version = 3;
    }
    parameters.integer("debuglevel", 0)?;
    if parameters.flag("start_tls")? == Some(true) {
        return Err(parameters.error("not supported", "start_tls", b"yes"));
    }
    parameters.flag("tls_require_cert")?;
    let timeout = Duration::from_secs(u64::try_from(timeout).unwrap_or_default());
    let limits = Limits { timeout, size, dereference };
    let recursion_limit = usize::try_from(recursion_limit).unwrap_or_default();
    let hosts = vec![Host { name: text_of(&urls), place: Place::Unix(PathBuf::new()) }];
    let engine = Ldap { urls, login, version, timeout };
    let servers = Servers::shared(engine, hosts, (RETRY_INTERVAL, IDLE_INTERVAL));
    Ok(Box::new(LdapTable { shape, base, scope, wanted, limits, recursion_limit, servers }))
}

/// The servers, those that are no URLs with what makes them one.
fn urls(parameters: &Parameters) -> Result<Vec<Vec<u8>>, OpenError> {
    let port = parameters.integer("server_port", i32::from(DEFAULT_PORT))?;
    let mut urls = Vec::new();
    for word in list::words(&parameters.text("server_host", "localhost", 1)?) {
        if !url::is_url(word) {
            let port = if word.contains(&b':') { String::new() } else { format!(":{port}") };
            urls.push([b"ldap://", word, port.as_bytes()].concat());
            continue;
        }
        match Url::parse(word) {
            Ok(Url { kind: url::Kind::Tls, .. }) => {
                return Err(parameters.error("not supported", "server_host", word));
            }
            Ok(_) => urls.push(word.to_vec()),
            Err(number) => {
                let (word, text) = (printable(word), protocol::text(number));
                log::error!("dict_ldap_open: error parsing URL {word}: {number}: {text}; skipping");
            }
        }
    }
    Ok(urls)
}

fn text_of(urls: &[Vec<u8>]) -> String {
    printable(&urls.join(&b' '))
}

fn scope(shown: &str, parameters: &Parameters) -> Result<Scope, OpenError> {
    let text = parameters.text("scope", "sub", 1)?;
    Ok(match text.to_ascii_lowercase().as_slice() {
        b"one" => Scope::One,
        b"base" => Scope::Base,
        b"sub" => Scope::Sub,
        _ => {
            let text = printable(&text);
            log::warn!("dict_ldap_open: {shown}: Unrecognized value {text} specified for scope; using sub");
            Scope::Sub
        }
    })
}

fn login(parameters: &Parameters) -> Result<Option<Login>, OpenError> {
    let how = parameters.text("bind", "yes", 1)?;
    let login = (parameters.text("bind_dn", "", 0)?, parameters.text("bind_pw", "", 0)?);
    match how.to_ascii_lowercase().as_slice() {
        b"yes" | b"simple" => Ok(Some(login)),
        b"no" | b"none" => Ok(None),
        b"sasl" => Err(parameters.error("not supported", "bind", &how)),
        _ => Err(parameters.error("unsupported parameter value", "bind", &how)),
    }
}

fn warn_of_caches(shown: &str, parameters: &Parameters) -> Result<(), OpenError> {
    if parameters.flag("cache")? == Some(true) {
        log::warn!("dict_ldap_open: {shown} ignoring cache");
    }
    for name in ["cache_expiry", "cache_size"] {
        if parameters.integer(name, -1)? >= 0 {
            log::warn!("dict_ldap_open: {shown} ignoring {name}");
        }
    }
    Ok(())
}

impl Ldap {
    /// The first server that can be reached.
    fn reach(&self, deadline: Instant) -> Result<Session, NoAnswer> {
        for url in &self.urls {
            let Ok(url) = Url::parse(url) else { continue };
            let host = printable(&url.host);
            let host = if host.is_empty() { "localhost".to_owned() } else { host };
            let port = |default: u16| url.port.unwrap_or(default).to_string();
            let place = match url.kind {
                url::Kind::Plain => Place::Inet { host, port: port(DEFAULT_PORT) },
                url::Kind::Tls => continue,
                url::Kind::Unix if url.host.is_empty() => Place::Unix(PathBuf::from(DEFAULT_SOCKET)),
                url::Kind::Unix => Place::Unix(crate::path(&url.host).to_owned()),
            };
            let within = deadline.min(Instant::now() + self.timeout);
            if let Ok(wire) = Wire::connect(&Host { name: String::new(), place }, within) {
                return Ok(Session::new(wire));
            }
        }
        Err(NoAnswer(SERVER_DOWN))
    }
}

impl Engine for Ldap {
    const NAME: &'static str = "ldap";

    type Connection = Session;

    fn connect(&self, host: &Host, deadline: Instant) -> Result<Session, String> {
        if self.urls.iter().any(|url| Url::parse(url).is_err()) {
            return Err(format!("dict_ldap_connect: Unable to init LDAP server {}", host.name));
        }
        let Some((name, password)) = &self.login else {
            return self.reach(deadline).map_err(|NoAnswer(code)| {
                format!("dict_ldap_lookup: Search error {code}: {} ", protocol::text(code))
            });
        };
        // The library does not wait at all then.
        let reached = if self.timeout.is_zero() { Err(NoAnswer(TIMEOUT)) } else { self.reach(deadline) };
        let reached = reached.and_then(|mut session| {
            session.until(deadline.min(Instant::now() + self.timeout));
            Ok((session.bind(self.version, name, password)?, session))
        });
        let code = match reached {
            Ok((SUCCESS, session)) => return Ok(session),
            Ok((code, _)) | Err(NoAnswer(code)) => code,
        };
        let login = if name.is_empty() { "empty or implicit".to_owned() } else { printable(name) };
        let (servers, text) = (&host.name, protocol::text(code));
        Err(format!("dict_ldap_connect: Unable to bind to server {servers} with dn {login}: {code} ({text})"))
    }

    fn limits(&self) -> (Duration, Duration) {
        let (connect, lookup) = super::servers::LIMITS;
        let servers = u32::try_from(self.urls.len()).unwrap_or(1).saturating_add(1);
        (
            connect.max(self.timeout.saturating_mul(servers)),
            lookup.max(self.timeout.saturating_mul(servers + 1)),
        )
    }

    fn connect_failed(_host: &Host, why: &str) -> String {
        why.to_owned()
    }

    fn known() -> &'static Mutex<Vec<Weak<Servers<Ldap>>>> {
        static KNOWN: Mutex<Vec<Weak<Servers<Ldap>>>> = Mutex::new(Vec::new());
        &KNOWN
    }

    fn query_failed(_table: &str, _host: &Host, why: &str) -> String {
        why.to_owned()
    }
}
