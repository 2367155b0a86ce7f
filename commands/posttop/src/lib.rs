//! What the mail system does, as it does it: sessions, filters, the queue, rates, and one message's story.
//!
//! | room | what it knows |
//! |---|---|
//! | `screen` | the terminal: keys in, pictures out, until the end |
//! | `story` | what the log says of a message; what can be done with it |
//! | `picture` | how a state looks, in columns and rows |
//! | `pages` | the lists, their orders, and their rows |
//! | `json` | the same for programs |
//! | `snapshot` | all that is known at one moment: [`queue`], [`figures`], sessions |
//! | `text` | what strangers have written made harmless; ages, columns |
//!
//! Figures and sessions are read from the memory that the daemons count in (`metrics_enable`), which is the superuser's; the
//! queue is asked of showq. What is missing is said, and the rest is shown. With `--once`, and where standard output
//! is no terminal, all lists are printed once, without attributes.

#![forbid(unsafe_code)]

mod arguments;
mod figures;
mod json;
mod pages;
mod picture;
mod queue;
mod screen;
mod snapshot;
mod story;
mod text;

use std::io::Write;
use std::time::Duration;

use command::{Command, Environment, Log};

use crate::arguments::{Arguments, Manner};
use crate::snapshot::Sampler;

/// Between the two looks that rates are made of, when there are only two.
const MOMENT: Duration = Duration::from_secs(1);

/// The program.
pub fn main() -> ! {
    let command = Command::start(Log::Stderr);
    let mut arguments = Arguments::read();
    let config = command.configure("posttop", arguments.config.take(), Environment::Add);
    let manner = match arguments.manner {
        Manner::Screen if !sys::fd::is_terminal(0) || !sys::fd::is_terminal(1) => Manner::Once,
        manner => manner,
    };
    let mut sampler = Sampler::new(&config);
    if manner == Manner::Screen {
        let ended = screen::run(&config, sampler, arguments.interval);
        sys::process::exit_now(i32::from(ended.is_err()));
    }
    sampler.sample();
    sys::process::sleep(MOMENT);
    let snapshot = sampler.sample();
    let shown = match manner {
        Manner::Json => json::object(&snapshot),
        _ => picture::whole(&snapshot),
    };
    // Who does not read to the end has seen enough.
    let _ = std::io::stdout().write_all(shown.as_bytes());
    sys::process::exit_now(0)
}
