//! What is told of an evaluation while it runs, and who is asked in it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use access::argument::Argument;
use access::facts::Facts;
use access::observer::{Event, Observer};
use access::verdict::Status;
use access::watch::LookupWatch;

use crate::filters::Asking;
use crate::steps::{Step, Steps, lookup, shown};

/// Keeps the steps.
#[derive(Debug)]
pub(crate) struct Trace {
    steps: Steps,
    ask_policy: bool,
    probe: bool,
    asking: Mutex<Option<Asking>>,
}

impl Trace {
    /// No steps so far.
    pub(crate) fn new(ask_policy: bool, probe: bool) -> Self {
        Self { steps: Steps::default(), ask_policy, probe, asking: Mutex::default() }
    }

    /// What tables tell of look-ups.
    pub(crate) fn watch(&self) -> LookupWatch {
        let steps = self.handle();
        LookupWatch::new(move |table, key, value| steps.push(lookup(table, key, value)))
    }

    /// A handle, to add steps.
    pub(crate) fn handle(&self) -> Steps {
        self.steps.clone()
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
        self.steps.all()
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
        self.steps.push(step);
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
