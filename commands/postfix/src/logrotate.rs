//! `postfix logrotate`: gives the log file another name, and compresses it (spec commands 2.2).

use std::fs;
use std::process::Command as Process;
use std::thread::sleep;
use std::time::Duration;

use sys::error_text;
use sys::signal::Signal;

use crate::invocation::Invocation;
use crate::running;

/// Carries out the command; the exit status.
pub fn run(invocation: &Invocation) -> i32 {
    let report = &invocation.report;
    if !invocation.arguments.is_empty() {
        report.fatal("usage postfix logrotate (no arguments)");
    }
    let globals = invocation.globals();
    let file = &globals.maillog_file;
    for (name, value) in [
        ("maillog_file", file),
        ("maillog_file_compressor", &globals.maillog_file_compressor),
        ("maillog_file_rotate_suffix", &globals.maillog_file_rotate_suffix),
    ] {
        if value.is_empty() {
            report.fatal(&format!("empty '{name}' parameter value - logfile rotation failed"));
        }
    }
    if file.starts_with("/dev/") {
        report.fatal(&format!("not rotating '{file}'"));
    }
    match rotate(invocation) {
        Ok(()) => 0,
        Err(why) => report.fatal(&format!("logfile '{file}' rotation failed: {why}")),
    }
}

fn rotate(invocation: &Invocation) -> Result<(), String> {
    let globals = invocation.globals();
    let file = &globals.maillog_file;
    let rotated = format!("{file}.{}", suffix(&globals.maillog_file_rotate_suffix)?);
    fs::rename(file, &rotated).map_err(|error| error_text(&error))?;
    if running::is_there(invocation) {
        running::signal(invocation, Signal::SIGHUP);
        // The log daemon still writes to the file under its new name until it is restarted.
        sleep(Duration::from_secs(1));
    }
    let mut words = globals.maillog_file_compressor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let done = Process::new(program).args(words).arg(&rotated).output();
    let done = done.map_err(|error| format!("{program}: {}", error_text(&error)))?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}

/// The pattern is date(1)'s, and so is the work.
fn suffix(pattern: &str) -> Result<String, String> {
    let done = Process::new("date").arg(format!("+{pattern}")).output();
    let done = done.map_err(|error| format!("date: {}", error_text(&error)))?;
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    if done.status.success() && !text.is_empty() {
        Ok(text)
    } else {
        Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
    }
}
