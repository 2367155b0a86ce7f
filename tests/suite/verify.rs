//! Address verification: the service, its probes, and what smtpd makes of the results.

use conformance::{Instance, Plan, Service, require};

use crate::dialogue::{connect, talk};

/// An instance with a queue manager; `verify` answers from memory.
fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.with_delivery()
        .set("address_verify_map", "")
        .set("address_verify_poll_delay", "1s")
        .set("address_verify_poll_count", "30")
        .set("virtual_mailbox_domains", "virtual.example")
        .set("virtual_transport", "discard")
        .set("transport_maps", "inline:{{gone.example = error:5.1.2 no such domain}}")
        .set("smtpd_recipient_restrictions", "permit_auth_destination, reject")
        .service(Service::new("verify unix - - n - 1 verify"));
    plan
}

/// Whether the suite has a queue manager and delivery agents: Postern does not yet.
fn delivers() -> bool {
    ["qmgr", "discard", "error"].iter().all(|name| conformance::Suite::under_test().daemon(name).is_some())
}

fn reply(instance: &Instance, sender: &str, recipient: &str) -> String {
    let mut client = connect(instance);
    talk(&mut client, &[("EHLO client.example.net", "250"), (&format!("MAIL FROM:<{sender}>"), "250")]);
    client.command(&format!("RCPT TO:<{recipient}>")).text()
}

#[test]
fn recipients_are_probed() {
    require!(delivers(), "needs a queue manager and delivery agents");
    let instance = plan("verify-rcpt")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .set("unverified_recipient_reject_code", "550")
        .start();
    assert_eq!(reply(&instance, "a@example.net", "bob@virtual.example"), "250 2.1.5 Ok");
    instance.wait_for_log("status=deliverable");
    let refused = reply(&instance, "a@example.net", "bob@gone.example");
    assert_eq!(
        refused,
        "550 5.1.1 <bob@gone.example>: Recipient address rejected: undeliverable address: no such domain"
    );
    // The result is remembered: no further probe.
    assert_eq!(reply(&instance, "a@example.net", "bob@gone.example"), refused);
    assert_eq!(instance.log_text().matches("status=undeliverable").count(), 1);
    instance.wait_for_log("from=<double-bounce@mx.example.com>");
}

#[test]
fn senders_are_probed() {
    require!(delivers(), "needs a queue manager and delivery agents");
    let instance = plan("verify-sender")
        .set("smtpd_sender_restrictions", "reject_unverified_sender")
        .set("unverified_sender_reject_reason", "who are you?")
        .start();
    assert_eq!(reply(&instance, "bob@virtual.example", "bob@example.com"), "250 2.1.5 Ok");
    assert_eq!(
        reply(&instance, "bob@gone.example", "bob@example.com"),
        "450 4.1.7 <bob@gone.example>: Sender address rejected: unverified address: who are you?"
    );
    // The null sender is never asked about.
    assert_eq!(reply(&instance, "", "bob@example.com"), "250 2.1.5 Ok");
}

#[test]
fn nobody_delivers() {
    // Without a queue manager no probe comes back.
    let mut plan = Plan::new("verify-todo");
    plan.set("address_verify_map", "")
        .set("address_verify_poll_count", "1")
        .set("smtpd_recipient_restrictions", "reject_unverified_recipient, permit")
        .service(Service::new("verify unix - - n - 1 verify"));
    let instance = plan.start();
    for _ in 0..2 {
        assert_eq!(
            reply(&instance, "a@example.net", "bob@example.com"),
            "450 4.1.1 <bob@example.com>: Recipient address rejected: unverified address: Address verification in \
             progress"
        );
    }
    // One probe, with its marks, for both.
    let probes = instance.wait_for("a probe", || {
        let files = instance.queue("incoming");
        (!files.is_empty() && files.iter().all(conformance::QueueFile::is_complete)).then_some(files)
    });
    assert_eq!(probes.len(), 1);
    let records = probes[0].records().join("\n");
    for expected in ["trace_flags=256", "double-bounce@mx.example.com", "bob@example.com"] {
        assert!(records.contains(expected), "{expected} in\n{records}");
    }
}

#[test]
fn the_probe_sender_is_not_asked() {
    let mut plan = Plan::new("verify-exempt");
    plan.set("smtpd_recipient_restrictions", "reject").set("address_verify_sender", "probe");
    let instance = plan.start();
    assert_eq!(reply(&instance, "", "Probe@mx.example.com"), "250 2.1.5 Ok");
    assert!(reply(&instance, "", "bob@example.com").starts_with("554 5.7.1"));
}

#[test]
fn hangup() {
    let mut plan = Plan::new("hangup");
    plan.set(
        "smtpd_recipient_restrictions",
        "check_recipient_access inline:{{bob@example.com = HANGUP bye}}",
    );
    let instance = plan.start();
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            ("EHLO client.example.net", "250"),
            ("MAIL FROM:<a@example.net>", "250"),
            ("RCPT TO:<bob@example.com>", ""),
        ],
    );
    instance.wait_for_log(
        "hangup: RCPT from localhost[127.0.0.1]: bye; from=<a@example.net> to=<bob@example.com>",
    );
    instance.wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=0/1 commands=2/3");
}

#[test]
fn restrictions_on_logins_without_sasl() {
    let mut plan = Plan::new("no-sasl");
    plan.set(
        "smtpd_recipient_restrictions",
        "reject_sender_login_mismatch, reject_known_sender_login_mismatch, check_sasl_access inline:{a=b}, \
         check_ccert_access inline:{a=b}, check_relay_domains",
    );
    let instance = plan.start();
    assert_eq!(reply(&instance, "a@example.net", "bob@example.com"), "250 2.1.5 Ok");
    assert_eq!(
        reply(&instance, "a@example.net", "bob@example.org"),
        "554 5.7.1 <bob@example.org>: Recipient address rejected: Relay access denied"
    );
    for name in [
        "reject_authenticated_sender_login_mismatch",
        "reject_unauthenticated_sender_login_mismatch",
        "reject_known_sender_login_mismatch",
        "check_sasl_access",
    ] {
        instance.wait_for_log(&format!("warning: restriction `{name}' ignored: no SASL support"));
    }
    instance.wait_for_log("warning: check_ccert_access is requested, but \"smtpd_tls_ask_ccert = no\"");
    instance.wait_for_log(
        "warning: support for restriction \"check_relay_domains\" will be removed from Postfix",
    );
}
