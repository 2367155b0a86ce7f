//! `ldap` tables, with a slapd.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::thread;

use conformance::{Dice, Plan, Slapd, Suite, require};

use super::{Case, can_compare, compare, differences, has_type, random_result, rcpt};

/// People, groups of names (`grp`, `g1` ...) and of URLs (`u1` ...), a loop.
pub(super) const ENTRIES: &str = include_str!("entries.ldif");

const GROUPS: &str = "special_result_attribute = memberdn memberurl\n";

const CASES: &[Case<'static>] = &[
    ("", "joe", "joe1@a,joe2@b\n", ""),
    ("", "JOE", "joe1@a,joe2@b\n", ""),
    ("", "nobody", "", ""),
    ("", "many", "m1,m2,m3\n", ""),
    ("", "grün@example.com", "grün@example.com\n", ""),
    ("", "a,b (c)*\\", "m3\n", ""),
    ("", "*", "", ""),
    ("", "joe)(uid=*", "", ""),
    ("", "x)(|(uid=*)", "", ""),
    ("", "", "", "warning: table \"TABLE\": empty query string -- ignored"),
    ("query_filter = uid=%u\n", "joe@example.com", "joe1@a,joe2@b\n", ""),
    ("query_filter = (&(mail=%s)(uid=j*e))\n", "joe@example.com", "joe1@a,joe2@b\n", ""),
    ("query_filter = (|(uid=%2)(!(objectclass=*)))\n", "a@joe.com", "joe1@a,joe2@b\n", ""),
    ("query_filter = uid=%3\n", "a@joe.com", "", ""),
    ("query_filter = (uid:caseIgnoreMatch:=%s)\n", "JOE", "joe1@a,joe2@b\n", ""),
    (
        "query_filter = (uid=%s\n",
        "joe",
        "",
        "warning: dict_ldap_lookup: Search error -7: Bad search filter \n",
    ),
    ("query_filter = %s\n", "joe", "", "warning: dict_ldap_lookup: Search error -7: Bad search filter \n"),
    ("query_filter = %x\n", "joe", "", "fatal: db_common_parse: FILE: Invalid query template: %x"),
    (
        "query_filter = uid=joe\n",
        "x",
        "joe1@a,joe2@b\n",
        "warning: dict_ldap_open: FILE: Fixed query_filter uid=joe is probably useless",
    ),
    (
        "search_base = uid=%u,ou=people,dc=%2,dc=%1\nquery_filter = mail=%s\nscope = base\n",
        "joe@example.com",
        "joe1@a,joe2@b\n",
        "",
    ),
    ("search_base = uid=%s,dc=example,dc=com\n", "x,ou=people+a=\"b;c<d>#e\\", "", ""),
    ("search_base = uid=%u,ou=people,dc=example,dc=com\n", "nobody@x", "", ""),
    (
        "search_base = dc=nowhere\n",
        "joe",
        "",
        "warning: dict_ldap_lookup: FILE: Search base 'dc=nowhere' not found: 32: No such object",
    ),
    ("search_base = junk\n", "joe", "", "warning: dict_ldap_lookup: Search error 34: Invalid DN syntax \n"),
    ("search_base = dc=%x\n", "joe", "", "fatal: db_common_parse: FILE: Invalid query template: dc=%x"),
    ("scope = one\n", "joe", "", ""),
    (
        "scope = some\n",
        "joe",
        "joe1@a,joe2@b\n",
        "warning: dict_ldap_open: FILE: Unrecognized value some specified for scope; using sub",
    ),
    ("result_attribute = uid maildrop, MAIL\n", "joe", "joe,joe@example.com,joe1@a,joe2@b\n", ""),
    ("result_attribute =\n", "joe", "", ""),
    ("result_attribute = foo\n", "joe", "", ""),
    ("result_format = <%s|%u|%d|%S>\n", "joe", "<joe1@a|joe1|a|joe>,<joe2@b|joe2|b|joe>\n", ""),
    ("result_filter = <%s>\n", "joe", "<joe1@a>,<joe2@b>\n", ""),
    ("result_filter = <%s>\nresult_format = [%s]\n", "joe", "[joe1@a],[joe2@b]\n", ""),
    ("domain = example.com\nquery_filter = uid=%u\n", "joe@example.org", "", ""),
    ("domain = example.com\nquery_filter = uid=%u\n", "joe@example.com", "joe1@a,joe2@b\n", ""),
    (
        "expansion_limit = 2\n",
        "many",
        "",
        "warning: dict_ldap_get_values[1]: FILE: Expansion limit exceeded for key: 'many'",
    ),
    ("size_limit = 1\n", "many", "", "warning: dict_ldap_lookup: Search error 4: Size limit exceeded \n"),
    ("expansion_limit = 1\nsize_limit = 2\n", "ann", "ann@a\n", ""),
    (
        GROUPS,
        "grp",
        "joe1@a,joe2@b,ann@a,group@a\n",
        "warning: dict_ldap_get_values[1]: DN uid=none,ou=people,dc=example,dc=com not found, skipping \n",
    ),
    (
        GROUPS,
        "g3",
        "",
        "warning: dict_ldap_lookup: Had some trouble with entries returned by search: No such object\n",
    ),
    (
        "special_result_attribute = memberdn\nleaf_result_attribute = mail\nresult_attribute =\n",
        "grp",
        "joe@example.com,ann@example.com,shared@example.com\n",
        "not found, skipping \n",
    ),
    // Entries behind one that leads to others.
    (
        "query_filter = (mail=*@%2.%1)\nspecial_result_attribute = memberdn\nleaf_result_attribute = maildrop\n\
         result_attribute =\n",
        "x@example.com",
        "joe1@a,joe2@b,ann@a,joe1@a,joe2@b,ann@a\n",
        "not found, skipping \n",
    ),
    (
        "query_filter = (mail=*@%2.%1)\nspecial_result_attribute = memberdn\nterminal_result_attribute = uid\n",
        "x@example.com",
        "joe,ann,many2\n",
        "",
    ),
    (
        "special_result_attribute = memberdn\nterminal_result_attribute = mail\n",
        "grp",
        "shared@example.com\n",
        "",
    ),
    (
        "special_result_attribute = memberdn\nrecursion_limit = 7\n",
        "loop",
        "",
        "warning: dict_ldap_get_values[7]: FILE: Recursion limit exceeded for special attribute \
         memberdn=cn=loop,dc=example,dc=com\n",
    ),
    (GROUPS, "u3", "joe1@a,joe2@b,own\n", ""),
    (
        GROUPS,
        "u8",
        "",
        "warning: dict_ldap_get_values[1]: malformed URL ldap:///uid=joe,ou=people,dc=example,dc=com?maildrop?foo: \
         Strong(er) authentication required(8)\n",
    ),
    (GROUPS, "u6", "", "warning: dict_ldap_get_values[1]: search error 34: Invalid DN syntax \n"),
    (
        "bind_dn = cn=admin,dc=example,dc=com\nbind_pw = wrong\n",
        "joe",
        "",
        "with dn cn=admin,dc=example,dc=com: 49 (Invalid credentials)\n",
    ),
    ("bind_dn = cn=admin,dc=example,dc=com\nbind_pw = secret\n", "joe", "joe1@a,joe2@b\n", ""),
    ("bind = no\n", "joe", "joe1@a,joe2@b\n", ""),
    ("bind = maybe\n", "joe", "", "fatal: FILE: unsupported parameter value: bind = maybe"),
    ("version = 2\n", "joe", "joe1@a,joe2@b\n", ""),
    (
        "version = 4\n",
        "joe",
        "joe1@a,joe2@b\n",
        "warning: dict_ldap_open: FILE Unknown version 4, using 3.\n",
    ),
    ("version = 1\n", "joe", "", "fatal: FILE: invalid version parameter value 1 < 2"),
    ("dereference = 3\n", "joe", "joe1@a,joe2@b\n", ""),
    (
        "dereference = 4\n",
        "joe",
        "joe1@a,joe2@b\n",
        "warning: dict_ldap_open: FILE Unrecognized value 4 specified for dereference; using 0\n",
    ),
    ("cache = yes\n", "joe", "joe1@a,joe2@b\n", "warning: dict_ldap_open: FILE ignoring cache\n"),
    ("cache_size = 1\n", "joe", "joe1@a,joe2@b\n", "warning: dict_ldap_open: FILE ignoring cache_size\n"),
    ("recursion_limit = 0\n", "joe", "", "fatal: FILE: invalid recursion_limit parameter value 0 < 1"),
    ("timeout = 5s\n", "joe", "", "fatal: FILE: bad numerical configuration: timeout = 5s"),
    (
        "server_host = ldap://127.0.0.1:1\n",
        "joe",
        "",
        "warning: dict_ldap_connect: Unable to bind to server ldap://127.0.0.1:1 with dn empty or implicit: -1 \
         (Can't contact LDAP server)\n",
    ),
    (
        "server_host = ldap://127.0.0.1:1\nbind = no\n",
        "joe",
        "",
        "warning: dict_ldap_lookup: Search error -1: Can't contact LDAP server \n",
    ),
    // The server is reached even for a key that is not searched for.
    (
        "server_host = ldap://127.0.0.1:1\nquery_filter = uid=%d\n",
        "joe",
        "",
        "with dn empty or implicit: -1 (Can't contact LDAP server)\n",
    ),
    ("server_host = ldap://127.0.0.1:1\ndomain = example.com\n", "joe", "", ""),
    (
        "server_host = foo://bar, ldapi:///\n",
        "joe",
        "",
        "warning: dict_ldap_connect: Unable to init LDAP server ldap://foo://bar ldapi:///\n",
    ),
    (
        "server_host = ldap://127.0.0.1:x\n",
        "joe",
        "",
        "error: dict_ldap_open: error parsing URL ldap://127.0.0.1:x: 5: Compare False; skipping\n",
    ),
    ("server_host =\n", "joe", "", "fatal: FILE: bad string length 0 < 1: server_host = "),
    // Unknown parameters are nobody's business.
    ("foo = bar\n", "joe", "joe1@a,joe2@b\n", ""),
    // Which mistake is told first.
    (
        "query_filter = uid=x\nresult_format = %x\n",
        "joe",
        "",
        "warning: dict_ldap_open: FILE: Fixed query_filter uid=x is probably useless\n",
    ),
    (
        "search_base = %x\nresult_filter =\n",
        "joe",
        "",
        "fatal: FILE: bad string length 0 < 1: result_filter = ",
    ),
];

/// What a table needs to find the server.
pub(super) fn login(server: &Slapd) -> String {
    format!(
        "server_host = ldap://127.0.0.1:{}\nsearch_base = dc=example,dc=com\nversion = 3\n",
        server.port()
    )
}

#[test]
fn queries_results_and_complaints() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let mut plan = Plan::new("ldap");
    plan.main_cf(
        "old_search_base = dc=example,dc=com\nold_result_format = %s of $mydomain\nold_version = 3\n",
    );
    let instance = plan.prepare();
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    let server = Slapd::start(ENTRIES, "").expect("slapd");
    let mut failures = differences(&instance, "ldap", &login(&server), CASES);
    let (port, socket) = (server.port(), server.socket().display().to_string().replace('/', "%2F"));
    // Servers in all forms; of several the first that is there answers.
    let places = [
        format!("ldapi://{socket}"),
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1\nserver_port = {port}"),
        format!("ldap://127.0.0.1:1, 127.0.0.1:2 ldap://127.0.0.1:{port}/dc=x"),
    ];
    let places: Vec<String> = places.iter().map(|place| format!("server_host = {place}\n")).collect();
    let cases: Vec<Case<'_>> =
        places.iter().map(|place| (&place[..], "joe", "joe1@a,joe2@b\n", "")).collect();
    failures.extend(differences(&instance, "ldap", &login(&server), &cases));
    // Parameters in main.cf: theirs are expanded.
    instance.edit_main_cf(|text| format!("{text}old_server_host = 127.0.0.1:{port}\n"));
    let outcome = instance.run("postmap", &["-q", "ann", "ldap:old"]);
    if outcome.out() != "ann@a of example.com\n" {
        failures.push(format!("ldap:old: {outcome:?}"));
    }
    // A key that is no UTF-8 is nobody's, where nobody has complained of it before.
    instance.edit_main_cf(|text| format!("{text}smtputf8_enable = no\n"));
    let file = instance.home().join("bytes.cf");
    fs::write(&file, login(&server) + "query_filter = (|(uid=ann)(mail=%s))\n").expect("a file of our own");
    let table = format!("ldap:{}", file.display());
    let outcome = instance.run_with_input("postmap", &["-q", "-", &table], b"a\xffb\nplain\n");
    if (outcome.out().as_str(), outcome.err().as_str()) != ("plain\tann@a\n", "") {
        failures.push(format!("bytes: {outcome:?}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn random_table(dice: &mut Dice) -> String {
    let mut text = random_result(dice);
    let filter = dice.one_of(&[
        "(mailacceptinggeneralid=%s)",
        "(|(mail=%s)(uid=%u))",
        "mail=%s",
        "(&(objectclass=mailUser)(!(uid=%s)))",
        "(&(objectclass=*)(|(uid=*%u*)(mailacceptinggeneralid=%S)))",
        "(uid>=%u)",
        "(uid:caseIgnoreMatch:=%u)",
        "(&(ou:dn:=people)(uid=%s))",
        "(mail=%u@%d)",
        "(mail=*@%2.%1)",
        "cn=%s",
        "(mailacceptinggeneralid=u*)",
    ]);
    let base = dice.one_of(&[
        "dc=example,dc=com",
        "ou=people,dc=example,dc=com",
        "uid=%u,ou=people,dc=example,dc=com",
        "dc=%2,dc=%1",
    ]);
    let attributes =
        ["maildrop", "mail", "uid cn", "MAIL, maildrop", "maildrop;x mail", "", "blob", "objectclass"];
    let attributes = dice.one_of(&attributes);
    writeln!(text, "query_filter = {filter}\nsearch_base = {base}\nresult_attribute = {attributes}")
        .expect("a text");
    for (name, chance, values) in [
        ("special_result_attribute", 60, &["memberdn", "memberurl", "memberdn memberurl", "mail"][..]),
        ("leaf_result_attribute", 30, &["mail", "maildrop", "uid"]),
        ("terminal_result_attribute", 30, &["mail", "cn", "maildrop"]),
        ("scope", 30, &["one", "base", "SUB"]),
        ("recursion_limit", 60, &["1", "2", "3", "9"]),
        ("expansion_limit", 20, &["1", "3", "20"]),
        ("size_limit", 20, &["1", "3", "50"]),
        ("dereference", 20, &["1", "2", "3"]),
        ("bind", 20, &["no", "simple"]),
    ] {
        if dice.percent(chance) {
            writeln!(text, "{name} = {}", dice.one_of(values)).expect("a text");
        }
    }
    text
}

/// The same tables and keys through Postfix and through the suite under test: output, complaints, searches.
#[test]
fn random() {
    require!(can_compare(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    let instance = Plan::new("ldap-random").prepare();
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    let mut server = Slapd::start(ENTRIES, "").expect("slapd");
    let login = format!("server_host = ldap://127.0.0.1:{}\nversion = 3\n", server.port());
    compare(&instance, "ldap", &login, random_table, || server.searches());
}

/// A server that goes and comes, asked through proxymap: a temporary error meanwhile, and mail goes on when it is back.
#[test]
fn restarts() {
    let mut server = Slapd::start(ENTRIES, "").expect("slapd");
    let mut plan = Plan::new("ldap-restarts");
    let file = env::temp_dir().join(format!("postern-ldap-restarts-{}.cf", std::process::id()));
    let table = "query_filter = mail=%s\nresult_attribute = uid\nresult_format = REJECT no %s\n";
    fs::write(&file, login(&server) + table).expect("a file of our own");
    let table = format!("proxy:ldap:{}", file.display());
    plan.set("smtpd_recipient_restrictions", &format!("check_recipient_access {table}, permit"));
    plan.set("proxy_read_maps", &table);
    plan.master_cf("proxymap unix - - n - - proxymap\n");
    let instance = plan.start();
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    assert!(rcpt(&instance, "joe@example.com").contains("no joe"));
    server.stop();
    assert!(rcpt(&instance, "joe@example.com").starts_with("451 4.3.5"));
    assert!(rcpt(&instance, "joe@example.com").starts_with("451 4.3.5"));
    instance.wait_for_log("Can't contact LDAP server");
    server.run().expect("slapd");
    instance.wait_for("an answer after the restart", || {
        rcpt(&instance, "joe@example.com").contains("no joe").then_some(())
    });
    // A restart between two look-ups is not noticed.
    server.stop();
    server.run().expect("slapd");
    assert!(rcpt(&instance, "joe@example.com").contains("no joe"));
    drop(fs::remove_file(file));
}

/// Servers that accept and never answer, answer with something else, or break off: a temporary error, in bounded time.
#[test]
fn servers_that_are_none() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("ldap-none").prepare();
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    let answers: [(&[u8], &str); 3] = [
        (b"", "-1 (Can't contact LDAP server)"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "-1 (Can't contact LDAP server)"),
        (b"0\x0c\x02\x01\x01a\x07\x0a\x01\x33\x04\0\x04\0", "51 (Server is busy)"),
    ];
    for (answer, why) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = client.read(&mut [0; 100]);
                let _ = std::io::Write::write_all(&mut client, answer);
            }
        });
        let settings = format!("server_host = ldap://127.0.0.1:{port}\nversion = 3\n");
        let failures = differences(&instance, "ldap", &settings, &[("", "joe", "", why)]);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let settings = format!("server_host = ldap://127.0.0.1:{port}\ntimeout = 1\n");
    let failures = differences(&instance, "ldap", &settings, &[("", "joe", "", "-5 (Timed out)\n")]);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
