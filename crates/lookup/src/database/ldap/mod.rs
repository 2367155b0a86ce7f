//! `ldap:FILE`: directory servers (spec tables 16).
//!
//! The protocol is spoken here: [`ber`] is its encoding, [`filter`] and [`url`] read its texts, [`protocol`] has its
//! messages, and [`table`] what becomes of entries. What goes wrong is told in the words of OpenLDAP's library, which
//! stand in Postfix's lines.

pub(crate) mod ber;
pub(crate) mod filter;
mod login;
pub(crate) mod protocol;
mod referral;
mod secure;
mod table;
mod url;

use std::path::PathBuf;
use std::sync::{Mutex, Weak};
use std::time::{Duration, Instant};

use config::{list, printable};

use super::servers::{Engine, Host, Place, Servers, Wire};
use super::{Parameters, Shape, Template};
use crate::{Flags, OpenError, Opening, Table};
use login::Login;
use protocol::{NoAnswer, PARAM_ERROR, SERVER_DOWN, SUCCESS, Scope, Session, TIMEOUT};
use secure::{Context, Security};
use table::{LdapTable, Role, Wanted};
use url::Url;

const DEFAULT_PORT: u16 = 389;
const DEFAULT_TLS_PORT: u16 = 636;
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

/// The servers and a login: what makes one connection different from another.
#[derive(Debug, PartialEq)]
struct Ldap {
    /// URLs, as they are tried.
    urls: Vec<Vec<u8>>,
    login: Login,
    security: Security,
    version: i32,
    timeout: Duration,
    /// `chase_referrals`
    chases: bool,
}

/// Reads the bytes as whatever a server may send, and as the texts of filters and URLs, which hold what is looked up and
/// what a directory says; for fuzzing.
///
/// # Panics
/// When what was read is not as it has to be.
pub fn read_any(bytes: &[u8]) {
    if let Ok(Some((_, length, head))) = ber::header(bytes) {
        assert!((2..=6).contains(&head) && u32::try_from(length).is_ok());
    }
    if let Ok((_, _, content)) = protocol::envelope(bytes) {
        let _ = (protocol::outcome(content), protocol::references(content));
        let entry = protocol::entry(content).unwrap_or_default();
        let values = entry.iter().flat_map(|(_, values)| values);
        assert!(values.map(Vec::len).sum::<usize>() <= bytes.len());
    }
    if let Some(filter) = filter::encode(bytes).filter(|filter| !filter.is_empty()) {
        let mut reader = ber::Reader::new(&filter);
        assert!(reader.any().is_ok() && reader.is_empty(), "one element, whatever the text");
    }
    if let Ok(url) = Url::parse(bytes) {
        assert!(url::is_url(bytes) && url.base.len() <= bytes.len());
    }
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
    let servers = parameters.text("server_host", "localhost", 1)?;
    // The order in which Postfix finds mistakes.
    let port = parameters.integer("server_port", i32::from(DEFAULT_PORT))?;
    let mut version = parameters.integer_from("version", 3, 2)?;
    if version > 3 {
        log::warn!("dict_ldap_open: {shown} Unknown version {version}, using 3.");
        version = 3;
    }
    let urls = urls(&servers, port, &mut version);
    let scope = scope(&shown, &parameters)?;
    let timeout = parameters.integer("timeout", 10)?;
    let base = parameters.text("search_base", "", 0)?;
    let filter = parameters.text("query_filter", "(mailacceptinggeneralid=%s)", 0)?;
    let mut result_format = parameters.text("result_format", "", 0)?;
    if result_format.is_empty() {
        result_format = parameters.text("result_filter", "%s", 1)?;
    }
    let base = Template::parse(&base).ok_or_else(|| {
        let text = printable(&base);
        OpenError::new(format!("db_common_parse: {shown}: Invalid query template: {text}"))
    })?;
    if Template::parse(&filter).is_some_and(|filter| filter.is_fixed()) {
        let filter = printable(&filter);
        log::warn!("dict_ldap_open: {shown}: Fixed query_filter {filter} is probably useless");
    }
    let shape = Shape::open(
        (reference, shown.clone()),
        (&filter, &result_format),
        &parameters,
        (flags, opening),
        ("dict_ldap_get_values", "for key:"),
    )?;
    let wanted = Wanted::new([
        (Role::Terminal, parameters.text("terminal_result_attribute", "", 0)?),
        (Role::Leaf, parameters.text("leaf_result_attribute", "", 0)?),
        (Role::Result, parameters.text("result_attribute", "maildrop", 0)?),
        (Role::Special, parameters.text("special_result_attribute", "", 0)?),
    ]);
    let login = Login::open(&parameters, &shown)?;
    warn_of_caches(&shown, &parameters)?;
    let recursion_limit = parameters.integer_from("recursion_limit", 1000, 1)?;
    let expansion_limit = parameters.integer("expansion_limit", 0)?;
    let shape = shape.limited(expansion_limit);
    let size = parameters.integer("size_limit", expansion_limit)?;
    let mut dereference = parameters.integer("dereference", 0)?;
    if !(0..=3).contains(&dereference) {
        log::warn!(
            "dict_ldap_open: {shown} Unrecognized value {dereference} specified for dereference; using 0"
        );
        dereference = 0;
    }
    let chases = parameters.flag("chase_referrals")? == Some(true);
    let security = Security::open(&parameters, &shown)?;
    parameters.integer("debuglevel", 0)?;
    // What cannot be done comes after what is a mistake.
    let login = login?;
    if version < 3 && security.start_tls {
        log::warn!("dict_ldap_open: {shown} start_tls requires protocol version 3");
        version = 3;
    }
    // Less than nothing is no limit of its own.
    let timeout = u64::try_from(timeout).map_or(super::servers::LIMITS.1, Duration::from_secs);
    let limits = Limits { timeout, size, dereference };
    let recursion_limit = usize::try_from(recursion_limit).unwrap_or_default();
    let hosts = vec![Host { name: text_of(&urls), place: Place::Unix(PathBuf::new()) }];
    let engine = Ldap { urls, login, security, version, timeout, chases };
    let servers = Servers::shared(engine, hosts, (RETRY_INTERVAL, IDLE_INTERVAL));
    Ok(Box::new(LdapTable { shape, base, scope, wanted, limits, recursion_limit, servers }))
}

/// The servers, those that are no URLs with what makes them one. One by TLS needs the newer version of the protocol.
fn urls(servers: &[u8], port: i32, version: &mut i32) -> Vec<Vec<u8>> {
    let mut urls = Vec::new();
    for word in list::words(servers) {
        if !url::is_url(word) {
            let port = if word.contains(&b':') { String::new() } else { format!(":{port}") };
            urls.push([b"ldap://", word, port.as_bytes()].concat());
            continue;
        }
        match Url::parse(word) {
            Ok(url) => {
                if url.kind == url::Kind::Tls && *version < 3 {
                    log::warn!("dict_ldap_open: URL scheme ldaps requires protocol version 3");
                    *version = 3;
                }
                urls.push(word.to_vec());
            }
            Err(number) => {
                let (word, text) = (printable(word), protocol::text(number));
                log::error!("dict_ldap_open: error parsing URL {word}: {number}: {text}; skipping");
            }
        }
    }
    urls
}

fn is_tls(url: &[u8]) -> bool {
    matches!(Url::parse(url), Ok(Url { kind: url::Kind::Tls, .. }))
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
    /// The first server that can be reached, with TLS where its URL says so.
    fn reach(&self, context: Option<&Context>, deadline: Instant) -> Result<(Session, String), NoAnswer> {
        let urls = self.urls.iter().filter_map(|url| Url::parse(url).ok());
        let reached = urls.into_iter().find_map(|url| self.reach_one(&url, context, deadline));
        reached.ok_or(NoAnswer(SERVER_DOWN))
    }

    /// This server, with its name.
    fn reach_one(
        &self,
        url: &Url,
        context: Option<&Context>,
        deadline: Instant,
    ) -> Option<(Session, String)> {
        let host = printable(&url.host);
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        let port = |default: u16| url.port.unwrap_or(default).to_string();
        let name = host.clone();
        let place = match url.kind {
            url::Kind::Plain => Place::Inet { host, port: port(DEFAULT_PORT) },
            url::Kind::Tls => Place::Inet { host, port: port(DEFAULT_TLS_PORT) },
            url::Kind::Unix if url.host.is_empty() => Place::Unix(PathBuf::from(DEFAULT_SOCKET)),
            url::Kind::Unix => Place::Unix(crate::path(&url.host).to_owned()),
        };
        let within = deadline.min(Instant::now() + self.timeout);
        let mut session = Session::new(Wire::connect(&Host { name: String::new(), place }, within).ok()?);
        if url.kind == url::Kind::Tls {
            session.protect(|wire| context.is_some_and(|context| context.protect(wire, &name))).ok()?;
        }
        Some((session, name))
    }

    /// The same, with TLS where `start_tls` says so.
    fn secured(&self, deadline: Instant) -> Result<Result<(Session, String), NoAnswer>, String> {
        let needs_tls = self.security.start_tls || self.urls.iter().any(|url| is_tls(url));
        let context = if needs_tls { self.security.context() } else { None };
        if needs_tls && context.is_none() {
            let text = protocol::text(SERVER_DOWN);
            return Err(format!(
                "dict_ldap_set_tls_options: Unable to allocate new TLS context {SERVER_DOWN}: {text}"
            ));
        }
        let reached = self.reach(context.as_ref(), deadline);
        if !self.security.start_tls {
            return Ok(reached);
        }
        let started = reached.and_then(|(mut session, name)| {
            session.until(deadline.min(Instant::now() + self.timeout));
            session.start_tls(|wire| context.as_ref().is_some_and(|context| context.protect(wire, &name)))?;
            Ok((session, name))
        });
        started.map(Ok).map_err(|NoAnswer(code)| format!("{NO_STARTTLS}{code}: {}", protocol::text(code)))
    }
}

/// What a failure of `start_tls` is told as.
const NO_STARTTLS: &str = "dict_ldap_connect: Unable to set STARTTLS: ";

impl Engine for Ldap {
    const NAME: &'static str = "ldap";

    type Connection = Session;

    fn connect(&self, host: &Host, deadline: Instant) -> Result<Session, String> {
        if self.urls.iter().any(|url| Url::parse(url).is_err()) {
            return Err(format!("dict_ldap_connect: Unable to init LDAP server {}", host.name));
        }
        let name = match &self.login {
            // The library has its own word for a wait of no time.
            Login::None if self.timeout.is_zero() => {
                let text = protocol::text(PARAM_ERROR);
                return Err(format!("dict_ldap_lookup: Search error {PARAM_ERROR}: {text} "));
            }
            Login::None => {
                let reached = self.secured(deadline)?.map(|(session, _)| session);
                return reached.map_err(|NoAnswer(code)| {
                    format!("dict_ldap_lookup: Search error {code}: {} ", protocol::text(code))
                });
            }
            Login::Simple(name, _) => printable(name),
            Login::Sasl(sasl) => sasl.name().to_owned(),
        };
        // The library does not wait at all then.
        let reached = if self.timeout.is_zero() { Err(NoAnswer(TIMEOUT)) } else { self.secured(deadline)? };
        let reached = reached.and_then(|(mut session, server)| {
            session.until(deadline.min(Instant::now() + self.timeout));
            Ok((self.log_in(&mut session, &server)?, session))
        });
        let code = match reached {
            Ok((SUCCESS, session)) => return Ok(session),
            Ok((code, _)) | Err(NoAnswer(code)) => code,
        };
        let login = if name.is_empty() { "empty or implicit" } else { &name };
        let (servers, text) = (&host.name, protocol::text(code));
        Err(format!("dict_ldap_connect: Unable to bind to server {servers} with dn {login}: {code} ({text})"))
    }

    fn connect_failed_level(why: &str) -> log::Level {
        if why.starts_with(NO_STARTTLS) { log::Level::Error } else { log::Level::Warn }
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

    fn is_away(why: &str) -> bool {
        [SERVER_DOWN, TIMEOUT].iter().any(|code| why.contains(&format!(": {code} (")))
            || why.contains(&format!("error {SERVER_DOWN}:"))
    }

    fn query_failed(_table: &str, _host: &Host, why: &str) -> String {
        why.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::read_any;

    /// The seeds of the fuzz target, cut and changed by chance.
    #[test]
    fn whatever_comes_is_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/ldap");
        let seeds = std::fs::read_dir(folder).expect("the seeds are there").flatten();
        let seeds: Vec<Vec<u8>> = seeds.filter_map(|seed| std::fs::read(seed.path()).ok()).collect();
        assert!(seeds.len() > 4);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut chance = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap_or_default()
        };
        for _ in 0..20_000 {
            let mut bytes = seeds[chance(seeds.len())].clone();
            for _ in 0..chance(6) {
                let at = chance(bytes.len());
                match chance(3) {
                    0 => bytes[at] = u8::try_from(chance(256)).unwrap_or_default(),
                    1 => bytes.insert(at, b"()*\\&|!=:%?\x30\x04\x80\xff"[chance(15)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            read_any(&bytes);
        }
    }
}
