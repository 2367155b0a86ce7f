//! A list of tables, as parameters such as `transport_maps` hold it (spec tables 2.1).

use config::{list, printable};
use metrics::{Family, Fault};

use crate::{
    Flags, Given, Kind, LookupError, OpenError, Opening, ResultFault, Table, faults, open, results, watch,
};

/// Counts a look-up.
fn count(table: &dyn Table, answer: &Result<Option<Vec<u8>>, LookupError>) {
    let outcome = match answer {
        Ok(Some(_)) => "found",
        Ok(None) => "not found",
        Err(_) => "error",
    };
    metrics::count(Family::Lookups, &[table.name(), outcome]);
    match answer {
        Ok(_) => metrics::fault_over(Fault::Table, &table.name()),
        Err(error) => metrics::fault(Fault::Table, &table.name(), error),
    }
}

/// Tables that are asked in order; the first result counts.
#[derive(Debug)]
pub struct Maps {
    title: String,
    tables: Vec<Box<dyn Table>>,
}

/// Which tables of a list are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// The full key: all tables.
    Full,
    /// A part of it: tables with fixed keys only.
    Partial,
}

impl Maps {
    /// Opens the tables of `value`; `title` is the parameter's name.
    ///
    /// # Errors
    ///
    /// With [`Opening::FatalErrors`], that of the first table that cannot be opened.
    pub fn open(title: &str, value: &[u8], flags: Flags, opening: Opening) -> Result<Maps, OpenError> {
        let tables = faults::titled(title, || {
            list::words_with_groups(value)
                .map(|reference| open(reference, flags, opening))
                .collect::<Result<_, _>>()
        })?;
        Ok(Maps { title: title.to_owned(), tables })
    }

    /// The parameter's name.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether there are no tables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The first result for `key`; never empty.
    ///
    /// # Errors
    ///
    /// That of a table, or the table gave an empty result; it has been logged.
    pub fn find(&self, key: &[u8], form: KeyForm) -> Result<Option<Vec<u8>>, LookupError> {
        // The empty key is never looked up.
        if key.is_empty() {
            return Ok(None);
        }
        for table in &self.tables {
            if form == KeyForm::Partial && table.kind() == Kind::Pattern {
                continue;
            }
            let answer = table.lookup(key);
            count(&**table, &answer);
            watch::tell(&self.title, table.name(), key, &answer);
            match answer {
                Ok(None) => {}
                Ok(Some(value)) if value.is_empty() => {
                    let title = &self.title;
                    log::warn!("{title} lookup of {} returns an empty string result", printable(key));
                    log::warn!("{title} should return NO RESULT in case of NOT FOUND");
                    return Err(LookupError::Config);
                }
                Ok(Some(value)) => {
                    let (title, name) = (&self.title, table.name());
                    log::debug!("maps_find: {title}: {name}: {} = {}", printable(key), printable(&value));
                    return Ok(Some(value));
                }
                Err(error) => {
                    if !crate::settings::only_examines() {
                        log::warn!("{} lookup error for \"{}\"", table.name(), printable(key));
                    }
                    return Err(error);
                }
            }
        }
        if !self.tables.is_empty() {
            log::debug!("maps_find: {}: {}: not found", self.title, printable(key));
        }
        Ok(None)
    }

    /// Calls `visit` with the table's name, the key and the value of each entry until it says false; tables whose entries
    /// cannot be had one after the other have none.
    pub fn each(&self, mut visit: impl FnMut(&str, &[u8], &[u8]) -> bool) {
        let mut goes_on = true;
        for table in &self.tables {
            if goes_on {
                // A table that is broken is told of when it is opened or asked.
                let _ = table.each(&mut |key, value| {
                    goes_on = visit(table.name(), key, value);
                    goes_on
                });
            }
        }
    }

    /// The results of which `judge` says what is wrong with them: told of the parameter `title`. For who examines a
    /// configuration.
    #[must_use]
    pub fn result_faults(
        &self,
        title: &str,
        judge: &dyn Fn(&Given<'_>) -> Option<String>,
    ) -> Vec<ResultFault> {
        let each = |table: &dyn Table| results::faults(title, |visit| table.results(visit), judge);
        self.tables.iter().flat_map(|table| each(&**table)).collect()
    }

    /// The name of a table whose file has changed, if any.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        self.tables.iter().find(|table| table.has_changed()).map(|table| table.registered_name())
    }
}
