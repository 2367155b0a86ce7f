//! The `postfix` command: what it says, what it returns, what it makes, and `postkick`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use conformance::{Client, Instance, Outcome, Plan};

const NOT_RUNNING: &str = "the Postfix mail system is not running";

fn postfix(instance: &Instance, arguments: &[&str]) -> Outcome {
    instance.run("postfix", arguments)
}

/// The lines of the command itself; those about the rights of uninstalled programs are of no interest here.
fn said(instance: &Instance) -> Vec<String> {
    let lines = instance.log_of("postfix-script");
    let about_programs = |line: &String| {
        ["symlink leaves directory", "not set-gid or not", "not owned by group"]
            .iter()
            .any(|w| line.contains(w))
            || line.contains("libexec")
    };
    lines.into_iter().filter(|line| !about_programs(line)).collect()
}

#[test]
fn start_status_reload_stop() {
    let instance = Plan::new("control").prepare();
    assert_eq!(postfix(&instance, &["status"]).status, Some(1));
    assert_eq!(postfix(&instance, &["start"]).status, Some(0));
    assert_eq!(Client::connect(instance.smtp_port()).greeting().code, 220);
    assert_eq!(postfix(&instance, &["start"]).status, Some(1));
    assert_eq!(postfix(&instance, &["status"]).status, Some(0));
    let pid = instance.master_pid().expect("running");
    assert_eq!(postfix(&instance, &["reload"]).status, Some(0));
    instance.wait_for_log("reload -- version ");
    assert_eq!(instance.master_pid(), Some(pid));
    instance.wait_for_log("refreshing the Postfix mail system");
    let lines = said(&instance);
    let want = [
        NOT_RUNNING.to_owned(),
        "starting the Postfix mail system".into(),
        "fatal: the Postfix mail system is already running".into(),
        format!("the Postfix mail system is running: PID: {pid}"),
        "refreshing the Postfix mail system".into(),
    ];
    assert_eq!(lines, want);
    assert_eq!(postfix(&instance, &["stop"]).status, Some(0));
    assert!(instance.processes("master").is_empty());
    assert_eq!(postfix(&instance, &["status"]).status, Some(1));
}

/// The lock says that master runs, whatever is written in its file. Postfix says then that it has reloaded, and has not.
#[test]
fn a_lock_file_with_other_words_in_it() {
    let instance = Plan::new("control-lock").start();
    let is_ours = instance.suite().is_ours("postfix");
    let pid = instance.master_pid().expect("running");
    let path = instance.queue_directory().join("pid/master.pid");
    let reloads = || instance.log_text().matches("reload -- version ").count();
    // Postfix's would be told to reload, or be killed.
    let mut bystander = Command::new("sleep").arg("600").spawn().expect("it is everywhere");
    let of_another = format!("{:>32}\n", bystander.id()).into_bytes();
    let words = [&b""[..], b"garbage\n", b"\0\xff\n", b"99999999999999999999\n", b"\n1\n", &of_another];
    let words = if is_ours { &words } else { &words[..5] };
    for (done, text) in words.iter().enumerate() {
        fs::write(&path, text).expect("our own folder");
        for verb in ["status", "reload"] {
            assert_eq!(postfix(&instance, &[verb]).status, Some(0), "{verb} {text:?}");
        }
        assert_eq!(postfix(&instance, &["start"]).status, Some(1), "{text:?}");
        if is_ours {
            instance.wait_for("reload", || (reloads() == done + 1).then_some(()));
            let want = format!("the Postfix mail system is running: PID: {pid}");
            assert!(said(&instance).contains(&want));
        }
    }
    if is_ours {
        assert_eq!(postfix(&instance, &["stop"]).status, Some(0));
        assert!(instance.processes("master").is_empty());
        assert_eq!(bystander.try_wait().expect("our own child"), None, "it was not meant");
    } else {
        assert_eq!(reloads(), 0);
        fs::write(&path, format!("{pid}\n")).expect("our own folder");
    }
    bystander.kill().and_then(|()| bystander.wait()).expect("our own child");
}

#[test]
fn a_lock_file_that_is_gone_or_is_none() {
    let instance = Plan::new("control-no-lock").start();
    let pid = instance.master_pid().expect("running");
    let path = instance.queue_directory().join("pid/master.pid");
    let away = path.with_extension("away");
    fs::rename(&path, &away).expect("our own folder");
    for verb in ["status", "reload", "stop"] {
        assert_eq!(postfix(&instance, &[verb]).status, Some(1), "{verb}");
    }
    // What cannot be opened may be a running master's.
    fs::create_dir(&path).expect("our own folder");
    for (verb, status) in [("status", 0), ("start", 1)] {
        assert_eq!(postfix(&instance, &[verb]).status, Some(status), "{verb}");
    }
    if instance.suite().is_ours("postfix") {
        // Postfix says that it has.
        assert_eq!(postfix(&instance, &["reload"]).status, Some(1));
        assert!(said(&instance).contains(&"fatal: pid/master.pid: Is a directory".to_owned()));
    }
    fs::remove_dir(&path).expect("just made");
    fs::rename(&away, &path).expect("our own folder");
    assert_eq!((instance.master_pid(), postfix(&instance, &["reload"]).status), (Some(pid), Some(0)));
}

#[test]
fn commands_that_need_a_running_master_say_so() {
    let instance = Plan::new("control-down").prepare();
    for command in ["stop", "abort", "reload", "drain"] {
        assert_eq!(postfix(&instance, &[command]).status, Some(1), "{command}");
    }
    assert_eq!(said(&instance), [format!("fatal: {NOT_RUNNING}").as_str(); 4]);
    assert_eq!(postfix(&instance, &["quick-stop"]).status, Some(0));
    assert!(instance.queue_directory().join("quick-start").exists());
}

#[test]
fn an_unknown_command_is_refused_with_the_known_ones() {
    let instance = Plan::new("control-unknown").prepare();
    for (arguments, name) in [(&["bogus"][..], "bogus"), (&[], "")] {
        assert_eq!(postfix(&instance, arguments).status, Some(1));
        let want = format!(
            "fatal: unknown command: '{name}'. Usage: postfix start (or stop, reload, abort, flush, check, status, \
             set-permissions, upgrade-configuration, logrotate)"
        );
        assert_eq!(said(&instance).last(), Some(&want));
    }
    assert_eq!(postfix(&instance, &["-x"]).status, Some(1));
    assert_eq!(postfix(&instance, &["-c", "relative", "status"]).status, Some(1));
    assert_eq!(postfix(&instance, &["-c", "/nonexistent", "status"]).status, Some(1));
}

#[test]
fn check_makes_missing_directories() {
    let instance = Plan::new("control-check").prepare();
    let queue = instance.queue_directory();
    let before = fs::metadata(queue.join("active")).expect("laid out").uid();
    for (name, mode) in [("flush", 0o700), ("maildrop", 0o730), ("public", 0o710), ("pid", 0o755)] {
        fs::remove_dir_all(queue.join(name)).expect("laid out");
        assert_eq!(postfix(&instance, &["check"]).status, Some(0), "{name}");
        let made = fs::metadata(queue.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(made.mode() & 0o7777, mode, "{name}");
        if name != "pid" {
            assert_eq!(made.uid(), before, "{name}");
        }
    }
}

#[test]
fn check_tells_what_should_not_be() {
    let instance = Plan::new("control-warn").prepare();
    let queue = instance.queue_directory();
    let etc = instance.home().join("etc");
    fs::create_dir_all(queue.join("etc")).expect("our own folder");
    fs::write(queue.join("etc/passwd"), "differs\n").expect("our own folder");
    fs::write(queue.join("corrupt/ABCDEF"), "").expect("our own folder");
    fs::write(etc.join("open"), "").expect("our own folder");
    let all = fs::Permissions::from_mode(0o666);
    fs::set_permissions(etc.join("open"), all).expect("our own file");
    assert_eq!(postfix(&instance, &["check"]).status, Some(0));
    for want in [
        format!("warning: group or other writable: {}/./open", etc.display()),
        format!("warning: {0}/etc/passwd and /etc/passwd differ", queue.display()),
        "warning: damaged message: corrupt/ABCDEF".into(),
    ] {
        assert!(said(&instance).contains(&want), "{want} in {:#?}", said(&instance));
    }
}

#[test]
fn without_the_log_service_there_is_no_start() {
    let mut plan = Plan::new("control-postlog");
    let instance = plan.without("postlog").prepare();
    assert_eq!(postfix(&instance, &["check"]).status, Some(1));
    let want = "fatal: missing 'postlog' service in master.cf - run 'postfix upgrade-configuration'";
    assert_eq!(said(&instance), [want]);
}

#[test]
fn the_log_is_rotated_and_compressed() {
    let instance = Plan::new("control-logrotate").prepare();
    assert_eq!(postfix(&instance, &["start"]).status, Some(0));
    instance.wait_for_log("daemon started");
    assert_eq!(postfix(&instance, &["logrotate"]).status, Some(0));
    let names = fs::read_dir(instance.home()).expect("our own folder").flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("log.2") && name.ends_with(".gz")), "{names:?}");
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
    instance.wait_for_log("disconnect from ");
    assert!(!instance.log_text().contains("daemon started"), "the old lines are in the old file");
    assert_eq!(postfix(&instance, &["logrotate", "x"]).status, Some(1));
}

#[test]
fn any_program_runs_in_the_environment_of_the_mail_system() {
    let instance = Plan::new("control-program").prepare();
    let outcome = postfix(&instance, &["/usr/bin/env"]);
    assert_eq!(outcome.status, Some(0));
    let home = instance.home().display().to_string();
    for want in [
        format!("MAIL_CONFIG={home}/etc"),
        format!("config_directory={home}/etc"),
        format!("queue_directory={home}/spool"),
        "MAIL_LOGTAG=postfix".into(),
        "PATH=/bin:/usr/bin:/sbin:/usr/sbin".into(),
        format!("POSTLOG_SERVICE={home}/spool/public/postlog"),
        "mailq_path=".into(),
    ] {
        assert!(outcome.out().lines().any(|line| line.starts_with(&want)), "{want} in {}", outcome.out());
    }
    assert_eq!(postfix(&instance, &["/bin/sh", "-c", "exit 7"]).status, Some(7));
}

#[test]
fn postkick_reaches_a_service_or_says_why_not() {
    let instance = Plan::new("postkick").start();
    // Postfix's own postkick is often ended by SIGPIPE when pickup closes the connection first; the request has come
    // through all the same. Ours must not (docs/differences.md).
    let status = instance.run("postkick", &["public", "pickup", "W"]).status;
    assert!(status == Some(0) || (status.is_none() && !instance.suite().is_ours("postkick")), "{status:?}");
    fs::write(instance.queue_directory().join("public/file"), "").expect("root's or our own folder");
    let unreachable = |name: &str| {
        format!(
            "postkick: warning: Cannot contact class public service {name} - perhaps the mail system is down\n"
        )
    };
    for (name, why) in [
        ("nosuch", "postkick: warning: unable to look up public/nosuch: No such file or directory\n"),
        ("file", "postkick: warning: public/file is not a socket or a fifo\n"),
    ] {
        let outcome = instance.run("postkick", &["public", name, "W"]);
        assert_eq!((outcome.status, outcome.err()), (Some(1), format!("{why}{}", unreachable(name))));
    }
    let usage = "postkick: fatal: usage: postkick [-c config_dir] [-v] class service request\n";
    let outcome = instance.run("postkick", &["public"]);
    assert_eq!((outcome.status, outcome.err()), (Some(1), usage.into()));
}
