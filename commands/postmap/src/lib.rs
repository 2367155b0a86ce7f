//! The postmap command: makes, changes and asks lookup tables (spec commands 4, tables 4).
//!
//! `run` takes the options apart. [`create`] has the making of a table and its deletions, [`query`] the look-ups and
//! the listing, [`message_keys`] the headers and body lines that `-h` and `-b` look up; postalias uses them too.
//! Refused, with Postfix's texts: options that exclude each other, types that cannot be made or listed.

#![forbid(unsafe_code)]

pub mod create;
mod message_keys;
pub mod query;

use std::path::PathBuf;

use command::{Command, Environment, Log, Opt};
use config::logical_lines::trim;
use config::{Config, ConfigDir, Dictionary, printable};
use lookup::Flags;

use create::{Line, Rights};
use query::Show;

/// The first version in which each of `-d`, `-i`, `-q` and `-s` excludes every other, and itself, and that has `-j`.
const ALL_EXCLUDE: u32 = 11;
const USAGE: &str = "usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...";

/// What the command has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Make tables from their sources.
    Create,
    /// Add entries from stdin.
    Add,
    /// Delete a key, or with `-` those on stdin.
    Delete(Vec<u8>),
    /// Look up a key, or with `-` those on stdin.
    Query(Vec<u8>),
    /// List a table.
    List,
}

/// The options that postmap and postalias share.
#[derive(Debug)]
pub struct Options {
    /// `-c`.
    pub directory: Option<PathBuf>,
    /// `-i`.
    pub add: bool,
    /// `-d`.
    pub delete: Option<Vec<u8>>,
    /// `-q`.
    pub query: Option<Vec<u8>>,
    /// `-s`.
    pub list: bool,
    /// `-j`.
    pub json: bool,
    /// What becomes of the source's owner and mode.
    pub rights: Rights,
    /// For the tables.
    pub flags: Flags,
    /// No `-u`.
    pub utf8: bool,
    /// How many of `-d`, `-i`, `-q` and `-s` there are.
    tasks: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            directory: None,
            add: false,
            delete: None,
            query: None,
            list: false,
            json: false,
            rights: Rights::default(),
            flags: Flags::LOCK.with(Flags::FOLD_FIX).with(Flags::WARN_DUPLICATES),
            utf8: true,
            tasks: 0,
        }
    }
}

impl Options {
    /// Takes one of the shared options; false when it is another.
    pub fn take(&mut self, command: &Command, option: Opt<'_>) -> bool {
        let bytes = |text: &std::ffi::OsStr| text.as_encoded_bytes().to_vec();
        let duplicates =
            Flags::WARN_DUPLICATES.with(Flags::IGNORE_DUPLICATES).with(Flags::REPLACE_DUPLICATES);
        if matches!(option, Opt::With('d' | 'q', _) | Opt::Flag('i' | 's')) {
            self.tasks += 1;
        }
        match option {
            Opt::With('c', value) => self.directory = Some(value.into()),
            Opt::With('d', value) => {
                self.only_one(self.list || self.query.is_some() || self.delete.is_some(), "-s -q or -d");
                self.delete = Some(bytes(value));
            }
            Opt::With('q', value) => {
                self.only_one(self.list || self.query.is_some() || self.delete.is_some(), "-s -q or -d");
                self.query = Some(bytes(value));
            }
            Opt::Flag('s') => {
                self.only_one(self.query.is_some() || self.delete.is_some(), "-s or -q or -d");
                self.list = true;
            }
            Opt::Flag('f') => self.flags = self.flags.without(Flags::FOLD_FIX),
            Opt::Flag('i') => self.add = true,
            Opt::Flag('j') => self.json = true,
            Opt::Flag('N') => self.flags = self.flags.with(Flags::TRY1NULL).without(Flags::TRY0NULL),
            Opt::Flag('n') => self.flags = self.flags.with(Flags::TRY0NULL).without(Flags::TRY1NULL),
            Opt::Flag('o') => self.rights.keep_root = true,
            Opt::Flag('p') => self.rights.source_mode = false,
            Opt::Flag('r') => self.flags = self.flags.without(duplicates).with(Flags::REPLACE_DUPLICATES),
            Opt::Flag('w') => self.flags = self.flags.without(duplicates).with(Flags::IGNORE_DUPLICATES),
            Opt::Flag('u') => self.utf8 = false,
            Opt::Flag('v') => command.raise_verbosity(),
            _ => return false,
        }
        true
    }

    /// Before 3.11 told at once, whatever follows; which words Postfix has for it depends on the option that comes last.
    fn only_one(&self, is_conflict: bool, names: &str) {
        let is_older = || {
            let directory = self.directory.clone().map_or_else(ConfigDir::from_environment, ConfigDir::new);
            let main = Dictionary::read(&directory).unwrap_or_default();
            config::version::of_main_cf(&main).0 < ALL_EXCLUDE
        };
        if is_conflict && maillog::silently(is_older) {
            maillog::fatal(format_args!("specify only one of {names}"));
        }
    }

    /// Reads main.cf, and refuses what depends on its version: from 3.11 on each of the four excludes every other, and
    /// itself; before, there is no `-j`.
    pub fn configure(&self, command: &Command, program: &str, usage: &str) -> Config {
        let config = command.configure(program, self.directory.clone(), Environment::Add);
        let is_newer = config.globals().postfix_minor >= ALL_EXCLUDE;
        if is_newer && self.tasks > 1 {
            maillog::fatal("specify only one of -d -i -q or -s");
        }
        if !is_newer && self.json {
            command.options("").refuse('j');
            maillog::fatal(usage);
        }
        config
    }

    /// What they ask for.
    #[must_use]
    pub fn task(&self) -> Task {
        if self.json && self.query.is_none() && !self.list {
            maillog::fatal("option -j requires -q or -s");
        }
        match (&self.delete, &self.query) {
            (Some(key), _) => Task::Delete(key.clone()),
            (_, Some(key)) => Task::Query(key.clone()),
            _ if self.list => Task::List,
            _ if self.add => Task::Add,
            _ => Task::Create,
        }
    }
}

/// Tables are `type:name`, with a type of default that main.cf names.
#[must_use]
pub fn reference<'a>(config: &'a Config, word: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    match word.iter().position(|byte| *byte == b':') {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (config.globals().default_database_type.as_bytes(), word),
    }
}

/// The command, from its arguments to its exit.
pub fn run() {
    lookup::link_drivers();
    let command = Command::start(Log::StderrAndLog);
    let mut getopt = command.options("Nc:bd:fFhijmnopq:rsuUvw");
    let mut options = Options::default();
    let mut keys = message_keys::Keys::default();
    let mut force_utf8 = false;
    for option in getopt.by_ref() {
        match option {
            Opt::Flag('b') => keys.body = true,
            Opt::Flag('h') => keys.headers = true,
            Opt::Flag('m') => keys.mime = true,
            Opt::Flag('U') => force_utf8 = true,
            Opt::Flag('F') => options.flags = options.flags.with(Flags::FILE_VALUES),
            option if options.take(&command, option) => {}
            _ => maillog::fatal(USAGE),
        }
    }
    let tables: Vec<Vec<u8>> =
        getopt.operands().iter().map(|word| word.as_encoded_bytes().to_vec()).collect();
    let config = options.configure(&command, "postmap", USAGE);
    if keys.any() && options.query.as_deref() != Some(b"-") {
        maillog::fatal("specify -b -h or -m only with \"-q -\"");
    }
    if tables.is_empty() && !options.list {
        maillog::fatal(USAGE);
    }
    let message = keys.headers || keys.body;
    if config.globals().smtputf8_enable && options.utf8 && (!message || force_utf8) {
        options.flags = options.flags.with(Flags::UTF8);
    }
    if keys.mime && !message {
        log::warn!("ignoring -m option without -b or -h");
    }
    let show = Show::KeyTabValue.unless_json(&options);
    let status = match options.task() {
        Task::Query(key) if message && key == b"-" => query::message(&config, &tables, &options, keys),
        Task::Query(key) => query::query(&config, &tables, &options, &key, show),
        Task::List => query::list(&config, &tables, &options, show),
        Task::Delete(key) => create::delete(&config, &tables, &options, &key),
        Task::Add | Task::Create => {
            for table in &tables {
                create::create(&config, table, &options, &parse, None);
            }
            0
        }
    };
    sys::process::exit_now(status);
}

/// A line of the source: key, white space, value.
fn parse(line: &Line<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let Line { text, place, .. } = line;
    let Some(end) = lookup::key_length(text) else {
        log::warn!("{place}: unbalanced '\"' in '{}' -- ignoring this line", printable(text));
        return None;
    };
    let (key, value) = (&text[..end], trim(&text[end..]));
    if key.is_empty() || value.is_empty() {
        log::warn!("{place}: expected format: key whitespace value");
        return None;
    }
    if key.ends_with(b":") {
        log::warn!("{place}: record is in \"key: value\" format; is this an alias file?");
    }
    if line.file_values {
        return match lookup::base64::of_files(value) {
            Ok(value) => Some((key.to_vec(), value)),
            Err(why) => {
                log::warn!("{place}: {why}: skipping this entry");
                None
            }
        };
    }
    Some((key.to_vec(), value.to_vec()))
}
