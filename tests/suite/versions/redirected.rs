//! Tables of Berkeley DB's types from 3.11 on, `debug:` tables and what is told as JSON: random configurations, tables
//! and command lines on Postfix and on Postern beside it.
//!
//! `POSTERN_TABLES=2000 POSTERN_SEED=7` are more, and other ones.

use std::fs;
use std::path::Path;
use std::thread;

use conformance::{Dice, Instance, Outcome, Plan, Suite, require, version_at_least};

use crate::addresses::number;

/// Cases at a time.
const WORKERS: u64 = 6;
const LEVELS: &[&str] =
    &["", "disable", "enable-redirect", "enable-redirect", "enable-redirect", "Enable-Redirect", "yes"];
const TYPES: &[&str] = &["", "", "", "cdb", "lmdb", "hash", "btree", "texthash", "nosuch"];
const MAPPINGS: &[&str] = &[
    "",
    "",
    "",
    "inline:{hash=lmdb}",
    "inline:{btree=cdb, hash=lmdb}",
    "inline:{{hash:HOME/t=lmdb}, btree=lmdb}",
    "inline:{hash=btree}",
    "static:cdb",
    "static:lmdb",
    "static:nosuch",
    "static:{cdb lmdb}",
    "fail:why",
    "regexp:{{/^hash:.*t$$/ lmdb}, {/./ cdb}}",
    "pipemap:{static:hash,inline:{hash=cdb}}",
];
const TABLES: &[&str] = &[
    "hash:HOME/t",
    "btree:HOME/t",
    "hash:HOME/u",
    "btree:HOME/u",
    "cdb:HOME/t",
    "lmdb:HOME/t",
    "debug:hash:HOME/t",
    "debug:cdb:HOME/t",
    "debug:texthash:HOME/t",
    "debug:inline:{a=b, {two=x y}}",
    "debug:debug:static:x",
    "debug:nosuch:x",
    "debug:",
    "debug",
    "texthash:HOME/t",
    "pipemap:{hash:HOME/t,inline:{one=1}}",
    "unionmap:{btree:HOME/t,hash:HOME/t}",
    "HOME/t",
    "HOME/missing",
    "hash:HOME/missing",
];
const KEYS: &[&str] = &["a", "two", "TWO", "joe@example.com", "nothing", "\u{e4}", "one", "Quo\"te"];
const SOURCE: &str =
    "# comment\na b\ntwo  x\n\ty\njoe@example.com\tjim\nQuo\"te back\\slash\nTwo again\n\u{e4} \u{f6}\n";

/// What is done with the tables.
fn command(dice: &mut Dice) -> Vec<String> {
    let program = *dice.one_of(&["postmap", "postmap", "postmap", "postalias", "postconf"]);
    if program == "postconf" {
        let words = *dice.one_of(&[
            "-h default_database_type default_cache_db_type",
            "-hx alias_maps alias_database",
            "-q non_bdb_migration_level",
            "-j alias_maps address_verify_map mydestination",
            "-jx mydestination myhostname",
            "-jM smtp/inet",
            "-jM",
            "-jP",
            "-jF cleanup/unix",
            "-jF",
            "-jd mydestination relay_domains",
            "-jq bogus",
            "-jh mydestination",
            "-jH mydestination",
            "-jp mydestination",
            "-jm",
            "-jl",
            "-ja",
            "-jC user",
            "-je a=b",
            "-j#",
        ]);
        return [program].into_iter().chain(words.split(' ')).map(str::to_owned).collect();
    }
    let mut words = vec![program.to_owned()];
    let table = (*dice.one_of(TABLES)).to_owned();
    // What is not there is not made to delete from it.
    let is_old = table.contains("HOME/t");
    match dice.below(11) {
        10 if table.contains("HOME/") => words.push("-i".into()),
        0 | 1 => {}
        2 => words.push("-s".into()),
        3 => words.push("-js".into()),
        4 if is_old => words.extend(["-d".into(), (*dice.one_of(KEYS)).to_owned()]),
        5 => words.extend(["-jq".into(), (*dice.one_of(KEYS)).to_owned()]),
        6 => words.extend(["-q".into(), "-".into()]),
        _ => words.extend(["-q".into(), (*dice.one_of(KEYS)).to_owned()]),
    }
    words.push(table);
    if dice.percent(20) {
        words.push((*dice.one_of(TABLES)).to_owned());
    }
    words
}

/// Fresh tables: the text, and an index of every type, each with an entry that tells which it is.
fn lay_out(instance: &Instance, template: &Path) {
    let home = instance.home();
    for entry in fs::read_dir(template).expect("made before").flatten() {
        fs::copy(entry.path(), home.join(entry.file_name())).expect("our own folder");
    }
    for name in ["u.db", "u.cdb", "u.lmdb", "missing", "missing.db", "missing.cdb", "missing.lmdb"] {
        drop(fs::remove_file(home.join(name)));
    }
    fs::write(home.join("u"), "only text\n").expect("our own folder");
}

/// What can be compared. The order of a list is each engine's own; ours tells where a setting stands, and not twice of what
/// is wrong in a text.
fn told(instance: &Instance, outcome: &Outcome, is_list: bool) -> (Option<i32>, Vec<String>, Vec<String>) {
    let home = instance.home().to_string_lossy().into_owned();
    let port = instance.smtp_port().to_string();
    let masked = |text: String| -> Vec<String> {
        text.replace(&home, "HOME").replace(&port, "PORT").lines().map(str::to_owned).collect()
    };
    let mut out = masked(outcome.out());
    if is_list {
        out.sort();
    }
    let mut said: Vec<String> = Vec::new();
    for line in masked(outcome.err()) {
        // Debian's own advice, the Berkeley DB library's words, and where the program lies.
        let of_others =
            ["hash/btree support is deprecated", "NON_BERKELEYDB_README", "BDB", "Is the postfix-"];
        let line = line.split_once(" (HOME/etc/main.cf, line ").map_or(line.as_str(), |(text, _)| text);
        let line =
            line.rsplit_once("/postconf: ").map_or(line.to_owned(), |(_, text)| format!("postconf: {text}"));
        if !of_others.iter().any(|word| line.contains(word)) && !said.contains(&line) {
            said.push(line);
        }
    }
    if is_list {
        said.sort();
    }
    (outcome.status, out, said)
}

#[test]
fn random_tables_and_commands() {
    require!(
        Suite::under_test() == Suite::Postfix && version_at_least(3, 11),
        "compares the commands of Postern with those of Postfix 3.11"
    );
    let count = number("POSTERN_TABLES", 36);
    let seed = number("POSTERN_SEED", 1);
    // A command that fails takes a second.
    let differences: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| scope.spawn(move || differences(count / WORKERS, seed * WORKERS + worker)))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker went as told")).collect()
    });
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
}

/// So many cases; those that differ.
fn differences(count: u64, seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let both = [Suite::Postfix, Suite::Postern].map(|suite| {
        let mut plan = Plan::for_suite("redirected", suite.clone());
        if suite == Suite::Postern {
            plan.set("postern_postfix_version", "3.11");
        }
        plan.prepare()
    });
    // For what is no part of the question.
    let plain = Plan::new("redirected-plain").prepare();
    let template = plain.home().join("template");
    fs::create_dir(&template).expect("a new folder");
    fs::write(template.join("t"), SOURCE).expect("a new folder");
    for kind in ["hash", "cdb", "lmdb"] {
        fs::write(template.join("t"), format!("{SOURCE}type {kind}\n")).expect("a new folder");
        let table = format!("{kind}:{}", template.join("t").display());
        let made = plain.run("postmap", &[&table]);
        assert_eq!(made.status, Some(0), "{}", made.err());
    }
    fs::write(template.join("t"), SOURCE).expect("a new folder");
    let main_cf = both
        .each_ref()
        .map(|instance| fs::read_to_string(instance.home().join("etc/main.cf")).expect("laid out"));
    let mut differences = Vec::new();
    for _ in 0..count {
        let mut settings = String::new();
        for (name, values) in [
            ("non_bdb_migration_level", LEVELS),
            ("default_database_type", TYPES),
            ("default_cache_db_type", TYPES),
            ("non_bdb_custom_mapping", MAPPINGS),
        ] {
            let value = dice.one_of(values);
            if !value.is_empty() {
                settings.push_str(&format!("{name} = {value}\n"));
            }
        }
        let words = command(&mut dice);
        let results = both.each_ref().map(|instance| {
            let home = instance.home().to_string_lossy().into_owned();
            let at = usize::from(instance.suite() == &Suite::Postern);
            instance.edit_main_cf(|_| format!("{}{}", main_cf[at], settings.replace("HOME", &home)));
            lay_out(instance, &template);
            let words: Vec<String> = words.iter().map(|word| word.replace("HOME", &home)).collect();
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            let input = if words[1] == "-i" { "a 1\nNew: 2\nbad\nnew x\n" } else { "a\ntwo\nnothing\n" };
            let outcome = instance.run_with_input(&words[0], &arguments, input.as_bytes());
            let is_list = words[1].contains('s') || words[0] == "postconf";
            let first = told(instance, &outcome, is_list);
            // What was made is read by Postfix, whoever made it.
            let read = ["hash", "cdb", "lmdb"].map(|kind| {
                let read = |name: &str| {
                    let table = format!("{kind}:{home}/{name}");
                    plain.run("postmap", &["-q", "type", &table]).out()
                };
                read("t")
            });
            let made: Vec<bool> = ["u.db", "u.cdb", "u.lmdb", "missing.cdb"]
                .map(|name| instance.home().join(name).exists())
                .into();
            (first, read, made)
        });
        if results[0] != results[1] {
            differences.push(format!("{settings}{words:?}\n  {:?}\n  {:?}", results[0], results[1]));
        }
    }
    differences
}
