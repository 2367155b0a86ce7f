//! A table that is made again behind the back of a daemon: each daemon that has it open says so, and leaves its clients
//! to a process that opens it anew. lmdb tables change under their readers, who see it at once.

use std::fs;
use std::time::{Duration, SystemTime};

use conformance::{Client, Instance, Plan, Service, Suite, require, version_at_least};

/// Makes a table with this source, as old as is given.
fn make(instance: &Instance, kind: &str, name: &str, source: &str, age: Duration) -> Option<i32> {
    let path = instance.home().join(name);
    fs::write(&path, source).expect("a file of our own");
    let made = instance.run("postmap", &[&format!("{kind}:{}", path.display())]);
    let suffix = if matches!(kind, "hash" | "btree") { "db" } else { kind };
    let index = fs::OpenOptions::new().write(true).open(path.with_extension(suffix));
    if let Ok(index) = index.as_ref() {
        index.set_modified(SystemTime::now() - age).expect("a file of our own");
    }
    made.status
}

/// The replies to recipients of a session of its own.
fn ask(instance: &Instance) -> Vec<u16> {
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example");
    client.command("MAIL FROM:<>");
    let names = ["hash", "btree", "cdb", "lmdb", "proxied"];
    names.map(|name| client.command(&format!("RCPT TO:<{name}@example.com>")).code).to_vec()
}

#[test]
fn daemons_restart() {
    let suite = Suite::under_test();
    require!(
        suite.command("postmap").is_some() && suite.daemon("proxymap").is_some(),
        "needs postmap, proxymap"
    );
    let mut plan = Plan::new("changed");
    let maker = Plan::new("changed-tables").prepare();
    let table = |kind: &str| format!("{kind}:{}", maker.home().join(format!("{kind}-table")).display());
    let hour = Duration::from_secs(3600);
    for kind in ["hash", "btree", "cdb", "lmdb"] {
        let made = make(&maker, kind, &format!("{kind}-table"), "nobody@example.com REJECT\n", hour);
        require!(made == Some(0), "a table type is not in this build");
    }
    for name in ["proxied", "routed"] {
        make(&maker, "hash", name, "nobody@example.com x\n", hour);
    }
    let path = |name: &str| maker.home().join(name).display().to_string();
    let checks =
        ["hash", "btree", "cdb", "lmdb"].map(|kind| format!("check_recipient_access {}", table(kind)));
    let proxied = format!("proxy:hash:{}", path("proxied"));
    plan.set(
        "smtpd_recipient_restrictions",
        &format!("{}, check_recipient_access {proxied}", checks.join(", ")),
    );
    // Or the proxy does not know it.
    plan.set("proxy_read_maps", &proxied);
    plan.set("smtpd_reject_unlisted_recipient", "no");
    plan.set("transport_maps", &format!("hash:{}", path("routed")));
    plan.service(Service::new("proxymap unix - - n - - proxymap"));
    let instance = plan.start();
    let mut expected = vec![250; 5];
    assert_eq!(ask(&instance), expected);
    for (at, kind) in ["hash", "btree", "cdb", "lmdb"].into_iter().enumerate() {
        let source = format!("{kind}@example.com REJECT\n");
        make(&maker, kind, &format!("{kind}-table"), &source, Duration::ZERO);
        expected[at] = 554;
        assert_eq!(ask(&instance), expected, "{kind}");
        if kind != "lmdb" {
            let line =
                format!("table {}(0,lock|fold_fix|utf8_request) has changed -- restarting", table(kind));
            instance.wait_for_log(&line);
        }
    }
    make(&maker, "hash", "routed", "routed@example.com smtp:\n", Duration::ZERO);
    // proxymap looks when a client comes: the next smtpd.
    make(&maker, "hash", "proxied", "proxied@example.com REJECT\n", Duration::ZERO);
    make(&maker, "hash", "hash-table", "hash@example.com REJECT\n", hour * 2);
    expected[4] = 554;
    assert_eq!(ask(&instance), expected);
    let flags = if version_at_least(3, 11) { "(0,lock|fold_fix|utf8_request)" } else { ":" };
    let line = format!("table hash:{}{flags} has changed -- restarting", path("proxied"));
    assert_eq!(instance.wait_for_log(&format!("table hash:{}", path("proxied"))), line);
    // trivial-rewrite looks every ten seconds: its clients stay.
    let flags = "(0,lock|no_regsub|fold_fix|utf8_request)";
    instance.wait_for_log(&format!("table hash:{}{flags} has changed -- restarting", path("routed")));
    assert!(!instance.log_text().contains(&format!("table {}", table("lmdb"))), "lmdb restarts nobody");
}
