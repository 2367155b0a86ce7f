//! Manual pages name what programs read: every parameter of `docs/behaviour/parameters.tsv` that is a program's, and every
//! one that its source names. smtpd(8) has no room for that, and points to postconf(5); it names those of Milters.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require;

/// A program, its page, and its source; and whether all that the table gives it must be there.
const PAGES: [(&str, &str, &str, bool); 10] = [
    ("cleanup", "cleanup.8", "cleanup/src", true),
    ("pickup", "pickup.8", "services/pickup/src", true),
    ("sendmail", "sendmail.1", "commands/sendmail/src", true),
    ("postdrop", "postdrop.1", "commands/postdrop/src", true),
    ("verify", "verify.8", "services/verify/src", true),
    ("flush", "flush.8", "services/flush/src", true),
    ("anvil", "anvil.8", "services/anvil/src", true),
    ("postlogd", "postlogd.8", "services/postlogd/src", true),
    // Those of OpenSSL, and of tables that others read.
    ("tlsmgr", "tlsmgr.8", "services/tlsmgr/src", false),
    ("proxymap", "proxymap.8", "services/proxymap/src", false),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join("man").join(name)).expect("the page is there").replace("\\-", "-")
}

/// Name and programs of each parameter.
fn parameters() -> Vec<(String, Vec<String>)> {
    let table = fs::read_to_string(repository().join("docs/behaviour/parameters.tsv")).expect("it is there");
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|fields| fields.len() > 7)
        .map(|fields| (fields[0].to_owned(), fields[7].split(',').map(str::to_owned).collect()))
        .collect()
}

fn source(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("the source is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &source(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).expect("text");
        }
    }
    text
}

/// The words of a text that could be parameters.
fn words(text: &str) -> HashSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect()
}

#[test]
fn pages_name_what_programs_read() {
    let parameters = parameters();
    assert!(parameters.len() > 500, "the table is not what it was");
    let mut lacking = Vec::new();
    for (program, name, folder, is_complete) in PAGES {
        let (page, source) = (page(name), source(&repository().join(folder)));
        let page = words(&page);
        let literals: HashSet<&str> = source.split('"').collect();
        for (parameter, programs) in &parameters {
            let parameter = parameter.as_str();
            let is_listed = is_complete && programs.iter().any(|found| found == program);
            let is_read = is_listed || literals.contains(parameter);
            if is_read && !page.contains(parameter) {
                lacking.push(format!("{name}: {parameter}"));
            }
        }
    }
    assert_eq!(lacking, Vec::<String>::new());
}

#[test]
fn the_page_of_smtpd_names_those_of_milters() {
    let page = page("smtpd.8");
    let page = words(&page);
    let parameters = parameters().into_iter().filter(|(name, programs)| {
        name.contains("milter") && programs.iter().any(|program| program == "smtpd")
    });
    let lacking: Vec<String> =
        parameters.map(|(name, _)| name).filter(|name| !page.contains(name.as_str())).collect();
    assert_eq!(lacking, Vec::<String>::new());
}

#[test]
fn pages_are_without_faults() {
    let groff = |page: &Path| Command::new("groff").args(["-ww", "-man", "-Tutf8"]).arg(page).output();
    require!(groff(Path::new("/dev/null")).is_ok(), "there is no groff");
    let mut faults = String::new();
    for entry in fs::read_dir(repository().join("man")).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_file() {
            faults += &String::from_utf8_lossy(&groff(&path).expect("it ran a moment ago").stderr);
        }
    }
    assert_eq!(faults, "");
}
