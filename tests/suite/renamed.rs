//! A daemon under another file name: how an administrator tries one beside the other.

use std::os::unix::fs::symlink;

use conformance::{Client, Plan};

#[test]
fn a_daemon_works_under_another_name_and_logs_with_it() {
    let mut plan = Plan::new("renamed");
    plan.smtpd().fields = plan.smtpd().fields.replace(" smtpd", " smtpd.trial");
    for (name, daemon) in [("cleanup", "cleanup"), ("rewrite", "trivial-rewrite")] {
        plan.without(name);
        let (private, limit) = if name == "cleanup" { ("n", "0") } else { ("-", "-") };
        plan.master_cf(&format!("{name} unix {private} - n - {limit} {daemon}.trial\n"));
    }
    let instance = plan.prepare();
    let libexec = instance.home().join("libexec");
    for daemon in ["smtpd", "cleanup", "trivial-rewrite"] {
        symlink(libexec.join(daemon), libexec.join(format!("{daemon}.trial"))).expect("our own folder");
    }
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let mut client = Client::connect(instance.smtp_port());
    let reply = client.send_message("a@example.net", &["b@example.com"], "Subject: x\nTo: c\n\nx\n");
    assert_eq!(reply.code, 250, "{reply:?}");
    assert_eq!(client.command("QUIT").code, 221);
    instance.wait_for_log("disconnect from");
    assert_eq!(instance.log_of("cleanup.trial").len(), 2, "message-id, and no queue manager");
    assert!(instance.queue("incoming")[0].content().contains("To: c@mx.example.com"));
}
