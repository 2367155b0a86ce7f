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
