//! No wrong line, and no file that is none, stops a mail system that runs: `postfix reload` is refused, or the mail system
//! lives with it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use conformance::{Client, Plan, Service, require};
use nix::sys::stat::Mode;

use super::Effect::{Lives, MasterDies, ServiceDies};
use super::{MISTAKES, Trial, judges, said};

#[test]
fn no_mistake_stops_a_running_mail_system() {
    let instance = Plan::new("preflight-reload-all").start();
    require!(judges(&instance), "the programs that look are Postern's");
    let trial = Trial::of(instance);
    let instance = &trial.instance;
    let pid = instance.master_pid().expect("running");
    for mistake in MISTAKES {
        if !matches!(mistake.effect, ServiceDies | MasterDies) {
            continue;
        }
        trial.put(mistake);
        let outcome = instance.run("postfix", &["reload"]);
        assert_eq!(outcome.status, Some(1), "{}\n{}", mistake.lines, outcome.err());
        // Also when the signal is sent to master itself.
        assert_eq!(instance.master_pid(), Some(pid), "{}", mistake.lines);
    }
    trial.repair();
    assert!(!instance.log_text().contains("reload -- version "));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
    assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    instance.wait_for_log("reload -- version ");
    assert_eq!(instance.master_pid(), Some(pid));
}

#[test]
fn mistakes_that_postfix_lives_with_do_not_refuse_a_reload() {
    let mut plan = Plan::new("preflight-lives");
    plan.service(Service::new("proxymap unix - - n - - proxymap"));
    let trial = Trial::of(plan.start());
    let instance = &trial.instance;
    let pid = instance.master_pid();
    for mistake in MISTAKES.iter().filter(|mistake| mistake.effect == Lives) {
        trial.put(mistake);
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(0), "{}", mistake.lines);
        assert_eq!(Client::connect(instance.smtp_port()).greeting().code, 220, "{}", mistake.lines);
        assert_eq!(instance.master_pid(), pid);
    }
}

#[test]
fn a_start_is_refused_only_where_master_would_not_start() {
    let trial = Trial::of(Plan::new("preflight-start").prepare());
    let instance = &trial.instance;
    require!(judges(instance), "the programs that look are Postern's");
    for (lines, status) in [("x unix n n n q 1 showq\n", 1), ("x unix n - n - - nosuch\n", 0)] {
        let mistake = MISTAKES.iter().find(|mistake| mistake.lines == lines).expect("listed");
        trial.put(mistake);
        assert_eq!(instance.run("postfix", &["start"]).status, Some(status), "{lines}");
    }
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
}

#[test]
fn a_wrong_line_in_master_cf_does_not_stop_a_running_mail_system() {
    let instance = Plan::new("preflight-reload").start();
    let pid = instance.master_pid().expect("running");
    for line in ["x", "x unix n n n Q 1 showq", "x unix n n n - 1", "x bogus n n n - 1 showq"] {
        instance.edit_master_cf(|text| format!("{text}{line}\n"));
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "{line}");
        assert_eq!(instance.run("postfix", &["check"]).status, Some(1), "{line}");
        instance.edit_master_cf(|text| text.replace(&format!("{line}\n"), ""));
    }
    assert_eq!(instance.master_pid(), Some(pid));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
    assert!(!instance.log_text().contains("reload -- version "));
    assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    instance.wait_for_log("reload -- version ");
    assert_eq!(instance.master_pid(), Some(pid));
}

/// Replaces a file by what cannot be read.
fn spoil(path: &Path, content: Option<&[u8]>) {
    fs::remove_file(path).expect("our own file");
    match content {
        Some(bytes) => fs::write(path, bytes).expect("our own folder"),
        None => fs::create_dir(path).expect("our own folder"),
    }
}

#[test]
fn a_file_that_is_none_does_not_stop_a_running_mail_system() {
    let instance = Plan::new("preflight-files").start();
    let pid = instance.master_pid().expect("running");
    require!(judges(&instance), "Debian's reload does not look whether master.cf can be read at all");
    for name in ["main.cf", "master.cf"] {
        let path = instance.home().join("etc").join(name);
        let text = fs::read(&path).expect("laid out");
        let wrong: [Option<&[u8]>; 3] = [None, Some(b"\0\xff\n"), Some(b"smtp\n")];
        for content in wrong {
            spoil(&path, content);
            assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "{name}: {content:?}");
            if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect("ours");
            fs::write(&path, &text).expect("our own folder");
        }
        fs::remove_file(&path).expect("our own file");
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "{name} is missing");
        // Postfix's waits for ever.
        let endless: [&dyn Fn(); 2] = [
            &|| nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o644)).expect("our own folder"),
            &|| symlink("/dev/zero", &path).expect("our own folder"),
        ];
        for make in endless {
            make();
            for word in ["reload", "check", "start"] {
                let outcome = instance.run("postfix", &[word]);
                let want = format!("{}: not a regular file, and reading it may never end", path.display());
                assert!(outcome.status == Some(1) && outcome.err().contains(&want), "{name} {outcome:?}");
            }
            fs::remove_file(&path).expect("just made");
        }
        if name == "master.cf" {
            fs::write(&path, "# nothing\n").expect("our own folder");
            assert_eq!(instance.run("postfix", &["reload"]).status, Some(1), "no service");
        }
        fs::write(&path, &text).expect("our own folder");
    }
    assert_eq!(instance.master_pid(), Some(pid));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
}

#[test]
fn a_reload_does_not_end_all_services_of_the_network() {
    let instance = Plan::new("preflight-protocols").start();
    require!(judges(&instance), "Postfix reloads, and nobody can connect");
    // A process that has read the parameter before.
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
    let line = "inet_protocols = ipv4";
    instance.edit_main_cf(|text| {
        assert!(text.contains(line), "{text}");
        text.replace(line, "inet_protocols =")
    });
    let reload = || {
        let outcome = instance.run("postfix", &["reload"]);
        let mut texts = said(&outcome.err());
        texts.retain(|text| text.contains("inet"));
        (
            outcome.status,
            texts.iter().map(|text| text.split(" (/").next().unwrap_or_default().to_owned()).collect(),
        )
    };
    let want = |level: &str| -> Vec<String> {
        [
            "all network protocols are disabled (inet_protocols = )",
            "disabling all type \"inet\" services in master.cf",
        ]
        .map(|text| format!("{level}: {text}"))
        .into()
    };
    assert_eq!(reload(), (Some(1), want("fatal")));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
    // Who means it says so.
    instance.edit_main_cf(|text| text + "master_service_disable = inet\n");
    assert_eq!(reload(), (Some(0), want("warning")));
    instance.wait_for("end of the service", || {
        std::net::TcpStream::connect(("127.0.0.1", instance.smtp_port())).is_err().then_some(())
    });
}

/// The same without a reload, as a line that waits for the next process.
#[test]
fn an_smtpd_without_any_protocol_ends_at_its_first_client() {
    let instance = Plan::new("preflight-no-protocol").start();
    instance.edit_main_cf(|text| text.replace("inet_protocols = ipv4", "inet_protocols ="));
    let client = std::net::TcpStream::connect(("127.0.0.1", instance.smtp_port())).expect("master listens");
    instance.wait_for_log("fatal: all network protocols are disabled (inet_protocols = )");
    drop(client);
    instance.edit_main_cf(|text| text.replace("inet_protocols =", "inet_protocols = ipv4"));
    assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    assert_eq!(Client::connect(instance.smtp_port()).command("QUIT").code, 221);
}
