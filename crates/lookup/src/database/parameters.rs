//! Where a database client's parameters come from (spec tables 14.1).

use std::fs::File;
use std::io::BufReader;

use config::{Dictionary, printable};

use crate::{OpenError, settings};

/// The parameters of one table.
#[derive(Debug)]
pub(super) enum Parameters {
    /// Of a file; nothing in it is expanded.
    File { name: String, entries: Dictionary },
    /// Of main.cf, whose names start with this.
    MainCf { prefix: String },
}

impl Parameters {
    /// Those of the table of this name.
    pub(super) fn open(name: &[u8]) -> Result<Parameters, OpenError> {
        let shown = printable(name);
        if !matches!(name.first(), Some(b'/' | b'.')) {
            return Ok(Parameters::MainCf { prefix: shown });
        }
        let file = File::open(crate::path(name));
        let file =
            file.map_err(|error| OpenError::new(format!("open {shown}: {}", sys::error_text(&error))))?;
        let mut entries = Dictionary::default();
        let parsed = entries.parse(BufReader::new(file), &shown);
        parsed.map_err(|error| OpenError::new(error.to_string()))?;
        Ok(Parameters::File { name: shown, entries })
    }

    /// The value as it is to be used; `None` when it is not set.
    fn value(&self, parameter: &str) -> Result<Option<Vec<u8>>, OpenError> {
        match self {
            Parameters::File { entries, .. } => {
                Ok(entries.get(parameter.as_bytes()).map(|entry| entry.value.clone()))
            }
            Parameters::MainCf { prefix } => {
                let Some(settings) = settings::settings() else { return Ok(None) };
                let value = settings.config.custom(&format!("{prefix}_{parameter}"));
                value.map_err(|error| OpenError::new(error.to_string()))
            }
        }
    }

    /// An error of a parameter: `FILE: WHY: NAME = VALUE`, or `WHY: PREFIX_NAME = VALUE`.
    fn error(&self, why: &str, parameter: &str, value: &[u8]) -> OpenError {
        let value = printable(value);
        OpenError::new(match self {
            Parameters::File { name, .. } => format!("{name}: {why}: {parameter} = {value}"),
            Parameters::MainCf { prefix } => format!("{why}: {prefix}_{parameter} = {value}"),
        })
    }

    /// A text of at least so many bytes.
    pub(super) fn text(&self, parameter: &str, default: &str, least: usize) -> Result<Vec<u8>, OpenError> {
        let value = self.value(parameter)?.unwrap_or_else(|| default.as_bytes().to_vec());
        if value.len() < least {
            let why = format!("bad string length {} < {least}", value.len());
            return Err(self.error(&why, parameter, &value));
        }
        Ok(value)
    }

    /// A number.
    pub(super) fn integer(&self, parameter: &str, default: i32) -> Result<i32, OpenError> {
        let Some(value) = self.value(parameter)? else { return Ok(default) };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.error("bad numerical configuration", parameter, &value))
    }

    /// The query, or what older configurations make it of (spec tables 15.1).
    pub(super) fn query(&self) -> Result<Vec<u8>, OpenError> {
        let query = self.text("query", "", 0)?;
        if !query.is_empty() {
            return Ok(query);
        }
        let [table, field, key] =
            ["table", "select_field", "where_field"].map(|parameter| self.text(parameter, "", 1));
        let (table, field, key) = (table?, field?, key?);
        let conditions = self.text("additional_conditions", "", 0)?;
        Ok([b"SELECT ", &field[..], b" FROM ", &table, b" WHERE ", &key, b"='%s' ", &conditions].concat())
    }
}
