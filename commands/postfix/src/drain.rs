//! `stop --drain`: the end in good order, and what it leaves behind.
//!
//! master takes no more clients, and removes a file when the last has gone; then, with `--flush`, every message is tried
//! once more; then the mail system is stopped as ever. Only a master of Postern's knows how: another one would be killed by
//! the signal, and is not sent it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sys::signal::Signal;
use sys::{Pid, error_text};

use crate::invocation::Invocation;
use crate::running;

/// master removes it.
const MARK: &str = "pid/drain";
/// How long clients, and with `--flush` deliveries, are waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(50);
/// An empty `active` queue may be about to be filled: only so long without anything it is believed.
const CALM: Duration = Duration::from_secs(1);
/// Exit status when something is left.
const REMAINED: i32 = 2;
/// Where messages are, and what is said of them.
const QUEUES: [&str; 5] = ["maildrop", "incoming", "active", "deferred", "hold"];
/// No queue directory is deeper.
const DEEPEST: usize = 16;

const USAGE: &str = "usage: postfix stop [--drain [--flush] [--timeout=SECONDS]]";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drain {
    flush: bool,
    patience: Duration,
}

impl Drain {
    /// From the words behind `stop`; nothing when it is to stop at once, whatever else they say, as Postfix does.
    pub(crate) fn parse(words: &[String]) -> Result<Option<Self>, &'static str> {
        let Some((_, options)) = words.split_first().filter(|(first, _)| *first == "--drain") else {
            return Ok(None);
        };
        let mut drain = Self { flush: false, patience: PATIENCE };
        for option in options {
            match (option.as_str(), option.strip_prefix("--timeout=")) {
                ("--flush", _) => drain.flush = true,
                (_, Some(seconds)) => {
                    drain.patience = Duration::from_secs(seconds.parse().map_err(|_| USAGE)?);
                }
                _ => return Err(USAGE),
            }
        }
        Ok(Some(drain))
    }

    /// Drains; whether all clients have gone. The mail system is to be stopped afterwards.
    pub(crate) fn wait(self, invocation: &Invocation) -> bool {
        let report = &invocation.report;
        running::require(invocation);
        let pid = running::pid(invocation);
        if !catches(pid, Signal::SIGUSR1) {
            report.fatal(&format!("the master that runs cannot be drained: PID: {pid}"));
        }
        report.info("draining the Postfix mail system");
        if let Err(error) = fs::write(MARK, "") {
            report.fatal(&format!("{MARK}: {}", error_text(&error)));
        }
        let deadline = Instant::now() + self.patience;
        running::send(invocation, pid, Signal::SIGUSR1);
        while Path::new(MARK).exists() && running::is_there(invocation) && Instant::now() < deadline {
            sleep(PAUSE);
        }
        let is_drained = !Path::new(MARK).exists();
        if !is_drained {
            let _ = fs::remove_file(MARK);
            report.warn("clients are still connected");
        }
        if self.flush {
            flush(invocation, deadline);
        }
        is_drained
    }
}

/// Every message is tried once.
fn flush(invocation: &Invocation, deadline: Instant) {
    if !invocation.succeeds("postqueue", &["-f"]) {
        return;
    }
    let mut calm_since = Instant::now();
    while calm_since.elapsed() < CALM && Instant::now() < deadline {
        if ["maildrop", "incoming", "active"].iter().any(|queue| count(Path::new(queue), DEEPEST) > 0) {
            calm_since = Instant::now();
        }
        sleep(PAUSE);
    }
}

/// Tells what is in the queue; the exit status.
pub(crate) fn tell_rest(invocation: &Invocation, is_drained: bool) -> i32 {
    let counts = QUEUES.map(|queue| (queue, count(Path::new(queue), DEEPEST)));
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return if is_drained { 0 } else { REMAINED };
    }
    let parts: Vec<_> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(queue, count)| format!("{count} {queue}"))
        .collect();
    invocation.report.info(&format!("messages that remain in the queue: {total} ({})", parts.join(", ")));
    REMAINED
}

fn count(folder: &Path, deepest: usize) -> usize {
    // One that has gone meanwhile, or never was, has none.
    let entries = fs::read_dir(folder).into_iter().flatten();
    let of_entry = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() && deepest > 0 => count(&entry.path(), deepest - 1),
        Ok(kind) => usize::from(kind.is_file()),
        Err(_) => 0,
    };
    entries.flatten().map(of_entry).sum()
}

/// Whether a process has a handler for this signal.
fn catches(pid: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal as i32 - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parse =
            |text: &str| Drain::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let drain = |flush, seconds| Ok(Some(Drain { flush, patience: Duration::from_secs(seconds) }));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("--drain"), drain(false, 300));
        assert_eq!(parse("--drain --timeout=7 --flush"), drain(true, 7));
        assert_eq!(parse("now --drain"), Ok(None));
        for wrong in ["--drain --timeout", "--drain --timeout=x", "--drain now"] {
            assert_eq!(parse(wrong), Err(USAGE), "{wrong}");
        }
    }

    #[test]
    fn a_process_without_handlers_catches_nothing() {
        assert!(!catches(sys::process::pid(), Signal::SIGUSR2));
        assert!(!catches(Pid::from_raw(i32::MAX), Signal::SIGUSR1));
    }
}
