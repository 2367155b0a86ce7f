//! The postsuper command: maintenance of the queue, for the superuser (spec commands 8).
//!
//! | option | does | module |
//! |---|---|---|
//! | `-s`, `-S`, `-p` | structure repair, removal of old unfinished files | [`sweep`] |
//! | `-d -e -f -h -H -r` with `ALL` | the same to every file of the queues | [`sweep`] |
//! | `-d -e -f -h -H -r` with a queue ID, or `-` for IDs on stdin | one message | [`message`] |
//!
//! `-s`, `-S` and `-p` come first, whatever their place; the others in the order of the command line. The work is done
//! with the ids of `mail_owner`, so that every file made belongs to it. When `-s` renamed messages, the IDs that the
//! operator gave may mean other messages now, and the command stops before it touches one.

#![forbid(unsafe_code)]

pub mod message;
mod options;
mod progress;
mod sweep;

use std::io::{self, BufRead, Read};

use command::{Command, Environment, Log};
use config::Config;
use queue::{QueueDirectory, QueueId, QueueName};

use options::{Options, Target};
pub use progress::{Action, Progress};
use sweep::{Sweep, Work};

/// What a file name may be, as a line of input.
const LINE_LIMIT: u64 = 4096;

/// The command, from its arguments to its exit.
pub fn run() {
    let command = Command::start(Log::StderrAndLog);
    let reserved = || maillog::fatal("use of this command is reserved for the superuser");
    if !command.is_for_caller("postsuper", options::LETTERS) {
        reserved();
    }
    let mut options = Options::parse(&command);
    let is_root = sys::user::uid().is_root();
    let config = command.configure("postsuper", options.directory.take(), Environment::Add);
    if !is_root && !config.globals().accounts.rootless {
        reserved();
    }
    enter_queue(&config, is_root);
    let directory = QueueDirectory::configured(config.globals());
    if directory.hashing().applies_to(QueueName::Maildrop) {
        maillog::fatal("maildrop queue must not be hashed");
    }
    let progress = Progress::start();
    if let Some(upkeep) = options.upkeep {
        let queues = options.queues_or(&sweep::ALL_QUEUES);
        progress.undisturbed(|| Sweep::new(&directory, &progress).upkeep(queues, upkeep));
        if progress.renamed() > 0 && options.names_messages() {
            log::error!("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS");
            maillog::fatal("CHECK YOUR QUEUE IDS AND RE-ISSUE THE COMMAND");
        }
    }
    for (action, target) in &options.actions {
        progress.request(*action);
        match target {
            Target::All => {
                let queues = options.queues_or(&sweep::ALL_QUEUES);
                Sweep::new(&directory, &progress).walk_all(queues, Work::All(*action));
            }
            Target::Message(id) => one(&options, &directory, &progress, *action, id.as_encoded_bytes()),
            Target::Stdin => each_line(|id| one(&options, &directory, &progress, *action, id)),
        }
    }
    progress.report();
}

fn one(options: &Options, directory: &QueueDirectory, progress: &Progress, action: Action, id: &[u8]) {
    match QueueId::parse(id) {
        Ok(id) => message::apply(directory, progress, action, &id, options.queues_for(action)),
        // Once for each of the two things that `-f` does (observed, 3.7.11).
        Err(_) => (0..action.parts()).for_each(|_| {
            log::warn!("invalid mail queue id: {}", maillog::shown(id));
        }),
    }
}

/// Changes to the queue directory and to the mail owner.
fn enter_queue(config: &Config, is_root: bool) {
    let globals = config.globals();
    let queue_directory = &globals.queue_directory;
    if let Err(error) = std::env::set_current_dir(queue_directory) {
        maillog::fatal(format_args!("chdir {queue_directory}: {}", sys::error_text(&error)));
    }
    if !is_root {
        return;
    }
    let owner = &globals.accounts.mail_owner;
    let result = sys::user::set_groups(&[owner.gid])
        .and_then(|()| sys::user::set_gid(owner.gid))
        .and_then(|()| sys::user::set_uid(owner.uid));
    if let Err(error) = result {
        maillog::fatal(format_args!("change to user {}: {}", owner.name, sys::error_text(&error)));
    }
}

fn each_line(mut call: impl FnMut(&[u8])) {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => call(line.strip_suffix(b"\n").unwrap_or(&line)),
            Err(error) => maillog::fatal(format_args!("read stdin: {}", sys::error_text(&error))),
        }
    }
}
