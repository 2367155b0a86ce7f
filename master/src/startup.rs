//! From the command line to the event loop, step by step (spec master 2.2).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use config::Config;
use sys::error_text;
use sys::signal::Signal;

use crate::Fatal;
use crate::command_line::Inherited;
use crate::fatal::system;
use crate::lock::{self, LockFile};
use crate::master::{Master, Timer};
use crate::monitor::Monitor;
use crate::notify::Notify;
use crate::options::Options;
use crate::owner::Owner;
use crate::settings::{self, Settings};

/// Descriptors 3 to 7 are kept busy, so that what master opens has other numbers than its children use.
const RESERVED: usize = 5;

/// What the service manager shows of a master at work.
pub(crate) const STATUS_SERVING: &str = "serving";

/// Runs master; comes back only with an error.
///
/// # Errors
/// What the operator must be told; the process then ends with status 1.
pub fn run(program: &str) -> Result<std::convert::Infallible, Fatal> {
    sys::process::umask(0o077);
    system("sigaction", sys::signal::ignore(Signal::SIGPIPE))?;
    sys::process::close_on_exec_from(3);
    check_rights()?;
    let options = Options::parse(program, std::env::args_os().skip(1))?;
    if options.init && sys::process::pid().as_raw() != 1 {
        return Err(Fatal("-i is allowed only for PID 1 process".into()));
    }
    set_verbose(&options);
    if let Some(directory) = &options.config_directory {
        system("setenv", sys::process::set_environment(config::ENVIRONMENT, directory))?;
    }
    system("setrlimit", sys::process::raise_open_file_limit())?;
    let monitor = if options.wait { Some(Monitor::fork()?) } else { None };
    let debug = options.debug || std::env::var_os("MAIL_DEBUG").is_some();
    detach(&options, debug)?;
    let reserved = reserve_descriptors()?;
    // Before import_environment takes the variables away.
    let notify = Notify::from_environment();

    let config = settings::load()?;
    settings::start_logging(&config)?;
    let settings = Settings::new(&config)?;
    import_environment(&config)?;
    system("setrlimit", sys::process::set_file_size_limit(None))?;
    change_directory(&settings.queue_directory)?;
    if options.test {
        let held = lock::is_held(Path::new("pid/master.pid"))?;
        sys::process::exit_now(i32::from(held));
    }
    let locks = take_locks(&settings)?;

    if debug {
        run_debugger(&config)?;
    }
    let signals = system("pipe", sys::signal::pipe())?;
    let inherited = Inherited { stay_attached: options.stay_attached, verbose: maillog::verbose() > 0 };
    let mut master = Master::new(settings, inherited, options.init, signals)?;
    for definition in master.settings.services()? {
        master.add(definition)?;
    }
    if let Some(span) = options.exit_time {
        master.timers.set(Timer::Exit, Instant::now() + span);
    }
    crate::signals::install()?;
    settings::start_logging(&config)?;
    if let Some(mismatch) = config.version_mismatch() {
        log::warn!("{mismatch}");
    }
    crate::figures::start(&config);
    log::info!(
        "daemon started -- version {}, configuration {}",
        master.settings.mail_version,
        master.settings.config_directory.display()
    );
    // Begins as the line above, which log readers know.
    let (version, minor) = (config::version::POSTERN, config.globals().postfix_minor);
    log::info!("daemon started -- Postern version {version}, as Postfix 3.{minor}");
    if let Some(monitor) = monitor {
        monitor.ready();
    }
    master.notify = notify;
    master.notify.ready(STATUS_SERVING);
    master.prove_alive();
    // Locks and reserved descriptors last as long as the process.
    std::mem::forget((locks, reserved));
    master.run()
}

/// Postfix insists on root. Postern also runs as any one user, who then owns the whole instance.
fn check_rights() -> Result<(), Fatal> {
    if sys::process::is_set_id() {
        return Err(Fatal("the master command must not run as a set-uid process".into()));
    }
    Ok(())
}

fn set_verbose(options: &Options) {
    let from_environment = u32::from(std::env::var_os("MAIL_VERBOSE").is_some());
    let level = options.verbose.saturating_add(from_environment);
    maillog::set_verbose(u8::try_from(level).unwrap_or(u8::MAX));
}

/// Away from terminal and session, as far as the options allow.
fn detach(options: &Options, debug: bool) -> Result<(), Fatal> {
    if !options.stay_attached {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null = system("open /dev/null", null)?;
        let keep_stdout = options.init || options.keep_stdout;
        for number in [0, 1, 2] {
            if number != 1 || !keep_stdout {
                system("dup2", sys::fd::dup_to_standard(&null, number))?;
            }
        }
    }
    let stay = options.init || debug || options.stay_attached;
    if !stay && sys::process::setsid().is_err() && sys::process::group() != sys::process::pid() {
        let error = io::Error::from_raw_os_error(nix::errno::Errno::EPERM as i32);
        return Err(Fatal(format!("unable to set session and process group ID: {}", error_text(&error))));
    }
    Ok(())
}

fn reserve_descriptors() -> Result<Vec<OwnedFd>, Fatal> {
    let stdin = io::stdin();
    (0..RESERVED).map(|_| system("dup", stdin.as_fd().try_clone_to_owned())).collect()
}

/// Leaves of the environment what `import_environment` says.
fn import_environment(config: &Config) -> Result<(), Fatal> {
    let wanted = config::Environment::import(config).map_err(settings::fatal)?;
    let left = wanted.apply(std::env::vars_os());
    system("setenv", sys::process::replace_environment(&left))?;
    settings::export_accounts(config)?;
    settings::export_version(config)?;
    settings::export_log(config)
}

fn change_directory(directory: &Path) -> Result<(), Fatal> {
    std::env::set_current_dir(directory)
        .map_err(|error| Fatal(format!("chdir {}: {}", directory.display(), error_text(&error))))
}

fn take_locks(settings: &Settings) -> Result<[LockFile; 2], Fatal> {
    let mut pid = LockFile::require(Path::new("pid/master.pid"), Owner::Ourselves)?;
    pid.write_pid()?;
    let mut lock = LockFile::require(&settings.data_directory.join("master.lock"), settings.owner)?;
    lock.write_pid()?;
    Ok([pid, lock])
}

/// `-D`: the debugger attaches to this very process.
fn run_debugger(config: &Config) -> Result<(), Fatal> {
    let command = config.text("debugger_command").map_err(settings::fatal)?;
    if command.is_empty() {
        return Err(Fatal("no debugger_command variable set up".into()));
    }
    log::info!("running: {command}");
    let done = std::process::Command::new("/bin/sh").arg("-c").arg(&command).status();
    if let Err(error) = done {
        log::warn!("run debugger_command: {}", error_text(&error));
    }
    Ok(())
}
