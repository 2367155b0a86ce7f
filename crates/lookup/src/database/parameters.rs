//! Where a database client's parameters come from (spec tables 14.1).

use std::fs::File;
use std::io::BufReader;
#[cfg(any(feature = "mysql", feature = "pgsql"))]
use std::time::Duration;

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
    pub(super) fn error(&self, why: &str, parameter: &str, value: &[u8]) -> OpenError {
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

    /// A number that is not less than this one.
    #[cfg(any(feature = "ldap", feature = "memcache", feature = "mysql", feature = "pgsql"))]
    pub(super) fn integer_from(&self, parameter: &str, default: i32, least: i32) -> Result<i32, OpenError> {
        let number = self.integer(parameter, default)?;
        if number >= least {
            return Ok(number);
        }
        Err(self.out_of_bounds(parameter, number, &format!("< {least}")))
    }

    #[cfg(any(feature = "ldap", feature = "memcache", feature = "mysql", feature = "pgsql"))]
    fn out_of_bounds(&self, parameter: &str, number: i32, bound: &str) -> OpenError {
        OpenError::new(match self {
            Parameters::File { name, .. } => {
                format!("{name}: invalid {parameter} parameter value {number} {bound}")
            }
            Parameters::MainCf { prefix } => {
                format!("invalid {prefix}_{parameter} parameter value {number} {bound}")
            }
        })
    }

    /// A number that is not less than the one of these, nor more than the other.
    #[cfg(feature = "ldap")]
    pub(super) fn integer_within(
        &self,
        parameter: &str,
        default: i32,
        (least, most): (i32, i32),
    ) -> Result<i32, OpenError> {
        let number = self.integer_from(parameter, default, least)?;
        if number <= most {
            return Ok(number);
        }
        Err(self.out_of_bounds(parameter, number, &format!("> {most}")))
    }

    /// A number of seconds, one at least.
    #[cfg(any(feature = "mysql", feature = "pgsql"))]
    fn seconds(&self, parameter: &str, default: i32) -> Result<Duration, OpenError> {
        let seconds = self.integer_from(parameter, default, 1)?;
        Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(1)))
    }

    /// How long a server that failed is left alone, and a connection kept that nobody uses: up to Postfix 3.8 a minute.
    #[cfg(any(feature = "mysql", feature = "pgsql"))]
    pub(super) fn intervals(&self) -> Result<(Duration, Duration), OpenError> {
        if self.postfix_minor() < 9 {
            return Ok((Duration::from_secs(60), Duration::from_secs(60)));
        }
        Ok((self.seconds("retry_interval", 60)?, self.seconds("idle_interval", 60)?))
    }

    /// The version of Postfix around us: N of 3.N.
    #[cfg(any(feature = "mysql", feature = "pgsql"))]
    pub(super) fn postfix_minor(&self) -> u32 {
        settings::settings().map_or(7, |settings| settings.config.globals().postfix_minor)
    }

    /// Yes or no; `None` when it is not set.
    #[cfg(any(feature = "ldap", feature = "mysql"))]
    pub(super) fn flag(&self, parameter: &str) -> Result<Option<bool>, OpenError> {
        let Some(value) = self.value(parameter)? else { return Ok(None) };
        match value.to_ascii_lowercase().as_slice() {
            b"yes" => Ok(Some(true)),
            b"no" => Ok(Some(false)),
            _ => Err(self.error("bad boolean configuration", parameter, &value)),
        }
    }

    /// The query, or what older configurations make it of (spec tables 15.1).
    #[cfg(any(feature = "mysql", feature = "sqlite"))]
    pub(super) fn query(&self) -> Result<Vec<u8>, OpenError> {
        let query = self.text("query", "", 0)?;
        if !query.is_empty() {
            return Ok(query);
        }
        self.query_of_parts()
    }

    /// The same of a client that also knows the name of a function.
    #[cfg(feature = "pgsql")]
    pub(super) fn query_or_function(&self) -> Result<Vec<u8>, OpenError> {
        let query = self.text("query", "", 0)?;
        if !query.is_empty() {
            return Ok(query);
        }
        let function = self.text("select_function", "", 0)?;
        if function.is_empty() {
            return self.query_of_parts();
        }
        Ok([b"SELECT ", &function[..], b"('%s')"].concat())
    }

    #[cfg(any(feature = "mysql", feature = "pgsql", feature = "sqlite"))]
    fn query_of_parts(&self) -> Result<Vec<u8>, OpenError> {
        let [table, field, key] =
            ["table", "select_field", "where_field"].map(|parameter| self.text(parameter, "", 1));
        let (table, field, key) = (table?, field?, key?);
        let conditions = self.text("additional_conditions", "", 0)?;
        Ok([b"SELECT ", &field[..], b" FROM ", &table, b" WHERE ", &key, b"='%s' ", &conditions].concat())
    }
}
