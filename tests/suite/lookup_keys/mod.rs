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

use conformance::{Client, Plan, RecordingMap, Service, Suite, require};

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

/// The answers, as the recording table takes them.
fn answers() -> HashMap<String, String> {
    ANSWERS.iter().map(|(table, key, value)| (format!("{table} {key}"), (*value).to_owned())).collect()
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
    let instance = plan.prepare();
    let tables = RecordingMap::start(&instance, answers());
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
        for asked in tables.take() {
            let (table, key) = asked.split_once(' ').expect("a table and a key");
            if key == "*" {
                continue;
            }
            if table == last {
                actual.truncate(actual.trim_end().len());
                let _ = writeln!(actual, " | {key}");
            } else {
                let _ = writeln!(actual, "{table}: {key}");
            }
            table.clone_into(&mut last);
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
