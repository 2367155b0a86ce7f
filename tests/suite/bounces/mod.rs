//! The services bounce, defer and trace, asked as agents and a queue manager ask them: their logs, the notices, what they
//! log, and what they mark in the queue file.
//!
//! A script line `> SERVICE COMMAND name=value ...` is a request; values have `_` for blanks and `\xNN` for bytes. Before them
//! may stand `+ message name=value ...`, which replaces the message's file. Then follow the answer (`<`), the log (`|`), the
//! files of the services (`bounce:` ...), the notices line by line (`S:` sender, `R:` recipient, `:` content), and the types of
//! the recipient records (`marks:`).

mod random;
mod stage;

use conformance::require;
use nix::unistd::Uid;

use crate::case_file::{Marks, play_on_stages};
use stage::Stage;

const MARKS: Marks = Marks { script: &['>', '+'], results: None };

#[test]
fn requests() {
    play("requests.txt");
}

#[test]
fn templates() {
    play("templates.txt");
}

fn play(file: &str) {
    require!(Uid::effective().is_root(), "queue files belong to the mail owner");
    play_on_stages(&format!("bounces/{file}"), &MARKS, Stage::new, |stage, case| stage.play(&case.script));
}
