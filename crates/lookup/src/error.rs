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
pub struct OpenError(String, Blame);

/// What an [`OpenError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The table.
    Table,
    /// Its type, of which there is none.
    Type,
    /// A text that names no table at all: it ends every program (observed, 3.7.11).
    Reference,
}

impl OpenError {
    pub(crate) fn new(text: impl Into<String>) -> OpenError {
        Blame::Table.of(text)
    }

    pub(crate) fn blame(&self) -> Blame {
        self.1
    }
}

impl Blame {
    pub(crate) fn of(self, text: impl Into<String>) -> OpenError {
        OpenError(text.into(), self)
    }
}
