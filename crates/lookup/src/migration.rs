//! Tables of Berkeley DB's types that are opened as another type (`non_bdb_migration_level` of Postfix 3.11).
//!
//! With `enable-redirect`, `hash:t` is `t` of `default_database_type`, and `btree:t` that of `default_cache_db_type`,
//! unless the table `non_bdb_custom_mapping` has another type for `hash:t` or `hash`. Both the file that is read and the
//! one that postmap makes follow it. With `enable-reindex`, who finds no index file has nbdb_reindexd make it
//! ([`ipc::reindex`]); a program that only examines the configuration looks whether there is something to make it of.

use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use config::{Config, MigrationLevel, printable};

use crate::error::Blame;
use crate::indexed::{CDB, HASH, LMDB};
use crate::settings::{Examine, Settings, settings};
use crate::{Flags, OpenError, Opening, TYPES, Table, open};

/// What becomes of tables of Berkeley DB's types.
#[derive(Debug)]
struct Migration {
    hash: String,
    btree: String,
    custom: Option<Box<dyn Table>>,
    tells: bool,
    /// Where index files that are missing are made.
    reindex: Option<Service>,
}

/// The service that makes index files.
#[derive(Debug)]
struct Service {
    name: String,
    queue_directory: String,
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

/// Notes what the configuration says; tables can be opened already. A mapping that cannot be opened ends every program,
/// whether it opens other tables or not (observed, 3.11.7).
pub(crate) fn configure(config: &Config, examine: Examine) {
    let globals = config.globals();
    let asked = &globals.non_bdb_migration;
    if asked.level == MigrationLevel::Disable {
        return;
    }
    let migration = Migration::configured(config).unwrap_or_else(|error| {
        let error = config.wrong("non_bdb_custom_mapping", error.to_string());
        maillog::fatal(error)
    });
    let reindex = (asked.level == MigrationLevel::Reindex)
        .then(|| Service { name: asked.service.clone(), queue_directory: globals.queue_directory.clone() });
    let tells = asked.logs && examine == Examine::No;
    let _ = MIGRATION.set(Migration { tells, reindex, ..migration });
}

/// What tables will be once `non_bdb_migration_level` redirects, for who is about to set it.
#[derive(Debug)]
pub struct Planned(Migration);

impl Planned {
    /// What the configuration says, whatever the level.
    ///
    /// # Errors
    ///
    /// The mapping cannot be used, and every program would end.
    pub fn read(config: &Config) -> Result<Planned, OpenError> {
        match config.globals().non_bdb_migration.mapping_fault() {
            Some(text) => Err(Blame::Reference.of(text)),
            None => Migration::configured(config).map(Planned),
        }
    }

    /// The table that will take the place of this one, where another will.
    ///
    /// # Errors
    ///
    /// There is no usable answer of the mapping.
    pub fn target(&self, reference: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        let Some((kind, name)) = of_berkeley_db(reference) else { return Ok(None) };
        self.0.redirect(kind, name).map(Some)
    }
}

fn custom_mapping(reference: &str) -> Result<Box<dyn Table>, OpenError> {
    match reference.split_once(':') {
        // It would have to be asked before this process knows what its tables are.
        Some(("proxy", _)) => Err(Blame::Reference.of("unsupported dictionary type: proxy")),
        _ => open(reference.as_bytes(), Flags::FOLD_FIX.with(Flags::LOCK), Opening::FatalErrors),
    }
}

impl Migration {
    /// What main.cf says of types, with nobody told and nothing made.
    fn configured(config: &Config) -> Result<Self, OpenError> {
        let globals = config.globals();
        let custom = &globals.non_bdb_migration.custom_mapping;
        Ok(Self {
            hash: globals.default_database_type.clone(),
            btree: globals.default_cache_db_type.clone(),
            custom: (!custom.is_empty()).then(|| custom_mapping(custom)).transpose()?,
            tells: false,
            reindex: None,
        })
    }

    /// The type that takes the place of `kind` for this table.
    fn target(&self, kind: &str, reference: &[u8]) -> Result<String, OpenError> {
        let mut found = None;
        for key in [reference, kind.as_bytes()] {
            let Some(table) = self.custom.as_ref().filter(|_| found.is_none()) else { break };
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

impl Service {
    fn path(&self) -> PathBuf {
        let relative = Path::new("private").join(&self.name);
        if relative.exists() { relative } else { Path::new(&self.queue_directory).join(relative) }
    }

    /// What an administrator is told who only asks.
    fn intends(&self, index: &str) -> String {
        let service = &self.name;
        format!("there is no {index} yet: the first program that opens it has the service {service} make it")
    }

    /// Has the index file of `target`, which takes the place of `kind:name`, made if it is not there.
    fn ensure_index(&self, kind: &str, name: &[u8], target: &[u8]) -> Result<(), OpenError> {
        let target = target.split(|byte| *byte == b':').next().unwrap_or_default();
        let Some(index) = [CDB, LMDB].into_iter().find(|known| known.name.as_bytes() == target) else {
            let target = printable(target);
            let text = format!("non-Berkeley-DB mapped type '{target}' has no known pathname suffix");
            log::warn!("{text}");
            return Err(Blame::Type.of(text));
        };
        if !is_missing(&index.path(name)) {
            // What is wrong with it, who opens it tells.
            return Ok(());
        }
        if crate::only_examines() {
            let can_be_made = !is_missing(&HASH.path(name)) && !is_missing(crate::path(name));
            return if can_be_made { Err(OpenError::new(self.intends(&index.shown(name)))) } else { Ok(()) };
        }
        ipc::reindex::make_index(&self.path(), kind.as_bytes(), name).map_err(|refusal| {
            let told =
                |text: &str| format!("Non-Berkeley-DB migration error: {}", printable(text.as_bytes()));
            log::warn!("{}", told(&refusal.warning));
            Blame::Type.of(told(&refusal.error))
        })
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The table that is opened in place of this one, where another is; with an index file, as far as it can be made.
///
/// # Errors
///
/// There is no usable answer of the mapping, or no index file.
pub(crate) fn with_index(reference: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    let Some(target) = to_open(reference)? else { return Ok(None) };
    let Some((migration, kind, name)) = concerned(reference) else { return Ok(Some(target)) };
    if let Some(service) = &migration.reindex {
        service.ensure_index(kind, name, &target)?;
    }
    Ok(Some(target))
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
    with_index(&[kind, b":", name].concat())
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

/// An index file that is to be made.
#[derive(Debug)]
pub struct Index {
    /// The type of the table.
    pub kind: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// The index file that takes the place of this table's, for the service that makes it.
///
/// # Errors
///
/// Why there is none, for who asks.
pub fn to_index(kind: &[u8], name: &[u8]) -> Result<Index, String> {
    let known = ["hash", "btree"].into_iter().find(|known| known.as_bytes() == kind).zip(MIGRATION.get());
    let Some((kind, migration)) = known else {
        return Err(format!("request to map from non-Berkeley-DB type: '{}'", printable(kind)));
    };
    let target =
        migration.target(kind, &[kind.as_bytes(), b":", name].concat()).map_err(|why| why.to_string())?;
    let index = [CDB, LMDB].into_iter().find(|known| known.name == target);
    let index = index.ok_or_else(|| format!("non-Berkeley-DB type '{target}' has no known suffix"))?;
    Ok(Index { kind: index.name, path: index.path(name) })
}

fn concerned(reference: &[u8]) -> Option<(&'static Migration, &'static str, &[u8])> {
    let (kind, name) = of_berkeley_db(reference)?;
    Some((MIGRATION.get()?, kind, name))
}

fn of_berkeley_db(reference: &[u8]) -> Option<(&'static str, &[u8])> {
    ["hash", "btree"].into_iter().find_map(|kind| {
        let rest = reference.strip_prefix(kind.as_bytes())?.strip_prefix(b":")?;
        (!rest.is_empty()).then_some((kind, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(reference: &str) -> &str {
        reference.split(':').next().unwrap_or_default()
    }

    /// As postmap of 3.11.7 did it.
    #[test]
    fn targets_observed() {
        let migration = |custom: &str| Migration {
            hash: "cdb".to_owned(),
            btree: "lmdb".to_owned(),
            custom: (!custom.is_empty()).then(|| custom_mapping(custom).expect("there is such a table")),
            tells: false,
            reindex: None,
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
        ];
        for (custom, reference, expected) in cases {
            let (kind, name) = reference.split_once(':').expect("each has one");
            let result = migration(custom).redirect(kind, name.as_bytes());
            let result = result.map_or_else(|error| error.to_string(), |bytes| printable(&bytes));
            assert_eq!(result, expected, "{custom} {reference}");
        }
        for custom in ["foo:x", "proxy:static:cdb"] {
            let error = custom_mapping(custom).expect_err("it cannot be opened").to_string();
            assert_eq!(error, format!("unsupported dictionary type: {}", kind_of(custom)));
        }
    }
}
