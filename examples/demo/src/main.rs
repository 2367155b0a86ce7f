//! `make run`: a whole Postern in a folder, real mail through it, and what became of it.
//!
//! Makes an instance below `--home` (configuration, queue, log), starts the example filter and the mail system,
//! sends four messages to the before-filter server and hands in two by sendmail, prints each step of the dialogues, the
//! mailboxes, the queue listing, the logs and what became of each message, and stops everything; on a terminal it waits
//! for Ctrl-C first. Works as root and as any user.

#![forbid(unsafe_code)]

mod deliveries;
mod instance;
mod scenario;
mod show;

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Arg, Command, value_parser};
use sys::signal::{self, Interrupts, Signal};

use crate::instance::Instance;
use crate::show::Show;

const STOP: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

fn main() -> ExitCode {
    match demonstrate() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("make run: not every message was treated as it should be");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("make run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all messages were treated as expected.
fn demonstrate() -> Result<bool, String> {
    let (stage, home) = arguments();
    // Ctrl-C must end what this program started, so it ends this program in order.
    for signal in STOP {
        signal::catch(signal, Interrupts::Yes).map_err(|error| format!("catch {signal}: {error}"))?;
    }
    let instance = Instance::start(&stage, &home)?;
    let as_expected = scenario::play(&instance, Show::new())?;
    if stdout().is_terminal() {
        println!("\nPostern is running: send mail to 127.0.0.1 port {}.", instance::SMTP_PORT);
        println!(
            "Its log is {}; its commands take MAIL_CONFIG={}.",
            instance.log_path(),
            instance.configuration()
        );
        println!("Ctrl-C stops it.");
        while !STOP.into_iter().any(signal::taken) {
            thread::sleep(Duration::from_millis(200));
        }
    }
    println!("\nstopping");
    Ok(as_expected)
}

fn arguments() -> (PathBuf, PathBuf) {
    let folder = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FOLDER")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    let mut matches = Command::new("example-demo")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs a whole Postern in a folder, sends mail through the example filter, and shows what became of it.")
        .arg(folder("stage", "Where the programs are, in libexec, bin and examples"))
        .arg(folder("home", "Where configuration, queue and log of the instance go; made anew each time"))
        .get_matches();
    let mut take = |name: &str| matches.remove_one(name).expect("clap insists on it");
    (take("stage"), take("home"))
}
