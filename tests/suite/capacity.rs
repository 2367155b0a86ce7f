//! Postern's own parameters for many clients: several sessions a process, a bounded filter.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

use conformance::{Client, Instance, Plan, Play, ScriptedFilter, Suite, require};
use nix::sys::signal::Signal;

fn ours() -> bool {
    Suite::under_test().is_ours("smtpd")
}

const WHY: &str = "the parameters are Postern's own";

#[test]
fn sessions_share_a_process_and_each_has_its_number_in_the_log() {
    require!(ours(), WHY);
    let mut plan = Plan::new("sessions");
    plan.set("smtpd_sessions_per_process", "10");
    let instance = plan.start();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(instance.smtp_port())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let sender = format!("s{number}@example.net");
        assert_eq!(client.send_message(&sender, &["b@example.com"], "Subject: x\r\n\r\ny\r\n").code, 250);
    }
    for client in &mut clients {
        assert_eq!(client.command("QUIT").code, 221);
    }
    instance.wait_for("five goodbyes", || {
        let gone = instance.log_of("smtpd").iter().filter(|line| line.starts_with("disconnect")).count();
        (gone == 5).then_some(())
    });
    let lines = instance.log();
    let numbers = |start: &str| -> BTreeSet<u32> {
        let of = lines.iter().filter(|line| line.text.starts_with(start) && line.program() == "smtpd");
        of.map(|line| line.pid).collect()
    };
    assert_eq!(numbers("connect from").len(), 5);
    assert_eq!(numbers("connect from"), numbers("disconnect from"));
    // The process that master knows, and the one with the sessions.
    assert_eq!(instance.processes("smtpd").len(), 2);
    assert_eq!(instance.queue("incoming").len(), 5);
}

/// A server with a scripted filter, one conversation at a time.
fn narrow(name: &str, parameters: &[(&str, &str)]) -> (Instance, ScriptedFilter) {
    let filter = ScriptedFilter::start();
    let mut plan = Plan::new(name);
    plan.proxied(filter.port());
    plan.set("smtpd_sessions_per_process", "20").set("smtpd_proxy_concurrency_limit", "1");
    for (parameter, value) in parameters {
        plan.set(parameter, value);
    }
    (plan.start(), filter)
}

#[test]
fn conversations_with_the_filter_are_limited_and_all_messages_get_their_turn() {
    require!(ours(), WHY);
    let (instance, filter) = narrow("gate", &[]);
    let port = instance.smtp_port();
    let senders: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(port);
                let sender = format!("s{number}@example.net");
                client.send_message(&sender, &["b@example.com"], "Subject: x\r\n\r\ny\r\n").code
            })
        })
        .collect();
    for sender in senders {
        assert_eq!(sender.join().expect("no panic"), 250);
    }
    let heard = filter.heard();
    let steps = heard.iter().filter(|line| line.starts_with("MAIL") || *line == ".");
    let steps: Vec<&str> = steps.map(|line| if line == "." { "." } else { "MAIL" }).collect();
    assert_eq!(steps, ["MAIL", "."].repeat(8), "one after the other");
}

#[test]
fn no_more_connections_than_conversations_whatever_lives_on() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    // Two filters to the server; whatever is open at a time is seen in one place.
    let both = format!("127.0.0.1:{0},inet:127.0.0.1:{0}", filter.port());
    for reuse in ["1", "2", "100"] {
        let mut plan = Plan::new("gate-connections");
        plan.set("smtpd_sessions_per_process", "20").set("smtpd_proxy_concurrency_limit", "3");
        plan.set("smtpd_proxy_reuse_limit", reuse).set("smtpd_proxy_reuse_idle_limit", "1s");
        *plan.smtpd() = plan.smtpd().clone().option("smtpd_proxy_filter", &both);
        let instance = plan.start();
        let port = instance.smtp_port();
        let senders: Vec<_> = (0..10)
            .map(|number| {
                std::thread::spawn(move || {
                    let sender = format!("s{number}@example.net");
                    let send = || {
                        let mut client = Client::connect(port);
                        client.send_message(&sender, &["b@example.com"], "Subject: x\r\n\r\ny\r\n").code
                    };
                    (0..5).all(|_| send() == 250)
                })
            })
            .collect();
        assert!(senders.into_iter().all(|sender| sender.join().expect("no panic")), "reuse {reuse}");
        filter.heard();
        assert!((1..=3).contains(&filter.most_open()), "reuse {reuse}: {}", filter.most_open());
        filter.reset();
    }
}

#[test]
fn a_connection_counts_until_the_filter_has_ended_it() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    filter.linger(Duration::from_millis(200));
    let mut plan = Plan::new("gate-leaving");
    plan.proxied(filter.port());
    plan.set("smtpd_sessions_per_process", "20").set("smtpd_proxy_concurrency_limit", "3");
    plan.set("smtpd_proxy_reuse_limit", "100").set("smtpd_proxy_reuse_idle_limit", "1s");
    let instance = plan.start();
    let port = instance.smtp_port();
    let crowd = || {
        let send = move || {
            let mut client = Client::connect(port);
            client.send_message("a@example.net", &["b@example.com"], "Subject: x\r\n\r\ny\r\n").code
        };
        let senders: Vec<_> = (0..9).map(|_| std::thread::spawn(send)).collect();
        assert!(senders.into_iter().all(|sender| sender.join().expect("no panic") == 250));
    };
    // The second crowd comes when the connections of the first have been idle for too long, and are being ended.
    crowd();
    instance.wait_for("the end of idleness", || {
        filter.heard_so_far().iter().any(|line| line == "QUIT").then_some(())
    });
    crowd();
    filter.heard();
    assert!((1..=3).contains(&filter.most_open()), "{}", filter.most_open());
}

#[test]
fn mail_that_would_wait_for_the_filter_too_long_is_put_off() {
    require!(ours(), WHY);
    let (instance, filter) = narrow("gate-busy", &[("smtpd_proxy_queue_time_limit", "1s")]);
    filter.play(".", [Play::Silence]);
    let content = "Subject: x\r\n\r\ny\r\n";
    let mut stuck = Client::connect(instance.smtp_port());
    stuck.send(b"HELO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n.\r\n");
    instance.wait_for("the filter's silence", || {
        filter.heard_so_far().iter().any(|line| line == ".").then_some(())
    });
    let busy = "451 4.3.2 Error: the content filter is busy, try again later";
    let mut waits = Client::connect(instance.smtp_port());
    waits.command("EHLO x");
    // Whether it is put off at MAIL or at the end depends on how long the first has been silent.
    let mail = waits.command("MAIL FROM:<c@example.net>");
    if mail.code == 250 {
        waits.command("RSET");
        assert_eq!(waits.send_message("c@example.net", &["b@example.com"], content).text(), busy);
        instance.wait_for_log("proxy-reject: END-OF-MESSAGE: 451 4.3.2");
    } else {
        assert_eq!(mail.text(), busy);
    }
    assert_eq!(waits.command("MAIL FROM:<d@example.net>").text(), busy);
    instance
        .wait_for_log("NOQUEUE: reject: MAIL from localhost[127.0.0.1]: 451 4.3.2 Error: the content filter");
}

/// Starts with a limit of open files for smtpd, which it cannot raise, not even as the superuser.
fn start_with_few_files(plan: &Plan, files: usize) -> Instance {
    let instance = plan.prepare();
    let smtpd = instance.home().join("libexec/smtpd");
    let program = smtpd.canonicalize().expect("a link to it");
    let confine = if nix::unistd::Uid::effective().is_root() {
        "/usr/bin/setpriv --bounding-set=-sys_resource "
    } else {
        ""
    };
    let script = format!(
        "#!/bin/sh\nexec {confine}/usr/bin/prlimit --nofile={files}:{files} {} \"$@\"\n",
        program.display()
    );
    fs::remove_file(&smtpd).expect("our own link");
    fs::write(&smtpd, script).expect("our own folder");
    fs::set_permissions(&smtpd, fs::Permissions::from_mode(0o755)).expect("our own file");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    instance
}

/// No session has met the limit in a system call.
fn nothing_has_failed(instance: &Instance) {
    let log = instance.log_text();
    assert!(!log.contains("Too many open files"), "{log}");
    assert!(!log.contains("fatal:") && !log.contains("panic:"), "{log}");
}

/// Enough for all sessions of [`ALL_AT_WORK`], and for one in seven of them at work; were all of them to have a connection
/// to cleanup, it would be too few.
const FILES_FOR_SOME: usize = 700;
const ALL_AT_WORK: usize = 370;

#[test]
fn sessions_that_all_want_to_work_have_their_turns_at_the_open_files() {
    require!(ours(), WHY);
    let mut plan = Plan::new("few-files-turns");
    plan.set("smtpd_sessions_per_process", &ALL_AT_WORK.to_string());
    plan.set("max_use", &ALL_AT_WORK.to_string());
    // Else each had a connection to anvil as well.
    plan.set("smtpd_client_connection_count_limit", "0");
    let instance = start_with_few_files(&plan, FILES_FOR_SOME);
    let port = instance.smtp_port();
    // Whoever has begun a message goes on when all others have too, or can not.
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().expect("nobody has panicked");
    let (begun, beginners) = mpsc::channel();
    let senders = (0..ALL_AT_WORK).map(|number| {
        let (gate, begun) = (Arc::clone(&gate), begun.clone());
        std::thread::spawn(move || {
            let mut client = Client::connect(port);
            assert_eq!(client.command("EHLO x").code, 250, "{number}");
            let mail = client.command("MAIL FROM:<a@example.net>");
            // A machine may be too slow to give everybody a turn in time.
            assert!([250, 452].contains(&mail.code), "{number}: {}", mail.text());
            let accepted = mail.code == 250;
            if accepted {
                assert_eq!(client.command("RCPT TO:<b@example.com>").text(), "250 2.1.5 Ok", "{number}");
            }
            begun.send(()).expect("somebody counts");
            drop(gate.read());
            if accepted {
                assert_eq!(client.command("DATA").code, 354, "{number}");
                assert_eq!(client.command("Subject: x\r\n\r\ny\r\n.").code, 250, "{number}");
            }
            assert_eq!(client.command("QUIT").code, 221, "{number}");
            accepted
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut count = 0;
    while count < ALL_AT_WORK {
        match beginners.recv_timeout(Duration::from_millis(500)) {
            Ok(()) => count += 1,
            Err(_) if count > 0 => break,
            Err(_) => {}
        }
    }
    drop(closed);
    let accepted = senders.into_iter().map(|sender| sender.join().expect("an answer to everything"));
    let accepted = accepted.filter(|accepted| *accepted).count();
    assert!(accepted > 0);
    assert_eq!(instance.queue("incoming").len(), accepted);
    let all = format!(" of {ALL_AT_WORK} sessions work at a time");
    assert!(instance.log_text().contains(&all), "the limit is in force: {}", instance.log_text());
    nothing_has_failed(&instance);
}

/// Open files of a process: all but a few dozens belong to the process itself.
const FEW_FILES: usize = 260;
const CROWD: usize = 40;

/// Sends from so many sessions that are open at once; how many messages were acknowledged.
fn crowd(port: u16) -> usize {
    let content = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(10_000));
    let senders = (0..CROWD).map(|number| {
        let (small, large) = ("Subject: x\r\n\r\ny\r\n", content.clone());
        std::thread::spawn(move || {
            let mut client = Client::connect(port);
            assert_eq!(client.greeting().code, 220, "{number}");
            let mut accepted = 0;
            for content in [small, &large, small] {
                let sender = format!("s{number}@example.net");
                let reply = client.send_message(&sender, &["b@example.com"], content);
                // A permit may not become free in time, on a machine that is busy with other things.
                assert!([250, 452].contains(&reply.code), "{number}: {}", reply.text());
                accepted += usize::from(reply.code == 250);
            }
            client.command("QUIT");
            accepted
        })
    });
    let senders: Vec<_> = senders.collect();
    senders.into_iter().map(|sender| sender.join().expect("an answer to everything")).sum()
}

#[test]
fn a_process_with_few_open_files_answers_everybody_and_loses_nothing() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    for proxied in [false, true] {
        let mut plan = Plan::new(if proxied { "few-files-filter" } else { "few-files" });
        plan.set("smtpd_sessions_per_process", "60");
        if proxied {
            plan.proxied(filter.port());
            plan.set("smtpd_proxy_concurrency_limit", "5").set("smtpd_proxy_reuse_limit", "10");
            plan.set("smtpd_proxy_reuse_idle_limit", "1s");
        }
        let instance = start_with_few_files(&plan, FEW_FILES);
        let accepted = crowd(instance.smtp_port());
        assert!(accepted > 0);
        if proxied {
            let heard = filter.heard_so_far();
            assert_eq!(heard.iter().filter(|line| *line == ".").count(), accepted);
        } else {
            let files = instance.queue("incoming");
            assert_eq!(files.len(), accepted);
            assert!(files.iter().all(|file| file.is_complete()));
        }
        nothing_has_failed(&instance);
    }
}

#[test]
fn a_service_that_is_gone_turns_clients_away_while_its_last_session_goes_on() {
    require!(ours(), WHY);
    let mut plan = Plan::new("gone-service");
    plan.set("smtpd_sessions_per_process", "5");
    let instance = plan.start();
    let port = instance.smtp_port();
    let mut client = Client::connect(port);
    assert_eq!(client.command("EHLO client.example.net").code, 250);
    instance.edit_master_cf(|text| {
        text.lines()
            .filter(|line| !line.contains(&port.to_string()))
            .map(|line| format!("{line}\n"))
            .collect()
    });
    instance.signal_master(Signal::SIGHUP);
    // Taken by the kernel for a socket that nobody waits at, a client would wait for a greeting.
    let connect = || TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(5));
    let refused = instance.wait_for("closed listen sockets", || connect().err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(client.command("NOOP").code, 250);
    client.command("QUIT");
    instance.wait_for("the end of the service", || instance.processes("smtpd").is_empty().then_some(()));
}
