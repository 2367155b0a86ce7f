//! Ten things that go wrong, made one by one: each is told by `postfix status`, by posttop and by the metrics service, for as
//! long as it lasts, and docs/operations.md leads from its line in the log to what is to be done.

use conformance::{
    AuthAnswer, AuthServer, Client, DnsServer, Identity, Instance, KeyKind, Play, ScriptedFilter, Service,
    Special,
};
use rusqlite::Connection;

use super::{WHY, figures, free_port, plan, require, suite};

const GUIDE: &str = include_str!("../../../docs/operations.md");
const NO_ROOM: &str = "4000000000000000000";

/// A fault: its kind, the end of its subject, a part of what is wrong, and a part of a line in the log.
struct Expected {
    fault: &'static str,
    subject: String,
    detail: &'static str,
    line: &'static str,
}

/// All that tell, and all that find out.
fn ours() -> bool {
    let suite = suite();
    ["postfix", "posttop", "master", "metrics", "smtpd", "cleanup", "anvil", "qmgr", "smtp"]
        .iter()
        .all(|name| suite.is_ours(name))
}

fn status(instance: &Instance) -> String {
    let outcome = instance.run("postfix", &["status"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    outcome.out()
}

/// The faults of `posttop --json`, a line each: kind, subject, detail.
fn of_posttop(instance: &Instance) -> Vec<String> {
    let json = instance.run("posttop", &["--json"]).out();
    let sqlite = Connection::open_in_memory().expect("memory");
    let query = "SELECT value->>'fault' || ' ' || (value->>'subject') || ': ' || (value->>'detail') \
                 FROM json_each(?1, '$.faults')";
    let mut statement = sqlite.prepare(query).expect("a literal");
    let lines =
        statement.query_map([&json], |row| row.get(0)).unwrap_or_else(|error| panic!("{error}: {json}"));
    lines.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn send(port: u16, sender: &str) -> String {
    let mut client = Client::connect(port);
    client.command("EHLO there");
    for command in [&format!("MAIL FROM:<{sender}>"), "RCPT TO:<b@example.com>", "DATA"] {
        let reply = client.command(command);
        if reply.code >= 400 {
            return reply.text();
        }
    }
    client.command("Subject: x\r\n\r\ny\r\n.").text()
}

#[test]
fn each_is_told_and_is_over_when_it_is() {
    require!(ours(), WHY);
    require!(DnsServer::possible(), "no mount namespaces here");
    let (mut plan, port) = plan("metrics-faults");
    plan.with_delivery();
    plan.with_dns("good.test A 192.0.2.1\ndead.test SERVFAIL\n");
    let [filter_port, policy_port, auth_port, far_port] = [(); 4].map(|()| free_port());
    let slow = ScriptedFilter::start();
    slow.play(".", [Play::Silence]);
    let mut service = |options: &[(&str, &str)]| {
        let port = free_port();
        let entry = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
        plan.service(options.iter().fold(entry, |entry, (name, value)| entry.option(name, value)));
        port
    };
    let filtered = service(&[("smtpd_proxy_filter", &format!("127.0.0.1:{filter_port}"))]);
    let slowly = service(&[
        ("smtpd_proxy_filter", &format!("127.0.0.1:{}", slow.port())),
        ("smtpd_proxy_verdict_timeout", "2s"),
    ]);
    let full = service(&[("queue_minfree", NO_ROOM)]);
    let named = service(&[("smtpd_sender_restrictions", "reject_unknown_sender_domain")]);
    let tabled = service(&[("smtpd_client_restrictions", "check_client_access,hash:/no/such/table")]);
    let protected = service(&[("smtpd_tls_security_level", "may"), ("smtpd_tls_chain_files", "$old_chain")]);
    let policed = service(&[(
        "smtpd_recipient_restrictions",
        &format!("check_policy_service,inet:127.0.0.1:{policy_port}"),
    )]);
    let logins = service(&[
        ("smtpd_sasl_auth_enable", "yes"),
        ("smtpd_sasl_path", &format!("inet:127.0.0.1:{auth_port}")),
    ]);
    let limited =
        service(&[("smtpd_client_connection_count_limit", "1"), ("smtpd_client_event_limit_exceptions", "")]);
    plan.set("smtpd_sasl_type", "dovecot")
        .set("smtpd_policy_service_try_limit", "1")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("service_throttle_time", "1s")
        .set("local_transport", "discard:")
        .set("transport_maps", &format!("inline:{{ far.test=smtp:[127.0.0.1]:{far_port} }}"));
    let instance = plan.prepare();
    let chain = Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", Special::Expired)
        .write(instance.home(), "chain");
    instance.edit_main_cf(|text| format!("{text}old_chain = {}\n", chain.display()));
    assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
    assert_eq!(status(&instance), "");

    assert!(send(filtered, "a@good.test").starts_with("451 4.3.0"));
    assert!(send(slowly, "a@good.test").starts_with("451 4.3.0"));
    assert!(send(full, "a@good.test").starts_with("452 4.3.1"));
    assert!(send(named, "a@dead.test").starts_with("450 4.1.8"));
    assert!(send(tabled, "a@good.test").starts_with("451 4.3.5"));
    Client::connect(protected).command("QUIT");
    assert!(send(policed, "a@good.test").starts_with("451 4.3.5"));
    instance.expect_fault("no SASL authentication mechanisms");
    let _waiting = std::net::TcpStream::connect(("127.0.0.1", logins)).expect("master listens");
    let sent =
        instance.run_with_input("sendmail", &["-f", "a@good.test", "b@far.test"], b"Subject: x\n\ny\n");
    assert_eq!(sent.status, Some(0), "{sent:?}");
    let _first = Client::connect(limited);
    assert_eq!(Client::connect(limited).greeting().code, 421);

    let local = |port: u16| format!("127.0.0.1:{port}");
    let expected = [
        ("filter", local(filter_port), "cause=refused", "warning: connect to proxy filter"),
        (
            "filter-slow",
            local(slow.port()),
            "phase=verdict, cause=timeout",
            "warning: timeout talking to proxy",
        ),
        (
            "disk",
            format!("queue, less than {NO_ROOM} bytes"),
            "bytes free",
            "warning: not enough free space in mail queue",
        ),
        ("dns", "name servers".into(), "dead.test", "Domain not found"),
        ("table", "hash:/no/such/table".into(), "", "is unavailable"),
        ("certificate", chain.display().to_string(), "has expired on 2001-01-01", ""),
        ("policy", local(policy_port), "Connection refused", "warning: problem talking to server"),
        (
            "auth",
            format!("inet:127.0.0.1:{auth_port}"),
            "Connection refused",
            "SASL: Connect to Dovecot auth socket",
        ),
        ("service", local(logins), "exit status 1", "throttling"),
        ("destination", format!("smtp:[127.0.0.1]:{far_port}"), "Connection refused", "status=deferred"),
        (
            "client",
            "localhost[127.0.0.1]".into(),
            "concurrency limit exceeded: 2",
            "Connection concurrency limit exceeded",
        ),
    ]
    .map(|(fault, subject, detail, line)| Expected { fault, subject, detail, line });
    let figure = |family: &str, expected: &Expected| {
        let shown = figures(port);
        let matching = shown.all(family).filter(|(labels, _)| {
            let subject = labels.get("subject").is_none_or(|known| known.ends_with(&expected.subject));
            labels["fault"] == expected.fault && subject
        });
        matching.map(|(_, count)| count).sum::<u64>()
    };
    for fault in &expected {
        let is_open = || (figure("postern_open_faults", fault) == 1).then_some(());
        instance.wait_for(&format!("{} among the figures", fault.fault), is_open);
        assert!(figure("postern_faults", fault) >= 1, "{}", fault.fault);
    }
    let (told, shown) = (status(&instance), of_posttop(&instance));
    for Expected { fault, subject, detail, line } in &expected {
        let is_it = |told: &str| {
            told.starts_with(&format!("{fault} "))
                && told.contains(&format!("{subject}: "))
                && told.contains(detail)
        };
        assert!(told.lines().any(is_it), "{fault} {subject} {detail}: {told}");
        assert!(shown.iter().any(|told| is_it(told)), "{fault} {subject} {detail}: {shown:#?}");
        instance.wait_for_log(line);
        assert!(GUIDE.contains(line) && GUIDE.contains(&format!("| `{fault}`")), "{fault}");
    }

    // Each is over when somebody finds it in order.
    let filter = ScriptedFilter::start_on(filter_port);
    assert!(send(filtered, "a@good.test").starts_with("250"));
    assert!(filter.connections() > 0);
    slow.reset();
    // On a busy machine the first one may take its time.
    instance.wait_for("a verdict within half of its time", || {
        send(slowly, "a@good.test");
        (figures(port).sum("postern_open_faults", &[("fault", "filter-slow")]) == 0).then_some(())
    });
    send(named, "a@good.test");
    let _auth = AuthServer::start_on(auth_port, &AuthServer::greeting(&["PLAIN plaintext"]), |_| {
        AuthAnswer::line("FAIL")
    });
    let mut client = Client::connect(logins);
    client.command("QUIT");
    let far = ScriptedFilter::start_on(far_port);
    far.play("DATA", [Play::Silence]);
    assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
    a_delivery_is_seen(&instance, port, far_port);
    far.hang_up();
    instance.wait_for_log("lost connection with 127.0.0.1[127.0.0.1] while sending DATA command");
    far.reset();
    instance.wait_for("the message is deferred", || (instance.queue("deferred").len() == 1).then_some(()));
    assert_eq!(instance.run("postqueue", &["-f"]).status, Some(0));
    let over = ["filter", "filter-slow", "dns", "auth", "service", "destination"];
    instance.wait_for("these are over", || {
        let shown = figures(port);
        let count = |kind: &&str| shown.sum("postern_open_faults", &[("fault", kind)]);
        over.iter().all(|kind| count(kind) == 0).then_some(())
    });
    assert!(far.connections() > 0);
    let told = status(&instance);
    for kind in over {
        assert!(!told.lines().any(|line| line.starts_with(&format!("{kind} "))), "{kind}: {told}");
    }
    assert!(told.contains("certificate "), "it is still the old one: {told}");
}

/// A delivery that waits for the far server's answer to DATA.
fn a_delivery_is_seen(instance: &Instance, port: u16, far_port: u16) {
    let open = || figures(port).sum("postern_open_deliveries", &[("service", "smtp")]);
    instance.wait_for("a delivery in progress", || (open() == 1).then_some(()));
    let json = instance.run("posttop", &["--json"]).out();
    let sqlite = Connection::open_in_memory().expect("memory");
    let query = "SELECT value->>'service' || ' ' || (value->>'client') || ' ' || (value->>'stage') \
                 FROM json_each(?1, '$.sessions') WHERE value->>'activity' = 'delivery'";
    let found: String = sqlite.query_row(query, [&json], |row| row.get(0)).expect("one row");
    assert_eq!(found, format!("smtp [127.0.0.1]:{far_port} data"), "{json}");
}

/// Without figures `postfix status` is Postfix's.
#[test]
fn nothing_is_told_where_nothing_is_counted() {
    require!(ours(), WHY);
    let (mut plan, _) = plan("metrics-no-faults");
    plan.set("metrics_enable", "no");
    *plan.smtpd() = plan.smtpd().clone().option("queue_minfree", NO_ROOM);
    let instance = plan.start();
    assert!(send(instance.smtp_port(), "a@example.com").starts_with("452 4.3.1"));
    assert_eq!(status(&instance), "");
}
