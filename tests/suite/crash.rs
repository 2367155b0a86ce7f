//! Processes killed at any moment: what was acknowledged is in the queue, what is in the queue is whole.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use conformance::{Dice, ExampleFilter, Instance, Plan, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod delivering;
mod failing_sync;
mod full_mailboxes;
mod full_queue;

const SENDERS: usize = 8;
/// How often somebody is killed (`POSTERN_KILLS`); each time there is a message more that was acknowledged, however slow the machine is.
const KILLS: usize = 60;

/// Answers read by a client that must survive every way a session can end.
struct Session {
    server: BufReader<TcpStream>,
}

impl Session {
    fn open(port: u16) -> Option<Session> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let mut session = Session { server: BufReader::new(stream) };
        session.expect(b'2').then_some(session)
    }

    fn say(&mut self, text: &str, class: u8) -> bool {
        self.server.get_ref().write_all(text.as_bytes()).is_ok() && self.expect(class)
    }

    fn expect(&mut self, class: u8) -> bool {
        let mut line = String::new();
        while self.server.read_line(&mut line).is_ok_and(|read| read > 0) {
            if line.as_bytes().get(3) == Some(&b' ') {
                return line.as_bytes().first() == Some(&class);
            }
            line.clear();
        }
        false
    }

    /// Whether the server said 250 to the whole message, which ends with its dot.
    fn send(port: u16, sender: &str, recipients: &[&str], content: &str) -> bool {
        let Some(mut session) = Session::open(port) else { return false };
        session.say("EHLO client.example.net\r\n", b'2')
            && session.say(&format!("MAIL FROM:<{sender}>\r\n"), b'2')
            && recipients.iter().all(|recipient| session.say(&format!("RCPT TO:<{recipient}>\r\n"), b'2'))
            && session.say("DATA\r\n", b'3')
            && session.say(content, b'2')
    }

    fn deliver(port: u16, token: &str) -> bool {
        let content = format!(
            "Subject: crash\r\nX-Token: {token}\r\n\r\n{}.\r\n",
            "some text in a line\r\n".repeat(200)
        );
        Session::send(port, "a@example.net", &["b@example.com"], &content)
    }
}

/// Ends the senders when it goes, also by a panic, which would wait for them for ever.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killing_any_process_at_any_time_loses_nothing_acknowledged() {
    let filter_port = free_port();
    let mut plan = Plan::new("crash");
    let after = plan.proxied(filter_port);
    // A process killed in its first request throttles its service; the test cannot wait a minute each time.
    plan.set("service_throttle_time", "1s");
    let instance = plan.start();
    let mut filter = ExampleFilter::start(filter_port, after);

    let acknowledged = Mutex::new(Vec::new());
    let (done, counter) = (AtomicBool::new(false), AtomicU32::new(0));
    let port = instance.smtp_port();
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let token = format!("token-{}-end", counter.fetch_add(1, Ordering::Relaxed));
                    if Session::deliver(port, &token) {
                        acknowledged.lock().expect("nobody panics with it").push(token);
                    } else {
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            });
        }
        let _end = End(&done);
        kill_at_random(&instance, &mut filter, || acknowledged.lock().expect("nobody panics with it").len());
    });
    let acknowledged = acknowledged.into_inner().expect("nobody panicked with it");
    println!("{} messages acknowledged of {}", acknowledged.len(), counter.load(Ordering::Relaxed));

    let mut found = HashSet::new();
    for file in instance.queue("incoming").iter().filter(|file| file.mode & 0o700 == 0o700) {
        assert!(file.is_complete(), "{file:?} would be taken by a queue manager and is not whole");
        let text = String::from_utf8_lossy(&file.bytes()).into_owned();
        let token = text.split("X-Token: ").nth(1).and_then(|rest| rest.split_inclusive("-end").next());
        // A server whose cleanup dies tells the postmaster so, in a message of its own.
        let notice = text.contains("Subject: Postfix SMTP server: errors from");
        assert!(token.is_some() || notice, "{file:?} is neither a message of ours nor a notice");
        found.extend(token.map(str::to_owned));
    }
    let lost: Vec<_> = acknowledged.iter().filter(|token| !found.contains(*token)).collect();
    assert!(lost.is_empty(), "acknowledged and not in the queue: {lost:?}");
}

/// Kills one process after the other: workers, the filter, now and then the master.
fn kill_at_random(instance: &Instance, filter: &mut ExampleFilter, acknowledged: impl Fn() -> usize) {
    let mut dice = Dice::of_the_clock();
    let kills = std::env::var("POSTERN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let mut killed = 0;
    while killed < kills {
        thread::sleep(Duration::from_millis(50 + dice.below(200)));
        instance.wait_for("a message that was acknowledged", || (acknowledged() > killed).then_some(()));
        match dice.below(12) {
            0 => filter.replace(),
            1 => {
                instance.signal_master(Signal::SIGKILL);
                instance.wait_for("new master", || {
                    (instance.start_master(&["-w"]).status == Some(0)).then_some(())
                });
            }
            _ => {
                let daemon =
                    dice.one_of(&["smtpd", "smtpd", "cleanup", "cleanup", "trivial-rewrite", "anvil"]);
                let processes = instance.processes(daemon);
                if processes.is_empty() {
                    continue;
                }
                let victim = *dice.one_of(&processes);
                // It may have ended by itself since it was seen.
                let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
            }
        }
        killed += 1;
    }
}
