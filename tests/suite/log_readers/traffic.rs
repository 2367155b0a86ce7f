//! A day in the life of a mail server within seconds: mail that is accepted, delivered, bounced, deferred, held,
//! discarded; clients that are refused, that hang up, fall asleep, err too often, come too often; mail through a filter.
//! The same on every suite, so that what the readers of logs say about it can be compared.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

use conformance::{
    AuthAnswer, AuthRequest, AuthServer, Client, ExampleFilter, Instance, Plan, Service, Sink, Suite, base64,
    free_port,
};
use regex_lite::Regex;

/// The ports of both runs: they appear in the log.
struct Ports {
    plain: u16,
    impatient: u16,
    narrow: u16,
    before: u16,
    after: u16,
    filter: u16,
    sink: u16,
    nobody: u16,
    login: u16,
    auth: u16,
}

static PORTS: LazyLock<Ports> = LazyLock::new(|| Ports {
    plain: free_port(),
    impatient: free_port(),
    narrow: free_port(),
    before: free_port(),
    after: free_port(),
    filter: free_port(),
    sink: free_port(),
    nobody: free_port(),
    login: free_port(),
    auth: free_port(),
});

/// What a reader of logs is shown: times and delays made equal, all else as logged.
pub(super) struct Log {
    pub(super) text: String,
    /// The process identifiers and queue IDs replaced as well, and the lines sorted, to compare whole logs.
    pub(super) masked: Vec<String>,
    pub(super) listing: String,
}

/// The log of Debian's Postfix.
pub(super) static THEIRS: LazyLock<Log> = LazyLock::new(|| log_of(Suite::Postfix));

/// The log of the suite under test.
pub(super) static OURS: LazyLock<Log> = LazyLock::new(|| {
    // One after the other, as both use the same ports.
    LazyLock::force(&THEIRS);
    log_of(Suite::under_test())
});

fn plan(suite: Suite) -> Plan {
    let ports = &*PORTS;
    let mut plan = Plan::for_suite("log-readers", suite);
    let transports = format!(
        "inline:{{ {{remote.example = smtp:[127.0.0.1]:{}}}, {{dead.example = smtp:[127.0.0.1]:{}}}, \
         {{void.example = discard:}} }}",
        ports.sink, ports.nobody
    );
    plan.with_delivery();
    plan.set("transport_maps", &transports)
        .set("smtp_host_lookup", "native")
        .set("mail_spool_directory", "$queue_directory/../mail/")
        .set("local_recipient_maps", "inline:{games=x, ghost=x}")
        .set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set("smtpd_error_sleep_time", "0")
        .set("smtpd_hard_error_limit", "6")
        .set("smtpd_helo_required", "yes")
        .set("disable_vrfy_command", "yes")
        .set("message_size_limit", "20000")
        .set(
            "smtpd_client_restrictions",
            "check_client_access inline:{ {192.0.2.66 = REJECT go away}, {192.0.2.67 = 450 4.7.1 come back later}, \
             {192.0.2.68 = WARN watched}, {192.0.2.69 = 554 5.7.1 Service unavailable; Client host [192.0.2.69] \
             blocked using list.example; bad} }",
        )
        .set("smtpd_helo_restrictions", "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname")
        .set(
            "smtpd_sender_restrictions",
            "reject_non_fqdn_sender, check_sender_access inline:{ {spam@example.net = REJECT no spam}, \
             {held@example.net = HOLD suspicious}, {gone@example.net = DISCARD quietly}, \
             {sent@example.net = REDIRECT games@example.com} }, \
             warn_if_reject check_sender_access inline:{ {almost@example.net = REJECT soon} }",
        )
        .set("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination")
        .set(
            "smtpd_recipient_restrictions",
            "reject_non_fqdn_recipient, check_recipient_access inline:{ {grey@remote.example = DEFER_IF_PERMIT \
             greylisted} }",
        )
        .set("smtpd_data_restrictions", "reject_unauth_pipelining")
        .set("smtpd_etrn_restrictions", "reject");
    let server = |port: u16| Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
    plan.service(server(ports.plain))
        .service(server(ports.impatient).option("smtpd_timeout", "3s"))
        .service(
            server(ports.narrow)
                .option("smtpd_client_connection_count_limit", "1")
                .option("smtpd_client_message_rate_limit", "1")
                .option("smtpd_client_recipient_rate_limit", "3")
                .option("smtpd_client_connection_rate_limit", "4")
                .option("smtpd_client_event_limit_exceptions", ""),
        )
        .service(
            server(ports.login)
                .option("smtpd_sasl_auth_enable", "yes")
                .option("smtpd_sasl_type", "dovecot")
                .option("smtpd_sasl_path", &format!("inet:127.0.0.1:{}", ports.auth)),
        )
        .service(server(ports.before).option("smtpd_proxy_filter", &format!("127.0.0.1:{}", ports.filter)))
        .service(
            server(ports.after)
                .option("smtpd_authorized_xforward_hosts", "127.0.0.0/8")
                .option("smtpd_client_restrictions", "")
                .option("smtpd_sender_restrictions", ""),
        );
    plan
}

fn log_of(suite: Suite) -> Log {
    let instance = plan(suite).start();
    let mail = instance.home().join("mail");
    fs::create_dir_all(&mail).expect("the instance's own folder");
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o1777)).expect("our own folder");
    let ports = &*PORTS;
    let _filter = ExampleFilter::start(ports.filter, ports.after);
    let _sink = Sink::start(ports.sink, instance.home());
    let _auth = AuthServer::start_on(
        ports.auth,
        &AuthServer::greeting(&["PLAIN plaintext", "LOGIN plaintext"]),
        decide,
    );
    accepted(&instance);
    refused();
    broken_off();
    sleeping();
    limited();
    logins();
    filtered();
    settle(&instance);
    let text = instance.log_text();
    Log { text: with_equal_times(&text), masked: masked(&text), listing: listing(&instance) }
}

/// What Debian's `postqueue -j` makes of the suite's own showq; without queue IDs and times.
fn listing(instance: &Instance) -> String {
    let command = conformance::peer_program("postqueue");
    let outcome = instance.run_path(&command, &["-j"], b"");
    assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    let text = QUEUE_IDS.replace_all(&outcome.out(), "QID").into_owned();
    ARRIVALS.replace_all(&text, "\"arrival_time\": TIME").into_owned()
}

/// Waits until every session has ended and the queue holds what is to stay: one message held, one deferred.
fn settle(instance: &Instance) {
    instance.wait_for("the end of all sessions", || {
        let texts: Vec<String> = instance.log().into_iter().map(|line| line.text).collect();
        let count = |start: &str| texts.iter().filter(|text| text.starts_with(start)).count();
        let settled = ["maildrop", "incoming", "active"].iter().all(|queue| instance.queue(queue).is_empty());
        let kept = (instance.queue("hold").len(), instance.queue("deferred").len()) == (1, 1);
        // The queue manager tells of a message's end when the file has gone already.
        let taken = texts.iter().filter(|text| text.ends_with("(queue active)")).count();
        let removed = texts.iter().filter(|text| text.ends_with(": removed")).count();
        let ended = count("connect from") == count("disconnect from") && taken == removed + 1;
        (settled && kept && ended).then_some(())
    });
}

/// One session; the connection is closed behind the last step, so that one without QUIT is lost. The step behind an
/// accepted DATA is sent as it is.
fn session(port: u16, steps: &[&str]) {
    let mut client = Client::connect(port);
    let mut content_next = false;
    for step in steps {
        if content_next {
            client.send(step.as_bytes());
            content_next = false;
            if !step.ends_with("\r\n.\r\n") {
                return;
            }
            client.read_reply();
            continue;
        }
        let reply = client.command(step);
        content_next = *step == "DATA" && reply.code == 354;
        if reply.code == 0 {
            return;
        }
    }
}

/// As [`session`], for a client elsewhere.
fn session_from(host: &str, address: &str, steps: &[&str]) {
    let xclient = format!("XCLIENT NAME={host} ADDR={address}");
    let mut all = vec!["EHLO proxy.example.net", &*xclient];
    all.extend(steps);
    session(PORTS.plain, &all);
}

const EHLO: &str = "EHLO client.example.net";
const MAIL: &str = "MAIL FROM:<alice@example.net>";
const RCPT: &str = "RCPT TO:<games@example.com>";
const CONTENT: &str =
    "From: alice@example.net\r\nMessage-Id: <1@example.net>\r\nSubject: s\r\n\r\nbody\r\n.\r\n";

fn accepted(instance: &Instance) {
    let far = "RCPT TO:<far@remote.example>";
    session(PORTS.plain, &[EHLO, MAIL, RCPT, far, "DATA", CONTENT, "QUIT"]);
    session(
        PORTS.plain,
        &[
            "HELO client.example.net",
            "MAIL FROM:<>",
            far,
            "DATA",
            CONTENT,
            MAIL,
            RCPT,
            "DATA",
            CONTENT,
            "QUIT",
        ],
    );
    session_from("mail.example.org", "192.0.2.1", &[EHLO, MAIL, RCPT, "DATA", CONTENT, "QUIT"]);
    session_from("[UNAVAILABLE]", "192.0.2.2", &[EHLO, MAIL, RCPT, "DATA", CONTENT, "QUIT"]);
    session_from("mail.example.org", "IPV6:2001:db8::1", &[EHLO, MAIL, RCPT, "DATA", CONTENT, "QUIT"]);
    let to = ["RCPT TO:<x@void.example>", "RCPT TO:<x@dead.example>", "RCPT TO:<ghost@example.com>"];
    session(
        PORTS.plain,
        &[EHLO, "MAIL FROM:<bob@remote.example>", to[0], to[1], to[2], "DATA", CONTENT, "QUIT"],
    );
    for sender in ["held", "gone", "sent", "almost"] {
        let mail = format!("MAIL FROM:<{sender}@example.net>");
        session(PORTS.plain, &[EHLO, &mail, RCPT, "DATA", CONTENT, "QUIT"]);
    }
    session_from("watched.example.org", "192.0.2.68", &[EHLO, MAIL, RCPT, "DATA", CONTENT, "QUIT"]);
    let content = b"Subject: local\n\nlocal\n";
    let sent =
        instance.run_with_input("sendmail", &["-f", "bob@remote.example", "games@example.com"], content);
    assert_eq!((sent.status, sent.err()), (Some(0), String::new()));
}

fn refused() {
    for (host, address) in [
        ("evil.example.org", "192.0.2.66"),
        ("slow.example.org", "192.0.2.67"),
        ("[UNAVAILABLE]", "192.0.2.69"),
    ] {
        session_from(host, address, &[EHLO, MAIL, RCPT, "QUIT"]);
    }
    let relay = "RCPT TO:<x@elsewhere.example>";
    session_from("relay.example.org", "192.0.2.70", &[EHLO, MAIL, relay, relay, "RSET", MAIL, relay, "QUIT"]);
    session_from(
        "guess.example.org",
        "192.0.2.71",
        &[EHLO, MAIL, "RCPT TO:<nobody@example.com>", "RCPT TO:<admin@example.com>", "DATA", "QUIT"],
    );
    session(PORTS.plain, &["EHLO short", MAIL, RCPT, "QUIT"]);
    session(PORTS.plain, &["EHLO -bad-.example", MAIL, RCPT, "QUIT"]);
    session(PORTS.plain, &[EHLO, "MAIL FROM:<local>", RCPT, "RSET", "MAIL FROM:<a@short>", RCPT, "QUIT"]);
    session(PORTS.plain, &[EHLO, "MAIL FROM:<spam@example.net>", RCPT, "QUIT"]);
    session(PORTS.plain, &[EHLO, MAIL, "RCPT TO:<grey@remote.example>", "RCPT TO:<a@short>", "QUIT"]);
    session(PORTS.plain, &[EHLO, "MAIL FROM:<alice@example.net> SIZE=1000000", "QUIT"]);
    let large = format!("Subject: large\r\n\r\n{}.\r\n", "0123456789\r\n".repeat(3000));
    session(PORTS.plain, &[EHLO, MAIL, RCPT, "DATA", &large, "QUIT"]);
    session(
        PORTS.plain,
        &[EHLO, "VRFY games", "ETRN example.com", "EXPN x", "AUTH PLAIN AGEAYg==", "HELP", "NOOP", "QUIT"],
    );
    session(PORTS.plain, &[MAIL, "MAIL", EHLO, "MAIL alice", RCPT, "DATA", "QUIT"]);
    // A message behind its own commands, without waiting.
    let mut client = Client::connect(PORTS.plain);
    assert_eq!(client.command("HELO client.example.net").code, 250);
    client.send(format!("{MAIL}\r\n{RCPT}\r\nDATA\r\n{CONTENT}QUIT\r\n").as_bytes());
    client.read_to_end();
    let mut client = Client::connect(PORTS.plain);
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client.read_to_end();
    session_from("noisy.example.org", "192.0.2.72", &[EHLO, "FOO", "BAR", "FOO", "BAR", "FOO", "BAR"]);
    session_from("noisy.example.org", "192.0.2.72", &[EHLO, MAIL, relay, relay, relay, relay, relay, relay]);
}

fn broken_off() {
    session(PORTS.plain, &[]);
    session(PORTS.plain, &[EHLO]);
    session_from("gone.example.org", "192.0.2.80", &[EHLO, MAIL]);
    session_from("gone.example.org", "192.0.2.80", &[EHLO, MAIL, RCPT]);
    session_from("gone.example.org", "192.0.2.80", &[EHLO, MAIL, RCPT, "RSET"]);
    session_from("gone.example.org", "192.0.2.80", &[EHLO, MAIL, RCPT, "DATA", "Subject: half\r\n\r\nha"]);
    session_from("guess.example.org", "192.0.2.81", &[EHLO, "AUTH LOGIN"]);
    session(PORTS.plain, &[EHLO, "NOOP", "FOO"]);
}

/// An authentication server that knows one password.
fn decide(request: &AuthRequest) -> AuthAnswer {
    AuthAnswer::line(match request.response().as_deref() {
        None => "CONT\t{id}\tVXNlcm5hbWU6",
        Some("user") => "CONT\t{id}\tUGFzc3dvcmQ6",
        Some("\0user\0secret") => "OK\t{id}\tuser=user",
        Some(_) => "FAIL\t{id}\tuser=user",
    })
}

/// Logins that fail in all ways, one that is given up, and one that succeeds.
fn logins() {
    let xclient = "XCLIENT NAME=guess.example.org ADDR=192.0.2.90";
    let wrong = format!("AUTH PLAIN {}", base64("\0user\0wrong"));
    let right = format!("AUTH PLAIN {}", base64("\0user\0secret"));
    let (user, password) = (base64("user"), base64("wrong"));
    session(
        PORTS.login,
        &[
            EHLO,
            xclient,
            EHLO,
            &wrong,
            "AUTH LOGIN",
            &user,
            &password,
            "AUTH LOGIN",
            "*",
            "AUTH NTLM",
            "QUIT",
        ],
    );
    session(PORTS.login, &[EHLO, xclient, EHLO, &wrong, &wrong, &wrong, &wrong, &wrong, &wrong, &wrong]);
    session(PORTS.login, &[EHLO, xclient, EHLO, &wrong]);
    session(PORTS.login, &[EHLO, &right, &right, "QUIT"]);
}

fn sleeping() {
    let scripts: &[&[&str]] =
        &[&[], &[EHLO], &[EHLO, MAIL], &[EHLO, MAIL, RCPT], &[EHLO, MAIL, RCPT, "DATA"]];
    let asleep = scripts.iter().map(|steps| {
        let mut client = Client::connect(PORTS.impatient);
        for step in *steps {
            client.command(step);
        }
        client
    });
    for mut client in asleep.collect::<Vec<_>>() {
        client.read_to_end();
    }
}

fn limited() {
    let from = |last: u8| {
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, last), PORTS.narrow);
        client.read_reply();
        client
    };
    let mut first = from(2);
    assert_eq!(from(2).read_to_end(), "", "one connection too many");
    for line in [EHLO, MAIL, RCPT] {
        assert_eq!(first.command(line).code, 250, "{line}");
    }
    assert_eq!(first.command("RSET").code, 250);
    assert_eq!(first.command(MAIL).code, 450, "one message too many");
    assert_eq!(first.command("QUIT").code, 221);
    let mut many = from(3);
    for (line, code) in [(EHLO, 250), (MAIL, 250), (RCPT, 250), (RCPT, 250), (RCPT, 250), (RCPT, 450)] {
        assert_eq!(many.command(line).code, code, "{line}");
    }
    assert_eq!(many.command("QUIT").code, 221);
    for _ in 0..5 {
        let mut client = from(4);
        client.command("QUIT");
        client.read_to_end();
    }
}

fn filtered() {
    let gtube =
        "Subject: spam\r\n\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n.\r\n";
    session(PORTS.before, &[EHLO, MAIL, RCPT, "DATA", CONTENT, "QUIT"]);
    session(
        PORTS.before,
        &[
            EHLO,
            MAIL,
            "RCPT TO:<far@remote.example>",
            RCPT,
            "DATA",
            CONTENT,
            MAIL,
            RCPT,
            "DATA",
            gtube,
            "QUIT",
        ],
    );
    session(
        PORTS.before,
        &[EHLO, "XCLIENT NAME=mail.example.org ADDR=192.0.2.90", EHLO, MAIL, RCPT, "DATA", CONTENT, "QUIT"],
    );
    session(
        PORTS.before,
        &[EHLO, "XCLIENT NAME=spam.example.org ADDR=192.0.2.91", EHLO, MAIL, RCPT, "DATA", gtube, "QUIT"],
    );
    session(PORTS.before, &[EHLO, MAIL, "RCPT TO:<nobody@example.com>", RCPT, "RSET"]);
}

static DELAYS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"delays?=[0-9./]+").expect("a literal"));
static IDENTS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^.{15} (\S+) (\S+)\[\d+\]:").expect("a literal"));
static QUEUE_IDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[0-9A-F]{9,12}\b").expect("a literal"));
static ARRIVALS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""arrival_time": \d+"#).expect("a literal"));
static STAMPS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"<\d{14}\.").expect("a literal"));
/// The line by which Postern's master tells its version. logwatch takes it for the one before it, which it is silent
/// about; pflogsumm lists it with that one.
pub(super) const VERSION: &str = "daemon started -- Postern version ";
static SERVERS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(daemon started|reload) -- .*").expect("a literal"));

/// The log as it is, but all within one second and without delays: reports are full of them.
fn with_equal_times(text: &str) -> String {
    let lines = text.lines().filter_map(|line| Some(format!("Nov 22 10:00:00{}\n", line.get(15..)?)));
    DELAYS
        .replace_all(&lines.collect::<String>(), |found: &regex_lite::Captures<'_>| {
            if found[0].starts_with("delays") { "delays=0.1/0/0/0" } else { "delay=0.1" }.to_owned()
        })
        .into_owned()
}

pub(super) fn masked(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = with_equal_times(text)
        .lines()
        .filter(|line| !line.contains(VERSION))
        .map(|line| {
            let line = IDENTS.replace(line, "$1 $2:");
            let line = STAMPS.replace_all(&line, "<STAMP.");
            without_names(&line)
        })
        .collect();
    lines.sort();
    lines
}

/// Without what differs from run to run: queue IDs, and the folder that master names when it starts.
pub(super) fn without_names(line: &str) -> String {
    QUEUE_IDS.replace_all(&SERVERS.replace(line, "$1"), "QID").into_owned()
}
