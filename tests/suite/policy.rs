//! Policy delegation: what a policy server is told, what its answers do, and what happens when it fails.

use conformance::{Client, Plan, PolicyServer};

use crate::dialogue::{connect, content, talk};

const NAMES: [&str; 29] = [
    "request",
    "protocol_state",
    "protocol_name",
    "client_address",
    "client_name",
    "client_port",
    "reverse_client_name",
    "server_address",
    "server_port",
    "helo_name",
    "sender",
    "recipient",
    "recipient_count",
    "queue_id",
    "instance",
    "size",
    "etrn_domain",
    "stress",
    "sasl_method",
    "sasl_username",
    "sasl_sender",
    "ccert_subject",
    "ccert_issuer",
    "ccert_fingerprint",
    "ccert_pubkey_fingerprint",
    "encryption_protocol",
    "encryption_cipher",
    "encryption_keysize",
    "policy_context",
];

const PROBLEM: &str = "451 4.3.5 <bob@example.com>: Recipient address rejected: Server configuration problem";

/// A plan whose recipient list asks this service.
fn asking(name: &str, service: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.set("smtpd_recipient_restrictions", &format!("check_policy_service {service}"));
    plan
}

/// The reply to a recipient.
fn rcpt(client: &mut Client) -> String {
    client.command("RCPT TO:<bob@example.com>").text()
}

/// The reply to the recipient of a new session.
fn verdict(plan: &Plan) -> (String, conformance::Instance) {
    let instance = plan.start();
    let mut client = connect(&instance);
    talk(&mut client, &[("EHLO client.example.net", "250"), ("MAIL FROM:<alice@example.net>", "250")]);
    let reply = rcpt(&mut client);
    (reply, instance)
}

#[test]
fn every_stage_tells_what_it_knows() {
    let server = PolicyServer::saying("DUNNO");
    let check = format!("check_policy_service {}", server.endpoint());
    let mut plan = Plan::new("policy-stages");
    plan.set("smtpd_delay_reject", "no").set("smtpd_authorized_xclient_hosts", "127.0.0.1");
    plan.set("smtpd_policy_service_policy_context", "outer");
    for list in ["client", "helo", "sender", "recipient", "data", "end_of_data", "etrn"] {
        plan.set(&format!("smtpd_{list}_restrictions"), &check);
    }
    let instance = plan.start();
    let mut client = connect(&instance);
    talk(
        &mut client,
        &[
            ("XCLIENT NAME=spike.example ADDR=192.0.2.1 PORT=1234 LOGIN=joe", "220"),
            ("EHLO client.example.net", "250"),
            ("ETRN example.org", "459"),
            ("MAIL FROM:<alice@example.net> SIZE=333 AUTH=<>", "250"),
            ("RCPT TO:<\"bob b\"@example.com>", "250"),
            ("VRFY carol@example.com", "252"),
            ("DATA", "354"),
        ],
    );
    content(&mut client, b"Subject: x\r\n\r\nbody\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    talk(
        &mut client,
        &[
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<bob@example.com>", "250"),
            ("RCPT TO:<carol@example.com>", "250"),
            ("BDAT 0 LAST", "250"),
        ],
    );
    let requests = server.requests();
    for request in &requests {
        assert_eq!(request.names(), NAMES);
        assert_eq!(request.get("request"), "smtpd_access_policy");
        assert_eq!(request.get("policy_context"), "outer");
        assert_eq!(request.get("encryption_keysize"), "0");
        assert_eq!(request.get("server_port"), instance.smtp_port().to_string());
    }
    let facts = |names: &[&str]| -> Vec<String> {
        let row = |request: &conformance::PolicyRequest| {
            names.iter().map(|name| request.get(name)).collect::<Vec<_>>().join("|")
        };
        requests.iter().map(row).collect()
    };
    assert_eq!(
        facts(&["protocol_state", "client_name", "helo_name", "sender", "recipient", "recipient_count"]),
        [
            "CONNECT|localhost||||0",
            "XCLIENT|spike.example||||0",
            "EHLO|spike.example|client.example.net|||0",
            "ETRN|spike.example|client.example.net|||0",
            "MAIL|spike.example|client.example.net|alice@example.net||0",
            "RCPT|spike.example|client.example.net|alice@example.net|bob b@example.com|0",
            "VRFY|spike.example|client.example.net|alice@example.net|carol@example.com|0",
            "DATA|spike.example|client.example.net|alice@example.net|bob b@example.com|1",
            "END-OF-MESSAGE|spike.example|client.example.net|alice@example.net|bob b@example.com|1",
            "MAIL|spike.example|client.example.net|||0",
            "RCPT|spike.example|client.example.net||bob@example.com|0",
            "RCPT|spike.example|client.example.net||carol@example.com|0",
            "DATA|spike.example|client.example.net|||2",
            "END-OF-MESSAGE|spike.example|client.example.net|||2",
        ]
    );
    assert_eq!(
        facts(&["protocol_name", "size", "etrn_domain", "sasl_method", "sasl_username"])[3..9],
        [
            "ESMTP|0|example.org|XCLIENT|joe",
            "ESMTP|333||XCLIENT|joe",
            "ESMTP|333||XCLIENT|joe",
            "ESMTP|333||XCLIENT|joe",
            "ESMTP|333||XCLIENT|joe",
            "ESMTP|20||XCLIENT|joe",
        ]
    );
    let instances = facts(&["instance"]);
    assert_eq!(instances[4], "", "no transaction yet");
    assert!(instances[5].split('.').count() == 4, "{instances:?}");
    assert!(instances[5..9].iter().all(|instance| *instance == instances[5]), "{instances:?}");
    assert!(instances[10..].iter().all(|instance| *instance == instances[10]), "{instances:?}");
    assert_ne!(instances[5], instances[10]);
    let queue_ids = facts(&["queue_id"]);
    assert_eq!(queue_ids[5], "");
    assert!(!queue_ids[7].is_empty() && queue_ids[7] == queue_ids[8], "{queue_ids:?}");
    assert_eq!(server.connections(), 1, "one connection serves the session");
}

#[test]
fn answers_are_those_of_access_tables() {
    let server = PolicyServer::start(|request, _| {
        let action = match request.get("recipient").split('@').next().unwrap_or_default() {
            "reject" => "REJECT 5.7.9 no way",
            "defer" => "DEFER_IF_PERMIT later",
            "class" => "strict",
            "number" => "521 bye",
            "empty" => "",
            "table" => "hash:/nowhere",
            "blank" => " REJECT x ",
            "hold" => "HOLD",
            "unknown" => "FOO",
            _ => "dunno whatever",
        };
        format!("ignored=yes\naction={action}\nalso=ignored\n\n")
    });
    let mut plan = asking("policy-actions", &server.endpoint());
    plan.set("smtpd_restriction_classes", "strict").set("strict", "defer");
    let instance = plan.start();
    let mut client = connect(&instance);
    let rejected = |name: &str, head: &str, tail: &str| {
        format!("{head} <{name}@example.com>: Recipient address rejected: {tail}")
    };
    talk(&mut client, &[("EHLO client.example.net", "250"), ("MAIL FROM:<alice@example.net>", "250")]);
    for (name, reply) in [
        ("reject", rejected("reject", "554 5.7.9", "no way")),
        ("defer", rejected("defer", "450 4.7.1", "later")),
        ("class", rejected("class", "450 4.3.2", "Try again later")),
        ("empty", "250 2.1.5 Ok".into()),
        ("table", "451 4.3.5 Server configuration error".into()),
        ("blank", rejected("blank", "554 5.7.1", "Access denied")),
        ("hold", "250 2.1.5 Ok".into()),
        ("unknown", "451 4.3.5 Server configuration error".into()),
        ("any", "250 2.1.5 Ok".into()),
        ("number", rejected("number", "521 5.7.1", "bye")),
    ] {
        assert_eq!(client.command(&format!("RCPT TO:<{name}@example.com>")).text(), reply);
    }
    let endpoint = server.endpoint();
    instance.wait_for_log(&format!("access table {endpoint} entry  has empty value"));
    instance.wait_for_log(&format!("access table {endpoint} has entry with lookup table: hash:/nowhere"));
    instance.wait_for_log(
        "hold: RCPT from localhost[127.0.0.1]: <hold@example.com>: Recipient address triggers HOLD action",
    );
    instance.wait_for_log("restriction `x' after `reject' is ignored");
    instance.wait_for_log("unknown smtpd restriction: \"FOO\"");
}

#[test]
fn a_connection_is_tried_again_and_shared() {
    // The second request of each connection finds it closed.
    let server =
        PolicyServer::start(
            |_, number| {
                if number % 2 == 1 { String::new() } else { "action=DUNNO\n\n".to_owned() }
            },
        );
    let service = format!("{{ {}, retry_delay=1s }}", server.endpoint());
    let instance = asking("policy-again", &service).start();
    let mut client = connect(&instance);
    talk(&mut client, &[("EHLO client.example.net", "250"), ("MAIL FROM:<alice@example.net>", "250")]);
    assert_eq!(rcpt(&mut client), "250 2.1.5 Ok");
    assert_eq!(rcpt(&mut client), "250 2.1.5 Ok");
    assert_eq!((server.requests().len(), server.connections()), (3, 2));
    // What a retry repairs is not worth a line.
    assert!(!instance.log_text().contains("problem talking"), "{}", instance.log_text());
}

#[test]
fn a_connection_serves_so_many_requests() {
    let server = PolicyServer::saying("DUNNO");
    let instance = asking("policy-limit", &format!("{{ {}, request_limit=2 }}", server.endpoint())).start();
    let mut client = connect(&instance);
    talk(&mut client, &[("EHLO client.example.net", "250"), ("MAIL FROM:<alice@example.net>", "250")]);
    for _ in 0..4 {
        assert_eq!(rcpt(&mut client), "250 2.1.5 Ok");
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn nobody_listens() {
    let port = conformance::free_port();
    let (reply, instance) = verdict(&asking("policy-nobody", &format!("inet:127.0.0.1:{port}")));
    assert_eq!(reply, PROBLEM);
    for _ in 0..2 {
        instance.wait_for_log(&format!("warning: connect to 127.0.0.1:{port}: Connection refused"));
        instance.wait_for_log(&format!(
            "warning: problem talking to server 127.0.0.1:{port}: Connection refused"
        ));
    }
    instance.wait_for_log(&format!("NOQUEUE: reject: RCPT from localhost[127.0.0.1]: {PROBLEM}; from="));
}

#[test]
fn no_such_socket() {
    let (reply, instance) =
        verdict(&asking("policy-unix", "{ unix:private/nonesuch, default_action=DUNNO }"));
    assert_eq!(reply, "250 2.1.5 Ok");
    instance.wait_for_log("warning: connect to private/nonesuch: No such file or directory");
    instance.wait_for_log("warning: problem talking to server private/nonesuch: No such file or directory");
}

#[test]
fn a_server_that_hangs_up() {
    let server = PolicyServer::start(|_, _| String::new());
    let service = format!("{{ {}, {{ default_action = 454 4.3.9 not now }} }}", server.endpoint());
    let (reply, instance) = verdict(&asking("policy-mute", &service));
    assert_eq!(reply, "454 4.3.9 <bob@example.com>: Recipient address rejected: not now");
    instance.wait_for_log(&format!(
        "warning: problem talking to server 127.0.0.1:{}: Application error",
        server.port()
    ));
    assert_eq!(instance.log_text().matches("problem talking").count(), 1);
    assert_eq!(server.connections(), 2);
}

/// The connection of the last try is kept, and the next request finds out at once that it is good for nothing.
#[test]
fn a_server_that_says_nothing() {
    let server = PolicyServer::start(|_, _| {
        // Longer than anybody waits for it.
        std::thread::sleep(std::time::Duration::from_secs(20));
        ""
    });
    let service = format!("{{ {}, timeout=1s }}", server.endpoint());
    let instance = asking("policy-silent", &service).start();
    let mut client = connect(&instance);
    talk(&mut client, &[("EHLO client.example.net", "250"), ("MAIL FROM:<alice@example.net>", "250")]);
    assert_eq!((rcpt(&mut client), rcpt(&mut client)), (PROBLEM.to_owned(), PROBLEM.to_owned()));
    assert_eq!((server.requests().len(), server.connections()), (3, 3));
    talk(&mut client, &[("QUIT", "221")]);
    instance.wait_for_log("disconnect from localhost[127.0.0.1] ");
    let lines = instance.log_of("smtpd").into_iter().filter(|line| line.starts_with("warning: "));
    let line =
        format!("warning: problem talking to server 127.0.0.1:{}: Connection timed out", server.port());
    assert_eq!(lines.collect::<Vec<_>>(), vec![line; 3]);
}

#[test]
fn answers_that_are_none() {
    for (name, answer, warning) in [
        ("policy-none", "x=y\n\n", "missing attribute action in input from"),
        ("policy-cut", "action=OK\n", "while reading input attribute name"),
    ] {
        // A second request gets no answer, which ends the connection.
        let server = PolicyServer::start(move |_, _| answer.to_owned());
        let service = format!("{{ {}, try_limit=1, timeout=1s }}", server.endpoint());
        let (reply, instance) = verdict(&asking(name, &service));
        assert_eq!(reply, PROBLEM);
        let cut = name == "policy-cut";
        if !cut {
            instance.wait_for_log(warning);
        }
        let reason = if cut { "Connection timed out" } else { "Application error" };
        instance.wait_for_log(&format!("problem talking to server 127.0.0.1:{}: {reason}", server.port()));
    }
}

#[test]
fn a_default_action_that_fails_too() {
    let port = conformance::free_port();
    let service = format!("{{ inet:127.0.0.1:{port}, try_limit=1, default_action=again }}");
    let mut plan = asking("policy-loop", &service);
    plan.set("smtpd_restriction_classes", "again").set("again", &format!("check_policy_service {service}"));
    let (reply, _) = verdict(&plan);
    assert_eq!(reply, PROBLEM);
}

#[test]
fn an_action_that_is_no_text() {
    let server = PolicyServer::start(|_, _| "action=REJECT ok\n\n");
    let plan = asking("policy-own", &format!("{{ {}, policy_context=inner }}", server.endpoint()));
    let (reply, _) = verdict(&plan);
    assert_eq!(reply, "554 5.7.1 <bob@example.com>: Recipient address rejected: ok");
    assert_eq!(server.requests()[0].get("policy_context"), "inner");
}
