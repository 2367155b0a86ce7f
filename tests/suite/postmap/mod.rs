//! postmap and postalias: every option, on every type that can be made, as Postfix 3.7.11 answered.
//!
//! `commands.txt` is what was typed and what came of it. `==` starts a section, with a folder of its own; `>` makes a
//! file of the lines up to a dot; `$` is a command, `<` a line of its standard input, two blanks come before a line of
//! its output, `!` before one of its complaints, and the exit status stands in brackets. The commands of a section are
//! given one after another, or all at once, as a fatal error takes a second. The order of a list (`-s`) is not compared.

use std::collections::HashSet;
use std::path::Path;
use std::{fs, thread};

use conformance::{Instance, Plan, Suite, require};

/// A command and what comes of it.
#[derive(Debug, Default)]
struct Step {
    command: String,
    input: Vec<u8>,
    output: Vec<String>,
    complaints: Vec<String>,
    status: i32,
}

#[derive(Debug, Default)]
struct Section {
    name: String,
    at_once: bool,
    files: Vec<(String, Vec<u8>)>,
    steps: Vec<Step>,
}

/// Bytes of a line, in which `\xff` is a byte.
fn bytes(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, piece) in line.split("\\x").enumerate() {
        let plain = match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if at > 0 => {
                out.push(byte);
                &piece[2..]
            }
            _ => piece,
        };
        out.extend_from_slice(plain.as_bytes());
    }
    out.push(b'\n');
    out
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("== ") {
            let (name, at_once) =
                title.strip_suffix(" (at once)").map_or((title, false), |name| (name, true));
            sections.push(Section { name: name.replace(' ', "-"), at_once, ..Section::default() });
            continue;
        }
        let section = sections.last_mut().expect("a section comes first");
        if let Some(name) = line.strip_prefix("> ") {
            let content = lines.by_ref().take_while(|line| *line != ".").flat_map(bytes).collect();
            section.files.push((name.to_owned(), content));
        } else if let Some(command) = line.strip_prefix("$ ") {
            section.steps.push(Step { command: command.to_owned(), ..Step::default() });
        } else {
            let step = section.steps.last_mut().expect("a command comes first");
            match line.split_at_checked(2) {
                Some(("< ", input)) => step.input.extend(bytes(input)),
                Some(("  ", output)) => step.output.push(output.to_owned()),
                Some(("! ", complaint)) => step.complaints.push(complaint.to_owned()),
                _ if line == "<" => step.input.push(b'\n'),
                _ => step.status = line.trim_matches(['[', ']']).parse().expect("a status"),
            }
        }
    }
    sections
}

/// The words of a command line with quoted words in it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, piece) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// What is wrong with a command's result.
fn check(instance: &Instance, folder: &Path, step: &Step) -> Option<String> {
    let words = words(&step.command);
    let program = Suite::under_test().command(&words[0]).expect("asked for before");
    let mut arguments = vec![
        "-c",
        "cd \"$0\" && exec \"$@\"",
        folder.to_str().expect("plain"),
        program.to_str().expect("plain"),
    ];
    arguments.extend(words[1..].iter().map(String::as_str));
    let outcome = instance.run_path(Path::new("/bin/sh"), &arguments, &step.input);
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text: String = bytes
            .utf8_chunks()
            .flat_map(|chunk| {
                let escaped: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
                [chunk.valid().to_owned(), escaped]
            })
            .collect();
        text.lines().filter(|line| !line.contains("YP_LAST_MODIFIED")).map(str::to_owned).collect()
    };
    let (mut output, mut complaints) = (lines(&outcome.stdout), lines(&outcome.stderr));
    // A text file that has just been written is read again and again.
    let mut told = HashSet::new();
    complaints.retain(|line| told.insert(line.clone()));
    if words.iter().any(|word| word == "-s") {
        output.sort();
    }
    let good = output == step.output && complaints == step.complaints && outcome.status == Some(step.status);
    (!good).then(|| {
        let (input, name) = (String::from_utf8_lossy(&step.input), folder.display());
        format!(
            "{name}$ {}\n{input}gave {:?}\n{}\n{}\nwanted [{}]\n{}\n{}\n",
            step.command,
            outcome.status,
            output.join("\n"),
            complaints.join("\n"),
            step.status,
            step.output.join("\n"),
            step.complaints.join("\n")
        )
    })
}

fn play(instance: &Instance, section: &Section) -> Vec<String> {
    let folder = instance.home().join(&section.name);
    fs::create_dir(&folder).expect("a folder of our own");
    for (name, content) in &section.files {
        fs::write(folder.join(name), content).expect("a file of our own");
    }
    let folder = folder.as_path();
    if !section.at_once {
        return section.steps.iter().filter_map(|step| check(instance, folder, step)).collect();
    }
    thread::scope(|scope| {
        let started: Vec<_> =
            section.steps.iter().map(|step| scope.spawn(move || check(instance, folder, step))).collect();
        started.into_iter().filter_map(|step| step.join().expect("a step does not panic")).collect()
    })
}

#[test]
fn every_option() {
    let suite = Suite::under_test();
    require!(
        suite.command("postmap").is_some() && suite.command("postalias").is_some(),
        "needs postmap, postalias"
    );
    let instance = Plan::new("postmap").prepare();
    let types = instance.run("postconf", &["-m"]).out();
    let all = ["cdb", "lmdb", "pcre"].iter().all(|kind| types.lines().any(|known| known == *kind));
    require!(all, "this build lacks a table type");
    let sections = sections(include_str!("commands.txt"));
    let failures: Vec<String> = thread::scope(|scope| {
        let instance = &instance;
        let started: Vec<_> =
            sections.iter().map(|section| scope.spawn(move || play(instance, section))).collect();
        started.into_iter().flat_map(|section| section.join().expect("a section does not panic")).collect()
    });
    assert!(failures.is_empty(), "{} of the commands:\n{}", failures.len(), failures.join("\n"));
}
