//! Sends a request to a mail service: `postkick public qmgr D` (spec commands 12).
//!
//! The request is one byte or more; what they mean is the service's business, and unknown ones are ignored there.
//! The command waits until the service has closed the connection, for at most `application_event_drain_time`.
//! Refused, with status 1: a service that is not there, is neither socket nor FIFO, or does not listen.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use command::{Command, Environment, Log, Opt};
use config::Config;
use sys::error_text;

/// The program.
pub fn main() -> ! {
    let command = Command::start(Log::Stderr);
    let mut directory: Option<PathBuf> = None;
    let mut options = command.options("c:v");
    let mut usage = false;
    for option in options.by_ref() {
        match option {
            Opt::With('c', path) => directory = Some(path.into()),
            Opt::Flag('v') => command.raise_verbosity(),
            _ => usage = true,
        }
        if usage {
            break;
        }
    }
    let [class, service, request] = options.operands() else { refuse(&command) };
    if usage {
        refuse(&command);
    }
    let config = command.configure("postkick", directory, Environment::Add);
    let status = if kick(&config, class, service, request) { 0 } else { 1 };
    sys::process::exit_now(status)
}

fn refuse(command: &Command) -> ! {
    maillog::fatal(format_args!("usage: {} [-c config_dir] [-v] class service request", command.name()))
}

fn kick(config: &Config, class: &OsString, service: &OsString, request: &OsString) -> bool {
    let queue = &config.globals().queue_directory;
    if let Err(error) = std::env::set_current_dir(queue) {
        maillog::fatal(format_args!("chdir {queue}: {}", error_text(&error)));
    }
    // Of a service with a slash at its start the class counts all the same.
    let path = PathBuf::from([class.as_os_str(), service.as_os_str()].join(OsStr::new("/")));
    let found = ipc::trigger::look_up(&path).map_err(|error| log::warn!("{error}"));
    let sent = found.and_then(|()| {
        log::debug!("connect to subsystem {}", path.display());
        let limit = config.globals().trigger_timeout;
        ipc::trigger::send(&path, request.as_bytes(), limit).map_err(|_| ())
    });
    match sent {
        Ok(sent) => {
            sent.wait(config.globals().application_event_drain_time);
            true
        }
        Err(()) => {
            let (class, service) = (maillog::shown(class.as_bytes()), maillog::shown(service.as_bytes()));
            log::warn!("Cannot contact class {class} service {service} - perhaps the mail system is down");
            false
        }
    }
}
