//! The settings of one program: main.cf, `-o` options, the table's defaults, and what is computed
//! at start, behind typed accessors.
//!
//! `$name` has a value when main.cf or `-o` gives one, or when the table says that this program
//! reads the parameter; otherwise it is empty, as in Postfix, where a program knows only the
//! parameters it has initialised. An accessor refuses a value that is out of bounds or not of its
//! kind with Postfix's text and the place where it was written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::accounts::ACCOUNTS;
use crate::assignment::Assignment;
use crate::dictionary::Dictionary;
use crate::directory::ConfigDir;
use crate::error::{Error, Origin, printable};
use crate::expand::{ExpandError, Expander, Names};
use crate::faults::Faults;
use crate::globals::Globals;
use crate::logical_lines::found_version;
use crate::table::{self, Kind, Parameter};
use crate::value;
use crate::version::{self, DEFAULT_MINOR, POSTFIX, Version};

/// A `name=value` that replaces what main.cf says, in this process only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Override {
    /// From a name and a raw value.
    pub fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// From the argument of an `-o` option.
    ///
    /// # Errors
    /// When it is not `name=value`.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        match Assignment::parse(text) {
            Ok(Assignment { name, value }) => Ok(Self::new(name, value)),
            Err(why) => {
                let text = printable(text);
                Err(Error::new(format!("invalid \"-o {text}\" option value: {why}")))
            }
        }
    }
}

/// The settings of one program.
#[derive(Debug, Clone)]
pub struct Config {
    directory: ConfigDir,
    settings: Settings,
    globals: Globals,
}

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

impl Config {
    /// Reads main.cf for a command, and evaluates all that programs have in common (see [`Globals`]). `program` is the name of the program
    /// (`smtpd`, `postmap`).
    ///
    /// # Errors
    /// Whatever Postfix would stop for at this point.
    pub fn load(program: &str, directory: &ConfigDir, overrides: &[Override]) -> Result<Self, Error> {
        Self::evaluate(program, directory, overrides, &[], None)
    }

    /// As [`Config::load`], for a service: `service` is the first field of its line in master.cf, `process` the name
    /// that the process goes by, which is not the program's when its file was renamed. `$process_name` and
    /// `$service_name` have a value only here, whatever main.cf or an option says.
    ///
    /// # Errors
    /// Whatever Postfix would stop for at this point.
    pub fn load_service(
        program: &str,
        process: &str,
        service: &str,
        directory: &ConfigDir,
        overrides: &[Override],
    ) -> Result<Self, Error> {
        let names = [("process_name", process), ("service_name", service)];
        Self::evaluate(program, directory, overrides, &names, None)
    }

    /// As [`Config::load_service`], for one who wants to know all that is wrong: a parameter whose value cannot be used is
    /// noted in `faults`, and has its default from then on.
    ///
    /// # Errors
    /// What cannot be put right by a default.
    pub fn examine_service(
        program: &str,
        process: &str,
        service: &str,
        directory: &ConfigDir,
        overrides: &[Override],
        faults: &Faults,
    ) -> Result<Self, Error> {
        let names = [("process_name", process), ("service_name", service)];
        Self::evaluate(program, directory, overrides, &names, Some(faults))
    }

    fn evaluate(
        program: &str,
        directory: &ConfigDir,
        overrides: &[Override],
        names: &[(&str, &str)],
        faults: Option<&Faults>,
    ) -> Result<Self, Error> {
        directory.authorize()?;
        let mut dictionary = Dictionary::read(directory)?;
        for Override { name, value } in overrides {
            dictionary.set(name, value, Origin::Option);
        }
        let process_id = std::process::id().to_string();
        let fixed = [("process_id", process_id.as_str()), ("postern_version", version::POSTERN)];
        for (name, value) in names.iter().chain(&fixed) {
            dictionary.set(name.as_bytes(), value.as_bytes(), Origin::Program);
        }
        let told = if names.is_empty() { None } else { std::env::var(ACCOUNTS).ok() };
        let faults = faults.cloned();
        let mut settings = Settings { told, faults, ..Settings::of_dictionary(dictionary) };
        program.clone_into(&mut settings.program);
        // Master finds out for all.
        let is_service = !names.is_empty() && program != "master";
        settings.find_version(if is_service { std::env::var(POSTFIX).ok() } else { None });
        found_version(settings.version.minor);
        let globals = Globals::evaluate(&mut settings, directory)?;
        Ok(Self { directory: directory.clone(), settings, globals })
    }

    /// The directory that main.cf was read from.
    pub fn directory(&self) -> &ConfigDir {
        &self.directory
    }

    /// The shared parameters, evaluated and checked.
    pub fn globals(&self) -> &Globals {
        &self.globals
    }

    /// What is to be told, once for an instance, when the version in force is not that of the Postfix around.
    pub fn version_mismatch(&self) -> Option<Error> {
        version::mismatch(&self.settings)
    }

    /// The version of the Postfix around as services are told it; empty for none.
    pub fn postfix_found(&self) -> String {
        version::find(&self.settings).unwrap_or_default()
    }

    /// What has been passed over since the last call: values that cannot be used, of parameters that the Postfix around
    /// does not have.
    pub fn passed_over(&self) -> Vec<Error> {
        self.settings.passed_over.take()
    }

    /// The name of the program this configuration was read for.
    pub fn program(&self) -> &str {
        &self.settings.program
    }

    /// Whether main.cf or `-o` sets the name, even to nothing.
    pub fn is_set(&self, name: &str) -> bool {
        self.settings.dictionary.get(name.as_bytes()).is_some()
    }

    /// What main.cf or `-o` sets the name to, as it is written there, where that is not its default in the version in force.
    pub fn changed(&self, name: &str) -> Option<String> {
        let written = self.settings.dictionary.get(name.as_bytes())?.value.trim_ascii();
        let default = crate::table::find(name).map(|row| row.default_in(self.settings.version.minor));
        let differs = default.is_none_or(|default| default.as_bytes() != written);
        differs.then(|| printable(written))
    }

    /// All that main.cf sets, sorted by name.
    pub fn written(&self) -> impl Iterator<Item = (&[u8], &crate::Entry)> {
        let all = self.settings.dictionary.iter();
        all.filter(|(_, entry)| matches!(entry.origin, Origin::File(..)))
    }

    /// Where a name was set; `None` when it was not.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.settings.origin(name)
    }

    /// A parameter whose value this program cannot use: the text, and where the value was written.
    pub fn wrong(&self, name: &str, text: impl Into<String>) -> Error {
        Error::at(text, self.origin(name))
    }

    /// The meanings of the words of a parameter, each of which `find` must know. The complaint about one that it does
    /// not is about `complains`, which is not always this parameter.
    ///
    /// # Errors
    /// A word is none of them, or as [`Config::text`].
    pub fn known_words<T>(
        &self,
        name: &str,
        complains: &str,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let text = self.text(name)?;
        crate::list::words(text.as_bytes())
            .map(|word| {
                let word = String::from_utf8_lossy(word);
                find(&word).ok_or_else(|| {
                    self.wrong(name, format!("unknown {complains} value \"{word}\" in \"{text}\""))
                })
            })
            .collect()
    }

    /// A text parameter, expanded.
    ///
    /// # Errors
    /// When it cannot be expanded, is too short or too long, or is not UTF-8 (see [`Config::bytes`]).
    pub fn text(&self, name: &str) -> Result<String, Error> {
        self.settings.text(name)
    }

    /// A text parameter that may hold any bytes.
    ///
    /// # Errors
    /// When it cannot be expanded, or is too short or too long.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.settings.bytes(name)
    }

    /// An `int` or `nint` parameter.
    ///
    /// # Errors
    /// When it is no number or out of its bounds.
    pub fn integer(&self, name: &str) -> Result<i32, Error> {
        self.settings.integer(name)
    }

    /// A `long` parameter.
    ///
    /// # Errors
    /// When it is no number or out of its bounds.
    pub fn long(&self, name: &str) -> Result<i64, Error> {
        self.settings.long(name)
    }

    /// A `bool` or `nbool` parameter.
    ///
    /// # Errors
    /// When it is neither `yes` nor `no`.
    pub fn boolean(&self, name: &str) -> Result<bool, Error> {
        self.settings.boolean(name)
    }

    /// A time parameter.
    ///
    /// # Errors
    /// When it is no time or out of its bounds.
    pub fn time(&self, name: &str) -> Result<Duration, Error> {
        self.settings.time(name)
    }

    /// A `raw` parameter: the unexpanded text.
    ///
    /// # Errors
    /// When it is too short or too long, or not UTF-8.
    pub fn raw(&self, name: &str) -> Result<String, Error> {
        self.settings.raw(name)
    }

    /// The expanded value of a name that is in no table: a restriction class, a database client's
    /// setting, an administrator's own. `None` when main.cf does not set it.
    ///
    /// # Errors
    /// When it cannot be expanded.
    pub fn custom(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let entry = self.settings.dictionary.get(name.as_bytes());
        entry.map(|entry| self.settings.expand(&entry.value, Some(&entry.origin))).transpose()
    }

    /// Expands a text with the names of main.cf.
    ///
    /// # Errors
    /// When it cannot be expanded.
    pub fn expand(&self, text: &str) -> Result<String, Error> {
        let bytes = self.settings.expand(text.as_bytes(), None)?;
        String::from_utf8(bytes).map_err(|_| Error::new(format!("not UTF-8 after expansion: {text}")))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Names for Config {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.settings.value(name)
    }
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
    fn expand_text<'t>(&self, text: &'t [u8], origin: Option<&Origin>) -> Result<Cow<'t, [u8]>, Error> {
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
        for minor in version::KNOWN {
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
