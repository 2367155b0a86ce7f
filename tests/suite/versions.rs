//! What differs between versions of Postfix in log lines, replies, queue files and the `postfix` command.
//!
//! Each body runs on the version under test; where all programs are Postern's, with each version that it can be asked for.

mod database_clients;
mod dates;
mod defaults;
mod deprecated;
mod first_lines;
mod log_lines;
mod non_bdb;
mod packaging;
mod records;
mod redirected;
mod reindexed;
mod requiretls;
mod sessions;
mod stderr;
mod too_much;

use conformance::{Instance, Plan, Suite, version_at_least};

/// A plan for each version that is to be seen, with the part of it behind `3.`.
fn plans(name: &str) -> Vec<(u32, Plan)> {
    if Suite::under_test() != Suite::Postern {
        let known = [12, 11, 10, 9, 8].into_iter().find(|minor| version_at_least(3, *minor));
        return vec![(known.unwrap_or(7), Plan::new(name))];
    }
    let plan = |minor: u32| {
        let mut plan = Plan::new(name);
        plan.set("postern_postfix_version", &format!("3.{minor}"));
        (minor, plan)
    };
    [7, 10, 11].map(plan).into()
}

/// The lines of a program, in order, without queue IDs.
fn lines(instance: &Instance, program: &str) -> Vec<String> {
    instance.log_of(program).iter().map(|line| conformance::mask(line, &Default::default())).collect()
}
