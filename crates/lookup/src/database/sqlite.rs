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

use super::{Parameters, Shape};
use crate::{Flags, Kind, LookupError, OpenError, Opening, Table};

/// An SQLite database as a table.
#[derive(Debug)]
pub(crate) struct Sqlite {
    shape: Shape,
    database: Mutex<Connection>,
}

impl Sqlite {
    pub(crate) fn open(
        reference: String,
        name: &[u8],
        flags: Flags,
        opening: Opening,
    ) -> Result<Sqlite, OpenError> {
        let parameters = Parameters::open(name)?;
        let dbpath = parameters.text("dbpath", "", 1)?;
        let query = parameters.query()?;
        let limit_exceeded = ("dict_sqlite_lookup", "for key");
        let result_format = parameters.text("result_format", "%s", 1)?;
        let limit = parameters.integer("expansion_limit", 0)?;
        let (names, texts) = ((reference, printable(name)), (&query[..], &result_format[..]));
        let shape = Shape::open(names, texts, &parameters, (flags, opening), limit_exceeded)?.limited(limit);
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
            OpenError::new(format!("{}: Can't open database: {why}?", shape.name))
        })?;
        Ok(Sqlite { shape, database: Mutex::new(database) })
    }

    fn failed(&self, what: &str, error: &rusqlite::Error) -> LookupError {
        // The library's text ends in a line feed, in Postfix, which the log shows as a question mark.
        log::warn!("dict_sqlite_lookup: {}: SQL {what}: {}?", self.shape.shown, text_of(error));
        LookupError::Retry
    }

    fn ask(&self, query: &str, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let step = format!("step failed for query '{query}'");
        // Of several statements, the first.
        let statement = Batch::new(&database, query).next();
        let Some(mut statement) = statement.map_err(|error| self.failed("prepare failed", &error))? else {
            log::warn!("dict_sqlite_lookup: {}: SQL {step}: not an error?", self.shape.shown);
            return Err(LookupError::Retry);
        };
        let mut rows = statement.query([]).map_err(|error| self.failed(&step, &error))?;
        let mut answer = self.shape.answer(key);
        while let Some(row) = rows.next().map_err(|error| self.failed(&step, &error))? {
            let value = row.get_ref(0).map_err(|error| self.failed(&step, &error))?;
            if let Some(value) = text(value) {
                answer.add(&value)?;
            }
        }
        Ok(answer.result())
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
        // SQL text is UTF-8.
        if std::str::from_utf8(key).is_err() {
            return Ok(None);
        }
        let Some(key) = self.shape.key(key)? else { return Ok(None) };
        let quote = |bytes: &[u8], out: &mut Vec<u8>| {
            for byte in bytes {
                out.extend_from_slice(if *byte == b'\'' { b"''" } else { std::slice::from_ref(byte) });
            }
        };
        let Some(query) = self.shape.query(&key, quote) else { return Ok(None) };
        let Ok(query) = String::from_utf8(query) else { return Err(LookupError::Retry) };
        self.ask(&query, &key)
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.shape.name
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
