//! Random servers, requests and settings, on Postfix and on the suite under test.
//!
//! `POSTERN_DIALOGUES=5000 POSTERN_SEED=7` are more of each kind, and other ones. Each set of settings has twenty.

mod dialogue;
mod exchangers;
mod logins;
mod policies;

use conformance::{Dice, DnsServer, Plan, Suite, require, version_at_least};
use nix::unistd::Uid;

use super::{SHORT, Stage};
use crate::case_file::Case;

/// Cases of one set of settings.
const OF_A_STAGE: usize = 20;

#[test]
fn dialogues() {
    compare(40, dialogue::settings, dialogue::script);
}

#[test]
fn mail_exchangers() {
    require!(DnsServer::possible(), "needs a name server of its own");
    compare(40, exchangers::settings, exchangers::script);
}

#[test]
fn tls_policies() {
    require!(
        !version_at_least(3, 11),
        "what 3.11 tells of a certificate with several faults has not been compared"
    );
    compare(40, policies::settings, policies::script);
}

#[test]
fn log_ins() {
    compare(40, logins::settings, logins::script);
}

/// Plays as many cases, or as many as are wanted, on both suites.
fn compare(
    count: u64,
    settings: impl Fn(&mut Dice) -> Vec<String>,
    script: impl Fn(&mut Dice) -> Vec<String>,
) {
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = setting("POSTERN_DIALOGUES").unwrap_or(count);
    let mut dice = Dice::new(setting("POSTERN_SEED").unwrap_or(18));
    let mut failures = String::new();
    let mut differing = 0;
    for first in (0..count).step_by(OF_A_STAGE) {
        let options = settings(&mut dice);
        let stages = [Suite::Postfix, Suite::under_test()].map(|suite| {
            let stage = Stage::with(Plan::for_suite("smtp-random", suite), &options, SHORT);
            stage.instance.expect_fault("fatal: ");
            stage
        });
        for number in first..count.min(first + OF_A_STAGE as u64) {
            let mut case = Case::default();
            case.script = script(&mut dice);
            let [theirs, ours] = stages.each_ref().map(|stage| stage.play(&case));
            if theirs != ours {
                differing += 1;
                failures += &told(number, &options, &theirs, &ours);
            }
        }
    }
    println!("{count} played, {differing} went otherwise");
    assert!(failures.is_empty(), "{differing} of {count} went otherwise:\n{failures}");
}

/// A case that went otherwise: what both have, then the rest of each.
fn told(number: u64, options: &[String], theirs: &[String], ours: &[String]) -> String {
    let mut text = format!("== {number}\n");
    options.iter().for_each(|option| text += &format!("-o {option}\n"));
    let same = theirs.iter().zip(ours).take_while(|(one, other)| one == other).count();
    theirs[..same].iter().for_each(|line| text += &format!("{line}\n"));
    for (name, lines) in [("Postfix", theirs), ("here", ours)] {
        text += &format!("{name}\n  {}\n", lines[same..].join("\n  "));
    }
    text
}

/// Up to four settings of a list, each parameter once.
fn some_of(dice: &mut Dice, settings: &[&str]) -> Vec<String> {
    let name = |setting: &str| setting.split('=').next().unwrap_or_default().to_owned();
    let mut chosen: Vec<String> = Vec::new();
    for _ in 0..dice.below(5) {
        let setting = (*dice.one_of(settings)).to_owned();
        if !chosen.iter().any(|other| name(other) == name(&setting)) {
            chosen.push(setting);
        }
    }
    chosen
}
