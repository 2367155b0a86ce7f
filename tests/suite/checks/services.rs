//! Checks from where mail comes in to where it goes: what clients are told, and what the queue manager makes of it.

use conformance::{Client, Instance, Plan, Service, free_port, require};
use nix::unistd::Uid;

const HEADER_CHECKS: &str = "regexp:{{/^Subject: reject/ REJECT no such thing} {/^Subject: later/ REJECT 4.3.9 come again} \
     {/^Subject: discard/ DISCARD quietly} {/^Subject: hold/ HOLD wait} {/^Subject: redirect/ REDIRECT carol@void.example} \
     {/^Subject: copy/ BCC archive@void.example} {/^Subject: filter/ FILTER discard:somewhere} \
     {/^Subject: note/ WARN noted}}";

fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("header_checks", HEADER_CHECKS).set("body_checks", "regexp:{{/^secret/ REJECT 5.7.9 not here}}");
    plan
}

fn send(port: u16, subject: &str) -> String {
    let mut client = Client::connect(port);
    let content = format!("From: alice@example.net\nSubject: {subject}\n\n{subject} body\n");
    let reply = client.send_message("alice@example.net", &["bob@void.example"], &content).text();
    client.command("QUIT");
    reply
}

#[test]
fn clients_are_told() {
    let mut plan = plan("checks-smtpd");
    let unchecked = free_port();
    plan.set("relay_domains", "void.example");
    plan.service(
        Service::new(format!("127.0.0.1:{unchecked} inet n - n - - smtpd"))
            .option("receive_override_options", "no_header_body_checks"),
    );
    let instance = plan.start();
    for (subject, expected) in [
        ("reject", "550 5.7.1 no such thing"),
        ("later", "451 4.3.9 come again"),
        ("secret", "550 5.7.9 not here"),
        ("discard", "250 2.0.0 Ok: queued as "),
        ("note", "250 2.0.0 Ok: queued as "),
    ] {
        let reply = send(instance.smtp_port(), subject);
        assert!(reply.starts_with(expected), "{subject}: {reply}");
        let reply = send(unchecked, subject);
        assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{subject}: {reply}");
    }
    let origin = "from localhost[127.0.0.1]; from=<alice@example.net> to=<bob@void.example> proto=ESMTP \
                  helo=<client.example.net>";
    instance.wait_for_log(&format!(": reject: header Subject: reject {origin}: 5.7.1 no such thing"));
    instance.wait_for_log(&format!(": reject: header Subject: later {origin}: 4.3.9 come again"));
    instance.wait_for_log(&format!(": reject: body secret body {origin}: 5.7.9 not here"));
    instance.wait_for_log(&format!(": discard: header Subject: discard {origin}: quietly"));
    instance.wait_for_log(&format!(": warning: header Subject: note {origin}: noted"));
    // Five unchecked ones, and the one with the note.
    assert_eq!(instance.queue("incoming").len(), 6);
    assert!(instance.queue("hold").is_empty());
}

fn delivering(name: &str) -> Instance {
    let mut plan = plan(name);
    plan.with_delivery();
    plan.set("transport_maps", "inline:{ {void.example = discard:} {example.net = discard:} }")
        .set("relay_domains", "void.example")
        .set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    plan.start()
}

#[test]
fn the_queue_manager_is_told() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    let instance = delivering("checks-qmgr");
    for subject in ["redirect", "copy", "filter", "hold", "note"] {
        let reply = send(instance.smtp_port(), subject);
        let id =
            reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{subject}: {reply}"));
        match subject {
            "redirect" => drop(
                instance.wait_for_log(&format!("{id}: to=<carol@void.example>, orig_to=<bob@void.example>")),
            ),
            "copy" => {
                instance.wait_for_log(&format!("{id}: to=<archive@void.example>, relay=none"));
                instance.wait_for_log(&format!("{id}: to=<bob@void.example>, relay=none"));
            }
            "filter" => {
                let line = instance.wait_for_log(&format!("{id}: to=<bob@void.example>"));
                assert!(line.contains("status=sent (somewhere)"), "{line}");
            }
            "hold" => {
                assert!(instance.queue("hold").iter().any(|file| file.queue_id == id && file.is_complete()))
            }
            _ => drop(instance.wait_for_log(&format!("{id}: to=<bob@void.example>"))),
        }
        if subject != "hold" {
            instance.wait_for_log(&format!("{id}: removed"));
        }
    }
}

/// What cannot be told to a client is returned; the notice is not checked, though it holds what was refused.
#[test]
fn mail_from_the_command_is_returned() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    let instance = delivering("checks-pickup");
    let submit = |subject: &str| {
        let text = format!("From: alice@example.net\nSubject: {subject}\n\n{subject} body\n");
        let arguments = ["-f", "alice@example.net", "bob@void.example"];
        let outcome = instance.run_with_input("sendmail", &arguments, text.as_bytes());
        assert_eq!((outcome.status, outcome.err().as_str()), (Some(0), ""), "{subject}");
    };
    submit("reject");
    instance.wait_for_log(": to=<bob@void.example>, relay=none, delay=");
    let line = instance.wait_for_log("status=bounced (no such thing)");
    assert!(line.contains("dsn=5.7.1"), "{line}");
    instance.wait_for_log("sender non-delivery notification: ");
    instance.wait_for_log(": to=<alice@example.net>, relay=none");
    submit("secret");
    instance.wait_for_log("status=bounced (not here)");
    submit("discard");
    instance.wait_for_log(": discard: header Subject: discard from local; from=<alice@example.net> to=<bob@void.example>: quietly");
    submit("redirect");
    instance.wait_for_log(": to=<carol@void.example>, orig_to=<bob@void.example>");
    instance.wait_for("empty queue", || {
        let queues = ["maildrop", "incoming", "active", "deferred", "hold"];
        queues.iter().all(|queue| instance.queue(queue).is_empty()).then_some(())
    });
    let log = instance.log_text();
    assert_eq!(log.matches(": reject: header ").count(), 1, "{log}");
    assert_eq!(log.matches(": reject: body ").count(), 1, "{log}");
}
