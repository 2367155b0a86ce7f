//! The agent of local mail, asked as a queue manager asks it: aliases, `.forward`, commands, files, mailboxes, and what is
//! passed on. Beside what `suite/agents` shows of a case, each shows the files that it made or changed below `mail/`, and the
//! messages that it handed to cleanup.
//!
//! Before the first case stand the lines that set a stage up: `alias NAME: RESULT`, `set NAME=VALUE`, and
//! `file PATH MODE OWNER TEXT`, `dir PATH MODE OWNER`, with paths below the instance's folder. In a case, `@ PATH MODE OWNER TEXT`
//! is a file for that case. `HOME` is the instance's folder; `\n` is a line end.

mod chain;
mod races;
mod random;
mod random_cases;
mod stage;

use conformance::{Suite, require};
use nix::unistd::Uid;

use crate::case_file::{Case, Marks, play_cases};
use stage::Stage;

const MARKS: Marks = Marks { script: &['>', '+', '@'], results: None };

/// With Postfix such mail is gone, without a line (docs/differences.md).
#[test]
fn a_relay_without_recipients_takes_nothing() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let stage = Stage::new(&[]);
    for relay in [";", "a;b", "$shell:$home", "games:;"] {
        let script = ["> local 3 example.com", "+ nosuch@example.com"].map(str::to_owned).to_vec();
        let mut case = Case::default();
        (case.options, case.script) = (vec![format!("luser_relay={relay}")], script);
        let lines = stage.play(&case);
        let is_told = lines.iter().any(|line| line.contains("dsn=5.1.1, status=bounced (unknown user: "));
        assert_eq!(is_told, Suite::under_test().is_ours("local"), "{relay}: {lines:#?}");
    }
}

fn play(file: &str) {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let path = format!("local_agent/{file}");
    let stage = Stage::new(&stage::head(&path));
    stage.expect_commands_that_cannot_be_run();
    play_cases(&path, &MARKS, |case| stage.play(case));
}

#[test]
fn aliases() {
    play("aliases.txt");
}

#[test]
fn forward_files() {
    play("forward.txt");
}

#[test]
fn mailboxes() {
    play("mailboxes.txt");
}

#[test]
fn commands() {
    play("commands.txt");
}

#[test]
fn forwarding() {
    play("forwarding.txt");
}
