//! Postern's own parameter for many deliveries in one process.

use std::collections::BTreeSet;

use conformance::{Plan, Play, ScriptedFilter, Service, Suite, require};
use nix::unistd::Uid;

/// How many messages there are, to as many servers.
const COUNT: usize = 8;

/// One process, in which servers that say nothing for a while have all deliveries waiting at the same time; each has a
/// number of its own in the log. A server that hangs keeps nobody else from being served.
#[test]
fn deliveries_share_a_process() {
    require!(Suite::under_test().is_ours("smtp"), "the parameter is Postern's own");
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    let hanging = ScriptedFilter::start();
    hanging.play("EHLO", [Play::Silence]);
    let server = ScriptedFilter::start();
    for server in [&hanging, &server] {
        server.say("banner", "220 mx.test ESMTP");
    }
    server.say("EHLO", "250 mx.test").say(".", "250 2.0.0 queued as 1");
    let mut plan = Plan::new("smtp-many");
    plan.with_delivery()
        .set("inet_protocols", "ipv4")
        .set("smtp_deliveries_per_process", "20")
        .set("smtp_host_lookup", "native")
        .set("smtp_destination_concurrency_limit", "20")
        .set("initial_destination_concurrency", "20")
        .set("smtp_helo_timeout", "5s")
        .set("smtp_connection_cache_on_demand", "no")
        .without("smtp");
    plan.service(Service::new("smtp unix - - n - 1 smtp"));
    let map = format!(
        "inline:{{ {{ hang.test = smtp:[127.0.0.1]:{} }}, {{ fine.test = smtp:[127.0.0.1]:{} }} }}",
        hanging.port(),
        server.port()
    );
    plan.set("transport_maps", &map);
    let instance = plan.start();
    let send = |to: &str| {
        let sent = instance.run_with_input("sendmail", &["-f", "ann@example.com", to], b"Subject: x\n\ny\n");
        assert_eq!(sent.status, Some(0), "{sent:?}");
    };
    for number in 0..COUNT {
        send(&format!("r{number}@hang.test"));
    }
    instance.wait_for("all of them wait", || (hanging.most_open() == COUNT).then_some(()));
    send("bob@fine.test");
    instance.wait_for_log("to=<bob@fine.test>, relay=127.0.0.1[127.0.0.1]");
    // The process that master knows has forked no other one.
    assert!(instance.processes("smtp").len() <= 2);
    let lines = instance.wait_for("all are told of", || {
        let log = instance.log();
        let told =
            log.into_iter().filter(|line| line.program() == "smtp" && line.text.contains("@hang.test>"));
        let told: Vec<_> = told.collect();
        (told.len() == COUNT).then_some(told)
    });
    let numbers: BTreeSet<u32> = lines.iter().map(|line| line.pid).collect();
    assert_eq!(numbers.len(), COUNT, "{lines:#?}");
}
