//! The folders of sockets, lost or closed while the mail system runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use conformance::{Instance, Plan, require};

use super::{judges, said};

fn close(instance: &Instance, name: &str, mode: u32) {
    let path = instance.queue_directory().join(name);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own folder");
}

/// Postfix says nothing: mail waits, and nobody knows why.
#[test]
fn sockets_that_nobody_reaches_are_told_of() {
    let instance = Plan::new("preflight-sockets").start();
    require!(judges(&instance), "the lines are Postern's");
    let command = |word: &str| {
        let outcome = instance.run("postfix", &[word]);
        (outcome.status, said(&outcome.err()))
    };
    assert_eq!(command("check"), (Some(0), vec![]));
    for (name, mode, wanted) in [("private", 0o600, 0o700), ("public", 0o700, 0o710)] {
        close(&instance, name, mode);
        let path = instance.queue_directory().join(name);
        let line = format!(
            "warning: {}: mode {mode:o} keeps clients from the services there; it should be {wanted:o}: postfix \
             set-permissions",
            path.display()
        );
        for word in ["check", "reload"] {
            assert_eq!(command(word), (Some(0), vec![line.clone()]), "{name} {word}");
        }
        close(&instance, name, wanted);
        assert_eq!(command("check"), (Some(0), vec![]));
    }
    for name in ["private", "public"] {
        let folder = instance.queue_directory().join(name);
        let aside = instance.queue_directory().join("aside");
        fs::rename(&folder, &aside).expect("our own folder");
        let line = format!(
            "warning: {name}: the sockets of the running mail system are gone, and nothing reaches its services there: \
             postfix stop, postfix start"
        );
        // The second time there is a folder again, which `check` has made.
        for word in ["check", "check", "reload"] {
            assert_eq!(command(word), (Some(0), vec![line.clone()]), "{name} {word}");
        }
        fs::remove_dir(&folder).expect("empty");
        fs::rename(&aside, &folder).expect("our own folder");
        assert_eq!(command("check"), (Some(0), vec![]));
    }
    // Of a mail system that does not run nothing is missed.
    instance.stop();
    assert_eq!(command("check"), (Some(0), vec![]));
}
