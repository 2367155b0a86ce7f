//! What the metrics service shows: that it is what the log says, line for line, in good OpenMetrics, and to whom.

mod exposition;
mod faults;
mod lines;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conformance::{
    Client, ExampleFilter, Identity, Instance, KeyKind, LogLine, Offer, Plan, Play, ScriptedFilter, Service,
    Special, Suite, TlsClient, free_port, require,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use exposition::Exposition;

const WHY: &str = "Postfix has no such service, and its daemons count nothing";
/// The programs whose figures are compared with the log.
const COUNTED: [&str; 8] = ["smtpd", "cleanup", "pickup", "qmgr", "discard", "error", "bounce", "anvil"];
const PATIENCE: Duration = Duration::from_secs(60);

fn ours() -> bool {
    match Suite::under_test() {
        suite @ Suite::PosternWith(_) => COUNTED.iter().chain(&["metrics"]).all(|name| suite.is_ours(name)),
        suite => suite.is_ours("metrics"),
    }
}

/// The programs whose figures are compared, wherever the service is Postern's: these are as well.
fn suite() -> Suite {
    match Suite::under_test() {
        Suite::Mixed(mut ours) => {
            ours.extend(COUNTED.map(str::to_owned));
            Suite::Mixed(ours)
        }
        other => other,
    }
}

fn plan(name: &str) -> (Plan, u16) {
    let mut plan = Plan::for_suite(name, suite());
    let port = free_port();
    plan.set("metrics_enable", "yes");
    plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - - metrics")));
    plan.service(Service::new("figures unix n - n - - metrics"));
    (plan, port)
}

/// The whole answer to these bytes.
fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("master listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.write_all(bytes).expect("master listens");
    let mut answer = Vec::new();
    // What is not read of a request ends its connection with a reset, behind the answer.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

fn get(port: u16, path: &str, accept: &str) -> (String, String) {
    let answer = say(port, format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head.to_owned(), body.to_owned())
}

fn figures(port: u16) -> Exposition {
    let (head, body) = get(port, "/metrics", "application/openmetrics-text; version=1.0.0");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    Exposition::parse(&body)
}

/// Waits until log and figures say the same, and fails with what they do not.
fn agree(instance: &Instance, port: u16) -> Exposition {
    let mut last = BTreeMap::new();
    for _ in 0..300 {
        let expected = lines::counted(&instance.log(), instance.suite());
        let shown = figures(port);
        // Lines that came meanwhile.
        let again = lines::counted(&instance.log(), instance.suite());
        last = lines::differences(&expected, &shown);
        if last.is_empty() && expected == again {
            return shown;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("log and figures differ: {last:#?}\n{}", instance.log_text());
}

/// Mail that is refused, filtered, delivered, bounced and deferred; clients that go; a process that is killed.
#[test]
fn the_figures_are_what_the_log_says() {
    require!(ours(), WHY);
    let (mut plan, port) = plan("metrics-load");
    let filter_port = free_port();
    plan.with_delivery();
    plan.set("transport_maps", "inline:{ {gone@example.com = error:5.1.1 gone}, {later@example.com = retry:4.2.0 later} }")
        .set("local_transport", "discard:")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("smtpd_client_restrictions", "")
        .set("smtpd_recipient_restrictions", "check_recipient_access inline:{ {no@example.com = 554 5.7.1 no} {hold@example.com = HOLD kept} {warn@example.com = WARN mind} }, warn_if_reject reject_unknown_recipient_domain, reject_unauth_destination")
        .set("header_checks", "regexp:{ {/^Subject: bad/ REJECT bad subject} }");
    let filtered = plan.smtp_port();
    let direct = free_port();
    plan.service(Service::new(format!("127.0.0.1:{direct} inet n - n - - smtpd")));
    let [down, protected, limited] = [(); 3].map(|()| free_port());
    let service = |port: u16| Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
    plan.service(
        service(down)
            .option("smtpd_proxy_filter", &format!("127.0.0.1:{}", free_port()))
            .option("smtpd_proxy_log_details", "yes"),
    )
    .service(
        service(protected)
            .option("smtpd_tls_security_level", "may")
            .option("smtpd_tls_loglevel", "1")
            .option("smtpd_tls_chain_files", "$chain"),
    )
    .service(
        service(limited)
            .option("smtpd_client_connection_count_limit", "1")
            .option("smtpd_client_event_limit_exceptions", ""),
    );
    let after = plan.proxied(filter_port);
    let instance = plan.prepare();
    let chain = Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", Special::Nothing)
        .write(instance.home(), "chain");
    instance.edit_main_cf(|text| format!("{text}chain = {}\n", chain.display()));
    assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
    let _filter = ExampleFilter::start(filter_port, after);
    let send = |port: u16, recipient: &str, subject: &str| {
        let mut client = Client::connect(port);
        client.send_message("a@example.com", &[recipient], &format!("Subject: {subject}\n\nText\n"));
        client.command("QUIT");
    };
    for number in 0..20 {
        let recipient = ["b@example.com", "gone@example.com", "later@example.com", "warn@example.com"];
        send([direct, filtered][number % 2], recipient[number % 4], "good");
    }
    for recipient in ["no@example.com", "x@elsewhere.test", "hold@example.com"] {
        send(direct, recipient, "good");
    }
    send(direct, "b@example.com", "bad");
    for _ in 0..3 {
        let mut client = Client::connect(direct);
        client.command("EHLO there");
    }
    for _ in 0..2 {
        let mut client = Client::connect(down);
        client.command("HELO there");
        client.command("MAIL FROM:<a@example.com>");
        assert_eq!(client.command("RCPT TO:<b@example.com>").code, 451);
    }
    let mut client = Client::connect(protected);
    client.command("EHLO there");
    client.start_tls(&TlsClient::new(Offer::default())).expect("a handshake");
    let mut client = Client::connect(protected);
    client.command("EHLO there");
    assert_eq!(client.command("STARTTLS").code, 220);
    drop(client);
    let first = Client::connect(limited);
    assert_eq!(Client::connect(limited).greeting().code, 421);
    drop(first);
    for _ in 0..3 {
        let letter = b"Subject: good\n\nText\n";
        let sent = instance.run_with_input("sendmail", &["-f", "a@example.com", "b@example.com"], letter);
        assert_eq!(sent.status, Some(0), "{sent:?}");
    }
    let shown = agree(&instance, port);
    for (family, at_least) in [
        ("postern_smtpd_proxy_failures", 2),
        ("postern_smtpd_tls_handshakes", 2),
        ("postern_smtpd_client_limits_exceeded", 1),
        ("postern_pickup_messages", 3),
        ("postern_smtpd_sessions", 27),
        ("postern_smtpd_sessions_broken", 3),
        ("postern_smtpd_actions", 7),
        ("postern_smtpd_proxy_verdicts", 10),
        ("postern_cleanup_actions", 1),
        ("postern_deliveries", 20),
        ("postern_qmgr_removed", 15),
        ("postern_bounce_notices", 5),
    ] {
        assert!(shown.total(family) >= at_least, "{family}: {}", shown.total(family));
    }
    let restriction = [("restriction", "reject_unauth_destination"), ("code", "554")];
    assert_eq!(shown.sum("postern_smtpd_actions", &restriction), 1);
    assert_eq!(
        shown.sum("postern_smtpd_proxy_connections", &[]),
        shown.total("postern_smtpd_proxy_verdicts")
    );
    assert!(shown.sum("postern_lookups", &[("outcome", "found")]) > 0);

    // Nothing is lost with a process that is killed.
    let mut client = Client::connect(direct);
    client.command("EHLO there");
    let open = || figures(port).sum("postern_smtpd_open_sessions", &[("activity", "client")]);
    instance.wait_for("a session that waits for its client", || (open() == 1).then_some(()));
    let connected = |line: &LogLine| line.text.starts_with("connect from ");
    let last = instance.log().into_iter().rfind(connected).expect("it was greeted");
    kill(Pid::from_raw(last.pid.cast_signed()), Signal::SIGKILL).expect("it serves");
    client.read_to_end();
    instance.wait_for("no session", || (open() == 0).then_some(()));
    instance.expect_fault("killed by signal 9");
    instance.wait_for_log("killed by signal 9");
    send(direct, "b@example.com", "good");
    let after = agree(&instance, port);
    assert_eq!(after.total("postern_smtpd_sessions"), shown.total("postern_smtpd_sessions") + 2);
}

/// Servers that fail, each in a phase of its own.
#[test]
fn attempts_that_fail_have_a_line_and_a_figure() {
    require!(ours() && suite().is_ours("smtp"), WHY);
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    let servers = [
        ("banner", Play::say("421 4.3.2 busy"), "greeting, cause=reply", "4.3.2"),
        ("EHLO", Play::Close, "ehlo, cause=lost", "4.4.2"),
        ("RCPT", Play::say("550 5.1.1 no"), "rcpt, cause=reply", "5.1.1"),
        (".", Play::Close, "end-of-data, cause=lost", "4.4.2"),
        ("DATA", Play::Silence, "data, cause=timeout", "4.4.2"),
    ]
    .map(|(verb, play, phase, dsn)| {
        let server = ScriptedFilter::start();
        server.say("EHLO", "250 mx.test").play(verb, [play]);
        (server, phase, dsn)
    });
    let good = ScriptedFilter::start();
    let (mut plan, port) = plan("metrics-attempts");
    plan.with_delivery();
    let place = |port: u16| format!("[127.0.0.1]:{port}");
    let ports = servers.iter().map(|(server, ..)| server.port()).chain([good.port(), 9]);
    let transports: String = ports
        .enumerate()
        .map(|(number, port)| format!("{{ d{number}.test = smtp:{} }}, ", place(port)))
        .collect();
    let measured = [servers[2].0.port(), good.port()].map(place).join(", ");
    plan.set("transport_maps", &format!("inline:{{ {transports} {{ d7.test = smtp:[nosuch.invalid] }} }}"))
        .set("smtp_host_lookup", "native")
        .set("smtp_log_details", "yes")
        .set("smtp_data_init_timeout", "1s")
        .set("metrics_destinations", &measured);
    let instance = plan.start();
    for number in 0..8 {
        let to = format!("b@d{number}.test");
        let sent = instance.run_with_input("sendmail", &["-f", "a@example.com", &to], b"Subject: x\n\ny\n");
        assert_eq!(sent.status, Some(0), "{sent:?}");
    }
    let line = |place: &str, relay: &str, phase: &str, dsn: &str| {
        let head = format!("delivery-failure: destination={place}, relay={relay}, phase={phase}, elapsed=");
        instance.wait_for(&head, || {
            let lines = instance.log_of("smtp");
            lines.into_iter().find(|line| line.contains(&head) && line.ends_with(&format!(", dsn={dsn}")))
        });
    };
    for (server, phase, dsn) in &servers {
        let place = place(server.port());
        line(&place, &format!("127.0.0.1[127.0.0.1]:{}", server.port()), phase, dsn);
    }
    line("[127.0.0.1]:9", "127.0.0.1[127.0.0.1]:9", "connect, cause=refused", "4.4.1");
    line("[nosuch.invalid]", "none", "lookup, cause=other", "5.4.4");
    instance.wait_for_log("to=<b@d5.test>, relay=127.0.0.1[127.0.0.1]");
    instance.wait_for("all are told of", || {
        let told = |line: &&LogLine| line.program() == "smtp" && line.text.contains(", status=");
        (instance.log().iter().filter(told).count() >= 8).then_some(())
    });
    let shown = agree(&instance, port);
    assert_eq!(shown.total("postern_delivery_failures"), 7);
    let of = |family, port, labels: &[(&str, &str)]| {
        let destination = place(port);
        shown.sum(family, &[labels, &[("destination", destination.as_str())]].concat())
    };
    let refused = servers[2].0.port();
    assert_eq!(of("postern_destination_failures", refused, &[("phase", "rcpt"), ("cause", "reply")]), 1);
    assert_eq!(of("postern_destination_deliveries", refused, &[("class", "5")]), 1);
    assert_eq!(of("postern_destination_deliveries", good.port(), &[("class", "2")]), 1);
    assert_eq!(shown.total("postern_destination_deliveries"), 2);
}

#[test]
fn requests() {
    require!(ours(), WHY);
    let (mut plan, port) = plan("metrics-requests");
    plan.set("smtpd_recipient_restrictions", "check_client_access static:HOLD, permit");
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    client.send_message("a@example.com", &["b@example.com"], "Subject: x\n\ny\n");
    client.command("QUIT");
    let (head, body) = get(port, "/metrics?x=y", "*/*");
    let media = "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(media), "{head}");
    let shown = Exposition::parse(&body);
    let held = |age: &str| shown.sum("postern_queue_messages", &[("queue", "hold"), ("age", age)]);
    assert_eq!((held("5m"), held("1h"), shown.total("postern_queue_messages")), (1, 0, 1));
    let (head, body) = get(port, "/metrics", "text/plain");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(body.contains("\n# TYPE postern_queue_oldest_age_seconds gauge\n"), "{body}");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
        ("EHLO there\r\n", "400 Bad Request"),
        ("\u{16}\u{3}\u{1}", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
        ("HEAD /metrics HTTP/1.0\r\n\r\n", "200 OK"),
    ] {
        let answer = say(port, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:.40}: {answer}");
        assert_eq!(answer.ends_with("\r\n\r\n"), request.starts_with("HEAD"), "{request:.40}: {answer}");
    }
    // Clients that say nothing, and half of something, keep nobody waiting.
    let silent: Vec<TcpStream> =
        (0..10).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("master listens")).collect();
    (&silent[0]).write_all(b"GET /metr").expect("master listens");
    figures(port);
    let mut socket =
        UnixStream::connect(instance.queue_directory().join("public/figures")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("master listens");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("# EOF\n"), "{answer}");
}

#[test]
fn nothing_is_made_where_nothing_is_counted() {
    require!(ours(), WHY);
    let (mut plan, port) = plan("metrics-off");
    plan.set("metrics_enable", "no");
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    client.command("QUIT");
    let (head, body) = get(port, "/metrics", "*/*");
    assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("metrics_enable"), "{head}\n{body}");
    let file = instance.queue_directory().join("pid/metrics");
    assert!(!file.exists());
    // What cannot be opened stops no mail.
    instance.edit_main_cf(|text| text.replace("metrics_enable = no", "metrics_enable = yes"));
    std::fs::create_dir(&file).expect("our own folder");
    instance.run("postfix", &["reload"]);
    let mut client = Client::connect(instance.smtp_port());
    assert_eq!(client.command("QUIT").code, 221);
    instance.wait_for_log("nothing is counted: pid/metrics: ");
}

#[test]
fn the_file_of_another_version_is_replaced_and_that_is_said_once() {
    require!(ours(), WHY);
    let (plan, port) = plan("metrics-other");
    let instance = plan.prepare();
    let file = instance.queue_directory().join("pid/metrics");
    std::fs::create_dir_all(file.parent().expect("it is below pid")).expect("our own folder");
    std::fs::write(&file, "another version's").expect("our own folder");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("our own file");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
    figures(port);
    let told = "pid/metrics: is another version's, and is replaced: the figures begin again";
    instance.wait_for_log(told);
    assert_eq!(instance.log_text().matches(told).count(), 1);
}
