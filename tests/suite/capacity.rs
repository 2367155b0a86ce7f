//! Postern's own parameters for many clients: several sessions a process, a bounded filter.

use std::collections::BTreeSet;

use conformance::{Client, Plan, Suite, require};

fn ours() -> bool {
    Suite::under_test().is_ours("smtpd")
}

const WHY: &str = "the parameters are Postern's own";

#[test]
fn sessions_share_a_process_and_each_has_its_number_in_the_log() {
    require!(ours(), WHY);
    let mut plan = Plan::new("sessions");
    plan.set("smtpd_sessions_per_process", "10");
    let instance = plan.start();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(instance.smtp_port())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let sender = format!("s{number}@example.net");
        assert_eq!(client.send_message(&sender, &["b@example.com"], "Subject: x\r\n\r\ny\r\n").code, 250);
    }
    for client in &mut clients {
        assert_eq!(client.command("QUIT").code, 221);
    }
    instance.wait_for("five goodbyes", || {
        let gone = instance.log_of("smtpd").iter().filter(|line| line.starts_with("disconnect")).count();
        (gone == 5).then_some(())
    });
    let lines = instance.log();
    let numbers = |start: &str| -> BTreeSet<u32> {
        let of = lines.iter().filter(|line| line.text.starts_with(start) && line.program() == "smtpd");
        of.map(|line| line.pid).collect()
    };
    assert_eq!(numbers("connect from").len(), 5);
    assert_eq!(numbers("connect from"), numbers("disconnect from"));
    // The process that master knows, and the one with the sessions.
    assert_eq!(instance.processes("smtpd").len(), 2);
    assert_eq!(instance.queue("incoming").len(), 5);
}
