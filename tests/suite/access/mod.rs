//! Access control, as transcripts of sessions with Postfix: every restriction, every action of a table, every key.

use conformance::require;

use crate::transcript::{play, possible};

const HOST: &str = "needs the superuser, mount namespaces and port 53 of a loopback address";

#[test]
fn restrictions() {
    require!(possible(), HOST);
    play("access/restrictions.txt");
}

#[test]
fn actions() {
    require!(possible(), HOST);
    play("access/actions.txt");
}

#[test]
fn mistakes() {
    require!(possible(), HOST);
    play("access/mistakes.txt");
}

#[test]
fn entries_in_warnings() {
    require!(possible(), HOST);
    play("access/entries.txt");
}

#[test]
fn keys() {
    require!(possible(), HOST);
    play("access/keys.txt");
}

#[test]
fn keys_of_parameters() {
    require!(possible(), HOST);
    play("access/parameters.txt");
}

#[test]
fn policy() {
    play("access/policy.txt");
}

#[test]
fn answers_of_the_dns() {
    require!(possible(), HOST);
    play("access/dns.txt");
}

#[test]
fn two_name_servers() {
    require!(possible(), HOST);
    play("access/failover.txt");
}

#[test]
fn names_and_what_was_not_offered() {
    play("access/names.txt");
}
