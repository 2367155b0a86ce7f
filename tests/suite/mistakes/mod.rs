//! Mistakes in main.cf: who is served all the same, who is told, and what stops the server as it stops Postfix's.

mod random;

use conformance::{Client, Instance, Plan, Service, Suite, free_port};

/// A plan with a service for each case; its options are `NAME=VALUE`, and it logs under the name `sNUMBER`.
fn services(plan: &mut Plan, cases: &[&[&str]]) -> Vec<u16> {
    let mut ports = Vec::new();
    for (number, options) in cases.iter().enumerate() {
        let port = free_port();
        let mut service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
        service = service.option("syslog_name", &format!("s{number}"));
        for option in *options {
            let (name, value) = option.split_once('=').expect("NAME=VALUE");
            service = service.option(name, value);
        }
        plan.service(service);
        ports.push(port);
    }
    ports
}

/// What the server of this number has logged.
fn log(instance: &Instance, number: usize) -> Vec<String> {
    let ident = format!("s{number}/smtpd");
    instance.log().into_iter().filter(|line| line.ident == ident).map(|line| line.text).collect()
}

/// The reply to a recipient.
fn rcpt(port: u16) -> String {
    let mut client = Client::connect(port);
    client.command("EHLO client.example.net");
    client.command("MAIL FROM:<alice@example.net>");
    let reply = client.command("RCPT TO:<bob@example.com>").text();
    client.command("QUIT");
    reply
}

#[test]
fn what_stops_the_server() {
    let cases: &[(&[&str], &str)] = &[
        (&["smtpd_restriction_classes=none"], "restriction class `none' needs a definition"),
        (
            &["smtpd_restriction_classes=own", "own=check_policy_service reject"],
            "need service transport:endpoint instead of \"reject\"",
        ),
        (
            &["smtpd_etrn_restrictions=reject, check_policy_service foo:bar"],
            "invalid transport name: foo in service: foo:bar",
        ),
        (&["smtpd_data_restrictions=check_policy_service {}"], "empty policy service: \"{}\""),
        (
            &["smtpd_helo_restrictions=check_policy_service { inet:127.0.0.1:1, nosuch=0 }"],
            "unknown option: \"nosuch = 0\"",
        ),
        (&["reject_code=x"], "bad numerical configuration: reject_code = x"),
        (
            &["unverified_recipient_defer_code=99"],
            "invalid unverified_recipient_defer_code parameter value 99 < 200",
        ),
        (
            &["unknown_address_tempfail_action=nosuch"],
            "bad configuration: unknown_address_tempfail_action = nosuch",
        ),
        (
            &["smtpd_proxy_filter=127.0.0.1:1", "smtpd_proxy_options=SPEED_ADJUST"],
            "unknown smtpd_proxy_options value \"SPEED_ADJUST\" in \"SPEED_ADJUST\"",
        ),
        (
            &["receive_override_options=nosuch"],
            "unknown receive_override_options value \"nosuch\" in \"nosuch\"",
        ),
        (
            &["local_recipient_maps=nosuch"],
            "open dictionary: expecting \"type:name\" form instead of \"nosuch\"",
        ),
        (&["local_recipient_maps=x:"], "open dictionary: expecting \"type:name\" form instead of \"x:\""),
        (
            &["local_recipient_maps=unionmap:{:x}"],
            "open dictionary: expecting \"type:name\" form instead of \":x\"",
        ),
        (
            &["smtpd_client_restrictions=check_client_access x:"],
            "open dictionary: expecting \"type:name\" form instead of \"x:\"",
        ),
        (&["mynetworks=:x"], "open dictionary: expecting \"type:name\" form instead of \":x\""),
        (
            &["daemon_table_open_error_is_fatal=yes", "virtual_alias_maps=hash:/nowhere/x"],
            "open database /nowhere/x.db: No such file or directory",
        ),
        (
            &["daemon_table_open_error_is_fatal=yes", "smtpd_client_restrictions=nosuch:x"],
            "unsupported dictionary type: nosuch",
        ),
        (
            &["smtpd_relay_restrictions=permit_mynetworks", "smtpd_recipient_restrictions=permit, reject"],
            "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working",
        ),
    ];
    let options: Vec<&[&str]> = cases.iter().map(|(options, _)| *options).collect();
    let mut plan = Plan::new("mistakes-fatal");
    plan.set("local_recipient_maps", "inline:{bob=x}");
    let ports = services(&mut plan, &options);
    let instance = plan.start();
    instance.expect_fault("fatal: ");
    for (number, (port, (options, text))) in ports.iter().zip(cases).enumerate() {
        let _client = std::net::TcpStream::connect(("127.0.0.1", *port)).expect("master listens");
        let lines = instance.wait_for("the fatal line", || {
            let lines = log(&instance, number);
            lines
                .iter()
                .any(|line| line.starts_with("fatal: ") || line.starts_with("connect "))
                .then_some(lines)
        });
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("fatal: {text}"))),
            "{options:?}: {lines:?}"
        );
    }
}

#[test]
fn what_harms_nobody_who_does_not_meet_it() {
    let cases: &[&[&str]] = &[
        &["smtpd_restriction_classes=own", "own=nosuch, check_client_access, own"],
        &["smtpd_recipient_restrictions=permit, nosuch, check_client_access foo, sleep x"],
        &[
            "smtpd_recipient_restrictions=permit, reject_rbl_client rbl.example=127",
            "default_rbl_reply=$nosuch",
        ],
        &["maps_rbl_domains=rbl.example=x", "rbl_reply_maps=nosuch:x"],
        &["smtpd_proxy_options=nosuch"],
        &["smtpd_etrn_restrictions=nosuch:x, hash:/nowhere/x", "smtpd_sender_login_maps=nosuch:x"],
        &["relay_clientcerts=nosuch:x", "smtpd_dns_reply_filter=nosuch:x", "fast_flush_domains=nosuch:x"],
        &["relay_recipient_maps=nosuch:x", "virtual_mailbox_maps=unionmap:{nosuch:x}"],
        &["local_recipient_maps=inline:{bob@example.com=x}, nosuch:x", "permit_mx_backup_networks=nosuch:x"],
        &["local_recipient_maps=nis:x, inline:{bob@example.com=x}, nisplus:x"],
        &["smtpd_restriction_classes=own", "own=check_policy_service inet:127.0.0.1:nosuch"],
        &["reject_code=99", "access_map_reject_code=1000"],
        // A service may have any name; that there is none is like a filter that is not there.
        &["smtpd_milters=inet:{ }", "milter_default_action=accept"],
        // Of a version that is not there yet.
        &["tls_trust_server_ccerts=maybe", "socketmap_max_query_size=$socketmap_max_query_size"],
    ];
    let mut plan = Plan::new("mistakes-unmet");
    plan.set("local_recipient_maps", "inline:{bob=x}").set("smtpd_recipient_restrictions", "permit");
    let ports = services(&mut plan, cases);
    let instance = plan.start();
    for (port, options) in ports.into_iter().zip(cases) {
        let reply = rcpt(port);
        assert!(reply.starts_with("250 "), "{options:?}: {reply}\n{}", instance.log_text());
    }
}

/// Postfix tells when a client meets the mistake; Postern also at the start of a service, where it stands, and once.
#[test]
fn a_mistake_is_told_once() {
    let mut plan = Plan::new("mistakes-told");
    plan.set("local_recipient_maps", "inline:{bob@example.com=x}, nosuch:x")
        .set("smtpd_restriction_classes", "unused")
        .set("unused", "nosuch")
        .set("max_use", "1");
    let ports = services(&mut plan, &[&["smtpd_data_restrictions=sleep"]]);
    let instance = plan.start();
    for _ in 0..3 {
        assert!(rcpt(ports[0]).starts_with("250 "));
    }
    let lines = log(&instance, 0);
    let opened = lines.iter().filter(|line| *line == "error: unsupported dictionary type: nosuch").count();
    assert!(opened >= 3, "each process says so: {lines:?}");
    if !Suite::under_test().is_ours("smtpd") {
        return;
    }
    let main_cf = instance.home().join("etc/main.cf").display().to_string();
    let written = std::fs::read_to_string(&main_cf).expect("a file of our own");
    let place = |name: &str| {
        let at =
            written.lines().position(|line| line.starts_with(&format!("{name} ="))).expect("it is there");
        format!("({main_cf}, line {})", at + 1)
    };
    for (start, end) in [
        ("warning: unused: unknown smtpd restriction: \"nosuch\" ", place("unused")),
        (
            "warning: local_recipient_maps: nosuch:x: unsupported dictionary type: nosuch; this program has ",
            place("local_recipient_maps"),
        ),
        (
            "warning: smtpd_data_restrictions: restriction sleep must be followed by number ",
            "(-o option)".to_owned(),
        ),
    ] {
        let told = lines.iter().filter(|line| line.starts_with(start) && line.ends_with(&end)).count();
        assert_eq!(told, 1, "{start}...{end} in {lines:?}");
    }
}

/// The answers that Postfix's process does not live to give.
#[test]
fn what_ends_postfix_in_the_middle_of_a_session() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["smtpd_client_restrictions=reject_rbl_client rbl.example=127.0.0.x"],
            "RBL reply error: need decimal number 0..255 or \"[\" at \"127.0.0.>x<\"",
        ),
        (
            &["smtpd_client_restrictions=reject_maps_rbl", "maps_rbl_domains=rbl.example="],
            "RBL reply error: empty address pattern",
        ),
        (
            &["smtpd_restriction_classes=own", "own=own", "smtpd_client_restrictions=own"],
            "restriction class `own' contains itself",
        ),
    ];
    let options: Vec<&[&str]> = cases.iter().map(|(options, _)| *options).collect();
    let mut plan = Plan::new("mistakes-ends");
    plan.set("local_recipient_maps", "inline:{bob=x}");
    let ports = services(&mut plan, &options);
    let instance = plan.start();
    instance.expect_fault("");
    for (number, (port, (options, text))) in ports.iter().zip(cases).enumerate() {
        let mut client = Client::connect(*port);
        client.command("EHLO client.example.net");
        client.command("MAIL FROM:<alice@example.net>");
        client.send(b"RCPT TO:<bob@example.com>\r\n");
        let reply = client.read_reply();
        if Suite::under_test().is_ours("smtpd") {
            assert_eq!(reply.text(), "451 4.3.5 Server configuration error", "{options:?}");
            let line = format!("warning: {text}");
            instance.wait_for(&line, || log(&instance, number).contains(&line).then_some(()));
            assert!(rcpt(*port).starts_with("451 4.3.5"), "the process lives");
        } else {
            assert_eq!(reply.code, 0, "{options:?}");
        }
    }
}

/// Every daemon serves what does not need the table, and says what is not there; Postern where it is written, too.
#[test]
fn a_table_type_that_is_not_there() {
    const KINDS: [&str; 3] = ["nosuch:x", "unionmap:{static:y, nosuch:x}", "pipemap:{nosuch:x}"];
    for kind in KINDS {
        let mut plan = Plan::new("mistakes-types");
        plan.set("local_recipient_maps", &format!("inline:{{bob@example.com=x}}, {kind}"))
            .set("relay_recipient_maps", &format!("proxy:{kind}"))
            .set("fast_flush_domains", "example.net, nosuch:x")
            .set("masquerade_domains", "unrelated.example")
            .set("masquerade_exceptions", "static:all, nosuch:x")
            .service(Service::new("proxymap unix - - n - - proxymap"));
        plan.set("transport_maps", &format!("inline:{{bob@example.com=local:}}, {kind}"));
        let instance = plan.start();
        let mut client = Client::connect(instance.smtp_port());
        for (command, code) in [
            ("EHLO client.example.net", 250),
            ("MAIL FROM:<alice@example.net>", 250),
            ("RCPT TO:<bob@example.com>", 250),
            ("DATA", 354),
            ("From: root@a.example.com\r\n\r\nx\r\n.", 250),
        ] {
            let reply = client.command(command);
            assert_eq!(reply.code, code, "{kind}: {command}: {}\n{}", reply.text(), instance.log_text());
        }
        let places: [(&str, &str, String); 5] = [
            ("smtpd", "local_recipient_maps", "nosuch:x".to_owned()),
            ("smtpd", "fast_flush_domains", "nosuch:x".to_owned()),
            ("trivial-rewrite", "transport_maps", "nosuch:x".to_owned()),
            ("cleanup", "masquerade_exceptions", "nosuch:x".to_owned()),
            ("proxymap", "relay_recipient_maps", "proxy:nosuch:x".to_owned()),
        ];
        for (daemon, parameter, table) in places {
            let error = "error: unsupported dictionary type: nosuch";
            instance.wait_for(daemon, || instance.log_of(daemon).contains(&error.to_owned()).then_some(()));
            if Suite::under_test().is_ours(daemon) {
                let start = format!(
                    "warning: {parameter}: {table}: unsupported dictionary type: nosuch; this program has "
                );
                let told = instance
                    .log_of(daemon)
                    .into_iter()
                    .filter(|line| line.starts_with(&start) && line.contains("/etc/main.cf, line "));
                assert_eq!(told.count(), 1, "{start} in {:?}", instance.log_of(daemon));
            }
        }
    }
}

/// What main.cf has when it names neither `alias_maps` nor `local_recipient_maps`.
#[test]
fn nis_without_a_domain() {
    let mut plan = Plan::new("mistakes-nis");
    plan.set("local_recipient_maps", "inline:{bob=x} $alias_maps")
        .set("alias_maps", "nis:mail.aliases, nis:other");
    let instance = plan.start();
    assert!(rcpt(instance.smtp_port()).starts_with("250 "), "{}", instance.log_text());
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example.net");
    client.command("MAIL FROM:<alice@example.net>");
    let reply = client.command("RCPT TO:<nobody@example.com>").text();
    assert!(reply.starts_with("550 5.1.1 <nobody@example.com>"), "{reply}");
    let warning = "warning: dict_nis_init: NIS domain name not set - NIS lookups disabled";
    instance.wait_for_log(warning);
    let lines = instance.log_of("smtpd");
    assert!(
        !lines.iter().any(|line| line.contains("unavailable") || line.starts_with("error: ")),
        "{lines:?}"
    );
}

/// Mail must not pass a filter because nobody knows where it is: Postfix's process ends.
#[test]
fn a_filter_without_an_address() {
    let cases: &[(&[&str], Option<&str>)] = &[
        (&["smtpd_milters=unix:"], None),
        (&["smtpd_milters=inet:"], None),
        (&["smtpd_milters=inet:127.0.0.1"], Some("127.0.0.1: garbage after numerical service")),
        (
            &["smtpd_milters=inet:127.0.0.1", "milter_default_action=accept"],
            Some("127.0.0.1: garbage after numerical service"),
        ),
        (
            &["smtpd_milters=inet:[127.0.0.1", "milter_default_action=accept"],
            Some("[127.0.0.1: missing \"]\""),
        ),
        (
            &["smtpd_milters=inet:127.0.0.1:25:26", "milter_default_action=accept"],
            Some("127.0.0.1:25:26: valid hostname or network address required"),
        ),
    ];
    let options: Vec<&[&str]> = cases.iter().map(|(options, _)| *options).collect();
    let mut plan = Plan::new("mistakes-milters");
    let ports = services(&mut plan, &options);
    let instance = plan.start();
    for (number, (port, (options, fatal))) in ports.iter().zip(cases).enumerate() {
        let mut client = Client::connect(*port);
        let is_ours = Suite::under_test().is_ours("smtpd");
        if fatal.is_none() || is_ours {
            client.command("EHLO client.example.net");
            let reply = client.command("MAIL FROM:<alice@example.net>").text();
            assert_eq!(reply, "451 4.3.5 Server configuration problem - try again later", "{options:?}");
        }
        if let Some(text) = fatal {
            let start = format!("{}: {text}", if is_ours { "warning" } else { "fatal" });
            instance.wait_for(&start, || {
                log(&instance, number).iter().any(|line| line.starts_with(&start)).then_some(())
            });
        }
    }
}
