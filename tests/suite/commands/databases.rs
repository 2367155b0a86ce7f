//! Tables that stand on libraries, in the commands that are set-gid or started for each message: the former have no such
//! library in them, the latter do not use it, and they serve all the same.

use std::fs;
use std::path::Path;

use conformance::{Instance, Plan, Suite, require, run};
use nix::unistd::{Uid, User};
use rusqlite::Connection;

/// Texts that are in each program with SQLite, PCRE2, a TLS library or a client of databases.
const MARKS: &[&str] = &[
    "SQLite format 3",
    "quantifier does not follow a repeatable item",
    "tls13 ",
    "mysql_native_password",
    "SCRAM-SHA-256",
];

fn marks(program: &str) -> Vec<String> {
    let path = Suite::under_test().command(program).expect("each suite has it");
    let path = path.display().to_string();
    let is_in = |mark: &str| run(Path::new("/bin/grep"), &["-aqF", mark, &path], &[], b"").status == Some(0);
    MARKS.iter().filter(|mark| is_in(mark)).map(|mark| (*mark).to_owned()).collect()
}

#[test]
fn who_has_no_library_in_it() {
    require!(Suite::under_test().is_ours("postdrop"), "Postfix's programs load theirs");
    for program in ["postdrop", "postqueue"] {
        assert_eq!(marks(program), [""; 0], "{program}");
    }
    // The marks are good ones.
    assert_eq!(marks("postmap").len(), MARKS.len(), "{:?}", marks("postmap"));
}

/// A table of each kind that has `login` as a key, and one that is broken.
fn tables(instance: &Instance, login: &str) -> [String; 3] {
    let path = |name: &str| instance.home().join(name).display().to_string();
    let database = Connection::open(path("t.sqlite")).expect("a file of our own");
    let rows = format!(
        "CREATE TABLE t(k, v); INSERT INTO t VALUES('{login}', 'alice@example.com'), ('flushed.example', 'x');"
    );
    database.execute_batch(&rows).expect("SQL");
    let by_key = |query: &str| {
        format!("dbpath = {}\nquery = SELECT v FROM {query} WHERE k = '%s'\n", path("t.sqlite"))
    };
    fs::write(path("good.cf"), by_key("t")).expect("our own folder");
    fs::write(path("bad.cf"), by_key("nosuch")).expect("our own folder");
    fs::write(path("rules"), format!("/^{login}$/ alice@example.com\n/^flushed\\.example$/ x\n"))
        .expect("our own folder");
    [
        format!("sqlite:{}", path("good.cf")),
        format!("pcre:{}", path("rules")),
        format!("sqlite:{}", path("bad.cf")),
    ]
}

#[test]
fn what_they_find_in_tables_of_databases() {
    let instance = Plan::new("command-databases").start();
    let types = instance.run("postconf", &["-m"]).out();
    require!(types.contains("sqlite\n") && types.contains("pcre\n"), "no such tables in this build");
    let login = User::from_uid(Uid::effective()).ok().flatten().map_or_else(String::new, |user| user.name);
    let main_cf = fs::read_to_string(instance.home().join("etc/main.cf")).expect("laid out");
    let set = |lines: &str| instance.edit_main_cf(|_| format!("{main_cf}{lines}\n"));
    let send = |sender: &str| {
        let arguments = ["-i", "-f", sender, "bob@example.com"];
        instance.run_with_input("sendmail", &arguments, b"Subject: x\n\nx\n")
    };
    let [good, rules, bad] = tables(&instance, &login);
    for table in [&good, &rules] {
        set(&format!("local_login_sender_maps = {table}\nauthorized_submit_users = nobody, {table}"));
        let outcome = send("alice@example.com");
        assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()), "{table}");
        let outcome = send("eve@example.com");
        assert_eq!(outcome.status, Some(75), "{table}");
        assert!(
            outcome.err().contains("not authorized to use sender='eve@example.com'"),
            "{}",
            outcome.err()
        );
        set(&format!("authorized_submit_users = !{table}, static:anyone\nauthorized_mailq_users = {table}"));
        let outcome = send("alice@example.com");
        assert_ne!(outcome.status, Some(0), "{table}");
        assert!(outcome.err().contains("is not allowed to submit mail"), "{table}: {}", outcome.err());
        assert_eq!(instance.run("postqueue", &["-p"]).status, Some(0), "{table}");
        set(&format!("fast_flush_domains = {table}"));
        for (site, text) in [
            ("flushed.example", "connect to public/flush: "),
            ("other.example", "Flush service is not configured for destination \"other.example\""),
        ] {
            let told = instance.run("postqueue", &["-s", site]).err();
            assert!(told.contains(text), "{table} {site}: {told}");
        }
    }
    set(&format!("local_login_sender_maps = {bad}"));
    let outcome = send("alice@example.com");
    assert_eq!(outcome.status, Some(75), "{outcome:?}");
    // A fatal error of Postfix's command, the sender's own of Postern's (docs/differences.md).
    assert!(outcome.err().contains("SQL prepare failed: no such table: nosuch"), "{}", outcome.err());
}
