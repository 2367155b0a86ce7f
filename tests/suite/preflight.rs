//! `postfix check`, `start` and `reload` with mistakes in main.cf and master.cf.
//!
//! A reload with a mistake in master.cf is refused by both suites. What is found in main.cf, and the lines themselves,
//! are Postern's (docs/differences.md).

use conformance::{Client, Instance, Plan};

/// The lines of `postfix check` about the configuration.
fn said(instance: &Instance) -> Vec<String> {
    let lines = instance.log_of("postfix-script").into_iter();
    let about_programs = ["symlink leaves directory", "not set-gid or not", "not owned by group", "libexec"];
    lines.filter(|line| !about_programs.iter().any(|word| line.contains(word))).collect()
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

#[test]
fn a_configuration_without_mistakes_is_not_talked_about() {
    let instance = Plan::new("preflight-silence").prepare();
    assert_eq!(instance.run("postfix", &["check"]).status, Some(0));
    assert_eq!(said(&instance), [""; 0]);
}
