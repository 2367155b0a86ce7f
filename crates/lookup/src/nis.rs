//! `nis:map`: as far as a machine without an NIS domain needs it (spec tables 19).
//!
//! The default of `alias_maps` names such a table, so that it is part of configurations whose author has never heard
//! of NIS. Without a domain Postfix warns once and finds nothing; with one, this table type is refused.

use std::sync::Once;

use crate::{Kind, LookupError, OpenError, Table};

/// A table in which nothing is found.
#[derive(Debug)]
pub(crate) struct Nis {
    name: String,
}

impl Nis {
    pub(crate) fn open(reference: String) -> Result<Nis, OpenError> {
        static WARNING: Once = Once::new();
        if let Some(domain) = sys::host::nis_domain() {
            return Err(OpenError::new(format!(
                "{reference}: this system is in the NIS domain {domain}, and NIS servers cannot be asked yet"
            )));
        }
        WARNING.call_once(|| log::warn!("dict_nis_init: NIS domain name not set - NIS lookups disabled"));
        Ok(Nis { name: reference })
    }
}

impl Table for Nis {
    fn lookup(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Ok(None)
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.name
    }
}
