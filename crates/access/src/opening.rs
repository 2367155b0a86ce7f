//! The tables and policy services that restrictions name, each opened once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::argument::Argument;
use crate::compile::{self, Open};
use crate::fingerprint;
use crate::lists::AccessTable;
use crate::policy::settings::PolicyService;
use crate::settings::policy::PolicyDefaults;
use crate::watch::LookupWatch;

/// Every table that restrictions name, opened once.
#[derive(Debug)]
pub(crate) struct OpenTables {
    tables: HashMap<(String, Standing), Arc<AccessTable>>,
    policies: HashMap<String, Arc<PolicyService>>,
    policy_defaults: PolicyDefaults,
    utf8: bool,
    watch: Option<LookupWatch>,
    /// The first table that had to be there.
    fatal: Option<String>,
}

impl OpenTables {
    /// No tables so far.
    pub(crate) fn new(utf8: bool, policy_defaults: PolicyDefaults) -> Self {
        Self {
            tables: HashMap::new(),
            policies: HashMap::new(),
            policy_defaults,
            utf8,
            watch: None,
            fatal: None,
        }
    }

    /// Opens what a list names.
    ///
    /// # Errors
    /// The text of a fatal line: a policy service that cannot be read, `daemon_table_open_error_is_fatal`.
    pub(crate) fn open_all(&mut self, text: &str) -> Result<(), String> {
        compile::open_all(text, self)?;
        self.fatal.take().map_or(Ok(()), Err)
    }

    /// The same, with someone who is told of each look-up in tables that are opened from now on.
    #[must_use]
    pub(crate) fn watched(self, watch: Option<LookupWatch>) -> Self {
        Self { watch, ..self }
    }

    /// The tables that are open, sorted by their names.
    pub(crate) fn all(&self) -> Vec<&AccessTable> {
        let mut all: Vec<_> = self.tables.values().map(|table| &**table).collect();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The name of a table whose file has changed.
    pub(crate) fn changed(&self) -> Option<&str> {
        self.tables.values().find_map(|table| table.changed())
    }
}

/// Whether a name can be one of a table where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Standing {
    Table,
    Misplaced,
}

impl OpenTables {
    fn opened(&mut self, name: &str, standing: Standing) -> Arc<AccessTable> {
        let key = (name.to_string(), standing);
        if let Some(table) = self.tables.get(&key) {
            return Arc::clone(table);
        }
        let opened = match standing {
            Standing::Misplaced => AccessTable::misplaced(name),
            Standing::Table => AccessTable::open(name, self.utf8).unwrap_or_else(|error| {
                self.fatal.get_or_insert(error);
                AccessTable::misplaced(name)
            }),
        };
        let table = Arc::new(opened.watched(self.watch.clone()));
        self.tables.insert(key, Arc::clone(&table));
        table
    }
}

impl Open for OpenTables {
    fn table(&mut self, name: &str) -> Arc<AccessTable> {
        let place = if name.starts_with('{') { Standing::Misplaced } else { Standing::Table };
        self.opened(name, place)
    }

    fn fingerprints(&mut self, text: &str) -> Result<Argument, String> {
        let (name, order) = fingerprint::argument(text)?;
        // In braces once more it is a table, if of a strange type.
        Ok(Argument::Fingerprints { table: self.opened(&name, Standing::Table), order })
    }

    fn is_over(&self) -> bool {
        self.fatal.is_some()
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
