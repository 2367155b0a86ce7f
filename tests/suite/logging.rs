//! postlog, postlogd, and where the lines of every program go.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use conformance::{Client, Instance, Plan, Service, Suite, free_port, require};
use nix::unistd::Uid;
use regex_lite::Regex;

/// An instance that is not started, with the test in postlogd's place.
struct Listener {
    instance: Instance,
    socket: UnixDatagram,
}

impl Listener {
    fn new(name: &str) -> Listener {
        let instance = Plan::new(name).prepare();
        let path = instance.queue_directory().join("public/postlog");
        let socket = UnixDatagram::bind(path).expect("a new folder");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        Listener { instance, socket }
    }

    fn receive(&self) -> String {
        let mut buffer = [0; 8192];
        let count = self.socket.recv(&mut buffer).expect("a line in time");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }
}

/// A datagram without time, host and number.
fn text(datagram: &str) -> String {
    let pattern =
        Regex::new(r"(?s)^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d mx (.*)\[\d+\]: (.*)$").expect("a literal");
    let parts = pattern.captures(datagram).unwrap_or_else(|| panic!("not a log record: {datagram:?}"));
    format!("{}: {}", &parts[1], &parts[2])
}

#[test]
fn a_line_is_a_datagram() {
    let listener = Listener::new("log-datagram");
    let long = "x".repeat(3000);
    for (arguments, expected) in [
        (&["hello", "there"][..], "postfix/postlog: hello there"),
        (&["-i", "-t", "foo/bar", "-p", "warn", "x  y", "z"], "foo/bar: warning: x  y z"),
        (&["-p", "WARNING", "x"], "postfix/postlog: warning: x"),
        (&["-p", "err", "x"], "postfix/postlog: error: x"),
        (&["-p", "Error", "x"], "postfix/postlog: error: x"),
        (&["-p", "crit", "x"], "postfix/postlog: fatal: x"),
        (&["-p", "panic", "x"], "postfix/postlog: panic: x"),
        (&["-p", "info", "--", "-p", "x"], "postfix/postlog: -p x"),
        (&["-t", "with[7]", "x"], "with[7]: x"),
        (&["-t", "", "x"], ": x"),
        (&["control\u{1}\tbytes\u{7f}\u{fc}"], "postfix/postlog: control??bytes?\u{fc}"),
        (&[""], "postfix/postlog: "),
        (&[&long], &format!("postfix/postlog: {}", "x".repeat(2000))),
        (&["-p", "warn", &long], &format!("postfix/postlog: warning: {}", "x".repeat(2000))),
    ] {
        let outcome = listener.instance.run("postlog", arguments);
        assert_eq!(outcome.status, Some(0), "{arguments:?}: {outcome:?}");
        assert_eq!(text(&listener.receive()), expected, "{arguments:?}");
        assert_eq!(outcome.err(), "", "only a terminal is shown the line");
    }
}

/// What of a daemon's lines under `-v` is about clients, in order, without numbers.
fn told_of_clients(instance: &Instance, program: &str) -> Vec<String> {
    const ABOUT: &[&str] = &[
        "process generation: ",
        "connection ",
        "master_notify: ",
        "spawn_service: ",
        "get_service_attr: ",
        "trigger_server_accept_",
        "dgram_server_accept: ",
    ];
    let digits = Regex::new("[0-9]+").expect("a literal");
    let lines = instance.log_of(program).into_iter();
    let lines = lines.filter(|line| ABOUT.iter().any(|begin| line.starts_with(begin)));
    lines.map(|line| digits.replace_all(&line, "N").into_owned()).collect()
}

#[test]
fn verbose_daemons_tell_of_their_clients() {
    require!(Uid::effective().is_root(), "spawn is for the superuser");
    let port = free_port();
    let mut plan = Plan::new("log-verbose");
    plan.service(Service::new(format!("127.0.0.1:{port} inet n n n - 0 spawn user=nobody argv=/bin/cat")));
    let instance = plan.prepare();
    // Postfix's postlogd tells itself what it does, and with enough of that it waits for itself for ever.
    let is_quiet = |words: &[&str]| words[7] == "postlogd" && !instance.suite().is_ours("postlogd");
    let verbose = |line: &str| {
        let mut words: Vec<_> = line.split_whitespace().collect();
        if !is_quiet(&words) {
            words.insert(8, "-v");
        }
        words.join(" ") + "\n"
    };
    instance.edit_master_cf(|text| text.lines().map(verbose).collect());
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("master listens");
    stream.write_all(b"hello").and_then(|()| stream.shutdown(Shutdown::Write)).expect("it is there");
    let mut echo = String::new();
    stream.read_to_string(&mut echo).expect("it is there");
    assert_eq!(echo, "hello");
    assert_eq!(instance.run("postqueue", &["-p"]).status, Some(0));
    let mut client = Client::connect(instance.smtp_port());
    assert_eq!(client.send_message("a@example.com", &["b@example.com"], "x\n").code, 250);
    let (begun, ended) = ("master_notify: status N", "connection closed");
    let start = "process generation: N (N)";
    let served = [start, "connection established", begun, begun, ended];
    let spawned = [
        start,
        "connection established",
        begun,
        "spawn_service: service=N.N.N.N:N, command=user=nobody...",
        "get_service_attr: uid N, gid N; time N",
        begun,
        ended,
    ];
    for (program, want) in [("spawn", &spawned[..]), ("showq", &served), ("cleanup", &served)] {
        instance.wait_for(program, || {
            told_of_clients(&instance, program).last().is_some_and(|line| line == ended).then_some(())
        });
        assert_eq!(told_of_clients(&instance, program), want, "{program}");
    }
    for (program, want) in [
        ("pickup", &[start, "trigger_server_accept_local: trigger arrived", begun, begun][..]),
        ("trivial-rewrite", &[start, "connection established fd N", begun]),
    ] {
        let mut lines = told_of_clients(&instance, program);
        lines.truncate(want.len());
        assert_eq!(lines, want, "{program}");
    }
    // It tells master of the first datagram.
    let lines = told_of_clients(&instance, "postlogd");
    let is_ours = instance.suite().is_ours("postlogd");
    for want in [begun, "dgram_server_accept: request arrived"].into_iter().filter(|_| is_ours) {
        assert!(lines.iter().any(|line| line == want), "{lines:?}");
    }
}

#[test]
fn without_operands_standard_input_is_logged() {
    let listener = Listener::new("log-input");
    let input = [&b"one\ntwo\n\ncr\r\nnul\0z\n"[..], &[b'y'; 5000], b"\nlast"].concat();
    let outcome = listener.instance.run_with_input("postlog", &["-p", "warn"], &input);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let long = "y".repeat(2000);
    for expected in ["one", "two", "", "cr?", "nul", &long, "last"] {
        assert_eq!(text(&listener.receive()), format!("postfix/postlog: warning: {expected}"));
    }
}

#[test]
fn smtputf8_decides_about_eight_bits() {
    let listener = Listener::new("log-eight-bits");
    listener.instance.edit_main_cf(|text| format!("{text}smtputf8_enable = no\n"));
    listener.instance.run("postlog", &["a\u{fc}b"]);
    assert_eq!(text(&listener.receive()), "postfix/postlog: a??b");
}

#[test]
fn errors_before_main_cf_is_read_follow_the_environment() {
    let listener = Listener::new("log-early");
    for (arguments, expected) in [
        (&["-p", "zzz", "x"][..], "postfix/postlog: fatal: bad severity: \"zzz\""),
        (
            &["-x"],
            "postfix/postlog: fatal: usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]",
        ),
        (
            &["-c", "/nonexistent", "x"],
            "postfix/postlog: fatal: open /nonexistent/main.cf: No such file or directory",
        ),
    ] {
        assert_eq!(listener.instance.run("postlog", arguments).status, Some(1), "{arguments:?}");
        assert_eq!(text(&listener.receive()), expected);
    }
}

#[test]
fn syslog_name_is_the_name() {
    let listener = Listener::new("log-name");
    listener.instance.edit_main_cf(|text| format!("{text}syslog_name = other/name\n"));
    listener.instance.run("postlog", &["x"]);
    assert_eq!(text(&listener.receive()), "other/name/postlog: x");
}

#[test]
fn without_postlogd_some_programs_write_the_file_themselves() {
    let instance = Plan::new("log-fallback").prepare();
    assert_eq!(instance.run("postlog", &["-t", "a/b", "written"]).status, Some(0));
    assert_eq!(instance.log()[0].text, "written");
    assert_eq!(instance.log()[0].ident, "a/b");
    // A file that more than one name leads to is not written.
    std::fs::hard_link(instance.home().join("log"), instance.home().join("other")).expect("our own folder");
    assert_eq!(instance.run("postlog", &["not written"]).status, Some(1));
    assert_eq!(instance.log().len(), 1);
}

#[test]
fn a_log_file_outside_of_the_prefixes_is_refused() {
    let instance = Plan::new("log-prefix").prepare();
    instance
        .edit_main_cf(|text| text.replace("maillog_file_prefixes = /", "maillog_file_prefixes = /var/lo"));
    assert_eq!(instance.run("postlog", &["x"]).status, Some(1));
    let lines: Vec<String> = instance.log().into_iter().map(|line| line.text).collect();
    let file = instance.home().join("log").display().to_string();
    let text =
        format!("fatal: maillog_file value '{file}' does not match any prefix in maillog_file_prefixes");
    // Postern's has the place behind Postfix's words.
    let place = lines.first().and_then(|line| line.strip_prefix(&text)).map(str::trim_start);
    let is_place =
        |place: &str| place.is_empty() || (place.starts_with('(') && place.contains("main.cf, line "));
    assert!(lines.len() == 1 && place.is_some_and(is_place), "{lines:?}");
}

#[test]
fn postlogd_appends_what_it_receives() {
    let instance = Plan::new("log-postlogd").start();
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.connect(instance.queue_directory().join("public/postlog")).expect("a listener");
    let long = format!("long{}", "z".repeat(6000));
    for datagram in ["Nov 22 06:14:14 mx a/b[1]: text", "anything at all\u{1}", &long] {
        socket.send(datagram.as_bytes()).expect("a listener");
    }
    instance.wait_for("the last line", || instance.log_text().contains("longzzz").then_some(()));
    let log = instance.log_text();
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("postfix/")).collect();
    assert_eq!(lines, ["Nov 22 06:14:14 mx a/b[1]: text", "anything at all\u{1}", &long[..4096]]);
}

#[test]
fn postlogd_starts_a_new_file_after_a_reload() {
    let instance = Plan::new("log-rotate").start();
    instance.run("postlog", &["before"]);
    instance.wait_for_log("before");
    let before = instance.processes("postlogd");
    std::fs::rename(instance.home().join("log"), instance.home().join("log.1")).expect("our own folder");
    instance.signal_master(nix::sys::signal::Signal::SIGHUP);
    instance.wait_for("a new postlogd", || {
        instance.run("postlog", &["after"]);
        (instance.processes("postlogd") != before && instance.log_text().contains("after")).then_some(())
    });
}

/// Postfix's programs wait for room in postlogd's queue for as long as it takes, and master with them, who would have to
/// start postlogd: nobody is served any more, and SIGTERM does nothing (observed, 3.7.11).
#[test]
fn a_log_that_stands_still_holds_nobody_up() {
    use nix::sys::signal::Signal;

    let suite = Suite::under_test();
    require!(
        ["master", "smtpd", "postlogd"].iter().all(|name| suite.is_ours(name)),
        "Postfix waits for ever"
    );
    let mut plan = Plan::new("log-stalled");
    plan.set("service_throttle_time", "1s");
    let instance = plan.prepare();
    let daemon = instance.home().join("libexec/postlogd");
    let kept = std::fs::read_link(&daemon).expect("a link");
    std::fs::remove_file(&daemon).expect("our own folder");
    std::os::unix::fs::symlink("/bin/false", &daemon).expect("our own folder");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.connect(instance.queue_directory().join("public/postlog")).expect("master listens");
    socket.set_nonblocking(true).expect("a socket");
    let fill = || while socket.send(b"Nov 22 06:14:14 mx filling[1]: line").is_ok() {};
    fill();
    // master writes the file itself, as it may, and goes on.
    instance.signal_master(Signal::SIGHUP);
    instance.wait_for_log("reload -- version");
    instance.wait_for_log("postlogd: bad command startup -- throttling");
    let mut client = conformance::Client::connect(instance.smtp_port());
    assert_eq!(client.greeting().code, 220);
    // Nor can it write that: what then cannot be written is counted.
    let file = instance.home().join("log");
    std::fs::rename(&file, instance.home().join("log.1")).expect("our own folder");
    std::fs::create_dir(&file).expect("our own folder");
    instance.signal_master(Signal::SIGHUP);
    assert_eq!(client.command("NOOP").code, 250);
    let outcome = instance.run("postlog", &["-t", "a/b", "in the way"]);
    assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), "a/b: in the way\n"));
    std::fs::remove_dir(&file).expect("our own folder");
    // postlogd is put right: it has what waited, and is told what is missing.
    std::fs::remove_file(&daemon).expect("our own folder");
    std::os::unix::fs::symlink(kept, &daemon).expect("our own folder");
    instance.wait_for("postlogd", || {
        instance.signal_master(Signal::SIGHUP);
        instance.log_text().contains("before this could not be written to this log").then_some(())
    });
    assert!(instance.log_text().contains("filling[1]: line"), "{}", instance.log_text());
    // And with the queue full again, master still ends when it is told to.
    std::fs::remove_file(&daemon).expect("our own folder");
    std::os::unix::fs::symlink("/bin/false", &daemon).expect("our own folder");
    for pid in instance.processes("postlogd") {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM);
    }
    instance.wait_for("no postlogd", || instance.processes("postlogd").is_empty().then_some(()));
    fill();
    let pid = nix::unistd::Pid::from_raw(instance.master_pid().expect("it runs"));
    instance.signal_master(Signal::SIGTERM);
    instance.wait_for("master's end", || nix::sys::signal::kill(pid, None).is_err().then_some(()));
}
