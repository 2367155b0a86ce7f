//! Postern as the first process of a container: an ordinary user that has no name, a read-only root, the log on standard
//! output, and a main.cf that the environment completes.

use std::path::Path;

use conformance::{Suite, require, run};

/// What happens, and with which exit status.
const EXPECTED: &str = "\
root is read-only: 0
    yes
postern-health: 0
    master: ok: running: PID 1
    listening: ok: 127.0.0.1:2525
    rewrite: ok: postmaster is postmaster@pod.example.com
    cleanup: ok: a queue file can be made
    disk: ok
postconf: 0
    pod.example.com
    $myhostname, example.com
message: 0
    220 pod.example.com ESMTP Postfix
    250 pod.example.com
    250 2.1.0 Ok
    250 2.1.5 Ok
    354 End data with <CR><LF>.<CR><LF>
    250 2.0.0 Ok: queued
    221 2.0.0 Bye
in the queue: 0
    1
in the copy of the log: 0
    1
start-fg: 0
";

#[test]
fn any_user_a_read_only_root_and_settings_of_the_environment() {
    require!(Suite::under_test() == Suite::Postern, "a container of Postern's");
    require!(nix::unistd::Uid::current().is_root(), "only the superuser can make a machine of name spaces");
    let suite = Suite::under_test();
    let folder = |path: Option<std::path::PathBuf>| {
        let path = path.expect("cargo build makes it");
        path.parent().expect("it is in a folder").to_string_lossy().into_owned()
    };
    let (libexec, bin) = (folder(suite.daemon("master")), folder(suite.command("postern-health")));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("container.sh");
    let script = script.to_string_lossy();
    let words = ["--mount", "--net", "--pid", "--fork", "sh", &*script, &libexec, &bin];
    let outcome = run(Path::new("/usr/bin/unshare"), &words, &[], b"");
    require!(outcome.status != Some(77), "no name spaces, or folders that only some users may look into");
    let text = outcome.out();
    let (steps, log) = text.split_once("log:\n").expect("it comes to its end");
    let constant = |line: &str| {
        let line =
            line.strip_prefix("    250 2.0.0 Ok: queued as ").map_or(line, |_| "    250 2.0.0 Ok: queued");
        line.strip_prefix("    disk: ok: ").map_or(line, |_| "    disk: ok").to_owned() + "\n"
    };
    // Nobody takes the message further.
    let log: Vec<_> = log.lines().filter(|line| !line.contains("unable to look up public/qmgr")).collect();
    let steps: String = steps.lines().map(constant).collect();
    assert_eq!(steps, EXPECTED, "{}\n{}", outcome.err(), log.join("\n"));
    // Each line of the log is an event there, too.
    let (events, log): (Vec<&str>, Vec<&str>) = log.into_iter().partition(|line| line.starts_with('{'));
    for part in ["\"program\":\"smtpd\"", "\"event\":\"client\""] {
        assert!(events.iter().any(|line| line.contains(part)), "{part} in\n{}", events.join("\n"));
    }
    for part in ["starting the Postfix mail system", "daemon started -- ", "smtpd[", "message-id="] {
        assert!(log.iter().any(|line| line.contains(part)), "{part} in\n{}", log.join("\n"));
    }
    for part in ["fatal: ", "panic: ", "error: ", "warning: "] {
        assert!(!log.iter().any(|line| line.contains(part)), "{part} in\n{}", log.join("\n"));
    }
}
