//! Where a table is.

use config::{Config, Error, Globals};
use lookup::build::Sizes;

use crate::{Table, owner};

/// What a parameter says of a table.
#[derive(Debug, Clone)]
pub struct Place {
    /// The parameter.
    pub(crate) parameter: &'static str,
    /// `type:name`; empty is in memory.
    pub(crate) map: String,
    pub(crate) sizes: Sizes,
}

impl Place {
    /// Reads the parameter, which may leave out the type.
    ///
    /// # Errors
    /// It has no value, or no table can be in the place of one that is not made any more.
    pub fn new(config: &Config, parameter: &'static str) -> Result<Self, Error> {
        let sizes = Sizes { lmdb_map_size: config.globals().lmdb_map_size.unsigned_abs() };
        Ok(Self { parameter, map: located(config, parameter)?, sizes })
    }

    /// Opens the table as the mail owner, whose file it is, before the jail, which has it out of sight.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(&self, globals: &Globals) -> Result<Table, String> {
        let map = owner::in_own_directory(&self.map, &globals.accounts, &globals.data_directory);
        let place = Self { map, ..self.clone() };
        owner::as_owner(&globals.accounts, || Table::open(&place))
            .map_err(|error| format!("set effective user: {error}"))?
    }
}

/// The value, with the default type when it has none.
fn located(config: &Config, parameter: &str) -> Result<String, Error> {
    let map = config.text(parameter)?;
    let map = map.trim();
    if map.is_empty() {
        return Ok(String::new());
    }
    let map = match map.contains(':') {
        true => map.to_owned(),
        false => format!("{}:{map}", config.text("default_database_type")?),
    };
    // A table of Berkeley DB's types may have become another.
    let made = map.split_once(':').map(|(kind, name)| {
        lookup::migration::to_make(kind.as_bytes(), name.as_bytes())
            .map_err(|error| Error::new(error.to_string()))
    });
    let made = made.transpose()?.flatten();
    Ok(made.map_or(map, |made| String::from_utf8_lossy(&made).into_owned()))
}
