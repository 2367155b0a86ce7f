//! A command given the same words on both suites, each in a folder of its own, and what is seen of it compared.

use std::fmt::Debug;
use std::path::Path;
use std::thread;

use conformance::{Dice, Instance, Outcome, Suite};

use crate::addresses::number;

/// Threads, as most lines end in an error, which takes Postfix a second.
const PLAYERS: u64 = 6;

/// Plays as many cases as the variable `POSTERN_COMMANDS` says, or `default`, on two sides, and fails when one differs.
/// What cannot be compared is nothing.
pub(super) fn compare<S, C: Debug>(
    default: u64,
    side: fn(Suite) -> S,
    case: fn(&mut Dice) -> C,
    run: fn(&S, &C) -> Option<String>,
) {
    let (count, seed) = (number("POSTERN_COMMANDS", default), number("POSTERN_SEED", 1));
    let play = |player: u64| {
        let mut dice = Dice::new(seed * PLAYERS + player);
        let [ours, theirs] = [Suite::Postern, Suite::Postfix].map(side);
        let mut different = Vec::new();
        for _ in 0..count.div_ceil(PLAYERS) {
            let case = case(&mut dice);
            if let (Some(left), Some(right)) = (run(&ours, &case), run(&theirs, &case))
                && left != right
            {
                let alone = |one: &str, other: &str| {
                    let lines = one.lines().filter(|line| !other.lines().any(|same| same == *line));
                    lines.map(|line| format!("    {line}\n")).collect::<String>()
                };
                let (ours, theirs) = (alone(&left, &right), alone(&right, &left));
                different.push(format!("{case:?}\n  Postern\n{ours}  Postfix\n{theirs}"));
            }
        }
        different
    };
    let different: Vec<String> = thread::scope(|scope| {
        let started: Vec<_> = (0..PLAYERS).map(|player| scope.spawn(move || play(player))).collect();
        started.into_iter().flat_map(|player| player.join().expect("a player does not panic")).collect()
    });
    assert!(
        different.is_empty(),
        "{} of {count} with seed {seed}:\n{}",
        different.len(),
        different.join("\n")
    );
}

/// Runs a command of the instance's suite in this folder.
pub(super) fn run_in(
    instance: &Instance,
    folder: &Path,
    name: &str,
    words: &[String],
    input: &str,
) -> Outcome {
    let program = instance.suite().command(name).expect("each suite has one");
    let mut arguments = vec!["-c", "cd \"$0\" && exec \"$@\"", text(folder), text(&program)];
    arguments.extend(words.iter().map(String::as_str));
    instance.run_path(Path::new("/bin/sh"), &arguments, input.as_bytes())
}

/// What was written, without the names of the instance's folder and of the program's.
pub(super) fn told(instance: &Instance, name: &str, bytes: &[u8]) -> String {
    let program = instance.suite().command(name).expect("each suite has one");
    let written = String::from_utf8_lossy(bytes).replace(text(instance.home()), "HOME");
    written.replace(text(&program), name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain")
}
