//! Which version of Postfix is around: found, not configured (spec ipc 4; `docs/versions.md`).
//!
//! What internal messages look like, and what a parameter is when nobody sets it, depends on the version. In this order:
//! `postern_postfix_version`; `mail_version`, when main.cf sets it; the version of Postfix's own programs in
//! `daemon_directory`; 3.10 where there are none, the newest version whose behaviour is complete.
//!
//! Postfix's programs are read, not run: a process has to know before it does anything else, and starting `postconf`
//! costs more than the rest of its start. Up to 3.10 each has `mail_version=3.10.3` in it; from 3.11 on `master` and
//! `libpostfix-global.so` have the bare number as a constant, and the daemons have none (observed with Debian's 3.7.11, 3.10.3
//! and 3.11.7). Our own programs are told by a note at their beginning ([`sys::note`]). Master looks once and tells its services by [`POSTFIX`]; under Postfix's own master a service
//! reads `master` itself, some tens of kilobytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use memchr::{memchr, memmem};
use sys::note::{HEAD, NOTE};

use crate::dictionary::Dictionary;
use crate::error::Error;
use crate::settings::Settings;

/// Our own version: what `postern_version` is, whatever main.cf says.
pub const POSTERN: &str = env!("CARGO_PKG_VERSION");
/// The variable by which master tells its services which version it has found; nothing in it is "none".
pub const POSTFIX: &str = "POSTERN_POSTFIX";
/// The versions of Postfix 3 whose dialects are known, by the part behind `3.`.
pub(crate) const KNOWN: RangeInclusive<u32> = 7..=12;
/// The version that Postern follows where nothing says otherwise.
pub(crate) const DEFAULT_MINOR: u32 = 10;
const PARAMETER: &str = "postern_postfix_version";
/// No program of Postfix's is as large.
const LARGEST: u64 = 1 << 24;
/// The daemons that can be Postfix's, likeliest first: all of those that Postern has too, and what it has not.
const DAEMONS: &[&str] = &[
    "master",
    "qmgr",
    "smtp",
    "local",
    "bounce",
    "virtual",
    "pipe",
    "cleanup",
    "smtpd",
    "trivial-rewrite",
    "proxymap",
    "showq",
    "anvil",
    "tlsmgr",
    "verify",
    "flush",
    "pickup",
    "error",
    "discard",
    "postscreen",
    "spawn",
    "postlogd",
    "lmtp",
    "oqmgr",
    "scache",
    "tlsproxy",
    "dnsblog",
    "nbdb_reindexd",
];

/// The version in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// The part behind `3.`, from 7 to 12.
    pub(crate) minor: u32,
    /// What `mail_version` is when nobody sets it, if that is known: Postfix's own.
    pub(crate) mail_version: Option<String>,
    /// Nothing says so: it is the default. Parameters of later versions are obeyed then.
    pub(crate) is_assumed: bool,
}

impl Version {
    /// With these settings. A value that is no version counts as none: who uses it tells (see [`checked`]).
    pub(crate) fn in_force(settings: &Settings, told: Option<String>) -> Version {
        let written = |name: &str| {
            let is_set = settings.dictionary.get(name.as_bytes()).is_some();
            is_set.then(|| settings.text(name).ok()).flatten()
        };
        let asked = written(PARAMETER).and_then(|text| minor_of(&text)).filter(|minor| KNOWN.contains(minor));
        if let Some(minor) = asked {
            return Version { minor, mail_version: None, is_assumed: false };
        }
        if let Some(minor) = written("mail_version").and_then(|text| minor_of(&text)) {
            let minor = minor.clamp(*KNOWN.start(), *KNOWN.end());
            return Version { minor, mail_version: None, is_assumed: false };
        }
        let mail_version = match told {
            Some(told) => Some(told).filter(|told| minor_of(told).is_some()),
            None => find(settings),
        };
        let found = mail_version.as_deref().and_then(minor_of);
        let minor = found.unwrap_or(DEFAULT_MINOR).clamp(*KNOWN.start(), *KNOWN.end());
        Version { minor, mail_version, is_assumed: found.is_none() }
    }
}

/// Tells a program's name and version on standard output, if `--version` is all that it was called with: to Postfix's
/// programs that is no option. Says whether it was.
#[must_use]
pub fn told(program: &str, words: &[OsString]) -> bool {
    let is_asked = matches!(words, [only] if only == "--version");
    if is_asked {
        // A reader that has gone needs no answer.
        let _ = writeln!(std::io::stdout(), "{program} (Postern) {POSTERN}");
    }
    is_asked
}

/// The version in force with this main.cf, for a program that shows all of it; also what `mail_version` is when nobody
/// sets it.
#[must_use]
pub fn of_main_cf(dictionary: &Dictionary) -> (u32, Option<String>) {
    let mut settings = Settings::of_dictionary(dictionary.clone());
    settings.find_version(None);
    (settings.version.minor, settings.version.mail_version)
}

/// What is said when the configuration names another version than the programs around, or these are of a version that
/// Postern does not know. Looks at the programs.
pub(crate) fn mismatch(settings: &Settings) -> Option<Error> {
    let found = find(settings)?;
    let minor = minor_of(&found)?;
    let in_force = settings.version.minor;
    if minor == in_force {
        return None;
    }
    let is_set = |name: &&str| settings.dictionary.get(name.as_bytes()).is_some();
    let (first, last) = (KNOWN.start(), KNOWN.end());
    Some(match [PARAMETER, "mail_version"].into_iter().find(is_set) {
        Some(name) => {
            let text = format!(
                "{name} says 3.{in_force}, but the Postfix in daemon_directory is {found}: internal messages and defaults are those of 3.{in_force}"
            );
            Error::at(text, settings.origin(name))
        }
        None => Error::new(format!(
            "the Postfix in daemon_directory is {found}; Postern knows 3.{first} to 3.{last}, and is as beside 3.{in_force}"
        )),
    })
}

/// Checks what `postern_postfix_version` is set to: `3.10`, or with a patch level, `3.10.4`; nothing is "find out".
pub(crate) fn checked(settings: &Settings) -> Result<(), Error> {
    let text = settings.text(PARAMETER)?;
    if text.is_empty() || minor_of(&text).is_some_and(|minor| KNOWN.contains(&minor)) {
        return Ok(());
    }
    let (first, last) = (KNOWN.start(), KNOWN.end());
    let text =
        format!("bad value for parameter {PARAMETER}: {text}: specify a version from 3.{first} to 3.{last}");
    Err(Error::at(text, settings.origin(PARAMETER)))
}

/// The number between `3.` and a patch level or the date of a snapshot.
fn minor_of(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("3.")?;
    let (minor, patch) = rest.split_once(['.', '-']).unwrap_or((rest, "0"));
    let is_number =
        |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    minor.parse().ok().filter(|_| is_number(minor) && is_number(patch))
}

/// The version of the Postfix that has programs in `daemon_directory`.
pub(crate) fn find(settings: &Settings) -> Option<String> {
    let daemons = settings.text("daemon_directory").ok()?;
    for name in DAEMONS {
        let path = Path::new(&daemons).join(name);
        let Some(content) = foreign_program(&path) else { continue };
        if let Some(version) = constant(&content) {
            return Some(version);
        }
        let library = settings.text("shlib_directory").ok()?;
        let content = std::fs::read(Path::new(&library).join("libpostfix-global.so")).ok();
        if let Some(version) = content.as_deref().and_then(constant) {
            return Some(version);
        }
    }
    None
}

/// The content of a program that is not Postern's.
fn foreign_program(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut content = Vec::with_capacity(HEAD);
    Read::by_ref(&mut file).take(HEAD as u64).read_to_end(&mut content).ok()?;
    let is_program = content.starts_with(b"\x7fELF");
    let is_ours = content.windows(NOTE.len()).any(|window| window == NOTE);
    if !is_program || is_ours || file.metadata().ok()?.len() > LARGEST {
        return None;
    }
    file.read_to_end(&mut content).ok()?;
    Some(content)
}

/// A version that stands alone, or behind `mail_version=`, between two NULs.
fn constant(content: &[u8]) -> Option<String> {
    memmem::find_iter(content, b"3.").find_map(|at| {
        let before = &content[..at];
        let before = before.strip_suffix(b"mail_version=").unwrap_or(before);
        let text = &content[at..];
        let text = &text[..memchr(0, text)?];
        let has_patch = text.len() <= 16 && text.get(3..)?.iter().any(|byte| matches!(byte, b'.' | b'-'));
        let text = std::str::from_utf8(text).ok().filter(|_| before.ends_with(&[0]) && has_patch)?;
        minor_of(text).map(|_| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, minor) in [
            ("3.7.11", Some(7)),
            ("3.10", Some(10)),
            ("3.12-20260821", Some(12)),
            ("3.13.0", Some(13)),
            ("2.11.3", None),
            ("3.", None),
            ("3", None),
            ("3.10x", None),
            ("3.10.x", None),
            ("3.10.", None),
            ("", None),
        ] {
            assert_eq!(minor_of(text), minor, "{text}");
        }
    }

    #[test]
    fn constants() {
        for (content, version) in [
            (&b"x\0mail_version=3.7.11\0y"[..], Some("3.7.11")),
            (b"ld-linux.so.2\x003.11.7\0", Some("3.11.7")),
            (b"\x003.12-20260821\0", Some("3.12-20260821")),
            (b"\x003.6\0GLIBC_2.34\x002.3.4\0", None),
            (b"version 3.11.7\0", None),
        ] {
            assert_eq!(constant(content).as_deref(), version, "{}", content.escape_ascii());
        }
    }

    /// Nobody reads them whole, to find nothing.
    #[test]
    fn own_programs_are_passed_over() {
        assert!(foreign_program(&std::env::current_exe().expect("it runs")).is_none());
        assert!(foreign_program(Path::new("/bin/sh")).is_some());
    }

    /// Any one of them may be the only program of Postfix that is there.
    #[test]
    fn every_daemon_is_looked_at() {
        let list = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs"));
        let list = list.expect("programs");
        let daemons: Vec<&str> = list
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, rest)| rest.trim_start().starts_with("daemon"))
            .map(|(name, _)| name)
            .collect();
        assert!(daemons.len() >= 20, "{daemons:?}");
        // Postfix has no such daemon.
        for daemon in daemons.into_iter().filter(|daemon| *daemon != "metrics") {
            assert!(DAEMONS.contains(&daemon), "{daemon}");
        }
    }
}
