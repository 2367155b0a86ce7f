//! Which names mean something: those of the table, those that services bring along, and those that
//! the administrator made up and uses as `$name`.
//!
//! The scopes are main.cf and, one for each entry of master.cf, its `-o` settings. A reference in
//! main.cf gives a meaning to the name in every scope, because a service evaluates main.cf with its
//! own settings; a reference in an entry counts for that entry, or else for main.cf. What is written
//! but means nothing is told as unused, with the parameter that may have been meant; what is referred
//! to but written nowhere, as undefined.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use config::expand::{ExpandError, Expander, Macro, Names, Subject, Token, Tokens};
use config::families::Family;
use config::table::{self, Kind, Parameter};
use config::{Assignment, ConfigDir, Dictionary, Origin, defaults, list, printable};

use crate::database;
use crate::deprecated;
use crate::display;
use crate::master_cf::{self, Service};
use crate::names::{LEGACY, READ_ONLY, about, is_listed};
use crate::options::{Mode, Options};
use crate::{Output, Stop};

/// A place where names are defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// main.cf.
    Main,
    /// The entry of master.cf with this index.
    Service(usize),
}

/// All names.
#[derive(Debug)]
pub struct Catalog {
    directory: ConfigDir,
    main: Dictionary,
    /// Which Postfix is around, by the part of its version behind `3.`.
    minor: u32,
    /// The version of its programs.
    mail_version: Option<String>,
    services: Vec<Service>,
    /// The names that services bring along, and their defaults.
    service_parameters: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Names of main.cf that are neither built in nor a service's, but used.
    used: BTreeSet<Vec<u8>>,
    /// The same for each entry of master.cf.
    used_in_services: Vec<BTreeSet<Vec<u8>>>,
}

impl Catalog {
    /// Reads main.cf (not with `-d`) and master.cf.
    ///
    /// # Errors
    /// When a file cannot be used, or an override is malformed.
    pub fn read(directory: ConfigDir, options: &Options) -> Result<Self, Stop> {
        // Of entries, master.cf is read first; of parameters, main.cf.
        let about_entries = options.mode.is_about_entries();
        let first = about_entries.then(|| services(&directory, options)).transpose()?;
        let mut main = if options.defaults { Dictionary::default() } else { Dictionary::read(&directory)? };
        for text in &options.overrides {
            let Assignment { name, value } = Assignment::parse(text).map_err(|why| {
                Stop::fatal(format!("invalid parameter override: {}: {why}", printable(text)))
            })?;
            main.set(name, value, Origin::Option);
        }
        // What defaults are depends on the Postfix around, which main.cf names or leads to; with -d too.
        let read = || maillog::silently(|| Dictionary::read(&directory)).ok();
        let written = if options.defaults { read() } else { None };
        let version = || config::version::of_main_cf(written.as_ref().unwrap_or(&main));
        let (minor, mail_version) = maillog::silently(version);
        if !options.defaults {
            config::logical_lines::found_version(minor);
        }
        let services = match first {
            Some(services) => services,
            None => services(&directory, options)?,
        };
        let service_parameters = services.iter().flat_map(service_parameters).collect();
        let used_in_services = services.iter().map(|_| BTreeSet::new()).collect();
        let used = BTreeSet::new();
        Ok(Self {
            directory,
            main,
            minor,
            mail_version,
            services,
            service_parameters,
            used,
            used_in_services,
        })
    }

    /// The configuration directory.
    pub fn directory(&self) -> &ConfigDir {
        &self.directory
    }

    /// The entries of master.cf.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Notes what is used by whom, and tells about what is undefined or cannot be set.
    ///
    /// # Errors
    /// When a value cannot be expanded.
    pub(crate) fn find_uses(&mut self) -> Result<(), Stop> {
        let main: Vec<_> = self.main.iter().map(|(name, entry)| (name.to_vec(), entry.clone())).collect();
        for (index, service) in self.services.clone().iter().enumerate() {
            for (name, value) in &service.settings {
                // What no entry can set is told once for all of a service.
                if is_listed(READ_ONLY, name) && self.namesake(index) != index {
                    continue;
                }
                let place = self.place_of(index, name);
                self.look_at(name, value, Scope::Service(index), &place)?;
            }
        }
        // A fault in what these depend on ends the command, whatever it was asked for.
        for name in defaults::COMPUTED.iter().filter(|name| self.main.get(name.as_bytes()).is_none()) {
            defaults::compute(name, &self.main).map_err(|error| Stop::fatal(fatal_text(&error)))?;
        }
        for (name, entry) in &main {
            self.look_at(name, &entry.value, Scope::Main, &entry.origin.to_string())?;
        }
        Ok(())
    }

    /// The first entry of master.cf for the same service that has settings, which are those of all behind it.
    fn namesake(&self, index: usize) -> usize {
        let service = &self.services[index];
        let is_first = |other: &Service| other.is_namesake(service) && !other.settings.is_empty();
        self.services.iter().position(is_first).unwrap_or(index)
    }

    /// `FILE, line N` of the last entry of master.cf that sets a parameter of this service.
    fn place_of(&self, index: usize, name: &[u8]) -> String {
        let service = &self.services[index];
        let mut setting = self.services.iter().filter(|other| other.is_namesake(service) && other.sets(name));
        let line = setting.next_back().unwrap_or(service).entry.line;
        format!("{}, line {line}", self.directory.master_cf().display())
    }

    fn look_at(&mut self, name: &[u8], value: &[u8], scope: Scope, place: &str) -> Result<(), Stop> {
        if is_listed(READ_ONLY, name) {
            let (name, value) = (printable(name), printable(value));
            log::warn!("{}: read-only parameter assignment: {name}={value} ({place})", self.file(scope));
            return Ok(());
        }
        let is_raw = self.built_in(name).is_some_and(|row| row.kind == Kind::Raw);
        if name == b"smtpd_restriction_classes" {
            // Of these the names are needed before all else; an entry of master.cf has to name them itself.
            let names = ScopedNames { catalog: self, scope, defaults: Defaults::Own };
            let classes = Expander::recursive(&names).expand(value).map_err(|faults| {
                faults.iter().for_each(|fault| log::warn!("{fault} ({place})"));
                Stop::fatal(format!("dictionary {}: macro processing error", self.dictionary(scope)))
            })?;
            list::words(&classes).for_each(|class| self.refer(class, scope, place));
        }
        // Who only looks for names goes on behind a mistake; who needs the value does not.
        if !is_raw && let Err(fault) = self.scan(value, scope, place) {
            log::warn!("{fault} ({place})");
        }
        if self.is_known(name) && !is_raw {
            // What comes from a default refers to nothing that could be unknown.
            let names = ScopedNames { catalog: self, scope, defaults: Defaults::None };
            let value = self.expand_with(value, &names, Some(place))?;
            self.look_at_databases(&value, scope, place);
        }
        Ok(())
    }

    /// Notes each `$name` of a text, in all branches, up to the first mistake.
    fn scan(&mut self, text: &[u8], scope: Scope, place: &str) -> Result<(), ExpandError> {
        for token in Tokens::new(text) {
            let content = match token? {
                Token::Literal(_) => continue,
                Token::Macro(b"") => return Err(ExpandError::EmptyName(printable(text))),
                Token::Macro(content) => content,
            };
            let Macro { subject, branches } = Macro::parse(content)?;
            match subject {
                Subject::Name(name) => self.refer(name, scope, place),
                Subject::Call { argument, .. } => self.scan(argument, scope, place)?,
                Subject::Relation { left, right, .. } => {
                    self.scan(left, scope, place)?;
                    self.scan(right, scope, place)?;
                }
            }
            let branches = branches?;
            for branch in [branches.then, branches.otherwise].into_iter().flatten() {
                self.scan(branch, scope, place)?;
            }
        }
        Ok(())
    }

    /// Notes that a name is used.
    fn refer(&mut self, name: &[u8], scope: Scope, place: &str) {
        if self.is_known(name) || is_listed(LEGACY, name) {
            return;
        }
        let mut is_defined = false;
        match scope {
            Scope::Service(index) if self.services[index].settings.contains_key(name) => {
                let index = self.namesake(index);
                self.used_in_services[index].insert(name.to_vec());
                return;
            }
            Scope::Service(_) => {}
            Scope::Main => {
                for (service, used) in self.services.iter().zip(&mut self.used_in_services) {
                    if service.settings.contains_key(name) {
                        used.insert(name.to_vec());
                        is_defined = true;
                    }
                }
            }
        }
        if self.main.get(name).is_some() {
            self.used.insert(name.to_vec());
        } else if !is_defined {
            log::warn!("{}: undefined parameter: {} ({place})", self.file(scope), printable(name));
        }
    }

    fn look_at_databases(&mut self, value: &[u8], scope: Scope, place: &str) {
        let file = match scope {
            Scope::Main => "main.cf".to_owned(),
            Scope::Service(_) => format!("master.cf:{}", self.dictionary(scope)),
        };
        for fault in database::brace_faults(value) {
            log::warn!("{file}: {fault} ({place})");
        }
        for table in database::references(value, self.minor) {
            if matches!(table.name.first(), Some(b'/' | b'.')) {
                database::report_unknown_in_file(&table, self.minor, place);
                continue;
            }
            for name in table.client.names(table.name, self.minor) {
                let is_defined = match scope {
                    Scope::Service(index) => self.services[index].settings.contains_key(&name),
                    Scope::Main => self.services.iter().any(|service| service.settings.contains_key(&name)),
                };
                if is_defined || self.main.get(&name).is_some() {
                    self.refer(&name, scope, place);
                }
            }
        }
    }

    /// Tells about what is set in main.cf and will go, is gone, or means nothing. Says whether the first two were there.
    pub(crate) fn report_main(&self) -> bool {
        let mut is_deprecated = false;
        for (name, entry) in self.main.iter() {
            let place = entry.origin.to_string();
            if self.report_deprecated(Scope::Main, name, &place) {
                is_deprecated = true;
            } else if !self.is_known(name) && !is_listed(LEGACY, name) && !self.used.contains(name) {
                self.report_one(Scope::Main, name, &entry.value, &place);
            }
        }
        is_deprecated
    }

    /// The same for master.cf.
    pub(crate) fn report_services(&self) -> bool {
        let mut is_deprecated = false;
        for (index, service) in self.services.iter().enumerate() {
            for (name, value) in &service.settings {
                let place = self.place_of(index, name);
                let is_used = self.used_in_services[self.namesake(index)].contains(name);
                if self.report_deprecated(Scope::Service(index), name, &place) {
                    is_deprecated = true;
                } else if !self.is_known(name) && !is_listed(LEGACY, name) && !is_used {
                    self.report_one(Scope::Service(index), name, value, &place);
                }
            }
        }
        is_deprecated
    }

    fn report_deprecated(&self, scope: Scope, name: &[u8], place: &str) -> bool {
        let warning = deprecated::warning(name, self.minor);
        if let Some(warning) = &warning {
            log::warn!("{}: {warning} ({place})", self.file(scope));
        }
        warning.is_some()
    }

    /// Where to read about what [`Catalog::report_main`] and [`Catalog::report_services`] found to be deprecated.
    pub(crate) fn report_details(&self) {
        if let Some(details) = deprecated::details(self.minor) {
            log::warn!("{details}");
        }
    }

    /// Behind Postfix's words: where it is, and what the name may be about.
    fn report_one(&self, scope: Scope, name: &[u8], value: &[u8], place: &str) {
        let about = std::str::from_utf8(name).map(about).unwrap_or_default();
        let (name, value) = (printable(name), printable(value));
        log::warn!("{}: unused parameter: {name}={value} ({place}{about})", self.file(scope));
    }

    fn file(&self, scope: Scope) -> String {
        let path = match scope {
            Scope::Main => self.directory.main_cf(),
            Scope::Service(_) => self.directory.master_cf(),
        };
        path.display().to_string()
    }

    /// What the settings of a scope are called where they have no file.
    fn dictionary(&self, scope: Scope) -> String {
        match scope {
            Scope::Main => "mail_dict".to_owned(),
            Scope::Service(index) => {
                let service = &self.services[index];
                format!("{}/{}", printable(service.name()), printable(service.transport()))
            }
        }
    }

    fn built_in(&self, name: &[u8]) -> Option<&'static Parameter> {
        table::find(std::str::from_utf8(name).ok()?).filter(|row| row.is_in(self.minor))
    }

    fn is_known(&self, name: &[u8]) -> bool {
        self.built_in(name).is_some() || self.service_parameters.contains_key(name)
    }

    /// The default of a known name.
    fn default(&self, name: &[u8]) -> Result<Option<Cow<'_, [u8]>>, config::Error> {
        if let Some(row) = self.built_in(name) {
            return match row.name() {
                "process_name" => Ok(Some(Cow::Borrowed(b"postconf"))),
                "mail_version" if self.mail_version.is_some() => {
                    Ok(self.mail_version.as_deref().map(|version| Cow::Borrowed(version.as_bytes())))
                }
                name if defaults::COMPUTED.contains(&name) => {
                    defaults::compute(name, &self.main).map(|value| Some(Cow::Owned(value)))
                }
                _ => Ok(Some(Cow::Borrowed(row.default_in(self.minor).as_bytes()))),
            };
        }
        let of_service = self.service_parameters.get(name).map(Vec::as_slice);
        let legacy = is_listed(LEGACY, name).then_some(&b""[..]);
        Ok(of_service.or(legacy).map(Cow::Borrowed))
    }

    /// Expands a text with the names of a scope.
    ///
    /// # Errors
    /// When the text is malformed or refers to itself.
    pub fn expand(&self, text: &[u8], scope: Scope) -> Result<Vec<u8>, Stop> {
        self.expand_with(text, &ScopedNames { catalog: self, scope, defaults: Defaults::All }, None)
    }

    fn expand_with(
        &self,
        text: &[u8],
        names: &ScopedNames<'_>,
        place: Option<&str>,
    ) -> Result<Vec<u8>, Stop> {
        Expander::recursive(names).expand(text).map_err(|faults| {
            let mut last = None;
            for fault in faults.iter() {
                last = Some(syntax_error(fault, place));
            }
            last.unwrap_or_else(|| Stop::fatal("macro processing error"))
        })
    }

    /// The value of a parameter of the table, expanded.
    ///
    /// # Errors
    /// When it cannot be expanded.
    pub(crate) fn expanded_text(&self, name: &[u8]) -> Result<Vec<u8>, Stop> {
        let value = self.value(name)?.unwrap_or_default();
        self.expand(&value, Scope::Main)
    }

    /// What main.cf says, or else the default; `None` when the name means nothing.
    fn value(&self, name: &[u8]) -> Result<Option<Cow<'_, [u8]>>, config::Error> {
        match self.main.get(name) {
            Some(entry) if !is_listed(READ_ONLY, name) => Ok(Some(Cow::Borrowed(&entry.value))),
            _ => self.default(name),
        }
    }

    fn is_shown(&self, name: &[u8]) -> bool {
        self.is_known(name) || self.is_user_defined(name) || is_listed(LEGACY, name)
    }

    fn is_user_defined(&self, name: &[u8]) -> bool {
        self.used.contains(name) || (is_listed(LEGACY, name) && self.main.get(name).is_some())
    }

    /// Shows the parameters that the options ask for.
    ///
    /// # Errors
    /// When a value cannot be expanded or computed.
    pub fn show(&self, output: &mut Output, options: &Options) -> Result<(), Stop> {
        if !options.names.is_empty() {
            for name in &options.names {
                if self.is_shown(name) {
                    self.show_one(output, options, name)?;
                } else {
                    log::warn!("{}: unknown parameter", printable(name));
                }
            }
            return Ok(());
        }
        let mut names: BTreeSet<Cow<'_, [u8]>> = BTreeSet::new();
        if options.classes.builtin {
            let current = table::all().filter(|row| row.is_in(self.minor));
            // A parameter of the table that belongs to a service counts as the service's.
            let current = current.filter(|row| !self.service_parameters.contains_key(row.name().as_bytes()));
            names.extend(current.map(|row| Cow::Borrowed(row.name().as_bytes())));
        }
        if options.classes.service {
            let own = self.service_parameters.keys();
            names.extend(own.map(|name| Cow::Borrowed(name.as_slice())));
        }
        if options.classes.user {
            let own = self.main.iter().filter(|(name, _)| self.is_user_defined(name));
            names.extend(own.map(|(name, _)| Cow::Borrowed(name)));
            let settings = self.services.iter().flat_map(|service| service.settings.keys());
            let legacy = settings.filter(|name| is_listed(LEGACY, name));
            names.extend(legacy.map(|name| Cow::Borrowed(name.as_slice())));
        }
        names.iter().try_for_each(|name| self.show_one(output, options, name))
    }

    fn show_one(&self, output: &mut Output, options: &Options, name: &[u8]) -> Result<(), Stop> {
        let is_set = self.main.get(name).is_some() && !is_listed(READ_ONLY, name);
        if options.set_only && !is_set {
            return Ok(());
        }
        if options.layout.hide_value {
            display::setting(output, options.layout, name, b"");
            return Ok(());
        }
        let Some(value) = self.value(name)? else { return Ok(()) };
        // Raw parameters have names of their own in them, which main.cf does not know.
        let is_raw = self.built_in(name).is_some_and(|row| row.kind == Kind::Raw);
        let value = match options.expand && !is_raw {
            true => self.expand(&value, Scope::Main)?,
            false => value.into_owned(),
        };
        display::setting(output, options.layout, name, &value);
        Ok(())
    }
}

/// The names as one scope sees them.
struct ScopedNames<'a> {
    catalog: &'a Catalog,
    scope: Scope,
    defaults: Defaults,
}

/// What a name is that the scope does not set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Defaults {
    /// What main.cf says, or else the default.
    All,
    /// What main.cf says.
    None,
    /// Nothing, in an entry of master.cf what main.cf says too.
    Own,
}

impl Names for ScopedNames<'_> {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        if let Scope::Service(index) = self.scope {
            let service = &self.catalog.services[index];
            match name {
                b"process_name" => return Some(Cow::Owned(service.program().into_bytes())),
                b"service_name" => return Some(Cow::Borrowed(service.name())),
                _ => {}
            }
            if let Some(value) = service.settings.get(name) {
                return Some(Cow::Borrowed(value));
            }
        }
        if self.defaults == Defaults::Own && self.scope != Scope::Main {
            return None;
        }
        if self.defaults != Defaults::All {
            return self.catalog.main.get(name).map(|entry| Cow::Borrowed(entry.value.as_slice()));
        }
        match self.catalog.value(name) {
            Ok(value) => value,
            Err(error) => {
                log::warn!("{error}");
                None
            }
        }
    }
}

/// The entries of master.cf.
fn services(directory: &ConfigDir, options: &Options) -> Result<Vec<Service>, Stop> {
    match options.mode {
        // What is shown then does not depend on it.
        Mode::Templates | Mode::ExpandedTemplates => return Ok(Vec::new()),
        _ => {}
    }
    match master_cf::read(directory) {
        Ok(services) => Ok(master_cf::with_shared_settings(services)),
        // What is shown of main.cf depends on master.cf only in its service parameters.
        Err(master_cf::ReadError::Open(text)) if options.mode == Mode::MainParameters => {
            log::warn!("{text}");
            Ok(Vec::new())
        }
        Err(error) => Err(Stop::fatal(error.to_string())),
    }
}

/// The names that an entry of master.cf brings along.
fn service_parameters(service: &Service) -> Vec<(Vec<u8>, Vec<u8>)> {
    let program = service.program();
    let families = Family::of_program(&program);
    let names = families.map(|family| {
        let name = [service.name(), family.suffix.as_bytes()].concat();
        (name, [b"$", family.fallback.as_bytes()].concat())
    });
    names.collect()
}

/// A default that cannot be expanded is postconf's own fault, a value the dictionary's.
fn fatal_text(error: &config::Error) -> &str {
    match error.text().strip_prefix("dictionary mail_dict: ") {
        Some(text) if error.origin().is_none() => text,
        _ => error.text(),
    }
}

/// Tells what is wrong with a text. A number that cannot be compared ends the command with its own
/// words.
fn syntax_error(fault: &ExpandError, place: Option<&str>) -> Stop {
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    match fault {
        ExpandError::Number(_) => Stop::fatal(format!("{fault}{place}")),
        _ => {
            log::warn!("{fault}{place}");
            Stop::fatal("macro processing error")
        }
    }
}
