//! A queue manager whose bounce services are not there, close, or answer with a failure: what it logs and where its messages are
//! then, on Postfix and on the suite under test. [`super::silent`] has those that say nothing.

use std::collections::HashMap;
use std::sync::LazyLock;

use conformance::{Client, Plan, Service, Suite, mask, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use crate::agents::all_neighbours;

pub(super) static DELAYS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("delay=[0-9.]+, delays=[0-9./]+").expect("a pattern"));

#[test]
fn that_fail() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    for name in ["absent", "closing", "refusing"] {
        let [theirs, ours] = [Suite::Postfix, Suite::under_test()].map(|suite| play(suite, name));
        assert_eq!(ours, theirs, "{name}");
    }
}

/// What comes of messages that are refused, that are delivered and to be told of, and that are too old.
fn play(suite: Suite, name: &str) -> Vec<Vec<String>> {
    let mut plan = Plan::for_suite("neighbours", suite);
    let mut manager = Service::new("qmgr unix n - n 300 1 qmgr").option("qmgr_ipc_timeout", "2s");
    for service in ["bounce", "defer", "trace"] {
        manager = manager.option(&format!("{service}_service_name"), name);
    }
    plan.with_delivery()
        .without("qmgr")
        .service(manager)
        .set("transport_maps", "inline:{ {void.example=discard:}, {later.example=retry:4.2.1 x}, {never.example=error:5.7.1 x} }")
        .set("virtual_alias_maps", "")
        .set("maximal_queue_lifetime", "0")
        .set("smtpd_reject_unlisted_recipient", "no");
    let instance = plan.start();
    all_neighbours(&instance);
    ["bob@never.example", "bob@void.example", "bob@later.example"]
        .map(|recipient| {
            let mut client = Client::connect(instance.smtp_port());
            for command in ["EHLO client.example", "MAIL FROM:<ann@void.example>"] {
                client.command(command);
            }
            client.command(&format!("RCPT TO:<{recipient}> NOTIFY=SUCCESS,FAILURE,DELAY"));
            client.command("DATA");
            let reply = client.command("Subject: x\r\n\r\nx\r\n.").text();
            let id = reply.rsplit(' ').next().expect("a word").to_owned();
            let end = instance.wait_for("rest", || {
                let deferred = instance.queue_directory().join("deferred").join(&id[..1]).join(&id);
                let removed = instance.log_text().contains(&format!("{id}: removed"));
                (deferred.exists() || removed).then_some(if removed { "removed" } else { "deferred" })
            });
            // Behind all that has been logged of it.
            let mut client = Client::connect(instance.smtp_port());
            let last = client.send_message("", &["last@void.example"], "Subject: x\n\nx\n").text();
            let last = last.rsplit(' ').next().expect("a word");
            instance.wait_for_log(&format!("{last}: removed"));
            let lines =
                instance.log().into_iter().filter(|line| line.program() == "qmgr" && line.text.contains(&id));
            let mut lines: Vec<String> = lines
                .map(|line| {
                    let text = mask(&line.text.replace(&id, "QID"), &HashMap::new());
                    DELAYS.replace(&text, "DELAYS").into_owned()
                })
                .collect();
            lines.push(end.to_owned());
            lines
        })
        .to_vec()
}
