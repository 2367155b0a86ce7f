//! Milters: what they are sent, what their answers do, and what their edits leave in the queue file, as Postfix has it.

mod bounds;
mod extremes;
mod failures;
mod opendkim;
mod random;
mod random_errors;
mod random_messages;
mod scanners;
mod script;
mod sessions;
mod stage;
mod submission;

#[test]
fn sizes() {
    stage::play("sizes.txt");
}

#[test]
fn smtpd() {
    stage::play("smtpd.txt");
}

#[test]
fn edits() {
    stage::play("edits.txt");
}

#[test]
fn errors() {
    stage::play("errors.txt");
}

/// A file of one's own.
#[test]
fn by_hand() {
    if let Ok(file) = std::env::var("POSTERN_CASES") {
        stage::play(&file);
    }
}
