//! The services bounce, defer and trace, asked as agents and a queue manager ask them: their logs, the notices, what they
//! log, and what they mark in the queue file.
//!
//! A script line `> SERVICE COMMAND name=value ...` is a request; values have `_` for blanks and `\xNN` for bytes. Before them
//! may stand `+ message name=value ...`, which replaces the message's file. Then follow the answer (`<`), the log (`|`), the
//! files of the services (`bounce:` ...), the notices line by line (`S:` sender, `R:` recipient, `:` content), and the types of
//! the recipient records (`marks:`).

mod random;
mod stage;

use std::path::{Path, PathBuf};
use std::{fs, str};

use conformance::{Suite, require};
use nix::unistd::Uid;

use crate::case_file::{CaseFile, Marks};
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
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/bounces").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut cases = CaseFile::parse(&text, &MARKS);
    let record = std::env::var_os("POSTERN_RECORD").is_some() && Suite::under_test() == Suite::Postfix;
    let mut stages: Vec<(Vec<String>, Stage)> = Vec::new();
    let mut failures = String::new();
    for case in &mut cases.cases {
        if !stages.iter().any(|(options, _)| *options == case.options) {
            stages.push((case.options.clone(), Stage::new(&case.options)));
        }
        let (_, stage) = stages.iter().find(|(options, _)| *options == case.options).expect("just made");
        let lines = stage.play(&case.script);
        if record {
            case.results = lines;
        } else if case.results != lines {
            let list = |lines: &[String]| lines.join("\n  ");
            failures +=
                &format!("== {}\nexpected\n  {}\nseen\n  {}\n", case.name, list(&case.results), list(&lines));
        }
    }
    if record {
        return fs::write(&path, cases.text()).expect("our own file");
    }
    assert!(failures.is_empty(), "{file}: cases that went otherwise:\n{failures}");
}
