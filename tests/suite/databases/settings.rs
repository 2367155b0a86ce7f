//! Tables whose settings nobody would write, in files and in main.cf: what both suites say of them, and what they find.
//!
//! `POSTERN_SETTINGS=1000 POSTERN_SEED=7` are more tables an engine, and other ones.

use std::fmt::Write as _;
use std::fs;
use std::thread;

use conformance::{Dice, Instance, MariaDb, Memcached, Plan, PostgreSql, Slapd, Suite, require};

use super::{can_compare, has_type, ldap, mysql, number, pgsql, random_bytes, without_reasons, write_aged};

/// Tables that are asked at once: a fatal error takes a second.
const AT_ONCE: u64 = 12;

/// A parameter, in how many of a hundred tables it is, and its values. `PORT`, `SOCKET`, `FOLDER` are the server's, `HOME` is
/// the instance's folder.
pub(super) type Setting<'a> = (&'a str, u64, &'a [&'a str]);

/// Those of all engines.
pub(super) const COMMON: &[Setting<'static>] = &[
    (
        "result_format",
        40,
        &[
            "",
            "%s",
            "%S %U %D",
            "%1.%2",
            "%9",
            "%",
            "%%",
            "%x",
            "fixed",
            "%s%s",
            "%u@%d",
            "<%d>",
            "%u",
            "%3:%s",
            "%0",
            "\"%s\"",
            "%s $mydomain",
            "%s %",
        ],
    ),
    ("expansion_limit", 30, &["", "0", "1", "2", "-1", "x", "1k", "+2", "0x1", "2 3", "1s"]),
    (
        "domain",
        25,
        &[
            "",
            "example.com",
            "!example.com, static:all",
            "static:all",
            "example.com !a.b.example.org",
            "HOME/domains",
            "inline:{example.com=1}",
            "/nowhere",
            ".example.org",
            "example.com,",
            "!HOME/domains static:x",
            "foo:bar",
            "unionmap:{static:a}",
        ],
    ),
    ("nonsense", 10, &["1", ""]),
];

pub(super) const SQL: &[Setting<'static>] = &[
    ("dbname", 10, &["", "nodb", "mail"]),
    ("user", 5, &["", "nobody", "post"]),
    ("password", 5, &["", "wrong", "secret"]),
    ("select_field", 20, &["v", "v, w", "", "%s"]),
    ("table", 20, &["t", "", "t, t AS u"]),
    ("where_field", 20, &["k", "", "k = 'a' OR k"]),
    ("additional_conditions", 20, &["", "AND 1=1", "LIMIT 1", "AND 1="]),
    ("retry_interval", 5, &["0", "5", "x"]),
    ("idle_interval", 5, &["0", "5", "x"]),
];

pub(super) const MYSQL: &[Setting<'static>] = &[
    (
        "query",
        80,
        &[
            "",
            "SELECT v, w FROM t WHERE k = '%s'",
            "SELECT '%S %U %D'",
            "SELECT '%1', '%2', '%9'",
            "SELECT 1",
            "%",
            "SELECT '%x'",
            "SELECT '%%', '%u'",
            "SELECT NULL",
            "SELECT '', 'x', ''",
            "SELECT v FROM t",
            "SELEC",
            "SELECT 'a@b', 'c@', '@d', 'e'",
            "SELECT '$mydomain'",
            "SELECT SLEEP(0), '%d'",
            "SET @x = '%s'",
            "SELECT '%s' UNION SELECT 'b' UNION SELECT 'c'",
        ],
    ),
    (
        "hosts",
        30,
        &[
            "",
            "unix:SOCKET",
            "inet:127.0.0.1:PORT",
            "unix:/nowhere/a 127.0.0.1:PORT",
            "unix:/nowhere/a,inet:127.0.0.1:PORT",
            "unix:SOCKET 127.0.0.1:1",
            "127.0.0.1:1",
            "unix:",
            "inet:",
            "localhost",
            "LOCALHOST:PORT",
            "/nowhere",
            "127.0.0.1:PORT:PORT",
            "tcp:127.0.0.1:PORT",
        ],
    ),
    ("require_result_set", 20, &["yes", "no", "YES", "maybe", "", "1"]),
    ("option_file", 10, &["", "/nowhere", "HOME/options"]),
    ("option_group", 10, &["", "client", "x"]),
    ("tls_verify_cert", 5, &["no", "maybe", ""]),
    ("charset", 5, &["utf8mb4", "latin1"]),
];

pub(super) const PGSQL: &[Setting<'static>] = &[
    (
        "query",
        80,
        &[
            "",
            "SELECT v, w FROM t WHERE k = '%s'",
            "SELECT '%S %U %D'",
            "SELECT '%1', '%2', '%9'",
            "SELECT 1",
            "%",
            "SELECT '%x'",
            "SELECT '%%', '%u'",
            "SELECT NULL",
            "SELECT '', 'x', ''",
            "SELECT v FROM t WHERE k = 'a'",
            "SELEC",
            "SELECT 'a@b', 'c@', '@d', 'e'",
            "SELECT '$mydomain'",
            "SELECT '%d'",
            "SET foo.x = 'y'",
            "SELECT '%s' UNION ALL SELECT 'b' UNION ALL SELECT 'c'",
            "",
        ],
    ),
    (
        "hosts",
        30,
        &[
            "",
            "unix:FOLDER",
            "FOLDER",
            "inet:127.0.0.1:PORT",
            "unix:/nowhere/a 127.0.0.1:PORT",
            "unix:/nowhere/a,inet:127.0.0.1:PORT",
            "unix:FOLDER 127.0.0.1:1",
            "127.0.0.1:1",
            "unix:",
            "/nowhere",
            "127.0.0.1:PORT:PORT",
            "postgresql://post:secret@127.0.0.1:PORT/postgres",
            "/nowhere postgresql://post:secret@127.0.0.1:PORT/postgres",
            "127.0.0.1:x",
            "127.0.0.1:0",
            "127.0.0.1:99999",
        ],
    ),
    ("select_function", 20, &["upper", "", "nosuch", "concat('%s',"]),
    ("encoding", 5, &["UTF8", "LATIN1"]),
];

pub(super) const LDAP: &[Setting<'static>] = &[
    (
        "query_filter",
        60,
        &[
            "",
            "(mailacceptinggeneralid=%s)",
            "uid=%u",
            "(uid=*)",
            "uid=joe",
            "%",
            "(uid=%x)",
            "(|(uid=%u)(mail=%s))",
            "(uid=%s",
            "(&)",
            "(!(uid=%s))",
            "(uid=%%s)",
            "(uid=%1)",
            "(mail=%u@%2.%1)",
            "(objectclass=*)",
            "%s",
            "uid=%D",
        ],
    ),
    (
        "search_base",
        40,
        &[
            "",
            "dc=example,dc=com",
            "ou=people,dc=example,dc=com",
            "dc=nowhere",
            "dc=%2,dc=%1",
            "%s",
            "%",
            "dc=%x",
            "junk",
            "uid=%s,ou=people,dc=example,dc=com",
            "uid=joe,ou=people,dc=example,dc=com",
            "DC=Example , DC=Com",
        ],
    ),
    (
        "server_host",
        20,
        &[
            "",
            "127.0.0.1:PORT",
            "ldap://127.0.0.1:PORT",
            "LDAP://127.0.0.1:PORT",
            "ldap://127.0.0.1:1 ldap://127.0.0.1:PORT",
            "127.0.0.1:1, 127.0.0.1:PORT",
            "127.0.0.1:1",
            "ldap://127.0.0.1:PORT/dc=example,dc=com??one?(uid=x)",
            "ldapi://SOCKET",
            "ldap://",
            "ldap://127.0.0.1:",
            "ldap://127.0.0.1:x",
            "foo://127.0.0.1",
            "ldap:127.0.0.1:PORT",
            "127.0.0.1",
            "ldapi:///nowhere",
        ],
    ),
    ("server_port", 10, &["1", "PORT", "x", "0", "-1", "99999", ""]),
    ("timeout", 10, &["5", "x", "5s", ""]),
    ("scope", 25, &["sub", "one", "base", "ONE", "some", "", "children"]),
    ("bind", 20, &["yes", "no", "none", "simple", "YES", "maybe", ""]),
    ("bind_dn", 10, &["", "cn=admin,dc=example,dc=com", "junk"]),
    ("bind_pw", 10, &["", "secret", "wrong"]),
    ("version", 20, &["2", "3", "1", "4", "x", ""]),
    ("dereference", 15, &["0", "1", "2", "3", "4", "-1", "x"]),
    ("chase_referrals", 10, &["yes", "no", "maybe", ""]),
    ("recursion_limit", 20, &["1", "2", "0", "-1", "x", "1000"]),
    ("size_limit", 20, &["0", "1", "2", "-1", "x", ""]),
    (
        "result_attribute",
        40,
        &[
            "maildrop",
            "mail, uid",
            "",
            "MAIL maildrop",
            "nosuch",
            "*",
            "dn",
            "1.1",
            "maildrop maildrop",
            "objectclass",
        ],
    ),
    ("special_result_attribute", 30, &["memberdn", "memberurl memberdn", "", "mail", "nosuch"]),
    ("leaf_result_attribute", 20, &["mail", "maildrop", "", "uid cn"]),
    ("terminal_result_attribute", 20, &["mail", "maildrop", "", "uid"]),
    ("result_filter", 10, &["", "[%s]", "%x"]),
    ("cache", 5, &["yes", "no", "x"]),
    ("cache_expiry", 5, &["1", "-1", "x"]),
    ("cache_size", 5, &["1", "-1", "x"]),
    ("debuglevel", 3, &["0", "x"]),
    ("start_tls", 5, &["no", "maybe"]),
    ("tls_require_cert", 5, &["yes", "no", "maybe"]),
    ("sasl_mechs", 5, &["", "PLAIN"]),
    ("sasl_minssf", 5, &["0", "1", "x"]),
];

pub(super) const MEMCACHE: &[Setting<'static>] = &[
    (
        "memcache",
        30,
        &[
            "",
            "inet:127.0.0.1:PORT",
            "inet:[127.0.0.1]:PORT",
            "inet:127.0.0.1:1",
            "unix:/nowhere",
            "unix:",
            "junk",
            "tcp:a:b",
            "127.0.0.1:PORT",
            "inet:127.0.0.1:x",
        ],
    ),
    (
        "backup",
        40,
        &[
            "",
            "inline:{a=behind}",
            "static:x",
            "hash:/nowhere",
            "foo:bar",
            "junk",
            "inline:{ {long = 0123456789} }",
            "fail:x",
            "unionmap:{static:a, static:b}",
            "static:",
        ],
    ),
    ("key_format", 40, &["", "%s", "%u", "%d", "p:%s", "%S:%U:%D", "%1", "%x", "%", "fixed", "a b", "%%"]),
    ("flags", 15, &["0", "1", "-1", "x", "", "4294967296"]),
    ("ttl", 15, &["0", "1", "-1", "x", "3600", ""]),
    ("timeout", 10, &["2", "0", "x", "1s"]),
    ("max_try", 15, &["1", "2", "0", "x", ""]),
    ("retry_pause", 15, &["1", "0", "x"]),
    ("line_size_limit", 15, &["1024", "0", "x"]),
    ("data_size_limit", 15, &["1", "9", "10240", "0", "x"]),
];

/// What stands between the parameters now and then: none of it is one.
const BESIDE: &[&str] = &["# a comment\n", "\n", "   \n", " # beside\n"];

/// Where a server is, with the words for it in values.
pub(super) type Words = [(&'static str, String)];

/// A table of these settings, which come after those that it needs to work. With `doubles` a parameter may be there twice.
pub(super) fn random_settings(
    dice: &mut Dice,
    needed: &str,
    own: &[&[Setting<'_>]],
    words: &Words,
    doubles: bool,
) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = Vec::new();
    for line in needed.lines() {
        let (name, value) = line.split_once(" = ").unwrap_or((line, ""));
        settings.push((name.to_owned(), value.to_owned()));
    }
    // Few mistakes at once: only the first is told.
    let odds = *dice.one_of(&[100, 60, 25]);
    for (name, chance, values) in own.iter().copied().flatten() {
        if !dice.percent(chance * odds / 100) {
            continue;
        }
        let value = (*dice.one_of(values)).to_owned();
        let value = words.iter().fold(value, |text, (word, meaning)| text.replace(word, meaning));
        if !doubles || dice.percent(90) {
            settings.retain(|(known, _)| known != name);
        }
        settings.push(((*name).to_owned(), value));
    }
    settings
}

pub(super) fn as_file(dice: &mut Dice, settings: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in settings {
        if dice.percent(10) {
            text += *dice.one_of(BESIDE);
        }
        let equals = *dice.one_of(&[" = ", "=", " =\t", " = \n  "]);
        writeln!(text, "{name}{equals}{value}").expect("a text");
    }
    if dice.percent(2) {
        text += *dice.one_of(&["junk\n", "= x\n", "  \n", "a b = c\n", "junk"]);
    }
    text
}

/// Keys that have an answer, and others.
fn random_keys(dice: &mut Dice) -> Vec<u8> {
    let known = [
        "a",
        "joe",
        "ann",
        "grp",
        "many",
        "loop",
        "joe@example.com",
        "long",
        "urls",
        "x@a.b.example.org",
        "null",
        "",
    ];
    let mut keys = Vec::new();
    for _ in 0..4 {
        let known = dice.percent(70).then(|| dice.one_of(&known).as_bytes().to_vec());
        keys.extend(known.unwrap_or_else(|| random_bytes(dice)));
        keys.push(b'\n');
    }
    keys
}

/// What is the same for all tables of an engine.
pub(super) struct Engine<'a> {
    pub(super) kind: &'a str,
    pub(super) needed: String,
    pub(super) own: &'a [&'a [Setting<'a>]],
    pub(super) words: Vec<(&'static str, String)>,
    /// Puts back what look-ups change; then one table is asked after another.
    pub(super) refresh: Option<&'a (dyn Fn() + Sync)>,
}

impl Engine<'_> {
    /// Random tables and keys, with Postfix and with the suite under test; tells where they differ.
    pub(super) fn compare(&self, instance: &Instance, postfix: &Instance) -> Vec<String> {
        let mut dice = Dice::new(number("POSTERN_SEED").unwrap_or(7));
        let main_cf = |at: &Instance| fs::read_to_string(at.home().join("etc/main.cf")).expect("it has one");
        let before = [instance, postfix].map(main_cf);
        let mut failures = Vec::new();
        let count = number("POSTERN_SETTINGS").unwrap_or(AT_ONCE);
        for round in 0..count.div_ceil(AT_ONCE) {
            let numbers = round * AT_ONCE..count.min((round + 1) * AT_ONCE);
            let tables: Vec<_> = numbers.map(|number| self.table(&mut dice, instance, number)).collect();
            let added: String = tables.iter().map(|table| table.main_cf.as_str()).collect();
            for (at, text) in [instance, postfix].into_iter().zip(&before) {
                at.edit_main_cf(|_| format!("{text}{added}"));
            }
            let compare = |table: &Table| table.difference(instance, postfix, self.refresh);
            if self.refresh.is_some() {
                failures.extend(tables.iter().filter_map(compare));
                continue;
            }
            thread::scope(|scope| {
                let asked: Vec<_> = tables.iter().map(|table| scope.spawn(move || compare(table))).collect();
                failures.extend(asked.into_iter().filter_map(|table| table.join().expect("no panic")));
            });
        }
        failures
    }

    fn table(&self, dice: &mut Dice, instance: &Instance, number: u64) -> Table {
        let in_main_cf = dice.percent(30);
        let settings = random_settings(dice, &self.needed, self.own, &self.words, !in_main_cf);
        let keys = random_keys(dice);
        if in_main_cf {
            let prefix = format!("t{number}");
            let main_cf =
                settings.iter().map(|(name, value)| format!("{prefix}_{name} = {value}\n")).collect();
            return Table { name: format!("{}:{prefix}", self.kind), main_cf, keys };
        }
        let file = instance.home().join(format!("{}{number}.cf", self.kind));
        write_aged(&file, as_file(dice, &settings));
        Table { name: format!("{}:{}", self.kind, file.display()), main_cf: String::new(), keys }
    }
}

struct Table {
    name: String,
    main_cf: String,
    keys: Vec<u8>,
}

impl Table {
    fn difference(
        &self,
        instance: &Instance,
        postfix: &Instance,
        refresh: Option<&(dyn Fn() + Sync)>,
    ) -> Option<String> {
        let ask = |at: &Instance| {
            if let Some(refresh) = refresh {
                refresh();
            }
            let outcome = at.run_with_input("postmap", &["-q", "-", &self.name], &self.keys);
            // Each attempt of an outage is told otherwise (docs/differences.md).
            let err = without_reasons(&outcome.err());
            let mut err: Vec<&str> =
                err.lines().filter(|line| !is_about_files(line)).map(without_words).collect();
            err.dedup();
            (outcome.status, outcome.out(), err.join("\n"))
        };
        let (expected, seen) = (ask(postfix), ask(instance));
        let file = self.name.split_once(':').map(|(_, name)| fs::read_to_string(name).unwrap_or_default());
        let keys = String::from_utf8_lossy(&self.keys);
        let text = format!("{}{}", self.main_cf, file.unwrap_or_default());
        // An empty filter of ldap's is the end of Postfix's postmap, by a signal.
        (expected.0.is_some() && seen != expected)
            .then(|| format!("{text}{keys:?}\n  Postfix: {expected:?}\n  here:    {seen:?}\n"))
    }
}

/// What is told before Postfix's line of certificates, keys and logins that are not of use (docs/differences.md).
fn is_about_files(line: &str) -> bool {
    ["warning: cannot ", "warning: TLS library problem: ", "warning: SASL authentication failure: "]
        .iter()
        .any(|start| line.contains(start))
}

/// A line without the words of the TLS library, which are another one's (docs/differences.md).
fn without_words(line: &str) -> &str {
    line.split_once("TLS/SSL error: ").map_or(line, |(start, _)| start)
}

/// Compares tables of this type, where that can be done.
pub(super) fn run(kind: &str, compare: impl FnOnce(&Instance, &Instance) -> Vec<String>) {
    require!(can_compare(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    let instance = Plan::new(&format!("{kind}-settings")).prepare();
    require!(has_type(&instance, kind), "no such tables in this build");
    let postfix = Plan::for_suite(&format!("{kind}-oracle"), Suite::Postfix).prepare();
    require!(has_type(&postfix, kind), "Postfix of this version is here without its tables of servers");
    fs::write(instance.home().join("domains"), "example.com\n# no\nstatic:x\n").expect("a folder of ours");
    fs::write(instance.home().join("options"), "[client]\nuser=open\n").expect("a folder of ours");
    let failures = compare(&instance, &postfix);
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

fn words(instance: &Instance, port: u16, place: (&'static str, String)) -> Vec<(&'static str, String)> {
    vec![("PORT", port.to_string()), place, ("HOME", instance.home().display().to_string())]
}

#[test]
fn of_mysql() {
    run("mysql", |instance, postfix| {
        let server = MariaDb::start(mysql::SQL).expect("MariaDB");
        let words = words(instance, server.port(), ("SOCKET", server.socket().display().to_string()));
        let needed = mysql::login(&server) + "query = SELECT v, w FROM t WHERE k = '%s'\n";
        Engine { kind: "mysql", needed, own: &[COMMON, SQL, MYSQL], words, refresh: None }
            .compare(instance, postfix)
    });
}

#[test]
fn of_pgsql() {
    run("pgsql", |instance, postfix| {
        let server = PostgreSql::start(pgsql::SQL, pgsql::LOGINS).expect("PostgreSQL");
        let words = words(instance, server.port(), ("FOLDER", server.folder().display().to_string()));
        let needed = pgsql::login(&server) + "query = SELECT v, w FROM t WHERE k = '%s'\n";
        Engine { kind: "pgsql", needed, own: &[COMMON, SQL, PGSQL], words, refresh: None }
            .compare(instance, postfix)
    });
}

#[test]
fn of_ldap() {
    run("ldap", |instance, postfix| {
        let server = Slapd::start(ldap::ENTRIES, "").expect("slapd");
        let socket = server.socket().display().to_string().replace('/', "%2F");
        let words = words(instance, server.port(), ("SOCKET", socket));
        let needed = ldap::login(&server);
        Engine { kind: "ldap", needed, own: &[COMMON, LDAP], words, refresh: None }.compare(instance, postfix)
    });
}

#[test]
fn of_memcache() {
    run("memcache", |instance, postfix| {
        let server = Memcached::start().expect("memcached");
        let refresh = || {
            assert_eq!(server.command("flush_all\r\n"), "OK");
            for (key, value) in
                [("a", "1"), ("p:joe", "2"), ("joe@example.com", "x y"), ("long", "0123456789")]
            {
                let command = format!("set {key} 0 0 {}\r\n{value}\r\n", value.len());
                assert_eq!(server.command(&command), "STORED");
            }
        };
        let words = words(instance, server.port(), ("SOCKET", "/nowhere".to_owned()));
        let needed = format!("memcache = inet:127.0.0.1:{}\n", server.port());
        Engine { kind: "memcache", needed, own: &[COMMON, MEMCACHE], words, refresh: Some(&refresh) }
            .compare(instance, postfix)
    });
}
