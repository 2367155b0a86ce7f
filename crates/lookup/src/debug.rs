//! `debug:type:name`: a table that logs what it is asked and what it answers (Postfix 3.11).

use config::printable;

use crate::changes::Changes;
use crate::{Flags, Kind, LookupError, SequenceError, Table, VisitEntry, VisitResult};

/// A table around the one that answers.
#[derive(Debug)]
pub(crate) struct Debug {
    table: Box<dyn Table>,
    /// What stands behind `debug:`.
    shown: String,
    /// With `debug:` before it.
    name: String,
}

impl Debug {
    pub(crate) fn new(table: Box<dyn Table>, shown: String) -> Debug {
        Debug { table, name: format!("debug:{shown}"), shown }
    }
}

/// The table inside of tables of type `debug`, and how those call what they hold, the innermost first.
#[must_use]
pub fn watched_by(reference: &[u8]) -> (&[u8], Vec<String>) {
    let mut inner = reference;
    let mut watchers = Vec::new();
    while let Some(held) = inner.strip_prefix(b"debug:") {
        watchers.insert(0, printable(held));
        inner = held;
    }
    (inner, watchers)
}

/// An entry that is added.
#[must_use]
pub fn update(key: &[u8], value: &[u8]) -> String {
    format!("update: \"{}\" = \"{}\"", printable(key), printable(value))
}

/// An entry that goes.
#[must_use]
pub fn deletion(key: &[u8]) -> String {
    format!("delete: \"{}\"", printable(key))
}

/// What has become of a change: there was something to do, there was not, the table is broken.
pub const SUCCESS: &str = "success";
/// The second.
pub const FAILED: &str = "failed";
/// The third.
pub const ERROR: &str = "error";

/// Logs what has become of a change, in the name of each.
pub fn tell(watchers: &[String], deed: &str, end: &str) {
    for shown in watchers {
        log::info!("{shown} {deed}: {end}");
    }
}

/// Logs what a look-up has found, in the name of each.
pub fn tell_lookup<E>(watchers: &[String], key: &[u8], answer: Result<Option<&[u8]>, E>) {
    for shown in watchers {
        let told = match &answer {
            Ok(Some(value)) => printable(value),
            Ok(None) => "not_found".to_owned(),
            Err(_) => "error".to_owned(),
        };
        log::info!("{shown} lookup: \"{}\" = \"{told}\"", printable(key));
    }
}

/// Logs an entry of a listing, or that there is no more, in the name of each.
pub fn tell_entry(watchers: &[String], entry: Option<(&[u8], &[u8])>) {
    for shown in watchers {
        match entry {
            Some((key, value)) => {
                log::info!("{shown} sequence: \"{}\" = \"{}\"", printable(key), printable(value));
            }
            None => log::info!("{shown} sequence: found EOF"),
        }
    }
}

fn tell_each(
    shown: &String,
    visit: VisitEntry<'_>,
    each: impl FnOnce(VisitEntry<'_>) -> Result<(), SequenceError>,
) -> Result<(), SequenceError> {
    let watchers = std::slice::from_ref(shown);
    let mut stopped = false;
    let listed = each(&mut |key, value| {
        tell_entry(watchers, Some((key, value)));
        stopped = !visit(key, value);
        !stopped
    });
    match &listed {
        Err(SequenceError::NotSupported) => {}
        // A table that fails says the same (observed with 3.11.7).
        _ if !stopped => tell_entry(watchers, None),
        _ => {}
    }
    listed
}

impl Table for Debug {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let answer = self.table.lookup(key);
        tell_lookup(std::slice::from_ref(&self.shown), key, answer.as_ref().map(Option::as_deref));
        answer
    }

    fn each(&self, visit: VisitEntry<'_>) -> Result<(), SequenceError> {
        tell_each(&self.shown, visit, |visit| self.table.each(visit))
    }

    fn reason(&self) -> Option<String> {
        self.table.reason()
    }

    fn kind(&self) -> Kind {
        self.table.kind()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn registered_name(&self) -> &str {
        self.table.registered_name()
    }

    /// The table inside does, so that the log shows what came of it.
    fn checks_utf8(&self) -> bool {
        true
    }

    fn key_forms(&self) -> Flags {
        self.table.key_forms()
    }

    fn results(&self, visit: VisitResult<'_>) {
        self.table.results(visit);
    }

    fn has_changed(&self) -> bool {
        self.table.has_changed()
    }
}

/// A table that is changed, around the one that has the entries.
#[derive(Debug)]
pub(crate) struct Watched {
    table: Box<dyn Changes>,
    /// What stands behind `debug:`.
    shown: String,
}

impl Watched {
    pub(crate) fn new(table: Box<dyn Changes>, shown: String) -> Watched {
        Watched { table, shown }
    }

    fn tell(&self, deed: &str, end: &str) {
        tell(std::slice::from_ref(&self.shown), deed, end);
    }
}

impl Changes for Watched {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let answer = self.table.lookup(key);
        tell_lookup(std::slice::from_ref(&self.shown), key, answer.as_ref().map(Option::as_deref));
        answer
    }

    fn update(&self, key: &[u8], value: &[u8]) -> Result<(), LookupError> {
        let outcome = self.table.update(key, value);
        self.tell(&update(key, value), if outcome.is_ok() { SUCCESS } else { ERROR });
        outcome
    }

    fn delete(&self, key: &[u8]) -> Result<bool, LookupError> {
        let outcome = self.table.delete(key);
        let end = match outcome {
            Ok(true) => SUCCESS,
            Ok(false) => FAILED,
            Err(_) => ERROR,
        };
        self.tell(&deletion(key), end);
        outcome
    }

    fn each(&self, visit: VisitEntry<'_>) -> Result<(), SequenceError> {
        tell_each(&self.shown, visit, |visit| self.table.each(visit))
    }

    fn reason(&self) -> Option<String> {
        self.table.reason()
    }
}
