//! Logins: the AUTH dialogue with an authentication server that says what the test wants, and what a login changes.
//! What becomes of servers that are gone, wrong or hostile is in `servers`; whom EHLO tells
//! nothing is in `exceptions`; real servers and clients are in `dovecot`.

mod exceptions;
mod servers;

use conformance::{
    AuthAnswer, AuthRequest, AuthServer, Client, Plan, PolicyServer, Service, base64, free_port, require,
    version_at_least,
};

use crate::dialogue::{EHLO, content, greeted, talk};

/// What the server of most tests offers.
const MECHANISMS: [&str; 6] = [
    "PLAIN plaintext",
    "LOGIN plaintext",
    "CRAM-MD5 dictionary active",
    "SECRET private",
    "ANONYMOUS anonymous",
    "FS Forward-Secrecy mutual-auth strange",
];

/// A server that does what the client's response says.
pub(crate) fn server() -> AuthServer {
    AuthServer::start(&AuthServer::greeting(&MECHANISMS), obey)
}

fn obey(request: &AuthRequest) -> AuthAnswer {
    let Some(response) = request.response() else {
        let challenge = if request.fields[2] == "LOGIN" { "VXNlcm5hbWU6" } else { "" };
        return AuthAnswer::Say(format!("CONT\t{{id}}\t{challenge}\n"));
    };
    AuthAnswer::line(match response.as_str() {
        "ok" => "OK\t{id}\tuser=alice\tmore",
        "bob" => "OK\t{id}\tuser=bob",
        "odd" => "OK\t{id}\tuser=jo)e(\\",
        "two" => "OK\t{id}\tuser=alice\tuser=b\u{1}\u{e9}b",
        "nouser" => "OK\t{id}\tUSER=alice",
        "emptyuser" => "OK\t{id}\tuser=",
        "others" => "OK\t99\tuser=x\nFAIL\t98\nok\t{id}\tuser=x\nHELLO\t{id}\n\nOK\t{id}\tuser=alice",
        "noid" => "OK\nFAIL\nCONT\nOK\t{id}\tuser=alice",
        "fail" => "FAIL\t{id}\tuser=alice\treason=nope bad",
        "failcr" => "FAIL\t{id}\tuser=alice\treason=nope bad\r",
        "failcrs" => "FAIL\t{id}\tuser=alice\r\treason=no\rpe\r\r",
        "failcronly" => "FAIL\t{id}\treason=\r",
        "failnul" => "FAIL\t{id}\treason=a\0b",
        "failbare" => "FAIL\t{id}",
        "temp" => "FAIL\t{id}\tuser=bob\ttemp\tcode=temp_fail\tauthz",
        "odds" => "FAIL\t{id}\treason=a\treason=b%s\u{1}\u{e9}\u{7f}",
        "cont" => "CONT\t{id}\tYWJj",
        "contempty" => "CONT\t{id}\t",
        "contnone" => "CONT\t{id}",
        "contbad" => "CONT\t{id}\tnot base64 !\tmore",
        "hangup" => return AuthAnswer::HangUp,
        _ => return AuthAnswer::Say(format!("FAIL\t{{id}}\tuser=unknown\treason=got {response}\n")),
    })
}

/// A plan with logins, answered by this server.
fn plan(name: &str, server: &AuthServer) -> Plan {
    plan_of(Plan::new(name), server)
}

fn plan_of(mut plan: Plan, server: &AuthServer) -> Plan {
    plan.set("smtpd_sasl_auth_enable", "yes")
        .set("smtpd_sasl_type", "dovecot")
        .set("smtpd_sasl_path", &server.path())
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_soft_error_limit", "1000")
        .set("smtpd_hard_error_limit", "1000");
    plan
}

/// Why there is no such mechanism: since 3.10 it is named.
fn no_mechanism(name: &str) -> String {
    let named = if version_at_least(3, 10) { format!(": '{name}'") } else { String::new() };
    format!("Invalid authentication mechanism{named}")
}

/// AUTH with this response.
pub(crate) fn plain(response: &str) -> String {
    format!("AUTH PLAIN {}", base64(response))
}

/// Says each line, expects each reply, and names every one that differs.
fn dialogue(client: &mut Client, cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (line, expected) in cases {
        let reply = client.command(line).text();
        if reply != *expected {
            wrong.push(format!("{line:?}: {reply:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const FAILED: &str = "535 5.7.8 Error: authentication failed: ";
const BACKEND: &str = "535 5.7.8 Error: authentication failed: Authentication backend error";
const BAD_INITIAL: &str = "535 5.7.8 Error: authentication failed: Invalid base64 data in initial response";
const BAD_CONTINUED: &str =
    "535 5.7.8 Error: authentication failed: Invalid base64 data in continued response";
const SYNTAX: &str = "501 5.5.4 Syntax: AUTH mechanism";
const ALREADY: &str = "503 5.5.1 Error: already authenticated";
/// A login that succeeded.
pub(crate) const SUCCESS: &str = "235 2.7.0 Authentication successful";
const TOO_LONG: &str = "500 5.5.6 SASL response limit exceeded";
const USERNAME: &str = "334 VXNlcm5hbWU6";

#[test]
fn every_answer_has_its_reply_and_its_line() {
    let server = server();
    let instance = plan("sasl-dialogue", &server).start();
    let mut client = greeted(&instance);
    let response = base64;
    let failed = |reason: &str| format!("{FAILED}{reason}");
    let invalid = |name: &str| failed(&no_mechanism(name));
    let long = "L".repeat(150);
    dialogue(
        &mut client,
        &[
            ("AUTH", SYNTAX),
            ("AUTH PLAIN = =", SYNTAX),
            (&plain("fail"), &failed("nope bad")),
            (&plain("failcr"), &failed("nope bad?")),
            (&plain("failcrs"), &failed("no?pe??")),
            (&plain("failcronly"), &failed("?")),
            (&plain("failnul"), &failed("a")),
            (&format!("AUTH plain {}", response("failbare")), &failed("(reason unavailable)")),
            (&plain("temp"), &failed("(reason unavailable)")),
            (&plain("odds"), &failed("b%s?\u{e9}?")),
            (&plain("nouser"), BACKEND),
            ("AUTH PLAIN =", &failed("got ")),
            // Who was named last stays in the log while nobody else is.
            ("AUTH FOO", &invalid("FOO")),
            ("AUTH SECRET", &invalid("SECRET")),
            ("AUTH ANONYMOUS", &invalid("ANONYMOUS")),
            ("AUTH \"PLAIN\"", &invalid("\"PLAIN\"")),
            (&format!("AUTH {long}"), &invalid(&long)),
            ("AUTH PLAIN not!base64", BAD_INITIAL),
            ("AUTH PLAIN *", BAD_INITIAL),
            ("AUTH PLAIN", "334 "),
            ("*", "501 5.7.0 Authentication aborted"),
            ("AUTH PLAIN", "334 "),
            ("", &failed("got ")),
            ("AUTH PLAIN", "334 "),
            ("bad base!", BAD_CONTINUED),
            ("AUTH PLAIN", "334 "),
            ("* ", BAD_CONTINUED),
            ("AUTH LOGIN", USERNAME),
            ("QUIT", &failed("got AB?")),
            ("AUTH LOGIN", USERNAME),
            ("YWJj\0ZGVm", &failed("got abc")),
            (&plain("cont"), "334 YWJj"),
            (&response("contempty"), "334 "),
            (&response("contbad"), "334 not base64 !\tmore"),
            (&response("contnone"), BACKEND),
            (&plain("noid"), SUCCESS),
            (&plain("ok"), ALREADY),
            ("AUTH", ALREADY),
            ("RSET", "250 2.0.0 Ok"),
            ("HELO again.example", "250 mx.example.com"),
            (&plain("ok"), ALREADY),
            ("MAIL FROM:<a@example.net>", "250 2.1.0 Ok"),
            (&plain("ok"), "503 5.5.1 Error: MAIL transaction in progress"),
            ("QUIT", "221 2.0.0 Bye"),
        ],
    );
    let start = "L".repeat(100);
    for line in [
        "SASL PLAIN authentication failed: nope bad, sasl_username=alice",
        "SASL plain authentication failed: (reason unavailable), sasl_username=(unavailable)",
        "SASL PLAIN authentication failed: (reason unavailable), sasl_username=bob",
        "SASL PLAIN authentication failed: b%s?\u{e9}?, sasl_username=(unavailable)",
        "SASL PLAIN authentication failed: Authentication backend error, sasl_username=(unavailable)",
        "SASL PLAIN authentication failed: got , sasl_username=unknown",
        &format!("SASL FOO authentication failed: {}, sasl_username=unknown", no_mechanism("FOO")),
        &format!(
            "SASL \"PLAIN\" authentication failed: {}, sasl_username=unknown",
            no_mechanism("\"PLAIN\"")
        ),
        &format!("SASL {start} authentication failed: {}, sasl_username=unknown", no_mechanism(&long)),
        "SASL PLAIN authentication failed: Invalid base64 data in initial response, sasl_username=unknown",
        "SASL PLAIN authentication failed: Invalid base64 data in continued response, sasl_username=unknown",
        "SASL PLAIN authentication aborted",
    ] {
        instance.wait_for_log(&format!("warning: localhost[127.0.0.1]: {line}"));
    }
    instance.wait_for_log("warning: missing Dovecot server OK username field");
    instance.wait_for_log("warning: missing Dovecot server CONT reply field");
    instance.wait_for_log("warning: SASL: Protocol error");
    instance
        .wait_for_log("disconnect from localhost[127.0.0.1] helo=1 ehlo=1 auth=1/31 mail=1 rset=1 quit=1");
    let requests: Vec<_> = server.requests().iter().map(AuthRequest::text).collect();
    let head = "service=smtp nologin lip=127.0.0.1 rip=127.0.0.1";
    assert_eq!(requests[0], format!("AUTH PLAIN {head} resp={}", base64("fail")));
    assert_eq!(requests[5], format!("AUTH plain {head} resp={}", base64("failbare")));
    assert!(requests.contains(&format!("AUTH PLAIN {head} resp==")), "{requests:?}");
    assert!(requests.contains(&format!("AUTH LOGIN {head}")), "{requests:?}");
    assert!(requests.contains(&"CONT QUIT".to_owned()), "{requests:?}");
    // One connection, and a number of its own for each request.
    assert!(
        matches!(&server.hellos()[..], [hello] if hello.starts_with("VERSION\t1\t0\nCPID\t")),
        "{:?}",
        server.hellos()
    );
    let numbers: Vec<u32> = server
        .requests()
        .iter()
        .filter(|request| request.fields[0] == "AUTH")
        .map(|request| request.fields[1].parse().expect("a number"))
        .collect();
    assert!(numbers[0] == 1 && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

/// 3.11.7 stops reading from such a client, sometimes with its next command read already.
#[test]
fn a_response_that_is_too_long() {
    require!(!version_at_least(3, 11), "what 3.11 answers then depends on how the bytes arrive");
    let server = server();
    let instance = plan("sasl-too-long", &server).start();
    let mut client = greeted(&instance);
    dialogue(
        &mut client,
        &[
            ("AUTH LOGIN", USERNAME),
            (&"A".repeat(12288), TOO_LONG),
            ("AUTH LOGIN", USERNAME),
            (&"A".repeat(40000), TOO_LONG),
            ("NOOP", "250 2.0.0 Ok"),
            ("QUIT", "221 2.0.0 Bye"),
        ],
    );
    let start = "A".repeat(30);
    instance.wait_for_log(&format!("warning: localhost[127.0.0.1]: request longer than 12288: {start}..."));
    instance.wait_for_log("disconnect from localhost[127.0.0.1] ehlo=1 auth=0/2 noop=1 quit=1");
}

#[test]
fn what_is_announced_and_when_logins_are_possible() {
    let server = server();
    let mut plan = plan("sasl-ehlo", &server);
    let port = plan.smtp_port();
    let mut services = Vec::new();
    let invalid = format!("{FAILED}{}", no_mechanism("PLAIN"));
    for (option, value, announced, reply) in [
        (
            "broken_sasl_auth_clients",
            "yes",
            "AUTH PLAIN LOGIN CRAM-MD5 FS|AUTH=PLAIN LOGIN CRAM-MD5 FS",
            SUCCESS,
        ),
        ("smtpd_sasl_security_options", "", "AUTH PLAIN LOGIN CRAM-MD5 ANONYMOUS FS", SUCCESS),
        ("smtpd_sasl_security_options", "NOPLAINTEXT noactive", "AUTH ANONYMOUS FS", &invalid),
        ("smtpd_sasl_security_options", "nodictionary, forward_secrecy,mutual_auth", "AUTH FS", &invalid),
        // Not told, but not forbidden either.
        ("smtpd_sasl_mechanism_filter", "!plain, static:all", "AUTH LOGIN CRAM-MD5 FS", SUCCESS),
        ("smtpd_sasl_exceptions_networks", "127.0.0.0/8", "", SUCCESS),
        ("smtpd_sasl_exceptions_networks", "!127.0.0.1, 0.0.0.0/0", "AUTH PLAIN LOGIN CRAM-MD5 FS", SUCCESS),
        ("smtpd_discard_ehlo_keywords", "auth", "", "503 5.5.1 Error: authentication not enabled"),
        ("smtpd_tls_auth_only", "yes", "", "503 5.5.1 Error: authentication not enabled"),
        ("smtpd_sasl_auth_enable", "no", "", "503 5.5.1 Error: authentication not enabled"),
        ("smtpd_sasl_service", "imap", "AUTH PLAIN LOGIN CRAM-MD5 FS", SUCCESS),
        ("smtpd_helo_required", "yes", "AUTH PLAIN LOGIN CRAM-MD5 FS", SUCCESS),
    ] {
        let port = free_port();
        plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option(option, value));
        services.push((port, option, value, announced, reply));
    }
    let instance = plan.start();
    let mut wrong = Vec::new();
    for (port, option, value, announced, reply) in services {
        let mut client = Client::connect(port);
        let early = client.command(&plain("fail")).code;
        let expected = match option {
            "smtpd_helo_required" => 503,
            _ if reply.starts_with("503") => 503,
            _ => 535,
        };
        let ehlo = client.command(EHLO);
        let lines: Vec<_> = ehlo.lines.iter().filter(|line| line.starts_with("AUTH")).cloned().collect();
        let got = client.command(&plain("ok")).text();
        if lines.join("|") != announced || got != reply || early != expected {
            wrong.push(format!("{option} = {value}: {lines:?}, {got:?}, before EHLO {early}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let last = server.requests().iter().map(AuthRequest::text).find(|text| text.contains("service=imap"));
    assert!(last.is_some());
    // After HELO there is nothing to be told, but the command is there.
    talk(&mut Client::connect(port), &[("HELO a.example", "250 mx.example.com"), (&plain("bob"), SUCCESS)]);
    instance.stop();
}

#[test]
fn settings_that_make_no_sense_end_the_process() {
    let server = server();
    let mut plan = plan("sasl-settings", &server);
    let cases = [
        (
            "smtpd_sasl_security_options",
            "noanonymous,bogus",
            "fatal: unknown xsasl_dovecot_server_create value \"bogus\" in \"noanonymous,bogus\"",
        ),
        ("smtpd_sasl_type", "strange", "unsupported SASL server implementation: "),
        (
            "smtpd_sasl_response_limit",
            "20",
            "fatal: invalid smtpd_sasl_response_limit parameter value 20 < 12288",
        ),
        ("smtpd_sasl_path", "", "fatal: bad string length 0 < 1: smtpd_sasl_path = "),
        ("smtpd_sasl_service", "", "fatal: bad string length 0 < 1: smtpd_sasl_service = "),
    ];
    let mut ports = Vec::new();
    for (name, value, _) in cases {
        let port = free_port();
        plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option(name, value));
        ports.push(port);
    }
    let instance = plan.start();
    instance.expect_fault("fatal: SASL per-process initialization failed");
    for ((_, _, fatal), port) in cases.iter().zip(ports) {
        let _client = Client::connect_silently(port);
        instance.wait_for_log(fatal);
    }
}

#[test]
fn a_login_and_what_it_changes() {
    let server = server();
    let policy = PolicyServer::saying("DUNNO");
    let mut plan = plan("sasl-login", &server);
    plan.set("smtpd_sasl_authenticated_header", "yes")
        .set("smtpd_relay_restrictions", "permit_sasl_authenticated, reject")
        .set("smtpd_data_restrictions", &format!("check_policy_service {}", policy.endpoint()))
        .set("local_header_rewrite_clients", "permit_sasl_authenticated")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1, 192.0.2.7");
    let instance = plan.start();
    let mut client = greeted(&instance);
    talk(
        &mut client,
        &[
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            (
                "RCPT TO:<bob@example.org>",
                "554 5.7.1 <bob@example.org>: Recipient address rejected: Access denied",
            ),
            ("RSET", "250 2.0.0 Ok"),
            (&plain("odd"), SUCCESS),
            ("MAIL FROM:<alice@example.net> AUTH=al+20ice", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 Ok"),
            ("DATA", "354 End data with <CR><LF>.<CR><LF>"),
        ],
    );
    content(&mut client, b"From: alice\r\nSubject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 Ok: queued as QID");
    instance.wait_for_log(
        "client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=jo)e(\\, sasl_sender=al+20ice",
    );
    let files = instance.queue("incoming");
    let records = files[0].records();
    for record in ["sasl_method=PLAIN", "sasl_username=jo)e(\\", "sasl_sender=al+20ice"] {
        assert!(
            records.iter().any(|line| line.ends_with(&format!("named_attribute: {record}"))),
            "{record}: {records:?}"
        );
    }
    let text = files[0].content();
    assert!(
        text.contains("\n\t(Authenticated sender: jo?e(?))\n\tby mx.example.com (Postfix) with ESMTPA id "),
        "{text}"
    );
    assert!(
        text.contains("From: alice@mx.example.com"),
        "headers of who has logged in are completed: {text}"
    );
    let request = &policy.requests()[0];
    assert_eq!(
        ["sasl_method", "sasl_username", "sasl_sender"].map(|name| request.get(name)),
        ["PLAIN", "jo)e(\\", "al+20ice"]
    );
    // The sender of one transaction is not that of the next; RSET and EHLO leave the login.
    talk(
        &mut client,
        &[
            (EHLO, "250"),
            ("MAIL FROM:<alice@example.net> AUTH=<>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 Ok"),
            ("RSET", "250 2.0.0 Ok"),
            // XCLIENT replaces it.
            ("XCLIENT NAME=spike.example ADDR=192.0.2.7 DESTADDR=192.0.2.1 LOGIN=carol", "220"),
            (EHLO, "250"),
            (&plain("ok"), ALREADY),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 Ok"),
            ("RSET", "250 2.0.0 Ok"),
            ("XCLIENT LOGIN=[UNAVAILABLE]", "220"),
            (EHLO, "250"),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.org>", "554"),
            ("RSET", "250 2.0.0 Ok"),
            (&plain("two"), SUCCESS),
            ("MAIL FROM:<alice@example.net>", "250 2.1.0 Ok"),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 Ok"),
            ("QUIT", "221 2.0.0 Bye"),
        ],
    );
    instance.wait_for_log("disconnect from spike.example[192.0.2.7]");
    let log = instance.log_text();
    for line in [
        "client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=jo)e(\\\n",
        "client=spike.example[192.0.2.7], sasl_method=XCLIENT, sasl_username=carol\n",
        "client=spike.example[192.0.2.7], sasl_method=PLAIN, sasl_username=b?\u{e9}b\n",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    let last = server.requests().last().map(AuthRequest::text).unwrap_or_default();
    assert!(last.contains("lip=192.0.2.1 rip=192.0.2.7"), "{last}");
}

/// Whose addresses these are, for `smtpd_sender_login_maps`.
const OWNERS: &str = "inline:{{a@b.test=bob, Alice,carol} {user@b.test=alice} {@c.test=alice} {loc=alice} \
    {full+ext@b.test=alice} {x@y.test=bob}}";

#[test]
fn addresses_belong_to_logins() {
    let server = server();
    let mut plan = plan("sasl-owners", &server);
    plan.set("smtpd_sender_login_maps", OWNERS).set("recipient_delimiter", "+");
    let not_mine = "not owned by user alice";
    let not_in = "not logged in";
    let both = "reject_sender_login_mismatch";
    let known = "reject_known_sender_login_mismatch";
    let authenticated = "reject_authenticated_sender_login_mismatch";
    let unauthenticated = "reject_unauthenticated_sender_login_mismatch";
    // Restriction, sender, and what is wrong with it: for alice, and for who has not logged in.
    let cases = [
        (both, "a@b.test", "", not_in),
        (both, "A@B.test", "", not_in),
        (both, "user+x@b.test", "", not_in),
        (both, "any@c.test", "", not_in),
        (both, "loc@example.com", "", not_in),
        (both, "loc", "", not_in),
        (both, "loc+y@mx.example.com", "", not_in),
        (both, "full+ext@b.test", "", not_in),
        (both, "full@b.test", not_mine, ""),
        (both, "x@y.test", not_mine, not_in),
        (both, "unlisted@z.test", not_mine, ""),
        (both, "", "", ""),
        (known, "a@b.test", "", not_in),
        (known, "x@y.test", not_mine, not_in),
        (known, "unlisted@z.test", "", ""),
        (authenticated, "x@y.test", not_mine, ""),
        (authenticated, "unlisted@z.test", not_mine, ""),
        (unauthenticated, "x@y.test", "", not_in),
        (unauthenticated, "unlisted@z.test", "", ""),
        ("check_sasl_access inline:{{alice=REJECT go away}}", "a@b.test", "go away", ""),
        ("check_sasl_access inline:{{ALICE=REJECT go away}}", "a@b.test", "go away", ""),
        ("check_sasl_access inline:{{alic=REJECT go away}}", "a@b.test", "", ""),
        ("check_sasl_access inline:{alice=OK}, reject", "a@b.test", "", "Access denied"),
        (both, "x@y.test", not_mine, not_in),
    ];
    let mut ports = std::collections::HashMap::new();
    for (restriction, ..) in cases {
        ports.entry(restriction).or_insert_with(|| {
            let port = free_port();
            plan.service(
                Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"))
                    .option("smtpd_sender_restrictions", restriction),
            );
            port
        });
    }
    let _instance = plan.start();
    let mut wrong = Vec::new();
    for (restriction, sender, for_alice, for_nobody) in cases {
        for (login, expected) in [(true, for_alice), (false, for_nobody)] {
            let mut client = Client::connect(ports[restriction]);
            client.command(EHLO);
            if login {
                assert_eq!(client.command(&plain("ok")).text(), SUCCESS);
            }
            client.command(&format!("MAIL FROM:<{sender}>"));
            let reply = client.command("RCPT TO:<bob@example.com>").text();
            let as_expected = match expected {
                "" => reply == "250 2.1.5 Ok",
                "go away" => reply == "554 5.7.1 <alice>: SASL login name rejected: go away",
                "Access denied" => reply.ends_with("Sender address rejected: Access denied"),
                text => reply == format!("553 5.7.1 <{sender}>: Sender address rejected: {text}"),
            };
            if !as_expected {
                wrong.push(format!(
                    "{restriction}, {sender}, login {login}: {reply:?}, expected {expected:?}"
                ));
            }
            client.command("QUIT");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
