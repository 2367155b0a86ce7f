//! Blocking look-ups in the DNS, and names of clients.
//!
//! [`Resolver`] is a stub: it asks the name servers of `resolv.conf` over UDP, and over TCP what does not fit, and
//! tells records from the several kinds of failure; on demand it keeps answers for as long as these hold. [`client_name`] and [`host_addresses`] go through the system's
//! resolver, hosts file and all, where Postfix does.
//!
//! ```no_run
//! use dns::{Options, RecordType, Resolver};
//!
//! let resolver = Resolver::default();
//! match resolver.lookup(b"example.com", RecordType::Mx, Options::default(), None) {
//!     Ok(answer) => answer.records.iter().for_each(|record| println!("{record}")),
//!     Err(failure) => println!("{failure}"),
//! }
//! println!("{:?}", dns::client_name("127.0.0.1".parse().unwrap()).name);
//! ```

#![forbid(unsafe_code)]

mod cache;
mod client_name;
mod failure;
mod host;
pub mod message;
mod record;
mod resolv_conf;
mod resolver;
mod transport;

pub use client_name::{ClientName, Name, client_name};
pub use failure::{Failure, FailureKind};
pub use host::host_addresses;
pub use record::{Data, Record, RecordType};
pub use resolv_conf::ResolvConf;
pub use resolver::{Answer, Filter, Filtering, Options, Resolver, Search, TextOf};
