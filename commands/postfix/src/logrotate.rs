//! `postfix logrotate`: gives the log file another name, and compresses it (spec commands 2.2); files of `maillog_copies` and
//! `maillog_events` likewise.

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
    let copies = copies(invocation);
    for (name, value) in [
        ("maillog_file", file),
        ("maillog_file_compressor", &globals.maillog_file_compressor),
        ("maillog_file_rotate_suffix", &globals.maillog_file_rotate_suffix),
    ] {
        let is_needed = name != "maillog_file" || copies.is_empty();
        if is_needed && value.is_empty() {
            report.fatal(&format!("empty '{name}' parameter value - logfile rotation failed"));
        }
    }
    if file.starts_with("/dev/") && copies.is_empty() {
        report.fatal(&format!("not rotating '{file}'"));
    }
    let log = Some(file.as_str()).filter(|file| !file.is_empty() && !file.starts_with("/dev/"));
    match rotate(invocation, log.into_iter().chain(copies.iter().map(String::as_str))) {
        Ok(()) => 0,
        Err((file, why)) => report.fatal(&format!("logfile '{file}' rotation failed: {why}")),
    }
}

/// Files of `maillog_copies` and `maillog_events`.
fn copies(invocation: &Invocation) -> Vec<String> {
    let settings = maillog::Settings::new(&invocation.config);
    let destinations = settings.map(|settings| settings.destinations).unwrap_or_default();
    let files = destinations.iter().filter_map(|destination| destination.plain_file());
    files.filter(|file| file.exists()).map(|file| file.display().to_string()).collect()
}

fn rotate<'f>(invocation: &Invocation, files: impl Iterator<Item = &'f str>) -> Result<(), (String, String)> {
    let globals = invocation.globals();
    let mut rotated = Vec::new();
    for file in files {
        let failed = |why| (file.to_owned(), why);
        let name = format!("{file}.{}", suffix(&globals.maillog_file_rotate_suffix).map_err(failed)?);
        fs::rename(file, &name).map_err(|error| failed(error_text(&error)))?;
        rotated.push((file, name));
    }
    if running::is_there(invocation) {
        running::signal(invocation, Signal::SIGHUP);
        // The log daemon still writes to the files under their new names until it is restarted.
        sleep(Duration::from_secs(1));
    }
    rotated.iter().try_for_each(|(file, name)| {
        compress(&globals.maillog_file_compressor, name).map_err(|why| ((*file).to_owned(), why))
    })
}

fn compress(compressor: &str, file: &str) -> Result<(), String> {
    let mut words = compressor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let done = Process::new(program).args(words).arg(file).output();
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
