//! What operators do with `postsuper` and `postqueue` to messages that are being delivered: none is lost, and none is delivered
//! twice but where it was put into the queue anew meanwhile.
//!
//! `POSTERN_MESSAGES` is how many there are; `POSTERN_SEED`, what the operator begins with.

use std::collections::BTreeMap;
use std::fs;

use conformance::{Dice, Instance, Plan, Service, require};
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

/// How many copies of each message came, and how many messages there were.
fn play(name: &str, orders: &[&[&str]]) -> (BTreeMap<u64, usize>, u64) {
    let count = number("POSTERN_MESSAGES", 30);
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let instance = instance(name);
    // Seen with Postfix 3.10.3 and 3.11.7: a message that is taken away meanwhile can end their queue manager.
    const PANIC: &str = "panic: qmgr_job_free: ";
    if !instance.suite().is_ours("qmgr") {
        instance.expect_fault(PANIC);
    }
    let taken = instance.home().join("taken");
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
    instance.wait_for("an empty queue", || {
        instance.run("postsuper", &["-H", "ALL"]);
        instance.run("postqueue", &["-f"]);
        ["incoming", "active", "deferred", "hold", "maildrop"]
            .iter()
            .all(|queue| instance.queue(queue).is_empty())
            .then_some(())
    });
    let mut copies = BTreeMap::new();
    for line in fs::read_to_string(taken).expect("the command has written").lines() {
        *copies.entry(line.trim_start_matches('m').parse().expect("a number")).or_default() += 1;
    }
    if instance.log_text().contains(PANIC) {
        // What it did not hear of any more is delivered again.
        copies.values_mut().for_each(|copies: &mut usize| *copies = (*copies).min(1));
    }
    (copies, count)
}

/// One with a slow command.
fn instance(name: &str) -> Instance {
    let mut plan = Plan::new(name);
    plan.with_delivery()
        .set("transport_maps", "inline:{ {slow.example = slow:} }")
        .set("virtual_alias_maps", "")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("fast_flush_domains", "slow.example")
        .set("slow_destination_recipient_limit", "1");
    let mut slow = Service::new("slow unix - n n - 3 pipe");
    slow.arguments.push("user=nobody argv=/bin/sh -c {sleep 0.1; echo ${user} >> HOME/taken}".to_owned());
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
