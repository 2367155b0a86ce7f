//! The part of postconf(5) that has every parameter is made of the table and of the descriptions in man/parameters.
//!
//! `POSTERN_WRITE_MANUAL=1 cargo test -p config --test manual` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use config::table::{self, Kind, Parameter};

/// What the part begins with, and what comes behind it.
const BEGINNING: &str = ".SH ALL PARAMETERS\n";
const END: &str = ".SH DIFFERENCES FROM POSTFIX\n";

/// Programs of Postfix that Postern does not have, with the beginnings of their parameters' names.
const ABSENT: [&str; 3] = ["postscreen_", "tlsproxy_", "qmqpd_"];

/// The versions of Postfix whose defaults are told where they differ.
const VERSIONS: [u32; 3] = [10, 11, 12];

fn manuals() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man")
}

/// The descriptions: a paragraph each, whose first line is the name.
fn descriptions() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let folder = manuals().join("parameters");
    for file in fs::read_dir(&folder).expect("the folder is there") {
        let path = file.expect("it can be read").path();
        let text = fs::read_to_string(&path).expect("a file of texts");
        let mut last = String::new();
        for paragraph in text.split("\n\n") {
            let (name, description) = paragraph.trim().split_once('\n').expect("a name and a text");
            assert!(*name > *last, "{}: {name} stands behind {last}", path.display());
            name.clone_into(&mut last);
            let twice = found.insert(name.to_owned(), description.to_owned());
            assert!(twice.is_none(), "{name} is described twice");
        }
    }
    found
}

/// The name of the parameter of smtp(8) that this one of lmtp is the counterpart of.
fn of_smtp(name: &str) -> Option<String> {
    name.strip_prefix("lmtp_").map(|rest| format!("smtp_{rest}"))
}

fn is_described(parameter: &Parameter) -> bool {
    !ABSENT.iter().any(|absent| parameter.name().starts_with(absent))
}

/// Text as roff has it: no character of it is a command.
fn roff(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq").replace('~', "\\(ti");
        let line = line.replace('^', "\\(ha").replace('`', "\\(ga");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn shown(default: &str) -> String {
    if default.is_empty() {
        "empty".to_owned()
    } else {
        default.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A long word can go on in the next line behind a colon or a comma.
fn breakable(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        if word.len() < 40 { word.to_owned() } else { word.replace(':', ":\\:").replace(',', ",\\:") }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What kind of value, who reads it, since when, and the defaults of later versions.
fn facts(parameter: &Parameter) -> String {
    let mut text = match parameter.kind {
        Kind::Text | Kind::Raw => "Text",
        Kind::Int | Kind::Nint | Kind::Long => "A number",
        Kind::Boolean | Kind::Nbool => "yes or no",
        Kind::Time => "A time",
    }
    .to_owned();
    match (parameter.kind, parameter.min, parameter.max) {
        (Kind::Text | Kind::Raw, 1, 0) => text += ", not empty",
        (_, 0, 0) => {}
        (Kind::Time, min, 0) => write!(text, ", {min} s or more").expect("a text takes it"),
        (Kind::Time, min, max) => write!(text, ", {min} s to {max} s").expect("a text takes it"),
        (_, min, 0) => write!(text, ", {min} or more").expect("a text takes it"),
        (_, 0, max) => write!(text, ", {max} or less").expect("a text takes it"),
        (_, min, max) => write!(text, ", {min} to {max}").expect("a text takes it"),
    }
    let programs: Vec<_> = parameter.programs().filter(|program| !program.is_empty()).collect();
    match programs[..] {
        [] => {}
        ["all"] => text += "; read by every program",
        ["all-daemons"] => text += "; read by every daemon",
        _ => write!(text, "; read by {}", programs.join(", ")).expect("a text takes it"),
    }
    let first = VERSIONS.into_iter().find(|minor| parameter.is_in(*minor));
    match (parameter.since(), parameter.is_in(7), first) {
        ("Postern", ..) => text += "; Postern's own",
        (_, false, Some(first)) if !parameter.is_in(7) => {
            write!(text, "; not in 3.7, in 3.{first}").expect("a text takes it");
        }
        (_, false, _) => text += "; not in 3.7",
        ("", ..) => {}
        (since, ..) => write!(text, "; since {since}").expect("a text takes it"),
    }
    let mut last = parameter.default();
    for minor in VERSIONS {
        let default = parameter.default_in(minor);
        if parameter.is_in(7) && !parameter.is_in(minor) {
            write!(text, "; not in 3.{minor}").expect("a text takes it");
            break;
        }
        if parameter.is_in(minor) && default != last {
            write!(text, "; default beside 3.{minor}: {}", shown(default)).expect("a text takes it");
            last = default;
        }
    }
    if !parameter.has_effect() {
        text += "; not obeyed by any program of Postern";
    }
    text + "."
}

fn generated() -> String {
    let mut descriptions = descriptions();
    let mut text = BEGINNING.to_owned();
    text += "What each is when nobody sets it stands in parentheses; what it is here and now is shown by\n.BR \"postconf \\-d\" .\n";
    text += ".na\nParameters of programs that Postern does not have are left out.\n";
    for parameter in table::all().filter(|parameter| is_described(parameter)) {
        let name = parameter.name();
        let counterpart = of_smtp(name).filter(|smtp| table::find(smtp).is_some());
        let description = match (descriptions.remove(name), counterpart) {
            (Some(description), _) => description,
            (None, Some(smtp)) => format!("{smtp} for LMTP."),
            (None, None) => panic!("man/parameters has no {name}"),
        };
        writeln!(
            text,
            ".TP\n.BR {name} \" (default: {})\"\n{}\n.br\n{}",
            breakable(&roff(&shown(parameter.default()))),
            roff(&description),
            breakable(&roff(&facts(parameter)))
        )
        .expect("a text takes it");
    }
    text += ".ad\n";
    let unknown: Vec<_> = descriptions.keys().collect();
    assert!(unknown.is_empty(), "man/parameters describes what is no parameter: {unknown:?}");
    text
}

#[test]
fn the_manual_has_every_parameter() {
    let path = manuals().join("postconf.5");
    let manual = fs::read_to_string(&path).expect("the manual is there");
    let (before, rest) = manual.split_once(BEGINNING).expect("the part begins");
    let (_, after) = rest.split_once(END).expect("the part ends");
    let expected = [before, &generated(), END, after].concat();
    if std::env::var_os("POSTERN_WRITE_MANUAL").is_some() {
        fs::write(&path, expected).expect("the manual can be written");
    } else {
        assert!(manual == expected, "man/postconf.5 is out of date: see crates/config/tests/manual.rs");
    }
}
