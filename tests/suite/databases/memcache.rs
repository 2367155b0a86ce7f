//! `memcache` tables, with a memcached.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use conformance::{Memcached, Plan, Suite, require};

use super::{Case, check, differences, has_type};

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
