//! The queue manager by what it logs and does with files: transports and destinations that fail, time, damage, limits.
//! The agents are `error`, `retry` and `discard`; the rest of the chain is in `chain`.

mod answers;
mod busy;
mod further_requests;
mod neighbours;
mod scheduling;
mod silent;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use conformance::{Client, Instance, Plan, Suite, require};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

/// Where mail goes, by domain.
const TRANSPORTS: &str = "inline:{ \
    {void.example = discard:}, {later.example = retry:4.2.1 come back}, {never.example = error:5.7.1 go away}, \
    {nobody.example = nosuch:}, {closed.example = smtp:[127.0.0.1]:1} }";

fn instance(name: &str, settings: &[(&str, &str)]) -> Instance {
    let mut plan = Plan::new(name);
    plan.with_delivery();
    plan.set("transport_maps", TRANSPORTS)
        .set("virtual_alias_maps", "")
        .set("smtp_host_lookup", "native")
        // What is bound to fail is to come in.
        .set("smtpd_reject_unlisted_recipient", "no");
    for (parameter, value) in settings {
        plan.set(parameter, value);
    }
    plan.start()
}

/// Sends a message; its queue ID.
fn send(instance: &Instance, sender: &str, recipients: &[String]) -> String {
    let mut client = Client::connect(instance.smtp_port());
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let reply = client.send_message(sender, &recipients, "Subject: test\n\nHello.\n").text();
    client.command("QUIT");
    reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// Until each message is removed or deferred.
fn wait_for_end_of_each(instance: &Instance, ids: &[String]) {
    instance.wait_for("an end of each message", || {
        let log = instance.log_text();
        let is_done = |id: &String| {
            let deferred = instance.queue_directory().join("deferred").join(&id[..1]).join(id);
            deferred.exists() || log.contains(&format!("{id}: removed"))
        };
        ids.iter().all(is_done).then_some(())
    });
}

fn send_to(instance: &Instance, recipient: &str) -> String {
    send(instance, "joe@void.example", &[recipient.to_owned()])
}

/// The line of a message that has this part.
fn line_of(instance: &Instance, id: &str, part: &str) -> String {
    instance.wait_for(part, || {
        let lines = instance.log().into_iter().map(|line| line.text);
        lines.into_iter().find(|line| line.starts_with(id) && line.contains(part))
    })
}

fn wait_until_deferred(instance: &Instance, count: usize) {
    instance.wait_for("deferred messages", || {
        let settled = instance.queue("incoming").is_empty() && instance.queue("active").is_empty();
        (settled && instance.queue("deferred").len() == count).then_some(())
    });
}

fn deferred_file(instance: &Instance, id: &str) -> PathBuf {
    instance.queue_directory().join("deferred").join(&id[..1]).join(id)
}

#[test]
fn a_message_is_deferred_and_tried_again_until_it_is_too_old() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance(
        "qmgr-expiry",
        &[
            ("queue_run_delay", "2s"),
            ("minimal_backoff_time", "2s"),
            ("maximal_backoff_time", "2s"),
            ("maximal_queue_lifetime", "4s"),
            ("bounce_queue_lifetime", "4s"),
        ],
    );
    let id = send_to(&instance, "a@later.example");
    let active = line_of(&instance, &id, "(queue active)");
    assert!(active.starts_with(&format!("{id}: from=<joe@void.example>, size=")), "{active}");
    assert!(active.ends_with(", nrcpt=1 (queue active)"), "{active}");
    let status = line_of(&instance, &id, "status=deferred");
    assert!(status.starts_with(&format!("{id}: to=<a@later.example>, relay=none, delay=")), "{status}");
    assert!(status.ends_with(", dsn=4.2.1, status=deferred (come back)"), "{status}");
    let expired = line_of(&instance, &id, "status=expired");
    assert_eq!(expired, format!("{id}: from=<joe@void.example>, status=expired, returned to sender"));
    line_of(&instance, &id, "sender non-delivery notification: ");
    line_of(&instance, &id, ": removed");
    let lines = instance.log_of("qmgr");
    let own: Vec<_> = lines.iter().filter(|line| line.starts_with(&id)).collect();
    assert!(own.len() >= 4, "{own:#?}");
    instance.wait_for("empty queue", || instance.queue("deferred").is_empty().then_some(()));
}

/// How long from now the deferred messages wait.
fn pauses(instance: &Instance) -> Vec<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
    let now = i64::try_from(now).expect("small");
    let files = instance.queue("deferred").into_iter();
    files.map(|file| fs::metadata(&file.path).expect("it is there").mtime() - now).collect()
}

/// What was put off together does not come back together.
#[test]
fn pauses_differ_where_they_are_to() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    require!(Suite::under_test().is_ours("qmgr"), "the parameter is Postern's own");
    let settings = [("minimal_backoff_time", "10000s"), ("maximal_backoff_time", "10000s")];
    for (jitter, least, most) in [("0", 0, 60), ("50", 1000, 5000)] {
        let instance = instance("qmgr-jitter", &[&settings[..], &[("backoff_jitter", jitter)]].concat());
        for _ in 0..12 {
            send_to(&instance, "a@later.example");
        }
        wait_until_deferred(&instance, 12);
        let pauses = pauses(&instance);
        let (shortest, longest) =
            (pauses.iter().min().expect("twelve"), pauses.iter().max().expect("twelve"));
        assert!(*shortest > 10_000 - 120 && *longest <= 15_000, "{pauses:?}");
        assert!((least..=most).contains(&(longest - shortest)), "{jitter}: {pauses:?}");
    }
}

#[test]
fn a_transport_that_nobody_serves_is_dead_for_a_while() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance("qmgr-transport", &[]);
    let first = send_to(&instance, "a@nobody.example");
    let second = "4.3.0, status=deferred (mail transport unavailable)";
    line_of(&instance, &first, second);
    let next = send_to(&instance, "b@nobody.example");
    let line = line_of(&instance, &next, second);
    assert!(line.contains("relay=none"), "{line}");
    wait_until_deferred(&instance, 2);
    let text = instance.log_text();
    let warning = "warning: connect to transport private/nosuch: No such file or directory";
    assert_eq!(text.matches(warning).count(), 1, "{text}");
    assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
    instance.wait_for("another try", || (instance.log_text().matches(warning).count() > 1).then_some(()));
}

#[test]
fn a_destination_that_fails_is_left_alone() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    // With a limit of one a single failure is enough.
    let instance = instance("qmgr-destination", &[("smtp_destination_concurrency_limit", "1")]);
    let first = send_to(&instance, "a@closed.example");
    let refused = "status=deferred (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)";
    line_of(&instance, &first, refused);
    wait_until_deferred(&instance, 1);
    let second = send_to(&instance, "b@closed.example");
    let line = line_of(&instance, &second, "status=deferred");
    let reason = "(delivery temporarily suspended: connect to 127.0.0.1[127.0.0.1]:1: Connection refused)";
    assert!(line.ends_with(&format!("dsn=4.4.1, status=deferred {reason}")), "{line}");
    assert!(line.contains("relay=none"), "{line}");
    wait_until_deferred(&instance, 2);
    assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
    // One of the two is tried, and the other suffers for it.
    instance.wait_for("another try", || (instance.log_text().matches(refused).count() > 1).then_some(()));
}

#[test]
fn what_cannot_be_read_goes_to_corrupt_and_what_is_locked_waits() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance("qmgr-damage", &[]);
    let (damaged, locked) = (send_to(&instance, "a@later.example"), send_to(&instance, "b@later.example"));
    wait_until_deferred(&instance, 2);
    let path = deferred_file(&instance, &damaged);
    let file = OpenOptions::new().write(true).open(&path).expect("it is there");
    file.set_len(fs::metadata(&path).expect("it is there").len() - 5).expect("our own file");
    let held = File::open(deferred_file(&instance, &locked)).expect("it is there");
    let held = Flock::lock(held, FlockArg::LockSharedNonblock).unwrap_or_else(|(_, error)| panic!("{error}"));
    assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
    line_of(&instance, &locked, ": skipped, still being delivered");
    let corrupt = format!("saving corrupt file \"{damaged}\" from queue \"active\" to queue \"corrupt\"");
    instance.wait_for_log(&corrupt);
    instance.wait_for_log(&format!("{damaged}: message rejected: missing end record"));
    assert!(instance.queue_directory().join("corrupt").join(&damaged).exists());
    let incoming = instance.queue("incoming");
    let file = incoming.iter().find(|file| file.path.ends_with(&locked)).expect("it waits in incoming");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs();
    let ahead = fs::metadata(&file.path).expect("it is there").mtime() - i64::try_from(now).expect("small");
    assert!((30..=61).contains(&ahead), "{ahead} s");
    drop(held);
}

#[test]
fn expiry_can_be_forced() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance("qmgr-forced", &[]);
    let id = send_to(&instance, "a@later.example");
    wait_until_deferred(&instance, 1);
    assert_eq!(instance.run("postsuper", &["-e", &id]).status, Some(0));
    assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
    let line = line_of(&instance, &id, "status=force-expired");
    assert_eq!(line, format!("{id}: from=<joe@void.example>, status=force-expired, returned to sender"));
    line_of(&instance, &id, "sender non-delivery notification: ");
    line_of(&instance, &id, ": removed");
    let attempts = instance.log().into_iter().filter(|line| line.text.contains("status=deferred"));
    assert_eq!(attempts.count(), 1, "the log of the first attempt is used");
}

#[test]
fn defer_transports_are_tried_only_when_the_queue_is_flushed() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance("qmgr-deferred-transports", &[("defer_transports", "discard")]);
    let id = send_to(&instance, "a@void.example");
    let line = line_of(&instance, &id, "status=deferred");
    assert!(line.ends_with("dsn=4.3.2, status=deferred (deferred transport)"), "{line}");
    wait_until_deferred(&instance, 1);
    assert_eq!(instance.run("postqueue", &["-i", &id]).status, Some(0));
    line_of(&instance, &id, "status=sent (void.example)");
    line_of(&instance, &id, ": removed");
}

#[test]
fn every_recipient_of_a_large_message_gets_it_once() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance(
        "qmgr-recipients",
        &[
            ("qmgr_message_active_limit", "10"),
            ("qmgr_message_recipient_limit", "30"),
            ("default_recipient_limit", "20"),
            ("default_recipient_refill_limit", "5"),
            ("default_destination_recipient_limit", "3"),
            ("default_process_limit", "5"),
        ],
    );
    let recipients: Vec<String> = (0..400).map(|number| format!("user{number}@void.example")).collect();
    let mut asked = recipients.clone();
    asked.insert(100, "gone@never.example".to_owned());
    let id = send(&instance, "joe@void.example", &asked);
    line_of(&instance, &id, ": removed");
    let log = instance.log();
    for recipient in &recipients {
        let part = format!("{id}: to=<{recipient}>,");
        let lines =
            log.iter().filter(|line| line.text.starts_with(&part) && line.text.contains("status=sent"));
        assert_eq!(lines.count(), 1, "{recipient}");
    }
    let bounced = line_of(&instance, &id, "status=bounced");
    assert!(bounced.ends_with("dsn=5.7.1, status=bounced (go away)"), "{bounced}");
    line_of(&instance, &id, "sender non-delivery notification: ");
}

#[test]
fn a_late_message_is_told_of_once() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance("qmgr-delay", &[("delay_warning_time", "1s")]);
    let id = send_to(&instance, "a@later.example");
    wait_until_deferred(&instance, 1);
    let warnings = || instance.log_text().matches("sender delay notification: ").count();
    for _ in 0..3 {
        let attempts = instance.log_of("qmgr").len();
        // The warning's time is in whole seconds.
        instance.wait_for("the time of the warning", || {
            let made = fs::metadata(deferred_file(&instance, &id)).ok()?.ctime();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
            (i64::try_from(now).ok()? > made + 1).then_some(())
        });
        assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
        instance.wait_for("another attempt", || (instance.log_of("qmgr").len() > attempts).then_some(()));
        wait_until_deferred(&instance, 1);
    }
    line_of(&instance, &id, "sender delay notification: ");
    assert_eq!(warnings(), 1);
}

#[test]
fn active_mail_is_new_mail_after_a_restart() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    let instance = instance("qmgr-restart", &[]);
    let id = send_to(&instance, "a@later.example");
    wait_until_deferred(&instance, 1);
    // What is in nobody's hands but postlogd's when Postfix stops is not written.
    line_of(&instance, &id, "status=deferred");
    instance.stop();
    let active = instance.queue_directory().join("active").join(&id);
    fs::rename(deferred_file(&instance, &id), &active).expect("our own queue");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    instance.wait_for("another attempt", || {
        let log = instance.log();
        let lines =
            log.iter().filter(|line| line.text.starts_with(&id) && line.text.contains("status=deferred"));
        (lines.count() == 2).then_some(())
    });
}

/// What an agent was delivering may be delivered again, nothing may be left undone.
#[test]
fn a_queue_manager_that_is_killed_loses_nothing() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    // One that is killed before master has heard of it is started after this.
    let instance = instance("qmgr-killed", &[("service_throttle_time", "1s")]);
    let recipients = ["a@void.example", "b@void.example", "c@never.example"].map(str::to_owned);
    let mut sent = Vec::new();
    for _ in 0..10 {
        for _ in 0..8 {
            sent.push(send(&instance, "joe@void.example", &recipients));
        }
        // Past its start, and in the middle of its work.
        line_of(&instance, sent.last().expect("there are some"), "(queue active)");
        for process in instance.processes("qmgr") {
            // It may have gone by itself.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
    // Whoever was killed is started again by the next that has something for him. A file that moves may be seen nowhere, so
    // that is looked at twice.
    let is_empty = || ["incoming", "active", "deferred"].iter().all(|queue| instance.queue(queue).is_empty());
    instance.wait_for("empty queue", || {
        assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
        (is_empty() && is_empty()).then_some(())
    });
    // The log comes behind the files.
    for id in &sent {
        for (recipient, status) in [("a@void", "sent"), ("b@void", "sent"), ("c@never", "bounced")] {
            let start = format!("{id}: to=<{recipient}");
            line_of(&instance, &start, &format!("status={status}"));
        }
        line_of(&instance, &format!("{id}: sender non-delivery"), "");
    }
    assert!(instance.queue("corrupt").is_empty());
}
