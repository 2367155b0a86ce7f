//! A look at an evaluation from outside: what `postwhy` shows.
//!
//! A session of the server has no observer, and pays a test of an `Option` for that. An observer is told of each list,
//! restriction, look-up and result in the order in which they happen; it changes nothing, but it can keep an evaluation
//! from asking policy servers or sending probes.

use std::fmt;

use lookup::LookupError;

use crate::argument::Argument;
use crate::facts::Facts;
use crate::verdict::Status;

/// One step.
#[derive(Debug)]
pub enum Event<'e> {
    /// A stage of the session begins: `CONNECT`, `EHLO`, `MAIL` and so on.
    Stage {
        /// Its name.
        name: &'static str,
    },
    /// A list begins: its reply class and subject.
    List {
        /// `Client host`, `Sender address` and so on.
        class: &'static str,
        /// What is tested.
        name: &'e [u8],
        /// Whether there is nothing in it.
        is_empty: bool,
    },
    /// A restriction is about to run.
    Restriction {
        /// Nesting: 0 in the list itself, 1 in a class or table result, and so on.
        depth: usize,
        /// The restriction as written.
        word: &'e str,
        /// Its argument.
        argument: &'e Argument,
        /// Whether `warn_if_reject` stands before it.
        warns: bool,
    },
    /// A check that no list asks for is about to run: of unlisted senders and recipients.
    Implicit {
        /// The restriction that does the same.
        word: &'static str,
    },
    /// A key was looked up.
    Lookup {
        /// `type:name`, or the parameter with the tables.
        table: &'e str,
        /// The key.
        key: &'e [u8],
        /// What came out.
        value: &'e Result<Option<Vec<u8>>, LookupError>,
    },
    /// Another program was asked, such as a policy server.
    Answer {
        /// Which.
        service: &'e str,
        /// What it said; `None` when it could not be asked, or must not be.
        answer: Option<&'e [u8]>,
    },
    /// `defer_if_permit` or `defer_if_reject` was set.
    Flag {
        /// Its name.
        name: &'static str,
        /// The reply that it holds.
        reply: &'e [u8],
    },
    /// A line for the log: `reject`, `reject_warning`, `hold`, `info` and so on.
    Log {
        /// The action.
        action: &'e str,
        /// The text.
        text: &'e [u8],
    },
    /// A restriction has run.
    Result {
        /// Nesting, as above.
        depth: usize,
        /// The restriction as written.
        word: &'e str,
        /// What the list makes of it.
        status: &'e Status,
    },
}

/// Is told of each step.
pub trait Observer: fmt::Debug {
    /// A step has been made.
    fn event(&self, event: &Event<'_>);

    /// Whether policy servers may be asked.
    fn asks_policy(&self) -> bool {
        true
    }

    /// Whether addresses may be verified, which can send a probe.
    fn probes(&self) -> bool {
        true
    }

    /// The refusal of others, where restrictions have let a stage of an examination pass. The server asks its mail filters
    /// itself.
    fn others(&self, _stage: &'static str, _facts: &Facts<'_>) -> Option<Vec<u8>> {
        None
    }
}
