//! Any process of a delivery killed at any moment: each message comes to each of its recipients, whole, and more than once only
//! where a delivery was in progress when somebody was killed.
//!
//! Mail comes in through a before-queue filter, which lives, and goes to mailboxes, to commands, and to servers by SMTP and LMTP.
//!
//! The victim is stopped first, so that the queue files that it has open are those that it was at work on. What goes by the
//! name of a message is its token, and a copy is whole when the token stands in its last line.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use conformance::{Dice, ExampleFilter, Instance, Plan, Service, Sink, free_port, require};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use regex_lite::Regex;

use super::{End, Session};

const SENDERS: usize = 3;
/// More messages than these are not on their way at a time.
const UNDER_WAY: usize = 40;
/// Who is killed; some of them more often.
const VICTIMS: &[&str] = &[
    "qmgr",
    "qmgr",
    "local",
    "local",
    "virtual",
    "virtual",
    "pipe",
    "pipe",
    "bounce",
    "bounce",
    "master",
    "cleanup",
    "trivial-rewrite",
    "error",
    "smtp",
    "smtp",
    "lmtp",
    "smtpd",
];
const AGENTS: &[&str] = &["local", "virtual", "pipe", "bounce", "error", "cleanup", "smtp", "lmtp"];

/// Where a copy of each message must be, below the folder `mail`, and who gets it there.
const PLACES: &[(&str, &str)] = &[
    ("users/games/new", "games@example.com"),
    ("box", "box@example.com"),
    ("robot/new", "robot@example.com"),
    ("users/proxy/new", "proxy@example.com"),
    ("away/new", "proxy@example.com"),
    ("v/maildir/new", "maildir@v.test"),
    ("v/mbox", "mbox@v.test"),
    ("v/round/new", "round@example.com"),
    ("piped/new", "p@pipe.test"),
    ("later/new", "later@pipe.test"),
    ("sent", "s@smtp.test"),
    ("sent-by-lmtp", "l@lmtp.test"),
    // The notice.
    ("users/irc/new", "nosuch@example.com"),
];

/// Keeps what it gets in a folder; now and then it cannot.
const TAKE: &str = "#!/bin/sh\ncd HOME/mail/$1 || exit 75\n\
    [ $1 = later ] && [ $(($(od -An -N1 -tu1 /dev/urandom) % 3)) = 0 ] && exit 75\n\
    file=$(mktemp tmp/XXXXXXXXXX) && cat >$file && mv $file new/ || exit 75\n";

/// Where the server listens that speaks LMTP, below the queue directory.
const LMTP_SOCKET: &str = "private/sink";

/// An instance whose filter and whose server of the rest of the world are at these ports; the port behind the filter.
fn plan(filter: u16, sink: u16) -> (Plan, u16) {
    let mut plan = Plan::new("crash-delivering");
    plan.with_delivery();
    let after = plan.proxied(filter);
    for (name, value) in [
        ("mail_spool_directory", "$queue_directory/../mail/users/"),
        ("alias_maps", "texthash:$queue_directory/../etc/aliases"),
        ("forward_path", "HOME/forward/$user"),
        ("virtual_mailbox_domains", "v.test"),
        ("virtual_mailbox_base", "$queue_directory/../mail/v"),
        (
            "virtual_mailbox_maps",
            "inline:{ {maildir@v.test=maildir/}, {mbox@v.test=mbox}, {round@v.test=round/} }",
        ),
        ("virtual_uid_maps", "static:4001"),
        ("virtual_gid_maps", "static:4002"),
        ("service_throttle_time", "1s"),
        ("transport_retry_time", "1s"),
        ("minimal_backoff_time", "1s"),
        ("maximal_backoff_time", "1s"),
        ("queue_run_delay", "1s"),
        ("biff", "no"),
        // The lock file of a delivery that was killed lies there until it is as old as this.
        ("stale_lock_time", "3s"),
        // Who is asked to add Delivered-To: gets one recipient at a time.
        ("take_destination_recipient_limit", "1"),
    ] {
        plan.set(name, value);
    }
    let transports = format!(
        "inline:{{ {{pipe.test=take:}}, {{smtp.test=smtp:[127.0.0.1]:{sink}}}, {{lmtp.test=lmtp:unix:{LMTP_SOCKET}}} }}"
    );
    plan.set("transport_maps", &transports);
    plan.service(Service::new(
        "take unix - n n - - pipe flags=DRu user=games argv=/bin/sh ../mail/take ${user}",
    ));
    (plan, after)
}

/// The folders, all of them anybody's.
fn lay_out(home: &Path) {
    let mail = home.join("mail");
    let open = |folder: &Path| {
        fs::create_dir_all(folder).expect("our own folder");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o1777)).expect("our own folder");
    };
    open(&mail);
    for folder in ["users", "v", "forward"] {
        open(&if folder == "forward" { home.join(folder) } else { mail.join(folder) });
    }
    for command in ["robot", "away", "p", "later"] {
        for part in ["", "new", "tmp"] {
            open(&mail.join(if command == "p" { "piped" } else { command }).join(part));
        }
    }
    std::os::unix::fs::symlink("piped", mail.join("p")).expect("our own folder");
    let home = home.display().to_string();
    let take = mail.join("take");
    fs::write(&take, TAKE.replace("HOME", &home)).expect("our own folder");
    fs::set_permissions(&take, fs::Permissions::from_mode(0o755)).expect("our own file");
    let aliases = "box HOME/mail/box\nrobot \"|HOME/mail/take robot\"\nround round@v.test\n";
    fs::write(format!("{home}/etc/aliases"), aliases.replace("HOME", &home)).expect("our own folder");
    let forward = format!("{home}/forward/proxy");
    fs::write(&forward, format!("\\proxy, \"|{home}/mail/take away\"\n")).expect("our own folder");
    let proxy = User::from_name("proxy").ok().flatten().expect("Debian's base accounts");
    chown(&forward, Some(proxy.uid.as_raw()), Some(proxy.gid.as_raw())).expect("root may");
}

/// The queue files that a process has open.
fn at_work_on(pid: i32, spool: &Path) -> HashSet<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|path| path.starts_with(spool))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| name.len() > 7 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .collect()
}

/// Kills a process of this program, if there is one; what was being delivered.
fn kill_one(instance: &Instance, victim: &str, dice: &mut Dice) -> Option<HashSet<String>> {
    let spool = instance.queue_directory();
    let everything = || -> HashSet<String> {
        let agents = AGENTS.iter().flat_map(|agent| instance.processes(agent));
        agents.flat_map(|pid| at_work_on(pid, &spool)).collect()
    };
    if victim == "master" {
        let under_way = everything();
        instance.signal_master(Signal::SIGKILL);
        instance.wait_for("new master", || (instance.start_master(&["-w"]).status == Some(0)).then_some(()));
        return Some(under_way);
    }
    let processes = instance.processes(victim);
    // One that is at work, if any is.
    let busy: Vec<i32> =
        processes.iter().copied().filter(|&pid| !at_work_on(pid, &spool).is_empty()).collect();
    let choice = if busy.is_empty() { &processes } else { &busy };
    if choice.is_empty() {
        return None;
    }
    let pid = *dice.one_of(choice);
    kill(Pid::from_raw(pid), Signal::SIGSTOP).ok()?;
    let under_way = if victim == "qmgr" { everything() } else { at_work_on(pid, &spool) };
    kill(Pid::from_raw(pid), Signal::SIGKILL).ok()?;
    Some(under_way)
}

/// The copies in a place: each token with the queue IDs that the copies went by, and how many they are.
fn copies(place: &Path) -> HashMap<String, (HashSet<String>, usize)> {
    let last = Regex::new("(?m)^last (token-[0-9]+-end)$").expect("a pattern");
    let id = Regex::new("[ \t]id ([0-9A-Za-z]{8,})[ ;\n]").expect("a pattern");
    let texts: Vec<String> = if place.is_dir() {
        fs::read_dir(place).expect("a folder").flatten().map(|entry| entry.path()).collect()
    } else {
        vec![place.to_owned()]
    }
    .iter()
    .map(|path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    .collect();
    let mut found: HashMap<String, (HashSet<String>, usize)> = HashMap::new();
    for text in &texts {
        let mut start = 0;
        for end in last.captures_iter(text) {
            let whole = end.get(0).expect("the match").end();
            let (ids, count) = found.entry(end[1].to_owned()).or_default();
            ids.extend(id.captures_iter(&text[start..whole]).map(|part| part[1].to_owned()));
            (*count, start) = (*count + 1, whole);
        }
    }
    found
}

#[test]
fn killing_any_process_of_a_delivery_loses_nothing() {
    require!(Uid::effective().is_root(), "mailboxes belong to other users");
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = setting("POSTERN_KILLS").unwrap_or(10);
    let mut dice = setting("POSTERN_SEED").map_or_else(Dice::of_the_clock, Dice::new);
    let (filter, sink) = (free_port(), free_port());
    let (plan, after) = plan(filter, sink);
    let instance = plan.prepare();
    let _filter = ExampleFilter::start(filter, after);
    let home = instance.home().display().to_string();
    instance.edit_main_cf(|text| text.replace("HOME", &home));
    lay_out(instance.home());
    let _servers = [
        Sink::start(sink, instance.home()),
        Sink::start_lmtp(&instance.queue_directory().join(LMTP_SOCKET), instance.home()),
    ];
    for (own, place) in [(format!("../sink-{sink}"), "sent"), ("../sink-lmtp".to_owned(), "sent-by-lmtp")] {
        std::os::unix::fs::symlink(own, instance.home().join("mail").join(place)).expect("our own folder");
    }
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));

    let (done, counter) = (AtomicBool::new(false), AtomicUsize::new(0));
    let taken = AtomicUsize::new(0);
    let mut recipients: Vec<&str> = PLACES.iter().map(|(_, recipient)| *recipient).collect();
    recipients.dedup();
    let mut victims: Vec<(String, HashSet<String>)> = Vec::new();
    let acknowledged = thread::scope(|scope| {
        let sender = || {
            let mut acknowledged = Vec::new();
            while !done.load(Ordering::Relaxed) {
                if ["incoming", "active"].iter().map(|queue| instance.queue(queue).len()).sum::<usize>()
                    > UNDER_WAY
                {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
                let token = format!("token-{}-end", counter.fetch_add(1, Ordering::Relaxed));
                let content = format!(
                    "Subject: crash\r\nMessage-ID: <{token}@example.net>\r\n\r\n{}last {token}\r\n.\r\n",
                    "some text in a line\r\n".repeat(200)
                );
                if Session::send(instance.smtp_port(), "irc@example.com", &recipients, &content) {
                    acknowledged.push(token);
                    taken.fetch_add(1, Ordering::Relaxed);
                } else {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            acknowledged
        };
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(sender)).collect();
        {
            let _end = End(&done);
            let mut killed = 0;
            while killed < kills {
                thread::sleep(Duration::from_millis(50 + dice.below(300)));
                // Each time there is a message more, however slow the machine is.
                instance.wait_for("a message that was taken", || {
                    (taken.load(Ordering::Relaxed) as u64 > killed).then_some(())
                });
                let victim = *dice.one_of(VICTIMS);
                if let Some(under_way) = kill_one(&instance, victim, &mut dice) {
                    victims.push((victim.to_owned(), under_way));
                    killed += 1;
                }
            }
        }
        senders.into_iter().flat_map(|sender| sender.join().expect("it does not panic")).collect::<Vec<_>>()
    });
    // A long run has much to do yet.
    for _ in 0..=kills / 10 {
        let before = std::time::Instant::now();
        while before.elapsed() < Duration::from_secs(20) && !is_empty(&instance) {
            assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
            thread::sleep(Duration::from_millis(700));
        }
    }
    instance.wait_for("an empty queue", || is_empty(&instance).then_some(()));

    println!(
        "{} acknowledged of {}, {} killed",
        acknowledged.len(),
        counter.load(Ordering::Relaxed),
        victims.len()
    );
    assert!(acknowledged.len() as u64 >= kills, "the load was no load");
    let (mut lost, mut unexplained, mut twice) = (Vec::new(), Vec::new(), 0);
    for (place, _) in PLACES {
        let found = copies(&instance.home().join("mail").join(place));
        lost.extend(
            acknowledged.iter().filter(|token| !found.contains_key(*token)).map(|token| (*place, token)),
        );
        for (token, (ids, count)) in &found {
            twice += count - 1;
            let in_progress: Vec<_> = victims
                .iter()
                .filter(|(_, under_way)| !under_way.is_disjoint(ids))
                .map(|(name, _)| name)
                .collect();
            if in_progress.len() < count - 1 {
                unexplained
                    .push(format!("{place}: {token} {count} times ({ids:?}); killed at it: {in_progress:?}"));
            }
        }
    }
    println!("{twice} copies too many, of deliveries that were in progress");
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(unexplained.is_empty(), "twice for no reason: {unexplained:#?}");
    let log = instance.log_text();
    assert!(!log.contains(": panic: "), "somebody panicked");
    assert!(instance.queue("corrupt").is_empty());
    for folder in ["bounce", "defer", "trace"] {
        assert!(instance.queue(folder).is_empty(), "{:?}", instance.queue(folder));
    }
}

/// Whether nothing is to be delivered any more. What a killed cleanup has begun is not in the queue.
fn is_empty(instance: &Instance) -> bool {
    let queues = ["maildrop", "incoming", "active", "deferred", "hold"];
    queues.iter().all(|queue| instance.queue(queue).iter().all(|file| file.mode & 0o700 != 0o700))
}
