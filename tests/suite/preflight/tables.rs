//! Whole sources of lookup tables with one mistake each (`tables.txt`).

use std::fs;
use std::path::Path;

use conformance::{Plan, require};

use super::{Trial, judges, said};

/// A case of the file.
#[derive(Default)]
struct Case {
    name: String,
    main_cf: Vec<String>,
    /// Each with its lines.
    files: Vec<(String, String)>,
    /// What is done before the check: a word and its argument.
    steps: Vec<(String, String)>,
    want: Vec<String>,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().expect("a case comes first");
        if let Some(content) = line.strip_prefix("  ") {
            let (_, file) = case.files.last_mut().expect("a file comes first");
            *file += &format!("{content}\n");
            continue;
        }
        let (word, rest) = line.split_once(' ').expect("a word and what belongs to it");
        match word {
            "main" => case.main_cf.push(rest.to_owned()),
            "file" => case.files.push((rest.to_owned(), String::new())),
            ">" => case.want.push(rest.to_owned()),
            _ => case.steps.push((word.to_owned(), rest.to_owned())),
        }
    }
    cases
}

impl Case {
    fn set_up(&self, trial: &Trial, folder: &Path) {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir(folder).expect("our own folder");
        let fill = |text: &str| text.replace("$DIR", &folder.display().to_string());
        for (name, content) in &self.files {
            fs::write(folder.join(name), fill(content)).expect("our own folder");
        }
        for (word, argument) in &self.steps {
            if word == "remove" {
                fs::remove_file(folder.join(argument)).expect("our own file");
                continue;
            }
            let outcome = trial.instance.run(word, &[&fill(argument)]);
            assert_eq!(outcome.status, Some(0), "{}: {word} {argument}: {}", self.name, outcome.err());
        }
        trial.repair();
        let lines = self.main_cf.iter().map(|line| fill(line) + "\n").collect::<String>();
        trial.instance.edit_main_cf(|_| self.others(trial) + &lines);
    }

    /// main.cf without what the case sets itself.
    fn others(&self, trial: &Trial) -> String {
        let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let is_set = |line: &str| self.main_cf.iter().any(|own| name(own) == name(line));
        trial.main_cf.lines().filter(|line| !is_set(line)).map(|line| format!("{line}\n")).collect()
    }

    /// All that is to be told.
    fn want(&self, trial: &Trial, folder: &Path) -> Vec<String> {
        let main_cf = trial.instance.home().join("etc/main.cf").display().to_string();
        let before = self.others(trial).lines().count();
        let fill = |text: &String| {
            let mut text = text.replace("$DIR", &folder.display().to_string());
            for number in 1..=self.main_cf.len() {
                let place = format!("{main_cf}, line {}", before + number);
                text = text.replace(&format!("main.cf:{number})"), &format!("{place})"));
            }
            text
        };
        self.want.iter().map(fill).collect()
    }
}

#[test]
fn each_mistake_in_a_table_is_told_with_file_line_and_cause_and_nothing_else() {
    let trial = Trial::of(Plan::new("preflight-tables").prepare());
    require!(judges(&trial.instance), "the lines are Postern's");
    let folder = trial.instance.home().join("tables");
    let mut faults = Vec::new();
    for case in cases(include_str!("tables.txt")) {
        case.set_up(&trial, &folder);
        let outcome = trial.instance.run("postfix", &["check"]);
        let (told, want) = (said(&outcome.err()), case.want(&trial, &folder));
        if (outcome.status, &told) != (Some(0), &want) {
            faults.push(format!("{}: {:?}\n  told {told:#?}\n  want {want:#?}", case.name, outcome.status));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
