//! Tables that are open: who names one again gets the same.
//!
//! A daemon opens a table once for each set of flags, whoever names it: `$mynetworks` in three parameters is one file
//! with one warning about its third line, and one that is not there is one `error:` line (observed, 3.7.11).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

#[cfg(doc)]
use crate::Opening;
use crate::{Flags, Kind, LookupError, OpenError, SequenceError, Table, VisitResult, faults};

/// An open table, and what was wrong with it or its members.
#[derive(Debug, Clone)]
struct Known {
    table: Arc<dyn Table>,
    faults: Vec<(String, String)>,
}

type Key = (Vec<u8>, u32);

static OPEN: LazyLock<Mutex<HashMap<Key, Known>>> = LazyLock::new(Mutex::default);

/// The table that was opened with this name and these flags, or the one that `open` makes.
pub(crate) fn shared(
    reference: &[u8],
    flags: Flags,
    open: impl FnOnce() -> Result<Box<dyn Table>, OpenError>,
) -> Result<Box<dyn Table>, OpenError> {
    let key = (reference.to_vec(), flags.bits());
    let known = OPEN.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    if let Some(Known { table, faults }) = known {
        for (table, why) in &faults {
            // Logged when it was opened.
            faults::note(table, why);
        }
        return Ok(Box::new(Shared(table)));
    }
    let (table, faults) = faults::recorded(open);
    let table: Arc<dyn Table> = table?.into();
    let known = Known { table: Arc::clone(&table), faults };
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, known);
    Ok(Box::new(Shared(table)))
}

/// Types whose tables ask another program, here or on another machine, and wait for its answer.
const ASKING: &[&str] = &["ldap", "memcache", "mysql", "nis", "pgsql", "proxy", "socketmap", "tcp", "unix"];

/// Whether a table of this process, or a member of one, asks other programs. Those that [`Opening::FatalErrors`] opened
/// are not known here.
#[must_use]
pub fn asks_others() -> bool {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).keys().any(|(reference, _)| is_asking(reference))
}

fn is_asking(reference: &[u8]) -> bool {
    let kind = reference.split(|byte| *byte == b':').next().unwrap_or_default();
    ASKING.iter().any(|asking| asking.as_bytes() == kind)
}

/// One of those who have the table.
#[derive(Debug)]
struct Shared(Arc<dyn Table>);

impl Table for Shared {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        self.0.lookup(key)
    }

    fn reason(&self) -> Option<String> {
        self.0.reason()
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn registered_name(&self) -> &str {
        self.0.registered_name()
    }

    fn checks_utf8(&self) -> bool {
        self.0.checks_utf8()
    }

    fn key_forms(&self) -> Flags {
        self.0.key_forms()
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        self.0.each(visit)
    }

    fn results(&self, visit: VisitResult<'_>) {
        self.0.results(visit);
    }

    fn has_changed(&self) -> bool {
        self.0.has_changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opening, open};

    #[test]
    fn members_that_ask_are_found() {
        for (reference, asks) in [
            ("tcp:127.0.0.1:1", true),
            ("proxy:hash:/x", true),
            ("hash:/tcp:", false),
            ("unionmap:{inline:{a=b}, tcp:x}", false),
        ] {
            assert_eq!(is_asking(reference.as_bytes()), asks, "{reference}");
        }
        let flags = Flags::LOCK;
        assert!(open(b"pipemap:{inline:{a=b}, tcp:127.0.0.1:1}", flags, Opening::Survive).is_ok());
        assert!(asks_others());
    }
}
