//! What is wrong with a configuration, where all of it is wanted and not the first fault alone.
//!
//! A program that starts stops at the first value it cannot use. One that only examines a configuration
//! ([`crate::Config::examine_service`]) goes on with the parameter's default, and the fault is noted here, once for each
//! parameter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// The faults found so far, by parameter.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<BTreeMap<Vec<u8>, Option<Error>>>>);

impl Faults {
    /// What was found since the last call, sorted by parameter.
    pub fn take(&self) -> Vec<Error> {
        self.lock().values_mut().filter_map(Option::take).collect()
    }

    pub(crate) fn note(&self, name: &[u8], error: Error) {
        self.lock().entry(name.to_vec()).or_insert(Some(error));
    }

    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.lock().contains_key(name)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Option<Error>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
