//! Authentication servers that are none, that go and come back, and that several sessions of a process ask at once.

use conformance::{AuthServer, Client, Service, Suite, base64, free_port, require};

use super::{ALREADY, MECHANISMS, SUCCESS, USERNAME, obey, plain, plan, server};
use crate::dialogue::{greeted, talk};

#[test]
fn servers_that_are_none_end_the_process() {
    let good = server();
    let mut plan = plan("sasl-hostile", &good);
    let dead = free_port();
    let greet = |text: &str| AuthServer::start(text, obey);
    let servers = [
        (greet("VERSION\t2\t0\nMECH\tPLAIN\tplaintext\nDONE\n"), "SASL: Protocol version mismatch (2 vs. 1)"),
        (greet("VERSION\tx\t0\nMECH\tPLAIN\tplaintext\nDONE\n"), "SASL: Protocol version error"),
        (greet("VERSION\t1\nMECH\tPLAIN\tplaintext\nDONE\n"), "SASL: Protocol version error"),
        (
            greet("VERSION\t1\t0\nSPID\t1\nDONE\n"),
            "SASL: Connected to wrong auth socket (auth-master instead of auth-client)",
        ),
        (greet("VERSION\t1\t0\nDONE\n"), ""),
        (greet("VERSION\t1\t1\nMECH\tPLAIN\tplaintext\tprivate\nDONE\n"), ""),
        (greet("VERSION\t1\t1\nMECH\tPLAIN\tanonymous\nDONE\n"), ""),
    ];
    let mut cases: Vec<(String, String, &str, &str)> = Vec::new();
    const NONE: &str = "fatal: no SASL authentication mechanisms";
    for (server, warning) in &servers {
        cases.push(("smtpd_sasl_path".into(), server.path(), warning, NONE));
    }
    let refused =
        format!("SASL: Connect to Dovecot auth socket 'inet:127.0.0.1:{dead}' failed: Connection refused");
    cases.push(("smtpd_sasl_path".into(), format!("inet:127.0.0.1:{dead}"), &refused, NONE));
    for path in ["private/nosuch", "unix:private/nosuch", "strange:name"] {
        let warning =
            format!("SASL: Connect to Dovecot auth socket '{path}' failed: No such file or directory");
        cases.push(("smtpd_sasl_path".into(), path.into(), warning.leak(), NONE));
    }
    cases.push((
        "smtpd_sasl_mechanism_filter".into(),
        "nothing".into(),
        "",
        "fatal: smtpd_sasl_mechanism_filter discards all mechanisms in 'PLAIN LOGIN CRAM-MD5 FS'",
    ));
    let mut ports = Vec::new();
    for (name, value, _, _) in &cases {
        let port = free_port();
        plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd")).option(name, value));
        ports.push(port);
    }
    let instance = plan.one_session_a_process().start();
    // All at once: a process takes a second to die.
    let clients: Vec<_> = ports.into_iter().map(Client::connect_silently).collect();
    for ((name, value, warning, fatal), mut client) in cases.iter().zip(clients) {
        assert_eq!(client.read_to_end(), "", "{name} = {value}: gone without a word");
        if !warning.is_empty() {
            instance.wait_for_log(&format!("warning: {warning}"));
        }
        instance.wait_for_log(fatal);
    }
    let log = instance.log_text();
    assert_eq!(log.matches(NONE).count(), cases.len() - 1, "{log}");
}

#[test]
fn a_server_that_goes_and_comes_back() {
    let server = server();
    let port = server.port();
    let instance = plan("sasl-lost", &server).start();
    let mut client = greeted(&instance);
    let lost = "454 4.7.0 Temporary authentication failure: Connection lost to authentication server";
    // Until 3.11 Postfix tries a connection that it has lost once or twice more.
    let until = |client: &mut Client, line: &str, expected: &str| {
        let mut replies = Vec::new();
        while replies.last().is_none_or(|reply| reply == lost) && replies.len() < 4 {
            replies.push(client.command(line).text());
        }
        assert_eq!(replies.last().map(String::as_str), Some(expected), "{replies:?}");
    };
    assert_eq!(client.command(&plain("hangup")).text(), lost);
    instance.wait_for_log(
        "SASL PLAIN authentication failed: Connection lost to authentication server, sasl_username=(unavailable)",
    );
    until(&mut client, &plain("cont"), "334 YWJj");
    drop(server);
    assert_eq!(client.command(&base64("ok")).text(), lost);
    until(&mut client, &plain("ok"), lost);
    instance.wait_for_log(&format!(
        "warning: SASL: Connect to Dovecot auth socket 'inet:127.0.0.1:{port}' failed: Connection refused"
    ));
    let server = AuthServer::start_on(port, &AuthServer::greeting(&MECHANISMS), obey);
    until(&mut client, &plain("ok"), SUCCESS);
    assert_eq!(server.hellos().len(), 1);
}

#[test]
fn sessions_of_one_process_do_not_end_each_other() {
    require!(Suite::under_test().is_ours("smtpd"), "only Postern's processes have several sessions");
    let server = server();
    let mut plan = plan("sasl-sessions", &server);
    plan.set("smtpd_sessions_per_process", "10");
    let instance = plan.start();
    // Two logins at once have a connection each; the second one does not wait for the first.
    let (mut first, mut second) = (greeted(&instance), greeted(&instance));
    assert_eq!(first.command("AUTH LOGIN").text(), USERNAME);
    assert_eq!(second.command(&plain("bob")).text(), SUCCESS);
    assert_eq!(second.command("AUTH LOGIN").text(), ALREADY);
    let mut third = greeted(&instance);
    assert_eq!(third.command("AUTH LOGIN").text(), USERNAME);
    let numbers: std::collections::HashSet<_> = server.hellos().into_iter().collect();
    assert_eq!(numbers.len(), server.hellos().len(), "{numbers:?}");
    drop(server);
    // Who comes now cannot be served; who is there goes on.
    assert_eq!(Client::connect_silently(instance.smtp_port()).read_to_end(), "");
    instance.wait_for_log("error: no SASL authentication mechanisms");
    let lost = "454 4.7.0 Temporary authentication failure: Connection lost to authentication server";
    for client in [&mut first, &mut third] {
        assert_eq!(client.command(&base64("ok")).text(), lost);
    }
    talk(&mut second, &[("MAIL FROM:<a@example.net>", "250 2.1.0 Ok"), ("QUIT", "221 2.0.0 Bye")]);
}
