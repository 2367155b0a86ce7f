//! How a login fails: the few results of the library's that a client is told of, in its words.

use std::fmt;

/// A result other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Something here does not work.
    Failure,
    /// What the client said makes no sense.
    Protocol,
    /// Wrong password, or nobody of this name.
    Authentication,
    /// There is no such mechanism.
    Mechanism,
    /// There is, but not outside TLS.
    Encryption,
    /// A name that is too long.
    Overflow,
    /// Base64 that ends too soon; the words are the library's.
    Unfinished,
    /// The server does not know the secret.
    Mutual,
}

impl Fault {
    /// Whether the client may try again.
    pub(super) fn is_temporary(self) -> bool {
        self == Self::Failure
    }

    /// A fault, after a line in the log that says more.
    pub(super) fn because(self, text: impl fmt::Display) -> Self {
        log::warn!("SASL authentication failure: {text}");
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failure => "generic failure",
            Self::Protocol => "bad protocol / cancel",
            Self::Authentication => "authentication failure",
            Self::Mechanism => "no mechanism available",
            Self::Encryption => "encryption needed to use mechanism",
            Self::Overflow => "overflowed buffer",
            Self::Mutual => "server failed mutual authentication step",
            Self::Unfinished => "another step is needed in authentication",
        })
    }
}
