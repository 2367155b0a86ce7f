//! Where a table is.

use config::{Config, Error, Globals};
use lookup::build::Sizes;

use crate::{Table, owner};

/// In front of a table's type. It is passed over: no other process has the file open, and it is opened before the jail.
const PROXY: &str = "proxy:";
/// The types that can be written.
const TYPES: [&str; 3] = ["hash", "btree", "lmdb"];

/// What a parameter says of a table.
#[derive(Debug, Clone)]
pub struct Place {
    pub(crate) parameter: &'static str,
    /// [`PROXY`], if it stands there.
    pub(crate) proxy: &'static str,
    /// `type:name` behind that; empty is in memory.
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
        let map = config.text(parameter)?;
        let map = map.trim();
        let (proxy, map) = map.strip_prefix(PROXY).map_or(("", map), |map| (PROXY, map));
        Ok(Self { parameter, proxy, map: located(config, map)?, sizes })
    }

    /// Whether it could be opened, as far as that can be told without doing it.
    ///
    /// # Errors
    /// The text of a fatal line: the table is of a type that cannot be written.
    pub fn check(&self) -> Result<(), String> {
        self.parts().map(drop)
    }

    /// Type and name, or nothing for a cache in memory.
    pub(crate) fn parts(&self) -> Result<Option<(&str, &str)>, String> {
        let Self { parameter, map, .. } = self;
        if map.is_empty() {
            return Ok(None);
        }
        let (kind, name) =
            map.split_once(':').ok_or_else(|| format!("need type:name instead of \"{map}\""))?;
        if !TYPES.contains(&kind) {
            return Err(format!(
                "{parameter} = {map}: this server writes tables of the types {} only; or set \
                 {parameter} to nothing: the cache is in memory then",
                TYPES.join(", ")
            ));
        }
        Ok(Some((kind, name)))
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
fn located(config: &Config, map: &str) -> Result<String, Error> {
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
