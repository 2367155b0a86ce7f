//! Mailboxes on a file system that is full: mail waits, mailboxes stay whole, and nothing comes twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::{Client, Instance, Plan, require};
use nix::unistd::Uid;

/// Places below the folder `mail`, and who gets mail there.
const PLACES: &[(&str, &str)] = &[
    ("users/games/new", "games@example.com"),
    ("box", "box@example.com"),
    ("v/maildir/new", "maildir@v.test"),
    ("v/mbox", "mbox@v.test"),
];

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    fn mount(folder: &Path) -> Option<Small> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=128k,mode=1777", "tmpfs"])
            .arg(folder)
            .output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Small(folder.to_owned()))
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=16m"]).arg(&self.0).output();
        assert!(grown.is_ok_and(|output| output.status.success()));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// The texts in a place: of a maildir each file, of a mailbox file all of it.
fn texts(place: &Path) -> Vec<String> {
    let files: Vec<PathBuf> = match fs::read_dir(place) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![place.to_owned()],
    };
    files.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
}

fn send(instance: &Instance, content: &str) {
    let recipients: Vec<&str> = PLACES.iter().map(|(_, recipient)| *recipient).collect();
    let mut client = Client::connect(instance.smtp_port());
    assert_eq!(client.send_message("ann@example.net", &recipients, content).code, 250);
}

#[test]
fn mail_waits_for_room() {
    require!(Uid::effective().is_root(), "mailboxes belong to other users");
    let mut plan = Plan::new("full-mailboxes");
    plan.with_delivery();
    for (name, value) in [
        ("mail_spool_directory", "$queue_directory/../mail/users/"),
        ("alias_maps", "inline:{ {box=HOME/mail/box} }"),
        ("virtual_mailbox_domains", "v.test"),
        ("virtual_mailbox_base", "$queue_directory/../mail/v"),
        ("virtual_mailbox_maps", "inline:{ {maildir@v.test=maildir/}, {mbox@v.test=mbox} }"),
        ("virtual_uid_maps", "static:4001"),
        ("virtual_gid_maps", "static:4002"),
        ("minimal_backoff_time", "1h"),
        ("biff", "no"),
    ] {
        plan.set(name, value);
    }
    let instance = plan.prepare();
    let home = instance.home().display().to_string();
    fs::write(format!("{home}/etc/aliases"), format!("box {home}/mail/box\n")).expect("our own folder");
    instance.edit_main_cf(|text| {
        text.replace("inline:{ {box=HOME/mail/box} }", &format!("texthash:{home}/etc/aliases"))
    });
    let mail = instance.home().join("mail");
    fs::create_dir(&mail).expect("our own folder");
    let small = Small::mount(&mail);
    require!(small.is_some(), "nothing can be mounted here");
    let small = small.expect("checked");
    for folder in ["users", "v"] {
        fs::create_dir(mail.join(folder)).expect("our own folder");
        fs::set_permissions(mail.join(folder), fs::Permissions::from_mode(0o1777)).expect("our own folder");
    }
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));

    send(&instance, "Subject: small\n\nlast\n");
    instance.wait_for_log(": removed");
    send(&instance, &format!("Subject: large\n\n{}last\n", "some text in a line\n".repeat(10_000)));
    instance.wait_for("mail that waits", || {
        (instance.log_text().matches("status=deferred").count() == 4).then_some(())
    });
    for (place, _) in PLACES {
        let found = texts(&mail.join(place)).concat();
        let of_one = found.matches("Subject: ").count() == 1 && found.contains("\nSubject: small\n");
        assert!(
            of_one && found.trim_end().ends_with("\nlast"),
            "{place}: {} bytes\n{}",
            found.len(),
            instance.log_text()
        );
    }
    small.grow();
    instance.wait_for("delivery", || {
        assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
        let queues = ["incoming", "active", "deferred"];
        queues.iter().all(|queue| instance.queue(queue).is_empty()).then_some(())
    });
    for (place, _) in PLACES {
        let found = texts(&mail.join(place));
        let count = |part: &str| found.iter().map(|text| text.matches(part).count()).sum::<usize>();
        let counted = ["\nSubject: small\n", "\nSubject: large\n", "\nlast\n"].map(count);
        assert_eq!(counted, [1, 1, 2], "{place}");
    }
    assert!(fs::read_dir(mail.join("v/maildir/tmp")).is_ok_and(|mut entries| entries.next().is_none()));
}
