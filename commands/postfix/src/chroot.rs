//! `postfix chroot`: which services run in the queue directory, and putting them there (spec later-versions 2).
//!
//! Debian's addition to 3.9.1 and later; configure-instance.sh, which fills the queue directory, asks it. Observed with
//! Debian's 3.10.3 and 3.11.7.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::ffi::OsStrExt;

use config::LogicalLines;
use config::mastercf::{Field, RawEntry};

use crate::invocation::Invocation;

/// Daemons that look up names, talk to other machines, or load plug-ins: their files must be in the queue directory.
const DEMANDING: &[&[u8]] = &[b"smtpd", b"smtp", b"lmtp"];
/// Daemons for which sockets are enough.
const SIMPLE: &[&[u8]] = &[
    b"anvil",
    b"bounce",
    b"cleanup",
    b"discard",
    b"dnsblog",
    b"error",
    b"flush",
    b"nqmgr",
    b"oqmgr",
    b"pickup",
    b"postscreen",
    b"qmgr",
    b"qmqpd",
    b"scache",
    b"showq",
    b"tlsmgr",
    b"tlsproxy",
    b"trivial-rewrite",
    b"verify",
];
/// Daemons that work outside only.
const NEVER: &[&[u8]] = &[b"local", b"pipe", b"postlogd", b"proxymap", b"spawn", b"virtual"];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    shows_only: bool,
    simple: bool,
    demanding: bool,
    custom: bool,
    /// `on` or `off`; none is a query.
    wanted: Option<bool>,
}

impl Request {
    fn parse(words: &[OsString]) -> Result<Self, String> {
        let mut request =
            Self { shows_only: false, simple: true, demanding: true, custom: false, wanted: None };
        let mut words = words.iter().map(|word| word.as_bytes()).peekable();
        while let Some(word) = words.next_if(|word| word.len() > 1 && word[0] == b'-') {
            if word == b"--" {
                break;
            }
            for letter in &word[1..] {
                match letter {
                    b'n' => request.shows_only = true,
                    b'S' => request.simple = false,
                    b'X' => request.demanding = false,
                    b'c' => request.custom = true,
                    other => return Err(format!("Illegal option -{}", char::from(*other))),
                }
            }
        }
        request.wanted = match words.next() {
            None | Some(b"" | b"query") => None,
            Some(b"on") => Some(true),
            Some(b"off") => Some(false),
            Some(other) => {
                let other = config::printable(other);
                return Err(format!(
                    "E: chroot: unknown arg {other} (expected [-n][-S][-X][-c] on|off|query)"
                ));
            }
        };
        Ok(request)
    }

    /// Whether a service with this entry is meant. Tells of those that nobody can know.
    fn is_about(&self, entry: &RawEntry) -> bool {
        let Some(command) = entry.field(Field::Command) else { return false };
        if NEVER.contains(&command) {
            false
        } else if DEMANDING.contains(&command) {
            self.demanding
        } else if SIMPLE.contains(&command) {
            self.simple
        } else {
            if !self.custom {
                let (name, command) = (shown(entry), config::printable(command));
                eprintln!("W: custom service {name}/command={command} (ignored)");
            }
            self.custom
        }
    }
}

/// `NAME/TYPE`, as postconf takes it.
fn shown(entry: &RawEntry) -> String {
    let field = |field| config::printable(entry.field(field).unwrap_or_default());
    format!("{}/{}", field(Field::Service), field(Field::Type))
}

/// Whether the entry says so itself; `-` is the default of some compatibility level, and no promise.
fn is_jailed(entry: &RawEntry) -> bool {
    entry.field(Field::Chroot) == Some(b"y")
}

fn state(entries: &[RawEntry]) -> &'static str {
    let count = entries.iter().filter(|entry| is_jailed(entry)).count();
    match count {
        0 => "off",
        count if count == entries.len() => "on",
        _ => "mixed",
    }
}

/// Carries out the command; the exit status.
pub(crate) fn run(invocation: &Invocation) -> i32 {
    let request = match Request::parse(&invocation.arguments) {
        Ok(request) => request,
        Err(text) => {
            eprintln!("{text}");
            return 1;
        }
    };
    let path = invocation.config.directory().master_cf();
    let Ok(file) = File::open(&path) else {
        invocation.report.fatal(&format!("no {} file found", path.display()));
    };
    let lines = LogicalLines::new(BufReader::new(file), path.display().to_string());
    let entries = lines.map_while(Result::ok).map(|line| RawEntry::parse(line.first, &line.text));
    let entries: Vec<RawEntry> = entries.filter(|entry| request.is_about(entry)).collect();
    let Some(wanted) = request.wanted else {
        println!("{}", state(&entries));
        return 0;
    };
    let change = |entry: &RawEntry| format!("{}/chroot={}", shown(entry), if wanted { "y" } else { "n" });
    let changes: Vec<String> =
        entries.iter().filter(|entry| is_jailed(entry) != wanted).map(change).collect();
    if changes.is_empty() {
        return 0;
    }
    let mut process = invocation.program(&invocation.globals().command_directory, "postconf");
    process.arg("-c").arg(invocation.config.directory().path()).arg("-F").args(changes);
    if !request.shows_only {
        return invocation.finish(&mut process);
    }
    let words = [process.get_program()].into_iter().chain(process.get_args());
    let mut line = words.map(|word| word.as_bytes()).collect::<Vec<_>>().join(&b' ');
    line.push(b'\n');
    // A reader that has gone needs no answer.
    let _ = std::io::stdout().write_all(&line);
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> Result<Request, String> {
        Request::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn requests() {
        let all = Request { shows_only: false, simple: true, demanding: true, custom: false, wanted: None };
        assert_eq!(request(&[]), Ok(all));
        let some =
            Request { shows_only: true, simple: false, demanding: true, custom: true, wanted: Some(false) };
        assert_eq!(request(&["-n", "-Sc", "off", "more"]), Ok(some));
        let all = Request { shows_only: false, simple: true, demanding: true, custom: false, wanted: None };
        // Options end at the first word that is none.
        assert_eq!(request(&["query", "-S"]), Ok(all));
        assert_eq!(request(&["-nz"]), Err("Illegal option -z".into()));
        let told = "E: chroot: unknown arg o (expected [-n][-S][-X][-c] on|off|query)";
        assert_eq!(request(&["--", "o"]), Err(told.into()));
    }

    #[test]
    fn states() {
        let entries = |fields: &[&str]| {
            let lines = fields.iter().map(|field| format!("x unix - - {field} - - smtp"));
            lines.map(|line| RawEntry::parse(1, line.as_bytes())).collect::<Vec<_>>()
        };
        assert_eq!(state(&entries(&[])), "off");
        assert_eq!(state(&entries(&["y", "y"])), "on");
        assert_eq!(state(&entries(&["y", "-"])), "mixed");
        assert_eq!(state(&entries(&["n", "-"])), "off");
    }
}
