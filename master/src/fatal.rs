//! What ends the program.

use std::io;

use sys::error_text;

/// The text after `fatal: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal(pub String);

/// Without what was asked of the system there is no going on.
///
/// # Errors
/// The system's, after what was asked.
pub(crate) fn system<T>(what: &str, result: io::Result<T>) -> Result<T, Fatal> {
    result.map_err(|error| Fatal(format!("{what}: {}", error_text(&error))))
}
