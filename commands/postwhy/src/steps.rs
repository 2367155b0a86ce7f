//! The steps of an evaluation, kept as they happen.

use std::sync::{Arc, Mutex, PoisonError};

use lookup::{Asked, LookupError};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A stage of the session.
    Stage(&'static str),
    /// A list: its reply class and subject.
    List {
        /// Reply class.
        class: &'static str,
        /// Subject.
        name: String,
        /// Nothing is in it.
        is_empty: bool,
    },
    /// A restriction begins.
    Restriction {
        /// Nesting.
        depth: usize,
        /// Its name, as written.
        word: String,
        /// Its argument.
        argument: Option<String>,
        /// `warn_if_reject` stands before it.
        warns: bool,
    },
    /// A check that no list asks for.
    Implicit(&'static str),
    /// A look-up.
    Lookup {
        /// Table.
        table: String,
        /// Key.
        key: String,
        /// The line of the rule that was found, as far as known.
        line: Option<usize>,
        /// What was found; an error is a text, too.
        found: Found,
    },
    /// cleanup takes an address in.
    Address {
        /// `sender`, `recipient`, `bcc`.
        role: &'static str,
        /// The address.
        address: String,
    },
    /// Other addresses in an address's place.
    Mapped {
        /// A parameter, or `rewrite`.
        by: String,
        /// Before.
        from: String,
        /// Behind.
        to: Vec<String>,
    },
    /// Mail goes to this recipient, and for this reason.
    Delivered {
        /// The recipient.
        address: String,
    },
    /// What anvil has counted of the client.
    Counter {
        /// The parameter with the limit.
        parameter: &'static str,
        /// Its value.
        limit: i32,
        /// How much of it there is.
        counted: i32,
    },
    /// A mail filter there is, or what it said.
    Milter {
        /// The filter.
        name: String,
        /// What it was told: a stage, `header`, `body` ...; nothing where it is not asked.
        event: String,
        /// `continue`, `reply`, `discard`, `hold`, `shutdown`, `edit`, `not asked`.
        answer: &'static str,
        /// What goes with it.
        text: String,
    },
    /// A check has something to say about a text of the message.
    Check {
        /// `header`, `body`, `content`, `mime-error`.
        part: &'static str,
        /// The text.
        text: String,
        /// What is to be done.
        action: String,
        /// What goes with it.
        argument: String,
    },
    /// A policy server or the like was asked.
    Answer {
        /// Who.
        service: String,
        /// What it said.
        answer: Option<String>,
    },
    /// `defer_if_permit` or `defer_if_reject` holds this reply from now on.
    Flag {
        /// Which.
        name: &'static str,
        /// The reply.
        reply: String,
    },
    /// A line for the log.
    Log {
        /// `reject`, `hold`, `info` ...
        action: String,
        /// Text.
        text: String,
    },
    /// A restriction has run.
    Result {
        /// Nesting.
        depth: usize,
        /// Its name, as written.
        word: String,
        /// `dunno`, `permit`, `reject`.
        result: &'static str,
    },
}

/// What a look-up came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A value.
    Value(String),
    /// The table cannot tell.
    Failure,
}

/// The steps so far; a clone is a handle on the same ones, for whoever adds some.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(Arc<Mutex<Vec<Step>>>);

impl Steps {
    /// Adds one.
    pub(crate) fn push(&self, step: Step) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Step> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the answer of a table.
    pub(crate) fn asked(&self, asked: &Asked<'_>) {
        let mut step = lookup(asked.table, asked.key, asked.answer);
        if let Step::Lookup { line, .. } = &mut step {
            *line = asked.line;
        }
        self.push(step);
    }
}

/// Bytes, fit for being shown.
pub(crate) fn shown(bytes: &[u8]) -> String {
    maillog::shown(bytes).to_string()
}

/// The answer of a table, as a step.
pub(crate) fn lookup(table: &str, key: &[u8], value: &Result<Option<Vec<u8>>, LookupError>) -> Step {
    let found = match value {
        Ok(None) => Found::Nothing,
        Ok(Some(value)) => Found::Value(shown(value)),
        Err(_) => Found::Failure,
    };
    Step::Lookup { table: table.to_string(), key: shown(key), line: None, found }
}
