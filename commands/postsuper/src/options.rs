//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use command::{Command, Opt};
use queue::QueueName;

use crate::progress::Action;
use crate::sweep::{ALL_QUEUES, Upkeep};

const USAGE: &str = "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] \
    [-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] \
    [-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] \
    [-S (redundant structure fix)][-v (verbose)] [queue...]";

/// What an action is done to.
#[derive(Debug)]
pub(crate) enum Target {
    /// The word `ALL`, in upper case as a safety measure.
    All,
    /// The IDs on standard input.
    Stdin,
    /// What should be a queue ID.
    Message(OsString),
}

pub(crate) const LETTERS: &str = "c:d:e:f:h:H:pr:sSv";

#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) upkeep: Option<Upkeep>,
    pub(crate) actions: Vec<(Action, Target)>,
    operands: Vec<OsString>,
}

impl Options {
    /// Ends the command when they make no sense.
    pub(crate) fn parse(command: &Command) -> Self {
        let mut options = Self::default();
        let mut getopt = command.options(LETTERS);
        for option in getopt.by_ref() {
            match option {
                Opt::With('c', value) => {
                    let path = PathBuf::from(value);
                    if !path.is_absolute() {
                        maillog::fatal("-c requires absolute pathname");
                    }
                    options.directory = Some(path);
                }
                Opt::With(letter, value) => match Action::of_letter(letter) {
                    Some(action) => options.actions.push((action, Target::parse(value.to_owned()))),
                    None => maillog::fatal(USAGE),
                },
                Opt::Flag('p') => options.upkeep.get_or_insert_default().purge = true,
                Opt::Flag('s') => options.upkeep.get_or_insert_default().structure = true,
                Opt::Flag('S') => {
                    let upkeep = options.upkeep.get_or_insert_default();
                    upkeep.structure = true;
                    upkeep.long_names = true;
                }
                Opt::Flag('v') => command.raise_verbosity(),
                _ => maillog::fatal(USAGE),
            }
        }
        options.operands = getopt.operands().to_vec();
        if options.upkeep.is_none() && options.actions.is_empty() {
            options.upkeep = Some(Upkeep { structure: true, purge: true, long_names: false });
        }
        options
    }

    /// The queues named on the command line, or these. A name is looked at when its queue's turn comes, as in Postfix: one
    /// that is none ends the command then, and what was asked has been done to the queues before it.
    pub(crate) fn queues_or(&self, default: &'static [QueueName]) -> impl Iterator<Item = QueueName> + Clone {
        let named = self.operands.iter().map(queue_of);
        let default = if self.operands.is_empty() { default } else { &[] };
        named.chain(default.iter().copied())
    }

    /// The queues in which a message is looked for: a release needs only to know which of the names is `hold`.
    pub(crate) fn queues_for(&self, action: Action) -> impl Iterator<Item = QueueName> + Clone {
        let is_release = matches!(action, Action::Release);
        let named =
            self.operands.iter().filter(move |operand| !is_release || *operand == "hold").map(queue_of);
        let default = if self.operands.is_empty() { action.queues() } else { &[] };
        named.chain(default.iter().copied())
    }

    /// Whether something is to be done to a message by its ID.
    pub(crate) fn names_messages(&self) -> bool {
        self.actions.iter().any(|(_, target)| !matches!(target, Target::All))
    }
}

/// Ends the command when the name is none.
fn queue_of(operand: &OsString) -> QueueName {
    let queue = operand.to_str().and_then(|name| name.parse().ok());
    let queue = queue.filter(|queue| *queue == QueueName::Trace || ALL_QUEUES.contains(queue));
    queue.unwrap_or_else(|| {
        let name = maillog::shown(operand.as_encoded_bytes());
        maillog::fatal(format_args!("invalid directory name: {name}"))
    })
}

impl Target {
    fn parse(value: OsString) -> Self {
        match value.as_encoded_bytes() {
            b"ALL" => Self::All,
            b"-" => Self::Stdin,
            _ => Self::Message(value),
        }
    }
}
