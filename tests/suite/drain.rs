//! `postfix stop --drain`, which only Postern has: nobody is cut off, another instance takes over without a gap, and what is
//! left is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use conformance::{Client, Instance, Outcome, Plan, Service, Suite, free_port, require, run};

/// Whether both programs are Postern's, and have it.
fn possible() -> bool {
    ["postfix", "master", "smtpd"].iter().all(|program| Suite::under_test().is_ours(program))
}

/// `postfix stop` with these options, aside.
fn stop(instance: &Instance, options: &[&str]) -> thread::JoinHandle<Outcome> {
    let postfix = instance.suite().command("postfix").expect("cargo build makes it");
    let configuration = instance.home().join("etc").to_string_lossy().into_owned();
    let words: Vec<String> =
        std::iter::once("stop").chain(options.iter().copied()).map(str::to_owned).collect();
    thread::spawn(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&postfix, &words, &[("MAIL_CONFIG", &configuration)], b"")
    })
}

fn begin(port: u16) -> Client {
    let mut client = Client::connect(port);
    for (command, code) in
        [("EHLO a", 250), ("MAIL FROM:<a@example.net>", 250), ("RCPT TO:<b@example.com>", 250), ("DATA", 354)]
    {
        assert_eq!(client.command(command).code, code, "{command}");
    }
    client
}

/// The entrance is closed at once; who is inside goes through the filter, and by the service behind it, to the queue.
#[test]
fn clients_and_what_the_filter_has_are_served_to_their_end() {
    require!(possible(), "only Postern's master drains");
    let mut plan = Plan::new("drain");
    let port = plan.smtp_port();
    let (filter_port, behind) = (free_port(), free_port());
    // An entrance is what names no loopback address.
    let entrance = Service::new(format!("{port} inet n - n - - smtpd"))
        .option("smtpd_proxy_filter", &format!("127.0.0.1:{filter_port}"));
    *plan.smtpd() = entrance;
    plan.set("inet_interfaces", "127.0.0.1")
        .service(Service::new(format!("127.0.0.1:{behind} inet n - n - - smtpd")));
    let instance = plan.start();
    let filter = relay(filter_port, behind);
    let mut client = begin(port);
    let mut idle = Client::connect(port);
    let stopping = stop(&instance, &["--drain"]);
    instance.wait_for_log("draining: no more clients are taken");
    instance.wait_for("a closed entrance", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    // Behind the filter it is still open, and a reload would open all.
    assert_eq!(Client::connect(behind).command("QUIT").code, 221);
    let pid = instance.master_pid().expect("it runs");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGHUP).expect("ours");
    instance.wait_for_log("reload refused: the mail system is being drained");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!stopping.is_finished());
    let reply = client.command("Subject: drained\r\n\r\nx\r\n.");
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(client.command("QUIT").code, 221);
    assert_eq!(idle.command("NOOP").code, 250);
    assert!(!stopping.is_finished());
    assert_eq!(idle.command("QUIT").code, 221);
    let outcome = stopping.join().expect("no panic");
    filter.end();
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.err().contains("messages that remain in the queue: 1 (1 incoming)"), "{outcome:?}");
    assert_eq!(instance.queue("incoming").len(), 1);
    let text = instance.log_text();
    assert!(text.contains("drained: the last client has gone"), "{text}");
    for bad in ["lost connection after DATA", "accept connection", "warning: proxy"] {
        assert!(!text.contains(bad), "{bad} in {text}");
    }
    assert!(!instance.queue_directory().join("pid/drain").exists());
}

/// A filter that passes every byte on, and so holds its conversation behind as long as that before.
struct Relay {
    stopped: Arc<AtomicBool>,
    port: u16,
}

fn relay(port: u16, behind: u16) -> Relay {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let stopped = Arc::new(AtomicBool::new(false));
    let is_stopped = Arc::clone(&stopped);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if is_stopped.load(Ordering::Relaxed) {
                return;
            }
            let Ok(server) = TcpStream::connect(("127.0.0.1", behind)) else { continue };
            for (mut from, mut to) in [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))]
                .map(|(from, to)| (from.expect("a descriptor"), to.expect("a descriptor")))
            {
                thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut bytes) {
                        if to.write_all(&bytes[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    Relay { stopped, port }
}

impl Relay {
    fn end(self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

#[test]
fn who_stays_for_too_long_is_told_of() {
    require!(possible(), "only Postern's master drains");
    let instance = Plan::new("drain-late").start();
    let mut client = begin(instance.smtp_port());
    let outcome = stop(&instance, &["--drain", "--timeout=2"]).join().expect("no panic");
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.err().contains("warning: clients are still connected"), "{outcome:?}");
    instance.wait_for("the end of the client", || (!client.is_open()).then_some(()));
    for (arguments, status) in [(&["--drain"][..], 1), (&["--drain", "--soon"], 1), (&["now"], 1)] {
        assert_eq!(
            stop(&instance, arguments).join().expect("no panic").status,
            Some(status),
            "{arguments:?}"
        );
    }
}

#[test]
fn what_waits_is_tried_once_more_or_told_of() {
    require!(possible(), "only Postern's master drains");
    require!(nix::unistd::Uid::current().is_root(), "delivery needs the superuser");
    let mut plan = Plan::new("drain-flush");
    plan.with_delivery().set("local_transport", "discard:").set("defer_transports", "discard");
    let instance = plan.start();
    let mut client = begin(instance.smtp_port());
    assert_eq!(client.command("Subject: x\r\n\r\nx\r\n.").code, 250);
    drop(client);
    instance.wait_for_log("status=deferred (deferred transport)");
    let outcome = stop(&instance, &["--drain"]).join().expect("no panic");
    assert!(outcome.err().contains("messages that remain in the queue: 1 (1 deferred)"), "{outcome:?}");
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    instance.edit_main_cf(|text| text.replace("defer_transports", "# defer_transports"));
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let outcome = stop(&instance, &["--drain", "--flush"]).join().expect("no panic");
    assert_eq!(outcome.status, Some(0), "{outcome:?} {}", instance.log_text());
    assert!(instance.log_text().contains("status=sent (example.com)"), "{}", instance.log_text());
}

/// Clients come as fast as they can while one instance takes over from the other, twice: each gets its message in.
#[test]
fn another_instance_takes_over_without_losing_a_session() {
    require!(possible(), "only Postern's master drains");
    let mut plan = Plan::new("rolling");
    plan.set("smtpd_client_connection_rate_limit", "0");
    let port = plan.smtp_port();
    let first = plan.start();
    let (stopped, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stopped, sent) = (Arc::clone(&stopped), Arc::clone(&sent));
            thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let mut client = Client::try_connect(port).expect("somebody listens at any time");
                    assert_eq!(client.greeting().code, 220);
                    let reply = client.send_message("a@example.net", &["b@example.com"], "Subject: x\n\nx\n");
                    assert_eq!(reply.code, 250, "{}", reply.text());
                    assert_eq!(client.command("QUIT").code, 221);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = |count: usize| {
        let before = sent.load(Ordering::Relaxed);
        first.wait_for("messages", || {
            (sent.load(Ordering::Relaxed) >= before + count
                || clients.iter().any(thread::JoinHandle::is_finished))
            .then_some(())
        });
    };
    let mut instances = vec![first.home().to_path_buf()];
    let mut all = Vec::new();
    more(20);
    let mut old = None;
    for round in 0..2 {
        let next = plan.start();
        instances.push(next.home().to_path_buf());
        let outcome = stop(old.as_ref().unwrap_or(&first), &["--drain"]).join().expect("no panic");
        assert_eq!(outcome.status, Some(2), "{round}: {outcome:?}");
        more(20);
        all.extend(old.replace(next));
    }
    stopped.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no session was lost");
    }
    let last = old.expect("two rounds");
    let counts = [&first, &all[0], &last].map(|instance| instance.queue("incoming").len());
    assert_eq!(counts.iter().sum::<usize>(), sent.load(Ordering::Relaxed), "{counts:?}");
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
}
