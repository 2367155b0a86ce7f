//! What main.cf says about logging, as typed fields.

use std::ffi::OsStr;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use config::{Config, ConfigDir, Dictionary};

use crate::copies::{Copies, Destination, Form};
use crate::postlog::Fallback;
use crate::syslog::Facility;

/// `maillog_file_permissions`, unless main.cf says otherwise.
const DEFAULT_PERMISSIONS: u32 = 0o600;
/// The programs that append to `maillog_file` themselves when postlogd cannot be reached.
const FALLBACK_PROGRAMS: &[&str] = &["master", "postfix", "postlog", "postsuper", "postmulti"];

/// Where lines go and what they are called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `syslog_name`: the identity before the program's name.
    pub syslog_name: String,
    /// `syslog_facility`.
    pub syslog_facility: Facility,
    /// `maillog_file`; `None` when empty.
    pub maillog_file: Option<PathBuf>,
    /// `maillog_file_permissions`.
    pub maillog_file_permissions: u32,
    /// `maillog_copies` and `maillog_events`.
    pub destinations: Vec<Destination>,
    /// Lines go to postlogd, and not from each program to syslog.
    pub(crate) by_postlogd: bool,
    /// Path of postlogd's socket: `$queue_directory/public/$postlog_service_name`.
    pub(crate) postlog_socket: PathBuf,
    /// `myhostname`, whose first label stands in each datagram.
    pub myhostname: String,
    /// `smtputf8_enable`: whether valid UTF-8 is shown.
    pub smtputf8_enable: bool,
}

/// A logging parameter that cannot be used; the text is Postfix's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter has no usable value.
    #[error(transparent)]
    Parameter(#[from] config::Error),
    /// `maillog_file` lies outside `maillog_file_prefixes`.
    #[error("maillog_file value '{0}' does not match any prefix in maillog_file_prefixes")]
    Prefix(String),
    /// A destination is neither a file nor a socket.
    #[error("neither /path nor unix:/path: {0}")]
    Destination(String),
    /// `syslog_facility` is no facility.
    #[error("file {file}: parameter syslog_facility: unrecognized value: {value}")]
    Facility {
        /// The configuration file.
        file: String,
        /// What it says.
        value: String,
    },
}

impl Settings {
    /// From main.cf.
    ///
    /// # Errors
    /// One of [`Error`].
    pub fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        let facility = &globals.syslog_facility;
        let syslog_facility = facility.parse().map_err(|()| Error::Facility {
            file: config.directory().main_cf().display().to_string(),
            value: facility.clone(),
        })?;
        let file = &globals.maillog_file;
        let has_prefix = |file: &str| Self::check_prefix(file, words(&globals.maillog_file_prefixes));
        if !file.is_empty() {
            has_prefix(file).map_err(|error| config.wrong("maillog_file", error.to_string()))?;
        }
        let mut destinations = Vec::new();
        for (name, form, text) in [
            ("maillog_copies", Form::Line, &globals.maillog_copies),
            ("maillog_events", Form::Event, &globals.maillog_events),
        ] {
            for word in words(text) {
                let found = Destination::parse(form, word).ok_or_else(|| Error::Destination(word.to_owned()));
                let found = found.and_then(|found| match word.starts_with('/') {
                    true => has_prefix(word).map(|()| found),
                    false => Ok(found),
                });
                destinations.push(found.map_err(|error| config.wrong(name, error.to_string()))?);
            }
        }
        Ok(Self {
            syslog_name: globals.syslog_name.clone(),
            syslog_facility,
            maillog_file: Some(PathBuf::from(file)).filter(|path| !path.as_os_str().is_empty()),
            maillog_file_permissions: permissions(&config.text("maillog_file_permissions")?),
            destinations,
            by_postlogd: globals.is_logged_by_postlogd(),
            postlog_socket: Path::new(&globals.queue_directory)
                .join("public")
                .join(&globals.postlog_service_name),
            myhostname: globals.myhostname.clone(),
            smtputf8_enable: globals.smtputf8_enable,
        })
    }

    /// Opens the destinations of `maillog_copies` and `maillog_events`, for postlogd.
    #[must_use]
    pub fn open_copies(&self) -> Option<Copies> {
        Copies::open(&self.destinations, &self.myhostname, self.maillog_file_permissions)
    }

    /// Checks a non-empty `maillog_file` against the words of `maillog_file_prefixes`.
    ///
    /// # Errors
    /// [`Error::Prefix`].
    pub(crate) fn check_prefix<'a>(
        file: &str,
        prefixes: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Error> {
        // Text and not path: `/var` admits `/variable/x` too (observed, 3.7.11).
        if prefixes.into_iter().any(|prefix| file.starts_with(prefix)) {
            Ok(())
        } else {
            Err(Error::Prefix(file.to_string()))
        }
    }

    /// The file this program may append to by itself.
    pub(crate) fn fallback(&self, process_name: &str) -> Option<Fallback> {
        FALLBACK_PROGRAMS.contains(&process_name).then(|| Fallback {
            path: self.maillog_file.clone(),
            permissions: self.maillog_file_permissions,
            destinations: self.destinations.clone(),
        })
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty())
}

/// The file this program may append to by itself before main.cf has been evaluated, so that an error in main.cf
/// reaches the log when postlogd does not run yet: a plain `maillog_file` is looked up without evaluating the rest.
pub(crate) fn early_fallback(process_name: &str) -> Option<Fallback> {
    if !FALLBACK_PROGRAMS.contains(&process_name) {
        return None;
    }
    let main_cf = ConfigDir::from_environment().main_cf();
    let file = File::open(&main_cf).ok()?;
    let mut dictionary = Dictionary::default();
    // What stands before a malformed line counts; the line itself is reported when main.cf is read in earnest.
    let _ = dictionary.parse(BufReader::new(file), &main_cf.to_string_lossy());
    let value = &dictionary.get(b"maillog_file")?.value;
    let plain = value.starts_with(b"/") && !value.contains(&b'$');
    plain.then(|| Fallback {
        path: Some(PathBuf::from(OsStr::from_bytes(value))),
        permissions: DEFAULT_PERMISSIONS,
        destinations: Vec::new(),
    })
}

/// Modes that `maillog_file_permissions` allows; anything else is told and taken as the first.
fn permissions(text: &str) -> u32 {
    const ALLOWED: &[u32] = &[0o600, 0o640, 0o644];
    match u32::from_str_radix(text, 8).ok().filter(|mode| ALLOWED.contains(mode)) {
        Some(mode) => mode,
        None => {
            log::warn!("ignoring bad permissions: maillog_file_permissions = {text}");
            DEFAULT_PERMISSIONS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let check = |file, prefixes: &[&str]| Settings::check_prefix(file, prefixes.iter().copied()).is_ok();
        assert!(check("/var/log/mail", &["/var", "/dev/stdout"]));
        assert!(check("/dev/stdout", &["/var", "/dev/stdout"]));
        assert!(check("/anything", &["/"]));
        assert!(check("/variable/x", &["/var"]));
        assert!(!check("/tmp/x", &["/var", "/dev/stdout"]));
        assert!(!check("/tmp/x", &[]));
    }
}
