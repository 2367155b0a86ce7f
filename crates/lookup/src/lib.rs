//! Lookup tables behind one trait, one module a table type, and the match lists made of them.
//!
//! A table is named `type:name`. [`open`] makes a [`Table`] of it; [`Maps`] is a list of tables as
//! `transport_maps` and its like hold it; [`AddressMaps`] asks such a list for an address in all forms that
//! Postfix tries. [`list`] has the match lists: `mydestination`, `relay_domains`, `mynetworks`.
//!
//! ```
//! use lookup::{Flags, Opening, open};
//! let table = open(b"inline:{joe=local, ann=relay}", Flags::FOLD_FIX, Opening::FatalErrors).unwrap();
//! assert_eq!(table.lookup(b"JOE").unwrap(), Some(b"local".to_vec()));
//! assert_eq!(table.lookup(b"bob").unwrap(), None);
//! ```
//!
//! Types there are: texthash, inline, static, fail, unionmap, pipemap. Any other is refused with Postfix's
//! own text, `unsupported dictionary type: TYPE`: an error that ends a command, or, in a daemon that
//! survives it, a table whose every lookup is a temporary error (spec tables 2.2).

#![forbid(unsafe_code)]

mod address_maps;
mod combined;
mod error;
mod extension;
mod fold;
mod inline;
pub mod list;
mod maps;
mod open;
mod simple;
mod surrogate;
mod table;
mod texthash;
mod utf8;

pub use address_maps::{AddressMaps, Found, LocalDomains, Query};
pub use error::{LookupError, OpenError};
pub use extension::Delimiter;
pub use fold::fold;
pub use maps::{KeyForm, Maps};
pub use open::{Opening, TYPES, open};
pub use table::{Flags, Kind, Table};
