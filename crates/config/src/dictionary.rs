//! main.cf as it was written: every name with its raw text and the place it comes from.
//!
//! Any name is accepted; the last value of a name wins, with a warning when it differs from the
//! earlier one. Nothing is expanded or checked here: that is [`crate::Config`]'s work. Refuses, with
//! Postfix's words and the line number, a file that cannot be opened and a line that is not
//! `name = value`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::assignment::Assignment;
use crate::directory::ConfigDir;
use crate::error::{Error, Origin, printable, shown};
use crate::logical_lines::LogicalLines;

/// A raw value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The text as written, without white space at its ends.
    pub value: Vec<u8>,
    /// Where it was written.
    pub origin: Origin,
}

/// All settings of one main.cf.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Dictionary {
    /// Reads `DIR/main.cf`; `config_directory` is entered before the file is read.
    ///
    /// A file that was written within the last second or so may still be in the making: it is read
    /// again until it has come to rest.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is malformed.
    pub fn read(directory: &ConfigDir) -> Result<Self, Error> {
        const PAUSE: Duration = Duration::from_millis(300);
        let path = directory.main_cf();
        let name = shown(&path);
        loop {
            let before = SystemTime::now();
            let file = File::open(&path).map_err(|e| Error::io(format!("open {name}"), e))?;
            let mut dictionary = Self::default();
            let config_directory = std::os::unix::ffi::OsStrExt::as_bytes(directory.path().as_os_str());
            dictionary.set(b"config_directory", config_directory, Origin::Program);
            let mut reader = BufReader::new(file);
            let mut remarks = Vec::new();
            let outcome = dictionary.parse_noting(&mut reader, &name, &mut remarks);
            let tell = |remarks: Vec<String>| remarks.iter().for_each(|remark| log::warn!("{remark}"));
            if let Err(error) = outcome {
                tell(remarks);
                return Err(error);
            }
            let modified = reader.get_ref().metadata().and_then(|m| m.modified());
            let modified = modified.map_err(|e| Error::io(format!("fstat {name}"), e))?;
            if at_rest(modified, before, SystemTime::now()) {
                tell(remarks);
                return Ok(dictionary);
            }
            sleep(PAUSE);
        }
    }

    /// Adds the settings of a file that is already open; `name` is its name in messages.
    ///
    /// # Errors
    /// When reading fails, or a line is malformed.
    pub fn parse(&mut self, reader: impl BufRead, name: &str) -> Result<(), Error> {
        let mut remarks = Vec::new();
        let outcome = self.parse_noting(reader, name, &mut remarks);
        remarks.iter().for_each(|remark| log::warn!("{remark}"));
        outcome
    }

    fn parse_noting(
        &mut self,
        reader: impl BufRead,
        name: &str,
        remarks: &mut Vec<String>,
    ) -> Result<(), Error> {
        let file: Arc<str> = name.into();
        for line in LogicalLines::new(reader, name) {
            let line = line.map_err(|e| Error::io(format!("read {name}"), e))?;
            let setting = Assignment::parse(&line.text).map_err(|malformed| {
                let text = printable(&line.text);
                Error::new(format!("{name}, line {}: {malformed}: \"{text}\"", line.first))
            })?;
            if let Some(earlier) = self.entries.get(setting.name)
                && earlier.value != setting.value
            {
                let (name, value) = (printable(setting.name), printable(&earlier.value));
                remarks
                    .push(format!("{file}, line {}: overriding earlier entry: {name}={value}", line.first));
            }
            self.set(setting.name, setting.value, Origin::File(file.clone(), line.first));
        }
        Ok(())
    }

    /// The entry of a name.
    pub fn get(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Sets or replaces a value.
    pub fn set(&mut self, name: &[u8], value: &[u8], origin: Origin) {
        self.entries.insert(name.to_vec(), Entry { value: value.to_vec(), origin });
    }

    /// All entries, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_slice(), entry))
    }
}

/// Seconds count, as in Postfix: a time within the second of reading may hide a later change.
fn at_rest(modified: SystemTime, before: SystemTime, after: SystemTime) -> bool {
    let seconds = |time: SystemTime| match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs(),
        Err(_) => 0,
    };
    seconds(modified) + 1 < seconds(before) || seconds(modified) > seconds(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Dictionary, String> {
        let mut dictionary = Dictionary::default();
        dictionary.parse(text, "./main.cf").map_err(|e| e.to_string())?;
        Ok(dictionary)
    }

    #[test]
    fn last_one_wins_and_knows_its_line() {
        let dictionary = parse(b"# c\na = 1\nb =\n  two\na = 3\n").unwrap();
        let a = dictionary.get(b"a").unwrap();
        assert_eq!(a.value, b"3");
        assert_eq!(a.origin.to_string(), "./main.cf, line 5");
        assert_eq!(dictionary.get(b"b").unwrap().value, b"two");
        assert_eq!(dictionary.get(b"c"), None);
    }

    #[test]
    fn malformed_lines() {
        let cases: &[(&[u8], &str)] = &[
            (b"foo\n", "./main.cf, line 1: missing '=' after attribute name: \"foo\""),
            (b"\n= bar\n", "./main.cf, line 2: missing attribute name: \"= bar\""),
            (b"x\x00y = 3\n", "./main.cf, line 1: missing '=' after attribute name: \"x\""),
        ];
        for (input, expected) in cases {
            assert_eq!(parse(input).unwrap_err(), *expected);
        }
    }

    #[test]
    fn rest() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let cases = [(97, true), (98, true), (99, false), (100, false), (101, false), (102, true)];
        for (modified, expected) in cases {
            assert_eq!(at_rest(at(modified), at(100), at(101)), expected, "{modified}");
        }
    }

    /// Whatever the bytes, reading them ends with a dictionary or an error.
    #[test]
    fn any_bytes() {
        for first in 0..=255_u8 {
            for second in [0, b'\n', b' ', b'=', b'#', 255] {
                let _ = parse(&[first, second, b'=', second, b'\n', first]);
            }
        }
    }
}
