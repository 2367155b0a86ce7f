//! postdrop: puts a message that a local user submits into the `maildrop` directory.
//!
//! It is set-gid: users cannot write there themselves. The message comes as records on standard input, from
//! [`sendmail`](https://www.postfix.org/sendmail.1.html); standard output carries the announcement with the
//! queue ID, and the status at the end. [`submission`] checks the records, [`login_senders`] the sender, [`input`] is standard input with an
//! eye on signals. Source: spec commands 10, queue-file 16.

#![forbid(unsafe_code)]

mod input;
mod login_senders;
mod submission;

use std::io::{self, Write};
use std::path::PathBuf;

use command::{Command, Environment, Log, Opt};
use config::Config;
use ipc::announce::Protocol;
use ipc::attr::Encoder;
use ipc::cleanup::Status;
use ipc::trigger;
use lookup::Opening;
use lookup::list::StringList;
use queue::{QueueDirectory, QueueFile, QueueName};
use sys::signal::{self, Interrupts, Signal};

use crate::login_senders::LoginSenders;
use crate::submission::{Refusal, Submission};

/// Runs the command.
pub fn run() {
    // Nothing that the caller chose may name the log lines of a set-gid program.
    let command = Command::start_as("postdrop", Log::StderrAndLog);
    let mut directory = None;
    for option in command.options("c:rv") {
        match option {
            Opt::With('c', value) => directory = Some(PathBuf::from(value)),
            Opt::Flag('r') => {}
            Opt::Flag('v') if sys::user::uid().is_root() => command.raise_verbosity(),
            Opt::Flag('v') => {}
            _ => maillog::fatal("usage: postdrop [-c config_dir] [-v]"),
        }
    }
    let config = command.configure("postdrop", directory, Environment::Replace);
    let uid = sys::user::uid();
    if let Err(text) = may_submit(&config, uid) {
        maillog::fatal(text);
    }
    let name = login(uid).unwrap_or_else(|| format!("uid:{uid}"));
    let senders = LoginSenders::open(&config, name).unwrap_or_else(|text| maillog::fatal(text));
    let globals = config.globals();
    if let Err(error) = std::env::set_current_dir(&globals.queue_directory) {
        maillog::fatal(format_args!("chdir {}: {}", globals.queue_directory, sys::error_text(&error)));
    }
    log::debug!("chdir {}", globals.queue_directory);
    catch_signals();
    let status = submit(&config, uid.as_raw(), &senders);
    std::process::exit(i32::try_from(status.bits()).unwrap_or(1));
}

/// Whether `authorized_submit_users` has the user.
fn may_submit(config: &Config, uid: sys::Uid) -> Result<(), String> {
    const LIST: &str = "authorized_submit_users";
    let value = config.bytes(LIST).map_err(|error| error.to_string())?;
    let list = StringList::open(LIST, &value, Opening::FatalErrors).map_err(|error| error.to_string())?;
    let user = login(uid).unwrap_or_else(|| "unknown".to_owned());
    match list.matches(user.as_bytes()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("User {user}({uid}) is not allowed to submit mail")),
        Err(error) => Err(error.to_string()),
    }
}

fn login(uid: sys::Uid) -> Option<String> {
    sys::user::User::by_uid(uid).ok().flatten().map(|user| user.name)
}

/// Whoever interrupts the command must not leave a file behind: the signals end the input.
fn catch_signals() {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        if let Err(error) = signal::catch(signal, Interrupts::Yes) {
            maillog::fatal(format_args!("sigaction: {}", sys::error_text(&error)));
        }
    }
    // The caller may be gone when the status is written; a file size limit of the caller's is an error of the file.
    let _ = signal::ignore(Signal::SIGPIPE);
    let _ = signal::ignore(Signal::SIGXFSZ);
}

fn submit(config: &Config, uid: u32, senders: &LoginSenders) -> Status {
    let globals = config.globals();
    let directory = QueueDirectory::configured(globals).at(&globals.queue_directory);
    let look = || {
        if input::is_interrupted() {
            std::process::exit(1);
        }
    };
    let mut file = match QueueFile::create_watching(&directory, QueueName::Maildrop, &look) {
        Ok(file) => file,
        Err(error) => maillog::fatal(error),
    };
    log::debug!("open maildrop/{}", file.id());
    let mut output = io::stdout().lock();
    // A caller who does not read this will not read the status either; the records still count.
    let _ = Protocol::POSTDROP.begin().string("queue_id", file.id().as_str()).send(&mut output);
    let copied = Submission::new(uid, globals, senders).copy(input::standard(), file.writer());
    let (status, reason) = match copied {
        Ok(()) => match file.commit() {
            Ok(()) => (Status::OK, String::new()),
            Err(error) => (unwritten(uid, &error), String::new()),
        },
        // The file is removed as it goes out of scope here.
        Err(refusal) => {
            log::debug!("remove maildrop/{}", file.id());
            drop(file);
            match refusal {
                Refusal::Cancelled => return Status::OK,
                Refusal::Interrupted => std::process::exit(1),
                Refusal::Fatal(text) => maillog::fatal(text),
                Refusal::Bad(reason) => (Status::BAD, reason),
                Refusal::Write(error) => (unwritten(uid, &error), String::new()),
            }
        }
    };
    if status.is_ok() {
        let pickup = format!("public/{}", globals.pickup_service_name);
        // pickup looks into the directory once a minute in any case.
        match trigger::look_up(&pickup) {
            Err(error) => log::warn!("{error}"),
            // A mail system that is down will find the file when it is up.
            Ok(()) => {
                log::debug!("connect to subsystem {pickup}");
                drop(trigger::send(&pickup, trigger::WAKEUP, globals.trigger_timeout));
            }
        }
    }
    let status_number = i32::try_from(status.bits()).unwrap_or(1);
    let _ = Encoder::null().int("status", status_number).string("reason", reason).send(&mut output);
    let _ = output.flush();
    status
}

/// Tells why the file could not be written, and what the submitter learns of it.
fn unwritten(uid: u32, error: &io::Error) -> Status {
    log::warn!("uid={uid}: {}", sys::error_text(error));
    if error.kind() == io::ErrorKind::FileTooLarge { Status::SIZE } else { Status::WRITE }
}
