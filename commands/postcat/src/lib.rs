//! The postcat command: shows queue files for a person to read (spec commands 6, queue-file 20).
//!
//! `run` takes the options apart and opens the files; [`Printer`] prints one of them. Refused: what is no option, an
//! offset that is no number, a queue ID that is none or has no file, a file that cannot be opened; a file that is no
//! queue file only gives a warning.

#![forbid(unsafe_code)]

mod content;
mod printer;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use command::{Command, Environment, Opt};
use config::Config;
use queue::{QueueDirectory, QueueId, QueueName};

pub use printer::{Broken, Parts, Printer, Show};

const USAGE: &str = "[-b (body text)] [-c config_dir] [-d (decimal record type)] \
    [-e (envelope records)] [-h (header text)] [-q (access queue)] [-v] [file(s)...]";

/// Where `-q` looks, in this order.
const SEARCHED: [QueueName; 6] = [
    QueueName::Maildrop,
    QueueName::Incoming,
    QueueName::Active,
    QueueName::Deferred,
    QueueName::Hold,
    QueueName::Saved,
];
/// A message can move from a queue not yet searched to one already searched.
const ROUNDS: u32 = 2;

#[derive(Debug, Default)]
struct Options {
    directory: Option<PathBuf>,
    show: Show,
    by_id: bool,
    start: u64,
}

/// The command, from its arguments to its exit.
pub fn run() {
    let command = Command::start_as_called();
    let mut getopt = command.options("bc:defhoqrs:v");
    let mut options = Options::default();
    for option in getopt.by_ref() {
        match option {
            Opt::Flag('b') => options.show.parts.body = true,
            Opt::With('c', value) => options.directory = Some(value.into()),
            Opt::Flag('d') => options.show.types = true,
            Opt::Flag('e') => options.show.parts.envelope = true,
            Opt::Flag('f') => options.show.file_name = true,
            Opt::Flag('h') => options.show.parts.header = true,
            Opt::Flag('o') => options.show.offsets = true,
            Opt::Flag('q') => options.by_id = true,
            Opt::Flag('r') => options.show.file_order = true,
            Opt::With('s', value) => match value.to_str().and_then(|text| text.parse().ok()) {
                Some(offset) => options.start = offset,
                None => maillog::fatal(format_args!("bad offset: {}", maillog::shown(value.as_bytes()))),
            },
            Opt::Flag('v') => command.raise_verbosity(),
            _ => maillog::fatal(format_args!("usage: {} {USAGE}", command.name())),
        }
    }
    let files = getopt.operands();
    let config = command.configure("postcat", options.directory.take(), Environment::Add);
    options.show.parts = options.show.parts.or_all();
    options.show.verbose = maillog::verbose() > 0;
    let mut output = BufWriter::new(io::stdout().lock());
    if files.is_empty() {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        match stdin {
            Ok(fd) => print(&options, File::from(fd), "stdin", &mut output),
            Err(error) => maillog::fatal(format_args!("stdin: {}", sys::error_text(&error))),
        }
    } else if options.by_id {
        let directory = queue_directory(&config);
        for name in files {
            let (file, path) = find(&directory, name.as_bytes());
            print(&options, file, &path, &mut output);
        }
    } else {
        for name in files {
            let shown = maillog::shown(name.as_bytes()).to_string();
            match File::open(name) {
                Ok(file) => print(&options, file, &shown, &mut output),
                Err(error) => maillog::fatal(format_args!("open {shown}: {}", sys::error_text(&error))),
            }
        }
    }
    finish(output.flush());
}

fn print(options: &Options, file: File, name: &str, output: &mut impl Write) {
    let mut printer = Printer::new(BufReader::new(file), name, options.show, output);
    let result = printer.print(options.start);
    // What was shown so far is seen before the complaint.
    finish(output.flush());
    match result {
        Ok(()) => {}
        Err(Broken::Output(error)) => finish(Err(error)),
        Err(error) => maillog::fatal(error),
    }
}

fn finish(result: io::Result<()>) {
    if let Err(error) = result {
        maillog::fatal(format_args!("write error: {}", sys::error_text(&error)));
    }
}

fn queue_directory(config: &Config) -> QueueDirectory {
    let globals = config.globals();
    if let Err(error) = std::env::set_current_dir(&globals.queue_directory) {
        maillog::fatal(format_args!("chdir {}: {}", globals.queue_directory, sys::error_text(&error)));
    }
    QueueDirectory::configured(globals)
}

fn find(directory: &QueueDirectory, name: &[u8]) -> (File, String) {
    let shown = maillog::shown(name);
    let Ok(id) = QueueId::parse(name) else {
        maillog::fatal(format_args!("bad mail queue ID: {shown}"));
    };
    // A queue that the caller may not look into keeps nobody from the next; the last one's reason is told.
    let mut reason = String::new();
    for queue in SEARCHED.into_iter().cycle().take(SEARCHED.len() * ROUNDS as usize) {
        let path = directory.path(queue, &id);
        match File::open(&path) {
            Ok(file) => return (file, display(&path)),
            Err(error) => reason = sys::error_text(&error),
        }
    }
    maillog::fatal(format_args!("open queue file {shown}: {reason}"));
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
