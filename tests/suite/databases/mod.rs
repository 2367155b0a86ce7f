//! Tables of database servers: the same keys through Postfix's clients and through Postern's, with real servers.

mod mysql;

use std::fs;
use std::thread;

use conformance::{Instance, Suite};

/// Parameters after those of the server, a key, what `postmap -q` prints, and what it complains of. `TABLE` is the
/// table's name, `FILE` its file.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// Whether the suite under test has tables of this type.
fn has_type(instance: &Instance, kind: &str) -> bool {
    instance.run("postconf", &["-m"]).out().lines().any(|known| known == kind)
}

/// Looks up the key of each case, all at once: a fatal error takes a second. Tells what is wrong with the answers.
fn differences(instance: &Instance, kind: &str, server: &str, cases: &[Case]) -> Vec<String> {
    thread::scope(|scope| {
        let started: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(number, case)| scope.spawn(move || check(instance, kind, server, number, case)))
            .collect();
        started.into_iter().filter_map(|case| case.join().expect("a case does not panic")).collect()
    })
}

fn check(instance: &Instance, kind: &str, server: &str, number: usize, case: &Case) -> Option<String> {
    let (settings, key, out, err) = case;
    let file = instance.home().join(format!("{kind}-{number}.cf"));
    let table = format!("{kind}:{}", file.display());
    fs::write(&file, with_server(server, settings)).expect("a file of our own");
    let outcome = instance.run("postmap", &["-q", key, &table]);
    let expected = err.replace("TABLE", &table).replace("FILE", &file.display().to_string());
    let complains = if err.is_empty() { outcome.err().is_empty() } else { outcome.err().contains(&expected) };
    let good = outcome.out() == *out && outcome.status == Some(i32::from(out.is_empty())) && complains;
    (!good).then(|| format!("{settings}{key}: {:?} {:?} {}", outcome.status, outcome.out(), outcome.err()))
}

/// The parameters of the server that a case does not set itself, and those of the case.
fn with_server(server: &str, settings: &str) -> String {
    let name = |line: &str| line.split(" =").next().unwrap_or_default().to_owned();
    let own: Vec<String> = settings.lines().map(name).collect();
    let kept = server.lines().filter(|line| !own.contains(&name(line)));
    kept.map(|line| format!("{line}\n")).collect::<String>() + settings
}

/// Whether both suites can be run here, for a comparison.
fn can_compare() -> bool {
    nix::unistd::Uid::effective().is_root() && Suite::under_test().command("postmap").is_some()
}
