//! What all commands do at start.
//!
//! [`Command::start`] opens missing standard descriptors, finds the name under which the command shows itself, and
//! sends diagnostics to stderr as `NAME: SEVERITY: TEXT`, and to the log unless the command is one of those that only
//! talk to their caller. [`Command::options`] takes the options apart; [`Command::configure`] reads main.cf (from the
//! directory of `-c`, which the command's children see as `MAIL_CONFIG`), directs the log, and applies
//! `import_environment`. What is wrong with the configuration ends the command with Postfix's fatal text.
//!
//! ```no_run
//! use command::{Command, Log, Opt};
//!
//! let command = Command::start(Log::StderrAndLog);
//! let mut directory = None;
//! for option in command.options("c:v") {
//!     match option {
//!         Opt::With('c', value) => directory = Some(value.into()),
//!         Opt::Flag('v') => command.raise_verbosity(),
//!         _ => maillog::fatal("usage: example [-c config_dir] [-v]"),
//!     }
//! }
//! let config = command.configure("example", directory, command::Environment::Add);
//! ```

#![forbid(unsafe_code)]

mod getopt;
pub mod json;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use config::{Config, ConfigDir, Override};

pub use getopt::{Getopt, Opt};

/// Makes the commands verbose when it is in the environment.
const VERBOSE_ENVIRONMENT: &str = "MAIL_VERBOSE";
/// Of files that the commands create.
const UMASK: u32 = 0o022;

/// Where diagnostics go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// To stderr and to the log.
    StderrAndLog,
    /// To stderr alone: postconf, postcat, postkick, postlock.
    Stderr,
}

/// What `import_environment` does to the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Its `name=value` items are set, all else stays.
    Add,
    /// Nothing is left but what it lists: the commands that are set-gid, `postfix` and `postmulti`.
    Replace,
}

/// A command that is starting.
#[derive(Debug)]
pub struct Command {
    name: String,
    arguments: Vec<OsString>,
    log: Log,
}

impl Command {
    /// Starts a command that goes by the base name of `argv[0]`.
    pub fn start(log: Log) -> Self {
        let path = env::args_os().next().unwrap_or_default();
        let name = Path::new(&path).file_name().unwrap_or(OsStr::new("unknown"));
        Self::start_as(&name.to_string_lossy(), log)
    }

    /// As [`Command::start`], but its lines in the log are always of the program `logged`: a command with several names.
    pub fn start_logged_as(logged: &str, log: Log) -> Self {
        let mut command = Self::start_as(logged, log);
        let path = env::args_os().next().unwrap_or_default();
        if let Some(name) = Path::new(&path).file_name() {
            command.name = name.to_string_lossy().into_owned();
            maillog::stderr(Some(&command.name));
        }
        command
    }

    /// Starts a command that only talks to its caller, and there goes by its name as it was called, path and all.
    pub fn start_as_called() -> Self {
        let path = env::args_os().next().unwrap_or_default();
        Self::start_as(&path.to_string_lossy(), Log::Stderr)
    }

    /// Starts a command that goes by a fixed name, whatever its caller says: those with more rights than the caller.
    pub fn start_as(name: &str, log: Log) -> Self {
        // Without them, the first file that is opened would receive what is meant for stdout or stderr.
        if sys::fd::open_standard_descriptors().is_err() {
            sys::process::exit_now(1);
        }
        sys::process::umask(UMASK);
        match log {
            Log::StderrAndLog => {
                maillog::early(name);
                maillog::stderr(Some(name));
            }
            Log::Stderr => maillog::stderr_only(name),
        }
        maillog::catch_panics();
        if env::var_os(VERBOSE_ENVIRONMENT).is_some() {
            maillog::set_verbose(1);
        }
        let arguments: Vec<OsString> = env::args_os().skip(1).collect();
        if config::version::told(base_name(name), &arguments) {
            sys::process::exit_now(0);
        }
        Self { name: name.to_owned(), arguments, log }
    }

    /// The name before diagnostics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The options; see [`Getopt::new`].
    pub fn options<'a>(&'a self, letters: &'a str) -> Getopt<'a> {
        Getopt::new(&self.name, letters, &self.arguments)
    }

    /// What one `-v` does.
    pub fn raise_verbosity(&self) {
        maillog::set_verbose(maillog::verbose().saturating_add(1));
    }

    /// Whether the caller may use a command that is the superuser's: root, or the user of a rootless instance, who also
    /// reads what is wrong with its main.cf. This comes before all else that could be said: of the options `letters`,
    /// of a main.cf or a log that the caller cannot read.
    pub fn is_for_caller(&self, program: &str, letters: &str) -> bool {
        let uid = sys::user::uid();
        if uid.is_root() {
            return true;
        }
        let mut directory = ConfigDir::from_environment();
        for option in ::getopt::Getopt::new(letters, &self.arguments) {
            if let ::getopt::Opt::With(b'c', path) = option {
                directory = ConfigDir::new(path);
            }
        }
        let main_cf = directory.main_cf();
        let is_own = |path: &Path| path.metadata().is_ok_and(|found| found.uid() == uid.as_raw());
        if is_own(&main_cf) || main_cf.parent().is_some_and(is_own) {
            return true;
        }
        // It is read once more, aloud, when the answer is yes.
        let config = maillog::silently(|| Config::load(program, &directory, &[]));
        let may = config.is_ok_and(|config| {
            let globals = config.globals();
            // The first process of a container makes its queue itself.
            let is_first = sys::process::pid().as_raw() == 1;
            globals.accounts.rootless && (is_first || Path::new(&globals.queue_directory).exists())
        });
        if !may {
            // There is nothing for the log, and it is perhaps not to be had.
            maillog::stderr_only(&self.name);
        }
        may
    }

    /// Reads main.cf for the program of this name in the parameter table; ends the command when that is not possible.
    /// `directory` is the argument of `-c`.
    pub fn configure(&self, program: &str, directory: Option<PathBuf>, environment: Environment) -> Config {
        self.try_configure(program, directory, environment).unwrap_or_else(|error| maillog::fatal(error))
    }

    /// As [`Command::configure`], with other values in the place of those in main.cf.
    pub fn configure_with(&self, program: &str, overrides: &[Override]) -> Config {
        let config = self.load(program, None, Environment::Add, overrides);
        config.unwrap_or_else(|error| maillog::fatal(error))
    }

    /// As [`Command::configure`], for a command that has more to say when main.cf cannot be used.
    ///
    /// # Errors
    /// What is wrong with main.cf.
    pub fn try_configure(
        &self,
        program: &str,
        directory: Option<PathBuf>,
        environment: Environment,
    ) -> Result<Config, config::Error> {
        self.load(program, directory, environment, &[])
    }

    fn load(
        &self,
        program: &str,
        directory: Option<PathBuf>,
        environment: Environment,
        overrides: &[Override],
    ) -> Result<Config, config::Error> {
        let directory = match directory {
            Some(path) => {
                set_environment(config::ENVIRONMENT, path.as_os_str());
                ConfigDir::new(path)
            }
            None => ConfigDir::from_environment(),
        };
        let config = Config::load(program, &directory, overrides);
        // Characters beyond ASCII are shown when main.cf has said so.
        let is_ascii = config.as_ref().map_or(true, |config| !config.globals().smtputf8_enable);
        if self.log == Log::Stderr && is_ascii {
            maillog::stderr_only_in_ascii(&self.name);
        }
        let config = config?;
        if self.log == Log::StderrAndLog {
            match maillog::Settings::new(&config) {
                Ok(settings) => maillog::init(&settings),
                Err(error) => maillog::fatal(error),
            }
        }
        lookup::configure(&config);
        import_environment(&config, environment);
        Ok(config)
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn import_environment(config: &Config, environment: Environment) {
    let wanted = match config::Environment::import(config) {
        Ok(wanted) => wanted,
        Err(error) => maillog::fatal(error),
    };
    match environment {
        Environment::Replace => {
            let left = wanted.apply(env::vars_os());
            if let Err(error) = sys::process::replace_environment(&left) {
                maillog::fatal(format_args!("setenv: {}", sys::error_text(&error)));
            }
        }
        Environment::Add => {
            for (name, value) in wanted.settings() {
                set_environment(&name.to_string_lossy(), value);
            }
        }
    }
}

fn set_environment(name: &str, value: &OsStr) {
    if let Err(error) = sys::process::set_environment(name, value) {
        maillog::fatal(format_args!("setenv {name}: {}", sys::error_text(&error)));
    }
}
