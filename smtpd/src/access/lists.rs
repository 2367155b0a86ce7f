//! Lookup tables and match lists as restrictions use them.

use std::collections::HashMap;
use std::sync::Arc;

use lookup::{Flags, KeyForm, LookupError, Maps, Opening};

use crate::access::compile::Open;
use crate::access::observer::LookupWatch;
use crate::access::policy::{PolicyDefaults, PolicyService};

/// A table that is the argument of a restriction.
#[derive(Debug)]
pub struct AccessTable {
    /// `type:name` as configured.
    pub name: String,
    maps: Maps,
    watch: Option<LookupWatch>,
}

impl AccessTable {
    /// Opens a table. What cannot be read is told by each lookup, as in Postfix.
    ///
    /// # Errors
    /// The text of a fatal line, for a table type that this server does not have.
    pub fn open(name: &str, utf8: bool) -> Result<Self, String> {
        check_type(name)?;
        let maps =
            Maps::open(name, name.as_bytes(), flags(utf8), Opening::Survive).map_err(|e| e.to_string())?;
        Ok(Self { name: name.to_string(), maps, watch: None })
    }

    /// Looks up a whole key, or a part of one.
    ///
    /// # Errors
    /// The table cannot tell; the log says why.
    pub fn find(&self, key: &[u8], form: KeyForm) -> Result<Option<Vec<u8>>, LookupError> {
        let found = self.maps.find(key, form);
        if let Some(watch) = &self.watch {
            watch.tell(&self.name, key, &found);
        }
        found
    }

    /// Whether the file behind it has changed.
    pub fn changed(&self) -> Option<&str> {
        self.maps.changed()
    }
}

/// Flags that smtpd opens its tables with.
pub fn flags(utf8: bool) -> Flags {
    let flags = Flags::LOCK.with(Flags::FOLD_FIX);
    if utf8 { flags.with(Flags::UTF8) } else { flags }
}

/// Opens the tables of a parameter. What cannot be read is told by each lookup, as in Postfix.
///
/// # Errors
/// The text of a fatal line, for a table type that this server does not have.
pub fn maps(name: &str, value: &str, utf8: bool) -> Result<Maps, String> {
    maps_with(name, value, flags(utf8))
}

/// As [`maps`], with flags of its own.
///
/// # Errors
/// The text of a fatal line, for a table type that this server does not have.
pub fn maps_with(name: &str, value: &str, flags: Flags) -> Result<Maps, String> {
    for word in config::list::words_with_groups(value.as_bytes()) {
        check_type(&String::from_utf8_lossy(word)).map_err(|error| format!("{name}: {error}"))?;
    }
    Maps::open(name, value.as_bytes(), flags, Opening::Survive).map_err(|error| error.to_string())
}

/// Refuses table types that are not there.
///
/// # Errors
/// The text of a fatal line.
pub fn check_type(name: &str) -> Result<(), String> {
    let kind = name.split(':').next().unwrap_or_default();
    if kind.is_empty() {
        // An IPv6 address without its brackets.
        return Err(format!("open dictionary: expecting \"type:name\" form instead of \"{name}\""));
    }
    if lookup::TYPES.contains(&kind) {
        Ok(())
    } else {
        Err(format!(
            "unsupported dictionary type: {kind} (in \"{name}\"); this server has {}",
            lookup::TYPES.join(", ")
        ))
    }
}

/// Every table that restrictions name, opened once.
#[derive(Debug)]
pub struct OpenTables {
    tables: HashMap<String, Arc<AccessTable>>,
    policies: HashMap<String, Arc<PolicyService>>,
    policy_defaults: PolicyDefaults,
    utf8: bool,
    watch: Option<LookupWatch>,
}

impl OpenTables {
    /// No tables so far.
    pub fn new(utf8: bool, policy_defaults: PolicyDefaults) -> Self {
        Self { tables: HashMap::new(), policies: HashMap::new(), policy_defaults, utf8, watch: None }
    }

    /// The same, with someone who is told of each look-up in tables that are opened from now on.
    #[must_use]
    pub fn watched(self, watch: Option<LookupWatch>) -> Self {
        Self { watch, ..self }
    }

    /// The name of a table whose file has changed.
    pub fn changed(&self) -> Option<&str> {
        self.tables.values().find_map(|table| table.changed())
    }
}

impl Open for OpenTables {
    fn table(&mut self, name: &str) -> Result<Arc<AccessTable>, String> {
        if let Some(table) = self.tables.get(name) {
            return Ok(Arc::clone(table));
        }
        let watch = self.watch.clone();
        let table = Arc::new(AccessTable { watch, ..AccessTable::open(name, self.utf8)? });
        self.tables.insert(name.to_string(), Arc::clone(&table));
        Ok(table)
    }

    fn policy(&mut self, text: &str) -> Result<Arc<PolicyService>, String> {
        if let Some(service) = self.policies.get(text) {
            return Ok(Arc::clone(service));
        }
        let service = Arc::new(PolicyService::parse(text, &self.policy_defaults)?);
        self.policies.insert(text.to_string(), Arc::clone(&service));
        Ok(service)
    }
}
