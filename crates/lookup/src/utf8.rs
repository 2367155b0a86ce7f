//! UTF-8 checks around a table, for callers with `smtputf8_enable` (spec tables 3).

use std::borrow::Cow;

use config::printable;

use crate::{Flags, Kind, LookupError, SequenceError, Table, VisitResult, fold};

const MALFORMED: &str = "malformed UTF-8 or invalid codepoint";

/// Tells of a key that is not UTF-8.
pub(crate) fn warn_of_key(name: &str, key: &[u8]) {
    log::warn!("{name}: non-UTF-8 key \"{}\": {MALFORMED}", printable(key));
}

/// A table that is neither asked for keys nor believed values that are not UTF-8.
#[derive(Debug)]
pub(crate) struct Utf8Checked {
    table: Box<dyn Table>,
    folds: bool,
}

impl Utf8Checked {
    pub(crate) fn new(table: Box<dyn Table>) -> Utf8Checked {
        Utf8Checked { table, folds: false }
    }

    /// Around a table that is made of tables: what its first member is decides whether the key is folded, for all
    /// members (observed).
    pub(crate) fn around_members(table: Box<dyn Table>, flags: Flags) -> Utf8Checked {
        let folds = match table.kind() {
            Kind::Fixed => flags.has(Flags::FOLD_FIX),
            Kind::Pattern => flags.has(Flags::FOLD_MUL),
        };
        Utf8Checked { table, folds }
    }
}

impl Table for Utf8Checked {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let name = self.table.name();
        if std::str::from_utf8(key).is_err() {
            warn_of_key(name, key);
            return Ok(None);
        }
        let key = if self.folds { Cow::Owned(fold(key, true)) } else { Cow::Borrowed(key) };
        let value = self.table.lookup(&key)?;
        match &value {
            Some(value) if std::str::from_utf8(value).is_err() => {
                let (key, value) = (printable(&key), printable(value));
                log::warn!("{name}: key \"{key}\": non-UTF-8 value \"{value}\": {MALFORMED}");
                Err(LookupError::Config)
            }
            _ => Ok(value),
        }
    }

    fn reason(&self) -> Option<String> {
        self.table.reason()
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

    fn checks_utf8(&self) -> bool {
        true
    }

    fn key_forms(&self) -> Flags {
        self.table.key_forms()
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), SequenceError> {
        self.table.each(visit)
    }

    fn results(&self, visit: VisitResult<'_>) {
        self.table.results(visit);
    }

    fn has_changed(&self) -> bool {
        self.table.has_changed()
    }
}
