//! An agent that is killed at any moment: every message comes to its mailbox, and a mailbox has whole messages only.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use conformance::{Client, Dice, Instance, Plan, require};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

const MESSAGES: usize = 60;
const KILLS: u32 = 30;

#[test]
fn nothing_is_lost() {
    require!(Uid::effective().is_root(), "mailboxes belong to other users");
    let mut plan = Plan::new("virtual-killed");
    plan.with_delivery();
    for (name, value) in [
        ("virtual_mailbox_domains", "v.test"),
        ("virtual_mailbox_base", "$queue_directory/../mailboxes"),
        ("virtual_mailbox_maps", "inline:{ {a@v.test=a/}, {b@v.test=b/} }"),
        ("virtual_uid_maps", "static:4001"),
        ("virtual_gid_maps", "static:4002"),
        ("service_throttle_time", "1s"),
        ("transport_retry_time", "1s"),
        ("minimal_backoff_time", "1s"),
        ("maximal_backoff_time", "1s"),
        ("queue_run_delay", "1s"),
    ] {
        plan.set(name, value);
    }
    let instance = plan.start();
    let base = instance.home().join("mailboxes");
    fs::create_dir_all(&base).expect("the instance's own folder");
    fs::set_permissions(&base, fs::Permissions::from_mode(0o1777)).expect("just made");

    let mut dice = Dice::new(17);
    let mut killed = 0;
    let mut client = Client::connect(instance.smtp_port());
    for number in 0..MESSAGES {
        let content = format!("Subject: token-{number}-end\n\n{}last\n", "some text in a line\n".repeat(200));
        let reply = client.send_message("ann@example.net", &["a@v.test", "b@v.test"], &content);
        assert_eq!(reply.code, 250, "{}", reply.text());
        if dice.percent(60) {
            killed += kill_agents(&instance);
        }
    }
    instance.wait_for("an empty queue", || {
        if killed < KILLS {
            killed += kill_agents(&instance);
        }
        assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
        let queues = ["incoming", "active", "deferred"];
        queues.iter().all(|queue| instance.queue(queue).is_empty()).then_some(())
    });
    println!("{killed} processes killed");
    for mailbox in ["a", "b"] {
        let files = fs::read_dir(base.join(mailbox).join("new")).expect("there is mail");
        let texts: Vec<String> = files
            .flatten()
            .map(|entry| fs::read_to_string(entry.path()).expect("a message of ASCII"))
            .collect();
        assert!(texts.iter().all(|text| text.ends_with("\nlast\n")), "a message that is not whole");
        for number in 0..MESSAGES {
            let token = format!("token-{number}-end");
            assert!(texts.iter().any(|text| text.contains(&token)), "{token} is lost in {mailbox}");
        }
        // Twice only what was in the making: a message of each process that was killed.
        let twice = texts.len() - MESSAGES;
        assert!(twice <= usize::try_from(killed).expect("few"), "{twice} too many, {killed} killed");
    }
    assert!(instance.queue("corrupt").is_empty());
}

fn kill_agents(instance: &Instance) -> u32 {
    let mut killed = 0;
    for process in instance.processes("virtual") {
        // It may have gone by itself.
        killed += u32::from(kill(Pid::from_raw(process), Signal::SIGKILL).is_ok());
    }
    killed
}
