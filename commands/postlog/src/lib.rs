//! The postlog command: writes lines to the mail system's log, in its format.
//!
//! For scripts. The text is in the arguments, or comes line by line from standard input. Where it goes is
//! decided by main.cf, as for every other program; on a terminal it is shown as well. Source: spec commands 11.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, BufRead};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use command::{Command, Environment, Log, Opt};
use config::{ConfigDir, Dictionary};
use maillog::Severity;

const NAME: &str = "postlog";
const OPTIONS: &str = "c:ip:t:v";
const USAGE: &str = "usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]";

/// The version 3.N from which lines are on standard error whether that is a terminal or not.
const ALWAYS_ON_STDERR: u32 = 8;

/// Names of severities, in lower case.
const SEVERITIES: &[(&str, Severity)] = &[
    ("info", Severity::Info),
    ("warn", Severity::Warning),
    ("warning", Severity::Warning),
    ("error", Severity::Error),
    ("err", Severity::Error),
    ("fatal", Severity::Fatal),
    ("crit", Severity::Fatal),
    ("panic", Severity::Panic),
];

struct Arguments {
    directory: Option<PathBuf>,
    severity: Severity,
    tag: Option<OsString>,
    text: Vec<OsString>,
}

/// Runs the command.
pub fn run() {
    let command = Command::start_as(NAME, Log::StderrAndLog);
    show_on_terminal(&maillog::ident());
    let arguments = parse(&command);
    let environment = if sys::process::is_set_id() { Environment::Replace } else { Environment::Add };
    let tag = arguments.tag.map(|tag| maillog::shown(tag.as_bytes()).to_string());
    let config = command.try_configure(NAME, arguments.directory.clone(), environment);
    let config = config.unwrap_or_else(|error| fail(arguments.directory.as_deref(), error));
    let ident = maillog::ident();
    let tag = tag.unwrap_or_else(|| ident.clone());
    if config.globals().postfix_minor >= ALWAYS_ON_STDERR {
        // Without the tag, which is for the log (observed, 3.10.3).
        maillog::stderr(Some(&ident));
    } else {
        show_on_terminal(&tag);
    }
    let write = |text: &[u8]| maillog::report(&tag, arguments.severity, text);
    if arguments.text.is_empty() {
        if let Err(error) = each_line(io::stdin().lock(), write) {
            maillog::fatal(format_args!("read standard input: {}", sys::error_text(&error)));
        }
    } else {
        write(&arguments.text.join(" ".as_ref()).into_vec());
    }
    // A script that reports that it dies is kept from dying again at once; but it asked for a line, not for an
    // error of this command.
    if arguments.severity >= Severity::Fatal {
        sys::process::sleep(Duration::from_secs(1));
    }
}

fn parse(command: &Command) -> Arguments {
    let mut found = Arguments { directory: None, severity: Severity::Info, tag: None, text: Vec::new() };
    let mut options = command.options(OPTIONS);
    for option in options.by_ref() {
        match option {
            Opt::With('c', value) => found.directory = Some(PathBuf::from(value)),
            // The process id is in the line in any case.
            Opt::Flag('i') => {}
            Opt::With('p', value) => match severity(&value.to_string_lossy()) {
                Some(severity) => found.severity = severity,
                None => {
                    let text = format!("bad severity: \"{}\"", maillog::shown(value.as_bytes()));
                    fail(found.directory.as_deref(), text)
                }
            },
            Opt::With('t', value) => found.tag = Some(value.to_os_string()),
            Opt::Flag('v') => command.raise_verbosity(),
            _ => fail(found.directory.as_deref(), USAGE),
        }
    }
    found.text = options.operands().to_vec();
    found
}

/// Ends the command before main.cf has been read, or as it cannot be. Whether standard error shows it depends on the version
/// all the same: of that directory, or of the one in the environment.
fn fail(directory: Option<&Path>, text: impl Display) -> ! {
    let asked = directory.map(|path| ConfigDir::new(path.to_path_buf()));
    let places = asked.into_iter().chain([ConfigDir::from_environment()]);
    let main_cf = maillog::silently(|| places.into_iter().find_map(|place| Dictionary::read(&place).ok()));
    if config::version::of_main_cf(&main_cf.unwrap_or_default()).0 >= ALWAYS_ON_STDERR {
        maillog::stderr(Some(&maillog::ident()));
    }
    maillog::fatal(text)
}

fn severity(name: &str) -> Option<Severity> {
    SEVERITIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, severity)| *severity)
}

/// Diagnostics and the logged text go to stderr when a person may be reading there.
fn show_on_terminal(tag: &str) {
    maillog::stderr(sys::fd::is_terminal(2).then_some(tag));
}

/// Gives each line to `write`, without its end, and no more of it than is logged in any case.
fn each_line(mut input: impl BufRead, write: impl Fn(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        let ahead = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if ahead.is_empty() {
            if !line.is_empty() {
                write(until_nul(&line));
            }
            return Ok(());
        }
        let end = ahead.iter().position(|byte| *byte == b'\n');
        let part = ahead.get(..end.unwrap_or(ahead.len())).unwrap_or_default();
        let room = maillog::MESSAGE_LIMIT.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(part.get(..room).unwrap_or_default());
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            write(until_nul(&line));
            line.clear();
        }
    }
}

/// The line as C sees it.
fn until_nul(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn lines(input: &[u8]) -> Vec<Vec<u8>> {
        let found = RefCell::new(Vec::new());
        let reader = io::BufReader::with_capacity(7, input);
        each_line(reader, |line| found.borrow_mut().push(line.to_vec())).unwrap();
        found.into_inner()
    }

    #[test]
    fn standard_input_line_by_line() {
        let expected: [&[u8]; 4] = [b"one", b"two is longer", b"", b"last"];
        assert_eq!(lines(b"one\ntwo is longer\n\nlast"), expected);
        assert_eq!(lines(b""), [b""; 0]);
        assert_eq!(lines(b"nul\0z\n"), [b"nul"]);
        let long = [vec![b'x'; 5000], b"\nnext\n".to_vec()].concat();
        assert_eq!(lines(&long), [vec![b'x'; 2000], b"next".to_vec()]);
    }

    #[test]
    fn names_of_severities() {
        assert_eq!(severity("WARN"), Some(Severity::Warning));
        assert_eq!(severity("crit"), Some(Severity::Fatal));
        assert_eq!(severity("debug"), None);
    }
}
