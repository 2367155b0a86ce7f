//! `proxy:type:name`: a table that the proxymap service opens (spec tables 13, ipc 10).
//!
//! Up to 3.10 the server has tables open without the flags that are a request's; each request says them, and the
//! client folds keys itself when UTF-8 checks are on, and tells the server not to. From 3.11 on the server does the rest
//! by the flags of the open call, and the client keeps for it what flags the table has (see [`ipc::proxymap`]); keys are
//! still the client's to fold (observed, 3.11.7).

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use config::printable;
use ipc::announce::Protocol;
use ipc::client::{Persistent, Timers};
use ipc::dialect::Dialect;
use ipc::proxymap::{self, Opened, Status};

use crate::changes::Changes;
use crate::settings::{Settings, settings};
use crate::{Flags, Kind, LookupError, OpenError, SequenceError, Table, VisitEntry, fold};

/// What the requestor of a look-up says.
pub(crate) const REQUEST_FLAGS: Flags =
    Flags::from_bits(1 | 2 | 64 | 128 | 256 | 2048 | 4096 | 8192 | 16384 | 32768 | 524_288);
/// What the table's type decides.
const IMPLEMENTATION_FLAGS: Flags = Flags::from_bits(16 | 32 | 262_144);
const PATTERN: Flags = Flags::from_bits(32);
/// From 3.11 on: the client has looked at the key and folded it (observed, 3.11.7).
const FOLDED: Flags = Flags::from_bits(1 << 20);

/// All tables of a process share one connection, and those that it changes another one.
static CONNECTION: LazyLock<Mutex<Option<Persistent>>> = LazyLock::new(Mutex::default);
static CHANGES: LazyLock<Mutex<Option<Persistent>>> = LazyLock::new(Mutex::default);

/// What is done with a table, which decides who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Look-ups: `proxymap_service_name`.
    Read,
    /// Changes: `proxywrite_service_name`.
    Write,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Proxy {
    name: String,
    table: Vec<u8>,
    service: String,
    flags: Flags,
    instance_flags: u32,
    /// Those that the server's latest reply told.
    table_flags: AtomicU32,
    /// Whether those are of a stand-in, or of a table that is broken: what the server has at the next request may be
    /// another one, and need other flags.
    broken: AtomicBool,
    dialect: Dialect,
}

fn service_name(settings: &Settings, access: Access) -> &str {
    match access {
        Access::Read => &settings.proxymap_service_name,
        Access::Write => &settings.proxywrite_service_name,
    }
}

/// Ends the process when the service does not come, as Postfix does.
fn with_connection<T>(settings: &Settings, access: Access, ask: impl FnOnce(&mut Persistent) -> T) -> T {
    let connection = match access {
        Access::Read => &CONNECTION,
        Access::Write => &CHANGES,
    };
    let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
    let connection = connection.get_or_insert_with(|| {
        let relative = format!("private/{}", service_name(settings, access));
        let path = if std::path::Path::new(&relative).exists() {
            relative
        } else {
            format!("{}/{relative}", settings.queue_directory)
        };
        let timers = Timers { timeout: settings.ipc_timeout, idle: settings.ipc_idle, ttl: settings.ipc_ttl };
        Persistent::new(&path, Protocol::PROXYMAP, timers)
    });
    if let Err(text) = connection.wait_for_service() {
        maillog::fatal(text);
    }
    ask(connection)
}

impl Proxy {
    pub(crate) fn open(reference: String, table: &[u8], flags: Flags) -> Result<Proxy, OpenError> {
        Proxy::open_for(Access::Read, reference, table, flags)
    }

    fn open_for(access: Access, reference: String, table: &[u8], flags: Flags) -> Result<Proxy, OpenError> {
        let settings =
            settings().ok_or_else(|| OpenError::new(format!("{reference}: no proxymap service is known")))?;
        let service = service_name(settings, access).to_owned();
        let dialect = settings.dialect;
        let instance_flags = if dialect.proxymap_tells_instance_flags() {
            flags.bits()
        } else {
            flags.without(REQUEST_FLAGS).without(IMPLEMENTATION_FLAGS).bits()
        };
        let proxy = Proxy {
            name: reference,
            table: table.to_vec(),
            service,
            flags,
            instance_flags,
            table_flags: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            dialect,
        };
        match with_connection(settings, access, |connection| proxy.open_table(connection)) {
            Status::Ok => Ok(proxy),
            Status::Denied => Err(OpenError::new(proxy.denied())),
            _ => {
                let (service, shown) = (&proxy.service, printable(table));
                Err(OpenError::new(format!("{service} open failed for table \"{shown}\": invalid request")))
            }
        }
    }

    fn opened(&self) -> Opened<'_> {
        Opened { table: &self.table, instance_flags: self.instance_flags, dialect: self.dialect }
    }

    fn open_table(&self, connection: &mut Persistent) -> Status {
        let (status, flags) = proxymap::open(connection, &self.opened());
        if status == Status::Ok {
            self.table_flags.store(flags, Ordering::Relaxed);
        }
        status
    }

    /// The key and the flags of the next request.
    fn prepared<'k>(&self, key: &'k [u8]) -> (Cow<'k, [u8]>, u32) {
        let folds = match self.kind() {
            _ if !self.flags.has(Flags::UTF8) => false,
            Kind::Fixed => self.flags.has(Flags::FOLD_FIX),
            Kind::Pattern => self.flags.has(Flags::FOLD_MUL),
        };
        let key = if folds { Cow::Owned(fold(key, true)) } else { Cow::Borrowed(key) };
        let mut flags = self.flags;
        if self.dialect.proxymap_tells_instance_flags() {
            flags = Flags::from_bits(self.table_flags.load(Ordering::Relaxed));
            flags = if self.flags.has(Flags::UTF8) { flags.with(FOLDED) } else { flags };
        }
        if self.flags.has(Flags::UTF8) {
            flags = flags.without(Flags::FOLD_FIX).without(Flags::FOLD_MUL);
        }
        (key, flags.bits())
    }

    fn denied(&self) -> String {
        format!("{} service is not configured for table \"{}\"", self.service, printable(&self.table))
    }
}

/// A table that the proxywrite service changes.
#[derive(Debug)]
pub struct ProxiedChanges(Proxy);

impl ProxiedChanges {
    /// Has the service open `table`, which is `type:name`.
    ///
    /// # Errors
    /// What the service says.
    pub fn open(table: &[u8], flags: Flags) -> Result<ProxiedChanges, OpenError> {
        let reference = format!("proxy:{}", printable(table));
        if table.is_empty() {
            let text = format!("open dictionary: expecting \"type:name\" form instead of \"{reference}\"");
            return Err(OpenError::new(text));
        }
        Proxy::open_for(Access::Write, reference, table, flags).map(ProxiedChanges)
    }

    /// Has the service do something with an entry; the flags that the table has then are kept.
    fn ask(
        &self,
        what: &str,
        key: &[u8],
        request: impl FnOnce(&mut Persistent, &Opened<'_>, u32, &[u8]) -> (Status, u32),
    ) -> Result<bool, LookupError> {
        let settings = settings().ok_or(LookupError::Retry)?;
        let proxy = &self.0;
        let (key, flags) = proxy.prepared(key);
        let (status, flags) = with_connection(settings, Access::Write, |connection| {
            request(connection, &proxy.opened(), flags, &key)
        });
        match status {
            Status::Ok | Status::NoKey => {
                if proxy.dialect.proxymap_tells_instance_flags() {
                    proxy.table_flags.store(flags, Ordering::Relaxed);
                }
                Ok(status == Status::Ok)
            }
            Status::Retry => Err(LookupError::Retry),
            Status::Config => Err(LookupError::Config),
            Status::Denied => {
                log::error!("{}", proxy.denied());
                Err(LookupError::Config)
            }
            Status::Bad => {
                let (table, key) = (printable(&proxy.table), printable(&key));
                log::error!(
                    "{} {what} failed for table \"{table}\" key \"{key}\": invalid request",
                    proxy.service
                );
                Err(LookupError::Config)
            }
        }
    }
}

impl Changes for ProxiedChanges {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let mut value = Vec::new();
        let is_there = self.ask("lookup", key, |connection, opened, flags, key| {
            let answer = proxymap::lookup(connection, opened, flags, key);
            value = answer.value;
            (answer.status, answer.flags)
        })?;
        Ok(is_there.then_some(value))
    }

    fn update(&self, key: &[u8], value: &[u8]) -> Result<(), LookupError> {
        let entry = |connection: &mut Persistent, opened: &Opened<'_>, flags, key: &[u8]| {
            proxymap::update(connection, opened, flags, (key, value))
        };
        self.ask("update", key, entry).map(drop)
    }

    fn delete(&self, key: &[u8]) -> Result<bool, LookupError> {
        self.ask("delete", key, proxymap::delete)
    }

    fn each(&self, visit: VisitEntry<'_>) -> Result<(), SequenceError> {
        let mut is_first = true;
        loop {
            let mut entry = (Vec::new(), Vec::new());
            let is_there = self.ask("sequence", b"", |connection, opened, flags, _| {
                let (status, found) = proxymap::sequence(connection, opened, flags, is_first);
                entry = found;
                (status, flags)
            });
            match is_there {
                Ok(true) if visit(&entry.0, &entry.1) => is_first = false,
                Ok(_) => return Ok(()),
                Err(_) => return Err(SequenceError::Unavailable),
            }
        }
    }
}

impl Table for Proxy {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let settings = settings().ok_or(LookupError::Retry)?;
        let (key, answer) = with_connection(settings, Access::Read, |connection| {
            if self.broken.swap(false, Ordering::Relaxed) {
                self.open_table(connection);
            }
            let (key, flags) = self.prepared(key);
            let answer = proxymap::lookup(connection, &self.opened(), flags, &key);
            (key, answer)
        });
        match answer.status {
            Status::Bad => {
                let (table, key) = (printable(&self.table), printable(&key));
                log::error!(
                    "{} lookup failed for table \"{table}\" key \"{key}\": invalid request",
                    self.service
                );
                return Err(LookupError::Config);
            }
            Status::Denied => {
                log::error!("{}", self.denied());
                return Err(LookupError::Config);
            }
            Status::Ok | Status::NoKey | Status::Retry | Status::Config => {}
        }
        if self.dialect.proxymap_tells_instance_flags() {
            self.table_flags.store(answer.flags, Ordering::Relaxed);
            let broken = matches!(answer.status, Status::Retry | Status::Config);
            self.broken.store(broken, Ordering::Relaxed);
        }
        match answer.status {
            Status::Ok => Ok(Some(answer.value)),
            Status::NoKey => Ok(None),
            Status::Config => Err(LookupError::Config),
            _ => Err(LookupError::Retry),
        }
    }

    fn kind(&self) -> Kind {
        if Flags::from_bits(self.table_flags.load(Ordering::Relaxed)).has(PATTERN) {
            Kind::Pattern
        } else {
            Kind::Fixed
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn checks_utf8(&self) -> bool {
        self.dialect.proxymap_tells_instance_flags()
    }
}
