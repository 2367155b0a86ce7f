//! The mixture of the conformance suite for as many minutes as one likes: what was acknowledged and is lost, and whether
//! memory and descriptors grow.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use conformance::{Account, Mixture, Suite};

fn main() -> ExitCode {
    let minutes: f64 = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(10.0);
    if !matches!(Suite::under_test(), Suite::Postern) {
        eprintln!("POSTERN_UNDER_TEST=postern, as bench/endurance sets it");
        return ExitCode::FAILURE;
    }
    let time = Duration::from_secs_f64(minutes * 60.0);
    let reload = (time / 4).max(Duration::from_secs(1));
    let account = Mixture { time, reload, seed: u64::from(std::process::id()) }.run();
    tell(&account);
    let faults = account.faults();
    faults.iter().for_each(|fault| println!("FAULT: {fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(account: &Account) {
    let [full, restarted, reloaded, stopped] = account.incidents;
    println!(
        "messages: {} tried, {} acknowledged and safe, {} acknowledged and lost, {} in the queue without an \
         acknowledgement, {} more than once",
        account.tried,
        account.safe,
        account.lost.len(),
        account.unasked,
        account.twice
    );
    println!(
        "incidents: file system full {full}, filter restarted {restarted}, reloads {reloaded}, mail system restarted \
         {stopped}; connections broken off by filters {}",
        account.broken
    );
    println!(
        "{:<16} {:>6} {:>28} {:>28}",
        "process", "alive", "kB after a quarter, end, most", "descriptors likewise"
    );
    let mut longest: Vec<_> = account.processes.iter().collect();
    longest.sort_by_key(|(_, (name, usage))| (name.clone(), std::cmp::Reverse(usage.len())));
    let mut shown = (String::new(), 0);
    for (pid, (name, usage)) in longest {
        shown = if shown.0 == *name { (name.clone(), shown.1 + 1) } else { (name.clone(), 0) };
        if shown.1 >= 6 || usage.len() < 2 {
            continue;
        }
        let three = |of: fn(&(u64, u64)) -> u64| {
            let values: Vec<u64> = usage.iter().map(of).collect();
            let most = values.iter().max().copied().unwrap_or(0);
            format!("{} {} {most}", values[values.len() / 4], values[values.len() - 1])
        };
        println!(
            "{:<16} {:>5}s {:>28} {:>28}",
            format!("{name}[{pid}]"),
            usage.len(),
            three(|usage| usage.0),
            three(|usage| usage.1)
        );
    }
    let idle: Vec<String> =
        account.descriptors.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("descriptors when all was over, the most in one process: {}", idle.join(", "));
}
