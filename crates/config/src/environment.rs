//! `import_environment` and `export_environment`: what a process keeps of its environment (spec main-cf 12).
//!
//! Each word is `NAME` (keep it), `NAME=VALUE` or `{ NAME = VALUE }` (set it); everything else goes. Refused, in
//! Postfix's words: unbalanced braces, and an item without a name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, printable};
use crate::list::{group, words_with_groups};
use crate::logical_lines::trim;

/// One word of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Keep(OsString),
    Set(OsString, OsString),
}

/// What is kept, and what is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    items: Vec<Item>,
}

impl Environment {
    /// What `import_environment` says.
    ///
    /// # Errors
    /// As the module says, with file and line.
    pub fn import(config: &crate::Config) -> Result<Self, Error> {
        let name = "import_environment";
        Self::parse(name, config.globals().import_environment.as_bytes())
            .map_err(|error| config.wrong(name, error.text()))
    }

    /// What `export_environment` says.
    ///
    /// # Errors
    /// As the module says, with file and line.
    pub fn export(config: &crate::Config) -> Result<Self, Error> {
        let name = "export_environment";
        Self::parse(name, config.globals().export_environment.as_bytes())
            .map_err(|error| config.wrong(name, error.text()))
    }

    fn parse(parameter: &str, value: &[u8]) -> Result<Self, Error> {
        let mut items = Vec::new();
        for word in words_with_groups(value) {
            let text = match word.first() {
                Some(b'{') => group(word).map_err(|why| Error::new(format!("{parameter}: {why}")))?,
                _ => word,
            };
            items.push(item(text)?);
        }
        Ok(Self { items })
    }

    /// What is left of `current`, and what is set besides.
    pub fn apply(
        &self,
        current: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let mut kept: Vec<_> =
            current.into_iter().filter(|(name, _)| self.items.contains(&Item::Keep(name.clone()))).collect();
        for item in &self.items {
            if let Item::Set(name, value) = item {
                kept.retain(|(known, _)| known != name);
                kept.push((name.clone(), value.clone()));
            }
        }
        kept
    }

    /// Only the variables that are set: for commands that keep their environment.
    pub fn settings(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.items.iter().filter_map(|item| match item {
            Item::Set(name, value) => Some((name.as_os_str(), value.as_os_str())),
            Item::Keep(_) => None,
        })
    }
}

fn item(text: &[u8]) -> Result<Item, Error> {
    let os = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let Some(equals) = text.iter().position(|byte| *byte == b'=') else { return Ok(Item::Keep(os(text))) };
    let (name, value) = (trim(&text[..equals]), trim(&text[equals + 1..]));
    let why = match name {
        [] => "missing attribute name",
        name if name.iter().any(u8::is_ascii_whitespace) => "missing '=' after attribute name",
        _ => return Ok(Item::Set(os(name), os(value))),
    };
    Err(Error::new(format!("clean_env: {why} in: {}", printable(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_and_set() {
        let environment = Environment::parse("import_environment", b"A, LANG=C { X = y z } B").unwrap();
        let current = [("A", "1"), ("PATH", "/bin"), ("LANG", "de"), ("C", "3")];
        let left = environment.apply(current.map(|(n, v)| (n.into(), v.into())));
        let want = [("A", "1"), ("LANG", "C"), ("X", "y z")].map(|(n, v)| (n.into(), v.into()));
        assert_eq!(left, want);
        assert_eq!(environment.settings().count(), 2);
    }

    #[test]
    fn refused() {
        let table = [
            ("A =x", "clean_env: missing attribute name in: =x"),
            ("{ = b }", "clean_env: missing attribute name in: = b"),
            ("{ A = b", "import_environment: missing '}' in \"{ A = b\""),
            ("{ A = b }x", "import_environment: syntax error after '}' in \"{ A = b }x\""),
        ];
        for (value, want) in table {
            let error = Environment::parse("import_environment", value.as_bytes()).unwrap_err();
            assert_eq!(error.text(), want);
        }
    }
}
