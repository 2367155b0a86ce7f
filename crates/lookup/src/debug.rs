//! `debug:type:name`: a table that logs what it is asked and what it answers (Postfix 3.11).

use config::printable;

use crate::{Flags, Kind, LookupError, SequenceError, Table, VisitResult};

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

impl Table for Debug {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let answer = self.table.lookup(key);
        let told = match &answer {
            Ok(Some(value)) => printable(value),
            Ok(None) => "not_found".to_owned(),
            Err(_) => "error".to_owned(),
        };
        log::info!("{} lookup: \"{}\" = \"{told}\"", self.shown, printable(key));
        answer
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        let mut stopped = false;
        let listed = self.table.each(&mut |key, value| {
            log::info!("{} sequence: \"{}\" = \"{}\"", self.shown, printable(key), printable(value));
            stopped = !visit(key, value);
            !stopped
        });
        match &listed {
            Err(SequenceError::NotSupported) => {}
            // A table that fails says the same (observed with 3.11.7).
            _ if !stopped => log::info!("{} sequence: found EOF", self.shown),
            _ => {}
        }
        listed
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
