//! Postern's server skeletons as children of the suite's master, by the probes in `crates/server/examples`.
//!
//! What can be seen on real services is in `service`; here is what only a service that misbehaves on request shows.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use conformance::{Instance, Plan, require};
use nix::sys::signal::Signal;

/// Where cargo leaves the examples of the workspace, beside this test.
fn probe(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join("examples").join(name);
    path.exists().then_some(path)
}

/// An instance with one more service, `probe`, that runs the probe of this name; `None` when that was not built.
fn instance(test: &str, name: &str, line: &str) -> Option<Instance> {
    let path = probe(name)?;
    let mut plan = Plan::new(test);
    plan.master_cf(&format!("probe {line}\n"));
    let instance = plan.prepare();
    symlink(path, instance.home().join("libexec").join(name)).expect("a new folder");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
    Some(instance)
}

/// Lets a probe that has not run yet write its standard error to a file.
fn redirect_stderr(instance: &Instance, name: &str) -> PathBuf {
    let (link, file) = (instance.home().join("libexec").join(name), instance.home().join("stderr"));
    let program = link.canonicalize().expect("a link to it");
    fs::remove_file(&link).expect("our own link");
    let script = format!("#!/bin/sh\nexec {} \"$@\" 2>>{}\n", program.display(), file.display());
    fs::write(&link, script).expect("our own folder");
    fs::set_permissions(&link, fs::Permissions::from_mode(0o755)).expect("our own file");
    file
}

struct Probe(BufReader<UnixStream>);

impl Probe {
    fn connect(instance: &Instance) -> Probe {
        let stream =
            UnixStream::connect(instance.queue_directory().join("public/probe")).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        Probe(BufReader::new(stream))
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.0.get_mut(), "{question}").expect("a listener");
        self.answer()
    }

    /// One line; empty at the end of the connection.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer in time");
        line.trim_end().to_owned()
    }
}

fn until_gone(instance: &Instance, program: &str, pid: &str) {
    instance.wait_for(&format!("end of {program} {pid}"), || {
        let pid: i32 = pid.parse().expect("a process id");
        (!instance.processes(program).contains(&pid)).then_some(())
    });
}

macro_rules! instance_with {
    ($test:expr, $name:expr, $line:expr) => {{
        let instance = instance($test, $name, $line);
        require!(instance.is_some(), "the server crate's examples are not built");
        instance.expect("just seen")
    }};
}

#[test]
fn the_thirteenth_error_ends_a_process() {
    let instance = instance_with!("skeleton-errors", "probe_single", "unix n - n - 1 probe_single");
    let mut probe = Probe::connect(&instance);
    for _ in 0..12 {
        assert_eq!(probe.ask("error"), "logged");
    }
    assert_eq!(probe.ask("error"), "");
    let lines = instance.log_of("probe_single");
    assert_eq!(lines.iter().filter(|line| *line == "error: as asked").count(), 13);
    assert_eq!(lines.last().map(String::as_str), Some("fatal: too many errors - program terminated"));
}

#[test]
fn a_panic_and_a_fatal_error_end_a_process_each_in_its_way() {
    let instance = instance_with!("skeleton-ends", "probe_single", "unix n - n - 1 probe_single");
    // A process that has never been idle again would look like a bad start, and the service would be throttled.
    let pid = Probe::connect(&instance).ask("pid");
    assert_eq!(Probe::connect(&instance).ask("crash"), "");
    let line = instance.wait_for_log("panic: as asked");
    assert!(line.contains("probe_single.rs"), "{line}");
    instance.wait_for_log("killed by signal 6");
    until_gone(&instance, "probe_single", &pid);
    assert_ne!(Probe::connect(&instance).ask("pid"), pid);
    Probe::connect(&instance).ask("die");
    instance.wait_for_log("fatal: as asked");
    instance.wait_for_log("exit status 1");
}

#[test]
fn the_watchdog_ends_who_is_stuck_and_not_who_waits() {
    let line = "unix n - n - 1 probe_single -V -o daemon_timeout=1s";
    let instance = instance_with!("skeleton-watchdog", "probe_single", line);
    let stderr = redirect_stderr(&instance, "probe_single");
    let pid = Probe::connect(&instance).ask("pid");
    std::thread::sleep(Duration::from_secs(2));
    let busy = Instant::now();
    while busy.elapsed() < Duration::from_secs(2) {
        assert_eq!(Probe::connect(&instance).ask("pid"), pid, "it has waited or worked, and that is all");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut probe = Probe::connect(&instance);
    assert_eq!(probe.ask("stuck"), "");
    instance.wait_for_log("fatal: watchdog timeout");
    instance.wait_for_log(&format!("probe_single pid {pid} exit status 1"));
    let line = format!("/probe_single[{pid}]: fatal: watchdog timeout\n");
    assert!(instance.log_text().contains(&line), "{}", instance.log_text());
    let said = fs::read_to_string(stderr).expect("the shell has made it");
    assert!(said.ends_with("/probe_single: fatal: watchdog timeout\n"), "{said}");
}

#[test]
fn a_changed_table_leaves_the_client_to_the_next_process() {
    let instance = instance_with!("skeleton-table", "probe_single", "unix n - n - 1 probe_single");
    let pid = Probe::connect(&instance).ask("pid");
    let flag = instance.queue_directory().join("changed");
    fs::write(&flag, "").expect("our own folder");
    let mut probe = Probe::connect(&instance);
    instance.wait_for_log("table hash:/etc/changed has changed -- restarting");
    fs::remove_file(&flag).expect("just made");
    assert_ne!(probe.ask("pid"), pid);
}

#[test]
fn a_process_retires() {
    let instance = instance_with!("skeleton-retire", "probe_single", "unix n - n - 2 probe_single -r 1");
    let pid = Probe::connect(&instance).ask("pid");
    until_gone(&instance, "probe_single", &pid);
}

#[test]
fn descriptors_are_not_passed_on_and_tokens_can_be_taken() {
    let instance = instance_with!("skeleton-descriptors", "probe_single", "unix n - n - 2 probe_single");
    let mut probe = Probe::connect(&instance);
    let descriptors = probe.ask("descriptors");
    for number in 3..=6 {
        let prefix = format!("{number}=");
        let entry = descriptors.split(' ').find(|entry| entry.starts_with(&prefix)).expect("from master");
        let flags = entry.rsplit(':').next().and_then(|flags| u32::from_str_radix(flags, 8).ok());
        assert_ne!(flags.expect("octal flags") & 0o2_000_000, 0, "close-on-exec: {entry}");
    }
    // No queue manager has filled the pipe.
    assert_eq!(probe.ask("tokens"), "Some((Ok(0), Ok(false)))");
}

#[test]
fn a_multi_server_answers_requests_that_arrive_together() {
    let instance = instance_with!("skeleton-multi", "probe_multi", "unix n - n - 2 probe_multi");
    let (mut one, mut two) = (Probe::connect(&instance), Probe::connect(&instance));
    assert_eq!((one.answer(), two.answer()), ("hello".into(), "hello".into()));
    assert_eq!(one.ask("a\nb\nc"), "a");
    assert_eq!((one.answer(), one.answer()), ("b".into(), "c".into()));
    assert_eq!(one.ask("pid"), two.ask("pid"), "one process serves both");
    assert_eq!(one.ask("clients"), "2");
    assert_eq!(two.ask("close"), "");
    assert_eq!(one.ask("clients"), "1");
}

#[test]
fn an_event_server_finishes_its_clients_after_a_reload() {
    let instance = instance_with!("skeleton-drain", "probe_event", "unix n - n - 2 probe_event");
    let mut probe = Probe::connect(&instance);
    let pid = probe.ask("pid");
    instance.signal_master(Signal::SIGHUP);
    until_gone(&instance, "probe_event", &pid);
    let draining = probe.ask("pid");
    assert_ne!(draining, pid);
    assert_ne!(Probe::connect(&instance).ask("pid"), draining, "new clients get a new process");
    drop(probe);
    until_gone(&instance, "probe_event", &draining);
}

#[test]
fn a_trigger_server_reads_sockets_and_fifos() {
    let instance = instance_with!("skeleton-trigger", "probe_trigger", "unix n - n - 2 probe_trigger");
    let mut probe = Probe::connect(&instance);
    probe.0.get_mut().write_all(b"WQ\0").expect("a listener");
    assert_eq!(probe.answer(), "");
    instance.wait_for_log("probe triggered: [87, 81, 0]");
    drop(Probe::connect(&instance));
    instance.wait_for_log("probe triggered: []");
    drop(instance);
    let instance = instance_with!("skeleton-fifo", "probe_trigger", "fifo n - n - 2 probe_trigger");
    std::fs::OpenOptions::new()
        .write(true)
        .open(instance.queue_directory().join("public/probe"))
        .and_then(|mut fifo| fifo.write_all(b"I"))
        .expect("a reader");
    instance.wait_for_log("probe triggered: [73]");
}

/// Sessions in the process with this id, as the probe sees it.
fn sessions(instance: &Instance, count: usize) -> (Vec<Probe>, String) {
    let mut probes: Vec<Probe> = (0..count).map(|_| Probe::connect(instance)).collect();
    let mut pids: Vec<String> = probes.iter_mut().map(|probe| probe.ask("pid")).collect();
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
    (probes, pids.remove(0))
}

#[test]
fn another_process_is_started_when_one_with_several_sessions_is_full() {
    let line = "unix n - n - 2 probe_single sessions=3";
    let instance = instance_with!("skeleton-full", "probe_single", line);
    let (mut held, first) = sessions(&instance, 3);
    let mut threads: Vec<String> = held.iter_mut().map(|probe| probe.ask("thread")).collect();
    threads.sort();
    threads.dedup();
    assert_eq!(threads.len(), 3);
    assert!(!threads.contains(&first));
    let (mut more, second) = sessions(&instance, 1);
    assert_ne!(first, second);
    // A place that is free again is found.
    drop(held.pop());
    let mut others: Vec<Probe> = (0..3).map(|_| Probe::connect(&instance)).collect();
    let pids: Vec<String> = others.iter_mut().map(|probe| probe.ask("pid")).collect();
    assert_eq!(pids.iter().filter(|pid| **pid == first).count(), 1, "{first} {second} {pids:?}");
    assert_eq!(more[0].ask("still here"), "still here");
}

#[test]
fn a_panic_or_a_fatal_error_ends_one_of_several_sessions() {
    let line = "unix n - n - 1 probe_single sessions=9";
    let instance = instance_with!("skeleton-contained", "probe_single", line);
    let (mut held, pid) = sessions(&instance, 3);
    assert_eq!(held[0].ask("crash"), "");
    let panic = instance.wait_for_log("panic: as asked");
    assert!(panic.contains("probe_single.rs"), "{panic}");
    assert_eq!(held[1].ask("die"), "");
    instance.wait_for_log("fatal: as asked");
    assert_eq!(held[2].ask("still here"), "still here");
    assert_eq!(sessions(&instance, 1).1, pid);
}

#[test]
fn a_reload_lets_sessions_finish_and_keeps_nobody_waiting() {
    let line = "unix n - n - 1 probe_single sessions=9";
    let instance = instance_with!("skeleton-sessions-reload", "probe_single", line);
    let (mut held, pid) = sessions(&instance, 2);
    instance.signal_master(Signal::SIGHUP);
    instance.wait_for_log("reload -- version");
    instance.wait_for("another process", || (sessions(&instance, 1).1 != pid).then_some(()));
    assert_eq!(held[0].ask("still here"), "still here");
    drop(held);
    until_gone(&instance, "probe_single", &pid);
}

#[test]
fn max_use_counts_sessions() {
    let line = "unix n - n - 2 probe_single -o max_use=3 sessions=9";
    let instance = instance_with!("skeleton-sessions-use", "probe_single", line);
    let (mut held, first) = sessions(&instance, 3);
    let (_more, second) = sessions(&instance, 1);
    assert_ne!(first, second);
    assert_eq!(held[0].ask("still here"), "still here");
    drop(held);
    until_gone(&instance, "probe_single", &first);
}

#[test]
fn a_process_with_several_sessions_leaves_when_it_has_none_for_max_idle() {
    let line = "unix n - n - 1 probe_single -o max_idle=1s sessions=9";
    let instance = instance_with!("skeleton-sessions-idle", "probe_single", line);
    let (held, pid) = sessions(&instance, 2);
    drop(held);
    until_gone(&instance, "probe_single", &pid);
}

#[test]
fn who_has_the_sessions_opens_the_tables() {
    let line = "unix n - n - 1 probe_single sessions=9";
    let instance = instance_with!("skeleton-sessions-tables", "probe_single", line);
    let (mut held, pid) = sessions(&instance, 2);
    assert_eq!(held[0].ask("opened by"), pid);
}

#[test]
fn master_hears_of_a_table_that_cannot_be_opened() {
    let line = "unix n - n - 1 probe_single sessions=9 unopenable";
    let instance = instance_with!("skeleton-sessions-unopenable", "probe_single", line);
    let _waiting = Probe::connect(&instance);
    instance.wait_for_log("fatal: open hash:/etc/unopenable: as asked");
    let line = instance.wait_for_log("exit status 1");
    assert!(line.contains("probe_single pid "), "{line}");
}

#[test]
fn a_process_that_has_several_sessions_ends_as_a_whole() {
    let line = "unix n - n - 1 probe_single sessions=9";
    let instance = instance_with!("skeleton-sessions-killed", "probe_single", line);
    let (_held, pid) = sessions(&instance, 2);
    let number: i32 = pid.parse().expect("a process id");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), Signal::SIGKILL).expect("it is there");
    instance.wait_for_log("killed by signal 9");
    instance.wait_for("the end of both", || instance.processes("probe_single").is_empty().then_some(()));
}
