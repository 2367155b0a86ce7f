//! What can go wrong with a table.

/// A lookup that has no answer, not even "not found". Callers handle both as "try again later".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// A temporary failure.
    #[error("temporary lookup failure")]
    Retry,
    /// The table is broken.
    #[error("table configuration error")]
    Config,
}

/// Why not all entries of a table can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Tables of this type do not know their keys.
    #[error("sequence operation is not supported")]
    NotSupported,
    /// The table is broken; it has been logged how.
    #[error("sequence operation failed")]
    Failed,
    /// The table could not be opened.
    #[error("sequence operation failed")]
    Unavailable,
}

/// A table that could not be opened; `Display` is the text that Postfix logs after `fatal: ` or `error: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub(crate) String);

impl OpenError {
    pub(crate) fn new(text: impl Into<String>) -> OpenError {
        OpenError(text.into())
    }
}
