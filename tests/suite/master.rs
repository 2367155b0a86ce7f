//! The resident process: master.cf, command lines and environments of services, throttling, wakeups, reload, stop.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use conformance::{Client, Instance, Plan, Service, free_port, require};
use nix::sys::signal::Signal;

/// Writes a service program: a script that notes its command line, environment and descriptors, then goes on.
fn probe(instance: &Instance, name: &str, rest: &str) {
    let notes = instance.home().join(name).display().to_string();
    let script = format!(
        "#!/bin/sh\n{{ echo start; for word in \"$@\"; do echo \"word $word\"; done; /usr/bin/env; \
         /usr/bin/ls -l /proc/$$/fd; echo end; }} >>{notes}\n{rest}\n"
    );
    let path = instance.home().join("libexec").join(name);
    fs::write(&path, script).expect("our own folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

/// What the probe has noted, one text a start.
fn notes(instance: &Instance, name: &str) -> Vec<String> {
    let text = fs::read_to_string(instance.home().join(name)).unwrap_or_default();
    text.split("start\n").filter_map(|note| note.strip_suffix("end\n")).map(str::to_owned).collect()
}

fn words(note: &str) -> Vec<&str> {
    note.lines().filter_map(|line| line.strip_prefix("word ")).collect()
}

fn knock(instance: &Instance, service: &str) -> UnixStream {
    UnixStream::connect(instance.queue_directory().join(service)).expect("master listens there")
}

/// The command line of a process, its words separated by `|`.
fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', "|")
}

const REFUSED: &[(&str, &str)] = &[
    ("x", "missing \"transport type\" field"),
    ("x unix", "missing \"private\" field"),
    ("x unix - - - - -", "missing \"command\" field"),
    ("x bogus - - - - - cmd", "bad transport type: bogus"),
    ("x - - - - - - cmd", "field \"transport type\" has no default value"),
    ("x unix Y - - - - cmd", "field \"private\": bad value: \"Y\""),
    ("x unix - q - - - cmd", "field \"unprivileged\": bad value: \"q\""),
    ("x unix - - yes - - cmd", "field \"chroot\": bad value: \"yes\""),
    ("x unix - - - -1 - cmd", "field \"wakeup_time\": bad value: \"-1\""),
    ("x unix - - - - -3 cmd", "field \"max_proc\": bad value: \"-3\""),
    ("x unix - - - - - -", "field \"command\" has no default value"),
    ("25 inet - - - - - cmd", "inet service cannot be private"),
    ("nosuch.invalid:25 inet n Q - - - cmd", "bad hostname or network address: nosuch.invalid:25"),
    ("[127.0.0.1:25 inet n - - - - cmd", "missing \"]\" in \"[127.0.0.1:25\""),
    ("[127.0.0.1]x25 inet n - - - - cmd", "garbage after \"]\" in \"[127.0.0.1]x25\""),
    ("[ipv6:zz]:25 inet n - - - - cmd", "malformed IPv6 address in \"[ipv6:zz]:25\""),
    ("[127.0.0.1] inet n - - - - cmd", "missing service information in \"[127.0.0.1]\""),
    ("[]:25 inet n - - - - cmd", "valid hostname or network address required in \"[]:25\""),
    ("127.0.0.1:25x inet n - - - - cmd", "garbage after numerical service in \"127.0.0.1:25x\""),
    ("x unix - - - - - cmd { a", "missing '}' in \"{ a\""),
    ("x unix - - - - - cmd {a}b", "syntax error after '}' in \"{a}b\""),
];

#[test]
fn a_wrong_entry_is_refused_with_file_and_line() {
    let check = |(entry, text): &(&str, &str)| {
        let mut plan = Plan::new("master-cf");
        // With a log service of its own, Postfix's last line would wait in a socket that nobody reads any more.
        let instance = plan.without("postlog").master_cf(&format!("# a comment\n\n{entry}\n")).prepare();
        instance.expect_fault(text);
        let line =
            fs::read_to_string(instance.home().join("etc/master.cf")).expect("laid out").lines().count();
        let outcome = instance.start_master(&["-w"]);
        assert_eq!(outcome.status, Some(1), "{entry}");
        let want = format!("fatal: {}/etc/master.cf: line {line}: {text}", instance.home().display());
        // Where the log of the waiting parent goes before it has read main.cf is another matter.
        assert_eq!(instance.log_of("master").first(), Some(&want));
    };
    thread::scope(|scope| {
        for case in REFUSED {
            scope.spawn(move || check(case));
        }
    });
}

#[test]
fn the_last_of_two_entries_for_one_service_counts() {
    let port = free_port();
    let mut plan = Plan::new("duplicate");
    plan.master_cf(&format!("127.0.0.1:{port} inet n - n - - probe one\n"));
    plan.master_cf(&format!("[127.0.0.1]:{port} inet n - n - 1 probe two\n"));
    let instance = plan.prepare();
    probe(&instance, "probe", "sleep 60");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    instance.wait_for_log(&format!(
        "duplicate master.cf entry for service \"127.0.0.1:{port}\" ([127.0.0.1]:{port}) -- using the last entry"
    ));
    let _client = Client::connect_silently(port);
    let started = instance.wait_for("the probe", || notes(&instance, "probe").pop());
    assert!(words(&started).starts_with(&["-l"]) && words(&started).ends_with(&["two"]), "{started}");
}

#[test]
fn a_service_gets_postfixs_command_line_and_environment() {
    let mut plan = Plan::new("argv");
    plan.master_cf("x unix - - n - 0 probe -o { a = b  c } {} $d\n");
    plan.master_cf("probe fifo n n n 100 1 probe\n");
    let instance = plan.prepare();
    probe(&instance, "probe", "sleep 60");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let first = instance.wait_for("the fifo's process", || notes(&instance, "probe").pop());
    assert_eq!(words(&first), ["-l", "-t", "fifo"]);
    let _held = knock(&instance, "private/x");
    let second = instance.wait_for("the second process", || {
        notes(&instance, "probe").into_iter().find(|note| words(note).contains(&"-z"))
    });
    assert_eq!(words(&second), ["-z", "-n", "x", "-t", "unix", "-u", "-o", "a = b  c", "", "$d"]);
    let home = instance.home().display().to_string();
    for variable in [
        format!("MAIL_CONFIG={home}/etc"),
        "MAIL_LOGTAG=postfix".into(),
        format!("POSTLOG_SERVICE={home}/spool/public/postlog"),
        "POSTLOG_HOSTNAME=mx.example.com".into(),
        "LANG=C".into(),
    ] {
        assert!(second.lines().any(|line| line == variable), "{variable} in {second}");
    }
    let generation = second.lines().find_map(|line| line.strip_prefix("GENERATION=")).expect("set for all");
    assert!(u32::from_str_radix(generation, 8).is_ok_and(|number| number > 1), "{generation}");
    for (descriptor, kind) in [(3, "pipe:"), (4, "pipe:"), (5, "socket:"), (6, "socket:")] {
        let line = second.lines().find(|line| line.contains(&format!(" {descriptor} -> ")));
        assert!(line.is_some_and(|line| line.contains(kind)), "{descriptor} {kind} in {second}");
    }
}

#[test]
fn generations_are_counted_in_octal() {
    let mut plan = Plan::new("octal");
    plan.without("pickup").master_cf("x unix - - n - 0 probe\n");
    let instance = plan.prepare();
    // Ending well without accepting makes master start the next at once.
    probe(&instance, "probe", &format!("test -e {}/go && exit 0\nsleep 60", instance.home().display()));
    fs::write(instance.home().join("go"), "").expect("our own folder");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let _held = knock(&instance, "private/x");
    instance.wait_for("ten starts", || Some(()).filter(|()| notes(&instance, "probe").len() > 10));
    fs::remove_file(instance.home().join("go")).expect("written above");
    let numbers = notes(&instance, "probe").into_iter().map(|note| {
        let text = note.lines().find_map(|line| line.strip_prefix("GENERATION=")).expect("set for all");
        u32::from_str_radix(text, 8).expect("octal digits")
    });
    let numbers: Vec<u32> = numbers.collect();
    // Another service may start in between.
    assert!(numbers.windows(2).all(|pair| (1..=2).contains(&(pair[1] - pair[0]))), "{numbers:?}");
}

#[test]
fn a_service_that_fails_at_once_rests() {
    let mut plan = Plan::new("throttle");
    plan.set("service_throttle_time", "3s").master_cf("x unix - - n - - probe\n");
    let instance = plan.prepare();
    probe(&instance, "probe", "exit 3");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let _held = knock(&instance, "private/x");
    let path = instance.home().join("libexec/probe").display().to_string();
    instance.wait_for_log(&format!("warning: {path}: bad command startup -- throttling"));
    let exits = |instance: &Instance| {
        let lines = instance.log_of("master");
        let exits = lines.iter().filter(|line| {
            line.starts_with(&format!("warning: process {path} pid ")) && line.ends_with(" exit status 3")
        });
        exits.count()
    };
    assert_eq!(exits(&instance), 1, "{}", instance.log_text());
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(notes(&instance, "probe").len(), 1, "no process while it rests");
    instance.wait_for("the next try", || Some(()).filter(|()| exits(&instance) == 2));
}

#[test]
fn a_program_that_is_not_there_is_told_and_throttled() {
    let mut plan = Plan::new("no-program");
    plan.master_cf("x unix - - n - - nosuch\n");
    let instance = plan.start();
    let _held = knock(&instance, "private/x");
    let path = instance.home().join("libexec/nosuch").display().to_string();
    instance.wait_for_log(&format!("fatal: master_spawn: exec {path}: No such file or directory"));
    instance.wait_for_log(&format!("warning: {path}: bad command startup -- throttling"));
}

#[test]
fn wakeups_start_a_service_and_a_question_mark_waits_for_a_client() {
    let mut plan = Plan::new("wakeup");
    plan.master_cf("always unix n - n 1 - probe-a\nused unix n - n 1? 1 probe-u\n");
    plan.master_cf("mute unix-dgram n - n 1 1 probe-m\n");
    let instance = plan.prepare();
    for name in ["probe-a", "probe-u", "probe-m"] {
        probe(&instance, name, "sleep 60");
    }
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    instance.wait_for("a process without a client", || notes(&instance, "probe-a").pop());
    instance.wait_for_log(
        "warning: master_wakeup_timer_event: service mute(public/mute): Operation not supported",
    );
    thread::sleep(Duration::from_millis(2500));
    assert!(notes(&instance, "probe-u").is_empty(), "nobody has used it");
    let _held = knock(&instance, "public/used");
    instance.wait_for("a process for a client", || notes(&instance, "probe-u").pop());
}

#[test]
fn the_debugger_is_run_before_a_process_does_anything() {
    let mut plan = Plan::new("debugger");
    plan.one_session_a_process();
    let port = free_port();
    plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - 1 smtpd -D")));
    // Without it master writes to the log file itself.
    let instance = plan.without("postlog").prepare();
    instance.expect_fault("fatal: daemon initialization failure");
    assert_eq!(instance.start_master(&["-D", "-w"]).status, Some(1));
    let refused = "fatal: no debugger_command variable set up";
    instance.wait_for_log(refused);
    assert!(!instance.log_of("master").iter().any(|text| text.starts_with("daemon started")));
    let seen = instance.home().join("seen");
    let command = format!("echo $process_name $process_id >>{}", seen.display());
    instance.edit_main_cf(|text| format!("{text}debugger_command = {command}\n"));
    assert_eq!(instance.start_master(&["-D", "-w"]).status, Some(0));
    let master = instance.master_pid().expect("it was started");
    let _client = Client::connect(port);
    let smtpd = instance.processes("smtpd")[0];
    let seen = fs::read_to_string(seen).expect("the command has run");
    assert_eq!(seen, format!("master {master}\nsmtpd {smtpd}\n"));
    let log = instance.log_of("master");
    let line = format!("running: echo master {master} >>");
    let at = |start: &str| log.iter().position(|text| text.starts_with(start));
    assert!(at(&line).is_some() && at(&line) < at("daemon started"), "{log:?}");
}

/// What a process has open, by the kernel's names of it.
fn open_files(pid: i32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// The processes that have this file open.
fn holders(file: &Path) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("a proc file system").flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(|pid| open_files(*pid).iter().any(|open| open == file)).collect()
}

/// The pipe by which a process tells master what it does: its descriptor 5.
fn status_channel(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/fd/5")).expect("master left it open")
}

#[test]
fn a_reload_loses_no_connection() {
    let mut plan = Plan::new("reload");
    plan.one_session_a_process();
    let port = free_port();
    plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - 1 smtpd")));
    let instance = plan.start();
    let mut served = Client::connect(port);
    assert_eq!(served.command("EHLO x").code, 250);
    let old = instance.processes("smtpd");
    // The limit of one process makes this one wait in the queue of the listening socket.
    let mut waiting = Client::connect_silently(port);
    let channel = status_channel(old[0]);
    instance.signal_master(Signal::SIGHUP);
    // The line in the log comes before: until nobody else holds the channel, not even what master is just forking, the old
    // process takes further clients.
    instance.wait_for("a new status channel", || (holders(&channel) == old).then_some(()));
    let mut later = Client::connect_silently(port);
    assert_eq!(served.command("NOOP").code, 250);
    assert_eq!(instance.processes("smtpd"), old, "the session goes on in the process it began in");
    assert_eq!(served.command("QUIT").code, 221);
    assert_eq!(waiting.read_reply().code, 220);
    assert_eq!(waiting.command("QUIT").code, 221);
    assert_eq!(later.read_reply().code, 220);
    instance.wait_for("the old process to go", || Some(()).filter(|()| instance.processes("smtpd") != old));
}

#[test]
fn a_reload_adds_changes_and_removes_services() {
    let mut plan = Plan::new("reload-services");
    let (first, second) = (free_port(), free_port());
    plan.master_cf(&format!("127.0.0.1:{first} inet n - n - - probe\nx unix - - n - 5 probe\n"));
    let instance = plan.prepare();
    probe(&instance, "probe", "exec sleep 60");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let mut removed = Client::connect_silently(first);
    instance.wait_for("the process", || notes(&instance, "probe").pop());
    instance.edit_master_cf(|text| {
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("probe")).collect();
        format!("{}\nx unix - - n - 1 probe\n127.0.0.1:{second} inet n - n - - probe\n", kept.join("\n"))
    });
    instance.signal_master(Signal::SIGHUP);
    instance.wait_for_log("reload -- version ");
    assert_eq!(removed.read_to_end(), "", "its process has got SIGTERM and its socket is closed");
    let _added = Client::connect_silently(second);
    instance.wait_for("the added service", || Some(()).filter(|()| notes(&instance, "probe").len() == 2));
    let _changed = knock(&instance, "private/x");
    let changed = instance.wait_for("the changed service", || {
        notes(&instance, "probe").into_iter().find(|note| words(note).contains(&"x"))
    });
    assert_eq!(words(&changed), ["-l", "-n", "x", "-t", "unix", "-u"]);
    let complaints: Vec<_> =
        instance.log_of("master").into_iter().filter(|text| text.contains("warning")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn what_cannot_change_is_kept_and_told() {
    let mut plan = Plan::new("reload-kept");
    // Without it master writes to the log file itself, wherever the queue directory is said to be.
    let instance = plan.without("postlog").start();
    instance.edit_main_cf(|text| text + "inet_interfaces = 127.0.0.1\nqueue_directory = /tmp\n");
    instance.signal_master(Signal::SIGHUP);
    instance.wait_for_log("warning: ignoring queue_directory parameter value change");
    let spool = instance.queue_directory().display().to_string();
    instance.wait_for_log(&format!("warning: old value: \"{spool}\", new value: \"/tmp\""));
    instance.wait_for_log("warning: to change queue_directory, stop and start Postfix");
    instance.wait_for_log("warning: to change inet_interfaces, stop and start Postfix");
}

/// Postfix's master ends, and its services go by and by; Postern's keeps the configuration it has (docs/differences.md).
#[test]
fn an_error_at_reload_does_not_end_the_sessions() {
    let instance = Plan::new("reload-error").start();
    let mut client = Client::connect(instance.smtp_port());
    instance.edit_master_cf(|text| text + "x unix n Q - - - cmd\n");
    instance.signal_master(Signal::SIGHUP);
    if instance.suite().is_ours("master") {
        let place = instance.home().join("etc/master.cf").display().to_string();
        instance.wait_for_log(&format!("fatal: {place}: line 8: field \"unprivileged\": bad value: \"Q\""));
        instance.wait_for_log(
            "warning: reload failed: the mail system goes on with the configuration that it had",
        );
        assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
        // Repaired, it is read.
        instance.edit_master_cf(|text| text.replace("x unix n Q - - - cmd\n", "x unix n - n - - showq\n"));
        instance.signal_master(Signal::SIGHUP);
        instance.wait_for("the new service", || {
            instance.queue_directory().join("public/x").exists().then_some(())
        });
    } else {
        // Its last line may reach no postlogd any more.
        instance
            .wait_for("the end of master", || Some(()).filter(|()| instance.processes("master").is_empty()));
    }
    assert_eq!(client.command("NOOP").code, 250);
    assert_eq!(client.command("QUIT").code, 221);
    if !instance.suite().is_ours("master") {
        for pid in instance.processes("smtpd").into_iter().chain(instance.processes("postlogd")) {
            instance.wait_for("the orphans' end", || {
                Some(()).filter(|()| !instance.processes("smtpd").contains(&pid))
            });
        }
    }
}

/// Whatever cannot be read when the signal comes.
#[test]
fn no_file_that_cannot_be_read_ends_a_master() {
    // A postlogd that starts meanwhile could not read main.cf either; without it master writes to the log file itself.
    let instance = Plan::new("reload-unreadable").without("postlog").start();
    instance.expect_fault("/etc/main.cf");
    require!(instance.suite().is_ours("master"), "Postfix's master ends");
    let etc = instance.home().join("etc");
    let told = || instance.log_text().matches("warning: reload failed: ").count();
    let original = |name: &str| fs::read(etc.join(name)).expect("laid out");
    let texts = [("main.cf", original("main.cf")), ("master.cf", original("master.cf"))];
    for (name, text) in &texts {
        let path = etc.join(name);
        let wrong: [Option<&[u8]>; 4] = [None, Some(b"\0\xff"), Some(b"smtp\r\n"), Some(b"= x y\n")];
        for content in wrong {
            let before = told();
            match content {
                Some(bytes) => fs::write(&path, bytes).expect("our own file"),
                None => fs::remove_file(&path).expect("our own file"),
            }
            instance.signal_master(Signal::SIGHUP);
            instance.wait_for("the line", || (told() > before).then_some(()));
            fs::write(&path, text).expect("our own file");
        }
        let before = told();
        fs::remove_file(&path).expect("our own file");
        fs::create_dir(&path).expect("our own folder");
        instance.signal_master(Signal::SIGHUP);
        instance.wait_for("the line", || (told() > before).then_some(()));
        fs::remove_dir(&path).expect("our own folder");
        fs::write(&path, text).expect("our own file");
    }
    // Nothing is not a configuration either.
    let before = told();
    fs::write(etc.join("master.cf"), "# nothing\n").expect("our own file");
    instance.signal_master(Signal::SIGHUP);
    instance.wait_for("the line", || (told() > before).then_some(()));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
}

#[test]
fn a_reload_ends_the_rest_of_a_service() {
    let mut plan = Plan::new("reload-throttle");
    let port = free_port();
    plan.service(
        Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option("smtpd_timeout", "never"),
    );
    let instance = plan.start();
    instance.expect_fault("fatal: parameter smtpd_timeout: ");
    require!(instance.suite().is_ours("master"), "Postfix's service rests on");
    let _first = Client::connect_silently(port);
    instance.wait_for_log("bad command startup -- throttling");
    instance.edit_master_cf(|text| text.replace("never", "300s"));
    instance.signal_master(Signal::SIGHUP);
    let mut client = Client::connect_silently(port);
    assert_eq!(client.read_reply().code, 220);
}

#[test]
fn the_process_that_fills_the_limit_is_told_of_stress() {
    let mut plan = Plan::new("stress");
    plan.one_session_a_process();
    let port = free_port();
    plan.service(Service::new(format!("{port} inet n - n - 2 smtpd")));
    let instance = plan.start();
    let _first = Client::connect(port);
    let calm = instance.processes("smtpd");
    assert_eq!(calm.len(), 1);
    assert_eq!(command_line(calm[0]), format!("smtpd|-n|{port}|-t|inet|-u|-o|stress="));
    let _second = Client::connect(port);
    let both = instance.processes("smtpd");
    let stressed = both.iter().find(|pid| !calm.contains(pid)).expect("a second process");
    assert_eq!(command_line(*stressed), format!("smtpd|-n|{port}|-t|inet|-u|-o|stress=yes"));
    instance.wait_for_log(&format!(
        "warning: service \"{port}\" ({port}) has reached its process limit \"2\": new clients may experience \
         noticeable delays"
    ));
    instance.wait_for_log("for examples of stress-adapting configuration settings");
}

#[test]
fn one_master_at_a_time() {
    let instance = Plan::new("lock").start();
    instance.expect_fault("fatal: daemon initialization failure");
    assert_eq!(instance.start_master(&["-t"]).status, Some(1), "running");
    let second = instance.start_master(&["-w"]);
    assert_eq!(second.status, Some(1));
    instance.wait_for_log(
        "fatal: open lock file pid/master.pid: unable to set exclusive lock: Resource temporarily unavailable",
    );
    let text = fs::read_to_string(instance.queue_directory().join("pid/master.pid")).expect("the lock file");
    assert_eq!(text, format!("{:>32}\n", instance.master_pid().expect("running")));
    instance.stop();
    assert_eq!(instance.start_master(&["-t"]).status, Some(0), "not running");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    assert_eq!(Client::connect(instance.smtp_port()).greeting().code, 220);
}

#[test]
fn a_stop_ends_every_process() {
    let instance = Plan::new("stop").start();
    let mut client = Client::connect(instance.smtp_port());
    let pid = instance.master_pid().expect("running");
    instance.signal_master(Signal::SIGTERM);
    assert_eq!(client.read_to_end(), "");
    for name in ["smtpd", "master"] {
        instance.wait_for(name, || Some(()).filter(|()| instance.processes(name).is_empty()));
    }
    assert!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty());
}

#[test]
fn without_master_idle_processes_go_and_sessions_go_on() {
    let instance = Plan::new("drain").start();
    let mut client = Client::connect(instance.smtp_port());
    instance.signal_master(Signal::SIGKILL);
    assert_eq!(client.command("NOOP").code, 250);
    assert_eq!(client.command("QUIT").code, 221);
    instance.wait_for("the end of smtpd", || Some(()).filter(|()| instance.processes("smtpd").is_empty()));
    instance.wait_for("the end of pickup", || Some(()).filter(|()| instance.processes("pickup").is_empty()));
}

#[test]
fn sockets_belong_to_the_mail_owner_and_are_open_to_all() {
    use std::os::unix::fs::MetadataExt;
    let mut plan = Plan::new("sockets");
    plan.master_cf("f fifo n - n - - probe\nd unix-dgram - - n - - probe\n");
    let instance = plan.start();
    let owner = fs::metadata(instance.queue_directory().join("private")).expect("laid out").uid();
    for (path, mode) in
        [("private/rewrite", 0o666), ("public/cleanup", 0o666), ("public/f", 0o622), ("private/d", 0o666)]
    {
        let data = fs::metadata(instance.queue_directory().join(path)).expect("made at start");
        assert_eq!((data.mode() & 0o777, data.uid()), (mode, owner), "{path}");
    }
}
