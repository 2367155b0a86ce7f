//! Lookup tables behind one trait, one module a table type, and the match lists made of them.
//!
//! A table is named `type:name`. [`open`] makes a [`Table`] of it; [`Maps`] is a list of tables as
//! `transport_maps` and its like hold it; [`AddressMaps`] asks such a list for an address in all forms that
//! Postfix tries, and [`Mapping`] puts what it finds in the address's place. [`list`] has the match lists: `mydestination`, `relay_domains`, `mynetworks`.
//!
//! ```
//! use lookup::{Flags, Opening, open};
//! let table = open(b"inline:{joe=local, ann=relay}", Flags::FOLD_FIX, Opening::FatalErrors).unwrap();
//! assert_eq!(table.lookup(b"JOE").unwrap(), Some(b"local".to_vec()));
//! assert_eq!(table.lookup(b"bob").unwrap(), None);
//! ```
//!
//! [`build`] makes index files. Types that stand on libraries are there once a program has called [`link_drivers`]. Types there are: [`TYPES`]. Any other is refused with Postfix's own text, `unsupported dictionary type: TYPE`: an error that ends a command, or, in a daemon that
//! survives it, a table whose every lookup is a temporary error (spec tables 2.2).

#![forbid(unsafe_code)]

mod address_maps;
mod approved;
pub mod base64;
pub mod berkeley;
pub mod build;
mod by_postmap;
pub mod changes;
mod cidr;
mod combined;
#[cfg(feature = "database")]
mod database;
pub mod debug;
mod drivers;
mod error;
mod extension;
mod faults;
mod indexed;
mod inline;
pub mod list;
mod mapping;
mod maps;
pub mod migration;
mod network;
mod nis;
mod open;
mod owner;
mod pattern;
mod registry;
mod results;
mod settings;
mod simple;
mod source;
mod surrogate;
mod system;
mod table;
mod texthash;
mod utf8;
mod watch;

use std::path::Path;

pub use address::fold;
pub use address_maps::{AddressMaps, Found, OwnDomains, Query};
pub use approved::Approved;
pub use drivers::link_drivers;
pub use error::{LookupError, OpenError, SequenceError};
pub use extension::Delimiter;
pub use faults::{OpenFault, Tell, gather, titled, unsupported};
pub use mapping::{Form, Mapping};
pub use maps::{KeyForm, Maps};
pub use network::ProxiedChanges;
pub use open::{Opening, TYPES, open};
pub use owner::Owner;
pub use registry::asks_others;
pub use results::{Given, ResultFault, Standing, VisitResult};
pub use settings::{configure, configure_to_examine, only_examines};
pub use table::{Flags, Kind, Table, VisitEntry};
pub use texthash::key_length;
pub use watch::{Asked, watched};

/// Readers of hostile bytes, for fuzzing.
#[doc(hidden)]
pub mod fuzz {
    #[cfg(feature = "ldap")]
    pub use crate::database::read_any_ldap as ldap;
    pub use crate::indexed::read_any as index_files;

    /// Reads `bytes` as a source of each type of rules, and looks up a few keys.
    pub fn rules(bytes: &[u8]) {
        use crate::Table;
        let Ok(lines) = crate::source::read(bytes, "fuzz") else { return };
        let cidr = crate::cidr::Cidr::compile(String::new(), "fuzz", &lines, crate::Flags::NONE);
        let regexp = crate::pattern::PatternTable::<crate::pattern::Regexp>::compile(
            String::new(),
            "fuzz",
            &lines,
            crate::Flags::NONE,
        );
        for key in [&b"192.0.2.1"[..], b"2001:db8::1", b"abcabc", bytes] {
            let _ = (cidr.lookup(key), regexp.lookup(key));
        }
    }
}

/// A file name as the bytes that it is.
pub(crate) fn path(name: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name))
}
