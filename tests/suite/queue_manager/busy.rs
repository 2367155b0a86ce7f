//! What operators do with `postsuper` and `postqueue` to messages that are being delivered: none is lost, and none is delivered
//! twice but where it was put into the queue anew meanwhile.
//!
//! `POSTERN_MESSAGES` is how many there are; `POSTERN_SEED`, what the operator begins with.

use std::collections::BTreeMap;
use std::fs;

use conformance::{Dice, Instance, Plan, Service, Suite, require};
use nix::unistd::Uid;

use super::send_to;
use crate::addresses::number;

/// What keeps each message one.
const ORDERS: &[&[&str]] = &[
    &["postsuper", "-h", "ID"],
    &["postsuper", "-H", "ID"],
    &["postsuper", "-h", "ALL", "active"],
    &["postsuper", "-h", "ALL"],
    &["postsuper", "-H", "ALL"],
    &["postsuper", "-s"],
    &["postsuper", "-p"],
    &["postqueue", "-f"],
    &["postqueue", "-i", "ID"],
    &["postqueue", "-s", "slow.example"],
    &["postqueue", "-p"],
];

#[test]
fn messages_are_moved_while_they_are_delivered() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let (copies, count) = play("qmgr-busy", ORDERS);
    let wrong: Vec<_> = (0..count).filter(|number| copies.get(number) != Some(&1)).collect();
    assert!(wrong.is_empty(), "{wrong:?} of {copies:?}");
}

#[test]
fn messages_are_requeued_while_they_are_delivered() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    const ANEW: &[&[&str]] = &[
        &["postsuper", "-r", "ID"],
        &["postsuper", "-r", "ALL"],
        &["postsuper", "-r", "ALL", "active"],
        &["postsuper", "-h", "ID"],
        &["postqueue", "-f"],
    ];
    let (copies, count) = play("qmgr-requeued", ANEW);
    let lost: Vec<_> = (0..count).filter(|number| !copies.contains_key(number)).collect();
    assert!(lost.is_empty(), "{lost:?} of {copies:?}");
}

/// What waits for an agent is in the queue manager's memory, wherever its file goes.
#[test]
fn a_message_is_held_and_released_while_it_waits_for_its_agent() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    require!(
        Suite::under_test().is_ours("qmgr"),
        "Postfix's delivers it twice now and then (one time in ten, 3.7.11)"
    );
    let instance = instance("qmgr-waiting", 2, "1.5");
    let ids = ["m0", "m1", "m2"].map(|user| send_to(&instance, &format!("{user}@slow.example")));
    instance.wait_for("three active messages", || (instance.queue("active").len() == 3).then_some(()));
    let last = &ids[2];
    instance.run("postsuper", &["-h", last]);
    instance.run("postsuper", &["-H", last]);
    until_empty(&instance);
    let taken = taken(&instance);
    let mut taken: Vec<&str> = taken.lines().collect();
    taken.sort_unstable();
    assert_eq!(taken, ["m0", "m1", "m2"]);
}

/// Seen with Postfix 3.10.3 and 3.11.7: a message that is taken away meanwhile can end their queue manager.
const PANIC: &str = "panic: qmgr_job_free: ";

fn taken(instance: &Instance) -> String {
    fs::read_to_string(instance.home().join("taken")).expect("the command has written")
}

fn until_empty(instance: &Instance) {
    instance.wait_for("an empty queue", || {
        instance.run("postsuper", &["-H", "ALL"]);
        instance.run("postqueue", &["-f"]);
        ["incoming", "active", "deferred", "hold", "maildrop"]
            .iter()
            .all(|queue| instance.queue(queue).is_empty())
            .then_some(())
    });
}

/// How many copies of each message came, and how many messages there were.
fn play(name: &str, orders: &[&[&str]]) -> (BTreeMap<u64, usize>, u64) {
    let count = number("POSTERN_MESSAGES", 30);
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let instance = instance(name, 3, "0.1");
    if !instance.suite().is_ours("qmgr") {
        instance.expect_fault(PANIC);
    }
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(send_to(&instance, &format!("m{number}@slow.example")));
        for _ in 0..dice.below(3) {
            let (command, words) = dice.one_of(orders).split_first().expect("a command");
            let id = dice.one_of(&ids);
            let words: Vec<&str> =
                words.iter().map(|word| if *word == "ID" { id.as_str() } else { *word }).collect();
            instance.run(command, &words);
        }
    }
    until_empty(&instance);
    let mut copies = BTreeMap::new();
    for line in taken(&instance).lines() {
        *copies.entry(line.trim_start_matches('m').parse().expect("a number")).or_default() += 1;
    }
    if !instance.suite().is_ours("qmgr") {
        // One that waited for its agent when it was moved is delivered again now and then, and so is what it did not hear of
        // any more before it ended.
        copies.values_mut().for_each(|copies: &mut usize| *copies = (*copies).min(1));
    }
    (copies, count)
}

/// One with a command that takes so many seconds, of which some may run at a time.
fn instance(name: &str, limit: u32, seconds: &str) -> Instance {
    let mut plan = Plan::new(name);
    plan.with_delivery()
        .set("transport_maps", "inline:{ {slow.example = slow:} }")
        .set("virtual_alias_maps", "")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("fast_flush_domains", "slow.example")
        .set("slow_destination_recipient_limit", "1");
    let mut slow = Service::new(format!("slow unix - n n - {limit} pipe"));
    slow.arguments
        .push(format!("user=nobody argv=/bin/sh -c {{sleep {seconds}; echo ${{user}} >> HOME/taken}}"));
    plan.service(slow);
    let instance = plan.prepare();
    let home = instance.home().display().to_string();
    instance.edit_master_cf(|text| text.replace("HOME", &home));
    let taken = instance.home().join("taken");
    fs::write(&taken, "").expect("our own folder");
    std::os::unix::fs::chown(&taken, Some(65534), None).expect("root may");
    let started = instance.start_master(&["-w"]);
    assert_eq!(started.status, Some(0), "{started:?}");
    instance
}
