//! Milters: what they are sent, what their answers do, and what their edits leave in the queue file, as Postfix has it.

mod script;
mod sessions;
mod stage;

use conformance::{Suite, require};

const NO_CLEANUP: &str = "the suite's cleanup has no Milters yet";

/// Whether the daemon of the suite under test works with Milters.
fn works(daemon: &str) -> bool {
    !Suite::under_test().is_ours(daemon)
}

#[test]
fn smtpd() {
    require!(works("cleanup"), NO_CLEANUP);
    stage::play("smtpd.txt");
}

#[test]
fn edits() {
    require!(works("cleanup"), NO_CLEANUP);
    stage::play("edits.txt");
}

#[test]
fn errors() {
    require!(works("cleanup"), NO_CLEANUP);
    stage::play("errors.txt");
}
