//! A look at the look-ups in access tables.

use std::fmt;
use std::sync::Arc;

use lookup::LookupError;

/// What is done when an access table was asked: its name, the key, the result.
type Told = dyn Fn(&str, &[u8], &Result<Option<Vec<u8>>, LookupError>) + Send + Sync;

/// Is told of each look-up in an access table.
#[derive(Clone)]
pub struct LookupWatch(Arc<Told>);

impl LookupWatch {
    /// Calls the function at each look-up.
    pub fn new(
        told: impl Fn(&str, &[u8], &Result<Option<Vec<u8>>, LookupError>) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(told))
    }

    /// Tells of a look-up.
    pub fn tell(&self, table: &str, key: &[u8], value: &Result<Option<Vec<u8>>, LookupError>) {
        (self.0)(table, key, value);
    }
}

impl fmt::Debug for LookupWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupWatch")
    }
}
