//! From the command line to a prepared environment (spec commands 2, steps 1 to 7).

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use command::{Command, Environment, Log, Opt};
use config::{Account, CompatibilityLevel, Config, ConfigDir, Globals};
use maillog::Severity;
use sys::error_text;

use crate::report::Report;
use crate::{environment, form};

const NAME: &str = "postfix";

/// The search path of everything that is run from here.
const SEARCH_PATH: &str = "/bin:/usr/bin:/sbin:/usr/sbin";

/// What systemd tells every process of a unit.
pub(crate) const UNIT_INVOCATION: &str = "INVOCATION_ID";

/// What a service manager tells the process that it starts, and master answers to; of no other program's concern.
const MANAGER: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

const OPTIONS: &str = "c:Dv";

/// The commands that look at master.cf.
pub(crate) const COMMANDS_WITH_MASTER_CF: [&str; 4] = ["check", "start", "start-fg", "reload"];

/// Parameters that the programs run from here find in their environment, under their own names.
const EXPORTED: &[&str] = &[
    "command_directory",
    "daemon_directory",
    "data_directory",
    "meta_directory",
    "queue_directory",
    "config_directory",
    "shlib_directory",
    "mail_owner",
    "setgid_group",
    "sendmail_path",
    "mailq_path",
    "newaliases_path",
    "manpage_directory",
    "sample_directory",
    "readme_directory",
    "html_directory",
];

/// What was asked for, and all that is needed to do it.
#[derive(Debug)]
pub struct Invocation {
    /// main.cf.
    pub config: Config,
    /// Where lines go.
    pub report: Report,
    /// The command's name; empty when there is none.
    pub command: OsString,
    /// What follows it.
    pub arguments: Vec<OsString>,
    /// For master's environment alone.
    manager: Vec<(&'static str, OsString)>,
}

/// A command whose main.cf cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// Where main.cf is.
    pub directory: ConfigDir,
    /// The command and what follows it.
    pub operands: Vec<OsString>,
    /// What is wrong.
    pub error: config::Error,
}

impl Invocation {
    /// Reads the command line and main.cf. Ends the program when there is no such command; becomes the multi-instance
    /// manager when main.cf asks for it.
    ///
    /// # Errors
    /// main.cf cannot be used.
    pub fn start() -> Result<Self, Unusable> {
        let command = Command::start(Log::StderrAndLog);
        // Kept whatever import_environment says, as Debian's does.
        let unit = env::var_os(UNIT_INVOCATION);
        let manager = MANAGER.into_iter().filter_map(|name| Some((name, env::var_os(name)?))).collect();
        if sys::process::is_set_id() {
            maillog::fatal("the postfix command must not run as a set-uid process");
        }
        if !command.is_for_caller("postfix", OPTIONS) {
            refuse();
        }
        let mut directory: Option<PathBuf> = None;
        let mut options = command.options(OPTIONS);
        for option in options.by_ref() {
            match option {
                Opt::With('c', path) if !Path::new(path).is_absolute() => {
                    maillog::fatal("-c requires absolute pathname");
                }
                Opt::With('c', path) => directory = Some(path.into()),
                // import_environment decides whether the programs run from here see these two.
                Opt::Flag('D') => export("MAIL_DEBUG", ""),
                Opt::Flag('v') => {
                    export("MAIL_VERBOSE", "");
                    command.raise_verbosity();
                }
                _ => maillog::fatal(format_args!("usage: {} [-c config_dir] [-Dv] command", command.name())),
            }
        }
        let operands = options.operands().to_vec();
        let one_instance = directory.is_some() || env::var_os(config::ENVIRONMENT).is_some();
        let place = directory.clone().map_or_else(ConfigDir::from_environment, ConfigDir::new);
        if let Some(made) = environment::directory(&operands) {
            environment::enter(&place, &made);
        }
        refuse_endless_files(&place, operands.first());
        let config = match command.try_configure("postfix", directory, Environment::Replace) {
            Ok(config) => config,
            Err(error) => return Err(Unusable { directory: place, operands, error }),
        };
        let invocation = Self {
            report: Report::new(&config.globals().syslog_name),
            config,
            command: operands.first().cloned().unwrap_or_default(),
            arguments: operands.get(1..).unwrap_or_default().to_vec(),
            manager,
        };
        invocation.check_rights();
        invocation.prepare();
        if let Some(id) = unit {
            export(UNIT_INVOCATION, id);
        }
        if !one_instance {
            invocation.hand_to_manager(&operands);
        }
        invocation.report.begin(invocation.globals().postfix_minor);
        Ok(invocation)
    }

    /// The shared parameters.
    pub fn globals(&self) -> &Globals {
        self.config.globals()
    }

    /// Who owns the mail queue.
    pub fn mail_owner(&self) -> &Account {
        &self.globals().accounts.mail_owner
    }

    /// A program that is run from here.
    pub fn program(&self, directory: &str, name: &str) -> Process {
        Process::new(Path::new(directory).join(name))
    }

    /// master.
    pub fn master(&self) -> Process {
        let mut process = self.program(&self.globals().daemon_directory, "master");
        process.envs(self.manager.iter().cloned());
        process
    }

    /// Runs a command of the mail system and waits for it; false when it fails.
    pub(crate) fn succeeds(&self, name: &str, arguments: &[&str]) -> bool {
        let mut process = self.program(&self.globals().command_directory, name);
        match process.args(arguments).status() {
            Ok(status) => status.success(),
            Err(error) => {
                let path = process.get_program().to_string_lossy();
                self.report.warn(&format!("{path}: {}", error_text(&error)));
                false
            }
        }
    }

    /// Runs a program in this environment; the exit status of the command.
    pub(crate) fn finish(&self, process: &mut Process) -> i32 {
        match process.status() {
            Ok(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            Err(error) => {
                let path = process.get_program().to_string_lossy().into_owned();
                self.report.fatal(&format!("{path}: {}", error_text(&error)))
            }
        }
    }

    fn check_rights(&self) {
        if !sys::user::uid().is_root() && !self.globals().accounts.rootless {
            refuse();
        }
    }

    fn prepare(&self) {
        let globals = self.globals();
        self.tell_of_old_defaults();
        export("PATH", SEARCH_PATH);
        export(config::ENVIRONMENT, self.config.directory().path());
        export("MAIL_LOGTAG", &globals.syslog_name);
        if globals.is_logged_by_postlogd() {
            let socket =
                Path::new(&globals.queue_directory).join("public").join(&globals.postlog_service_name);
            export("POSTLOG_SERVICE", socket);
            export("POSTLOG_HOSTNAME", &globals.myhostname);
        }
        for name in EXPORTED {
            match self.config.text(name) {
                Ok(value) => export(name, value),
                Err(error) => maillog::fatal(error),
            }
        }
        // Who owns nothing before the first start: an instance without root, as in a container.
        if globals.accounts.rootless && !Path::new(&globals.queue_directory).exists() {
            for directory in [&globals.queue_directory, &globals.data_directory] {
                if let Err(error) = std::fs::create_dir_all(directory) {
                    maillog::fatal(format_args!("mkdir {directory}: {}", error_text(&error)));
                }
            }
        }
        for directory in [&globals.command_directory, &globals.daemon_directory, &globals.queue_directory] {
            if let Err(error) = env::set_current_dir(directory) {
                // The line that sets the directory may have been lost.
                for text in form::told_of(&self.config.directory().main_cf()) {
                    log::warn!("{text}");
                }
                maillog::fatal(format_args!("chdir({directory}): {}", error_text(&error)));
            }
        }
    }

    fn tell_of_old_defaults(&self) {
        let minor = self.globals().postfix_minor;
        // Observed: 3.6 in 3.7.11 and 3.10.3, and 3.11.7.
        let newest = if minor >= 11 { CompatibilityLevel::new(3, 11) } else { config::NEWEST_LEVEL };
        if self.globals().compatibility_level >= newest {
            return;
        }
        let scheme = if minor >= 10 { "https" } else { "http" };
        for text in [
            "Postfix is using backwards-compatible default settings".to_owned(),
            format!("See {scheme}://www.postfix.org/COMPATIBILITY_README.html for details"),
            format!(
                "To disable backwards compatibility use \"postconf compatibility_level={newest}\" and \"postfix reload\""
            ),
        ] {
            // The bare name, whatever syslog_name is (observed, 3.11.7).
            maillog::report(NAME, Severity::Info, text.as_bytes());
        }
    }

    /// With several instances, a manager runs `postfix` once for each.
    fn hand_to_manager(&self, operands: &[OsString]) {
        let globals = self.globals();
        if globals.multi_instance_directories.trim().is_empty() {
            return;
        }
        let mut words = globals.multi_instance_wrapper.split([',', ' ', '\t', '\r', '\n']);
        let Some(program) = words.by_ref().find(|word| !word.is_empty()) else {
            maillog::fatal("multi-instance support is requested, but multi_instance_wrapper is empty");
        };
        let words = words.filter(|word| !word.is_empty()).map(OsStr::new);
        let error = Process::new(program).args(words).args(operands).exec();
        maillog::fatal(format_args!("execvp {program}: {}", error_text(&error)));
    }
}

/// Ends the program where it would wait for ever, and hold up who uses it: for main.cf, and for master.cf where that is
/// read.
fn refuse_endless_files(directory: &ConfigDir, command: Option<&OsString>) {
    let reads_master_cf =
        command.is_some_and(|word| COMMANDS_WITH_MASTER_CF.iter().any(|known| word == known));
    let master_cf = reads_master_cf.then(|| directory.master_cf());
    for path in [directory.main_cf()].into_iter().chain(master_cf) {
        if form::is_endless(&path) {
            maillog::fatal(format_args!(
                "{}: not a regular file, and reading it may never end",
                path.display()
            ));
        }
    }
}

fn refuse() -> ! {
    log::error!("to submit mail, use the Postfix sendmail command");
    maillog::fatal("the postfix command is reserved for the superuser");
}

/// Sets a variable for the programs run from here.
fn export(name: &str, value: impl AsRef<OsStr>) {
    if let Err(error) = sys::process::set_environment(name, value) {
        maillog::fatal(format_args!("setenv {name}: {}", error_text(&error)));
    }
}
