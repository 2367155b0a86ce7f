//! Clients that ask for a server name that is no name of a host: what becomes of the handshake, in each version of TLS,
//! with a second ClientHello, with a certificate of the client; and what the log says.

use std::path::Path;

use conformance::{Client, Instance, Plan, Service, free_port, require, run};

use super::Identities;

/// How a client shakes hands.
const WAYS: [&[&str]; 5] = [
    &["-tls1_2"],
    &["-tls1_3"],
    // The server wants another group: there is a second ClientHello.
    &["-tls1_3", "-groups", "P-256:X25519"],
    &["-tls1_2", "-cert", "CLIENT.pem"],
    &["-tls1_3", "-groups", "P-256:X25519", "-cert", "CLIENT.pem"],
];

/// What the log says of a name where there is a table: that it is not there, or that it is no name.
enum Says {
    Unknown,
    Bad,
}
use Says::{Bad, Unknown};

fn names() -> Vec<(String, Says)> {
    let own = |name: &str| name.to_owned();
    vec![
        (own("a.example"), Unknown),
        (own("A.Example"), Unknown),
        (own("under_score.example"), Unknown),
        (own("_"), Unknown),
        (own("[127.0.0.1]"), Bad),
        (own("127.0.0.1"), Bad),
        (own("::1"), Bad),
        (own("-mx.test"), Bad),
        (own("mx-.test"), Bad),
        (own("a..b"), Bad),
        (own(".a.b"), Bad),
        (own("mx.test."), Bad),
        (own("."), Bad),
        (own("a b"), Bad),
        (own("a@b"), Bad),
        (own("\u{e9}.example"), Bad),
        (own("a\u{7}b"), Bad),
        (own("1234"), Bad),
        (format!("{}.example", "l".repeat(63)), Unknown),
        (format!("{}.example", "l".repeat(64)), Bad),
        (["abcdefg"; 31].join("."), Unknown),
        (["abcdefg"; 32].join("."), Unknown),
    ]
}

fn plan() -> (Plan, u16) {
    let mut plan = Plan::new("tls-server-names");
    for (name, value) in [
        ("smtpd_tls_security_level", "may"),
        ("smtpd_tls_chain_files", "$config_directory/rsa.pem"),
        ("smtpd_tls_loglevel", "1"),
        ("smtpd_tls_ask_ccert", "yes"),
        ("tls_eecdh_auto_curves", "X25519"),
    ] {
        plan.set(name, value);
    }
    let with_table = free_port();
    plan.service(
        Service::new(format!("127.0.0.1:{with_table} inet n - n - - smtpd"))
            .option("tls_server_sni_maps", "inline:{{known.example=$config_directory/ecdsa.pem}}"),
    );
    plan.service(Service::new("tlsmgr unix - - n 1000? 1 tlsmgr"));
    (plan, with_table)
}

/// Shakes hands and leaves; whether there was a session, and what the log says.
fn session(instance: &Instance, port: u16, name: &str, way: &[&str]) -> (bool, Vec<String>) {
    let client = instance.home().join("etc/trusted.pem").display().to_string();
    let address = format!("127.0.0.1:{port}");
    let mut arguments =
        vec!["s_client", "-quiet", "-starttls", "smtp", "-connect", &address, "-servername", name];
    arguments.extend(way.iter().map(|word| if *word == "CLIENT.pem" { &client[..] } else { word }));
    let seen = instance.log().len();
    let outcome = run(Path::new("/usr/bin/openssl"), &arguments, &[], b"QUIT\r\n");
    instance.wait_for(name, || {
        let log = instance.log();
        log.get(seen..)?.iter().any(|line| line.text.starts_with("disconnect from")).then_some(())
    });
    let log = instance.log();
    let of_names = |text: &&str| text.contains("SNI") || text.contains("valid_hostname");
    let lines = log[seen..].iter().map(|line| line.text.as_str()).filter(of_names).map(str::to_owned);
    (outcome.out().contains("221 2.0.0 Bye"), lines.collect())
}

/// A ClientHello of TLS 1.2 with this extension of server names.
fn hello(names: &[u8]) -> Vec<u8> {
    let with_length = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("short");
        [&length.to_be_bytes(), bytes].concat()
    };
    let mut extensions = [&[0, 0][..], &with_length(names)].concat();
    // X25519 and P-256, points, RSA with SHA-256.
    for extension in
        [&[0, 10, 0, 6, 0, 4, 0, 29, 0, 23][..], &[0, 11, 0, 2, 1, 0], &[0, 13, 0, 6, 0, 4, 4, 1, 8, 4]]
    {
        extensions.extend_from_slice(extension);
    }
    // ECDHE-RSA-AES256-GCM-SHA384 and that with AES128.
    let fixed = [&[3, 3][..], &[7; 32], &[0, 0, 4, 0xc0, 0x30, 0xc0, 0x2f, 1, 0]].concat();
    let body = [fixed, with_length(&extensions)].concat();
    let message = [&[1, 0][..], &with_length(&body)].concat();
    [&[22, 3, 1][..], &with_length(&message)].concat()
}

/// A list of one name.
fn one(name: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("short").to_be_bytes();
    let entry = [&[0][..], &length(name), name].concat();
    [&length(&entry)[..], &entry].concat()
}

/// What no client library sends: whether the server goes on.
#[test]
fn names_made_by_hand() {
    let two = [&[0, 8, 0, 0, 1][..], b"a", &[0, 0, 1], b"b"].concat();
    let cases: Vec<(&str, Vec<u8>, bool)> = vec![
        ("a name", one(b"a.example"), true),
        ("no bytes", one(b""), true),
        ("not UTF-8", one(b"\xff\xfe.example"), true),
        ("a NUL", one(b"a\0b"), false),
        ("255 bytes", one(&[b'a'; 255]), true),
        ("256 bytes", one(&[b'a'; 256]), false),
        ("300 bytes", one("ab.".repeat(100).as_bytes()), false),
        ("two names", two, false),
        ("another kind of name", vec![0, 4, 1, 0, 1, b'a'], false),
        ("no names", vec![0, 0], false),
        ("nothing", vec![], false),
        ("bytes behind", [one(b"a..b"), vec![0]].concat(), false),
    ];
    let (plan, with_table) = plan();
    let instance = plan.prepare();
    let _identities = Identities::make(&instance.home().join("etc"));
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
    let mut failures = Vec::new();
    for (name, names, expected) in cases {
        for port in [instance.smtp_port(), with_table] {
            let mut client = Client::connect(port);
            assert_eq!(client.command("STARTTLS").code, 220);
            client.send(&hello(&names));
            client.close_sending();
            let answer = client.read_bytes_to_end();
            // Handshake, or alert.
            if answer.first() != Some(if expected { &22 } else { &21 }) {
                failures.push(format!("{name}: {answer:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Sessions are resumed: the name is part of what proves that a client may.
#[test]
fn resumed_with_a_name_that_is_none() {
    require!(Path::new("/usr/bin/openssl").exists(), "there is no openssl command");
    let (plan, with_table) = plan();
    let instance = plan.prepare();
    let _identities = Identities::make(&instance.home().join("etc"));
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
    let openssl = Path::new("/usr/bin/openssl");
    let file = instance.home().join("session").display().to_string();
    let address = format!("127.0.0.1:{with_table}");
    for way in WAYS {
        let mut arguments =
            vec!["s_client", "-starttls", "smtp", "-connect", &address, "-servername", "a..b"];
        arguments.extend(way.iter().filter(|word| !matches!(**word, "-cert" | "CLIENT.pem")));
        let first =
            run(openssl, &[&arguments[..], &["-quiet", "-sess_out", &file]].concat(), &[], b"QUIT\r\n");
        let again = run(openssl, &[&arguments[..], &["-sess_in", &file]].concat(), &[], b"Q\n");
        assert!(
            again.out().contains("\nReused, TLS"),
            "{way:?}: {first:?}\n{again:?}\n{}",
            instance.log_text()
        );
    }
}

#[test]
fn names_that_are_none() {
    require!(Path::new("/usr/bin/openssl").exists(), "there is no openssl command");
    let (plan, with_table) = plan();
    let instance = plan.prepare();
    let _identities = Identities::make(&instance.home().join("etc"));
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "{outcome:?}\n{}", instance.log_text());
    let mut failures = Vec::new();
    for (name, says) in names() {
        for way in WAYS {
            let (done, lines) = session(&instance, instance.smtp_port(), &name, way);
            if !done || !lines.is_empty() {
                failures.push(format!("{name} {way:?}: done {done}, {lines:?}"));
            }
            let (done, lines) = session(&instance, with_table, &name, way);
            let shown = name.replace(char::is_control, "?");
            let mut wanted = match &says {
                Unknown => vec![format!(
                    "TLS SNI {} from localhost[127.0.0.1] not matched, using default chain",
                    name
                )],
                Bad => vec![format!("warning: TLS SNI from localhost[127.0.0.1] is invalid: {shown}")],
            };
            if way.contains(&"-groups") {
                // It is looked up for each ClientHello.
                wanted.extend_from_within(..);
            }
            if !done || lines != wanted {
                failures.push(format!("with a table: {name} {way:?}: done {done}, {lines:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
