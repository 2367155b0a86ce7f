//! Tables of Berkeley DB's types that are opened as another type (`non_bdb_migration_level` of Postfix 3.11).
//!
//! With `enable-redirect`, `hash:t` is `t` of `default_database_type`, and `btree:t` that of `default_cache_db_type`,
//! unless the table `non_bdb_custom_mapping` has another type for `hash:t` or `hash`. Both the file that is read and the
//! one that postmap makes follow it. `enable-reindex` does the same; no index is made on demand, of which preflight tells.

use std::sync::{Once, OnceLock};

use config::{Config, MigrationLevel, printable};

use crate::error::Blame;
use crate::settings::{Examine, Settings, settings};
use crate::{Flags, OpenError, Opening, TYPES, Table, open};

/// What becomes of tables of Berkeley DB's types.
#[derive(Debug)]
struct Migration {
    hash: String,
    btree: String,
    custom: Option<Result<Box<dyn Table>, OpenError>>,
    tells: bool,
}

static MIGRATION: OnceLock<Migration> = OnceLock::new();

/// Tells, once in a process, that tables of these types will go, as Debian's 3.11 does.
pub(crate) fn warn_of_berkeley_db(kind: &[u8], name: &[u8]) {
    static TOLD: Once = Once::new();
    let warns = |settings: &Settings| settings.dialect.warns_of_berkeley_db() && !settings.only_examines;
    if matches!(kind, b"hash" | b"btree") && settings().is_some_and(warns) {
        TOLD.call_once(|| {
            let shown = printable(name);
            log::warn!("{shown}: hash/btree support is deprecated.  Please switch to cdb or lmdb.");
            log::warn!("See /usr/share/doc/postfix/NON_BERKELEYDB_README.gz for more info.");
        });
    }
}

/// Notes what the configuration says; tables can be opened already.
pub(crate) fn configure(config: &Config, examine: Examine) {
    let globals = config.globals();
    let asked = &globals.non_bdb_migration;
    match asked.level {
        MigrationLevel::Disable => return,
        MigrationLevel::Redirect => {}
        MigrationLevel::Reindex if examine == Examine::Yes => {
            let place = config.origin("non_bdb_migration_level");
            let place = place.map(|origin| format!(" ({origin})")).unwrap_or_default();
            log::warn!(
                "non_bdb_migration_level = enable-reindex: index files that are missing are not made on demand here; \
                 make them with postmap or postalias{place}"
            );
        }
        MigrationLevel::Reindex => {}
    }
    let custom = &asked.custom_mapping;
    let _ = MIGRATION.set(Migration {
        hash: globals.default_database_type.clone(),
        btree: globals.default_cache_db_type.clone(),
        custom: (!custom.is_empty()).then(|| custom_mapping(custom)),
        tells: asked.logs && examine == Examine::No,
    });
}

fn custom_mapping(reference: &str) -> Result<Box<dyn Table>, OpenError> {
    match reference.split_once(':') {
        Some((kind @ ("hash" | "btree"), _)) => {
            Err(Blame::Reference.of(format!("non_bdb_custom_mapping must not use legacy type: '{kind}'")))
        }
        // It would have to be asked before this process knows what its tables are.
        Some(("proxy", _)) => Err(Blame::Reference.of("unsupported dictionary type: proxy")),
        _ => open(reference.as_bytes(), Flags::FOLD_FIX.with(Flags::LOCK), Opening::FatalErrors),
    }
}

impl Migration {
    /// The type that takes the place of `kind` for this table.
    fn target(&self, kind: &str, reference: &[u8]) -> Result<String, OpenError> {
        let custom = self.custom.as_ref().map(|table| table.as_ref().map_err(Clone::clone)).transpose()?;
        let mut found = None;
        for key in [reference, kind.as_bytes()] {
            let Some(table) = custom.filter(|_| found.is_none()) else { break };
            found = table.lookup(key).map_err(|_| {
                let (name, key) = (table.name(), printable(key));
                OpenError::new(format!("{name} lookup error for '{key}'"))
            })?;
        }
        let target = match (found, kind) {
            (Some(found), _) => printable(&found),
            (None, "hash") => self.hash.clone(),
            (None, _) => self.btree.clone(),
        };
        if !target.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || target.is_empty() {
            return Err(OpenError::new(format!("bad non-legacy database type syntax: '{target}'")));
        }
        if matches!(target.as_str(), "hash" | "btree") {
            return Err(OpenError::new(format!("mapping from '{kind}' to legacy type '{target}'")));
        }
        if !TYPES.contains(&target.as_str()) {
            log::warn!("unsupported dictionary type: {target}. Is the postfix-{target} package installed?");
            return Err(OpenError::new(format!("mapping to unsupported database type: '{target}'")));
        }
        Ok(target)
    }

    fn redirect(&self, kind: &str, name: &[u8]) -> Result<Vec<u8>, OpenError> {
        let reference = [kind.as_bytes(), b":", name].concat();
        let target = self.target(kind, &reference)?;
        let result = [target.as_bytes(), b":", name].concat();
        if self.tells {
            log::info!("redirecting {} to {}", printable(&reference), printable(&result));
        }
        Ok(result)
    }
}

/// The table that is opened in place of this one, where another is.
pub(crate) fn to_open(reference: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    let Some((migration, kind, name)) = concerned(reference) else { return Ok(None) };
    migration.redirect(kind, name).map(Some).map_err(|why| match why.blame() {
        Blame::Reference | Blame::Type => why,
        Blame::Table => {
            let shown = printable(reference);
            log::warn!("non-Berkeley-DB type mapping lookup error for '{shown}': {why}");
            Blame::Type.of(format!("Berkeley DB type mapping lookup error for '{shown}': {why}"))
        }
    })
}

/// The table that is opened and changed in place of this one, where another is.
///
/// # Errors
///
/// As [`to_make`], in the words of an opened table.
pub fn to_change(kind: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    to_open(&[kind, b":", name].concat())
}

/// The table that is made in place of this one, where another is.
///
/// # Errors
///
/// The text of the fatal error: the mapping has no usable answer.
pub fn to_make(kind: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    let reference = [kind, b":", name].concat();
    let Some((migration, kind, name)) = concerned(&reference) else { return Ok(None) };
    migration.redirect(kind, name).map(Some).map_err(|why| match why.blame() {
        Blame::Reference | Blame::Type => why,
        Blame::Table => OpenError::new(format!("non_bdb migration mapping lookup error for '{kind}': {why}")),
    })
}

fn concerned(reference: &[u8]) -> Option<(&'static Migration, &'static str, &[u8])> {
    let kind = ["hash", "btree"].into_iter().find(|kind| {
        reference.strip_prefix(kind.as_bytes()).is_some_and(|rest| rest.len() > 1 && rest[0] == b':')
    })?;
    Some((MIGRATION.get()?, kind, &reference[kind.len() + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As postmap of 3.11.7 did it.
    #[test]
    fn targets_observed() {
        let migration = |custom: &str| Migration {
            hash: "cdb".to_owned(),
            btree: "lmdb".to_owned(),
            custom: (!custom.is_empty()).then(|| custom_mapping(custom)),
            tells: false,
        };
        let cases = [
            ("", "hash:t", "cdb:t"),
            ("", "btree:t", "lmdb:t"),
            ("inline:{hash=lmdb, btree=cdb, {hash:t=texthash}}", "hash:t", "texthash:t"),
            ("inline:{hash=lmdb, btree=cdb, {hash:t=texthash}}", "hash:T", "texthash:T"),
            ("inline:{hash=lmdb, btree=cdb, {hash:t=texthash}}", "hash:t2", "lmdb:t2"),
            ("inline:{hash=lmdb, btree=cdb}", "btree:t", "cdb:t"),
            ("regexp:{{/^hash:t/ lmdb}}", "hash:t", "lmdb:t"),
            ("static:hash", "btree:t", "mapping from 'btree' to legacy type 'hash'"),
            ("static:CDB", "btree:t", "mapping to unsupported database type: 'CDB'"),
            ("static:cdb:", "btree:t", "bad non-legacy database type syntax: 'cdb:'"),
            ("static:{cdb x}", "btree:t", "bad non-legacy database type syntax: 'cdb x'"),
            ("fail:x", "hash:t", "fail:x lookup error for 'hash:t'"),
            ("hash:/x", "hash:t", "non_bdb_custom_mapping must not use legacy type: 'hash'"),
            ("foo:x", "hash:t", "unsupported dictionary type: foo"),
            ("proxy:static:cdb", "hash:t", "unsupported dictionary type: proxy"),
        ];
        for (custom, reference, expected) in cases {
            let (kind, name) = reference.split_once(':').expect("each has one");
            let result = migration(custom).redirect(kind, name.as_bytes());
            let result = result.map_or_else(|error| error.to_string(), |bytes| printable(&bytes));
            assert_eq!(result, expected, "{custom} {reference}");
        }
    }
}
