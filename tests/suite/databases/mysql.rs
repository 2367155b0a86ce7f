//! `mysql` tables, with a MariaDB.

use std::env;
use std::fs;

use conformance::{Dice, Instance, MariaDb, Plan, Suite, require, version_at_least};

use super::{Case, can_compare, compare, differences, has_type, random_result, rcpt};

pub(super) const SQL: &str = "\
CREATE DATABASE IF NOT EXISTS mail CHARACTER SET utf8mb4;
USE mail;
CREATE OR REPLACE TABLE t (k VARCHAR(200), v VARCHAR(200), w VARCHAR(200)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO t VALUES ('a', '1', NULL), ('a', '2', 'x'), ('o''neil', 'q', ''), ('null', NULL, 'x'), ('empty', '', 'x');
INSERT INTO t VALUES ('back\\\\slash', 'b', 'c'), ('grün@example.com', 'fü', 'ü'), (NULL, 'n', 'n');
INSERT INTO t VALUES ('joe@example.com', 'REJECT no joe', NULL);
CREATE OR REPLACE USER post@'%' IDENTIFIED BY 'secret';
CREATE OR REPLACE USER post@localhost IDENTIFIED BY 'secret';
CREATE OR REPLACE USER open@localhost;
CREATE USER IF NOT EXISTS root@localhost;
GRANT ALL ON mail.* TO post@'%';
GRANT ALL ON mail.* TO post@localhost;
GRANT ALL ON mail.* TO open@localhost;
GRANT ALL ON mail.* TO root@localhost;
CREATE OR REPLACE DEFINER = post@localhost PROCEDURE once(k VARCHAR(200)) SELECT CONCAT('<', k, '>');
CREATE OR REPLACE DEFINER = post@localhost PROCEDURE twice(k VARCHAR(200)) BEGIN SELECT k; SELECT k; END;
CREATE OR REPLACE DEFINER = post@localhost PROCEDURE never(k VARCHAR(200)) SET @k = k;
";

const BY_KEY: &str = "query = SELECT v, w FROM t WHERE k = '%s'\n";

const CASES: &[Case<'static>] = &[
    (BY_KEY, "a", "1,2,x\n", ""),
    (BY_KEY, "A", "1,2,x\n", ""),
    (BY_KEY, "o'neil", "q\n", "warning: table \"TABLE\": empty lookup result for: \"o'neil\" -- ignored"),
    (BY_KEY, "null", "x\n", ""),
    (BY_KEY, "empty", "x\n", "warning: table \"TABLE\": empty lookup result for: \"empty\" -- ignored"),
    (BY_KEY, "back\\slash", "b,c\n", ""),
    (BY_KEY, "grün@example.com", "fü,ü\n", ""),
    (BY_KEY, "GRÜN@example.com", "fü,ü\n", ""),
    (BY_KEY, "nobody", "", ""),
    (BY_KEY, "x' OR '1'='1", "", ""),
    (BY_KEY, "x\\' OR 1=1 -- ", "", ""),
    (BY_KEY, "a\nb", "", ""),
    (BY_KEY, "", "", "warning: table \"TABLE\": empty query string -- ignored"),
    (
        "query = SELECT '%u|%d|%1|%2|%3'\n",
        "joe@a@mail.example.com",
        "joe@a|mail.example.com|com|example|mail\n",
        "",
    ),
    ("query = SELECT '%4'\n", "joe@mail.example.com", "", ""),
    ("query = SELECT '%d'\n", "joe", "", ""),
    ("query = SELECT '%%s %U %S %D'\n", "joe@com", "%s joe joe@com com\n", ""),
    (
        "query = SELECT 'u@d'\nresult_format = <%s|%u|%d|%S|%U|%D|%1>\n",
        "joe@com",
        "<u@d|u|d|joe@com|joe|com|com>\n",
        "",
    ),
    ("query = SELECT 'x'\nresult_format = %D\n", "a", "", ""),
    ("query = SELECT 1, 2, 3\nexpansion_limit = 3\n", "a", "1,2,3\n", ""),
    (
        "query = SELECT 1, 2, 3\nexpansion_limit = 2\n",
        "a",
        "",
        "warning: dict_mysql_lookup: FILE: Expansion limit exceeded for key: 'a'",
    ),
    ("query = SELECT 'x'\ndomain = example.com\n", "joe@EXAMPLE.com", "x\n", ""),
    ("query = SELECT 'x'\ndomain = example.com\n", "joe@example.org", "", ""),
    ("query = SELECT 'x'\ndomain = example.com\n", "@example.com", "", ""),
    ("select_field = v\ntable = t\nwhere_field = k\nadditional_conditions = AND v > 1\n", "a", "2\n", ""),
    (
        "query = SELECT x'6100620a', 1.50, 1e10, DATE('2020-01-02'), NULL\n",
        "a",
        "a,1.50,10000000000,2020-01-02\n",
        "",
    ),
    (
        "query = SELECT @@character_set_client, @@character_set_results, @@collation_connection, @@autocommit\n",
        "a",
        "utf8mb4,utf8mb4,utf8mb4_general_ci,1\n",
        "",
    ),
    ("query = CALL once('%s')\n", "a", "<a>\n", ""),
    (
        "query = CALL twice('%s')\n",
        "a",
        "",
        "warning: TABLE: query failed: multiple result sets returning data are not supported",
    ),
    (
        "query = CALL never('%s')\n",
        "a",
        "",
        "warning: TABLE: query failed: query returned no result set(require_result_set = yes)",
    ),
    ("query = CALL never('%s')\nrequire_result_set = no\n", "a", "", ""),
    ("query = SET @x = 1\nrequire_result_set = no\n", "a", "", ""),
    (
        "query = SELECT 1; SELECT 2\n",
        "a",
        "",
        "warning: TABLE: query failed: You have an error in your SQL syntax; check the manual that corresponds to your \
         MariaDB server version for the right syntax to use near 'SELECT 2' at line 1",
    ),
    (
        "query = SELECT * FROM nowhere\n",
        "a",
        "",
        "warning: TABLE: query failed: Table 'mail.nowhere' doesn't exist",
    ),
    (
        "password = wrong\nquery = SELECT 1\n",
        "a",
        "",
        "Access denied for user 'post'@'localhost' (using password: YES)\n",
    ),
    (
        "password =\nquery = SELECT 1\n",
        "a",
        "",
        "Access denied for user 'post'@'localhost' (using password: NO)\n",
    ),
    ("user = open\npassword =\nquery = SELECT 1\n", "a", "1\n", ""),
    (
        "dbname = nodb\nquery = SELECT 1\n",
        "a",
        "",
        "Access denied for user 'post'@'localhost' to database 'nodb'\n",
    ),
    (
        "hosts = unix:/nowhere/s\nquery = SELECT 1\n",
        "a",
        "",
        "warning: connect to mysql server unix:/nowhere/s: Can't connect to local server through socket '/nowhere/s' (2)\n",
    ),
    (
        "hosts = inet:127.0.0.1:1\nquery = SELECT 1\n",
        "a",
        "",
        "warning: connect to mysql server inet:127.0.0.1:1: Can't connect to server on '127.0.0.1' (115)\n",
    ),
    (
        "hosts = ::1\nquery = SELECT 1\n",
        "a",
        "",
        "connect to mysql server ::1: Unknown server host ':' (-2)\n",
    ),
    (
        "hosts = LOCALHOST:7\nquery = SELECT 1\n",
        "a",
        "",
        "Can't connect to local server through socket '/run/mysqld/mysqld.sock' (2)\n",
    ),
    (
        "query = SELECT 1\nrequire_result_set = maybe\n",
        "a",
        "",
        "fatal: FILE: bad boolean configuration: require_result_set = maybe",
    ),
    (
        "query = SELECT 1\ntls_verify_cert = maybe\n",
        "a",
        "",
        "fatal: FILE: bad boolean configuration: tls_verify_cert = maybe",
    ),
    (
        "query = SELECT 1\nexpansion_limit = x\n",
        "a",
        "",
        "fatal: FILE: bad numerical configuration: expansion_limit = x",
    ),
    ("dbname =\nquery = SELECT 1\n", "a", "", "fatal: FILE: bad string length 0 < 1: dbname = "),
    ("foo = bar\n", "a", "", "fatal: FILE: bad string length 0 < 1: table = "),
    // Which mistake is told first.
    (
        "result_format =\nexpansion_limit = x\nquery =\n",
        "a",
        "",
        "fatal: FILE: bad string length 0 < 1: result_format = ",
    ),
    ("query = SELECT '%x'\n", "a", "", "fatal: db_common_parse: FILE: Invalid query template: SELECT '%x'"),
    // Unknown parameters are nobody's business.
    ("query = SELECT 1\nretry_interval = 0\ncharset = foo\nfoo = bar\n", "a", "1\n", ""),
];

/// What a table needs to find the server.
pub(super) fn login(server: &MariaDb) -> String {
    format!("hosts = unix:{}\nuser = post\npassword = secret\ndbname = mail\n", server.socket().display())
}

#[test]
fn queries_results_and_complaints() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let mut plan = Plan::new("mysql");
    plan.main_cf(
        "old_query = SELECT '%s of $mydomain'\nold_dbname = mail\nold_user = post\nold_password = secret\n",
    );
    let instance = plan.prepare();
    require!(has_type(&instance, "mysql"), "no mysql tables in this build");
    let server = MariaDb::start(SQL).expect("MariaDB");
    let mut failures = differences(&instance, "mysql", &login(&server), CASES);
    // Of several servers one that is there answers.
    let port = server.port();
    let hosts = format!("hosts = unix:/nowhere, 127.0.0.1:{port} unix:/nowhere/b\nquery = SELECT 'x'\n");
    let file = instance.home().join("several.cf");
    fs::write(&file, super::with_server(&login(&server), &hosts)).expect("a file of our own");
    let outcome = instance.run("postmap", &["-q", "a", &format!("mysql:{}", file.display())]);
    if outcome.out() != "x\n" || outcome.err().matches("connect to mysql server unix:/nowhere").count() != 2 {
        failures.push(format!("several servers: {} {}", outcome.out(), outcome.err()));
    }
    // Parameters in main.cf: theirs are expanded.
    instance.edit_main_cf(|text| format!("{text}old_hosts = 127.0.0.1:{port}\n"));
    let outcome = instance.run("postmap", &["-q", "x@y", "mysql:old"]);
    if outcome.out() != "x@y of example.com\n" {
        failures.push(format!("mysql:old: {outcome:?}"));
    }
    failures.extend(option_files(&instance, &server));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a file of options says, parameters beside it, and what comes of both.
fn option_files(instance: &Instance, server: &MariaDb) -> Vec<String> {
    let (socket, port) = (server.socket().display().to_string(), server.port());
    let file = instance.home().join("options.cnf");
    let table = instance.home().join("options.cf");
    let unix = format!("hosts = unix:{socket}\n");
    let who = "SELECT CURRENT_USER(), @@character_set_client\n";
    let cases = [
        ("[client]\nuser=open\n", unix.clone(), "open@localhost,utf8mb4\n"),
        ("[client]\nuser = \"open\"\n", unix.clone() + "option_group =\n", "open@localhost,utf8mb4\n"),
        ("[client-server]\nuser='open'\n", unix.clone(), "open@localhost,utf8mb4\n"),
        ("[x]\nuser=open\n", unix.clone() + "option_group = x\n", "open@localhost,utf8mb4\n"),
        ("[x]\nuser=open\n", unix.clone(), "root@localhost,utf8mb4\n"),
        ("[client]\nuser=nobody\n", unix.clone() + "user = open\n", "open@localhost,utf8mb4\n"),
        // A password in it is not used.
        ("[client]\nuser=post\npassword=secret\n", unix.clone(), ""),
        (
            "[client]\nuser=open\nsocket=SOCKET\n",
            "hosts = localhost\n".to_owned(),
            "open@localhost,utf8mb4\n",
        ),
        (
            "[client]\nport=PORT\n",
            "hosts = 127.0.0.1\nuser = post\npassword = secret\n".to_owned(),
            "post@%,utf8mb4\n",
        ),
        (
            "[client]\nhost=127.0.0.1\nport=PORT\n",
            unix.clone() + "user = post\npassword = secret\n",
            "post@%,utf8mb4\n",
        ),
        (
            "[client]\nuser=open\ndefault-character-set=latin1\n",
            unix.clone(),
            if version_at_least(3, 9) { "open@localhost,utf8mb4\n" } else { "open@localhost,latin1\n" },
        ),
    ];
    let mut failures = Vec::new();
    for (options, settings, out) in cases {
        let options = options.replace("SOCKET", &socket).replace("PORT", &port.to_string());
        fs::write(&file, &options).expect("a file of our own");
        let text = format!("dbname = mail\nquery = {who}option_file = {}\n{settings}", file.display());
        fs::write(&table, text).expect("a file of our own");
        let outcome = instance.run("postmap", &["-q", "a", &format!("mysql:{}", table.display())]);
        let is_good =
            outcome.out() == out && (!out.is_empty() || outcome.err().contains("(using password: NO)"));
        if !is_good && nix::unistd::Uid::effective().is_root() {
            failures.push(format!("{options}{settings}: {} {}", outcome.out(), outcome.err()));
        }
    }
    failures
}

fn random_table(dice: &mut Dice) -> String {
    let query = dice.one_of(&[
        "query = SELECT v, w FROM t WHERE k = '%s'",
        "query = SELECT '%s', NULL, 'x@y'",
        "query = SELECT '%u', '%d'",
        "query = SELECT '%u' UNION SELECT '%s' UNION SELECT ''",
        "query = SELECT CONCAT('%1', '.', '%2')",
        "query = SELECT '%S %U %D %%'",
        "query = SELECT LENGTH('%s'), HEX('%s')",
        "query = SELECT * FROM t",
        "select_field = HEX('%u')\ntable = t\nwhere_field = 'x' OR k\nadditional_conditions = LIMIT 2",
    ]);
    format!("{query}\n{}", random_result(dice))
}

/// The same tables and keys through Postfix and through the suite under test: output, complaints, queries.
#[test]
fn random() {
    require!(can_compare(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    let instance = Plan::new("mysql-random").prepare();
    require!(has_type(&instance, "mysql"), "no mysql tables in this build");
    let server = MariaDb::start(SQL).expect("MariaDB");
    compare(&instance, "mysql", &login(&server), random_table, || server.queries());
}

/// A server that goes and comes: a temporary error meanwhile, and mail goes on when it is back.
#[test]
fn restarts() {
    let mut server = MariaDb::start(SQL).expect("MariaDB");
    let mut plan = Plan::new("mysql-restarts");
    let file = env::temp_dir().join(format!("postern-mysql-restarts-{}.cf", std::process::id()));
    fs::write(&file, login(&server) + BY_KEY).expect("a file of our own");
    plan.set(
        "smtpd_recipient_restrictions",
        &format!("check_recipient_access mysql:{}, permit", file.display()),
    );
    plan.set("smtpd_delay_reject", "yes");
    let instance = plan.start();
    require!(has_type(&instance, "mysql"), "no mysql tables in this build");
    assert!(rcpt(&instance, "joe@example.com").contains("no joe"));
    server.stop();
    assert!(rcpt(&instance, "joe@example.com").starts_with("451 4.3.5"));
    assert!(rcpt(&instance, "joe@example.com").starts_with("451 4.3.5"));
    instance.wait_for_log("mysql");
    server.run().expect("MariaDB");
    instance.run("postfix", &["reload"]);
    instance.wait_for("an answer after the restart", || {
        rcpt(&instance, "joe@example.com").contains("no joe").then_some(())
    });
    if Suite::under_test().is_ours("smtpd") {
        // A restart that happens between two look-ups is not noticed (docs/differences.md).
        server.stop();
        server.run().expect("MariaDB");
        assert!(rcpt(&instance, "joe@example.com").contains("no joe"));
    }
    drop(fs::remove_file(file));
}
