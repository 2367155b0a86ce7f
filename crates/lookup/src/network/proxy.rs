//! `proxy:type:name`: a table that the proxymap service opens (spec tables 13, ipc 10).
//!
//! The client folds keys itself when UTF-8 checks are on, and tells the server not to.

use std::borrow::Cow;
use std::sync::{LazyLock, Mutex, PoisonError};

use config::printable;
use ipc::announce::Protocol;
use ipc::client::{Persistent, Timers};
use ipc::proxymap::{self, Opened, Status};

use crate::settings::{Settings, settings};
use crate::{Flags, Kind, LookupError, OpenError, Table, fold};

/// What the requestor of a look-up says.
pub(crate) const REQUEST_FLAGS: Flags =
    Flags::from_bits(1 | 2 | 64 | 128 | 256 | 2048 | 4096 | 8192 | 16384 | 32768 | 524_288);
/// What the table's type decides.
const IMPLEMENTATION_FLAGS: Flags = Flags::from_bits(16 | 32 | 262_144);
const PATTERN: Flags = Flags::from_bits(32);

/// All tables of a process share one connection.
static CONNECTION: LazyLock<Mutex<Option<Persistent>>> = LazyLock::new(Mutex::default);

/// The table.
#[derive(Debug)]
pub(crate) struct Proxy {
    name: String,
    table: Vec<u8>,
    service: String,
    flags: Flags,
    kind: Kind,
}

fn with_connection<T>(settings: &Settings, ask: impl FnOnce(&mut Persistent) -> T) -> T {
    let mut connection = CONNECTION.lock().unwrap_or_else(PoisonError::into_inner);
    let connection = connection.get_or_insert_with(|| {
        let relative = format!("private/{}", settings.proxymap_service_name);
        let path = if std::path::Path::new(&relative).exists() {
            relative
        } else {
            format!("{}/{relative}", settings.queue_directory)
        };
        let timers = Timers { timeout: settings.ipc_timeout, idle: settings.ipc_idle, ttl: settings.ipc_ttl };
        Persistent::new(&path, Protocol::PROXYMAP, timers)
    });
    ask(connection)
}

impl Proxy {
    pub(crate) fn open(reference: String, table: &[u8], flags: Flags) -> Result<Proxy, OpenError> {
        let settings =
            settings().ok_or_else(|| OpenError::new(format!("{reference}: no proxymap service is known")))?;
        let service = settings.proxymap_service_name.clone();
        let instance = flags.without(REQUEST_FLAGS).without(IMPLEMENTATION_FLAGS);
        let opened = Opened { table, instance_flags: instance.bits(), dialect: settings.dialect };
        let (status, bits) = with_connection(settings, |connection| proxymap::open(connection, &opened));
        let shown = printable(table);
        match status {
            Status::Ok => {}
            Status::Denied => {
                return Err(OpenError::new(format!(
                    "{service} service is not configured for table \"{shown}\""
                )));
            }
            _ => {
                return Err(OpenError::new(format!(
                    "{service} open failed for table \"{shown}\": invalid request"
                )));
            }
        }
        let implementation = bits & IMPLEMENTATION_FLAGS.bits();
        let kind = if Flags::from_bits(implementation).has(PATTERN) { Kind::Pattern } else { Kind::Fixed };
        Ok(Proxy { name: reference, table: table.to_vec(), service, flags, kind })
    }
}

impl Table for Proxy {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let settings = settings().ok_or(LookupError::Retry)?;
        let utf8 = self.flags.has(Flags::UTF8);
        let folds = match self.kind {
            Kind::Fixed => self.flags.has(Flags::FOLD_FIX),
            Kind::Pattern => self.flags.has(Flags::FOLD_MUL),
        };
        let (key, flags) = if utf8 {
            let key = if folds { Cow::Owned(fold(key, true)) } else { Cow::Borrowed(key) };
            (key, self.flags.without(Flags::FOLD_FIX).without(Flags::FOLD_MUL))
        } else {
            (Cow::Borrowed(key), self.flags)
        };
        let instance = self.flags.without(REQUEST_FLAGS).without(IMPLEMENTATION_FLAGS);
        let opened =
            Opened { table: &self.table, instance_flags: instance.bits(), dialect: settings.dialect };
        let (status, value) =
            with_connection(settings, |connection| proxymap::lookup(connection, &opened, flags.bits(), &key));
        match status {
            Status::Ok => Ok(Some(value)),
            Status::NoKey => Ok(None),
            Status::Retry => Err(LookupError::Retry),
            Status::Config => Err(LookupError::Config),
            Status::Bad => {
                let (table, key) = (printable(&self.table), printable(&key));
                log::error!(
                    "{} lookup failed for table \"{table}\" key \"{key}\": invalid request",
                    self.service
                );
                Err(LookupError::Config)
            }
            Status::Denied => {
                let table = printable(&self.table);
                log::error!("{} service is not configured for table \"{table}\"", self.service);
                Err(LookupError::Config)
            }
        }
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn name(&self) -> &str {
        &self.name
    }
}
