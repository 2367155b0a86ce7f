//! Servers of tcp tables: what `postmap -q` makes of each reply that ends the matter.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use conformance::{Plan, Suite, free_port, require};

/// A key, the request for it, what the server sends, the answer, and what is complained of.
const CASES: &[(&str, &str, &[u8], &str, &str)] = &[
    ("plain", "get plain\n", b"200 va%201%c3%A9\n", "va 1\u{e9}\n", ""),
    ("k %\u{e9}", "get k%20%25%C3%A9\n", b"200 encoded\n", "encoded\n", ""),
    ("tab", "get tab\n", b"200\tx\n", "x\n", ""),
    ("nul", "get nul\n", b"200 a%00b\n", "a\n", ""),
    ("bare-nul", "get bare-nul\n", b"200 a\0b\n", "a\n", ""),
    ("none", "get none\n", b"500 not here\n", "", ""),
    ("later", "get later\n", b"400 later\n", "", "query error"),
    ("bare", "get bare\n", b"200\n", "", "malformed reply: 200"),
    ("code", "get code\n", b"700 x\n", "", "bad status code: 700 x"),
    ("letters", "get letters\n", b"abc x\n", "", "malformed reply: abc x"),
    ("percent", "get percent\n", b"200 %zz\n", "", "malformed reply: 200 %zz"),
];

fn answer(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    let mut request = String::new();
    while reader.read_line(&mut request).ok()? > 0 {
        let (_, _, reply, ..) = CASES.iter().find(|(_, known, ..)| *known == request)?;
        stream.write_all(reply).ok()?;
        request.clear();
    }
    Some(())
}

#[test]
fn replies() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let table = format!("tcp:{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    let instance = Plan::new("tcp-tables").prepare();
    let failures: Vec<String> = thread::scope(|scope| {
        let (instance, table) = (&instance, &table);
        let started: Vec<_> = CASES
            .iter()
            .map(|(key, _, _, out, err)| {
                scope.spawn(move || {
                    let outcome = instance.run("postmap", &["-q", key, table]);
                    let said = outcome.err();
                    let complains = if err.is_empty() { said.is_empty() } else { said.contains(err) };
                    let good = outcome.out() == *out && outcome.status == Some(i32::from(out.is_empty()));
                    (!good || !complains)
                        .then(|| format!("{key}: {:?} {} {said}", outcome.status, outcome.out()))
                })
            })
            .collect();
        started.into_iter().filter_map(|case| case.join().expect("a case does not panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A server that is not there, and a name that nobody knows; each is tried ten times.
#[test]
fn no_server() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("tcp-tables-none").prepare();
    let nobody = free_port();
    let refused = format!("postmap: warning: connect to TCP map 127.0.0.1:{nobody}: Connection refused\n");
    let unknown = "postmap: warning: host or service 127.0.0.1:nosuchservice not found: Servname not supported for \
                   ai_socktype\npostmap: warning: connect to TCP map 127.0.0.1:nosuchservice: Cannot assign requested \
                   address\n";
    for (server, tries, reason) in [
        (format!("127.0.0.1:{nobody}"), refused.repeat(10), "Connection refused"),
        ("127.0.0.1:nosuchservice".to_owned(), unknown.repeat(10), "Cannot assign requested address"),
    ] {
        let outcome = instance.run("postmap", &["-q", "key", &format!("tcp:{server}")]);
        let end = format!("postmap: fatal: table tcp:{server}: query error: {reason}\n");
        assert_eq!(outcome.err(), tries + &end);
        assert_eq!(outcome.status, Some(1));
    }
}
