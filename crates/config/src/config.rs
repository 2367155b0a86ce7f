//! The settings of one program: main.cf, `-o` options, the table's defaults, and what is computed
//! at start, behind typed accessors.
//!
//! `$name` has a value when main.cf or `-o` gives one, or when the table says that this program
//! reads the parameter; otherwise it is empty, as in Postfix, where a program knows only the
//! parameters it has initialised. An accessor refuses a value that is out of bounds or not of its
//! kind with Postfix's text and the place where it was written.

use std::borrow::Cow;
use std::time::Duration;

use crate::accounts::ACCOUNTS;
use crate::assignment::Assignment;
use crate::dictionary::Dictionary;
use crate::directory::ConfigDir;
use crate::error::{Error, Origin, printable};
use crate::expand::Names;
use crate::faults::Faults;
use crate::globals::Globals;
use crate::logical_lines::found_version;
use crate::settings::Settings;
use crate::table::{Kind, Parameter};
use crate::value;
use crate::version::{self, POSTFIX};

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

    /// What main.cf or `-o` sets the name to, as it is written there, where that means another value than its default in the
    /// version in force.
    pub fn changed(&self, name: &str) -> Option<String> {
        let written = self.settings.dictionary.get(name.as_bytes())?.value.trim_ascii();
        let row = crate::table::find(name);
        row.is_none_or(|row| !self.is_default(row, written)).then(|| printable(written))
    }

    /// The warning about a value that does nothing here, if main.cf or `-o` sets one: `why` says what is done instead. Of a
    /// parameter that the version in force does not have either nothing is said.
    pub fn without_effect(&self, name: &str, why: &str) -> Option<String> {
        let exists = crate::table::find(name).is_none_or(|row| row.is_in(self.settings.version.minor));
        let value = self.changed(name).filter(|value| exists && !value.is_empty())?;
        Some(format!("{name} = {value} has no effect: {why}"))
    }

    fn is_default(&self, row: &Parameter, written: &[u8]) -> bool {
        let default = row.default_in(self.settings.version.minor);
        let texts = [default.as_bytes(), written];
        let [default, value] = match row.kind {
            Kind::Raw => texts.map(Cow::Borrowed),
            _ => texts.map(|text| self.settings.expand_text(text, None).unwrap_or_default()),
        };
        // What cannot be read is not the default.
        let same = |read: &dyn Fn(&[u8]) -> Option<u64>| {
            let value = read(value.trim_ascii());
            value.is_some() && value == read(default.trim_ascii())
        };
        match row.kind {
            Kind::Text | Kind::Raw => default == value,
            Kind::Boolean | Kind::Nbool => same(&|text| value::boolean(text).map(u64::from)),
            Kind::Int | Kind::Nint | Kind::Long => same(&|text| value::long(text).map(i64::cast_unsigned)),
            Kind::Time => {
                let unit = Parameter::unit_in(&default);
                same(&|text| value::time(text, unit).map(|time| time.as_secs()))
            }
        }
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
