//! What can be wrong with a received attribute list; `Display` is the text of Postfix's warning.

use std::fmt;
use std::io;

/// What was being read when input failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The name of an attribute, or the list terminator.
    Name,
    /// The value of an attribute.
    Value,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Context::Name => "input attribute name",
            Context::Value => "input attribute value",
        })
    }
}

/// A list that could not be read as asked for.
///
/// `from` is the stream's name, such as `rewrite socket`. Log it with `log::warn!("{error}")` unless
/// [`Error::is_quiet`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream was at its end before the first byte of the list: the peer has gone.
    #[error("end of input on {from} before an attribute list")]
    Closed {
        /// Stream name.
        from: String,
    },
    /// The stream failed before the first byte of the list: the peer has gone without reading what was sent to it
    /// (observed, 3.7.11, on reload: no line of its own).
    #[error("read failed on {from} before an attribute list")]
    Failed {
        /// Stream name.
        from: String,
        /// The failure.
        #[source]
        source: io::Error,
    },
    /// The list ended before the wanted attribute.
    #[error("missing attribute {name} in input from {from}")]
    Missing {
        /// The wanted attribute.
        name: String,
        /// Stream name.
        from: String,
        /// Whether the reader asked for a warning ([`super::Flags::MISSING`]).
        warn: bool,
    },
    /// Another attribute came where a certain one was wanted.
    #[error("unexpected attribute {name} from {from} (expecting: {wanted})")]
    Unexpected {
        /// The attribute that came.
        name: String,
        /// Stream name.
        from: String,
        /// The wanted attribute, or `(list terminator)`.
        wanted: String,
    },
    /// No input within the stream's time limit.
    #[error("timeout on {from} while reading {context}")]
    Timeout {
        /// Stream name.
        from: String,
        /// What was being read.
        context: Context,
        /// Nothing of the list had come, of which Postfix does not tell the log (observed, 3.7.11; null encoding).
        is_between: bool,
    },
    /// The stream ended inside a list, between names and values, or failed.
    #[error("premature end-of-input on {from} while reading {context}")]
    Premature {
        /// Stream name.
        from: String,
        /// What was being read.
        context: Context,
        /// The failure, when it was not a plain end of file.
        #[source]
        source: Option<io::Error>,
    },
    /// The stream ended in the middle of a name or value.
    #[error("unexpected end-of-input from {from} while reading {context}")]
    Truncated {
        /// Stream name.
        from: String,
        /// What was being read.
        context: Context,
    },
    /// A name or value longer than [`super::VALUE_LIMIT`].
    #[error("unexpected end-of-input from {from} while reading {context}")]
    TooLong {
        /// Stream name.
        from: String,
        /// What was being read.
        context: Context,
    },
    /// A plain-encoded line without `=`, where its value was wanted.
    #[error("missing value for string attribute {name} from {from}")]
    NoValue {
        /// Stream name.
        from: String,
        /// The line.
        name: String,
    },
    /// A number that is none.
    #[error("malformed numerical data from {from} while reading input attribute value: {text}")]
    Number {
        /// Stream name.
        from: String,
        /// The value received.
        text: String,
    },
    /// Binary data that is not strict base64.
    #[error("malformed base64 data from {from} while reading input attribute value: {text}")]
    Base64 {
        /// Stream name.
        from: String,
        /// The value received.
        text: String,
    },
    /// A fixed value that differs from what it must be.
    #[error("unexpected {name} {value} from {from} (expected: {expected})")]
    Constant {
        /// The attribute.
        name: String,
        /// The value received.
        value: String,
        /// Stream name.
        from: String,
        /// The value wanted.
        expected: String,
    },
    /// A table with more than [`super::HASH_LIMIT`] entries.
    #[error("attribute count exceeds limit {limit} in input from {from}")]
    HashLimit {
        /// The limit.
        limit: usize,
        /// Stream name.
        from: String,
    },
    /// The same name twice in a table, under [`super::Flags::EXTRA`].
    #[error("duplicate attribute {name} in input from {from}")]
    Duplicate {
        /// The name that came twice.
        name: String,
        /// Stream name.
        from: String,
    },
}

impl Error {
    /// Whether Postfix logs nothing for this: the peer closed between two lists, or the reader did not ask
    /// to be told about missing attributes.
    #[must_use]
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(
            self,
            Error::Closed { .. }
                | Error::Failed { .. }
                | Error::Missing { warn: false, .. }
                | Error::Timeout { is_between: true, .. }
        )
    }

    /// Logs the warning that belongs to this error, if any.
    pub fn warn(&self) {
        if !self.is_quiet() {
            log::warn!("{self}");
        }
    }

    /// The failure as the `ERROR` part of a client's own warning, as the operating system would word it.
    #[must_use]
    pub fn os_text(&self) -> String {
        use nix::errno::Errno;
        let text = |errno: Errno| sys::errno_text(errno as i32);
        match self {
            Error::Closed { .. } | Error::Premature { source: None, .. } => text(Errno::ENOENT),
            Error::Timeout { .. } => text(Errno::ETIMEDOUT),
            Error::Failed { source, .. } | Error::Premature { source: Some(source), .. } => {
                sys::error_text(source)
            }
            _ => text(Errno::EINVAL),
        }
    }
}
