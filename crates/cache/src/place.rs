//! Where a table is.

use config::{Config, Error, Globals};
use lookup::build::Sizes;
use lookup::{changes, debug};

use crate::{Table, owner};

/// In front of a table's type. It is passed over: no other process has the file open, and it is opened before the jail.
const PROXY: &str = "proxy:";
/// The types that can be written.
const TYPES: [&str; 3] = ["hash", "btree", "lmdb"];

/// Postfix's type of a table that its process keeps for itself.
const IN_MEMORY: &str = "internal";

/// What keeps the entries of a cache.
#[derive(Debug)]
pub(crate) enum Store<'a> {
    Memory,
    File {
        kind: &'a str,
        name: &'a str,
    },
    /// A server, entry by entry.
    Served,
    /// Memory, for this reason.
    Unusable(String),
}

/// What a parameter says of a table.
#[derive(Debug, Clone)]
pub struct Place {
    /// [`PROXY`], if it stands there, and tables of type `debug`.
    pub(crate) front: String,
    /// How those call what they hold, the innermost first.
    pub(crate) watchers: Vec<String>,
    /// `type:name` behind that, or nothing: in memory.
    pub(crate) map: String,
    pub(crate) sizes: Sizes,
}

impl Place {
    /// Reads the parameter, which may leave out the type.
    ///
    /// # Errors
    /// It has no value, or one without a type or a name, or no table can be in the place of one that is not made any
    /// more.
    pub fn new(config: &Config, parameter: &str) -> Result<Self, Error> {
        let sizes = Sizes { lmdb_map_size: config.globals().lmdb_map_size.unsigned_abs() };
        let map = config.text(parameter)?;
        let map = map.trim();
        if map.starts_with(':') || map == PROXY {
            return Err(Error::new(format!(
                "open dictionary: expecting \"type:name\" form instead of \"{map}\""
            )));
        }
        let (inner, watchers) = debug::watched_by(map.strip_prefix(PROXY).unwrap_or(map).as_bytes());
        let (front, map) = map.split_at(map.len() - inner.len());
        Ok(Self { front: front.to_owned(), watchers, map: located(config, map)?, sizes })
    }

    /// Why it will be in memory only, as far as that can be told without making the file.
    pub fn complaint(&self) -> Option<String> {
        let memory = "the cache is in memory";
        match self.store() {
            Store::Memory | Store::Served => None,
            Store::Unusable(why) => {
                let (map, types) = (&self.map, TYPES.join(", "));
                Some(format!("{map}: {why}; this program writes tables of the types {types}; {memory}"))
            }
            Store::File { kind, name } => {
                let error = std::fs::metadata(owner::directory_of(name)).err()?;
                let suffix = if kind == "lmdb" { "lmdb" } else { "db" };
                let why = sys::error_text(&error);
                Some(format!("{}: open database {name}.{suffix}: {why}; {memory}", self.map))
            }
        }
    }

    /// What keeps the entries.
    pub(crate) fn store(&self) -> Store<'_> {
        let map = &self.map;
        let Some((kind, name)) = map.split_once(':').filter(|(kind, _)| *kind != IN_MEMORY) else {
            return Store::Memory;
        };
        if TYPES.contains(&kind) {
            Store::File { kind, name }
        } else if changes::are_served(kind.as_bytes()) {
            Store::Served
        } else if lookup::TYPES.contains(&kind) {
            Store::Unusable(format!("{map} map requires O_RDONLY access mode"))
        } else {
            Store::Unusable(format!("unsupported dictionary type: {kind}"))
        }
    }

    /// Opens the table as the mail owner, whose file it is, before the jail, which has it out of sight.
    ///
    /// # Errors
    /// The text of a fatal line: that owner's identity cannot be taken.
    pub fn open(&self, globals: &Globals) -> Result<Table, String> {
        let map = match self.store() {
            Store::File { .. } => {
                owner::in_own_directory(&self.map, &globals.accounts, &globals.data_directory)
            }
            // A file that says where a server is, is not changed.
            Store::Memory | Store::Served | Store::Unusable(_) => self.map.clone(),
        };
        let place = Self { map, ..self.clone() };
        owner::as_owner(&globals.accounts, || Table::open(&place))
            .map_err(|error| format!("set effective user: {error}"))
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
