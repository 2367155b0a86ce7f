//! Servers that go while daemons work with their tables, and come back. Each case has a session that lasts all the time, with a
//! message before, meanwhile and afterwards, and one that begins after a reload, by which Postfix forgets that a server was away:
//! what clients are told, what daemons log, and what is in the queue, on Postfix and on the suite under test.
//!
//! `POSTERN_OUTAGES=56 POSTERN_SEED=7` are more cases, and other ones.

use std::thread;
use std::time::{Duration, Instant};

use conformance::{Dice, Plan, Suite, require};

use super::session::{Outcome, Session, sessions};
use super::{Case, Engine, PLACES, Place, Servers, start};
use crate::databases::{can_compare, has_type, number, write_aged};

/// What a line is that tells of a server that went away: Postfix's tells of the query that got no answer, Postern's of the
/// connection that cannot be had anew (docs/differences.md).
const OUTAGE: &str = "a server is away";

impl Outcome {
    fn with_outages_alike(mut self) -> Self {
        for lines in self.log.values_mut() {
            for line in &mut *lines {
                let cannot_connect = line.starts_with("warning: connect to ") && line.contains("sql server ");
                if cannot_connect || line.contains("query failed: ") {
                    OUTAGE.clone_into(line);
                }
            }
            lines.dedup();
        }
        self
    }
}

impl Servers {
    fn stop(&mut self) {
        self.mariadb.stop();
        self.postgresql.stop();
        self.slapd.stop();
        self.memcached.stop();
    }

    fn run(&mut self) {
        thread::scope(|scope| {
            scope.spawn(|| self.mariadb.run().expect("MariaDB"));
            scope.spawn(|| self.postgresql.run().expect("PostgreSQL"));
            self.slapd.run().expect("slapd");
            self.memcached.run().expect("memcached");
        });
        self.fill();
    }
}

/// A table that works, in a file.
fn case(engine: &Engine, place: &'static Place, number: usize, home: &str) -> Case {
    let settings = engine.needed.replace("FOUND", place.value).replace("PLACE", place.parameter);
    let file = format!("{home}/{}-{number}.cf", engine.kind);
    write_aged(file.as_ref(), &settings);
    let table = format!("{}:{file}", engine.kind);
    Case { place, wrapper: "TABLE", table, settings, main_cf: String::new() }
}

#[test]
fn servers_that_go_and_come_back() {
    require!(can_compare(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    let probe = Plan::for_suite("outages-probe", Suite::Postfix).prepare();
    let all = ["mysql", "pgsql", "ldap", "memcache"];
    require!(all.iter().all(|kind| has_type(&probe, kind)), "not all tables of servers are here");
    let home = probe.home().display().to_string();
    let mut servers = Servers::start();
    let engines = servers.engines(&home);
    let mut dice = Dice::new(number("POSTERN_SEED").unwrap_or(7));
    let mut pairs: Vec<_> =
        engines.iter().flat_map(|engine| PLACES.iter().map(move |place| (engine, place))).collect();
    let count = number("POSTERN_OUTAGES").map_or(8, |count| usize::try_from(count).expect("small"));
    let cases: Vec<Case> = (0..count.min(pairs.len()))
        .map(|number| {
            let at = usize::try_from(dice.below(pairs.len() as u64)).expect("small");
            let (engine, place) = pairs.swap_remove(at);
            case(engine, place, number, &home)
        })
        .collect();
    let started = [Suite::Postfix, Suite::under_test()].map(|suite| start(suite, &cases));
    let mut lasting: Vec<Session<'_>> = started
        .iter()
        .flat_map(|(instance, ports)| {
            let numbered = cases.iter().zip(ports).enumerate();
            numbered.map(|(number, (case, port))| Session::begin(instance, case, number, *port))
        })
        .collect();
    messages(&mut lasting);
    servers.stop();
    messages(&mut lasting);
    let failed = Instant::now();
    servers.run();
    started[1]
        .0
        .wait_for("the second in which a server that failed is not asked (docs/differences.md)", || {
            (failed.elapsed() > Duration::from_millis(1100)).then_some(())
        });
    messages(&mut lasting);
    let mut outcomes: Vec<Outcome> =
        lasting.into_iter().map(|session| session.end().with_outages_alike()).collect();
    for (instance, _) in &started {
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    }
    let after: Vec<Outcome> =
        started.iter().flat_map(|(instance, ports)| sessions(instance, &cases, ports)).collect();
    let ours = outcomes.split_off(cases.len());
    let mut differ = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        for (ours, theirs) in
            [(&ours[number], &outcomes[number]), (&after[cases.len() + number], &after[number])]
        {
            if !ours.is_same(theirs) {
                differ.push(case.difference(ours, theirs));
            }
        }
    }
    assert!(differ.is_empty(), "{} of {count} differ:\n{}", differ.len(), differ.join("\n"));
}

/// Each session has another message.
fn messages(sessions: &mut [Session<'_>]) {
    thread::scope(|scope| {
        for session in sessions {
            scope.spawn(|| session.message());
        }
    });
}
