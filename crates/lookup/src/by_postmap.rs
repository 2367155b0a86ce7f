//! A table of a type for which this program has no driver: postmap(1) is asked, once for each key.
//!
//! It stands where this process stands, with its environment and its rights, so that it finds what a driver would have
//! found. Its complaints become this program's warnings, and a temporary error.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::settings::settings;
use crate::{Flags, Kind, LookupError, Table};

/// The key that postmap takes for a list of keys on its standard input.
const LIST: &[u8] = b"-";

#[derive(Debug)]
pub(crate) struct ByPostmap {
    shown: String,
    reference: OsString,
    kind: Kind,
    folds: bool,
}

impl ByPostmap {
    pub(crate) fn new(shown: String, kind: &[u8], name: &[u8], flags: Flags) -> ByPostmap {
        let reference = OsStr::from_bytes(&[kind, b":", name].concat()).to_owned();
        let kind = if kind == b"pcre" { Kind::Pattern } else { Kind::Fixed };
        ByPostmap { shown, reference, kind, folds: flags.has(Flags::FOLD_FIX) }
    }

    fn ask(&self, key: &[u8]) -> io::Result<Output> {
        let folder = settings().map(|known| PathBuf::from(&known.command_directory)).unwrap_or_default();
        let mut command = Command::new(folder.join("postmap"));
        if !self.folds {
            command.arg("-f");
        }
        command.arg("-q").arg(OsStr::from_bytes(key)).arg(&self.reference);
        // Whatever is on our own standard input is not meant for it.
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut input) = child.stdin.take()
            && key == LIST
        {
            input.write_all(b"-\n")?;
        }
        child.wait_with_output()
    }

    fn tell(&self, why: &str) {
        log::warn!("{}: {why}", self.shown);
    }
}

impl Table for ByPostmap {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        // A key is a C string.
        let key = key.split(|byte| *byte == 0).next().unwrap_or_default();
        let output = self.ask(key).map_err(|error| {
            self.tell(&format!("postmap: {}", sys::error_text(&error)));
            LookupError::Retry
        })?;
        match output.status.code() {
            Some(0) => {
                let value = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
                let value = if key == LIST { value.strip_prefix(b"-\t").unwrap_or(value) } else { value };
                Ok(Some(value.to_vec()))
            }
            Some(1) if output.stderr.is_empty() => Ok(None),
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                said.lines().for_each(|line| self.tell(line));
                if said.is_empty() {
                    self.tell(&format!("postmap: {}", output.status));
                }
                Err(LookupError::Retry)
            }
        }
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn name(&self) -> &str {
        &self.shown
    }
}
