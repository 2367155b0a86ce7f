//! The table types that stand on a library of their own: clients of databases with their TLS, SQLite, PCRE2.
//!
//! A program has them in it when it says [`link_drivers`]; the linker leaves them out of one that does not. Those are the
//! commands that are set-gid and their caller, which are started for each message: a smaller program has less in it that
//! could be wrong, and starts sooner. Should their configuration name such a table all the same, postmap is asked.

use std::sync::OnceLock;

use config::printable;

use crate::by_postmap::ByPostmap;
use crate::error::Blame;
#[cfg(feature = "pcre")]
use crate::pattern::{PatternTable, Pcre};
use crate::settings::settings;
use crate::{Flags, OpenError, Opening, TYPES, Table};

type Opened = Result<Box<dyn Table>, OpenError>;

/// A table type, and what opens a table: its `type:name`, its name, how, and how deep it is in other tables.
struct Driver {
    kind: &'static str,
    open: fn(String, &[u8], (Flags, Opening), usize) -> Opened,
}

const ALL: &[Driver] = &[
    #[cfg(feature = "ldap")]
    Driver {
        kind: "ldap",
        open: |shown, name, how, _| crate::database::open_ldap(shown, name, how.0, how.1),
    },
    #[cfg(feature = "memcache")]
    Driver { kind: "memcache", open: crate::database::open_memcache },
    #[cfg(feature = "mysql")]
    Driver {
        kind: "mysql",
        open: |shown, name, how, _| crate::database::open_mysql(shown, name, how.0, how.1),
    },
    #[cfg(feature = "pcre")]
    Driver {
        kind: "pcre",
        open: |shown, name, how, _| Ok(Box::new(PatternTable::<Pcre>::open(shown, name, how.0)?)),
    },
    #[cfg(feature = "pgsql")]
    Driver {
        kind: "pgsql",
        open: |shown, name, how, _| crate::database::open_pgsql(shown, name, how.0, how.1),
    },
    #[cfg(feature = "sqlite")]
    Driver {
        kind: "sqlite",
        open: |shown, name, how, _| Ok(Box::new(crate::database::Sqlite::open(shown, name, how.0, how.1)?)),
    },
];

static LINKED: OnceLock<&'static [Driver]> = OnceLock::new();

/// Has the drivers linked into this program. They are there from the first call on.
pub fn link_drivers() {
    let _ = LINKED.set(ALL);
}

fn linked() -> &'static [Driver] {
    #[cfg(test)]
    link_drivers();
    LINKED.get().copied().unwrap_or_default()
}

/// Opens a table of a driver's type.
pub(crate) fn open(kind: &[u8], shown: String, name: &[u8], how: (Flags, Opening), depth: usize) -> Opened {
    if let Some(driver) = linked().iter().find(|driver| driver.kind.as_bytes() == kind) {
        return (driver.open)(shown, name, how, depth);
    }
    if TYPES.iter().any(|known| known.as_bytes() == kind) {
        return Ok(Box::new(ByPostmap::new(shown, kind, name, how.0)));
    }
    Err(unsupported(kind))
}

/// Nobody has this type. From 3.10 on Debian's says, too, which package may have it (observed, 3.10.3 and 3.11.7).
pub(crate) fn unsupported(kind: &[u8]) -> OpenError {
    let kind = printable(kind);
    if settings().is_some_and(|known| known.dialect.names_packages() && !known.only_examines) {
        log::warn!("unsupported dictionary type: {kind}. Is the postfix-{kind} package installed?");
    }
    Blame::Type.of(format!("unsupported dictionary type: {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::StringList;
    use crate::{Tell, gather, unsupported};

    /// Types that may be left out of a build, and whether this one has them. `make check` runs it without any.
    const OPTIONAL: [(&str, bool); 6] = [
        ("ldap", cfg!(feature = "ldap")),
        ("memcache", cfg!(feature = "memcache")),
        ("mysql", cfg!(feature = "mysql")),
        ("pcre", cfg!(feature = "pcre")),
        ("pgsql", cfg!(feature = "pgsql")),
        ("sqlite", cfg!(feature = "sqlite")),
    ];

    #[test]
    fn types_that_are_left_out_are_told_once_for_each_table() {
        for (kind, is_there) in OPTIONAL {
            assert_eq!(TYPES.contains(&kind), is_there, "{kind}");
            assert_eq!(ALL.iter().any(|driver| driver.kind == kind), is_there, "{kind}");
            let table = format!("{kind}:/nowhere/left_out");
            for reference in [
                table.clone(),
                format!("proxy:{table}"),
                format!("unionmap:{{static:x,{table}}}"),
                format!("pipemap:{{{table},static:x}}"),
            ] {
                assert_eq!(unsupported(reference.as_bytes()).is_none(), is_there, "{reference}");
                if is_there {
                    continue;
                }
                // As proxymap opens it, which stands behind `proxy:`.
                let flags = Flags::LOCK.with(Flags::NO_PROXY);
                let open = || crate::open(reference.as_bytes(), flags, Opening::Survive);
                let (opened, faults) = gather(Tell::Nothing, open);
                assert!(opened.unwrap().lookup(b"key").is_err(), "{reference}");
                let told: Vec<_> = faults.iter().map(crate::OpenFault::told).collect();
                let named = if reference.starts_with("proxy:") { &reference } else { &table };
                let line =
                    format!("{named}: unsupported dictionary type: {kind}; this program has btree, cdb, ");
                assert!(told.len() == 1 && told[0].starts_with(&line), "{reference}: {told:?}");
            }
            if !is_there {
                let open = || StringList::open("left_out", table.as_bytes(), Opening::Survive);
                let (list, faults) = gather(Tell::Nothing, open);
                assert!(list.unwrap().matches(b"key").is_err(), "{table}");
                assert_eq!((faults.len(), faults[0].title.as_str()), (1, "left_out"), "{table}");
            }
        }
    }
}
