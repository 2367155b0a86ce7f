//! Messages a second and CPU time a message, under a load that keeps all sessions busy.

use std::time::Instant;

use conformance::{peer_program, run};

use crate::spread::Spread;
use crate::subject::{Path, Running, Subject, stage_before};
use crate::usage;

/// One load.
pub(crate) struct Case {
    /// As the table shows it.
    pub name: &'static str,
    path: Path,
    messages: u32,
    sessions: u32,
    length: u32,
    /// Clients send one message after the other on a connection.
    stay: bool,
    /// The process limit of the server that clients meet.
    limit: Option<u32>,
}

/// What a run of a case took.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// Messages a second.
    rate: f64,
    /// CPU seconds a message, of the suite's processes.
    cpu: f64,
    /// KiB of memory of all processes at the end.
    memory: f64,
}

const fn case(name: &'static str, path: Path, messages: u32, sessions: u32, length: u32) -> Case {
    Case { name, path, messages, sessions, length, stay: false, limit: None }
}

const fn plain(name: &'static str, messages: u32, sessions: u32, length: u32) -> Case {
    case(name, Path::Plain, messages, sessions, length)
}

const fn null_filter(name: &'static str, messages: u32, sessions: u32, length: u32) -> Case {
    case(name, Path::NullFilter, messages, sessions, length)
}

/// All there are.
pub(crate) const CASES: &[Case] = &[
    plain("plain 1 kB, 1 session", 600, 1, 1000),
    plain("plain 1 kB, 20 sessions", 8000, 20, 1000),
    plain("plain 1 kB, 200 sessions", 2000, 200, 1000),
    plain("plain 40 kB, 1 session", 500, 1, 40_000),
    plain("plain 40 kB, 20 sessions", 2000, 20, 40_000),
    plain("plain 40 kB, 200 sessions", 2000, 200, 40_000),
    plain("plain 1 MB, 1 session", 50, 1, 1_000_000),
    plain("plain 1 MB, 20 sessions", 100, 20, 1_000_000),
    plain("plain 1 MB, 200 sessions", 400, 200, 1_000_000),
    Case { stay: true, ..plain("plain 1 kB, 20 sessions that stay", 8000, 20, 1000) },
    case("ten header checks 1 kB, 20 sessions", Path::HeaderChecks, 8000, 20, 1000),
    case("100,000 virtual aliases 1 kB, 20 sessions", Path::VirtualAliases, 8000, 20, 1000),
    case("null Milter 1 kB, 20 sessions", Path::NullMilter, 4000, 20, 1000),
    null_filter("null filter 1 kB, 1 session", 600, 1, 1000),
    null_filter("null filter 1 kB, 20 sessions", 6000, 20, 1000),
    Case { limit: Some(20), ..null_filter("null filter 1 kB, 200, limit 20", 1200, 200, 1000) },
    null_filter("null filter 40 kB, 1 session", 500, 1, 40_000),
    null_filter("null filter 40 kB, 20 sessions", 1000, 20, 40_000),
    null_filter("null filter 40 kB, 200 sessions", 1000, 200, 40_000),
    null_filter("null filter 1 MB, 1 session", 50, 1, 1_000_000),
    null_filter("null filter 1 MB, 20 sessions", 100, 20, 1_000_000),
    null_filter("null filter 1 MB, 200 sessions", 400, 200, 1_000_000),
    Case { stay: true, ..null_filter("null filter 1 kB, 20 sessions that stay", 6000, 20, 1000) },
];

/// Runs a case in rounds and prints its rows.
pub(crate) fn compare(case: &Case, rounds: usize) {
    let mut subjects = vec![Subject::Postfix, Subject::Postern];
    if stage_before().is_some() {
        // What is asked is what a change has cost: no time for the others.
        subjects.push(Subject::Before);
    } else {
        subjects.push(Subject::Threads);
        if case.path == Path::Plain {
            subjects.push(Subject::Floor);
        }
    }
    let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            runs[index].push(case.run(subjects[index]));
        }
    }
    for (subject, figures) in subjects.iter().zip(&runs) {
        let of = |pick: fn(&Figures) -> f64| Spread::of(figures.iter().map(pick)).median;
        let ratio = |pick: fn(&Figures) -> f64| {
            Spread::of(figures.iter().zip(&runs[0]).map(|(own, postfix)| pick(own) / pick(postfix)))
        };
        println!(
            "| {:<39} | {:<16} | {:>6.0} | {:>20} | {:>7.3} | {:>20} | {:>6.0} |",
            case.name,
            subject.name(),
            of(|run| run.rate),
            ratio(|run| run.rate).to_string(),
            of(|run| run.cpu * 1000.0),
            ratio(|run| run.cpu).to_string(),
            of(|run| run.memory / 1024.0),
        );
    }
    let of = |subject| subjects.iter().position(|one| *one == subject).and_then(|index| runs.get(index));
    let tell = |what: &str, one, other, pick: fn(&Figures) -> f64| {
        if let (Some(one), Some(other)) = (of(one), of(other)) {
            let ratio = Spread::of(one.iter().zip(other).map(|(one, other)| pick(one) / pick(other)));
            println!("| {:<39} | {what}: {ratio} |", case.name);
        }
    };
    tell("CPU of threads to the floor's", Subject::Threads, Subject::Floor, |run| run.cpu);
    tell("CPU to Postern's before", Subject::Postern, Subject::Before, |run| run.cpu);
    tell("rate to Postern's before", Subject::Postern, Subject::Before, |run| run.rate);
}

/// The head of the table.
pub(crate) fn head() {
    println!(
        "| {:<39} | {:<16} | {:>6} | {:>20} | {:>7} | {:>20} | {:>6} |",
        "case", "who", "rate/s", "to Postfix's", "CPU ms", "to Postfix's", "MiB"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
}

impl Case {
    /// Runs it once on a fresh instance.
    ///
    /// # Panics
    /// When a message is not accepted: a benchmark of failures measures nothing.
    fn run(&self, subject: Subject) -> Figures {
        let running = Running::start(subject, self.path, self.limit);
        let leader = running.leader();
        self.load(running.port(), self.sessions * 2);
        let before = usage::cpu_of_group(leader);
        let start = Instant::now();
        self.load(running.port(), self.messages);
        let seconds = start.elapsed().as_secs_f64();
        let cpu = usage::cpu_of_group(leader) - before;
        let memory = usage::memory_of_group(leader);
        let expected = usize::try_from(self.messages + self.sessions * 2).expect("small");
        assert_eq!(running.messages(), expected);
        let messages = f64::from(self.messages);
        Figures { rate: messages / seconds, cpu: cpu / messages, memory }
    }

    fn load(&self, port: u16, messages: u32) {
        let address = format!("127.0.0.1:{port}");
        let numbers = [self.sessions, messages, self.length].map(|number| number.to_string());
        let mut arguments = vec!["-s", &numbers[0], "-m", &numbers[1], "-l", &numbers[2]];
        if self.stay {
            arguments.push("-d");
        }
        arguments.extend(["-f", "a@example.net", "-t", "b@example.com", &address]);
        let outcome = run(&peer_program("smtp-source"), &arguments, &[], b"");
        assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    }
}
