//! Index files that both suites' `postmap` and `postalias` write and read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use conformance::{Instance, Plan, Suite, peer_program, peers_root, require};

const TYPES: &[&str] = &["hash", "btree", "lmdb", "cdb"];
/// Enough for several pages, and for more than one bucket of each bucket.
const ENTRIES: usize = 3000;

fn source() -> String {
    let long = "v".repeat(9000);
    let mut text = format!("long {long}\nempty@\nöl@example.com Öl\n.example.com parent domain\n");
    for number in 0..ENTRIES {
        let padding = "x".repeat(number % 60);
        text.push_str(&format!("User{number}{padding}@example.com value {number}\n"));
    }
    text
}

/// What stands in a table, in an order of its own; of a cdb, which cannot be listed, what is asked for.
fn content(instance: &Instance, reader: &Path, table: &str) -> BTreeSet<String> {
    if table.starts_with("cdb:") {
        return answers(instance, reader, table).lines().map(str::to_owned).collect();
    }
    let outcome = instance.run_path(reader, &["-s", table], b"");
    assert_eq!(outcome.status, Some(0), "{table}: {}", outcome.err());
    outcome.out().lines().map(str::to_owned).collect()
}

/// What a query of many keys answers.
fn answers(instance: &Instance, reader: &Path, table: &str) -> String {
    let mut keys = String::from("long\nÖL@example.com\nnobody@example.com\n.EXAMPLE.com\n");
    for number in (0..ENTRIES + 50).step_by(7) {
        keys.push_str(&format!("user{number}{}@example.com\n", "x".repeat(number % 60)));
    }
    let outcome = instance.run_path(reader, &["-q", "-", table], keys.as_bytes());
    assert_eq!(outcome.err(), "", "{table}");
    outcome.out()
}

/// An instance that Debian's commands find their table types in.
fn instance(name: &str) -> Instance {
    Plan::new(name)
        .set("meta_directory", &peers_root().join("etc/postfix").to_string_lossy())
        .set("shlib_directory", &peers_root().join("usr/lib/postfix").to_string_lossy())
        .prepare()
}

#[test]
fn what_one_suite_writes_the_other_reads_and_changes() {
    let suite = Suite::under_test();
    let ours = suite.command("postmap").filter(|_| suite.is_ours("postmap"));
    require!(ours.is_some(), "needs Postern's postmap");
    let writers = [ours.expect("just seen"), peer_program("postmap")];
    let instance = instance("shared-tables");
    for kind in TYPES {
        let mut contents = Vec::new();
        for (at, writer) in writers.iter().enumerate() {
            let reader = &writers[1 - at];
            let path = instance.home().join(format!("{kind}-{at}"));
            fs::write(&path, source()).expect("a file of our own");
            let table = format!("{kind}:{}", path.display());
            let run = |program: &Path, arguments: &[&str], input: &[u8]| {
                let outcome = instance.run_path(program, arguments, input);
                assert_eq!(
                    (outcome.status, outcome.err()),
                    (Some(0), String::new()),
                    "{kind}: {arguments:?}"
                );
            };
            let made = instance.run_path(writer, &[&table], b"");
            assert_eq!(made.status, Some(0), "{table}: {}", made.err());
            assert_eq!(content(&instance, reader, &table), content(&instance, writer, &table), "{table}");
            let found = answers(&instance, reader, &table);
            assert_eq!(found, answers(&instance, writer, &table), "{table}");
            assert_eq!(found.lines().count(), 3 + ENTRIES.div_ceil(7), "{table}");
            if *kind != "cdb" {
                // Each in turn changes what the other has written.
                run(reader, &["-i", &table], b"late@example.com theirs\nfew fresh\n");
                run(writer, &["-r", "-i", &table], b"late@example.com ours\n");
                run(reader, &["-d", "long", &table], b"");
                run(writer, &["-d", "user14xxxxxxxxxxxxxx@example.com", &table], b"");
                assert_eq!(content(&instance, reader, &table), content(&instance, writer, &table), "{table}");
                let late = instance.run_path(reader, &["-q", "late@example.com", &table], b"");
                assert_eq!(late.out(), "ours\n", "{table}");
                let gone = instance.run_path(writer, &["-q", "long", &table], b"");
                assert_eq!(gone.status, Some(1), "{table}: {}", gone.out());
            }
            contents.push(content(&instance, reader, &table));
        }
        assert_eq!(contents[0], contents[1], "{kind}");
    }
}

#[test]
fn aliases_that_one_suite_makes_the_other_reads() {
    let suite = Suite::under_test();
    let ours = suite.command("postalias").filter(|_| suite.is_ours("postalias"));
    require!(ours.is_some(), "needs Postern's postalias");
    let writers = [ours.expect("just seen"), peer_program("postalias")];
    let instance = instance("shared-aliases");
    for kind in TYPES {
        for (at, writer) in writers.iter().enumerate() {
            let path = instance.home().join(format!("aliases-{kind}-{at}"));
            fs::write(&path, "Root: admin,\n  \"|/bin/x y\"\nlist: :include:/etc/list\n").expect("our file");
            let table = format!("{kind}:{}", path.display());
            let made = instance.run_path(writer, &[&table], b"");
            assert_eq!((made.status, made.err()), (Some(0), String::new()), "{table}");
            let found =
                instance.run_path(&writers[1 - at], &["-q", "-", &table], b"ROOT\nlist\nYP_LAST_MODIFIED\n");
            let expected = instance.run_path(writer, &["-q", "-", &table], b"ROOT\nlist\nYP_LAST_MODIFIED\n");
            assert_eq!((found.out(), found.err()), (expected.out(), expected.err()), "{table}");
            assert!(found.out().contains("list:\t:include:/etc/list\n"), "{table}: {}", found.out());
        }
    }
}
