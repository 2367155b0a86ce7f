//! Index files as the engines' own tools see them: what `postmap` writes and changes in place is whole to `db_verify`
//! and `mdb_stat`, and `db_dump`, `mdb_dump` and `cdb` find in it exactly what was put in.
//!
//! The operations are drawn at random from a seed that a failure prints. `POSTERN_INDEX_FILES=SEEDS` draws more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use conformance::{Dice, Instance, Plan, Suite, peer_program, peers_root, run};

/// What a table is to hold: keys and values as the source has them.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A file that is being changed, and what should stand in it.
struct Table {
    kind: &'static str,
    path: PathBuf,
    model: Model,
}

impl Table {
    fn name(&self) -> String {
        format!("{}:{}", self.kind, self.path.display())
    }

    fn file(&self) -> String {
        let suffix = if matches!(self.kind, "hash" | "btree") { "db" } else { self.kind };
        format!("{}.{suffix}", self.path.display())
    }

    /// Compares the file with the model, by the tools of its engine.
    fn check(&self, when: &str) {
        let file = self.file();
        match self.kind {
            "hash" | "btree" => drop(tool("db5.3_verify", &[&file], when)),
            "lmdb" => {
                let statistics = tool("mdb_stat", &["-n", "-e", "-f", &file], when);
                let entries = format!("Entries: {}\n", self.model.len());
                assert!(statistics.contains(&entries), "{when}: {file}: {statistics}");
            }
            _ => {}
        }
        let found = match self.kind {
            "lmdb" => dumped(&tool("mdb_dump", &["-n", &file], when)),
            "cdb" => constant(&fs::read(&file).expect("postmap has written it"), when),
            _ => dumped(&tool("db5.3_dump", &[&file], when)),
        };
        // Keys and values end with a NUL or not, by type and by what made the file: either, but both alike.
        let bare =
            |(key, value): (Vec<u8>, Vec<u8>)| match (key.strip_suffix(b"\0"), value.strip_suffix(b"\0")) {
                (Some(key), Some(value)) => (key.to_vec(), value.to_vec()),
                _ => (key, value),
            };
        let entries = found.len();
        let found: Model = found.into_iter().map(bare).collect();
        assert_eq!(found.len(), entries, "{when}: {file}: a key with and without a NUL");
        let lost: Vec<_> =
            self.model.iter().filter(|entry| found.get(entry.0) != Some(entry.1)).take(3).collect();
        let strange: Vec<_> = found.keys().filter(|key| !self.model.contains_key(*key)).take(3).collect();
        assert!(lost.is_empty() && strange.is_empty(), "{when}: {file}: lost {lost:?}, strange {strange:?}");
    }
}

/// Runs a tool of the peers; what it prints.
fn tool(name: &str, arguments: &[&str], when: &str) -> String {
    let outcome = run(&peer_program(name), arguments, &[], b"");
    assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()), "{when}: {name} {arguments:?}");
    outcome.out()
}

/// The entries of a dump: lines of hexadecimal digits, key and value in turns, between a header and `DATA=END`.
fn dumped(text: &str) -> Model {
    let data = text.split_once("HEADER=END\n").expect("a dump has a header").1;
    let lines: Vec<Vec<u8>> = data.lines().filter_map(|line| line.strip_prefix(' ')).map(bytes).collect();
    assert_eq!(lines.len() % 2, 0, "keys and values come in pairs");
    lines.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).expect("two hexadecimal digits");
    (0..hexadecimal.len()).step_by(2).map(digit).collect()
}

/// The entries of a constant database, by its own tool: `+KEYLEN,VALUELEN:KEY->VALUE` a line.
fn constant(file: &[u8], when: &str) -> Model {
    let outcome = run(&peer_program("cdb"), &["-d", "-"], &[], file);
    assert_eq!(outcome.status, Some(0), "{when}: {}", outcome.err());
    let mut entries = Model::new();
    let mut rest = outcome.stdout.as_slice();
    while let Some(after) = rest.strip_prefix(b"+") {
        let colon = after.iter().position(|byte| *byte == b':').expect("lengths end with a colon");
        let lengths = String::from_utf8_lossy(&after[..colon]).into_owned();
        let (key, value) = lengths.split_once(',').expect("two lengths");
        let (key, value): (usize, usize) = (key.parse().expect("a number"), value.parse().expect("a number"));
        let body = &after[colon + 1..];
        let before = entries.insert(body[..key].to_vec(), body[key + 2..key + 2 + value].to_vec());
        assert!(before.is_none(), "{when}: a key twice");
        rest = &body[key + 2 + value + 1..];
    }
    assert_eq!(rest, b"\n", "{when}: the dump ends with an empty line");
    entries
}

/// A word of lower case and a few other bytes, that no folding changes and no source reads otherwise.
fn word(dice: &mut Dice, length: usize) -> Vec<u8> {
    const BYTES: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789@.-_+=/";

    // The first is a letter: '#' begins a comment, and white space a continuation.
    let mut word = vec![b'a' + u8::try_from(dice.below(26)).expect("small")];
    word.extend((1..length).map(|_| *dice.one_of(BYTES)));
    word
}

/// Mostly short keys; at times as long as the engine takes (LMDB: 511 bytes), so that few fit a page.
fn key(dice: &mut Dice) -> Vec<u8> {
    let length = if dice.percent(90) { 1 + dice.below(40) } else { 1 + dice.below(500) };
    word(dice, usize::try_from(length).expect("small"))
}

/// Mostly short values; at times several pages, which go to overflow pages.
fn value(dice: &mut Dice) -> Vec<u8> {
    let length = match dice.below(100) {
        0..80 => 1 + dice.below(60),
        80..97 => 1 + dice.below(3000),
        _ => 1 + dice.below(30_000),
    };
    word(dice, usize::try_from(length).expect("small"))
}

fn entries(dice: &mut Dice, limit: u64) -> Model {
    (0..dice.below(limit)).map(|_| (key(dice), value(dice))).collect()
}

fn source(entries: &Model) -> Vec<u8> {
    entries.iter().flat_map(|(key, value)| [key, &b" "[..], value, b"\n"].concat()).collect()
}

/// Some of the keys that are there.
fn some_keys(dice: &mut Dice, model: &Model) -> Vec<Vec<u8>> {
    let percent = *dice.one_of(&[1, 10, 60, 100]);
    model.keys().filter(|_| dice.percent(percent)).cloned().collect()
}

fn postmap(instance: &Instance, program: &Path, arguments: &[&str], input: &[u8], when: &str) {
    let outcome = instance.run_path(program, arguments, input);
    assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()), "{when}: {arguments:?}");
}

#[test]
fn the_tools_of_the_engines_find_what_was_written() {
    let program = Suite::under_test().command("postmap").expect("both suites have a postmap");
    let instance = Plan::new("index-files")
        .set("meta_directory", &peers_root().join("etc/postfix").to_string_lossy())
        .set("shlib_directory", &peers_root().join("usr/lib/postfix").to_string_lossy())
        .prepare();
    let seeds = env::var("POSTERN_INDEX_FILES").map_or(6, |text| text.parse().expect("a number of seeds"));
    for seed in 0..seeds {
        for kind in ["hash", "btree", "lmdb", "cdb"] {
            let mut dice = Dice::new(seed);
            let path = instance.home().join(format!("{kind}-{seed}"));
            let size = *dice.one_of(&[1, 20, 400, 3000]);
            let mut table = Table { kind, path, model: entries(&mut dice, size) };
            fs::write(&table.path, source(&table.model)).expect("a file of our own");
            let when = format!("{kind}, seed {seed}, made");
            postmap(&instance, &program, &[&table.name()], b"", &when);
            table.check(&when);
            // A constant database is made anew as a whole.
            let changes = if kind == "cdb" { 0 } else { 1 + dice.below(8) };
            for change in 0..changes {
                let when = format!("{kind}, seed {seed}, change {change}");
                let name = table.name();
                match dice.below(3) {
                    0 => {
                        let mut fresh = entries(&mut dice, size);
                        fresh.retain(|key, _| !table.model.contains_key(key));
                        postmap(&instance, &program, &["-i", &name], &source(&fresh), &when);
                        table.model.extend(fresh);
                    }
                    1 => {
                        let mut changed = entries(&mut dice, 50);
                        for key in some_keys(&mut dice, &table.model) {
                            changed.insert(key, value(&mut dice));
                        }
                        postmap(&instance, &program, &["-r", "-i", &name], &source(&changed), &when);
                        table.model.extend(changed);
                    }
                    _ => {
                        let gone = some_keys(&mut dice, &table.model);
                        if gone.is_empty() {
                            continue;
                        }
                        postmap(
                            &instance,
                            &program,
                            &["-d", "-", &name],
                            &[gone.join(&b'\n'), vec![b'\n']].concat(),
                            &when,
                        );
                        table.model.retain(|key, _| !gone.contains(key));
                    }
                }
                table.check(&when);
            }
        }
    }
}
