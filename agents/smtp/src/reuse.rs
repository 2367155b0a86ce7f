//! Connections that are kept for the next request to the same server or destination (spec smtp-client 10).
//!
//! A process that makes one delivery at a time leaves them with the `scache` service, as Postfix's does, and takes what
//! others have left there. One that makes many has a cache of its own. A connection is known by two labels, that of its
//! endpoint and that of a destination, and has two properties, which hold what the next one must know.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache::Connections;
use config::Config;
use ipc::attr::{Decoder, Encoder, Flags};
use ipc::client::Timers;
use ipc::delivery::RequestFlags;
use ipc::scache::{Client, Found};
use lookup::Opening;
use lookup::list::StringList;
use server::Fatal;

use crate::settings::Settings;
use crate::tls::Level;

/// How a process keeps connections.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Destinations whose connections are always kept.
    destinations: StringList,
    on_demand: bool,
    ttl: Duration,
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    Service(Box<Mutex<Client>>),
    Own(Arc<Own>),
}

/// The cache of a process.
#[derive(Debug, Default)]
struct Own {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    connections: Connections<OwnedFd>,
    /// Somebody closes what has been there for its time.
    is_watched: bool,
}

/// What is done for a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// A connection is looked for.
    pub(crate) loads: bool,
    /// Connections are kept.
    pub(crate) stores: bool,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose<'p> {
    pub(crate) service: &'p str,
    /// Who the mail is from, where logins depend on that.
    pub(crate) sender: Option<&'p [u8]>,
    /// The request's first destination as it is written.
    pub(crate) destination: &'p str,
    /// Whether there are logins: a connection is then for one destination and one host only.
    pub(crate) has_logins: bool,
}

/// What is known of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// How often the connection was used again.
    pub(crate) reuses: i32,
    /// Bits, as Postfix's.
    pub(crate) features: i32,
    /// Seconds since 1970.
    pub(crate) expires: i64,
}

/// What is known of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) address: String,
    /// From 3.8 on.
    pub(crate) port: Option<i32>,
    /// Bits, as Postfix's.
    pub(crate) features: i32,
}

impl Cache {
    pub(crate) fn open(config: &Config, settings: &Settings) -> Result<Self, Fatal> {
        let name = |name: &str| settings.protocol.parameter(name);
        let list = config.bytes(&name("smtp_connection_cache_destinations"))?;
        // The name in warnings is the same for LMTP (observed, 3.7.11).
        let destinations = StringList::open("smtp_connection_cache_destinations", &list, Opening::Survive)
            .map_err(|error| Fatal::new(error.to_string()))?;
        let globals = config.globals();
        let keeper = if settings.deliveries_per_process > 1 {
            Keeper::Own(Arc::default())
        } else {
            let timers = Timers {
                timeout: config.time("connection_cache_protocol_timeout")?,
                idle: globals.ipc_idle,
                ttl: globals.ipc_ttl,
            };
            Keeper::Service(Box::new(Mutex::new(Client::new(
                &config.text("connection_cache_service_name")?,
                timers,
            ))))
        };
        Ok(Self {
            destinations,
            on_demand: config.boolean(&name("smtp_connection_cache_on_demand"))?,
            ttl: config.time(&name("smtp_connection_cache_time_limit"))?,
            keeper,
        })
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        self.destinations.changed()
    }

    /// What is done for a request whose first destination is this domain, host or path.
    pub(crate) fn policy(&self, destination: &str, flags: RequestFlags) -> Policy {
        if !self.destinations.is_empty() {
            match self.destinations.matches(destination.to_ascii_lowercase().as_bytes()) {
                Ok(true) => return Policy { loads: true, stores: true },
                Ok(false) => {}
                Err(error) => log::warn!("{error}"),
            }
        }
        Policy {
            loads: self.on_demand && flags.contains(RequestFlags::CONNECTION_LOAD),
            stores: self.on_demand && flags.contains(RequestFlags::CONNECTION_STORE),
        }
    }

    /// Keeps a connection for an endpoint and, if it is to be, for a destination.
    pub(crate) fn save(
        &self,
        endpoint: (&[u8], &Endpoint),
        destination: Option<(&[u8], &Destination)>,
        connection: OwnedFd,
    ) {
        let property = endpoint.1.encoded();
        match &self.keeper {
            Keeper::Service(client) => {
                let mut client = lock(client);
                let ttl = i32::try_from(self.ttl.as_secs()).unwrap_or(i32::MAX);
                if let Some((label, destination)) = destination {
                    client.save_destination(ttl, label, &destination.encoded(), endpoint.0);
                }
                client.save_endpoint(ttl, endpoint.0, &property, connection);
            }
            Keeper::Own(own) => {
                let until = Instant::now() + self.ttl;
                let mut kept = lock(&own.kept);
                if let Some((label, destination)) = destination {
                    kept.connections.save_destination(label, destination.encoded(), endpoint.0, until);
                }
                kept.connections.save_endpoint(endpoint.0, property, connection, until);
                own.watch(kept);
            }
        }
    }

    /// Takes a connection to an endpoint.
    pub(crate) fn of_endpoint(&self, label: &[u8]) -> Option<(Endpoint, OwnedFd)> {
        let found = match &self.keeper {
            Keeper::Service(client) => lock(client).find_endpoint(label)?,
            Keeper::Own(own) => {
                let kept = lock(&own.kept).connections.find_endpoint(label)?;
                Found { destination: Vec::new(), endpoint: kept.property, connection: kept.connection }
            }
        };
        Some((endpoint(&found)?, found.connection))
    }

    /// Takes a connection to a destination.
    pub(crate) fn of_destination(&self, label: &[u8]) -> Option<(Destination, Endpoint, OwnedFd)> {
        let found = match &self.keeper {
            Keeper::Service(client) => lock(client).find_destination(label)?,
            Keeper::Own(own) => {
                let (destination, kept) = lock(&own.kept).connections.find_destination(label)?;
                Found { destination, endpoint: kept.property, connection: kept.connection }
            }
        };
        let endpoint = endpoint(&found)?;
        let Some(destination) = Destination::decoded(&found.destination) else {
            let shown = maillog::shown(label);
            log::warn!("smtp_reuse_common: bad cached session attribute for {shown}");
            return None;
        };
        Some((destination, endpoint, found.connection))
    }
}

impl Own {
    /// Sees to it that connections are closed when their time is over.
    fn watch(self: &Arc<Self>, mut kept: MutexGuard<'_, Kept>) {
        if kept.is_watched {
            self.changed.notify_one();
            return;
        }
        let own = Arc::clone(self);
        let watcher = std::thread::Builder::new().name("connections".into()).stack_size(128 * 1024);
        kept.is_watched = watcher.spawn(move || own.close_old()).is_ok();
    }

    fn close_old(&self) {
        let mut kept = lock(&self.kept);
        loop {
            let now = Instant::now();
            kept.connections.expire(now);
            kept = match kept.connections.next_end() {
                Some(end) => {
                    let left = end.saturating_duration_since(now);
                    self.changed.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(kept).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn endpoint(found: &Found) -> Option<Endpoint> {
    let decoded = Endpoint::decoded(&found.endpoint);
    if decoded.is_none() {
        log::warn!("smtp_session_activate: bad cached endp properties");
    }
    decoded
}

impl Purpose<'_> {
    /// The label of the destination.
    pub(crate) fn destination_label(&self) -> Vec<u8> {
        let mut label = Label::of(self.service);
        if let Some(sender) = self.sender {
            label.add(sender);
        }
        label.add(self.destination.as_bytes());
        label.0
    }

    /// The label of a server.
    pub(crate) fn endpoint_label(&self, host: &str, address: &str, port: u16, level: Level) -> Vec<u8> {
        let mut label = Label::of(self.service);
        if let Some(sender) = self.sender {
            label.add(sender);
        }
        if self.has_logins {
            label.add(self.destination.as_bytes());
            label.add(host.as_bytes());
        }
        label.add(address.as_bytes());
        label.add(port.to_string().as_bytes());
        // Only connections without TLS are kept, but it may have been asked for.
        label.add(if level == Level::None { b"0" } else { b"1" });
        label.0
    }
}

/// Fields, each with a line end.
struct Label(Vec<u8>);

impl Label {
    fn of(service: &str) -> Self {
        let mut label = Self(Vec::new());
        label.add(service.as_bytes());
        label
    }

    fn add(&mut self, field: &[u8]) {
        if field.is_empty() {
            self.0.push(b'*');
        } else if field.contains(&b'*') || field.contains(&b'\n') {
            self.0.extend(STANDARD.encode(field).into_bytes());
        } else {
            self.0.extend_from_slice(field);
        }
        self.0.push(b'\n');
    }
}

impl Endpoint {
    fn encoded(&self) -> Vec<u8> {
        Encoder::plain()
            .int("tls_level", 0)
            .int("reuse_count", self.reuses)
            .int("endpoint_features", self.features)
            .long("expire_time", self.expires)
            .finish()
    }

    fn decoded(property: &[u8]) -> Option<Self> {
        let mut input = property;
        let mut list = Decoder::plain(&mut input, "connection cache", Flags::NONE);
        // One with TLS around it is in no state to be used here.
        (list.int("tls_level").ok()? <= 1).then_some(())?;
        let reuses = list.int("reuse_count").ok()?;
        let features = list.int("endpoint_features").ok()?;
        let expires = list.long("expire_time").ok()?;
        Some(Self { reuses, features, expires })
    }
}

impl Destination {
    fn encoded(&self) -> Vec<u8> {
        let list = Encoder::plain()
            .string("destination", &self.host)
            .string("host_name", &self.host)
            .string("host_addr", &self.address);
        let list = match self.port {
            Some(port) => list.int("host_port", port),
            None => list,
        };
        list.int("destination_features", self.features).finish()
    }

    fn decoded(property: &[u8]) -> Option<Self> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        let mut input = property;
        let mut list = Decoder::plain(&mut input, "connection cache", Flags::NONE);
        let host = text(list.string("host_name").ok()?)?;
        let address = text(list.string("host_addr").ok()?)?;
        let features = list.int("destination_features").ok()?;
        Some(Self { host, address, port: None, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let plain = Purpose { service: "smtp", sender: None, destination: "[mx.test]:25", has_logins: false };
        assert_eq!(plain.destination_label(), b"smtp\n[mx.test]:25\n");
        assert_eq!(
            plain.endpoint_label("mx.test", "192.0.2.1", 25, Level::None),
            b"smtp\n192.0.2.1\n25\n0\n"
        );
        let login = Purpose { sender: Some(b""), has_logins: true, destination: "a*b", ..plain };
        assert_eq!(login.destination_label(), b"smtp\n*\nYSpi\n");
        assert_eq!(
            login.endpoint_label("mx.test", "192.0.2.1", 25, Level::None),
            b"smtp\n*\nYSpi\nmx.test\n192.0.2.1\n25\n0\n"
        );
    }

    #[test]
    fn properties_are_read_as_written() {
        let endpoint = Endpoint { reuses: 3, features: 0x8005, expires: 1_800_000_000 };
        assert_eq!(Endpoint::decoded(&endpoint.encoded()), Some(endpoint));
        let destination = Destination {
            host: "mx.test".to_owned(),
            address: "192.0.2.1".to_owned(),
            port: None,
            features: 4096,
        };
        assert_eq!(Destination::decoded(&destination.encoded()), Some(destination));
        assert_eq!((Endpoint::decoded(b"\n"), Destination::decoded(b"nonsense")), (None, None));
    }
}
