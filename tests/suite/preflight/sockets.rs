//! The folders of sockets, and the programs, lost or closed while the mail system runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use conformance::{Client, Instance, Plan, require};

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

/// What takes a program away, and what is told of it.
type Loss = (fn(&Path), &'static str);

const LOSSES: [Loss; 5] = [
    (|_| {}, "No such file or directory"),
    (|path| fs::create_dir(path).expect("our own folder"), "Permission denied"),
    (|path| fs::write(path, "x").expect("our own folder"), "Permission denied"),
    (|path| symlink(path, path).expect("our own folder"), "Too many levels of symbolic links"),
    (
        |path| {
            fs::write(path, "").expect("our own folder");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
        },
        "the file is empty",
    ),
];

/// Postfix reloads, and nobody's mail is accepted until the program is there and the service has rested.
#[test]
fn a_reload_without_a_program_leaves_the_running_mail_system_alone() {
    let instance = Plan::new("preflight-programs").start();
    require!(judges(&instance), "Postfix reloads, and the service ends");
    let path = instance.home().join("libexec/cleanup");
    let aside = instance.home().join("libexec/aside");
    let accepts = || {
        let mut client = Client::connect(instance.smtp_port());
        let message = "Subject: x\r\n\r\nx\r\n";
        assert_eq!(client.send_message("a@example.com", &["b@example.com"], message).code, 250);
    };
    accepts();
    for (lose, cause) in LOSSES {
        fs::rename(&path, &aside).expect("our own folder");
        lose(&path);
        let outcome = instance.run("postfix", &["reload"]);
        let line = instance.home().join("etc/master.cf");
        let line =
            format!("fatal: master_spawn: exec {}: {cause} ({}, line ", path.display(), line.display());
        assert!(outcome.status == Some(1) && outcome.err().contains(&line), "{cause}: {outcome:?}");
        accepts();
        let _ = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        fs::rename(&aside, &path).expect("our own folder");
    }
    assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    accepts();
}
