//! `pgsql` tables, with a PostgreSQL.

use std::env;
use std::fs;

use conformance::{Dice, Plan, PostgreSql, Suite, require, version_at_least};

use super::{Case, can_compare, compare, differences, has_type, random_result, rcpt};

pub(super) const SQL: &str = "\
CREATE TABLE t (k text, v text, w text);
INSERT INTO t VALUES ('a', '1', NULL), ('a', '2', 'x'), ('o''neil', 'q', ''), ('null', NULL, 'x'), ('empty', '', 'x');
INSERT INTO t VALUES ('back\\slash', 'b', 'c'), (NULL, 'n', 'n'), ('joe@example.com', 'REJECT no joe', 'x');
INSERT INTO t VALUES ('snow', chr(9731), 'x'), ('umlaut', chr(252), 'x');
SET password_encryption = 'scram-sha-256';
CREATE ROLE post LOGIN PASSWORD 'secret';
CREATE ROLE open LOGIN;
CREATE ROLE reader LOGIN;
ALTER ROLE reader SET default_transaction_read_only = on;
CREATE ROLE plain LOGIN PASSWORD 'secret';
SET password_encryption = 'md5';
CREATE ROLE digest LOGIN PASSWORD 'secret';
GRANT ALL ON t TO post, open, plain, digest;
";

pub(super) const LOGINS: &str = "\
host all open,reader 127.0.0.1/32 trust
host all plain 127.0.0.1/32 password
host all digest 127.0.0.1/32 md5
host all post 127.0.0.1/32 scram-sha-256
local all post scram-sha-256
";

const BY_KEY: &str = "query = SELECT v, w FROM t WHERE k = '%s'\n";

const CASES: &[Case<'static>] = &[
    (BY_KEY, "a", "1,2,x\n", "warning: table \"TABLE\": empty lookup result for: \"a\" -- ignored"),
    (BY_KEY, "o'neil", "q\n", "warning: table \"TABLE\": empty lookup result for: \"o'neil\" -- ignored"),
    (BY_KEY, "null", "x\n", "warning: table \"TABLE\": empty lookup result for: \"null\" -- ignored"),
    (BY_KEY, "back\\slash", "b,c\n", ""),
    (BY_KEY, "nobody", "", ""),
    (BY_KEY, "x' OR '1'='1", "", ""),
    (BY_KEY, "x\\' OR 1=1 -- ", "", ""),
    (BY_KEY, "", "", "warning: table \"TABLE\": empty query string -- ignored"),
    (
        "query = SELECT '%u|%d|%1|%2|%3'\n",
        "joe@a@mail.example.com",
        "joe@a|mail.example.com|com|example|mail\n",
        "",
    ),
    ("query = SELECT '%4'\n", "joe@mail.example.com", "", ""),
    (
        "query = SELECT 'u@d'\nresult_format = <%s|%u|%d|%S|%U|%D|%1>\n",
        "joe@com",
        "<u@d|u|d|joe@com|joe|com|com>\n",
        "",
    ),
    ("query = SELECT 1, 2, 3\nexpansion_limit = 3\n", "a", "1,2,3\n", ""),
    (
        "query = SELECT 1, 2, 3\nexpansion_limit = 2\n",
        "a",
        "",
        "warning: dict_pgsql_lookup: FILE: Expansion limit exceeded for key: 'a'",
    ),
    ("query = SELECT 'x'\ndomain = example.com\n", "joe@EXAMPLE.com", "x\n", ""),
    ("query = SELECT 'x'\ndomain = example.com\n", "joe@example.org", "", ""),
    ("select_field = v\ntable = t\nwhere_field = k\nadditional_conditions = AND v > '1'\n", "a", "2\n", ""),
    ("select_function = upper\n", "a", "A\n", ""),
    ("query = SELECT true, 1.50, 'x'::bytea\n", "a", "t,1.50,\\x78\n", ""),
    ("query = SELECT 1; SELECT 2\n", "a", "2\n", ""),
    ("query = SELECT 1; SET foo.x TO 1\n", "a", "", ""),
    (
        "query = SELEC '%s'\n",
        "a",
        "",
        "warning: pgsql query failed: fatal error from host 127.0.0.1:PORT: ERROR:  syntax error at or near \"SELEC\"?LINE \
         1: SELEC 'a'?        ^?\n",
    ),
    (
        "query = SELECT * FROM nowhere\n",
        "a",
        "",
        "fatal error from host 127.0.0.1:PORT: ERROR:  relation \"nowhere\" does not exist?LINE 1: SELECT * FROM \
         nowhere?                      ^?\n",
    ),
    (
        "query = SELECT uper('%s')\n",
        "a",
        "",
        "ERROR:  function uper(unknown) does not exist?LINE 1: SELECT uper('a')?               ^?HINT:  No function \
         matches the given name and argument types. You might need to add explicit type casts.?\n",
    ),
    (
        "password = wrong\nquery = SELECT 1\n",
        "a",
        "",
        "warning: connect to pgsql server 127.0.0.1:PORT: connection to server at \"127.0.0.1\", port PORT failed: FATAL:  \
         password authentication failed for user \"post\"?\n",
    ),
    (
        "password =\nquery = SELECT 1\n",
        "a",
        "",
        "connection to server at \"127.0.0.1\", port PORT failed: fe_sendauth: no password supplied?\n",
    ),
    ("user = open\npassword =\nquery = SELECT 1\n", "a", "1\n", ""),
    ("user = plain\nquery = SELECT 1\n", "a", "1\n", ""),
    ("user = digest\nquery = SELECT 1\n", "a", "1\n", ""),
    (
        "user = digest\npassword = wrong\nquery = SELECT 1\n",
        "a",
        "",
        "password authentication failed for user \"digest\"?\n",
    ),
    ("dbname = nodb\nquery = SELECT 1\n", "a", "", "FATAL:  database \"nodb\" does not exist?\n"),
    // The other scheme that the library knows is a host with a strange port.
    (
        "hosts = postgres://post:secret@127.0.0.1:PORT/postgres\nquery = SELECT 1\n",
        "a",
        "",
        "invalid integer value \"PORT/postgres\" for connection option \"port\"?\n",
    ),
    ("hosts = unix:FOLDER\nquery = SELECT 1\n", "a", "1\n", ""),
    ("hosts = FOLDER\nquery = SELECT 1\n", "a", "1\n", ""),
    (
        "hosts = postgresql://post:secret@127.0.0.1:PORT/postgres\nuser = x\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    // Several servers in one URI, and what a server has to be.
    (
        "hosts = postgresql://open@127.0.0.1%%2C127.0.0.1/postgres?port=1%%2CPORT\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = postgresql://open@127.0.0.1%%2C127.0.0.1/postgres?port=PORT\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = postgresql://open@127.0.0.1%%2C127.0.0.1/postgres?port=1%%2CPORT%%2C2\nquery = SELECT 1\n",
        "a",
        "",
        "could not match 3 port numbers to 2 hosts?\n",
    ),
    (
        "hosts = postgresql://open@127.0.0.1%%2C127.0.0.1/postgres?port=1%%2C2\nquery = SELECT 1\n",
        "a",
        "",
        "port 1 failed: Connection refused??Is the server running on that host and accepting TCP/IP connections??connection to server at \"127.0.0.1\", port 2 failed: Connection refused??",
    ),
    (
        "hosts = postgresql://open@127.0.0.1%%2C127.0.0.1/wrong?port=PORT\nquery = SELECT 1\n",
        "a",
        "",
        "/wrong?port=PORT: connection to server at \"127.0.0.1\", port PORT failed: FATAL:  database \"wrong\" does not exist?\n",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?target_session_attrs=read-write\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?target_session_attrs=primary\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = postgresql://reader@127.0.0.1:PORT/postgres?target_session_attrs=prefer-standby\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?target_session_attrs=standby\nquery = SELECT 1\n",
        "a",
        "",
        "failed: server is not in hot standby mode?\n",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?target_session_attrs=read-only\nquery = SELECT 1\n",
        "a",
        "",
        "failed: session is not read-only?\n",
    ),
    (
        "hosts = postgresql://reader@127.0.0.1:PORT/postgres?target_session_attrs=read-only\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = postgresql://reader@127.0.0.1:PORT/postgres?target_session_attrs=read-write\nquery = SELECT 1\n",
        "a",
        "",
        "failed: session is read-only?\n",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?target_session_attrs=some\nquery = SELECT 1\n",
        "a",
        "",
        "invalid target_session_attrs value: \"some\"?\n",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?ssl_max_protocol_version=TLSv1.2&krbsrvname=x\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?gssencmode=x\nquery = SELECT 1\n",
        "a",
        "",
        "invalid gssencmode value: \"x\"?\n",
    ),
    (
        "hosts = postgresql://open@127.0.0.1:PORT/postgres?&sslmode=disable\nquery = SELECT 1\n",
        "a",
        "",
        "missing key/value separator \"=\" in URI query parameter: \"\"?\n",
    ),
    (
        "query = COPY t TO STDOUT\n",
        "a",
        "",
        "warning: pgsql query failed: unknown code 0x3 from host 127.0.0.1:PORT\n",
    ),
    (
        "query = COPY t FROM STDIN; SELECT 1\n",
        "a",
        "",
        "warning: pgsql query failed: unknown code 0x4 from host 127.0.0.1:PORT\n",
    ),
    (
        "hosts = postgresql://post:s%%65cret@127.0.0.1:PORT/postgres?sslmode=disable\nquery = SELECT 1\n",
        "a",
        "1\n",
        "",
    ),
    (
        "hosts = unix:/nowhere\nquery = SELECT 1\n",
        "a",
        "",
        "warning: connect to pgsql server unix:/nowhere: connection to server on socket \"/nowhere/.s.PGSQL.5432\" failed: \
         No such file or directory??Is the server running locally and accepting connections on that socket??\n",
    ),
    (
        "hosts = inet:127.0.0.1:1\nquery = SELECT 1\n",
        "a",
        "",
        "warning: connect to pgsql server inet:127.0.0.1:1: connection to server at \"127.0.0.1\", port 1 failed: \
         Connection refused??Is the server running on that host and accepting TCP/IP connections??\n",
    ),
    (
        "hosts = 127.0.0.1:x\nquery = SELECT 1\n",
        "a",
        "",
        "warning: connect to pgsql server 127.0.0.1:x: invalid integer value \"x\" for connection option \"port\"?\n",
    ),
    (
        "hosts = [::1]:7\nquery = SELECT 1\n",
        "a",
        "",
        "connect to pgsql server [::1]:7: could not translate host name \"[::1]\" to address: Name or service not known?\n",
    ),
    (
        "hosts = a:0\nquery = SELECT 1\n",
        "a",
        "",
        "connect to pgsql server a:0: invalid port number: \"0\"?\n",
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
    (
        "hosts = localhost:1\nquery = SELECT 1\n",
        "a",
        "",
        "warning: connect to pgsql server localhost:1: connection to server at \"localhost\" (",
    ),
    (
        "hosts = unix:\nquery = SELECT 1\n",
        "a",
        "",
        "connect to pgsql server unix:: connection to server on socket \"/var/run/postgresql/.s.PGSQL.5432\" failed: ",
    ),
];

/// What a table needs to find the server.
pub(super) fn login(server: &PostgreSql) -> String {
    format!("hosts = 127.0.0.1:{}\nuser = post\npassword = secret\ndbname = postgres\n", server.port())
}

#[test]
fn queries_results_and_complaints() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let mut plan = Plan::new("pgsql");
    plan.main_cf("old_query = SELECT '%s of $mydomain'\nold_dbname = postgres\nold_user = post\nold_password = secret\n");
    let instance = plan.prepare();
    require!(has_type(&instance, "pgsql"), "no pgsql tables in this build");
    let server = PostgreSql::start(SQL, LOGINS).expect("PostgreSQL");
    let (port, folder) = (server.port().to_string(), server.folder().display().to_string());
    let filled: Vec<[String; 4]> = CASES
        .iter()
        .map(|(settings, key, out, err)| {
            let fill = |text: &str| text.replace("PORT", &port).replace("FOLDER", &folder).replace("%%", "%");
            [fill(settings), (*key).to_owned(), (*out).to_owned(), fill(err)]
        })
        .collect();
    let cases: Vec<Case<'_>> = filled
        .iter()
        .map(|[settings, key, out, err]| (&settings[..], &key[..], &out[..], &err[..]))
        .collect();
    let mut failures = differences(&instance, "pgsql", &login(&server), &cases);
    // Postfix 3.7 speaks LATIN1, later ones UTF-8.
    if !version_at_least(3, 8) {
        let cases: &[Case<'_>] = &[
            (
                BY_KEY,
                "umlaut",
                "",
                "key \"umlaut\": non-UTF-8 value \"?,x\": malformed UTF-8 or invalid codepoint",
            ),
            (
                BY_KEY,
                "snow",
                "",
                "ERROR:  character with byte sequence 0xe2 0x98 0x83 in encoding \"UTF8\" has no equivalent in encoding \
                 \"LATIN1\"?\n",
            ),
        ];
        failures.extend(differences(&instance, "pgsql", &login(&server), cases));
    }
    let hosts = format!("hosts = unix:/nowhere, 127.0.0.1:{port} unix:/nowhere/b\nquery = SELECT 'x'\n");
    let file = instance.home().join("several.cf");
    fs::write(&file, super::with_server(&login(&server), &hosts)).expect("a file of our own");
    let outcome = instance.run("postmap", &["-q", "a", &format!("pgsql:{}", file.display())]);
    if outcome.out() != "x\n" || outcome.err().matches("connect to pgsql server unix:/nowhere").count() != 2 {
        failures.push(format!("several servers: {} {}", outcome.out(), outcome.err()));
    }
    instance.edit_main_cf(|text| format!("{text}old_hosts = 127.0.0.1:{port}\n"));
    let outcome = instance.run("postmap", &["-q", "x@y", "pgsql:old"]);
    if outcome.out() != "x@y of example.com\n" {
        failures.push(format!("pgsql:old: {outcome:?}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn random_table(dice: &mut Dice) -> String {
    let query = dice.one_of(&[
        "query = SELECT v, w FROM t WHERE k = '%s'",
        "query = SELECT '%s', NULL, 'x@y'",
        "query = SELECT '%u', '%d'",
        "query = SELECT '%u' UNION ALL SELECT '%s' UNION ALL SELECT ''",
        "query = SELECT '%1' || '.' || '%2'",
        "query = SELECT '%S %U %D %%'",
        "query = SELECT length('%s'), md5('%s')",
        "query = SELECT v, w FROM t WHERE v < 'r'",
        "select_field = md5('%u')\ntable = t\nwhere_field = 'x' IS NOT NULL OR k\nadditional_conditions = LIMIT 2",
        "select_function = upper",
    ]);
    format!("{query}\n{}", random_result(dice))
}

/// The same tables and keys through Postfix and through the suite under test: output, complaints, queries.
#[test]
fn random() {
    require!(can_compare(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    let instance = Plan::new("pgsql-random").prepare();
    require!(has_type(&instance, "pgsql"), "no pgsql tables in this build");
    let mut server = PostgreSql::start(SQL, LOGINS).expect("PostgreSQL");
    compare(&instance, "pgsql", &login(&server), random_table, || server.queries());
}

/// A server that goes and comes, asked through proxymap: a temporary error meanwhile, and mail goes on when it is back.
#[test]
fn restarts() {
    let mut server = PostgreSql::start(SQL, LOGINS).expect("PostgreSQL");
    let mut plan = Plan::new("pgsql-restarts");
    let file = env::temp_dir().join(format!("postern-pgsql-restarts-{}.cf", std::process::id()));
    fs::write(&file, login(&server) + BY_KEY).expect("a file of our own");
    let table = format!("proxy:pgsql:{}", file.display());
    plan.set("smtpd_recipient_restrictions", &format!("check_recipient_access {table}, permit"));
    plan.set("proxy_read_maps", &table);
    plan.master_cf("proxymap unix - - n - - proxymap\n");
    let instance = plan.start();
    require!(has_type(&instance, "pgsql"), "no pgsql tables in this build");
    assert!(rcpt(&instance, "joe@example.com").contains("no joe"));
    server.stop();
    assert!(rcpt(&instance, "joe@example.com").starts_with("451 4.3.5"));
    instance.wait_for_log("pgsql");
    server.run().expect("PostgreSQL");
    instance.run("postfix", &["reload"]);
    instance.wait_for("an answer after the restart", || {
        rcpt(&instance, "joe@example.com").contains("no joe").then_some(())
    });
    drop(fs::remove_file(file));
}
