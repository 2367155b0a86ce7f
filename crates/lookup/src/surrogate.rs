//! The stand-in for a table that could not be opened (spec tables 2.2).

use crate::{Kind, LookupError, OpenError, SequenceError, Table, faults};

/// What stands before the name of a file in a list that cannot be read.
pub(crate) const NOT_THERE: &str = "non-existent:";

/// Logs why the table is not there, at each lookup, and answers with a temporary error.
#[derive(Debug)]
pub(crate) struct Surrogate {
    name: String,
    why: OpenError,
}

impl Surrogate {
    /// Logs the error as it takes the table's place.
    pub(crate) fn new(name: String, why: OpenError) -> Surrogate {
        if faults::note(name.strip_prefix(NOT_THERE).unwrap_or(&name), &why.to_string()) {
            log::error!("{why}");
        }
        Surrogate { name, why }
    }

    /// Who only examines a configuration has been told of the table itself.
    fn warn(&self) {
        if !crate::settings::only_examines() {
            log::warn!("{} is unavailable. {}", self.name, self.why);
        }
    }
}

impl Table for Surrogate {
    fn lookup(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        self.warn();
        Err(LookupError::Retry)
    }

    fn each(&self, _visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        self.warn();
        Err(SequenceError::Unavailable)
    }

    fn kind(&self) -> Kind {
        Kind::Pattern
    }

    fn name(&self) -> &str {
        &self.name
    }
}
