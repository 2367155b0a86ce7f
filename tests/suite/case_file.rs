//! Files of cases: a head, then cases, each with options, what is done, and what came of it.
//!
//! | line | what |
//! | --- | --- |
//! | before the first case | the head, for whoever plays the file |
//! | `== NAME` | a case begins |
//! | `-o NAME=VALUE` | an option of it |
//! | `@since 3.10`, `@until 3.10` | it is for this version of Postfix and later ones, or for those before it |
//! | `# TEXT` | a comment on the case that follows |
//! | others | what is done and what came of it, in the order in which they are written, by [`Marks`] |
//!
//! Recording on a later version of Postfix (`POSTERN_RECORD=1 POSTERN_UNDER_TEST=postfix@3.11`) leaves what is the same, and
//! divides a case that goes otherwise there into one until that version and one since.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use conformance::{Suite, version_at_least};

/// A case of a file.
#[derive(Debug, Default, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) options: Vec<String>,
    /// What is done.
    pub(crate) script: Vec<String>,
    /// What is done, and what came of it.
    pub(crate) results: Vec<String>,
    comments: Vec<String>,
    /// The parts behind `3.` of the first version that it is for, and of the first later one that it is not for.
    since: Option<u32>,
    until: Option<u32>,
}

impl Case {
    /// Whether it is for the version under test.
    pub(crate) fn is_current(&self) -> bool {
        self.since.is_none_or(|minor| version_at_least(3, minor))
            && !self.until.is_some_and(|minor| version_at_least(3, minor))
    }
}

/// The part of a version behind `3.`.
fn minor(version: &str) -> Option<u32> {
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse().ok());
    assert!(minor.is_some(), "{version}: expected a version as 3.10");
    minor
}

/// A file, taken apart.
#[derive(Debug, Default)]
pub(crate) struct CaseFile {
    pub(crate) head: Vec<String>,
    pub(crate) cases: Vec<Case>,
}

/// How lines begin.
pub(crate) struct Marks {
    /// Those that tell what is done.
    pub(crate) script: &'static [char],
    /// Those that tell what came of it; any other line when this is nothing.
    pub(crate) results: Option<&'static [char]>,
}

impl CaseFile {
    /// Takes a file apart.
    ///
    /// # Panics
    /// When a line begins with none of the marks.
    pub(crate) fn parse(text: &str, marks: &Marks) -> CaseFile {
        let mut file = CaseFile::default();
        let mut comments = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                let comments = std::mem::take(&mut comments);
                file.cases.push(Case { name: name.to_owned(), comments, ..Case::default() });
                continue;
            }
            let Some(case) = file.cases.last_mut() else {
                file.head.push(line.to_owned());
                continue;
            };
            if line.starts_with('#') {
                comments.push(line.to_owned());
            } else if let Some(option) = line.strip_prefix("-o ") {
                case.options.push(option.to_owned());
            } else if let Some(version) = line.strip_prefix("@since ") {
                case.since = minor(version);
            } else if let Some(version) = line.strip_prefix("@until ") {
                case.until = minor(version);
            } else if line.starts_with(marks.script) {
                case.script.push(line.to_owned());
                case.results.push(line.to_owned());
            } else if !line.is_empty() {
                let says_something = marks.results.is_none_or(|marks| line.starts_with(marks));
                assert!(says_something, "a line that says nothing: {line}");
                case.results.push(line.to_owned());
            }
        }
        file
    }

    /// Takes down what came of cases on the Postfix under test, by their numbers.
    pub(crate) fn record(&mut self, mut results: BTreeMap<usize, Vec<String>>) {
        let cases = std::mem::take(&mut self.cases).into_iter().enumerate();
        self.cases = cases
            .flat_map(|(number, case)| match results.remove(&number) {
                Some(lines) if lines != case.results => divided(case, lines),
                _ => vec![case],
            })
            .collect();
    }

    /// The file, put together again.
    pub(crate) fn text(&self) -> String {
        let mut text = self.head.join("\n").trim_end().to_owned() + "\n";
        for case in &self.cases {
            text.push('\n');
            case.comments.iter().for_each(|comment| text += &format!("{comment}\n"));
            text += &format!("== {}\n", case.name);
            case.options.iter().for_each(|option| text += &format!("-o {option}\n"));
            case.since.iter().for_each(|minor| text += &format!("@since 3.{minor}\n"));
            case.until.iter().for_each(|minor| text += &format!("@until 3.{minor}\n"));
            case.results.iter().for_each(|line| text += &format!("{line}\n"));
        }
        text
    }
}

/// Plays the cases of a file in `suite/`, those with the same options on one stage, as [`play_cases`] does.
pub(crate) fn play_on_stages<S>(
    file: &str,
    marks: &Marks,
    set_up: impl Fn(&[String]) -> S,
    play: impl Fn(&S, &Case) -> Vec<String>,
) {
    let mut stages: Vec<(Vec<String>, S)> = Vec::new();
    play_cases(file, marks, |case| {
        if !stages.iter().any(|(options, _)| *options == case.options) {
            stages.push((case.options.clone(), set_up(&case.options)));
        }
        let (_, stage) = stages.iter().find(|(options, _)| *options == case.options).expect("just made");
        play(stage, case)
    });
}

/// Plays the cases of a file in `suite/`: fails with what went otherwise, or, on Postfix when `POSTERN_RECORD` is set, writes
/// down what was seen.
pub(crate) fn play_cases(file: &str, marks: &Marks, mut play: impl FnMut(&Case) -> Vec<String>) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut cases = CaseFile::parse(&text, marks);
    let record = std::env::var_os("POSTERN_RECORD").is_some() && Suite::under_test() == Suite::Postfix;
    let mut failures = String::new();
    let mut results = BTreeMap::new();
    for (number, case) in cases.cases.iter().enumerate().filter(|(_, case)| case.is_current()) {
        let lines: Vec<String> = play(case).into_iter().map(cut_log_line).collect();
        if case.results != lines {
            let list = |lines: &[String]| lines.join("\n  ");
            let (expected, seen) = (list(&case.results), list(&lines));
            failures += &format!("== {}\nexpected\n  {expected}\nseen\n  {seen}\n", case.name);
        }
        results.insert(number, lines);
    }
    if record {
        cases.record(results);
        return fs::write(&path, cases.text()).expect("our own file");
    }
    assert!(failures.is_empty(), "{file}: cases that went otherwise:\n{failures}");
}

/// What is recorded where the version under test gave these results instead of those of the case.
fn divided(case: Case, results: Vec<String>) -> Vec<Case> {
    let tested = (8..=12).rev().find(|minor| version_at_least(3, *minor));
    if tested == case.since {
        return vec![Case { results, ..case }];
    }
    let later = Case { since: tested, results, ..case.clone() };
    vec![Case { until: tested, ..case }, later]
}

/// A line of a log, as far as it does not depend on how many digits its process and times have: Postfix cuts it at 2,000
/// characters with them.
pub(crate) fn cut_log_line(mut line: String) -> String {
    if line.starts_with("| ") {
        let end = line.char_indices().nth(1900).map_or(line.len(), |(place, _)| place);
        line.truncate(end);
    }
    line
}

/// A text in which `\xNN` are bytes.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or("").as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
