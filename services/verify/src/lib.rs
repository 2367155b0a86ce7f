//! The address verification service: remembers which addresses are deliverable, and finds out by probes.
//!
//! A multi server, one process by requirement. [`entry`] is what is remembered of an address and for how long, a
//! [`Table`] where, [`probe`] the message that finds out; this room ties them to the protocol of `ipc::verify`. What a result
//! means to a client is smtpd's affair. A cache that cannot be written is in memory. Refused at start:
//! a probe sender without local part or domain. Source: spec trivial-rewrite 18, ipc 9.

#![forbid(unsafe_code)]

pub mod entry;
pub mod probe;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cache::{Place, Table};
use config::Complaint;
use ipc::announce::Protocol;
use ipc::client::Timers;
use ipc::verify::{Answer, BAD, OK, Request, Status, send_status};
use posting::{Class, Posting};
use server::{After, Connection, Fatal, MultiService, Requires, Service, Start};

use entry::{Entry, Limits};
use probe::Probes;

/// The parameter that says where the cache is.
const MAP: &str = "address_verify_map";

/// The service.
#[derive(Debug)]
pub struct Verify {
    place: Place,
    cache: Option<Table>,
    limits: Limits,
    negative_cache: bool,
    /// A cache that cannot be read is told of, and nobody is probed (since 3.11).
    tells_unreadable: bool,
    /// `smtputf8_enable`.
    keeps_utf8: bool,
    cleanup_interval: Duration,
    probes: Probes,
    /// Name of its connections in warnings.
    stream: String,
}

impl Service for Verify {
    const REQUIRES: Requires = Requires::LIMIT_ONE;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let config = &start.config;
        let globals = config.globals();
        let seconds = |name: &str| config.time(name).map(|time| time.as_secs());
        let sender = config.text("address_verify_sender")?;
        for (wrong, what) in [(sender.starts_with('@'), "start"), (sender.ends_with('@'), "end")] {
            if wrong {
                return Err(Fatal::new(format!(
                    "parameter address_verify_sender: value \"{sender}\" must not {what} with '@'"
                )));
            }
        }
        Ok(Self {
            place: Place::new(config, MAP)?,
            cache: None,
            limits: Limits {
                positive_expire: seconds("address_verify_positive_expire_time")?,
                positive_refresh: seconds("address_verify_positive_refresh_time")?,
                negative_expire: seconds("address_verify_negative_expire_time")?,
                negative_refresh: seconds("address_verify_negative_refresh_time")?,
            },
            negative_cache: config.boolean("address_verify_negative_cache")?,
            tells_unreadable: globals.postfix_minor >= 11,
            keeps_utf8: globals.smtputf8_enable,
            cleanup_interval: config.time("address_verify_cache_cleanup_interval")?,
            probes: Probes {
                sender,
                sender_ttl: config.time("address_verify_sender_ttl")?,
                rewrite_service_name: globals.rewrite_service_name.clone(),
                timers: Timers { timeout: globals.ipc_timeout, idle: globals.ipc_idle, ttl: globals.ipc_ttl },
                posting: Posting::new(globals, Class::Verify),
            },
            stream: format!("{} socket", start.service_name),
        })
    }

    /// The table would be made by opening it.
    fn preflight(&mut self, _: &Start) -> Result<(), Fatal> {
        Ok(())
    }

    fn complaints(&self, start: &Start) -> Vec<Complaint> {
        let text = self.place.complaint();
        text.map(|text| Complaint::new(&start.config, MAP, text)).into_iter().collect()
    }

    fn pre_jail(&mut self, start: &Start) -> Result<(), Fatal> {
        let cache = self.place.open(start.config.globals()).map_err(Fatal::new)?;
        self.cache = Some(cache);
        Ok(())
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        // A signal to master's process group does not end this process before it has written the file: it goes when it
        // sees that master has gone. Where it leads a group already, as under a debugger, it stays in its session.
        let _ = sys::process::setsid();
        let Some(cache) = &mut self.cache else { return Ok(()) };
        if cache.is_volatile() {
            start.lifetime.max_use = None;
            start.lifetime.max_idle = None;
        }
        if !self.cleanup_interval.is_zero() {
            cache.clean_every(self.cleanup_interval);
        }
        Ok(())
    }

    fn before_exit(&mut self, _: &Start) {
        if let Some(cache) = &mut self.cache {
            cache.write();
        }
    }
}

impl MultiService for Verify {
    type Client = ();

    fn connected(&mut self, connection: &mut Connection, _: &Start) -> Option<()> {
        Protocol::ADDRESS_VERIFICATION.announce(connection).ok()
    }

    fn request(&mut self, (): &mut (), connection: &mut Connection, _: &Start) -> After {
        let outcome = match Request::read(connection, &self.stream) {
            Ok(Request::Query { address }) => self.query(&address, connection),
            Ok(Request::Update { address, status, reason }) => {
                send_status(self.update(&address, status, &reason), connection)
            }
            Ok(Request::Unknown(name)) => {
                log::warn!("unrecognized request: \"{}\", ignored", maillog::shown(&name));
                send_status(BAD, connection)
            }
            Err(error) => {
                error.warn();
                return After::Close;
            }
        };
        if outcome.is_ok() { After::Keep } else { After::Close }
    }

    fn wake_after(&self) -> Option<Duration> {
        self.cache.as_ref().and_then(Table::wait)
    }

    fn woke(&mut self, _: &Start) {
        let (now, limits) = (now(), self.limits);
        if let Some(cache) = &mut self.cache {
            cache.work(|_, value| {
                Entry::parse(value)
                    .is_some_and(|entry| !entry.may_be_probed(now) || !entry.is_expired(now, &limits))
            });
        }
    }
}

impl Verify {
    /// Answers what is known, then probes when a result is due.
    fn query(&mut self, address: &[u8], connection: &mut Connection) -> std::io::Result<()> {
        let Some(cache) = &mut self.cache else { return Ok(()) };
        let key = key(address);
        if let Some(map) = cache.unreadable().filter(|_| self.tells_unreadable) {
            log::warn!("{map}: cache lookup for '{}' failed due to error", maillog::shown(&key));
            let reason = b"Address verification status unavailable".to_vec();
            return Answer { status: Status::Defer, reason }.send(connection);
        }
        let now = now();
        let stored = cache.get(&key).map(std::borrow::Cow::into_owned);
        let known = stored.as_deref().and_then(Entry::parse);
        let entry = known.filter(|entry| !entry.may_be_probed(now) || !entry.is_expired(now, &self.limits));
        let entry = entry.unwrap_or_else(|| {
            if stored.is_some() && !self.negative_cache {
                cache.delete(&key);
            }
            Entry::unknown()
        });
        let told = Answer { status: entry.status, reason: entry.text.clone() }.send(connection);
        if entry.may_be_probed(now) && entry.is_due(now, &self.limits) {
            self.probes.post(&key);
            if entry.updated != 0 || self.negative_cache {
                cache.put(&key, Entry { probed: now, ..entry }.encode());
            }
        }
        told
    }

    /// Stores the result of a probe; a failure never replaces a success.
    fn update(&mut self, address: &[u8], number: i32, reason: &[u8]) -> i32 {
        let status = match Status::from_wire(number) {
            Some(status) if status != Status::Todo => status,
            _ => {
                let shown = maillog::shown(address);
                log::warn!("bad recipient status {number} for recipient {shown}");
                return BAD;
            }
        };
        let Some(cache) = &mut self.cache else { return OK };
        let key = key(address);
        if let Some(map) = cache.unreadable().filter(|_| self.tells_unreadable) {
            log::warn!("{map}: could not update entry for {}", maillog::shown(&key));
            return OK;
        }
        let was_ok = cache.get(&key).is_some_and(|value| Entry::says_ok(&value));
        let keeps = status != Status::Ok && was_ok;
        if !keeps {
            let text = printable(reason, self.keeps_utf8);
            let entry = Entry { status, probed: 0, updated: now(), text };
            cache.put(&key, entry.encode());
        }
        OK
    }
}

/// A reason as it is kept: with UTF-8 where mail has that.
fn printable(reason: &[u8], keeps_utf8: bool) -> Vec<u8> {
    if keeps_utf8 {
        return maillog::shown(reason).to_string().into_bytes();
    }
    reason.iter().map(|&byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' }).collect()
}

/// A colon would end a field.
fn key(address: &[u8]) -> Vec<u8> {
    address.iter().map(|&byte| if byte == b':' { b'_' } else { byte }).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
