//! Connections that are kept for the next request to the same server or destination (spec smtp-client 10).
//!
//! A process that makes one delivery at a time leaves them with the `scache` service, as Postfix's does, and takes what
//! others have left there; those with TLS it keeps to itself, as what TLS holds of a connection cannot be handed over. One
//! that makes many has a cache of its own for all. A connection is known by two labels, that of its
//! endpoint and that of a destination, and has two properties, which hold what the next one must know.

mod own;

use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::Config;
use ipc::attr::{Decoder, Encoder, Flags};
use ipc::client::Timers;
use ipc::delivery::RequestFlags;
use ipc::scache::Client;
use lookup::Opening;
use lookup::list::StringList;
use server::Fatal;

use crate::logins::Protection;
use crate::settings::Settings;
use crate::tls::{Agreed, Level, Terms, Wire};

use own::Own;

/// How a process keeps connections.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Destinations whose connections are always kept.
    destinations: StringList,
    on_demand: bool,
    ttl: Duration,
    /// For what other processes can go on with, unless this one keeps all to itself.
    service: Option<Mutex<Client>>,
    own: Arc<Own>,
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    pub(crate) protection: Protection,
    /// What a session of TLS is told to be.
    pub(crate) agreed: Option<Agreed>,
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
    /// How much TLS was asked for, where there is none: Postfix's number of the level.
    pub(crate) level: i32,
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
        let service = if settings.deliveries_per_process > 1 {
            None
        } else {
            let timers = Timers {
                timeout: config.time("connection_cache_protocol_timeout")?,
                idle: globals.ipc_idle,
                ttl: globals.ipc_ttl,
            };
            Some(Mutex::new(Client::new(&config.text("connection_cache_service_name")?, timers)))
        };
        Ok(Self {
            destinations,
            on_demand: config.boolean(&name("smtp_connection_cache_on_demand"))?,
            ttl: config.time(&name("smtp_connection_cache_time_limit"))?,
            service,
            own: Arc::default(),
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
        connection: Connection,
    ) {
        let property = endpoint.1.encoded();
        let service = self.service.as_ref().filter(|_| !connection.wire.is_encrypted());
        let Some(service) = service else {
            let destination = destination.map(|(label, destination)| (label, destination.encoded()));
            self.own.save((endpoint.0, property), destination, connection, self.ttl);
            return;
        };
        let Ok(descriptor) = connection.wire.as_fd().try_clone_to_owned() else { return };
        let mut client = lock(service);
        let ttl = i32::try_from(self.ttl.as_secs()).unwrap_or(i32::MAX);
        if let Some((label, destination)) = destination {
            client.save_destination(ttl, label, &destination.encoded(), endpoint.0);
        }
        client.save_endpoint(ttl, endpoint.0, &property, descriptor);
    }

    /// Takes a connection to an endpoint, which is a socket in the file system or not.
    pub(crate) fn of_endpoint(&self, label: &[u8], is_path: bool) -> Option<(Endpoint, Connection)> {
        let (property, connection) = match &self.service {
            Some(service) => {
                let found = lock(service).find_endpoint(label)?;
                (found.endpoint, Connection::clear(Wire::of_descriptor(found.connection, is_path)))
            }
            None => {
                let kept = self.own.find_endpoint(label)?;
                (kept.property, kept.connection)
            }
        };
        Some((endpoint(&property)?, connection))
    }

    /// Takes a connection to a destination.
    pub(crate) fn of_destination(&self, label: &[u8]) -> Option<(Destination, Endpoint, Connection)> {
        let (destination, property, connection) = match &self.service {
            Some(service) => {
                let found = lock(service).find_destination(label)?;
                let connection = Connection::clear(Wire::of_descriptor(found.connection, false));
                (found.destination, found.endpoint, connection)
            }
            None => {
                let (destination, kept) = self.own.find_destination(label)?;
                (destination, kept.property, kept.connection)
            }
        };
        let endpoint = endpoint(&property)?;
        let Some(destination) = Destination::decoded(&destination) else {
            let shown = maillog::shown(label);
            log::warn!("smtp_reuse_common: bad cached session attribute for {shown}");
            return None;
        };
        Some((destination, endpoint, connection))
    }

    /// Whether there may be connections with TLS.
    pub(crate) fn may_have_encrypted(&self) -> bool {
        !self.own.is_empty()
    }

    /// Takes a connection with TLS to an endpoint.
    pub(crate) fn of_encrypted(&self, label: &[u8]) -> Option<(Endpoint, Connection)> {
        let kept = self.own.find_endpoint(label)?;
        Some((endpoint(&kept.property)?, kept.connection))
    }
}

impl Connection {
    fn clear(wire: Wire) -> Self {
        Self { wire, protection: Protection::None, agreed: None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a change, for some time if there is one.
fn wait<'g, T>(changed: &Condvar, guard: MutexGuard<'g, T>, limit: Option<Duration>) -> MutexGuard<'g, T> {
    match limit {
        Some(limit) => changed.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0,
        None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
    }
}

fn endpoint(property: &[u8]) -> Option<Endpoint> {
    let decoded = Endpoint::decoded(property);
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
        // There is no TLS around it, but it may have been asked for.
        label.add(if level == Level::None { b"0" } else { b"1" });
        label.0
    }

    /// The label of a server that is talked to with TLS: whoever goes on with the connection must want the same of it.
    pub(crate) fn encrypted_label(&self, host: &str, address: &str, port: u16, terms: &Terms) -> Vec<u8> {
        let mut label = Label(self.endpoint_label(host, address, port, terms.level));
        if terms.level.demands_match() {
            label.add(self.destination.as_bytes());
            label.add(host.as_bytes());
        }
        label.add(terms.likeness.as_bytes());
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
            .int("tls_level", self.level)
            .int("reuse_count", self.reuses)
            .int("endpoint_features", self.features)
            .long("expire_time", self.expires)
            .finish()
    }

    fn decoded(property: &[u8]) -> Option<Self> {
        let mut input = property;
        let mut list = Decoder::plain(&mut input, "connection cache", Flags::NONE);
        let level = list.int("tls_level").ok()?;
        // One with TLS around it is in no state to be used here.
        (level <= Level::May.number()).then_some(())?;
        let reuses = list.int("reuse_count").ok()?;
        let features = list.int("endpoint_features").ok()?;
        let expires = list.long("expire_time").ok()?;
        Some(Self { level, reuses, features, expires })
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
        let endpoint = Endpoint { level: 1, reuses: 3, features: 0x8005, expires: 1_800_000_000 };
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
