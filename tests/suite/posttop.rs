//! What posttop shows: as JSON, as text, and on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use conformance::{Client, Instance, Plan, Suite, require};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use rusqlite::Connection;

const WHY: &str = "Postfix has no such command, and its daemons count nothing";
const PATIENCE: Duration = Duration::from_secs(60);

fn ours() -> bool {
    let suite = Suite::under_test();
    matches!(suite, Suite::Postern | Suite::PosternWith(_)) && suite.is_ours("smtpd")
}

fn start(name: &str, metrics: &str) -> Instance {
    let mut plan = Plan::new(name);
    plan.with_delivery();
    plan.set("metrics_enable", metrics)
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("local_transport", "retry:4.2.0 no\u{1b}[2J route")
        .set("smtpd_recipient_restrictions", "check_recipient_access inline:{ {hold@example.com = HOLD} }");
    plan.start()
}

/// What `--json` says at this path.
fn ask(json: &str, path: &str) -> String {
    let sqlite = Connection::open_in_memory().expect("memory");
    let value: Option<String> = sqlite
        .query_row("SELECT CAST(json_extract(?1, ?2) AS TEXT)", [json, path], |row| row.get(0))
        .unwrap_or_else(|error| panic!("{error}: {json}"));
    value.unwrap_or_default()
}

fn json(instance: &Instance) -> String {
    let outcome = instance.run("posttop", &["--json"]);
    assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()), "{outcome:?}");
    String::from_utf8(outcome.stdout).expect("UTF-8")
}

#[test]
fn sessions_and_the_queue() {
    require!(ours(), WHY);
    let instance = start("posttop-json", "yes");
    let mut client = Client::connect(instance.smtp_port());
    client.send_message("a@example.com", &["later@example.com", "more@example.com"], "Subject: x\n\nText\n");
    client.command("MAIL FROM:<a@example.com>");
    // Cleanup's answer, the queue ID, is waited for with the next command.
    for recipient in ["b", "c"] {
        assert_eq!(client.command(&format!("RCPT TO:<{recipient}@example.com>")).code, 250);
    }
    let found = instance.wait_for("the message is deferred", || {
        let found = json(&instance);
        (ask(&found, "$.queue.queues[0].queue_name") == "deferred").then_some(found)
    });
    for (path, value) in [
        ("$.sessions[0].service", "127.0.0.1:"),
        ("$.sessions[0].client", "localhost[127.0.0.1]"),
        ("$.sessions[0].stage", "RCPT"),
        ("$.sessions[0].activity", "client"),
        ("$.sessions[1]", ""),
        ("$.totals.sessions", "1"),
        ("$.totals.messages", "2"),
        ("$.totals.deferred", "2"),
        ("$.queue.queues[0].messages", "1"),
        ("$.queue.destinations[0].name", "example.com"),
        ("$.queue.destinations[0].recipients", "2"),
        ("$.queue.reasons[0].recipients", "2"),
        ("$.errors", "{}"),
    ] {
        let found = ask(&found, path);
        assert!(
            found == value || (path.ends_with("service") && found.starts_with(value)),
            "{path}: {found}, not {value}"
        );
    }
    // The log's words for the same session.
    let number: u32 = ask(&found, "$.sessions[0].number").parse().expect("a number");
    let id = ask(&found, "$.sessions[0].queue_id");
    for text in ["connect from localhost[127.0.0.1]", &format!("{id}: client=localhost[127.0.0.1]")] {
        let is_there =
            || instance.log().iter().any(|line| line.pid == number && line.text == text).then_some(());
        instance.wait_for(text, is_there);
    }
    // A process that dies leaves nothing behind.
    let pid: i32 = ask(&found, "$.sessions[0].pid").parse().expect("a number");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is there");
    instance.wait_for("nobody is served", || (ask(&json(&instance), "$.sessions") == "[]").then_some(()));
    instance.expect_fault("killed by signal 9");

    let outcome = instance.run("posttop", &["--once"]);
    let text = String::from_utf8(outcome.stdout).expect("UTF-8");
    assert!(text.contains("deferred 1 (oldest ") && text.contains("no?[2J route"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80 && !line.contains(char::is_control)), "{text}");
}

#[test]
fn what_is_not_known_is_said() {
    require!(ours(), WHY);
    let instance = start("posttop-off", "no");
    let found = json(&instance);
    assert_eq!(ask(&found, "$.errors.sessions"), "metrics_enable is off");
    assert_eq!(ask(&found, "$.sessions"), "");
    assert_eq!(ask(&found, "$.queue.queues"), "[]");
    instance.run("postfix", &["stop"]);
    let outcome = instance.run("posttop", &[]);
    let text = String::from_utf8(outcome.stdout).expect("UTF-8");
    assert!(
        text.contains("sessions  not known: metrics_enable is off\n")
            && text.contains("queue     not known: "),
        "{text}"
    );
}

/// The command on a terminal of 80 columns and 24 rows.
struct Screen {
    terminal: File,
    slave: std::os::fd::OwnedFd,
    child: Child,
    seen: String,
}

impl Screen {
    fn start(instance: &Instance) -> Screen {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal");
        // The terminal ends when we close it, and not when some child does.
        sys::fd::set_cloexec(&pty.master, true).expect("our own descriptor");
        sys::fd::set_cloexec(&pty.slave, true).expect("our own descriptor");
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let program = instance.suite().command("posttop").expect("it is ours");
        let mut command = Command::new(program);
        command.args(["-i", "1"]).env("MAIL_CONFIG", instance.home().join("etc"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it is built");
        let terminal = File::from(pty.master);
        Screen { terminal, slave: pty.slave, child, seen: String::new() }
    }

    /// Reads until this has been drawn.
    fn wait_for(&mut self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        self.seen.clear();
        while !self.seen.contains(part) {
            assert!(Instant::now() < deadline, "no {part:?} in {:?}", self.seen);
            let limit = Some(Duration::from_secs(1));
            if sys::poll::readable(&self.terminal, limit).expect("our own descriptor") {
                let mut bytes = [0; 4096];
                let count = self.terminal.read(&mut bytes).expect("we have the other end");
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).expect("it is open");
    }

    /// Whether input comes line by line and is echoed.
    fn is_usual(&self) -> bool {
        tcgetattr(&self.slave)
            .expect("a terminal")
            .local_flags
            .contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it goes on: {:?}", self.child.id());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn on_a_terminal() {
    require!(ours(), WHY);
    let instance = start("posttop-screen", "yes");
    let mut client = Client::connect(instance.smtp_port());
    client.send_message("a@example.com", &["later@example.com"], "Subject: x\n\nText\n");
    let id = instance.wait_for("the message is deferred", || {
        instance.queue("deferred").first().map(|file| file.queue_id.clone())
    });
    let mut screen = Screen::start(&instance);
    screen.wait_for("localhost[127.0.0.1]");
    assert!(!screen.is_usual());
    screen.press("m");
    screen.wait_for(&id);
    screen.press("\r");
    screen.wait_for(&format!("{id}: client=localhost"));
    screen.press("q");
    screen.wait_for("[Messages]");
    // Not without a yes.
    screen.press("x");
    screen.wait_for(&format!("Delete {id}? y does it"));
    screen.press("n");
    screen.wait_for("nothing was done");
    assert_eq!(instance.queue("deferred").len(), 1);
    screen.press("h");
    screen.wait_for("y does it");
    screen.press("y");
    screen.wait_for("Placed on hold: 1 message");
    screen.wait_for("hold 1 ");
    screen.press("x");
    screen.wait_for("y does it");
    screen.press("y");
    screen.wait_for("Deleted: 1 message");
    screen.wait_for("queue     empty");
    screen.press("w?");
    screen.wait_for("the story of the message");
    screen.press("qq");
    assert_eq!(screen.wait().code(), Some(0));
    screen.wait_for("\u{1b}[?1049l");
    assert!(screen.is_usual());
}

#[test]
fn a_screen_ends_with_a_signal_and_with_its_terminal() {
    require!(ours(), WHY);
    let instance = start("posttop-ends", "yes");
    let mut screen = Screen::start(&instance);
    screen.wait_for("[Sessions]");
    kill(Pid::from_raw(i32::try_from(screen.child.id()).expect("a pid")), Signal::SIGTERM)
        .expect("it is there");
    assert_eq!(screen.wait().code(), Some(0));
    screen.wait_for("\u{1b}[?1049l");
    assert!(screen.is_usual());
    let mut screen = Screen::start(&instance);
    screen.wait_for("[Sessions]");
    screen.terminal = File::open("/dev/null").expect("it is everywhere");
    assert_eq!(screen.wait().code(), Some(1));
}
