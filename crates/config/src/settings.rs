//! What main.cf, `-o` options and the table's defaults come to for one program: the values behind [`crate::Config`], while the
//! rest is still being computed and afterwards.
//!
//! A value that is out of bounds or not of its kind is refused with Postfix's text and the place where it was written. Where
//! the Postfix around would not read the parameter at all, or where settings are only examined, that is noted, and the
//! default is in force.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::dictionary::Dictionary;
use crate::error::{Error, Origin, printable};
use crate::expand::{ExpandError, Expander, Names};
use crate::faults::Faults;
use crate::table::{self, Kind, Parameter};
use crate::value;
use crate::version::{DEFAULT_MINOR, Version};

/// What `$name` can refer to, while the rest is still being computed.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub program: String,
    pub dictionary: Dictionary,
    /// Parameters whose value, or default, is not a text of the table.
    pub(crate) computed: BTreeMap<&'static str, Vec<u8>>,
    /// What master has told about the accounts: for services alone.
    pub told: Option<String>,
    /// Which Postfix is around: what defaults are depends on it.
    pub version: Version,
    /// Where values that cannot be used are noted, when the settings are only examined.
    pub faults: Option<Faults>,
    /// Values that cannot be used of parameters that the Postfix around does not have, and that it would not mind.
    pub passed_over: Faults,
}

impl Names for Settings {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        if let Some(entry) = self.dictionary.get(name)
            && !self.is_at_fault(name)
        {
            return Some(Cow::Borrowed(&entry.value));
        }
        let row = table::find(std::str::from_utf8(name).ok()?)?;
        if let Some(value) = self.computed.get(row.name()) {
            return Some(Cow::Borrowed(value));
        }
        let is_known =
            row.is_in(self.version.minor) && row.is_read_by(&self.program) && !is_computed(row.name());
        is_known.then(|| Cow::Borrowed(row.default_in(self.version.minor).as_bytes()))
    }
}

fn is_computed(name: &str) -> bool {
    matches!(name, "myhostname" | "mydomain" | "mynetworks")
}

/// A parameter to be read: its row, or a member of a family (`smtp_destination_rate_delay`) that
/// has kind and bounds of the row but name and default of its own.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub name: &'a str,
    pub default: &'a [u8],
    pub min: i64,
    pub max: i64,
    /// Whether what main.cf sets counts: not where the Postfix around does not have the parameter.
    pub is_there: bool,
}

impl Settings {
    fn wanted(&self, name: &str, kinds: &[Kind]) -> Result<Wanted<'_>, Error> {
        match table::find(name) {
            Some(row) if kinds.contains(&row.kind) => Ok(self.row(row)),
            Some(row) => Err(Error::new(format!("parameter {name} is of kind {:?}", row.kind))),
            None => Err(Error::new(format!("parameter {name} is not in the table"))),
        }
    }

    fn row(&self, row: &'static Parameter) -> Wanted<'_> {
        let computed = self.computed.get(row.name()).map(Vec::as_slice);
        let default = computed.unwrap_or(row.default_in(self.version.minor).as_bytes());
        let is_there = self.version.is_assumed || row.is_in(self.version.minor);
        Wanted { name: row.name(), default, min: row.min, max: row.max, is_there }
    }

    /// The raw text of a parameter of the table, whether this program reads it or not.
    pub(crate) fn written_or_default(&self, name: &str) -> Vec<u8> {
        match self.dictionary.get(name.as_bytes()) {
            Some(entry) => entry.value.clone(),
            None => table::find(name)
                .map(|row| row.default_in(self.version.minor).as_bytes().to_vec())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn origin(&self, name: &str) -> Option<&Origin> {
        self.dictionary.get(name.as_bytes()).map(|entry| &entry.origin)
    }

    fn source<'a>(&'a self, wanted: &Wanted<'a>) -> (&'a [u8], Option<&'a Origin>) {
        match self.dictionary.get(wanted.name.as_bytes()) {
            Some(entry) if wanted.is_there && !self.is_at_fault(wanted.name.as_bytes()) => {
                (&entry.value, Some(&entry.origin))
            }
            _ => (wanted.default, None),
        }
    }

    fn is_at_fault(&self, name: &[u8]) -> bool {
        self.passed_over.has(name) || self.faults.as_ref().is_some_and(|faults| faults.has(name))
    }

    /// Reads a value. When it cannot be used, but the Postfix around would not read it at all, that is told, and the
    /// default is read; when the settings are only examined it is noted, and the default is read in any case.
    fn or_default<T>(&self, name: &str, read: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let is_foreign = || table::find(name).is_some_and(|row| !row.is_in(self.version.minor));
        match (read(), &self.faults) {
            (Err(error), faults) if is_foreign() && !self.is_at_fault(name.as_bytes()) => {
                if faults.is_none() {
                    log::warn!("{error}; the default is in force");
                }
                self.passed_over.note(name.as_bytes(), error);
                read()
            }
            (Err(error), Some(faults)) if !faults.has(name.as_bytes()) => {
                faults.note(name.as_bytes(), error);
                read()
            }
            (outcome, _) => outcome,
        }
    }

    /// Expansion errors are told in two lines: what is wrong, then that the program stops.
    pub(crate) fn expand(&self, text: &[u8], origin: Option<&Origin>) -> Result<Vec<u8>, Error> {
        self.expand_text(text, origin).map(Cow::into_owned)
    }

    /// The same; a text without names, as most are, is not copied.
    pub(crate) fn expand_text<'t>(
        &self,
        text: &'t [u8],
        origin: Option<&Origin>,
    ) -> Result<Cow<'t, [u8]>, Error> {
        if !text.contains(&b'$') {
            return Ok(Cow::Borrowed(text));
        }
        Expander::recursive(self).expand(text).map(Cow::Owned).map_err(|faults| {
            for fault in faults.iter() {
                match fault {
                    // Who only examines wants a line with a place.
                    _ if self.faults.is_some() => return Error::at(fault.to_string(), origin),
                    ExpandError::Number(_) => return Error::at(fault.to_string(), origin),
                    _ => log::warn!("{fault}"),
                }
            }
            Error::at("dictionary mail_dict: macro processing error", origin)
        })
    }

    fn expanded<'a>(&'a self, wanted: &Wanted<'a>) -> Result<(Cow<'a, [u8]>, Option<&'a Origin>), Error> {
        let (text, origin) = self.source(wanted);
        Ok((self.expand_text(text, origin)?, origin))
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.wanted_bytes(&self.wanted(name, &[Kind::Text])?)
    }

    pub(crate) fn wanted_bytes(&self, wanted: &Wanted<'_>) -> Result<Vec<u8>, Error> {
        self.or_default(wanted.name, || self.read_bytes(wanted))
    }

    fn read_bytes(&self, wanted: &Wanted<'_>) -> Result<Vec<u8>, Error> {
        let (text, origin) = self.expanded(wanted)?;
        let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
        if let Some(bound) = out_of_bounds(length, wanted) {
            let (name, value) = (wanted.name, printable(&text));
            return Err(Error::at(format!("bad string length {length} {bound}: {name} = {value}"), origin));
        }
        Ok(text.into_owned())
    }

    pub(crate) fn text(&self, name: &str) -> Result<String, Error> {
        self.or_default(name, || self.utf8(name, self.bytes(name)?))
    }

    fn utf8(&self, name: &str, bytes: Vec<u8>) -> Result<String, Error> {
        String::from_utf8(bytes).map_err(|error| {
            let value = printable(error.as_bytes());
            Error::at(format!("parameter {name}: value is not UTF-8: {value}"), self.origin(name))
        })
    }

    pub(crate) fn raw(&self, name: &str) -> Result<String, Error> {
        self.or_default(name, || self.read_raw(name))
    }

    fn read_raw(&self, name: &str) -> Result<String, Error> {
        let wanted = self.wanted(name, &[Kind::Raw])?;
        let (text, origin) = self.source(&wanted);
        let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
        if let Some(bound) = out_of_bounds(length, &wanted) {
            let value = printable(text);
            return Err(Error::at(format!("bad string length ({length} {bound}): {name} = {value}"), origin));
        }
        self.utf8(name, text.to_vec())
    }

    pub(crate) fn integer(&self, name: &str) -> Result<i32, Error> {
        self.wanted_integer(&self.wanted(name, &[Kind::Int, Kind::Nint])?)
    }

    pub(crate) fn wanted_integer(&self, wanted: &Wanted<'_>) -> Result<i32, Error> {
        self.number(wanted, value::integer)
    }

    pub(crate) fn long(&self, name: &str) -> Result<i64, Error> {
        self.number(&self.wanted(name, &[Kind::Long])?, value::long)
    }

    fn number<N: Copy + Into<i64>>(
        &self,
        wanted: &Wanted<'_>,
        parse: fn(&[u8]) -> Option<N>,
    ) -> Result<N, Error> {
        self.or_default(wanted.name, || self.read_number(wanted, parse))
    }

    fn read_number<N: Copy + Into<i64>>(
        &self,
        wanted: &Wanted<'_>,
        parse: fn(&[u8]) -> Option<N>,
    ) -> Result<N, Error> {
        let (text, origin) = self.expanded(wanted)?;
        let name = wanted.name;
        let Some(number) = parse(&text) else {
            let value = printable(&text);
            return Err(Error::at(format!("bad numerical configuration: {name} = {value}"), origin));
        };
        match out_of_bounds(number.into(), wanted) {
            Some(bound) => {
                let number: i64 = number.into();
                Err(Error::at(format!("invalid {name} parameter value {number} {bound}"), origin))
            }
            None => Ok(number),
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<bool, Error> {
        self.wanted_boolean(&self.wanted(name, &[Kind::Boolean, Kind::Nbool])?)
    }

    fn wanted_boolean(&self, wanted: &Wanted<'_>) -> Result<bool, Error> {
        self.or_default(wanted.name, || self.read_boolean(wanted))
    }

    fn read_boolean(&self, wanted: &Wanted<'_>) -> Result<bool, Error> {
        let (text, origin) = self.expanded(wanted)?;
        let name = wanted.name;
        value::boolean(&text).ok_or_else(|| {
            let value = printable(&text);
            Error::at(format!("bad boolean configuration: {name} = {value}"), origin)
        })
    }

    pub(crate) fn time(&self, name: &str) -> Result<Duration, Error> {
        self.wanted_time(&self.wanted(name, &[Kind::Time])?)
    }

    pub(crate) fn wanted_time(&self, wanted: &Wanted<'_>) -> Result<Duration, Error> {
        self.or_default(wanted.name, || self.read_time(wanted))
    }

    fn read_time(&self, wanted: &Wanted<'_>) -> Result<Duration, Error> {
        let (text, origin) = self.expanded(wanted)?;
        let name = wanted.name;
        let unit = Parameter::unit_in(&self.expand_text(wanted.default, None)?);
        let Some(time) = value::time(&text, unit) else {
            let value = printable(&text);
            return Err(Error::at(format!("parameter {name}: bad time value or unit: {value}"), origin));
        };
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let bound = if wanted.min != 0 && seconds < wanted.min {
            format!("min {}", wanted.min)
        } else if wanted.max != 0 && seconds > wanted.max {
            format!("max {}", wanted.max)
        } else {
            return Ok(time);
        };
        Err(Error::at(format!("invalid {name}: {seconds} ({bound})"), origin))
    }

    /// Nothing but a dictionary, in a program that sees all names.
    pub(crate) fn of_dictionary(dictionary: Dictionary) -> Self {
        Self {
            program: "postconf".to_owned(),
            dictionary,
            computed: BTreeMap::new(),
            told: None,
            version: Version { minor: DEFAULT_MINOR, mail_version: None, is_assumed: true },
            faults: None,
            passed_over: Faults::default(),
        }
    }

    /// Finds out which version is around, unless that was told.
    pub(crate) fn find_version(&mut self, told: Option<String>) {
        self.version = Version::in_force(self, told);
        if let Some(version) = &self.version.mail_version {
            self.computed.insert("mail_version", version.clone().into_bytes());
        }
    }

    /// Reads all parameters and expands all other names, whatever the outcome.
    pub(crate) fn read_everything(&self) {
        for row in table::all() {
            let _ = self.try_reading(row);
        }
        for (_, entry) in self.dictionary.iter() {
            let _ = self.expand(&entry.value, Some(&entry.origin));
        }
    }

    /// Reads a parameter that all programs have only to see whether it can be read. What stands in the table as it is used
    /// can be: a test has seen to that, and every process begins with these.
    pub(crate) fn check_shared(&self, row: &'static Parameter) -> Result<(), Error> {
        let is_settled = !row.default_in(self.version.minor).contains('$')
            && self.dictionary.get(row.name().as_bytes()).is_none()
            && !self.computed.contains_key(row.name())
            && !is_computed(row.name());
        if is_settled { Ok(()) } else { self.try_reading(row) }
    }

    /// Reads a parameter only to see whether it can be read.
    fn try_reading(&self, row: &'static Parameter) -> Result<(), Error> {
        let wanted = self.row(row);
        match row.kind {
            Kind::Text => self.wanted_bytes(&wanted).map(drop),
            Kind::Raw => self.raw(row.name()).map(drop),
            Kind::Int | Kind::Nint => self.wanted_integer(&wanted).map(drop),
            Kind::Long => self.number(&wanted, value::long).map(drop),
            Kind::Boolean | Kind::Nbool => self.wanted_boolean(&wanted).map(drop),
            Kind::Time => self.wanted_time(&wanted).map(drop),
        }
    }
}

fn out_of_bounds(number: i64, wanted: &Wanted<'_>) -> Option<String> {
    if wanted.min != 0 && number < wanted.min {
        Some(format!("< {}", wanted.min))
    } else if wanted.max != 0 && number > wanted.max {
        Some(format!("> {}", wanted.max))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`Settings::check_shared`] passes over them.
    #[test]
    fn defaults_can_be_read() {
        let mut settings = Settings::of_dictionary(Dictionary::default());
        for minor in crate::version::KNOWN {
            settings.version.minor = minor;
            for row in table::shared().filter(|row| row.is_in(minor) && !is_computed(row.name())) {
                // Every process has a number of its own.
                if row.name() != "process_id" && !row.default_in(minor).contains('$') {
                    settings.try_reading(row).unwrap_or_else(|error| panic!("3.{minor}: {error}"));
                }
            }
        }
    }
}
