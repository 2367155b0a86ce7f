//! What a service manager is told by datagrams (sd_notify(3)), where there is one. Postfix tells nothing, and serves.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use conformance::{Client, Instance, Plan, require};
use nix::sys::signal::Signal;

/// Runs a program with the manager's variables.
fn run(instance: &Instance, variables: &[String], program: &Path, arguments: &[&str]) {
    let program = program.to_string_lossy();
    let mut words: Vec<&str> = variables.iter().map(String::as_str).collect();
    words.push(&program);
    words.extend(arguments);
    let outcome = instance.run_path(Path::new("/usr/bin/env"), &words, b"");
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

/// The next datagram; nothing when there is none for a while.
fn next(manager: &UnixDatagram) -> Option<String> {
    let mut bytes = [0; 4096];
    let length = manager.recv(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The next datagram that is no sign of life.
fn next_event(manager: &UnixDatagram) -> String {
    std::iter::from_fn(|| next(manager)).find(|text| text != "WATCHDOG=1\n").expect("a datagram")
}

#[test]
fn a_manager_hears_of_start_life_reload_and_end() {
    let instance = Plan::new("notify").prepare();
    let is_ours = instance.suite().is_ours("master");
    let path = instance.home().join("manager");
    let manager = UnixDatagram::bind(&path).expect("our own folder");
    // Postfix's silence is not waited for longer than it takes.
    let patience = if is_ours { Duration::from_secs(30) } else { Duration::from_millis(300) };
    manager.set_read_timeout(Some(patience)).expect("a socket");
    let variables = [format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=100000".to_owned()];
    run(&instance, &variables, &instance.home().join("libexec/master"), &["-w"]);
    assert_eq!(Client::connect(instance.smtp_port()).greeting().code, 220);
    if !is_ours {
        assert_eq!(next(&manager), None);
        return;
    }
    let pid = instance.master_pid().expect("it runs");
    assert_eq!(next(&manager), Some(format!("MAINPID={pid}\nREADY=1\nSTATUS=serving\n")));
    for _ in 0..3 {
        assert_eq!(next(&manager), Some("WATCHDOG=1\n".into()));
    }
    // No child of master's has the variables.
    for child in instance.processes("smtpd") {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"));
    }
    instance.signal_master(Signal::SIGHUP);
    let text = next_event(&manager);
    let moment = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&text).trim_end();
    assert!(moment.parse::<u64>().is_ok_and(|moment| moment > 0), "{text}");
    assert_eq!(next_event(&manager), format!("MAINPID={pid}\nREADY=1\nSTATUS=serving\n"));
    instance.edit_master_cf(|text| format!("{text}nonsense\n"));
    instance.expect_fault("master.cf");
    instance.signal_master(Signal::SIGHUP);
    assert!(next_event(&manager).starts_with("RELOADING=1\n"));
    let text = next_event(&manager);
    assert!(text.contains("\nREADY=1\nSTATUS=serving with the configuration from before: "), "{text}");
    instance.signal_master(Signal::SIGTERM);
    assert_eq!(next_event(&manager), "STOPPING=1\n");
}

/// By way of the `postfix` command, to a name outside of the file system; and a manager that has gone does no harm.
#[test]
fn the_postfix_command_passes_the_manager_on() {
    let instance = Plan::new("notify-command").prepare();
    let ours = ["postfix", "master"].iter().all(|program| instance.suite().is_ours(program));
    require!(ours, "Postfix's command takes the variables away");
    let name = format!("postern-notify-{}", instance.smtp_port());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let manager = UnixDatagram::bind_addr(&address).expect("nobody else has it");
    manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let postfix = instance.suite().command("postfix").expect("cargo build makes it");
    // The watchdog is another process's.
    let variables =
        [format!("NOTIFY_SOCKET=@{name}"), "WATCHDOG_USEC=100000".to_owned(), "WATCHDOG_PID=1".to_owned()];
    run(&instance, &variables, &postfix, &["start"]);
    let pid = instance.master_pid().expect("it runs");
    assert_eq!(next(&manager), Some(format!("MAINPID={pid}\nREADY=1\nSTATUS=serving\n")));
    run(&instance, &[], &postfix, &["reload"]);
    assert!(
        next(&manager).expect("a datagram").starts_with("RELOADING=1\n"),
        "no sign of life was asked for"
    );
    drop(manager);
    run(&instance, &[], &postfix, &["reload"]);
    run(&instance, &[], &postfix, &["stop"]);
    let variables = [format!("NOTIFY_SOCKET=@{name}")];
    run(&instance, &variables, &postfix, &["start"]);
    assert_eq!(Client::connect(instance.smtp_port()).greeting().code, 220);
    assert!(instance.log_text().contains(&format!("NOTIFY_SOCKET=@{name}: Connection refused")));
}
