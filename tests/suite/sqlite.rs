//! `sqlite` tables: templates, results, and what is wrong with a configuration.

use std::{fs, thread};

use conformance::{Instance, Plan, Suite, require};
use rusqlite::Connection;

/// A configuration after `dbpath`, a key, what `postmap -q` prints, and what it complains of.
type Case = (&'static str, &'static str, &'static str, &'static str);

const BY_KEY: &str = "query = SELECT v, w FROM t WHERE k = '%s'\n";

const CASES: &[Case] = &[
    (BY_KEY, "a", "1,2\n", ""),
    (BY_KEY, "A", "1,2\n", ""),
    (BY_KEY, "o'neil", "q\n", ""),
    (BY_KEY, "null", "", ""),
    (BY_KEY, "number", "5\n", ""),
    (BY_KEY, "real", "1.5\n", ""),
    (BY_KEY, "blob", "a\n", ""),
    (BY_KEY, "nobody", "", ""),
    (BY_KEY, "", "", "warning: table \"TABLE\": empty query string -- ignored"),
    (BY_KEY, "empty", "", "warning: table \"TABLE\": empty lookup result for: \"empty\" -- ignored"),
    (
        "query = SELECT '%u|%d|%1|%2|%3'\n",
        "joe@a@mail.example.com",
        "joe@a|mail.example.com|com|example|mail\n",
        "",
    ),
    ("query = SELECT '%4'\n", "joe@mail.example.com", "", ""),
    ("query = SELECT '%1|%2'\n", "joe@mail..com", "com|mail\n", ""),
    ("query = SELECT '%u'\n", "joe", "joe\n", ""),
    ("query = SELECT '%d'\n", "joe", "", ""),
    ("query = SELECT '%u'\n", "@example.com", "", ""),
    ("query = SELECT '%u|%s'\n", "joe@", "joe|joe@\n", ""),
    ("query = SELECT '%d'\n", "joe@", "", ""),
    ("query = SELECT '%%s %U %S %D'\n", "joe@com", "%s joe joe@com com\n", ""),
    (
        "query = SELECT 'u@d'\nresult_format = <%s|%u|%d|%S|%U|%D|%1>\n",
        "joe@com",
        "<u@d|u|d|joe@com|joe|com|com>\n",
        "",
    ),
    ("query = SELECT 'x'\nresult_format = %d\n", "a", "", ""),
    ("query = SELECT 'x'\nresult_format = %D\n", "a", "", ""),
    ("query = SELECT '@x'\nresult_format = %u\n", "a", "", ""),
    (
        "query = SELECT v FROM t WHERE v <> ''\nresult_format = lit\nexpansion_limit = -1\n",
        "a",
        "lit,lit,lit,lit,lit,lit\n",
        "",
    ),
    ("query = SELECT v FROM t WHERE k = '%s'\nexpansion_limit = 2\n", "a", "1,2\n", ""),
    (
        "query = SELECT v FROM t WHERE k = '%s'\nexpansion_limit = 1\n",
        "a",
        "",
        "warning: dict_sqlite_lookup: FILE: Expansion limit exceeded for key 'a'",
    ),
    ("query = SELECT 'x'\ndomain = example.com\n", "joe@EXAMPLE.com", "x\n", ""),
    ("query = SELECT 'x'\ndomain = example.com\n", "joe@example.org", "", ""),
    ("query = SELECT 'x'\ndomain = example.com\n", "@example.com", "", ""),
    ("query = SELECT 'x'\ndomain = example.com\n", "example.com", "", ""),
    ("query = SELECT 'x'\ndomain = example.com\n", "joe@", "", ""),
    ("query = SELECT 'x'\ndomain = static:all\n", "joe@", "x\n", ""),
    ("query = SELECT 'x'\ndomain = static:all\n", "@", "", ""),
    (
        "query = SELECT 'x'\ndomain = fail:x\n",
        "joe@example.com",
        "",
        "warning: FILE: fail:x: table lookup problem",
    ),
    (
        "select_field = v\ntable = t\nwhere_field = k\nadditional_conditions = AND CAST(v AS INTEGER) > 1\n",
        "a",
        "2\n",
        "",
    ),
    ("query = SELECT 1; SELECT 2\n", "a", "1\n", ""),
    ("query = SELECT '%x'\n", "a", "", "fatal: db_common_parse: FILE: Invalid query template: SELECT '%x'"),
    (
        "query = SELECT 1\nresult_format = %q\n",
        "a",
        "",
        "fatal: db_common_parse: FILE: Invalid result template: %q",
    ),
    (
        "query = SELECT 1\nresult_format =\n",
        "a",
        "",
        "fatal: FILE: bad string length 0 < 1: result_format = ",
    ),
    (
        "query = SELECT 1\nexpansion_limit = x\n",
        "a",
        "",
        "fatal: FILE: bad numerical configuration: expansion_limit = x",
    ),
    ("foo = bar\n", "a", "", "fatal: FILE: bad string length 0 < 1: table = "),
    ("table = t\n", "a", "", "fatal: FILE: bad string length 0 < 1: select_field = "),
    ("table = t\nselect_field = v\n", "a", "", "fatal: FILE: bad string length 0 < 1: where_field = "),
    ("query = SELECT 1\ndbpath =\n", "a", "", "fatal: FILE: bad string length 0 < 1: dbpath = "),
    (
        "query = SELECT 1\nbad line\n",
        "a",
        "",
        "fatal: FILE, line 3: missing '=' after attribute name: \"bad line\"",
    ),
    (
        "query = SELECT 1\ndbpath = /nowhere/x\n",
        "a",
        "",
        "fatal: TABLE: Can't open database: unable to open database file?",
    ),
    // A fatal error of Postfix, a warning of Postern (docs/differences.md).
    (
        "query = SELECT nonsense\n",
        "a",
        "",
        "dict_sqlite_lookup: FILE: SQL prepare failed: no such column: nonsense?",
    ),
    (
        "query = SELEC\n",
        "a",
        "",
        "dict_sqlite_lookup: FILE: SQL prepare failed: near \"SELEC\": syntax error?",
    ),
    (
        "query = SELECT abs(-9223372036854775808)\n",
        "a",
        "",
        "warning: dict_sqlite_lookup: FILE: SQL step failed for query 'SELECT abs(-9223372036854775808)': \
         integer overflow?",
    ),
];

fn database(instance: &Instance) -> String {
    let path = instance.home().join("t.sqlite");
    let database = Connection::open(&path).expect("a file of our own");
    let made = database.execute_batch(
        "CREATE TABLE t(k, v, w);
         INSERT INTO t VALUES('a', '1', NULL), ('a', '2', 'x'), ('o''neil', 'q', ''), ('null', NULL, 'x'),
             ('empty', '', 'x'), ('number', 5, 1), ('real', 1.5, 1), ('blob', x'6100620a', 1);",
    );
    made.expect("SQL");
    path.to_str().expect("a plain name").to_owned()
}

/// Looks up one case's key; what is wrong with the answer.
fn check(instance: &Instance, database: &str, number: usize, case: &Case) -> Option<String> {
    let (settings, key, out, err) = case;
    let file = instance.home().join(format!("{number}.cf"));
    let table = format!("sqlite:{}", file.display());
    let dbpath = if settings.contains("dbpath") { String::new() } else { format!("dbpath = {database}\n") };
    fs::write(&file, format!("{dbpath}{settings}")).expect("a file of our own");
    let outcome = instance.run("postmap", &["-q", key, &table]);
    let expected = err.replace("TABLE", &table).replace("FILE", &file.display().to_string());
    let complains = if err.is_empty() { outcome.err().is_empty() } else { outcome.err().contains(&expected) };
    let good = outcome.out() == *out && outcome.status == Some(i32::from(out.is_empty())) && complains;
    (!good).then(|| format!("{settings}{key}: {:?} {:?} {}", outcome.status, outcome.out(), outcome.err()))
}

#[test]
fn queries_results_and_complaints() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let mut plan = Plan::new("sqlite");
    plan.main_cf("old_query = SELECT '%s of $mydomain'\nold_result_format = <%s>\n");
    let instance = plan.prepare();
    let types = instance.run("postconf", &["-m"]).out();
    require!(types.lines().any(|kind| kind == "sqlite"), "no sqlite tables in this build");
    let database = database(&instance);
    // A fatal error takes a second: all at once.
    let mut failures: Vec<String> = thread::scope(|scope| {
        let (instance, database) = (&instance, &database);
        let cases: Vec<_> = CASES
            .iter()
            .enumerate()
            .map(|(number, case)| scope.spawn(move || check(instance, database, number, case)))
            .collect();
        cases.into_iter().filter_map(|case| case.join().expect("a case does not panic")).collect()
    });
    let table = format!("sqlite:{}", instance.home().join("0.cf").display());
    let refusals = [
        (vec!["-q", "a", "sqlite:/nowhere.cf"], "fatal: open /nowhere.cf: No such file or directory"),
        (vec!["-q", "a", "sqlite:nowhere"], "fatal: bad string length 0 < 1: nowhere_dbpath = "),
        (vec!["-s", &table], "fatal: table TABLE: sequence operation is not supported"),
        (vec!["-d", "a", &table], "fatal: TABLE map requires O_RDONLY access mode"),
        (vec![&table], "does not support bulk-mode creation."),
    ];
    thread::scope(|scope| {
        let (instance, table) = (&instance, &table);
        let started: Vec<_> = refusals
            .iter()
            .map(|(arguments, err)| scope.spawn(move || (instance.run("postmap", arguments), err)))
            .collect();
        for refusal in started {
            let (outcome, err) = refusal.join().expect("a case does not panic");
            if outcome.status != Some(1) || !outcome.err().contains(&err.replace("TABLE", table)) {
                failures.push(format!("{err}: {}", outcome.err()));
            }
        }
    });
    // Parameters in main.cf: theirs are expanded.
    let main_cf = instance.home().join("etc/main.cf");
    let text = fs::read_to_string(&main_cf).expect("main.cf");
    fs::write(&main_cf, format!("{text}old_dbpath = {database}\n")).expect("main.cf");
    let outcome = instance.run("postmap", &["-q", "x@y", "sqlite:old"]);
    if outcome.out() != "<x@y of example.com>\n" {
        failures.push(format!("sqlite:old: {outcome:?}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
