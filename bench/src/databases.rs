//! Look-ups in tables of servers: `postmap -q -` of both suites with the same keys, a server beside them.

use std::fs;
use std::time::Instant;

use conformance::{Instance, MariaDb, Memcached, Plan, PostgreSql, Slapd, Suite};

use crate::usage;

/// What the benchmark is called.
pub(crate) const NAME: &str = "databases";

/// Keys of a run: of four three are there.
const KEYS: usize = 20_000;
const ENTRIES: usize = 3_000;

/// Prints a row for each type of table, the best of some rounds.
///
/// # Panics
/// When a server cannot be had.
pub(crate) fn compare(rounds: usize) {
    let columns = "Postfix, CPU s | Postern, CPU s | ratio | Postfix, s | Postern, s | ratio";
    println!("| {KEYS} look-ups | {columns} |\n| --- | --- | --- | --- | --- | --- | --- |");
    let postfix = Plan::for_suite("bench-databases", Suite::Postfix).prepare();
    let postern = Plan::for_suite("bench-databases", Suite::Postern).prepare();
    let row = |kind: &str, settings: &str| {
        let file = postfix.home().join(format!("{kind}.cf"));
        fs::write(&file, settings).expect("a file of our own");
        let table = format!("{kind}:{}", file.display());
        let mut best = [(f64::MAX, f64::MAX); 2];
        for _ in 0..rounds {
            let (theirs, ours) = (ask(&postfix, &table), ask(&postern, &table));
            assert!(!theirs.2.is_empty() && theirs.2 == ours.2, "{table}: not the same answers");
            for (best, (cpu, seconds, _)) in best.iter_mut().zip([theirs, ours]) {
                *best = (best.0.min(cpu), best.1.min(seconds));
            }
        }
        let [(cpu, seconds), (our_cpu, our_seconds)] = best;
        println!(
            "| {kind} | {cpu:.2} | {our_cpu:.2} | {:.2} | {seconds:.2} | {our_seconds:.2} | {:.2} |",
            cpu / our_cpu,
            seconds / our_seconds
        );
    };
    let rows = || (0..ENTRIES).map(|number| format!("('user{number}@example.com', 'value-{number}')"));
    let filling: Vec<String> = rows().collect();
    let mut sql = "CREATE TABLE t (k varchar(100) PRIMARY KEY, v varchar(100));\n".to_owned();
    // MariaDB takes statements of 60,000 bytes when it starts.
    for some in filling.chunks(1000) {
        sql += &format!("INSERT INTO t VALUES {};\n", some.join(", "));
    }
    let query = "query = SELECT v FROM t WHERE k = '%s'\n";
    {
        let grant = "CREATE USER 'post'@'%';\nGRANT ALL ON *.* TO 'post'@'%';\n";
        let server =
            MariaDb::start(&format!("CREATE DATABASE mail;\nUSE mail;\n{sql}{grant}")).expect("MariaDB");
        let login = format!("hosts = 127.0.0.1:{}\nuser = post\ndbname = mail\n", server.port());
        row("mysql", &(login + query));
    }
    {
        let sql = format!("{sql}CREATE ROLE post LOGIN;\nGRANT ALL ON t TO post;\n");
        let server = PostgreSql::start(&sql, "host all all 127.0.0.1/32 trust\n").expect("PostgreSQL");
        let login = format!("hosts = 127.0.0.1:{}\nuser = post\ndbname = postgres\n", server.port());
        row("pgsql", &(login + query));
    }
    {
        let mut ldif = "dn: dc=example,dc=com\nobjectClass: domain\ndc: example\n".to_owned();
        for number in 0..ENTRIES {
            ldif += &format!(
                "\ndn: uid=user{number},dc=example,dc=com\nobjectClass: account\nobjectClass: mailUser\n\
                 uid: user{number}\nmail: user{number}@example.com\nmaildrop: value-{number}\n"
            );
        }
        let server = Slapd::start(&ldif, "").expect("slapd");
        let place = format!("server_host = ldap://127.0.0.1:{}\nversion = 3\n", server.port());
        row(
            "ldap",
            &(place + "search_base = uid=%u,dc=example,dc=com\nscope = base\nquery_filter = mail=%s\n"),
        );
    }
    let server = Memcached::start().expect("memcached");
    for number in 0..ENTRIES {
        let value = format!("value-{number}");
        server.command(&format!("set user{number}@example.com 0 0 {}\r\n{value}\r\n", value.len()));
    }
    row("memcache", &format!("memcache = inet:127.0.0.1:{}\n", server.port()));
}

/// Seconds of CPU, seconds, and the answers.
fn ask(instance: &Instance, table: &str) -> (f64, f64, Vec<u8>) {
    let key = |number: usize| format!("user{}@example.com\n", number * 7919 % (ENTRIES * 4 / 3));
    let keys: String = (0..KEYS).map(key).collect();
    let (before, start) = (usage::cpu_of_ended_children(), Instant::now());
    let outcome = instance.run_with_input("postmap", &["-q", "-", table], keys.as_bytes());
    let seconds = start.elapsed().as_secs_f64();
    (usage::cpu_of_ended_children() - before, seconds, outcome.stdout)
}
