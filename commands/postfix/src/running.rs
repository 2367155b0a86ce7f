//! The master that runs, by its lock.

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;

use sys::flock::{Mode, Wait, lock};
use sys::signal::Signal;
use sys::{Pid, error_text};

use crate::invocation::Invocation;

/// Holds master's process id; the lock on it says that master runs.
const PID_FILE: &str = "pid/master.pid";

/// Whether a master holds its lock.
pub(crate) fn is_there(invocation: &Invocation) -> bool {
    let file = match File::options().read(true).write(true).open(PID_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
        Err(error) => invocation
            .report
            .fatal(&format!("open lock file {PID_FILE}: cannot open file: {}", error_text(&error))),
    };
    match lock(&file, Mode::Exclusive, Wait::No) {
        Ok(ours) => !ours,
        Err(error) => invocation.report.fatal(&format!(
            "open lock file {PID_FILE}: unable to set exclusive lock: {}",
            error_text(&error)
        )),
    }
}

/// The process id in the lock file.
pub(crate) fn pid(invocation: &Invocation) -> Pid {
    let text = fs::read_to_string(PID_FILE).unwrap_or_default();
    match text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) {
        Some(pid) if pid > 0 => Pid::from_raw(pid),
        _ => invocation.report.fatal(&format!("{PID_FILE}: no process id in file")),
    }
}

/// The socket directories of which nothing is left though master runs: those that were removed, or taken from a backup,
/// and what `create_missing` made in their place. No client reaches a service by them until the next start.
pub(crate) fn without_sockets(invocation: &Invocation) -> Vec<&'static str> {
    let is_empty = |name: &&str| {
        let is_socket = |entry: fs::DirEntry| {
            entry.file_type().is_ok_and(|kind| kind.is_socket() || kind.is_fifo() || kind.is_dir())
        };
        // One that cannot be read is another matter.
        fs::read_dir(name).map_or_else(
            |error| error.kind() == std::io::ErrorKind::NotFound,
            |mut entries| !entries.any(|entry| entry.is_ok_and(is_socket)),
        )
    };
    if is_there(invocation) {
        ["public", "private"].into_iter().filter(is_empty).collect()
    } else {
        Vec::new()
    }
}

/// Ends the command when none does.
pub(crate) fn require(invocation: &Invocation) {
    if !is_there(invocation) {
        invocation.report.fatal("the Postfix mail system is not running");
    }
}

/// Sends master a signal; without a word when it has gone meanwhile.
pub(crate) fn signal(invocation: &Invocation, signal: Signal) {
    send(invocation, pid(invocation), signal);
}

/// Sends a signal; the exit status.
pub(crate) fn send(invocation: &Invocation, pid: Pid, signal: Signal) -> i32 {
    match sys::process::kill(pid, Some(signal)) {
        Ok(()) => 0,
        Err(error) => {
            invocation.report.warn(&format!("kill {pid}: {}", error_text(&error)));
            1
        }
    }
}
