//! Random aliases on Postfix and on the suite under test.

use conformance::{Dice, Plan, Suite, require};
use nix::unistd::Uid;

use super::stage::Stage;
use crate::case_file::Case;

/// Pieces of right-hand sides.
pub(super) const PIECES: &[&str] = &[
    "games",
    "man",
    "proxy",
    "nosuch",
    "games+x",
    "far@remote.test",
    "\\games",
    "\"games\"",
    "\"a b\"",
    "<games>",
    "Joe <man>",
    "group: games, man;",
    "(note) games",
    "games (note)",
    ",",
    " ",
    "\\,",
    "|true",
    "\"|true x\"",
    "|\"true y\"",
    "/HOME/x",
    ":include:HOME/lists/one",
    "\":include:HOME/lists/two\"",
    ":include: HOME/lists/one",
    "a b",
    "@remote.test",
    "games@",
    "games@example.com",
    "~/x",
    "~x",
    "\"|exit 67\"",
    "|",
    "/",
    ":",
    ";",
    "\"",
    "<",
    ">",
    "(",
    ")",
    "HOME/mail/f",
    "HOME/mail/d/",
    "\"HOME/mail/a b\"",
    "%",
    "!",
    "x!games",
    "games%remote.test",
    "[",
    "]",
    "\\",
    "a1",
    "a2",
    "a3",
];

#[test]
fn right_hand_sides() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let count: usize = std::env::var("POSTERN_ALIASES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed: u64 = std::env::var("POSTERN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let mut dice = Dice::new(seed);
    let mut head: Vec<String> = (0..count)
        .map(|number| {
            let pieces: String = (0..1 + dice.below(5))
                .map(|_| {
                    let piece = *dice.one_of(PIECES);
                    let separator = *dice.one_of(&[", ", " ", "", ","]);
                    format!("{piece}{separator}")
                })
                .collect();
            let pieces = if pieces.trim().is_empty() { "games" } else { &pieces };
            format!("alias a{number}: {pieces}")
        })
        .collect();
    head.push("file lists/one 644 root games, man".to_owned());
    head.push("file lists/two 644 games proxy".to_owned());
    head.push("set allow_mail_to_commands=alias,include".to_owned());
    let stages = [Suite::Postfix, Suite::under_test()]
        .map(|suite| Stage::with(Plan::for_suite("local-random", suite), &head));
    let cases = (0..count).map(|number| {
        let recipient = format!("+ a{number}@example.com|A{number}@example.com");
        let script = vec!["> local 3 example.com".to_owned(), recipient];
        let mut case = Case::default();
        (case.name, case.script) = (head[number].clone(), script);
        case
    });
    let failures = failures(&stages, cases);
    assert!(failures.is_empty(), "{failures}");
}

/// Where the two stages differ.
pub(super) fn failures(stages: &[Stage; 2], cases: impl Iterator<Item = Case>) -> String {
    let mut failures = String::new();
    for case in cases {
        let [theirs, ours] = stages.each_ref().map(|stage| stage.play(&case));
        if theirs != ours {
            let list = |lines: &[String]| lines.join("\n  ");
            failures += &format!(
                "== {}\n{}\n{}\nPostfix\n  {}\nhere\n  {}\n",
                case.name,
                list(&case.options),
                list(&case.script),
                list(&theirs),
                list(&ours)
            );
        }
    }
    failures
}
