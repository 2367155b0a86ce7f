//! The master that runs, by its lock.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use master::lock::holder;
use sys::flock::{Mode, Wait, lock};
use sys::signal::Signal;
use sys::{Pid, error_text};

use crate::invocation::Invocation;

/// Holds master's process id; the lock on it says that master runs.
const PID_FILE: &str = "pid/master.pid";

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(PID_FILE)
}

/// Whether a master holds its lock. What is there and cannot be opened may be a running one's (observed, 3.7.11).
pub(crate) fn is_there(invocation: &Invocation) -> bool {
    let Ok(file) = open() else { return Path::new(PID_FILE).exists() };
    match lock(&file, Mode::Exclusive, Wait::No) {
        Ok(ours) => !ours,
        Err(error) => invocation.report.fatal(&format!(
            "open lock file {PID_FILE}: unable to set exclusive lock: {}",
            error_text(&error)
        )),
    }
}

/// The process that holds the lock. What the file says may have been written by anybody since; it counts where the system
/// does not tell who holds a lock.
///
/// # Errors
/// Why none is known.
pub(crate) fn find() -> Result<Pid, String> {
    let failed = |error: io::Error| format!("{PID_FILE}: {}", error_text(&error));
    if let Some(pid) = open().and_then(|file| holder(&file)).map_err(failed)? {
        return Ok(pid);
    }
    let text = fs::read(PID_FILE).map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    match text.lines().next().unwrap_or_default().trim().parse::<i32>() {
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(format!("{PID_FILE}: no process id in file")),
    }
}

/// The same where nothing can be done without.
pub(crate) fn pid(invocation: &Invocation) -> Pid {
    find().unwrap_or_else(|why| invocation.report.fatal(&why))
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
