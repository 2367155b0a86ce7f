//! `smtpd_sasl_exceptions_networks`: random lists, and whom EHLO tells of logins with them, beside Postfix.
//! `POSTERN_SEED` and `POSTERN_LISTS` are for more of them.

use std::collections::HashMap;

use conformance::{AuthServer, Client, Dice, Instance, Plan, Service, Suite, free_port, mask, require};
use nix::unistd::Uid;

use super::{plan_of, server};
use crate::addresses::number;

const PATTERNS: &[&str] = &[
    "192.0.2.7",
    "192.0.2.0/24",
    "192.0.2.7/24",
    "192.0.2.0/33",
    "0.0.0.0/0",
    "10.",
    "[192.0.2.7]",
    "[2001:db8::9]",
    "[2001:db8::]/32",
    "[2001:DB8::/32]",
    "2001:db8::9",
    "2001:db8::/32",
    "client.test",
    "CLIENT.test",
    ".client.test",
    "test",
    ".test",
    "unknown",
    "localhost",
    "*",
    "static:all",
    "static:x",
    "inline:{192.0.2.7=x, client.test=x}",
    "inline:{{2001:db8::9 = x}, {.test = x}}",
    "inline:{test=}",
    "cidr:{{192.0.2.0/28 x}, {2001:db8::/32 x}}",
    "regexp:{{/^192\\./ x}}",
    "unionmap:{static:x,inline:{a=b}}",
    "hash:/nowhere/clients",
    "nosuch:clients",
    "/nowhere/clients",
    "fail:clients",
];

const CLIENTS: &[(&str, &str)] = &[
    ("client.test", "192.0.2.7"),
    ("CLIENT.Test", "192.0.2.77"),
    ("x.client.test", "198.51.100.1"),
    ("[UNAVAILABLE]", "192.0.2.7"),
    ("[UNAVAILABLE]", "10.1.2.3"),
    ("other.example", "IPV6:2001:db8::9"),
    ("client.test", "IPV6:2001:db8:1::1"),
    ("[UNAVAILABLE]", "[UNAVAILABLE]"),
    ("localhost", "127.0.0.1"),
];

fn list(dice: &mut Dice) -> String {
    let mut list = String::new();
    for _ in 0..=dice.below(3) {
        let sign = ["", "", "", "!", "!", "!!"];
        let gap = [", ", " ", ",", " , "];
        list += &format!("{}{}{}", dice.one_of(&sign), dice.one_of(PATTERNS), dice.one_of(&gap));
    }
    list
}

/// The services, each with a list of its own.
fn start(suite: Suite, server: &AuthServer, lists: &[(String, &str)]) -> (Instance, Vec<u16>) {
    let mut plan = plan_of(Plan::for_suite("sasl-exceptions", suite), server);
    plan.set("inet_protocols", "all").set("smtpd_authorized_xclient_hosts", "static:all");
    let ports: Vec<_> = lists.iter().map(|_| free_port()).collect();
    for (port, (list, parents)) in ports.iter().zip(lists) {
        let smtpd = Service::new(format!("127.0.0.1:{port} inet n - n - 1 smtpd"));
        plan.service(
            smtpd
                .option("smtpd_sasl_exceptions_networks", list)
                .option("parent_domain_matches_subdomains", parents),
        );
    }
    (plan.start(), ports)
}

#[test]
fn lists_that_no_server_starts_with() {
    let server = server();
    for (list, expected) in [
        ("192.0.2.1, !", "smtpd_sasl_exceptions_networks: no pattern after '!'"),
        ("::/0", "open dictionary: expecting \"type:name\" form instead of \"::/0\""),
        ("test, static:", "open dictionary: expecting \"type:name\" form instead of \"static:\""),
    ] {
        let (instance, ports) = start(Suite::under_test(), &server, &[(list.to_owned(), "")]);
        let _client = Client::connect_silently(ports[0]);
        instance.wait_for_log(&format!("fatal: {expected}"));
        instance.stop();
    }
}

/// What each client is told.
fn told(port: u16) -> Vec<String> {
    let mut told = Vec::new();
    for (name, address) in CLIENTS {
        let mut client = Client::connect(port);
        let announced = match client.command(&format!("XCLIENT NAME={name} ADDR={address}")).code {
            220 => client.command("EHLO client.example").lines.join("|"),
            code => format!("XCLIENT: {code}"),
        };
        told.push(format!("{name} {address}: {announced}"));
    }
    told
}

/// What was logged, without what has another place in the log of each.
fn log(instance: &Instance, sessions: usize) -> Vec<String> {
    let lines = instance.wait_for("the sessions' ends", || {
        let lines = instance.log_of("smtpd");
        let ended = lines.iter().filter(|line| line.starts_with("disconnect from")).count();
        (ended == sessions).then_some(lines)
    });
    let mut lines: Vec<_> = lines
        .iter()
        .filter(|line| !line.contains("connect from") && !line.starts_with("statistics:"))
        // Postern's own lines at start, with the place of the mistake.
        .filter(|line| !line.ends_with(" (-o option)"))
        // Debian's own advice, from 3.10 on.
        .filter(|line| !line.ends_with(" package installed?"))
        .map(|line| mask(line, &HashMap::new()))
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

#[test]
fn clients_that_are_not_told_of_logins() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_LISTS", 12));
    let mut dice = Dice::new(seed);
    let parents = ["", "smtpd_sasl_exceptions_networks"];
    let lists: Vec<_> = (0..count).map(|_| (list(&mut dice), *dice.one_of(&parents))).collect();
    let server = server();
    let mut different = Vec::new();
    for lists in lists.chunks(12) {
        let (ours, our_ports) = start(Suite::under_test(), &server, lists);
        let (theirs, their_ports) = start(Suite::Postfix, &server, lists);
        for ((list, our), their) in lists.iter().zip(our_ports).zip(their_ports) {
            let (our, their) = (told(our), told(their));
            let differ = our.iter().zip(&their).filter(|(our, their)| our != their);
            different.extend(differ.map(|(our, their)| format!("{list:?}:\n  {our}\n  {their}")));
        }
        let sessions = lists.len() * CLIENTS.len();
        let (our, their) = (log(&ours, sessions), log(&theirs, sessions));
        let only = |one: &[String], other: &[String]| {
            let only: Vec<_> = one.iter().filter(|line| !other.contains(line)).cloned().collect();
            only.join("\n  ")
        };
        if our != their {
            different.push(format!(
                "log, under test alone:\n  {}\nPostfix alone:\n  {}",
                only(&our, &their),
                only(&their, &our)
            ));
        }
        ours.stop();
        theirs.stop();
    }
    assert!(different.is_empty(), "seed {seed}: {} differences\n{}", different.len(), different.join("\n"));
}
