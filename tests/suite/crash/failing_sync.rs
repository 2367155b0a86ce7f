//! A disk on which nothing can be made safe: the sender is told, and mailboxes are as they were.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use conformance::{Plan, require, with_failing_sync};
use nix::unistd::Uid;

use crate::agents::{Recipient, all_neighbours, ask, recipient_offsets, write_message};
use crate::case_file::Case;

/// Agents, whom they deliver to, and the mailbox file of that; a maildir has none.
const MAILBOXES: &[(&str, &str, Option<&str>)] = &[
    ("virtual", "mbox@v.test", Some("mbox")),
    ("virtual", "maildir@v.test", None),
    ("local", "games@x", Some("games")),
    ("local", "man@x", None),
    ("local", "file@x", Some("file")),
];
const OLD: &str = "From x  Mon Jan  1 00:00:00 2024\n\nold\n\n";

#[test]
fn mailboxes_are_as_they_were() {
    require!(Uid::effective().is_root(), "mailboxes belong to other users");
    let mut plan = Plan::new("failing-sync");
    plan.with_delivery()
        .without("qmgr")
        .without("pickup")
        .set("mail_spool_directory", "$queue_directory/../mail/")
        .set("virtual_mailbox_base", "$queue_directory/../mail")
        .set("virtual_mailbox_maps", "inline:{ {mbox@v.test=mbox}, {maildir@v.test=maildir/} }")
        .set("alias_maps", "texthash:HOME")
        .set("virtual_uid_maps", "static:65534")
        .set("virtual_gid_maps", "static:65534")
        // Theirs fail as well.
        .set("bounce_service_name", "accepting")
        .set("defer_service_name", "accepting")
        .set("biff", "no");
    let instance = plan.prepare();
    let mail = instance.home().join("mail");
    fs::create_dir(&mail).expect("our own folder");
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o1777)).expect("ours");
    // games has a mailbox file, man a maildir.
    let aliases = format!("file {0}/file\ngames {0}/games\n", mail.display());
    let path = instance.home().join("etc/aliases");
    fs::write(&path, aliases).expect("our own folder");
    instance.edit_main_cf(|text| {
        text.replace("alias_maps = texthash:HOME", &format!("alias_maps = texthash:{}", path.display()))
    });
    for name in MAILBOXES.iter().filter_map(|(_, _, file)| *file) {
        let path = mail.join(name);
        fs::write(&path, OLD).expect("our own folder");
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("root may");
    }
    let started = with_failing_sync(|| instance.start_master(&["-w"]));
    require!(started.is_some(), "system calls cannot be made to fail here");
    assert_eq!(started.and_then(|outcome| outcome.status), Some(0));
    all_neighbours(&instance);
    for (number, &(agent, address, file)) in MAILBOXES.iter().enumerate() {
        let recipients = [Recipient { address, original: "", orcpt: "", notify: "" }];
        let (id, queue_file, offset) = write_message(&instance, number, &recipients, &Case::default());
        let offsets = recipient_offsets(&fs::read(&queue_file).expect("just made"));
        let offset = offset.to_string();
        let set = [("queue_id", id.as_str()), ("nexthop", "x"), ("flags", "3"), ("offset", &offset)];
        let reply = ask(&instance, agent, &set, &recipients, &offsets);
        let line = instance.wait_for_log(&format!("{id}: to=<"));
        assert!(line.contains("dsn=5.3.0, status=bounced ("), "{line}");
        assert!(line.contains("error writing message: Input/output error)"), "{line}");
        assert!(reply.ends_with("status 0"), "{address}: {reply}");
        assert_eq!(fs::read(&queue_file).expect("nobody removes it")[offsets[0]], b'D', "{address}");
        match file {
            Some(name) => {
                assert_eq!(fs::read_to_string(mail.join(name)).expect("it was there"), OLD, "{address}");
            }
            None => {
                assert!(files(&mail.join(address.split('@').next().expect("a part"))).is_empty(), "{address}")
            }
        }
    }
}

/// The files of a maildir.
fn files(maildir: &Path) -> Vec<PathBuf> {
    let folders = ["tmp", "new", "cur"].map(|name| fs::read_dir(maildir.join(name)));
    folders.into_iter().flatten().flatten().flatten().map(|entry| entry.path()).collect()
}
