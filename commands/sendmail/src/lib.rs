//! sendmail: the command line that other programs expect, and its faces mailq and newaliases.
//!
//! Submitting mail is its main work: [`enqueue`](mod@enqueue) writes the message as records to postdrop, which may
//! write the maildrop where the caller may not. Everything else is another program's work: listing and flushing
//! the queue, building aliases, SMTP on standard input ([`modes`]). [`options`] is the command line. Every fatal
//! error exits 75, as Postfix's does. Source: spec commands 9.

#![forbid(unsafe_code)]

mod enqueue;
mod input;
mod modes;
mod options;
mod recipients;
mod sendopts;

use std::path::{Path, PathBuf};

use command::{Command, Environment, Log};

use crate::options::{Mode, Options};

/// `EX_TEMPFAIL`: what every fatal error exits with.
const TEMPORARY_FAILURE: i32 = 75;

/// Ends the command with a fatal error.
fn fatal(text: impl std::fmt::Display) -> ! {
    maillog::fatal_status(TEMPORARY_FAILURE, text)
}

/// Runs the command.
pub fn run() {
    let command = Command::start_logged_as("sendmail", Log::StderrAndLog);
    // At once, unlike most programs: who has called it waits (observed with 3.7.11).
    maillog::on_fatal(|| sys::process::exit_now(TEMPORARY_FAILURE));
    refuse_set_uid();
    // Twice, as in Postfix: a wrong option is told about twice.
    let words = options::words();
    let directory = options::config_directory(&command, &words).map(directory_of);
    let config = command.try_configure("sendmail", directory.clone(), Environment::Add);
    // Whose mail it is should not decide where the mail system is; an instance of his own is the caller's business.
    let is_own = config.as_ref().is_ok_and(|config| config.globals().accounts.rootless);
    if let Some(directory) = directory
        && !sys::user::uid().is_root()
        && !is_own
        && let Err(error) = config::ConfigDir::new(directory).must_be_listed()
    {
        fatal(error);
    }
    let config = config.unwrap_or_else(|error| fatal(error));
    let globals = config.globals();
    if let Err(error) = std::env::set_current_dir(&globals.queue_directory) {
        fatal(format_args!("chdir {}: {}", globals.queue_directory, sys::error_text(&error)));
    }
    let options = Options::parse(&command, &words, &globals.verp_delimiter_filter);
    options.check();
    match options.mode {
        Mode::Enqueue => {
            modes::flush_some(&config, &options);
            enqueue::run(&config, &options);
        }
        _ => modes::run(&config, &options),
    }
}

/// The directory that `-C` means: itself, or that of the main.cf it names.
fn directory_of(path: PathBuf) -> PathBuf {
    if path.file_name().is_some_and(|name| name == "main.cf") {
        path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
    } else {
        path
    }
}

/// A set-uid root sendmail is a mistake of the installation: its rights are given up.
fn refuse_set_uid() {
    let uid = sys::user::uid();
    if !sys::user::euid().is_root() || uid.is_root() {
        return;
    }
    log::warn!("the Postfix sendmail command has set-uid root file permissions");
    log::warn!("or the command is run from a set-uid root process");
    log::warn!("the Postfix sendmail command must be installed without set-uid root file permissions");
    let drop = sys::user::set_gid(sys::user::gid()).and_then(|()| sys::user::set_uid(uid));
    if let Err(error) = drop {
        fatal(format_args!("set uid {uid}: {}", sys::error_text(&error)));
    }
}
