//! Which keys smtpd and trivial-rewrite look up, and in which order, for every table that takes part in resolving an
//! address and in deciding whether it exists.
//!
//! Every table is behind a proxymap service that is the test's own: it notes the keys, and knows a few answers.
//! `keys.txt` is what Postfix 3.7.11 asked for: `$` is a command of the client, `=` the reply's code, the other lines
//! are tables with the keys that they were asked for, one after another. Each address comes once, as both suites remember answers.

mod kinds;
mod secured;
mod servers;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use conformance::{Client, Plan, Service, Suite, require};

/// Answers of tables; all others are "not found".
const ANSWERS: &[(&str, &str, &str)] = &[
    ("relay_domains", "relay.example", "x"),
    ("virtual_alias_domains", "alias.example", "x"),
    ("virtual_mailbox_domains", "mailbox.example", "x"),
    ("local_recipient_maps", "known", "x"),
    ("relay_recipient_maps", "known@relay.example", "x"),
    ("relay_recipient_maps", "@all.relay.example", "x"),
    ("virtual_alias_maps", "known@alias.example", "joe@local.example"),
    ("virtual_mailbox_maps", "known@mailbox.example", "x"),
    ("canonical_maps", "canonical@local.example", "other@elsewhere.example"),
    ("sender_canonical_maps", "canonical-sender@local.example", "other@elsewhere.example"),
    ("relocated_maps", "moved@local.example", "new@example.org"),
    ("transport_maps", "t1.transport.example", "smtp:[127.0.0.1]"),
    ("transport_maps", ".transport.example", "smtp:"),
    ("transport_maps", "one@t3.example", ":"),
];

/// Parameters that are lists of domains.
const DOMAINS: &[&str] = &["relay_domains", "virtual_alias_domains", "virtual_mailbox_domains"];

/// Parameters that are tables of addresses.
const ADDRESS_MAPS: &[&str] = &[
    "virtual_alias_maps",
    "virtual_mailbox_maps",
    "local_recipient_maps",
    "relay_recipient_maps",
    "canonical_maps",
    "sender_canonical_maps",
    "recipient_canonical_maps",
    "relocated_maps",
    "transport_maps",
    "sender_dependent_relayhost_maps",
    "sender_dependent_default_transport_maps",
];

type Noted = Arc<Mutex<Vec<(String, String)>>>;

/// The proxymap service of the test.
fn serve(socket: &Path) -> Noted {
    let listener = UnixListener::bind(socket).expect("a socket in a folder of our own");
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).expect("ours");
    let noted = Noted::default();
    let for_thread = Arc::clone(&noted);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let noted = Arc::clone(&for_thread);
            thread::spawn(move || converse(stream, &noted));
        }
    });
    noted
}

fn converse(mut stream: UnixStream, noted: &Noted) -> Option<()> {
    stream.write_all(b"protocol\0proxymap_protocol\0\0").ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut text = move || {
        let mut bytes = Vec::new();
        reader.read_until(0, &mut bytes).ok()?;
        (bytes.pop() == Some(0)).then(|| String::from_utf8_lossy(&bytes).into_owned())
    };
    loop {
        let mut request = HashMap::new();
        loop {
            let name = text()?;
            if name.is_empty() {
                break;
            }
            request.insert(name, text()?);
        }
        let of = |name: &str| request.get(name).map_or("", String::as_str);
        let table = of("table").trim_start_matches("static:");
        let reply = if of("request") == "open" {
            // A table of fixed keys: asked for parts of addresses, too.
            ["status", "0", "flags", "16", "", ""].join("\0")
        } else {
            noted.lock().expect("no panics").push((table.to_owned(), of("key").to_owned()));
            let answer = ANSWERS.iter().find(|(known, key, _)| *known == table && *key == of("key"));
            match answer {
                Some((_, _, value)) => ["status", "0", "value", value, "", ""].join("\0"),
                None => ["status", "1", "value", "", "", ""].join("\0"),
            }
        };
        stream.write_all(reply.as_bytes()).ok()?;
    }
}

#[test]
fn keys_and_their_order() {
    let suite = Suite::under_test();
    require!(suite.daemon("smtpd").is_some() && suite.daemon("trivial-rewrite").is_some(), "needs both");
    let expected = include_str!("keys.txt");
    let mut plan = Plan::new("keys");
    for table in DOMAINS.iter().chain(ADDRESS_MAPS) {
        plan.set(table, &format!("proxy:static:{table}"));
    }
    plan.set("mydestination", "$myhostname, local.example");
    plan.set("recipient_delimiter", "+-");
    plan.set("smtpd_reject_unlisted_sender", "yes");
    // Refusals are many, and cost no time.
    plan.set("smtpd_soft_error_limit", "1000").set("smtpd_hard_error_limit", "1000");
    plan.set("smtpd_error_sleep_time", "0");
    plan.set("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination");
    // What cleanup looks up is another matter.
    let mut cleanup = Service::new("cleanup unix n - n - 0 cleanup").option("mydestination", "");
    for table in DOMAINS.iter().chain(ADDRESS_MAPS) {
        cleanup = cleanup.option(table, "");
    }
    plan.without("cleanup").service(cleanup);
    let socket = "private/proxymap";
    let instance = plan.prepare();
    let noted = serve(&instance.queue_directory().join(socket));
    let started = instance.start_master(&["-w"]);
    assert_eq!(started.status, Some(0), "{}", started.err());
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example");
    let mut actual = String::new();
    for command in expected.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let reply = client.command(command);
        let _ = writeln!(actual, "$ {command}\n= {}", reply.code);
        let mut last = String::new();
        // `*` is asked for when a process starts, and again after a while.
        for (table, key) in noted.lock().expect("no panics").drain(..).filter(|(_, key)| key != "*") {
            if table == last {
                actual.truncate(actual.trim_end().len());
                let _ = writeln!(actual, " | {key}");
            } else {
                let _ = writeln!(actual, "{table}: {key}");
            }
            last = table;
        }
    }
    if actual != expected {
        let (wanted, got) =
            (expected.split("$ ").collect::<Vec<_>>(), actual.split("$ ").collect::<Vec<_>>());
        let differ = wanted.iter().zip(&got).filter(|(wanted, got)| wanted != got);
        let differ: String = differ.map(|(wanted, got)| format!("-- wanted {wanted}-- got {got}")).collect();
        panic!("{differ}");
    }
}
