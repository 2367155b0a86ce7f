//! `memcache` tables, with a memcached.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process;
use std::thread;

use conformance::{Memcached, Plan, Service, Suite, require};

use super::{Case, check, differences, has_type, rcpt};

const BACKUP: &str = "backup = inline:{ {k1 = v1} {long = 0123456789} {j = 2} }\n";

#[test]
fn keys_values_and_complaints() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("memcache").prepare();
    require!(has_type(&instance, "memcache"), "no memcache tables in this build");
    let server = Memcached::start().expect("memcached");
    for (key, value) in [("a", "1"), ("j@d", "x y"), ("p:j@d:j:d", "2"), ("grün", "ü"), ("big", "0123456789")]
    {
        let stored = server.command(&format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()));
        assert_eq!(stored, "STORED", "{key}");
    }
    let small = format!("{BACKUP}data_size_limit = 9\n");
    let user_only = format!("{BACKUP}key_format = %d\n");
    let away = format!("memcache = inet:127.0.0.1:1\n{BACKUP}");
    let bad_flags = format!("{BACKUP}flags = -1\n");
    let cases: &[Case<'_>] = &[
        ("", "a", "1\n", ""),
        ("", "A", "1\n", ""),
        ("", "b", "", ""),
        ("", "", "", ""),
        ("", "x y", "", ""),
        ("", "grün", "ü\n", ""),
        ("", "j@d", "x y\n", ""),
        ("key_format = p:%s:%u:%d\n", "j@d", "2\n", ""),
        ("key_format = %d\n", "j", "", ""),
        ("domain = e\n", "j@d", "", ""),
        ("domain = d\n", "j@d", "x y\n", ""),
        (BACKUP, "k1", "v1\n", ""),
        (BACKUP, "nothing", "", ""),
        (BACKUP, "a", "1\n", ""),
        // What is not asked for is not looked up behind it.
        (&user_only, "j", "", ""),
        (
            &small,
            "long",
            "0123456789\n",
            "warning: database TABLE: data for key long is too long (data_size_limit=9) -- not stored\n",
        ),
        (&bad_flags, "j", "2\n", "warning: database TABLE: update failed: CLIENT_ERROR bad command line \n"),
        (
            "data_size_limit = 9\n",
            "big",
            "",
            "warning: FILE: unexpected memcache server reply: VALUE big 0 10\n",
        ),
        ("line_size_limit = 5\n", "big", "", "warning: database TABLE: I/O error"),
        (
            "memcache = inet:127.0.0.1:1\n",
            "a",
            "",
            "warning: connect to 127.0.0.1:1: Connection refused\npostmap: fatal: table TABLE: query error: Connection refused\n",
        ),
        (&away, "k1", "v1\n", "warning: connect to 127.0.0.1:1: Connection refused\n"),
        ("memcache = unix:/nowhere\n", "a", "", "warning: connect to /nowhere: No such file or directory\n"),
        ("memcache = junk\n", "a", "", "fatal: need service transport:endpoint instead of \"junk\"\n"),
        ("memcache = foo:bar\n", "a", "", "fatal: invalid transport name: foo in service: foo:bar\n"),
        ("memcache = inet:\n", "a", "", "fatal: need service transport:endpoint instead of \"inet:\"\n"),
        ("key_format = %x\n", "a", "", "fatal: db_common_parse: FILE: Invalid query template: %x\n"),
        ("max_try = 0\n", "a", "", "fatal: FILE: invalid max_try parameter value 0 < 1\n"),
        ("retry_pause = 0\n", "a", "", "fatal: FILE: invalid retry_pause parameter value 0 < 1\n"),
        ("line_size_limit = 0\n", "a", "", "fatal: FILE: invalid line_size_limit parameter value 0 < 1\n"),
        ("data_size_limit = 0\n", "a", "", "fatal: FILE: invalid data_size_limit parameter value 0 < 1\n"),
        ("ttl = x\n", "a", "", "fatal: FILE: bad numerical configuration: ttl = x\n"),
        ("timeout = 1h\n", "a", "", "fatal: FILE: bad numerical configuration: timeout = 1h\n"),
        ("backup = foo:bar\n", "a", "", "fatal: unsupported dictionary type: foo\n"),
        ("ttl = -1\nflags = 7\nfoo = bar\n", "a", "1\n", ""),
    ];
    let login = format!("memcache = inet:127.0.0.1:{}\n", server.port());
    let failures = differences(&instance, "memcache", &login, cases);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // What was found behind it is known from then on.
    assert_eq!(server.command("get k1\r\n"), "VALUE k1 0 2");
    assert_eq!(server.command("get nothing\r\n"), "END");
    assert_eq!(server.command("get long\r\n"), "END");
}

/// Servers that answer what they should not.
#[test]
fn strange_answers() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("memcache-strange").prepare();
    require!(has_type(&instance, "memcache"), "no memcache tables in this build");
    let answers: &[(&[u8], &str, &str)] = &[
        (b"", "", "warning: database TABLE: I/O error"),
        (b"SERVER_ERROR out of memory storing object\r\n", "", "reply: SERVER_ERROR out of memory sto\n"),
        (b"VALUE b 9 3 77\r\nabc\r\nfoo\r\n", "abc\n", ""),
        (b"VALUE a 0 3\r\na\0c\r\nEND\r\n", "a\n", ""),
        (b"VALUE a 0 x\r\n", "", "warning: FILE: unexpected memcache server reply: VALUE a 0 x\n"),
        (b"VALUE a 0 -1\r\n", "", "warning: FILE: unexpected memcache server reply: VALUE a 0 -1\n"),
        (b"VALUE a 0 3\r\nabcd\r\nEND\r\n", "", "warning: FILE: EOF receiving memcache server reply\n"),
        (b"END\n", "", ""),
        (b"end\r\n", "", "warning: FILE: unexpected memcache server reply: end\n"),
    ];
    thread::scope(|scope| {
        let started: Vec<_> = answers
            .iter()
            .enumerate()
            .map(|(number, (answer, out, err))| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
                let port = listener.local_addr().expect("an address").port();
                thread::spawn(move || {
                    for mut client in listener.incoming().flatten() {
                        let _ = client.read(&mut [0; 100]);
                        let _ = client.write_all(answer);
                    }
                });
                let instance = &instance;
                scope.spawn(move || {
                    let settings = format!("memcache = inet:127.0.0.1:{port}\n");
                    check(instance, "memcache", &settings, number, &("", "a", out, err))
                })
            })
            .collect();
        let failures: Vec<_> =
            started.into_iter().filter_map(|case| case.join().expect("no panic")).collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

/// Entries that are deleted, on the server and in the table behind it, whose outcome counts.
#[test]
fn deletions() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("memcache-delete").prepare();
    require!(has_type(&instance, "memcache"), "no memcache tables in this build");
    let server = Memcached::start().expect("memcached");
    let home = instance.home().display().to_string();
    let run = |arguments: &[&str], input: &str| {
        let outcome = instance.run_with_input("postmap", arguments, input.as_bytes());
        (outcome.status, outcome.out(), outcome.err())
    };
    fs::write(format!("{home}/behind"), "k1 v1\nk2 v2\nx y z\n").expect("a file of our own");
    assert_eq!(run(&[&format!("hash:{home}/behind")], "").0, Some(0));
    let table = |name: &str, settings: &str| {
        let login = format!("memcache = inet:127.0.0.1:{}\n", server.port());
        let text = super::with_server(&login, &format!("{settings}\n"));
        fs::write(format!("{home}/{name}.cf"), text).expect("a file of our own");
        format!("memcache:{home}/{name}.cf")
    };
    let plain = table("plain", "");
    let formed = table("formed", "key_format = p:%s");
    let domain = table("domain", "domain = d");
    let backed = table("backed", &format!("backup = hash:{home}/behind"));
    let read_only = table("read_only", "backup = inline:{k1=v1}");
    let missing = table("missing", &format!("backup = btree:{home}/nothing"));
    let away = table("away", "memcache = inet:127.0.0.1:1");
    let away_backed =
        table("away_backed", &format!("memcache = inet:127.0.0.1:1\nbackup = hash:{home}/behind"));
    let refused = "postmap: warning: connect to 127.0.0.1:1: Connection refused\n";
    let failed = format!("{refused}postmap: fatal: table {away}: delete error: Connection refused\n");
    let unreadable = format!("postmap: fatal: open database {home}/nothing.db: No such file or directory\n");
    let constant = "postmap: fatal: inline:{k1=v1} map requires O_RDONLY access mode\n".to_owned();
    for key in ["a", "b", "p:b", "k1"] {
        assert_eq!(server.command(&format!("set {key} 0 0 1\r\n1\r\n")), "STORED");
    }
    let cases = [
        (&plain, "a", "", 0, String::new()),
        (&plain, "a", "", 1, String::new()),
        (&plain, "x y", "", 1, String::new()),
        (&plain, "", "", 1, String::new()),
        (&formed, "b", "", 0, String::new()),
        (&formed, "b", "", 1, String::new()),
        (&domain, "b", "", 1, String::new()),
        (&read_only, "k1", "", 1, constant),
        (&missing, "k1", "", 1, unreadable),
        (&away, "b", "", 1, failed),
        (&away_backed, "nothing", "", 1, refused.to_owned()),
        // It was on the server alone.
        (&backed, "b", "", 1, String::new()),
        (&backed, "k1", "", 0, String::new()),
        (&backed, "k1", "", 1, String::new()),
        (&backed, "-", "zz\nk2\n", 0, String::new()),
    ];
    for (table, key, input, status, err) in cases {
        assert_eq!(run(&["-d", key, table], input), (Some(status), String::new(), err), "{table} {key}");
    }
    for key in ["a", "b", "p:b", "k1"] {
        assert_eq!(server.command(&format!("get {key}\r\n")), "END", "{key}");
    }
    assert_eq!(run(&["-s", &backed], ""), (Some(0), "x\ty z\n".to_owned(), String::new()));
}

/// What verify finds out is kept on a server, and by proxymap in a table behind it: one that begins anew has it from there.
#[test]
fn a_cache_of_verify() {
    require!(nix::unistd::Uid::effective().is_root(), "proxymap's file belongs to the mail owner");
    let server = Memcached::start().expect("memcached");
    let mut plan = Plan::new("memcache-verify");
    let file = env::temp_dir().join(format!("postern-memcache-verify-{}.cf", process::id()));
    plan.set("address_verify_map", &format!("memcache:{}", file.display()))
        .set("proxy_write_maps", "proxy:btree:$data_directory/behind")
        .service(Service::new("proxywrite unix - - n - 1 proxymap"))
        .service(Service::new("verify unix - - n - 1 verify"))
        .set("address_verify_poll_count", "1")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit");
    let instance = plan.prepare();
    require!(has_type(&instance, "memcache"), "no memcache tables in this build");
    let data = instance.home().join("data").display().to_string();
    let text = format!(
        "memcache = inet:127.0.0.1:{}\nkey_format = verify:%s\nbackup = proxy:btree:{data}/behind\n",
        server.port()
    );
    fs::write(&file, text).expect("a file of our own");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    assert!(rcpt(&instance, "one@example.com").starts_with("450 4.1.1"));
    let get = || server.command("get verify:one@example.com\r\n");
    instance.wait_for("the entry", || get().starts_with("VALUE verify:one@example.com 0 ").then_some(()));
    assert_eq!(server.command("delete verify:one@example.com\r\n"), "DELETED");
    instance.wait_for("a probe", || (instance.queue("incoming").len() == 1).then_some(()));
    // It is found behind, stored again, and nobody is probed.
    assert!(rcpt(&instance, "one@example.com").starts_with("450 4.1.1"));
    instance.wait_for("the entry", || get().starts_with("VALUE verify:one@example.com 0 ").then_some(()));
    assert_eq!(instance.queue("incoming").len(), 1);
    instance.stop();
    drop(fs::remove_file(file));
}
