//! A running mail system under load has its programs exchanged for the other side's, as an administrator would do it,
//! and back: Debian's Postfix for Postern's, or the other way round, whichever is under test. No message is lost, and
//! no client sees an error but while master itself is restarted.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use conformance::{
    Client, Instance, Plan, Sink, Suite, free_port, peer_program, require, run, version_at_least,
};
use nix::unistd::Uid;

/// What the clients have seen.
#[derive(Debug, Default)]
struct Record {
    stop: AtomicBool,
    restarting: AtomicBool,
    /// Recipients whose message was acknowledged.
    acknowledged: Mutex<Vec<String>>,
    /// Everything unexpected.
    errors: Mutex<Vec<String>>,
}

impl Record {
    fn acknowledge(&self, recipient: String) {
        self.acknowledged.lock().expect("no thread panics holding it").push(recipient);
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("no thread panics holding it").len()
    }

    /// Clients that send a message a session, again and again.
    fn clients(self: &Arc<Record>, port: u16, count: usize) -> Vec<JoinHandle<()>> {
        let spawn = |number: usize| {
            let record = Arc::clone(self);
            thread::spawn(move || record.sessions(port, number))
        };
        (0..count).map(spawn).collect()
    }

    fn sessions(&self, port: u16, client: usize) {
        for message in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let expects_trouble = self.restarting.load(Ordering::SeqCst);
            let recipient = format!("c{client}-{message}@remote.example");
            if let Err(trouble) = self.session(port, &recipient)
                && !expects_trouble
                && !self.restarting.load(Ordering::SeqCst)
            {
                self.errors.lock().expect("no thread panics holding it").push(trouble);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn session(&self, port: u16, recipient: &str) -> Result<(), String> {
        let mut client = Client::try_connect(port).map_err(|error| error.to_string())?;
        if client.greeting().code != 220 {
            return Err(format!("greeting: {}", client.greeting().text()));
        }
        let reply = client.send_message("alice@example.net", &[recipient], "Subject: exchange\n\nHello.\n");
        if reply.code != 250 {
            return Err(format!("{recipient}: {}", reply.text()));
        }
        self.acknowledge(recipient.to_owned());
        match client.command("QUIT") {
            reply if reply.code == 221 => Ok(()),
            reply => Err(format!("QUIT: {}", reply.text())),
        }
    }

    /// smtp-source, run after run, until told to stop: sessions of many messages.
    fn source(self: &Arc<Record>, port: u16, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
        const MESSAGES: usize = 40;
        let (record, stop) = (Arc::clone(self), Arc::clone(stop));
        thread::spawn(move || {
            for round in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // With -N each recipient begins with the number of the message.
                let (recipient, messages) = (format!("s{round}@remote.example"), MESSAGES.to_string());
                let address = format!("127.0.0.1:{port}");
                let arguments = [
                    "-d",
                    "-N",
                    "-s",
                    "4",
                    "-m",
                    &messages,
                    "-f",
                    "a@example.net",
                    "-t",
                    &recipient,
                    &address,
                ];
                let outcome = run(&peer_program("smtp-source"), &arguments, &[], b"");
                if (outcome.status, outcome.err().as_str()) != (Some(0), "") {
                    let trouble = format!("smtp-source: {:?} {}", outcome.status, outcome.err());
                    record.errors.lock().expect("no thread panics holding it").push(trouble);
                }
                (1..=MESSAGES).for_each(|number| record.acknowledge(format!("{number}{recipient}")));
            }
        })
    }
}

/// Puts `daemon` of `suite` into the daemon directory under another name, and that name into master.cf.
fn name_in_master_cf(instance: &Instance, daemon: &str, from: &str, to: &str, suite: &Suite) {
    let link = instance.home().join("libexec").join(to);
    let path = suite.daemon(daemon).expect("both sides have it");
    if link.symlink_metadata().is_err() {
        symlink(path, link).expect("our own folder");
    }
    instance.edit_master_cf(|text| {
        let change = |line: &str| match line.strip_suffix(from) {
            Some(front) if front.ends_with(' ') && !line.starts_with(' ') => format!("{front}{to}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(change).collect()
    });
    reload(instance);
    settle(instance, to, from);
}

/// Points a name of the daemon directory at the program of `suite`; the one before stays reachable as `NAME.before`.
fn point_at(instance: &Instance, daemon: &str, suite: &Suite) {
    let folder = instance.home().join("libexec");
    let (link, before, new) =
        (folder.join(daemon), folder.join(format!("{daemon}.before")), folder.join(format!("{daemon}.new")));
    drop(fs::remove_file(&before));
    symlink(fs::read_link(&link).expect("a link"), &before).expect("our own folder");
    symlink(suite.daemon(daemon).expect("both sides have it"), &new).expect("our own folder");
    fs::rename(new, link).expect("our own folder");
}

fn reload(instance: &Instance) {
    let outcome = instance.run("postfix", &["reload"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err());
}

/// Waits until processes of the new program are at work and those of the old one have gone.
fn settle(instance: &Instance, new: &str, old: &str) {
    instance.wait_for(&format!("{new} instead of {old}"), || {
        (!instance.processes(new).is_empty() && instance.processes(old).is_empty()).then_some(())
    });
}

/// Waits until so many more messages have been acknowledged.
fn work(instance: &Instance, record: &Record, messages: usize) {
    let goal = record.count() + messages;
    instance.wait_for("more messages", || (record.count() >= goal).then_some(()));
}

/// `postfix start`. From 3.9 on Debian's runs a script by its full name, which a name space has there.
fn start(instance: &Instance) {
    let command = instance.suite().command("postfix").expect("both suites have it");
    let outcome = if version_at_least(3, 9) && !instance.suite().is_ours("postfix") {
        let programs = Suite::Postfix.daemon("master").expect("Debian has one");
        let folder = programs.parent().and_then(Path::parent).expect("usr/lib/postfix/sbin");
        let layer = instance.home().join("usr-lib");
        if !layer.exists() {
            fs::create_dir(&layer).expect("our own folder");
            symlink(folder, layer.join("postfix")).expect("our own folder");
        }
        let script = "mount -t overlay overlay -o \"lowerdir=$0:/usr/lib\" /usr/lib && exec \"$@\"";
        let (layer, command) = (layer.to_string_lossy(), command.to_string_lossy());
        let words = ["unshare", "-m", "sh", "-c", script, &layer, &command, "start"];
        instance.run_path(Path::new("/usr/bin/env"), &words, b"")
    } else {
        instance.run_path(&command, &["start"], b"")
    };
    assert_eq!(outcome.status, Some(0), "{}", outcome.err());
}

fn exchange_master(instance: &Instance, record: &Record, suite: &Suite) {
    record.restarting.store(true, Ordering::SeqCst);
    let stopped = instance.run("postfix", &["stop"]);
    assert_eq!(stopped.status, Some(0), "{}", stopped.err());
    instance.wait_for("the end of master", || instance.master_pid().is_none().then_some(()));
    point_at(instance, "master", suite);
    // A cleanup that was ended between making a file and naming it leaves the temporary name behind. Debian's postsuper
    // warns of it at the start, as the mail owner, who may not write to a log that root has made.
    let log = instance.home().join("log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("our own file");
    start(instance);
    record.restarting.store(false, Ordering::SeqCst);
    // Others may be forked ones that do not run their own program yet.
    let master = instance.master_pid().expect("it has just started");
    assert!(instance.processes("master").contains(&master), "{}", instance.log_text());
}

#[test]
fn programs_are_exchanged_under_load_and_nothing_is_lost() {
    require!(
        matches!(Suite::under_test(), Suite::Postfix | Suite::Postern),
        "exchanges whole suites' programs; a mixture is what it makes"
    );
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents need root");
    let own = Suite::under_test();
    let other = if own == Suite::Postfix { Suite::Postern } else { Suite::Postfix };
    let sink_port = free_port();
    let mut plan = Plan::new("exchange");
    plan.with_delivery();
    plan.set("transport_maps", &format!("inline:{{ remote.example=smtp:[127.0.0.1]:{sink_port} }}"))
        // How many messages wait for the sink depends on how fast this machine takes them in.
        .set("qmgr_clog_warn_time", "0")
        .set("smtp_host_lookup", "native")
        // After a restart the queue manager puts off what the agents of before still have locked.
        .set("queue_run_delay", "1s")
        .set("minimal_backoff_time", "1s")
        .set("maximal_backoff_time", "1s");
    let instance = plan.start();
    let sink = Sink::start(sink_port, instance.home());
    let record = Arc::new(Record::default());
    let clients = record.clients(instance.smtp_port(), 3);
    let source_stop = Arc::new(AtomicBool::new(false));
    let source = record.source(instance.smtp_port(), &source_stop);

    work(&instance, &record, 50);
    name_in_master_cf(&instance, "smtpd", "smtpd", "smtpd.other", &other);
    work(&instance, &record, 50);
    name_in_master_cf(&instance, "smtpd", "smtpd.other", "smtpd", &own);
    work(&instance, &record, 50);
    for side in [&other, &own] {
        point_at(&instance, "cleanup", side);
        reload(&instance);
        settle(&instance, "cleanup", "cleanup.before");
        work(&instance, &record, 50);
    }
    source_stop.store(true, Ordering::SeqCst);
    source.join().expect("the source does not panic");
    for side in [&other, &own] {
        exchange_master(&instance, &record, side);
        work(&instance, &record, 50);
    }
    record.stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("no client panics"));

    deliver_the_rest(&instance);
    assert!(instance.queue("corrupt").is_empty());
    let errors = record.errors.lock().expect("all threads have ended");
    assert!(errors.is_empty(), "{errors:#?}");
    let texts = sink.messages();
    let delivered: HashSet<&str> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("X-Rcpt-Args: <")?.split('>').next())
        .collect();
    let acknowledged = record.acknowledged.lock().expect("all threads have ended");
    let lost: Vec<_> =
        acknowledged.iter().filter(|recipient| !delivered.contains(recipient.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    assert_no_complaints(&instance);
}

/// Flushes the queue until it is empty.
fn deliver_the_rest(instance: &Instance) {
    let mut next_flush = Instant::now();
    instance.wait_for("empty queue", || {
        if Instant::now() >= next_flush {
            assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
            next_flush = Instant::now() + Duration::from_secs(2);
        }
        let queues = ["maildrop", "incoming", "active", "deferred"];
        // A cleanup that was ended may leave a file behind that nobody has been told of.
        let is_empty = |queue: &&str| instance.queue(queue).iter().all(|file| file.mode & 0o100 == 0);
        queues.iter().all(is_empty).then_some(())
    });
}

/// Warnings about each other's files and messages there must be none; about the folder of links, which
/// `postfix start` inspects, there may.
fn assert_no_complaints(instance: &Instance) {
    let words = ["warning: ", "error: ", "fatal: ", "panic: "];
    let complaints: Vec<String> = instance
        .log()
        .into_iter()
        .filter(|line| line.program() != "postfix-script")
        .map(|line| format!("{}: {}", line.ident, line.text))
        .filter(|line| words.iter().any(|word| line.contains(word)))
        // A reload closes connections between two requests, whosever programs they are.
        .filter(|line| !line.contains("warning: problem talking to service "))
        .filter(|line| !line.contains("warning: connect #"))
        // smtp has lost the connection cache to the restart of master twice.
        .filter(|line| !line.contains("/smtp: warning: disabling connection caching"))
        // The postsuper of a start or reload may see a file under the name it has until its ID is known.
        .filter(|line| !line.contains("postsuper: warning: bogus file name: incoming/"))
        // At the height of the load as many triggers wait for the queue manager as its socket takes.
        .filter(|line| {
            !line.ends_with(
                "master_wakeup_timer_event: service qmgr(public/qmgr): Resource temporarily unavailable",
            )
        })
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
