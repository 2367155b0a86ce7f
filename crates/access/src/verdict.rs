//! What restrictions and lists of them come to.

use crate::settings::classes::Classes;

/// What a list of restrictions is about: the words of its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'f> {
    /// What is being tested, as the reply names it.
    pub name: &'f [u8],
    /// `Client host`, `Sender address` and so on.
    pub class: &'static str,
}

/// The answer of one restriction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// No opinion.
    Dunno,
    /// The list ends, nothing is rejected.
    Permit,
    /// The request is rejected.
    Reject(Detail),
    /// The request is deferred if nothing rejects it.
    DeferIfPermit(Detail),
    /// A later rejection becomes a deferral.
    DeferIfReject(Detail),
    /// A look-up failed.
    Trouble(Trouble),
    /// An access table has an entry.
    Entry(TableEntry),
}

/// How a rejection is worded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// For `notify_classes`.
    pub class: Classes,
    /// Reply code, as configured: it may be nonsense.
    pub code: i32,
    /// Enhanced status code; its first digit follows the reply code.
    pub dsn: String,
    /// Text.
    pub text: Vec<u8>,
}

impl Detail {
    /// A rejection by policy.
    pub fn policy(code: i32, dsn: &str, text: Vec<u8>) -> Self {
        Self { class: Classes::POLICY, code, dsn: dsn.to_string(), text }
    }

    /// `CODE DSN TEXT`, as configured.
    pub fn plain(&self) -> Vec<u8> {
        let mut text = format!("{} {} ", self.code, self.dsn).into_bytes();
        text.extend_from_slice(&self.text);
        text
    }

    /// `<NAME>: CLASS rejected: TEXT`
    pub fn rejected(code: i32, dsn: &str, scope: &Scope<'_>, text: &str) -> Self {
        Self::policy(
            code,
            dsn,
            [b"<", scope.name, b">: ", scope.class.as_bytes(), b" rejected: ", text.as_bytes()].concat(),
        )
    }
}

/// Why a restriction has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// For now; the field is what could not be looked up.
    Temporary(Vec<u8>),
    /// An access table failed; the fields are the subject of the reply.
    Table {
        /// What was looked up.
        name: Vec<u8>,
        /// Its reply class.
        class: &'static str,
    },
    /// The configuration makes no sense here.
    Configuration,
}

/// An entry found in an access table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// The table, as configured.
    pub table: String,
    /// What was looked for, as a whole; of the servers of an address, its domain.
    pub key: Vec<u8>,
    /// The same, with the address as it is.
    pub(crate) asked: Vec<u8>,
    /// The result.
    pub value: Vec<u8>,
    /// What replies name, when it is not the list's own subject.
    pub name: Vec<u8>,
    /// The reply class that goes with it.
    pub class: &'static str,
    /// The restriction that asked, when OK is not permitted there, for the reason the log tells.
    pub(crate) no_permit: Option<&'static str>,
    /// OK counts as no opinion: the recipient's routing is not to be trusted.
    pub(crate) permit_is_dunno: bool,
    /// It stands in for the answer of a policy server that failed.
    pub is_default: bool,
}

/// A reply that was decided on and may still be needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// For `notify_classes`.
    pub class: Classes,
    /// The whole reply text.
    pub text: Vec<u8>,
}

/// What a list, or a part of it, came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Status {
    /// No decision.
    Dunno,
    /// Permitted.
    Permit,
    /// Rejected, with this reply.
    Reject(Stored),
}
