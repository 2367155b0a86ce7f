//! UTF-8 checks around a table, for callers with `smtputf8_enable` (spec tables 3).

use config::printable;

use crate::{Kind, LookupError, SequenceError, Table};

const MALFORMED: &str = "malformed UTF-8 or invalid codepoint";

/// A table that is neither asked for keys nor believed values that are not UTF-8.
#[derive(Debug)]
pub(crate) struct Utf8Checked {
    table: Box<dyn Table>,
}

impl Utf8Checked {
    pub(crate) fn new(table: Box<dyn Table>) -> Utf8Checked {
        Utf8Checked { table }
    }
}

impl Table for Utf8Checked {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let name = self.table.name();
        if std::str::from_utf8(key).is_err() {
            log::warn!("{name}: non-UTF-8 key \"{}\": {MALFORMED}", printable(key));
            return Ok(None);
        }
        let value = self.table.lookup(key)?;
        match &value {
            Some(value) if std::str::from_utf8(value).is_err() => {
                let (key, value) = (printable(key), printable(value));
                log::warn!("{name}: key \"{key}\": non-UTF-8 value \"{value}\": {MALFORMED}");
                Err(LookupError::Config)
            }
            _ => Ok(value),
        }
    }

    fn kind(&self) -> Kind {
        self.table.kind()
    }

    fn name(&self) -> &str {
        self.table.name()
    }

    fn registered_name(&self) -> &str {
        self.table.registered_name()
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        self.table.each(visit)
    }

    fn has_changed(&self) -> bool {
        self.table.has_changed()
    }
}
