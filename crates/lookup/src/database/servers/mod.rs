//! Servers that are asked over a socket: which one, by which connection, and what becomes of one that fails
//! (spec tables 15.2).
//!
//! The connections to the servers of one list are shared by all tables of the process that name the same servers and
//! the same login, and by its sessions. There are at most [`CONNECTION_LIMIT`] of them; who finds all of them taken waits
//! for one. They are opened by the look-ups that need them, long after the process was made, and closed a minute after
//! the last use. A server that fails is left alone for a minute: look-ups that have no other fail at once. Every wait is
//! bounded, a look-up as a whole too.

mod hosts;
mod pool;
#[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
pub(super) mod secure;
#[cfg(any(feature = "mysql", feature = "pgsql"))]
mod table;
mod wire;

use std::time::{Duration, Instant};

pub(super) use hosts::{Host, Place};
pub(super) use pool::{Failure, Servers};
#[cfg(any(feature = "mysql", feature = "pgsql"))]
pub(super) use table::ServerTable;
#[cfg(any(feature = "memcache", feature = "mysql", feature = "pgsql"))]
pub(super) use wire::NoWire;
pub(super) use wire::Wire;

/// Most connections of a process to the servers of one list.
const CONNECTION_LIMIT: usize = 10;

/// Longest times, where an engine has none of its own: of connecting with logging in, and of a look-up, all of its waits
/// together.
pub(super) const LIMITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// How to talk to an engine's servers, and with which login.
pub(super) trait Engine: std::fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The engine's name in messages.
    const NAME: &'static str;

    /// A connection, logged in. Dropping it takes leave.
    type Connection: std::fmt::Debug + Send;

    /// Connects; the error is what the engine's own library says.
    fn connect(&self, host: &Host, deadline: Instant) -> Result<Self::Connection, String>;

    /// Longest times: of connecting with logging in, and of a look-up, all of its waits together.
    fn limits(&self) -> (Duration, Duration) {
        LIMITS
    }

    /// What a failure to connect is told as, behind `warning: `.
    fn connect_failed(host: &Host, why: &str) -> String {
        format!("connect to {} server {}: {why}", Self::NAME, host.name)
    }

    /// Whether that is so because the server cannot be reached, and not because it refuses us.
    fn is_away(why: &str) -> bool;

    /// How loudly that is told.
    fn connect_failed_level(_why: &str) -> log::Level {
        log::Level::Warn
    }

    /// All that this process knows of servers of this kind.
    fn known() -> &'static pool::Known<Self>;

    /// Tells, where its client does so, that it is not known whether keys of a domain are looked up.
    fn domain_failed(_table: &str, _key: &[u8]) {}

    /// What a failed query is told as, behind `warning: `.
    fn query_failed(table: &str, host: &Host, why: &str) -> String;
}

/// A connection that queries are asked by.
#[cfg(any(feature = "mysql", feature = "pgsql"))]
pub(super) trait Connection {
    /// Appends a text as it may stand between single quotes.
    fn quote(&self, text: &[u8], out: &mut Vec<u8>);

    /// Asks a query, and tells each value of the answer until `each` says false.
    fn ask(
        &mut self,
        query: &[u8],
        deadline: Instant,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Failure>;
}

/// The name of whoever runs the process: the login where none is given.
#[cfg(any(feature = "mysql", feature = "pgsql"))]
pub(super) fn own_name() -> String {
    let own = sys::user::User::by_uid(sys::user::euid()).ok().flatten();
    own.map_or_else(|| "postgres".to_owned(), |user| user.name)
}
