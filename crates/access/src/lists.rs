//! Lookup tables and match lists as restrictions use them.

use lookup::{Flags, Given, KeyForm, LookupError, Maps, Opening, ResultFault};

use crate::watch::LookupWatch;

/// A table that is the argument of a restriction.
#[derive(Debug)]
pub struct AccessTable {
    /// `type:name` as configured.
    pub name: String,
    /// Absent where no table can be: in braces, but for `check_ccert_access`.
    maps: Option<Maps>,
    watch: Option<LookupWatch>,
}

impl AccessTable {
    /// Opens a table. What cannot be opened is told by each lookup, as in Postfix.
    ///
    /// # Errors
    /// The text of a fatal line: `daemon_table_open_error_is_fatal`.
    pub fn open(name: &str, utf8: bool) -> Result<Self, String> {
        let maps =
            Maps::open(name, name.as_bytes(), flags(utf8), Opening::Survive).map_err(|e| e.to_string())?;
        Ok(Self { name: name.to_string(), maps: Some(maps), watch: None })
    }

    /// The same table, with someone who is told of each look-up.
    #[must_use]
    pub fn watched(self, watch: Option<LookupWatch>) -> Self {
        Self { watch, ..self }
    }

    /// A name that can be no table here.
    pub fn misplaced(name: &str) -> Self {
        Self { name: name.to_string(), maps: None, watch: None }
    }

    /// Whether it can be no table here.
    pub(crate) fn is_misplaced(&self) -> bool {
        self.maps.is_none()
    }

    /// Tells `check`, one of Postfix's functions, that it can be no table here.
    ///
    /// # Errors
    /// It can be none.
    pub fn expect(&self, check: &str) -> Result<(), LookupError> {
        if self.maps.is_some() {
            return Ok(());
        }
        log::warn!("{check}: unexpected dictionary: {}", self.name);
        Err(LookupError::Config)
    }

    /// Looks up a whole key, or a part of one.
    ///
    /// # Errors
    /// The table cannot tell; the log says why.
    pub fn find(&self, key: &[u8], form: KeyForm) -> Result<Option<Vec<u8>>, LookupError> {
        let found = match &self.maps {
            Some(maps) => maps.find(key, form),
            None => Err(LookupError::Config),
        };
        if let Some(watch) = &self.watch {
            watch.tell(&self.name, key, &found);
        }
        found
    }

    /// Its results that `judge` finds fault with; `title` is the parameter that names it.
    pub(crate) fn result_faults(
        &self,
        title: &str,
        judge: &dyn Fn(&Given<'_>) -> Option<String>,
    ) -> Vec<ResultFault> {
        self.maps.as_ref().map_or_else(Vec::new, |maps| maps.result_faults(title, judge))
    }

    /// Whether the file behind it has changed.
    pub fn changed(&self) -> Option<&str> {
        self.maps.as_ref().and_then(Maps::changed)
    }
}

/// Flags that smtpd opens its tables with.
pub fn flags(utf8: bool) -> Flags {
    let flags = Flags::LOCK.with(Flags::FOLD_FIX);
    if utf8 { flags.with(Flags::UTF8) } else { flags }
}

/// Opens the tables of a parameter. What cannot be opened is told by each lookup, as in Postfix.
///
/// # Errors
/// The text of a fatal line: `daemon_table_open_error_is_fatal`.
pub fn maps(name: &str, value: &str, utf8: bool) -> Result<Maps, String> {
    maps_with(name, value, flags(utf8))
}

/// As [`maps`], with flags of its own.
///
/// # Errors
/// The text of a fatal line: `daemon_table_open_error_is_fatal`.
pub fn maps_with(name: &str, value: &str, flags: Flags) -> Result<Maps, String> {
    Maps::open(name, value.as_bytes(), flags, Opening::Survive).map_err(|error| error.to_string())
}
