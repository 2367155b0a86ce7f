//! Restrictions: who may do what (spec access).
//!
//! A restriction is an entry of one table ([`table::RESTRICTIONS`]): a name, the shape of its argument, a function
//! from [`Facts`] to a [`Verdict`]. The evaluator ([`evaluate`]) alone knows how verdicts combine: `warn_if_reject`,
//! `defer_if_permit`, restriction classes, actions of access tables, and how a rejection is worded, logged and sent.
//!
//! Lists are compiled when the server starts ([`compile`]); a name that is not known, or known and not built, stops
//! the server. Families of restrictions have a file each.

use crate::session::Session;
use crate::settings::classes::Classes;
use crate::transaction::Actions;

pub mod action;
pub mod address_checks;
pub mod ccert_checks;
pub mod client_checks;
pub mod compile;
pub mod dns_tables;
pub mod dnsbl;
pub mod dsn;
pub mod evaluate;
pub mod generic;
pub mod helo_checks;
pub mod lists;
pub mod local_header_rewrite;
pub mod logins;
pub mod map_checks;
pub mod mx_backup;
pub mod observer;
pub mod policy;
pub mod relay_checks;
pub mod resolver;
pub mod server_checks;
pub mod stages;
pub mod subject;
pub mod table;
pub mod unknown_domain;
pub mod unlisted;
pub mod verify;

/// What a restriction may look at. Nothing here can be changed.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// The session: client, settings, the other daemons.
    pub session: &'f Session<'f>,
    /// The HELO name under test or given.
    pub helo: Option<&'f [u8]>,
    /// The sender under test or given; `Some(b"")` is the null sender.
    pub sender: Option<&'f [u8]>,
    /// The recipient under test.
    pub recipient: Option<&'f [u8]>,
    /// The ETRN argument.
    pub etrn: Option<&'f [u8]>,
    /// Recipients accepted so far.
    pub recipients: usize,
    /// The command that asks: the stage in log lines.
    pub stage: &'static str,
    /// A policy server failed, and what is under way is its default action.
    pub in_default_action: bool,
}

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
    /// What was looked for, as a whole.
    pub key: Vec<u8>,
    /// The result.
    pub value: Vec<u8>,
    /// What replies name, when it is not the list's own subject.
    pub name: Vec<u8>,
    /// The reply class that goes with it.
    pub class: &'static str,
    /// The restriction that asked, when OK is not permitted there, for the reason the log tells.
    pub no_permit: Option<&'static str>,
    /// OK counts as no opinion: the recipient's routing is not to be trusted.
    pub permit_is_dunno: bool,
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

/// Flags that one list passes on to the next, within a session.
#[derive(Debug, Clone, Default)]
pub struct AccessState {
    /// `defer_if_permit` after the client list. A deferral is worded when it is sent.
    pub client: Option<Detail>,
    /// After the helo list.
    pub helo: Option<Detail>,
    /// After the sender list.
    pub sender: Option<Detail>,
    /// In force.
    pub defer_if_permit: Option<Detail>,
    /// In force, for one list.
    pub defer_if_reject: Option<Detail>,
    /// What the postmaster is told besides what was refused: what was refused with a warning only, or put off instead.
    pub told: Classes,
    /// What the sender list, run at MAIL, decided about the message whose transaction is about to begin.
    pub at_mail: Actions,
    /// reject_unlisted_sender has been asked for by a list in this transaction.
    pub sender_listed: bool,
    /// reject_unlisted_recipient has run for this recipient.
    pub recipient_listed: bool,
}

impl AccessState {
    /// A new mail transaction: what was found out about the sender is void.
    pub fn new_transaction(&mut self) {
        self.sender = None;
        self.sender_listed = false;
        self.recipient_listed = false;
    }
}
