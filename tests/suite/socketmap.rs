//! Servers of socketmap tables, well-behaved and hostile: what `postmap -q` makes of each reply.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use conformance::{Plan, Suite, free_port, require, version_at_least};

/// A key, what the server sends for it before it closes the connection, the answer, and what is complained of.
const CASES: &[(&str, &[u8], &str, &str)] = &[
    ("plain", b"9:OK a b, c,", "a b, c\n", ""),
    ("zeros", b"0004:OK x,", "x\n", ""),
    ("none", b"9:NOTFOUND ,", "", ""),
    ("short", b"8:NOTFOUND,", "", ""),
    ("temp", b"11:TEMP reason,", "", "socketmap server temporary error: reason"),
    ("timeout", b"14:TIMEOUT reason,", "", "socketmap server timeout error: reason"),
    ("perm", b"11:PERM reason,", "", "socketmap server permanent error: reason"),
    ("length", b"10:WHAT reason,", "", "lookup error: input format error"),
    ("other", b"11:WHAT reason,", "", "socketmap server unknown error"),
    ("empty", b"0:,", "", "socketmap server unknown error"),
    ("letters", b"abc:OK x,", "", "lookup error: input format error"),
    ("no-comma", b"4:OK x;", "", "lookup error: input format error"),
    ("huge", b"100001:OK x", "", "lookup error: input exceeds size limit"),
    ("overflow", b"99999999999999999999999999:OK x,", "", "lookup error: input exceeds size limit"),
    ("closed", b"", "", "lookup error: unexpected disconnect"),
    ("half", b"40:OK x", "", "lookup error: unexpected disconnect"),
    ("reason", b"6:TEMP x,", "", "socketmap server temporary error: x"),
];

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while byte != *b"," {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let key = text.trim_end_matches(',').rsplit(' ').next()?;
    let (_, reply, _, _) = CASES.iter().find(|(known, ..)| *known == key)?;
    stream.write_all(reply).ok()
}

#[test]
fn replies() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let table = format!("socketmap:inet:{}:name", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    let instance = Plan::new("socketmap").prepare();
    let failures: Vec<String> = thread::scope(|scope| {
        let (instance, table) = (&instance, &table);
        let check = move |(key, _, out, err): &(&str, &[u8], &str, &str)| {
            let outcome = instance.run("postmap", &["-q", key, table]);
            let complains =
                if err.is_empty() { outcome.err().is_empty() } else { outcome.err().contains(err) };
            let good =
                outcome.out() == *out && outcome.status == Some(i32::from(out.is_empty())) && complains;
            (!good).then(|| format!("{key}: {:?} {} {}", outcome.status, outcome.out(), outcome.err()))
        };
        let started: Vec<_> = CASES.iter().map(|case| scope.spawn(move || check(case))).collect();
        started.into_iter().filter_map(|case| case.join().expect("a case does not panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// `socketmap_max_reply_size` of 3.10; `socketmap_max_query_size` of 3.12, which Postern obeys where it is set.
#[test]
fn the_greatest_reply_and_key_are_parameters() {
    // Beside an older Postfix they count for nothing.
    let is_alone = Suite::under_test() == Suite::Postern;
    require!(is_alone || version_at_least(3, 10), "the parameters are of 3.10 and 3.12");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let table = format!("socketmap:inet:{}:name", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    let mut plan = Plan::new("socketmap-limits");
    plan.without_version();
    let instance = plan.set("socketmap_max_reply_size", "8").set("socketmap_max_query_size", "9").prepare();
    let found = instance.run("postmap", &["-q", "zeros", &table]);
    assert_eq!((found.out(), found.err()), ("x\n".into(), String::new()));
    let found = instance.run("postmap", &["-q", "plain", &table]);
    assert!(found.err().contains("lookup error: input exceeds size limit"), "{}", found.err());
    if is_alone {
        let found = instance.run("postmap", &["-q", "much-too-long", &table]);
        let expected = format!(
            "postmap: warning: table {table} query too large: 'much-too-long', returning 'not found'\n"
        );
        assert_eq!((found.err(), found.status), (expected, Some(1)));
    }
}

/// Servers that are not there.
#[test]
fn no_server() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("socketmap-none").prepare();
    let nobody = format!("127.0.0.1:{}", free_port());
    for (transport, server, found, reason) in [
        ("inet", nobody.as_str(), "", "Connection refused"),
        ("unix", "/nowhere/socket", "", "No such file or directory"),
        (
            "inet",
            "127.0.0.1:nosuchservice",
            "postmap: warning: host or service 127.0.0.1:nosuchservice not found: Servname not supported for ai_socktype\n",
            "Cannot assign requested address",
        ),
    ] {
        let table = format!("socketmap:{transport}:{server}:map");
        let outcome = instance.run("postmap", &["-q", "key", &table]);
        let expected = format!(
            "{found}postmap: warning: connect to {server}: {reason}\n\
             postmap: warning: table {table} lookup error: {reason}\n\
             postmap: fatal: table {table}: query error: {reason}\n"
        );
        assert_eq!(outcome.err(), expected);
        assert_eq!(outcome.status, Some(1));
    }
}
