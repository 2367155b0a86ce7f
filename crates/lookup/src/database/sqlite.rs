//! `sqlite:FILE` (spec tables 15): a query made of the key, and of each row the first column.
//!
//! The file is opened for reading alone. An SQL error is a warning and a temporary error of the look-up: also where
//! Postfix ends, which would cost the client its session.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use config::printable;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, OpenFlags};

use super::{Address, Parameters, Template};
use crate::list::StringList;
use crate::{Flags, Kind, LookupError, OpenError, Opening, Table, fold};

/// Bounds a result.
const RESULT_LIMIT: usize = 64 << 20;

/// An SQLite database as a table.
#[derive(Debug)]
pub(crate) struct Sqlite {
    name: String,
    /// The name without the type, for messages.
    shown: String,
    flags: Flags,
    database: Mutex<Connection>,
    query: Template,
    result: Template,
    domain: Option<StringList>,
    expansion_limit: usize,
}

impl Sqlite {
    pub(crate) fn open(
        reference: String,
        name: &[u8],
        flags: Flags,
        opening: Opening,
    ) -> Result<Sqlite, OpenError> {
        let shown = printable(name);
        let parameters = Parameters::open(name)?;
        let dbpath = parameters.text("dbpath", "", 1)?;
        let query = parameters.query()?;
        let result_format = parameters.text("result_format", "%s", 1)?;
        let expansion_limit = parameters.integer("expansion_limit", 0)?;
        let template = |text: &[u8], kind: &str| {
            Template::parse(text).ok_or_else(|| {
                let text = printable(text);
                OpenError::new(format!("db_common_parse: {shown}: Invalid {kind} template: {text}"))
            })
        };
        let (query, result) = (template(&query, "query")?, template(&result_format, "result")?);
        let domain = parameters.text("domain", "", 0)?;
        let domain = Some(StringList::open(&shown, &domain, opening)?).filter(|list| !list.is_empty());
        let flags_of_file = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(crate::path(&dbpath), flags_of_file);
        let database = database.and_then(|database| {
            // Postfix does not wait for a writer either.
            database.busy_timeout(Duration::ZERO)?;
            Ok(database)
        });
        let database = database.map_err(|error| {
            let why = text_of(&error);
            let why = why.strip_suffix(&format!(": {}", printable(&dbpath))).unwrap_or(&why);
            OpenError::new(format!("{reference}: Can't open database: {why}?"))
        })?;
        Ok(Sqlite {
            name: reference,
            shown,
            flags,
            database: Mutex::new(database),
            query,
            result,
            domain,
            expansion_limit: usize::try_from(expansion_limit).unwrap_or(0),
        })
    }

    fn failed(&self, what: &str, error: &rusqlite::Error) -> LookupError {
        // The library's text ends in a line feed, in Postfix, which the log shows as a question mark.
        log::warn!("dict_sqlite_lookup: {}: SQL {what}: {}?", self.shown, text_of(error));
        LookupError::Retry
    }

    /// Whether keys of this domain are looked up.
    fn wants(&self, key: Address<'_>) -> Result<bool, LookupError> {
        let Some(list) = &self.domain else { return Ok(true) };
        let Some(domain) = key.qualified_domain() else { return Ok(false) };
        list.matches(domain).map_err(|error| {
            log::warn!("{error}");
            LookupError::Retry
        })
    }

    /// Adds a value to the result.
    fn add(&self, key: Address<'_>, value: &[u8], out: &mut Vec<u8>) -> bool {
        if value.is_empty() {
            let (table, key) = (&self.name, printable(key.whole));
            log::warn!("table \"{table}\": empty lookup result for: \"{key}\" -- ignored");
            return false;
        }
        let plain = |bytes: &[u8], out: &mut Vec<u8>| out.extend_from_slice(bytes);
        let Some(text) = self.result.expand(Address::new(value), key, plain) else { return false };
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(&text);
        true
    }

    fn ask(&self, query: &str, key: Address<'_>) -> Result<Vec<u8>, LookupError> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let step = format!("step failed for query '{query}'");
        // Of several statements, the first.
        let statement = Batch::new(&database, query).next();
        let Some(mut statement) = statement.map_err(|error| self.failed("prepare failed", &error))? else {
            log::warn!("dict_sqlite_lookup: {}: SQL {step}: not an error?", self.shown);
            return Err(LookupError::Retry);
        };
        let mut rows = statement.query([]).map_err(|error| self.failed(&step, &error))?;
        let (mut out, mut count) = (Vec::new(), 0usize);
        while let Some(row) = rows.next().map_err(|error| self.failed(&step, &error))? {
            let value = row.get_ref(0).map_err(|error| self.failed(&step, &error))?;
            let Some(value) = text(value) else { continue };
            if !self.add(key, &value, &mut out) {
                continue;
            }
            count += 1;
            if self.expansion_limit > 0 && count > self.expansion_limit {
                let (table, key) = (&self.shown, printable(key.whole));
                log::warn!("dict_sqlite_lookup: {table}: Expansion limit exceeded for key '{key}'");
                return Err(LookupError::Retry);
            }
            if out.len() > RESULT_LIMIT {
                log::warn!("table \"{}\": the result is too long", self.name);
                return Err(LookupError::Retry);
            }
        }
        Ok(out)
    }
}

/// The library's own text.
fn text_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// A value as the library's C interface tells it as text: up to a NUL. `None` for NULL.
fn text(value: ValueRef<'_>) -> Option<Vec<u8>> {
    let bytes = match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => return Some(number.to_string().into_bytes()),
        ValueRef::Real(number) => return Some(real(number).into_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
    };
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Some(bytes[..end].to_vec())
}

/// A number with 15 digits, as SQLite writes it: always with a decimal point.
fn real(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:.14e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        let text = text.trim_end_matches('0');
        if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
    };
    if !(-4..15).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(digits), exponent.abs());
    }
    let decimals = usize::try_from(14 - exponent).unwrap_or(0).max(1);
    trimmed(&format!("{number:.decimals$}"))
}

impl Table for Sqlite {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let folded = if self.flags.has(Flags::FOLD_FIX) {
            fold(key, self.flags.has(Flags::UTF8))
        } else {
            key.to_vec()
        };
        let key = Address::new(&folded);
        // SQL text is UTF-8.
        let Ok(_) = std::str::from_utf8(&folded) else { return Ok(None) };
        if !self.wants(key)? {
            return Ok(None);
        }
        if folded.is_empty() {
            log::warn!("table \"{}\": empty query string -- ignored", self.name);
            return Ok(None);
        }
        let quote = |bytes: &[u8], out: &mut Vec<u8>| {
            for byte in bytes {
                out.extend_from_slice(if *byte == b'\'' { b"''" } else { std::slice::from_ref(byte) });
            }
        };
        let query = self.query.expand(key, key, quote).filter(|_| self.result.accepts(key));
        let Some(query) = query else { return Ok(None) };
        let Ok(query) = String::from_utf8(query) else { return Err(LookupError::Retry) };
        let result = self.ask(&query, key)?;
        Ok(Some(result).filter(|result| !result.is_empty()))
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `sqlite3` prints them.
    #[test]
    fn numbers() {
        for (number, expected) in [
            (1.5, "1.5"),
            (2.0, "2.0"),
            (1e20, "1.0e+20"),
            (-1.25e-7, "-1.25e-07"),
            (0.0001, "0.0001"),
            (123_456_789_012_345.0, "123456789012345.0"),
            (0.1 + 0.2, "0.3"),
            (0.0, "0.0"),
        ] {
            assert_eq!(real(number), expected);
        }
    }
}
