//! The steps of an evaluation, kept as they happen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use access::argument::Argument;
use access::facts::Facts;
use access::observer::{Event, Observer};
use access::verdict::Status;
use access::watch::LookupWatch;
use lookup::{Asked, LookupError};

use crate::filters::Asking;

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

/// Keeps the steps.
#[derive(Debug)]
pub(crate) struct Trace {
    steps: Arc<Mutex<Vec<Step>>>,
    ask_policy: bool,
    probe: bool,
    asking: Mutex<Option<Asking>>,
}

impl Trace {
    /// No steps so far.
    pub(crate) fn new(ask_policy: bool, probe: bool) -> Self {
        Self { steps: Arc::default(), ask_policy, probe, asking: Mutex::default() }
    }

    /// What tables tell of look-ups.
    pub(crate) fn watch(&self) -> LookupWatch {
        let steps = Arc::clone(&self.steps);
        LookupWatch::new(move |table, key, value| push(&steps, lookup(table, key, value)))
    }

    /// A handle, to add steps.
    pub(crate) fn handle(&self) -> Steps {
        Steps(Arc::clone(&self.steps))
    }

    /// Has mail filters asked.
    pub(crate) fn ask(&self, asking: Asking) {
        *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = Some(asking);
    }

    /// The filters that are asked, if any.
    pub(crate) fn asking(&self) -> MutexGuard<'_, Option<Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps so far.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn push(steps: &Mutex<Vec<Step>>, step: Step) {
    steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
}

/// Bytes, fit for being shown.
pub(crate) fn shown(bytes: &[u8]) -> String {
    maillog::shown(bytes).to_string()
}

fn lookup(table: &str, key: &[u8], value: &Result<Option<Vec<u8>>, LookupError>) -> Step {
    let found = match value {
        Ok(None) => Found::Nothing,
        Ok(Some(value)) => Found::Value(shown(value)),
        Err(_) => Found::Failure,
    };
    Step::Lookup { table: table.to_string(), key: shown(key), line: None, found }
}

/// A handle on the steps, for whoever adds some.
#[derive(Debug, Clone)]
pub(crate) struct Steps(Arc<Mutex<Vec<Step>>>);

impl Steps {
    /// Adds one.
    pub(crate) fn push(&self, step: Step) {
        push(&self.0, step);
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

impl Observer for Trace {
    fn event(&self, event: &Event<'_>) {
        let step = match *event {
            Event::Stage { name } => Step::Stage(name),
            Event::List { class, name, is_empty } => Step::List { class, name: shown(name), is_empty },
            Event::Restriction { depth, word, argument, warns } => {
                let argument = match argument {
                    Argument::Table(table) => Some(table.name.clone()),
                    Argument::Policy(service) => Some(service.text.clone()),
                    Argument::Seconds(seconds) => Some(seconds.to_string()),
                    _ => None,
                };
                Step::Restriction { depth, word: word.to_string(), argument, warns }
            }
            Event::Implicit { word } => Step::Implicit(word),
            Event::Lookup { table, key, value } => lookup(table, key, value),
            Event::Answer { service, answer } => {
                Step::Answer { service: service.to_string(), answer: answer.map(shown) }
            }
            Event::Flag { name, reply } => Step::Flag { name, reply: shown(reply) },
            Event::Log { action, text } => Step::Log { action: action.to_string(), text: shown(text) },
            Event::Result { depth, word, status } => {
                let result = match status {
                    Status::Dunno => "dunno",
                    Status::Permit => "permit",
                    Status::Reject(_) => "reject",
                };
                Step::Result { depth, word: word.to_string(), result }
            }
        };
        push(&self.steps, step);
    }

    fn asks_policy(&self) -> bool {
        self.ask_policy
    }

    fn probes(&self) -> bool {
        self.probe
    }

    fn others(&self, stage: &'static str, facts: &Facts<'_>) -> Option<Vec<u8>> {
        self.asking().as_mut().and_then(|asking| asking.stage(stage, facts))
    }
}
