//! Comments cite the account of what Postfix does, `docs/behaviour`: `spec`, a chapter, and the numbers of sections or
//! of a trap. Each citation has to find what it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// The numbers of a chapter's sections, and of the items of its list of traps.
#[derive(Default)]
struct Chapter {
    sections: BTreeSet<String>,
    traps: BTreeSet<String>,
}

impl Chapter {
    fn read(text: &str) -> Chapter {
        let heading = Regex::new(r"^#+ (\d[\d.]*?)\.? (.*)$").expect("a literal");
        let item = Regex::new(r"^(\d+)\. ").expect("a literal");
        let (mut chapter, mut in_traps, mut in_example) = (Chapter::default(), false, false);
        for line in text.lines() {
            in_example ^= line.starts_with("```");
            if in_example {
                continue;
            }
            if let Some(found) = heading.captures(line) {
                chapter.sections.insert(found[1].to_owned());
                in_traps = &found[2] == "Traps";
            } else if let Some(found) = item.captures(line).filter(|_| in_traps) {
                chapter.traps.insert(found[1].to_owned());
            }
        }
        chapter
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn chapters() -> BTreeMap<String, Chapter> {
    let folder = repository().join("docs/behaviour");
    let files = fs::read_dir(folder).expect("the account is there").flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            (name, Chapter::read(&fs::read_to_string(&path).expect("text")))
        })
        .collect()
}

/// The Rust files of the repository; not what cargo made.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The comments of a file, each run of comment lines as one line.
fn comments(text: &str) -> Vec<String> {
    let mut comments = vec![String::new()];
    for line in text.lines() {
        let line = line.trim_start();
        match line.strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!'])) {
            Some(comment) => {
                let last = comments.last_mut().expect("there is always one");
                last.push(' ');
                last.push_str(comment.trim());
            }
            None => comments.push(String::new()),
        }
    }
    comments
}

/// What a file cites that is not there, and how many citations it has.
fn check(text: &str, chapters: &BTreeMap<String, Chapter>) -> (Vec<String>, usize) {
    let number = r"\d+(?:\.\d+)*";
    // `spec access 1.3, 1.4 and 4, ipc 10`: a chapter, what it is cited for, and perhaps further chapters.
    let place = format!(r"(?:traps? )?{number}(?:(?:-|, | to | and ){number})*");
    let citation =
        Regex::new(&format!(r"\bspec ([a-z][a-z-]*)( {place})?((?:(?:, | and )[a-z-]+ {place})*)"))
            .expect("valid");
    let further = Regex::new(&format!(r"([a-z-]+) ({place})")).expect("valid");
    let number = Regex::new(number).expect("valid");
    let (mut missing, mut count) = (Vec::new(), 0);
    let mut cited = |chapter: &str, place: &str| {
        count += 1;
        let Some(known) = chapters.get(chapter) else {
            missing.push(format!("chapter {chapter}"));
            return;
        };
        let known = if place.contains("trap") { &known.traps } else { &known.sections };
        for number in number.find_iter(place).filter(|number| !known.contains(number.as_str())) {
            missing.push(format!(
                "{chapter} {}{}",
                if place.contains("trap") { "trap " } else { "" },
                number.as_str()
            ));
        }
    };
    for comment in comments(text) {
        for found in citation.captures_iter(&comment) {
            cited(&found[1], found.get(2).map_or("", |place| place.as_str()));
            for more in further.captures_iter(&found[3]) {
                // Behind a chapter may come other words: `spec master 3.2, step 14`.
                if chapters.contains_key(&more[1]) {
                    cited(&more[1], &more[2]);
                }
            }
        }
    }
    (missing, count)
}

#[test]
fn every_citation_finds_its_section() {
    let chapters = chapters();
    let mut files = Vec::new();
    sources(&repository(), &mut files);
    let (mut all, mut problems) = (0, Vec::new());
    for file in files.iter().filter(|file| !file.ends_with("tests/src/citations.rs")) {
        let (missing, count) = check(&fs::read_to_string(file).expect("Rust is text"), &chapters);
        all += count;
        problems.extend(missing.into_iter().map(|problem| format!("{}: no {problem}", file.display())));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(all > 200, "only {all} citations were seen");
}

#[test]
fn a_citation_of_what_is_not_there_is_seen() {
    let chapters = chapters();
    for (comment, expected) in [
        ("// (spec access 1.3, 1.4 and 4)", vec![]),
        ("//! of the\n//! table. Source: spec\n//! ipc 11, tls-sasl 10.", vec![]),
        ("/// (spec smtpd trap 12)", vec![]),
        ("// spec nowhere 3", vec!["chapter nowhere"]),
        ("// spec access 99.9, ipc 1 and 98", vec!["access 99.9", "ipc 98"]),
        ("// (spec smtpd trap 99)", vec!["smtpd trap 99"]),
    ] {
        assert_eq!(check(comment, &chapters).0, expected, "{comment}");
    }
}
