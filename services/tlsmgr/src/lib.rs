//! Keys and caches of TLS sessions, for all processes that speak TLS.
//!
//! A multi server, one process by requirement: [`keys`] are those of session tickets, which all servers of the instance
//! have to share; a [`Memory`] keeps whole sessions, for programs that store them; and it gives out random bytes. Postfix's
//! own smtpd and smtp use it as they use Postfix's. Sessions are kept in memory: the file that a parameter names is not
//! written. Refused at start: a random source that is neither a device nor a file. Source: spec ipc 11, tls-sasl 10.

#![forbid(unsafe_code)]

pub mod keys;

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cache::Memory;
use config::Complaint;
use ipc::announce::Protocol;
use ipc::tlsmgr::{BAD, KEY, KEY_NAME, NOT_FOUND, OK, Received, Reply, Request};
use server::{After, Connection, Fatal, MultiService, Requires, Service, Start};

use keys::Keys;

/// Most random bytes in one reply.
const SEED_LIMIT: i32 = 255;
/// How Postfix's gathers randomness: the kernel does, here.
const OF_RANDOMNESS: &[&str] = &[
    "tls_random_bytes",
    "tls_random_exchange_name",
    "tls_random_prng_update_period",
    "tls_random_reseed_period",
];
/// A trigger is no longer.
const TRIGGER: usize = 2;

/// The sessions with one kind of peer.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    timeout: Duration,
    cache: Option<Memory>,
}

/// The service.
#[derive(Debug)]
pub struct Tlsmgr {
    kinds: Vec<Kind>,
    keys: Keys,
    source: String,
    random: Option<File>,
    /// Name of its connections in warnings.
    stream: String,
}

impl Service for Tlsmgr {
    const REQUIRES: Requires = Requires::LIMIT_ONE;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let config = &start.config;
        let kinds = [
            ("smtpd", "smtpd_tls_session_cache_database", "smtpd_tls_session_cache_timeout"),
            ("smtp", "smtp_tls_session_cache_database", "smtp_tls_session_cache_timeout"),
            ("lmtp", "lmtp_tls_session_cache_database", "lmtp_tls_session_cache_timeout"),
        ];
        let kinds = kinds
            .into_iter()
            .map(|(name, database, timeout)| {
                let timeout = config.time(timeout)?;
                let wanted = !config.text(database)?.is_empty() && !timeout.is_zero();
                Ok(Kind { name, timeout, cache: wanted.then(|| Memory::new(timeout)) })
            })
            .collect::<Result<_, config::Error>>()
            .map_err(|error| Fatal::new(error.to_string()))?;
        let source = config.text("tls_random_source").map_err(|error| Fatal::new(error.to_string()))?;
        let stream = format!("{} socket", start.service_name);
        Ok(Self { kinds, keys: Keys::default(), source, random: None, stream })
    }

    fn complaints(&self, start: &Start) -> Vec<Complaint> {
        let changed = OF_RANDOMNESS.iter().filter_map(|name| Some((*name, start.config.changed(name)?)));
        let told = changed.map(|(name, value)| {
            let text = format!("{value} has no effect: random numbers are the kernel's");
            Complaint::new(&start.config, name, text)
        });
        told.collect()
    }

    fn pre_jail(&mut self, _: &Start) -> Result<(), Fatal> {
        self.random = Some(open_source(&self.source)?);
        Ok(())
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        // Keys and sessions are in this process only.
        start.lifetime.max_use = None;
        start.lifetime.max_idle = None;
        Ok(())
    }
}

/// `dev:PATH`, or a file; nothing is the system's own generator.
fn open_source(source: &str) -> Result<File, Fatal> {
    let path = match source.split_once(':') {
        _ if source.is_empty() => "/dev/urandom",
        Some(("dev", path)) => path,
        Some((kind, _)) if !source.starts_with('/') => {
            return Err(Fatal::new(format!(
                "tls_random_source = {source}: \"{kind}\" is not supported; use dev:/dev/urandom"
            )));
        }
        _ => source,
    };
    File::open(path).map_err(|error| {
        Fatal::new(format!("cannot open entropy device {path}: {}", sys::error_text(&error)))
    })
}

impl MultiService for Tlsmgr {
    type Client = ();

    fn connected(&mut self, connection: &mut Connection, _: &Start) -> Option<()> {
        Protocol::TLSMGR.announce(connection).ok()
    }

    fn request(&mut self, (): &mut (), connection: &mut Connection, _: &Start) -> After {
        // Master wakes this service up, on the same socket.
        if connection.fill_buf().is_ok_and(|ahead| ahead.len() <= TRIGGER) {
            return After::Close;
        }
        let reply = match Received::read(connection, &self.stream) {
            Ok(Received::Request(request)) => self.answer(request),
            Ok(Received::Malformed(reply)) => reply,
            Ok(Received::Unknown) => return After::Keep,
            Err(error) => {
                error.warn();
                return After::Close;
            }
        };
        if reply.send(connection).is_ok() { After::Keep } else { After::Close }
    }
}

impl Tlsmgr {
    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Policy { cache_type } => match self.kind(&cache_type, "policy") {
                Some(kind) => {
                    let timeout = i32::try_from(kind.timeout.as_secs()).unwrap_or(i32::MAX);
                    Reply::policy(OK, kind.cache.is_some(), timeout)
                }
                None => Reply::policy(BAD, false, 0),
            },
            Request::Seed { size } => self.seed(size),
            Request::Lookup { cache_type, cache_id } => match self.cache(&cache_type, "lookup") {
                Some(cache) => match cache.get(&cache_id) {
                    Some(session) => Reply::session(OK, session),
                    None => Reply::session(NOT_FOUND, b""),
                },
                None => Reply::session(BAD, b""),
            },
            Request::Update { cache_type, cache_id, session } => match self.cache(&cache_type, "update") {
                Some(cache) => Reply::status(if cache.put(cache_id, session) { OK } else { NOT_FOUND }),
                None => Reply::status(BAD),
            },
            Request::Delete { cache_type, cache_id } => match self.cache(&cache_type, "delete") {
                Some(cache) => Reply::status(if cache.delete(&cache_id) { OK } else { NOT_FOUND }),
                None => Reply::status(BAD),
            },
            Request::TicketKey { name } => self.ticket_key(&name),
        }
    }

    fn kind(&mut self, cache_type: &[u8], request: &str) -> Option<&mut Kind> {
        let kind = self.kinds.iter_mut().find(|kind| kind.name.as_bytes() == cache_type);
        if kind.is_none() {
            log::warn!("bogus cache type \"{}\" in \"{request}\" request", maillog::shown(cache_type));
        }
        kind
    }

    fn cache(&mut self, cache_type: &[u8], request: &str) -> Option<&mut Memory> {
        self.kind(cache_type, request)?.cache.as_mut()
    }

    fn seed(&mut self, size: i32) -> Reply {
        if !(1..=SEED_LIMIT).contains(&size) {
            log::warn!("bogus seed length \"{size}\" in \"seed\" request");
            return Reply::seed(BAD, b"");
        }
        let mut seed = vec![0; usize::try_from(size).unwrap_or_default()];
        match self.fill(&mut seed) {
            Ok(()) => Reply::seed(OK, &seed),
            Err(_) => Reply::seed(NOT_FOUND, b""),
        }
    }

    fn ticket_key(&mut self, name: &[u8]) -> Reply {
        if !name.is_empty() && name.len() != KEY_NAME {
            log::warn!("invalid session ticket key name length: {}", name.len());
            return Reply::ticket_key(BAD, b"");
        }
        let lifetime = self.kinds.iter().find(|kind| kind.name == "smtpd").map(|kind| kind.timeout);
        let half_life = lifetime.and_then(|lifetime| i64::try_from(lifetime.as_secs() / 2).ok()).unwrap_or(0);
        if lifetime.is_none_or(|lifetime| lifetime.is_zero()) {
            return Reply::ticket_key(NOT_FOUND, b"");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let found = if name.is_empty() {
            let mut fresh = [0; KEY - 8];
            let filled = self.fill(&mut fresh);
            self.keys.current(now, half_life, || filled.map(|()| fresh)).ok()
        } else {
            self.keys.named(name, now, half_life)
        };
        match found {
            Some(key) => Reply::ticket_key(OK, &key),
            // The name comes back in place of a key (observed, 3.7.11).
            None => Reply::ticket_key(NOT_FOUND, name),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let Some(source) = &mut self.random else { return Err(io::ErrorKind::NotFound.into()) };
        source.read_exact(bytes).inspect_err(|error| {
            log::warn!("read {}: {}", self.source, sys::error_text(error));
        })
    }
}
