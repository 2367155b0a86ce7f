//! A queue on a file system that is full, or on which nothing can be made safe: new mail is refused, mail that waits goes on
//! waiting, and when there is room again each message goes where it should, once. On Postfix and on the suite under test.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::thread;

use conformance::{Client, Instance, Plan, Suite, mask, require, with_failing_sync};
use nix::unistd::Uid;
use regex_lite::Regex;

static PASSING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("delay=[-0-9.]+, delays=[-0-9./]+|size=[0-9]+|[0-9]{14}\\.|pid [0-9]+|\\b[0-9A-F]{7,}\\b")
        .expect("a pattern")
});
/// The error is some older one's.
static ASKED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("(write/read|read|write) (private/[a-z]+ socket): .*").expect("a pattern"));
/// Messages by their subjects, and whom they are for. Each is held until the disk is full.
const MESSAGES: &[(&str, &str)] = &[
    ("put-off", "bob@later.example"),
    ("refused", "bob@never.example"),
    ("unknown", "nosuch@example.com"),
    ("forwarded", "away@example.com"),
    ("delivered", "games@example.com"),
    ("discarded", "bob@void.example"),
];

/// The queue on a file system of its own.
struct Disk(PathBuf);

impl Disk {
    fn mount(queue: &Path) -> Option<Disk> {
        let script = "cp -a \"$0\" \"$0.kept\" && mount -t tmpfs -o size=1m,mode=755 tmpfs \"$0\" && \
                      cp -a \"$0.kept/.\" \"$0\" && rm -r \"$0.kept\"";
        let mounted = Command::new("sh").args(["-ec", script]).arg(queue).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Disk(queue.to_owned()))
    }

    /// Fills it but for so many pages.
    fn fill(&self, left: usize) {
        let script = "cat /dev/zero > \"$0/filled\" 2>/dev/null || truncate -s -$1 \"$0/filled\"";
        let filled =
            Command::new("sh").args(["-c", script]).arg(&self.0).arg((left * 4096).to_string()).status();
        assert!(filled.is_ok_and(|status| status.success()));
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filled")).expect("ours");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn plan(suite: Suite) -> Plan {
    let mut plan = Plan::for_suite("full-queue", suite);
    plan.with_delivery()
        .set("in_flow_delay", "0")
        // With a limit smtpd asks for room for the largest message.
        .set("message_size_limit", "0")
        .set("mailbox_size_limit", "0")
        .set("mail_spool_directory", "$queue_directory/../mail/")
        .set("alias_maps", "inline:{ {away=bob@void.example} }")
        .set("transport_maps", "inline:{ {void.example=discard:}, {later.example=retry:4.2.1 x}, {never.example=error:5.7.1 x} }")
        .set("virtual_alias_maps", "")
        .set("smtpd_recipient_restrictions", "check_sender_access static:HOLD, permit")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("minimal_backoff_time", "1h")
        .set("maximal_backoff_time", "2h")
        .set("service_throttle_time", "1s")
        .set("transport_retry_time", "1s")
        .set("notify_classes", "")
        .set("biff", "no");
    plan
}

/// The queue ID of a message from `man`.
fn send(instance: &Instance, subject: &str, recipient: &str) -> Result<String, String> {
    let mut client = Client::connect(instance.smtp_port());
    // A notice with such a message takes more than a page.
    let text = "some text in a line\n".repeat(500);
    let reply =
        client.send_message("man@example.com", &[recipient], &format!("Subject: {subject}\n\n{text}last\n"));
    let text = reply.text();
    if reply.code == 250 { Ok(text.rsplit(' ').next().expect("a word").to_owned()) } else { Err(text) }
}

/// Where a message is.
fn place(instance: &Instance, id: &str) -> Option<&'static str> {
    let is_there = |queue: &&str| instance.queue(queue).iter().any(|file| file.queue_id == id);
    ["incoming", "active", "deferred", "hold", "corrupt"].into_iter().find(|queue| is_there(queue))
}

#[test]
fn mail_waits_for_room() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    for left in [0, 2] {
        let [theirs, ours] = on_both(|suite| full(suite, left));
        require!(theirs.is_some() && ours.is_some(), "nothing can be mounted here");
        assert_eq!(ours, theirs, "with {left} pages left");
    }
}

/// What a play gives on Postfix and on the suite under test.
fn on_both<T: Send>(play: impl Fn(Suite) -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        [Suite::Postfix, Suite::under_test()]
            .map(|suite| {
                scope.spawn({
                    let play = &play;
                    move || play(suite)
                })
            })
            .map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// What comes of each message while but so many pages of the disk are left, and after.
fn full(suite: Suite, left: usize) -> Option<Vec<String>> {
    let prepared = plan(suite).prepare();
    let disk = Disk::mount(&prepared.queue_directory())?;
    // It ends before the disk is taken away, on which it is written which process is its master.
    let instance = prepared;
    open_mail(&instance);
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let held: Vec<(&str, String)> = MESSAGES
        .iter()
        .map(|(subject, recipient)| (*subject, send(&instance, subject, recipient).expect("there is room")))
        .collect();
    disk.fill(left);
    // Where nothing is left smtpd may see that before.
    let refused = send(&instance, "new", "bob@void.example").expect_err("there is no room for it");
    let mut lines = vec![format!("new: {}", if left == 0 { &refused[..2] } else { &refused })];
    let mut seen = settled(&instance);
    for (subject, id) in &held {
        lines.push(format!("{subject}: {:?}", attempt(&instance, id)));
        lines.extend(told(&instance, seen, &held));
        seen = settled(&instance);
    }
    let put_off = |log: &str| log.matches("status=deferred (x)").count();
    let before = put_off(&instance.log_text());
    disk.free();
    instance.run("postqueue", &["-f"]);
    lines.push("free".to_owned());
    // All but one, two notices, and what was forwarded.
    let is_over = || {
        let log = instance.log_text();
        let is_put_off = put_off(&log) > before && place(&instance, &held[0].1) == Some("deferred");
        is_put_off && log.matches(": removed\n").count() == MESSAGES.len() + 2
    };
    instance.wait_for("the rest", || is_over().then_some(()));
    lines.extend(told(&instance, seen, &held));
    lines.extend(mailboxes(&instance));
    Some(lines)
}

/// Where a held message is after an attempt to deliver it; nowhere when it is done.
fn attempt(instance: &Instance, id: &str) -> Option<&'static str> {
    assert_eq!(instance.run("postsuper", &["-H", id]).status, Some(0));
    assert_eq!(instance.run("postqueue", &["-i", id]).status, Some(0));
    instance.wait_for_log(&format!("{id}: from=<man@example.com>"));
    instance.wait_for("the end of the attempt", || match place(instance, id) {
        None => instance.log_text().contains(&format!("{id}: removed")).then_some(None),
        Some(place) => (place == "deferred").then_some(Some(place)),
    })
}

fn open_mail(instance: &Instance) {
    // The bounce services, from 3.10 on.
    instance.expect_fault("fatal: append file ");
    let mail = instance.home().join("mail");
    fs::create_dir(&mail).expect("our own folder");
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o1777)).expect("our own folder");
}

/// How many lines there are, when all that has been logged is there.
fn settled(instance: &Instance) -> usize {
    let last = format!("so far {}", instance.log().len());
    assert_eq!(instance.run("postlog", &["-t", "postfix/postsuper", &last]).status, Some(0));
    instance.wait_for_log(&last);
    instance.log().len()
}

/// What has been logged of the messages since, in no order.
fn told(instance: &Instance, seen: usize, held: &[(&str, String)]) -> Vec<String> {
    let mut names: HashMap<String, String> = HashMap::new();
    for (subject, id) in held {
        names.insert(id.clone(), (*subject).to_uppercase());
    }
    settled(instance);
    let home = instance.home().display().to_string();
    let lines: BTreeSet<String> = instance
        .log()
        .into_iter()
        .skip(seen)
        .filter(|line| !["smtpd", "master", "postsuper"].contains(&line.program()))
        .map(|line| {
            let text = mask(&line.text.replace(&home, "HOME"), &names);
            let text = ASKED.replace(&text, "asking $2 failed");
            format!("  {}: {}", line.program(), PASSING.replace_all(&text, "X"))
        })
        .collect();
    lines.into_iter().collect()
}

/// What each user has got, by subjects.
fn mailboxes(instance: &Instance) -> Vec<String> {
    let mut subjects = Vec::new();
    for user in ["games", "man"] {
        let files =
            fs::read_dir(instance.home().join("mail").join(user).join("new")).into_iter().flatten().flatten();
        for file in files {
            let text = fs::read_to_string(file.path()).expect("just seen");
            let lines = text
                .lines()
                .filter(|line| line.starts_with("Subject: "))
                .map(|line| format!("{user}: {line}"));
            subjects.extend(lines);
        }
    }
    subjects.sort();
    subjects
}

#[test]
fn nothing_can_be_made_safe() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let [theirs, ours] = on_both(failing);
    require!(theirs.is_some() && ours.is_some(), "system calls cannot be made to fail here");
    assert_eq!(ours, theirs);
}

/// What comes of each message while no file can be synced.
fn failing(suite: Suite) -> Option<Vec<String>> {
    let instance = plan(suite).start();
    open_mail(&instance);
    let held: Vec<(&str, String)> = MESSAGES
        .iter()
        .map(|(subject, recipient)| (*subject, send(&instance, subject, recipient).expect("all is well")))
        .collect();
    instance.stop();
    let started = with_failing_sync(|| instance.start_master(&["-w"]))?;
    assert_eq!(started.status, Some(0));
    let mut lines = vec![format!("new: {:?}", send(&instance, "new", "bob@void.example").map(|_| "taken"))];
    let mut seen = settled(&instance);
    for (subject, id) in &held {
        lines.push(format!("{subject}: {:?}", attempt(&instance, id)));
        lines.extend(told(&instance, seen, &held));
        seen = settled(&instance);
    }
    lines.extend(mailboxes(&instance));
    Some(lines)
}
