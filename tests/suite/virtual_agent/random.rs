//! Random messages to random mailboxes, on Postfix and on the suite under test: all that comes of them is the same.
//!
//! `POSTERN_DELIVERIES` is how many; `POSTERN_SEED`, what they begin with.

use conformance::{Dice, Suite, require};
use nix::unistd::Uid;

use super::Site;
use crate::addresses::number;
use crate::case_file::Case;

const RECIPIENTS: &[&str] = &[
    "mbox@v.test",
    "MBOX@v.test",
    "maildir@v.test",
    "MailDir@V.test",
    "deep@v.test",
    "deepdir@v.test",
    "a b@v.test",
    "Any.Body@catch.test",
    "other@v.test",
    "space@v.test",
    "nobody@v.test",
    "low@v.test",
    "user+x@v.test",
];
const SENDERS: &[&str] = &[
    "ann@example.net",
    "",
    "a b@example.net",
    "Ann",
    "x\"y@example.net",
    "\u{e9}@example.net",
    "a@b@c",
    "@x",
];
const WORDS: &[&str] = &[
    "From ",
    ">From ",
    "From",
    "from ",
    ".",
    "..",
    " ",
    "\\x09",
    "\\x00",
    "\\x0d",
    "\\xff",
    "\\xc3\\xa9",
    "Subject: x",
    "Delivered-To: mbox@v.test",
    "word",
    ":",
];

#[test]
fn as_postfix() {
    require!(Uid::effective().is_root(), "mailboxes belong to other users");
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let sites = [Site::of(Suite::Postfix, &[]), Site::of(Suite::under_test(), &[])];
    for _ in 0..number("POSTERN_DELIVERIES", 60) {
        let mut case = Case::default();
        case.script = script(&mut dice);
        let [theirs, ours] = sites.each_ref().map(|site| site.play(&case, &[]));
        let differ = theirs.iter().zip(&ours).find(|(theirs, ours)| theirs != ours);
        assert!(
            theirs == ours,
            "{differ:?}, of {} and {} lines: {:#?}",
            theirs.len(),
            ours.len(),
            case.script
        );
    }
}

fn script(dice: &mut Dice) -> Vec<String> {
    let mut lines = Vec::new();
    if dice.percent(60) {
        lines.push(format!("! umask 0; {}", places(dice)));
    }
    if dice.percent(50) {
        lines.push(format!("@ {}", dice.one_of(SENDERS)));
    }
    for _ in 0..dice.below(12) {
        let text = match dice.below(20) {
            0 => "x".repeat(usize::try_from(dice.below(9000)).expect("small")),
            1 => "From long ".repeat(usize::try_from(dice.below(900)).expect("small")),
            _ => (0..dice.below(4)).map(|_| *dice.one_of(WORDS)).collect(),
        };
        lines.push(format!("{} {text}", if dice.percent(80) { '=' } else { '~' }));
    }
    if dice.percent(3) {
        lines.push(format!("? {} x", dice.one_of(&["R", "Z", "X", "E", "w", "p"])));
    }
    lines.push(format!("> virtual {} v.test", dice.one_of(&["3", "3", "3", "515", "1027", "8195"])));
    for _ in 0..=dice.below(3) {
        let original = dice.one_of(&["", "Orig@v.test", "a b@v.test", "orig"]);
        let notify = dice.one_of(&["0", "1", "2", "4", "8", "14"]);
        lines.push(format!("+ {}|{original}||{notify}", dice.one_of(RECIPIENTS)));
    }
    lines
}

/// Files and folders of anybody, with any mode.
fn places(dice: &mut Dice) -> String {
    let mut commands = Vec::new();
    for _ in 0..=dice.below(3) {
        let place = *dice.one_of(&[
            "mbox",
            "maildir",
            "a",
            "a/b",
            "a/b/mbox",
            "a/b/dir",
            "catch",
            "quoted",
            "mbox.lock",
        ]);
        let folder =
            place.rsplit_once('/').map_or("true".to_owned(), |(folder, _)| format!("mkdir -p {folder}"));
        let make = match dice.below(12) {
            0 => format!("mkfifo {place}"),
            1 => format!("ln -s there {place}; touch there; chown 4001 there"),
            2 => format!("touch other; ln other {place}"),
            3 => format!("ln -s /dev/null {place}"),
            4 => format!("mkdir -p {place}/tmp {place}/new; chmod {} {place}/*", mode(dice)),
            5 | 6 => format!("mkdir -p {place}"),
            7 => format!("mkdir -p {place}/tmp; touch {place}/new"),
            _ => format!("printf 'old\\n' > {place}"),
        };
        let owner = format!(
            "{}:{}",
            dice.one_of(&["4001", "4001", "4001", "0", "4009"]),
            dice.one_of(&["4002", "4002", "0", "4009"])
        );
        let mode = if dice.percent(50) {
            // Not what a link leads to: that may be the machine's.
            format!("test -L {place} || chmod {} {place}", mode(dice))
        } else {
            "true".to_owned()
        };
        commands.push(format!("{{ {folder}; test -e {place} || {make}; chown -hR {owner} {place}; {mode}; }} 2>/dev/null || true"));
    }
    commands.join("; ")
}

fn mode(dice: &mut Dice) -> String {
    let digit = |dice: &mut Dice| *dice.one_of(&["7", "7", "7", "6", "5", "4", "3", "2", "1", "0"]);
    format!("{}{}{}", digit(dice), digit(dice), digit(dice))
}
