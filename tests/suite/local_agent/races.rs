//! A user who changes what stands in the place of his mailbox, as fast as he can, while mail is delivered to it: nothing of that
//! mail comes into another file, be it his own.
//!
//! `POSTERN_RACES` is how many deliveries there are.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use conformance::{Plan, require};
use nix::unistd::{Uid, User, setfsuid};

use super::stage::instance;
use crate::agents::{Recipient, ask, recipient_offsets, write_message};
use crate::case_file::Case;

const USER: &str = "games";
const TEXT: &[u8] = b"This is no mailbox.\n";

#[test]
fn links_in_the_place_of_a_mailbox() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let mut plan = Plan::new("races");
    plan.with_delivery()
        .without("qmgr")
        .without("pickup")
        .set("deliver_lock_attempts", "2")
        .set("deliver_lock_delay", "1s");
    let instance = instance(plan, &["set mail_spool_directory=HOME/mail".to_owned()]);
    let user = User::from_name(USER).ok().flatten().expect("Debian's base accounts").uid;
    let folder = instance.home().join("other");
    fs::create_dir(&folder).expect("our own folder");
    let other = folder.join("file");
    fs::write(&other, TEXT).expect("our own folder");
    for path in [&folder, &other] {
        chown(path, Some(user.as_raw()), None).expect("root may");
    }
    let mailbox = instance.home().join("mail").join(USER);
    let is_over = AtomicBool::new(false);
    let count = std::env::var("POSTERN_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let replies: Vec<String> = thread::scope(|scope| {
        scope.spawn(|| {
            setfsuid(user);
            while !is_over.load(Ordering::Relaxed) {
                change(&mailbox, &other);
            }
        });
        let replies = (0..count).map(|number| {
            let recipients =
                [Recipient { address: "games@example.com", original: "", orcpt: "", notify: "" }];
            let (id, path, offset) = write_message(&instance, number, &recipients, &Case::default());
            let offsets = recipient_offsets(&fs::read(&path).expect("just made"));
            let offset = offset.to_string();
            let set = [("queue_id", id.as_str()), ("nexthop", "x"), ("flags", "3"), ("offset", &offset)];
            ask(&instance, "local", &set, &recipients, &offsets)
        });
        let replies = replies.collect();
        is_over.store(true, Ordering::Relaxed);
        replies
    });
    let unanswered = replies.iter().filter(|reply| reply.is_empty()).count();
    assert_eq!(unanswered, 0, "{}", instance.log_text());
    assert_eq!(fs::read(&other).expect("nobody removes it"), TEXT, "{}", instance.log_text());
    let names: Vec<_> =
        fs::read_dir(&folder).expect("ours").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["file"], "{}", instance.log_text());
}

/// Puts one thing after the other in the place of the mailbox. Some of it may fail: a delivery is under way.
fn change(mailbox: &Path, other: &Path) {
    let lock = mailbox.with_extension("lock");
    let made = mailbox.with_extension("new");
    let _ = fs::write(&made, b"");
    let _ = fs::rename(&made, mailbox);
    let _ = symlink(other, &made);
    let _ = fs::rename(&made, mailbox);
    let _ = fs::remove_file(mailbox);
    let _ = symlink(other.with_extension("made"), mailbox);
    let _ = fs::write(&made, b"");
    let _ = fs::rename(&made, mailbox);
    let _ = fs::hard_link(other, &made);
    let _ = fs::rename(&made, mailbox);
    let _ = fs::remove_file(mailbox);
    let _ = symlink(other.with_extension("lock"), &lock);
    let _ = fs::remove_file(&lock);
}
