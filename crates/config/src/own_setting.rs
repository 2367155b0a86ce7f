//! A setting that an external service has for itself, in place of the parameter that all of its kind share: the words
//! behind the endpoint in `{ inet:host:port, name=value, { name = value } }`, as policy services and Milters have them.

use std::time::Duration;

use crate::list::group;
use crate::value;

/// `name=value` or `{ name = value }`; errors are the text of a fatal line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSetting {
    /// What stands before the `=`.
    pub name: String,
    value: String,
}

impl OwnSetting {
    /// Reads a word.
    ///
    /// # Errors
    /// It has no name, no `=`, or braces that do not match.
    pub fn parse(word: &[u8]) -> Result<Self, String> {
        let shown = String::from_utf8_lossy(word);
        let malformed = |reason: &str| format!("malformed option: {reason}: \"...{shown}...\"");
        let text = if word.starts_with(b"{") {
            String::from_utf8_lossy(group(word).map_err(|error| malformed(&error.to_string()))?)
        } else {
            String::from_utf8_lossy(word)
        };
        let (name, value) =
            text.split_once('=').ok_or_else(|| malformed("missing '=' after attribute name"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return Err(malformed("missing attribute name"));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// A time of a second or more.
    ///
    /// # Errors
    /// It is none.
    pub fn time(&self) -> Result<Duration, String> {
        let Self { name, value } = self;
        let time = value::time(value.as_bytes(), b's')
            .ok_or_else(|| format!("{name}: bad time value or unit: {value}"))?;
        if time.is_zero() { Err(format!("invalid {name}: 0 (min 1)")) } else { Ok(time) }
    }

    /// A number, `least` or more.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, least: i32) -> Result<i32, String> {
        let Self { name, value } = self;
        let number = value::integer(value.as_bytes())
            .ok_or_else(|| format!("bad numerical configuration: {name} = {value}"))?;
        if number < least {
            return Err(format!("invalid {name} parameter value {number} < {least}"));
        }
        Ok(number)
    }

    /// A text that is not empty.
    ///
    /// # Errors
    /// It is.
    pub fn text(&self) -> Result<String, String> {
        let Self { name, value } = self;
        if value.is_empty() { Err(format!("bad string length 0 < 1: {name} = ")) } else { Ok(value.clone()) }
    }

    /// What is said of a name that the service does not know.
    pub fn unknown(&self) -> String {
        format!("unknown option: \"{} = {}\"", self.name, self.value)
    }
}
