//! Side-by-side benchmarks: the same load on Debian's Postfix and on Postern, in alternation on the same machine.
//!
//! Every case is run in rounds; a round runs it on each suite, the order changing from round to round, and gives two
//! numbers a suite: messages a second, and CPU time a message of the suite's own processes (user and system, those
//! that have ended included). What counts are the ratios within a round; the table shows their median and range.

#![forbid(unsafe_code)]

mod case;
mod cpu;

use std::process::ExitCode;

use case::{CASES, Case, Figures};
use conformance::Suite;

const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let chosen =
        |case: &&Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    println!(
        "{:<26} {:>9} {:>9} {:>20} {:>9} {:>9} {:>20}",
        "case", "Postfix/s", "Postern/s", "rate ratio (range)", "Postfix", "Postern", "CPU ratio (range)"
    );
    for case in CASES.iter().filter(chosen) {
        compare(case);
    }
    ExitCode::SUCCESS
}

fn compare(case: &Case) {
    let (mut postfix, mut postern) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            postfix.push(case.run(Suite::Postfix));
            postern.push(case.run(Suite::Postern));
        } else {
            postern.push(case.run(Suite::Postern));
            postfix.push(case.run(Suite::Postfix));
        }
    }
    let ratios = |of: fn(&Figures) -> f64| {
        spread(postern.iter().zip(&postfix).map(|(ours, theirs)| of(ours) / of(theirs)).collect())
    };
    let median = |runs: &[Figures], of: fn(&Figures) -> f64| spread(runs.iter().map(of).collect()).1;
    let (rate, cpu) = (ratios(|run| run.rate), ratios(|run| run.cpu));
    println!(
        "{:<26} {:>9.0} {:>9.0} {:>6.2} ({:.2} to {:.2}) {:>6.2} ms {:>6.2} ms {:>6.2} ({:.2} to {:.2})",
        case.name,
        median(&postfix, |run| run.rate),
        median(&postern, |run| run.rate),
        rate.1,
        rate.0,
        rate.2,
        median(&postfix, |run| run.cpu * 1000.0),
        median(&postern, |run| run.cpu * 1000.0),
        cpu.1,
        cpu.0,
        cpu.2,
    );
}

/// Least, median and greatest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}
