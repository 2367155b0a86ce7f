//! The rooms of smtpd and of the restrictions, as `docs/architecture.md` lists them: each uses only those below it, and
//! inside of a room of the restrictions no circle of imports binds many files. In a program there is none at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// Files that may be bound together.
const CIRCLE_LIMIT: usize = 3;

/// Files that belong to no room: they list the rooms, or are three lines long.
const NO_ROOM: [&str; 2] = ["lib", "main"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// In the document: all modules that no other line names.
const THE_REST: &str = "*";

/// The rooms in the order of the table below these words in the document, from the top down.
fn documented(heading: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join("docs/architecture.md")).expect("the document is there");
    let (_, table) = text.split_once(heading).expect("the table has its heading");
    let row = Regex::new(r"^\| `([a-z_]+|\*)/?` \|").expect("a literal");
    let lines =
        table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    lines.filter_map(|line| row.captures(line).map(|found| found[1].to_owned())).collect()
}

/// The modules of a crate, by their path (`access::dnsbl::list`; that of `mod.rs` is its folder's), and their text.
fn modules(folder: &Path, path: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder of the crate").flatten() {
        let file = entry.path();
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let inner = if path.is_empty() { name.clone() } else { format!("{path}::{name}") };
        if file.is_dir() {
            modules(&file, &inner, found);
        } else if file.extension().is_some_and(|extension| extension == "rs") {
            let module = if name == "mod" { path.to_owned() } else { inner };
            found.insert(module, fs::read_to_string(&file).expect("Rust is text"));
        }
    }
}

/// The text without comments and without the tests at its foot.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a `use`, its braces taken apart.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree);
        return vec![name.chars().filter(|c| !c.is_whitespace()).collect()];
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(paths).map(|path| format!("{}{path}", prefix.trim())).collect()
}

/// What each module uses of its crate.
fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let import = Regex::new(r"\buse\s+([^;]+);").expect("a literal");
    let path = Regex::new(r"\b(?:crate|super)(?:::\w+)+").expect("a literal");
    let mut all = BTreeMap::new();
    for (module, text) in modules {
        let code = code(text);
        let mut used: Vec<String> = import.captures_iter(&code).flat_map(|found| paths(&found[1])).collect();
        let rest = import.replace_all(&code, "");
        used.extend(path.find_iter(&rest).map(|found| found.as_str().to_owned()));
        let targets = used.iter().filter_map(|used| {
            let mut base: Vec<&str> = module.split("::").collect();
            let mut parts = used.split("::").peekable();
            if parts.next_if_eq(&"crate").is_some() {
                base.clear();
            } else if parts.peek() == Some(&"super") {
                while parts.next_if_eq(&"super").is_some() {
                    base.pop();
                }
            } else {
                return None;
            }
            base.extend(parts);
            (1..=base.len()).rev().find_map(|length| modules.get_key_value(&base[..length].join("::")))
        });
        let targets = targets.map(|(target, _)| target.as_str()).filter(|target| target != module);
        all.insert(module.as_str(), targets.collect());
    }
    all
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// Every module that can be reached from this one.
fn reached<'m>(from: &'m str, imports: &BTreeMap<&'m str, BTreeSet<&'m str>>) -> BTreeSet<&'m str> {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(module) = left.pop() {
        for &next in imports.get(module).into_iter().flatten() {
            if seen.insert(next) {
                left.push(next);
            }
        }
    }
    seen
}

/// What is used of rooms that do not lie below, and rooms that the document does not have.
fn wrong_ways(rooms: &[String], imports: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let place = |wanted: &str| rooms.iter().position(|name| name == wanted);
    let height = |module: &str| place(room(module)).or_else(|| place(THE_REST));
    let mut problems = Vec::new();
    for (module, used) in imports.iter().filter(|(module, _)| !NO_ROOM.contains(module)) {
        let Some(own) = height(module) else {
            problems.push(format!("{module} is in no room of docs/architecture.md"));
            continue;
        };
        for target in used.iter().filter(|target| height(target).is_none_or(|other| other < own)) {
            problems.push(format!("{module} uses {target}, which is above it"));
        }
    }
    problems
}

/// The largest set of modules of which each reaches each other.
fn largest_circle<'m>(imports: &BTreeMap<&'m str, BTreeSet<&'m str>>) -> BTreeSet<&'m str> {
    let reached: BTreeMap<_, _> = imports.keys().map(|module| (*module, reached(module, imports))).collect();
    let circle = |module: &'m str| -> BTreeSet<&'m str> {
        reached[module].iter().copied().filter(|other| reached[other].contains(module)).collect()
    };
    imports.keys().map(|module| circle(module)).max_by_key(BTreeSet::len).unwrap_or_default()
}

/// Looks at the crate in this folder, whose rooms stand below the heading, and which has more than so many imports.
fn imports_run_one_way(folder: &str, heading: &str, least: usize) {
    let (rooms, mut files) = (documented(heading), BTreeMap::new());
    modules(&repository().join(folder), "", &mut files);
    let imports = imports(&files);
    let problems = wrong_ways(&rooms, &imports);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let used: usize = imports.values().map(BTreeSet::len).sum();
    assert!(used > least, "only {used} imports were seen");
    let circle = largest_circle(&imports);
    assert!(circle.len() <= CIRCLE_LIMIT, "a circle binds {} files: {circle:?}", circle.len());
    let is_empty = |name: &&String| *name != THE_REST && !imports.keys().any(|module| room(module) == *name);
    let empty: Vec<_> = rooms.iter().filter(is_empty).collect();
    assert!(empty.is_empty(), "rooms without a file: {empty:?}");
}

#[test]
fn imports_of_smtpd_run_one_way() {
    imports_run_one_way("smtpd/src", "`smtpd`'s own rooms", 250);
}

#[test]
fn imports_of_restrictions_run_one_way() {
    imports_run_one_way("crates/access/src", "The rooms of `access`", 150);
}

/// The folders of daemons and commands, by the list of programs. `qmgr` has a circle of two files.
fn programs() -> Vec<String> {
    let list = fs::read_to_string(repository().join("programs")).expect("the list is there");
    let folders = list.lines().filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "daemon" | "command", folder, ..] if folder != "qmgr" => Some(folder.to_owned()),
        _ => None,
    });
    folders.collect()
}

#[test]
fn no_circle_in_programs() {
    let mut seen = 0;
    for folder in programs() {
        let mut files = BTreeMap::new();
        modules(&repository().join(&folder).join("src"), "", &mut files);
        let imports = imports(&files);
        seen += imports.values().map(BTreeSet::len).sum::<usize>();
        let circle = largest_circle(&imports);
        assert!(circle.is_empty(), "a circle in {folder}: {circle:?}");
    }
    assert!(seen > 500, "only {seen} imports were seen");
}

#[test]
fn what_runs_the_other_way_is_seen() {
    let file = |module: &str, text: &str| (module.to_owned(), text.to_owned());
    let files = BTreeMap::from([
        file("top", "use crate::ground::{Soil, deep::{self, Root}};\n"),
        file("ground", "//! use crate::top::Roof;\npub mod deep;\n"),
        file(
            "ground::deep",
            "use super::Soil;\nfn f() { crate::top::g() }\n#[cfg(test)]\nmod tests { use crate::other; }\n",
        ),
        file("other", ""),
    ]);
    let imports = imports(&files);
    assert_eq!(imports["top"], BTreeSet::from(["ground", "ground::deep"]));
    let rooms = ["top".to_owned(), "ground".to_owned()];
    assert_eq!(
        wrong_ways(&rooms, &imports),
        ["ground::deep uses top, which is above it", "other is in no room of docs/architecture.md"]
    );
    assert_eq!(largest_circle(&imports), BTreeSet::from(["ground::deep", "top"]));
}
