//! The resident process: reads master.cf, owns the sockets, makes the processes (spec master 1 and 2).
//!
//! What decides is apart from what acts: [`pool`] says when a service needs another process, [`command_line`] what
//! it is started with, [`definition`] what master.cf means; [`master::Master`] owns descriptors, processes and
//! timers and carries the decisions out. One thread, one event loop, no call that waits for a child.

#![forbid(unsafe_code)]

pub mod children;
pub mod command_line;
pub mod definition;
mod drain;
mod fatal;
mod figures;
pub mod listen;
pub mod lock;
pub mod master;
mod monitor;
mod needs;
pub mod network;
mod notify;
pub mod options;
pub mod owner;
pub mod pool;
pub mod preflight;
mod reload;
pub mod service;
pub mod settings;
pub mod signals;
pub mod startup;
pub mod status;
pub mod timers;
pub mod wakeup;

pub use fatal::Fatal;

/// The program.
pub fn main() -> ! {
    let words: Vec<_> = std::env::args_os().collect();
    if config::version::told("master", words.get(1..).unwrap_or_default()) {
        sys::process::exit_now(0);
    }
    let program = words.first().map_or_else(|| "master".into(), |word| word.to_string_lossy().into_owned());
    maillog::early(program.rsplit('/').next().unwrap_or("master"));
    maillog::catch_panics();
    match startup::run(&program) {
        Ok(never) => match never {},
        Err(Fatal(text)) => maillog::fatal(text),
    }
}
