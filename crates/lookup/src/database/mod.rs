//! Tables of database clients (spec tables 14, 15): SQLite, servers of MySQL's and PostgreSQL's kinds,
//! directories and memcached.
//!
//! A table is configured by a file in main.cf's form, `type:/etc/postfix/some.cf`, or, in the old way, by parameters of
//! main.cf itself: with `type:some`, the parameter `query` is main.cf's `some_query`. A key becomes a query, and each
//! value of the answer a part of the result: [`shape`] has what all of them have in common, by way of a [`template`].
//! [`servers`] are those that are asked over a socket.

#[cfg(feature = "ldap")]
mod ldap;
#[cfg(feature = "memcache")]
mod memcache;
#[cfg(feature = "mysql")]
mod mysql;
mod parameters;
#[cfg(feature = "pgsql")]
mod pgsql;
#[cfg(any(feature = "ldap", feature = "memcache", feature = "mysql", feature = "pgsql"))]
mod servers;
#[cfg_attr(
    not(any(feature = "ldap", feature = "mysql", feature = "pgsql", feature = "sqlite")),
    expect(dead_code, reason = "of memcached there is one value, and no answer to put together")
)]
mod shape;
#[cfg(feature = "sqlite")]
mod sqlite;
mod template;

#[cfg(feature = "ldap")]
pub(crate) use ldap::open as open_ldap;
#[cfg(feature = "ldap")]
pub use ldap::read_any as read_any_ldap;
#[cfg(feature = "memcache")]
pub(crate) use memcache::{open as open_memcache, open_for_changes as change_memcache};
#[cfg(feature = "mysql")]
pub(crate) use mysql::open as open_mysql;
use parameters::Parameters;
#[cfg(feature = "pgsql")]
pub(crate) use pgsql::open as open_pgsql;
use shape::Shape;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::Sqlite;
use template::{Address, Template};
