//! `postern-health` tells what is wrong with the mail system around it, of each suite, and leaves no line in its log.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use conformance::{
    AuthAnswer, AuthServer, Client, DnsServer, Identity, Instance, KeyKind, Outcome, Plan, PolicyServer,
    ScriptedFilter, Service, Special, Suite, free_port, require,
};

/// The command, which only Postern has; the mail system around it is that of the suite under test.
fn program() -> PathBuf {
    Suite::Postern.command("postern-health").expect("cargo build makes it")
}

fn ask(instance: &Instance, arguments: &[&str]) -> Outcome {
    instance.run_path(&program(), arguments, b"")
}

/// The findings of `deep`, each `CHECK: STATUS: DETAIL`, and the exit status.
fn deep(instance: &Instance) -> (Option<i32>, String) {
    let program = program();
    let outcome = instance.run_with_dns(&program, &["deep", "--timeout", "2"]);
    assert_eq!(outcome.err(), "");
    (outcome.status, outcome.out())
}

/// The status of each check, and whether the detail of the one says so.
fn assert_finding(found: &str, check: &str, status: &str, detail: &str) {
    let start = format!("{check}: {status}: ");
    let is_there = found.lines().any(|line| line.starts_with(&start) && line.contains(detail));
    assert!(is_there, "{start}...{detail} in\n{found}");
}

#[test]
fn it_serves_and_the_log_knows_nothing_of_it() {
    let instance = Plan::new("health").start();
    let port = instance.smtp_port();
    // Whatever the processes have to say at their start, they say first.
    Client::connect(port).command("QUIT");
    instance.wait_for_log("disconnect from ");
    let log = instance.log_text();
    for (depth, checks) in
        [("live", &["master"][..]), ("ready", &["master", "listening", "rewrite", "cleanup", "disk"])]
    {
        let outcome = ask(&instance, &[depth]);
        let names: Vec<_> =
            outcome.out().lines().filter_map(|line| Some(line.split_once(": ok: ")?.0.to_owned())).collect();
        assert_eq!(
            (outcome.status, names),
            (Some(0), checks.iter().map(ToString::to_string).collect()),
            "{outcome:?}"
        );
    }
    let found = ask(&instance, &[]).out();
    assert_finding(&found, "listening", "ok", &format!("127.0.0.1:{port}"));
    assert_finding(&found, "rewrite", "ok", "postmaster is postmaster@mx.example.com");
    let json = ask(&instance, &["--json"]).out();
    assert!(
        json.starts_with("{\"depth\":\"ready\",\"status\":\"ok\",\"checks\":[{\"check\":\"master\","),
        "{json}"
    );
    for queue in ["incoming", "active", "deferred"] {
        instance.wait_for(&format!("an empty {queue}"), || instance.queue(queue).is_empty().then_some(()));
    }
    // A session goes through the same cleanup process, which has nothing to say of the messages that were taken back.
    let mut client = Client::connect(port);
    for (command, code) in
        [("EHLO a", 250), ("MAIL FROM:<a@example.net>", 250), ("RCPT TO:<b@example.com>", 250), ("DATA", 354)]
    {
        assert_eq!(client.command(command).code, code, "{command}");
    }
    assert_eq!(client.command("Subject: x\r\n\r\nx\r\n.").code, 250);
    client.command("QUIT");
    instance.wait_for("two sessions in the log", || {
        (instance.log_text().matches("disconnect from ").count() == 2).then_some(())
    });
    let text = instance.log_text();
    let since = text.strip_prefix(&log).expect("a log grows");
    let other: Vec<_> =
        since.lines().filter(|line| !line.contains("smtpd[") && !line.contains("message-id=")).collect();
    // Nobody takes the message further in this instance.
    assert!(other.iter().all(|line| line.contains("unable to look up public/qmgr")), "{other:#?}");
    instance.stop();
    let outcome = ask(&instance, &["live"]);
    assert_eq!(
        (outcome.status, outcome.out().as_str()),
        (Some(1), "master: failed: the mail system is not running\n")
    );
    let found = ask(&instance, &["ready"]).out();
    for check in ["rewrite", "cleanup"] {
        assert_finding(&found, check, "failed", "Connection refused");
    }
    assert_finding(&found, "listening", "failed", &format!("nothing listens at 127.0.0.1:{port}"));
}

/// Everything that mail depends on is wrong at once; then, with the same configuration, all is well.
#[test]
fn each_fault_has_its_finding() {
    require!(DnsServer::possible(), "no mount namespaces here");
    let filter_port = free_port();
    let auth_port = free_port();
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent_port = silent.local_addr().expect("it is bound").port();
    let policy = PolicyServer::saying("DUNNO");
    let policy_place = format!("inet:127.0.0.1:{}", policy.port());
    let mut plan = Plan::new("health-faults");
    plan.with_dns("mx.example.com A 127.0.0.1\n");
    plan.set("smtpd_restriction_classes", "strict")
        .set("strict", &format!("check_policy_service {{ {policy_place}, timeout=1s }}"))
        .set("smtpd_recipient_restrictions", "reject_unauth_destination, strict")
        .set("smtpd_sasl_type", "dovecot")
        .set("smtpd_sasl_path", &format!("inet:127.0.0.1:{auth_port}"))
        .set("smtpd_milters", "")
        .set("smtpd_tls_security_level", "may");
    *plan.smtpd() = plan.smtpd().clone().option("smtpd_proxy_filter", &format!("127.0.0.1:{filter_port}"));
    let second = free_port();
    let service = Service::new(format!("127.0.0.1:{second} inet n - n - - smtpd"))
        .option("smtpd_proxy_filter", &format!("127.0.0.1:{silent_port}"))
        .option("smtpd_sasl_auth_enable", "yes");
    plan.service(service);
    let instance = plan.prepare();
    let folder = instance.home().to_path_buf();
    let put = |special| {
        let path = Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", special).write(&folder, "chain");
        instance.edit_main_cf(|text| {
            let rest: Vec<_> =
                text.lines().filter(|line| !line.starts_with("smtpd_tls_chain_files")).collect();
            format!("{}\nsmtpd_tls_chain_files = {}\n", rest.join("\n"), path.display())
        });
    };
    put(Special::Expired);
    let endpoint = policy.endpoint();
    drop(policy);
    assert_eq!(endpoint, policy_place);
    // No session is made: an auth server that is down keeps smtpd from starting.
    assert_eq!(instance.start_master(&["-w"]).status, Some(0));
    let (status, found) = deep(&instance);
    assert_eq!(status, Some(1), "{found}");
    for (check, detail) in [
        ("filter", format!("connect to 127.0.0.1:{filter_port}: Connection refused")),
        ("filter", format!("127.0.0.1:{silent_port} says nothing")),
        ("policy", format!("connect to {policy_place}: Connection refused")),
        ("auth", format!("connect to inet:127.0.0.1:{auth_port}: Connection refused")),
        ("certificates", "(CN=mx.example.com) has expired on 2001-01-01".into()),
    ] {
        assert_finding(&found, check, "failed", &detail);
    }
    for check in ["master", "cleanup", "rewrite", "queue", "dns", "descriptors", "disk"] {
        assert_finding(&found, check, "ok", "");
    }
    if instance.suite().is_ours("postfix") && instance.suite().is_ours("smtpd") {
        let checked = instance.run("postfix", &["check"]).err();
        assert!(checked.contains("(CN=mx.example.com) has expired on 2001-01-01 00:00:00 UTC"), "{checked}");
    }
    let filter = ScriptedFilter::start_on(filter_port);
    let _auth = AuthServer::start_on(auth_port, &AuthServer::greeting(&["PLAIN plaintext"]), |_| {
        AuthAnswer::line("FAIL")
    });
    put(Special::Nothing);
    let port = endpoint.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let _policy = TcpListener::bind(("127.0.0.1", port)).expect("it was free a moment ago");
    instance.edit_master_cf(|text| text.replace(&format!("{silent_port}"), &format!("{filter_port}")));
    instance.dns().change("mx.example.com SERVFAIL\n");
    let (status, found) = deep(&instance);
    assert_eq!(status, Some(1), "{found}");
    assert_finding(&found, "dns", "failed", "mx.example.com");
    instance.dns().change("other.example.com A 127.0.0.1\n");
    instance.edit_main_cf(|text| format!("{text}\nqueue_minfree = 4000000000000000000\n"));
    let (status, found) = deep(&instance);
    assert_eq!(status, Some(1), "{found}");
    assert_finding(&found, "disk", "failed", "refuses mail below 4000000000000000000");
    assert_finding(&found, "dns", "ok", "mx.example.com");
    instance.edit_main_cf(|text| text.replace("queue_minfree = 4", "# 4"));
    let (status, found) = deep(&instance);
    assert_eq!(status, Some(0), "{found}");
    for check in ["filter", "policy", "auth", "certificates", "dns", "disk"] {
        assert_finding(&found, check, "ok", "");
    }
    assert!(filter.connections() >= 1);
    assert!(!instance.log_text().contains("smtpd["), "{}", instance.log_text());
}

#[test]
fn without_rights_it_cannot_tell() {
    require!(nix::unistd::Uid::current().is_root(), "there is no other user to be");
    require!(std::path::Path::new("/usr/bin/setpriv").exists(), "no setpriv");
    let instance = Plan::new("health-rights").start();
    let program = program();
    let words = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        program.to_str().expect("a plain name"),
        "ready",
    ];
    let outcome = instance.run_path(std::path::Path::new("/usr/bin/setpriv"), &words, b"");
    assert_eq!(outcome.status, Some(3), "{outcome:?}");
    assert_finding(&outcome.out(), "configuration", "unknown", "ask as root, or as the owner");
    fs::remove_file(instance.home().join("etc/master.cf")).expect("our own file");
    let outcome = ask(&instance, &["live"]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert_finding(&outcome.out(), "configuration", "failed", "master.cf: No such file or directory");
}
