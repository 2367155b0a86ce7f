//! What can be wrong with main.cf, in Postfix's words.
//!
//! `Display` gives Postfix's own fatal text first, because tools match on it, then the place in the
//! file where the offending value was written, which Postfix does not tell.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file, and the number of the first line of the logical line.
    File(Arc<str>, usize),
    /// A `-o name=value` option.
    Option,
    /// Put there by the program itself.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{path}, line {line}"),
            Self::Option => f.write_str("-o option"),
            Self::Program => f.write_str("computed value"),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Error)]
#[error("{text}{}", place(.origin))]
pub struct Error {
    text: String,
    origin: Option<Origin>,
    #[source]
    source: Option<std::io::Error>,
}

fn place(origin: &Option<Origin>) -> String {
    match origin {
        Some(origin) => format!(" ({origin})"),
        None => String::new(),
    }
}

impl Error {
    /// An error with a text of the caller's own.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), origin: None, source: None }
    }

    pub(crate) fn at(text: impl Into<String>, origin: Option<&Origin>) -> Self {
        Self { text: text.into(), origin: origin.cloned(), source: None }
    }

    /// The file cannot be opened or read. `text` is what Postfix says, without the reason.
    pub(crate) fn io(text: String, source: std::io::Error) -> Self {
        let reason = sys::error_text(&source);
        Self { text: format!("{text}: {reason}"), origin: None, source: Some(source) }
    }

    /// Where the offending value was written, when it was.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Postfix's own text alone, without the place.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Bytes as Postfix shows them in its log: what is neither printable nor UTF-8 becomes `?`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if c.is_ascii_control() { '?' } else { c }));
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// A path for messages.
pub(crate) fn shown(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    printable(path.as_os_str().as_bytes())
}
