//! Side-by-side benchmarks: the same load on Debian's Postfix and on Postern, in alternation on the same machine.
//!
//! [`throughput`]: every case is run in rounds; a round runs it on each of those who are compared, in an order that
//! changes from round to round, and gives messages a second, and CPU time a message of the suite's own processes (user
//! and system, those that have ended included). What counts are the ratios within a round; the table shows their
//! median and range. [`idle`]: memory of sessions that do nothing. [`storm`]: more clients than the filter can serve.
//!
//! [`drain`]: queues that are delivered. [`sending`]: the same by SMTP, and whole relays and gateways. [`latency`]: how long one message takes.
//!
//! [`tls`]: handshakes, and idle sessions with TLS.
//!
//! [`databases`]: look-ups in tables of servers.
//!
//! Arguments choose cases whose name contains one of them, or ends with it where a `$` stands behind it; `idle`, `tls` and
//! `storm` are names too. `BENCH_ROUNDS` is the number of rounds. `POSTERN_STAGE_BEFORE`: another build of Postern to compare
//! throughput with. What the columns mean and how to read them: `docs/benchmarks.md`.

#![forbid(unsafe_code)]

mod databases;
mod drain;
mod idle;
mod latency;
mod queued;
mod sending;
mod slow_filter;
mod spread;
mod storm;
mod subject;
mod throughput;
mod tls;
mod usage;

use std::process::ExitCode;

const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_meant = |name: &str, word: &str| match word.strip_suffix('$') {
        Some(end) => name.ends_with(end),
        None => name.contains(word),
    };
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| is_meant(name, word));
    let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    // Every client of the larger cases is a socket of this process.
    if let Err(error) = sys::process::raise_open_file_limit() {
        eprintln!("bench: open files: {error}");
    }
    let cases: Vec<_> = throughput::CASES.iter().filter(|case| chosen(case.name)).collect();
    if !cases.is_empty() {
        throughput::head();
        cases.iter().for_each(|case| throughput::compare(case, rounds.max(1)));
        println!();
    }
    let loads: Vec<_> = drain::LOADS.iter().filter(|load| chosen(load.name)).collect();
    if !loads.is_empty() {
        drain::head();
        loads.iter().for_each(|load| drain::compare(load, rounds.max(1)));
        println!();
    }
    let sendings: Vec<_> = sending::LOADS.iter().filter(|load| chosen(load.name)).collect();
    if !sendings.is_empty() {
        sending::head();
        sendings.iter().for_each(|load| sending::compare(load, rounds.max(1)));
        println!();
    }
    if chosen(latency::NAME) {
        latency::compare(rounds.max(1));
        println!();
    }
    if chosen(databases::NAME) {
        databases::compare(rounds.max(1));
        println!();
    }
    if chosen("idle") {
        idle::head();
        idle::measure();
        println!();
    }
    if chosen("tls") {
        tls::measure();
        println!();
    }
    let storms: Vec<_> = storm::STORMS.iter().filter(|storm| chosen(storm.name)).collect();
    if !storms.is_empty() {
        storm::head();
        storms.iter().for_each(|storm| storm::raise(storm));
    }
    subject::clear();
    ExitCode::SUCCESS
}
