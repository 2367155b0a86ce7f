//! anvil's protocol, byte by byte, and its statistics.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use conformance::{Client, DnsServer, Instance, Network, Plan, Redis, Service, Suite, free_port, require};

const ANNOUNCEMENT: &str = "protocol=anvil_protocol\n\n";

struct Anvil(UnixStream);

impl Anvil {
    fn connect(instance: &Instance) -> Anvil {
        let stream =
            UnixStream::connect(instance.queue_directory().join("private/anvil")).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        let mut anvil = Anvil(stream);
        assert_eq!(anvil.read_list(), ANNOUNCEMENT);
        anvil
    }

    /// Up to the empty line that ends a list, or the end of the stream.
    fn read_list(&mut self) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\n\n") {
            match self.0.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => bytes.push(byte[0]),
                // A process was stopped and goes on, on a machine that is busy.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("an answer in time: {error}"),
            }
        }
        String::from_utf8(bytes).expect("plain text")
    }

    fn ask(&mut self, event: &str, ident: &str) -> String {
        self.send(&format!("request={event}\nident={ident}\n\n"))
    }

    fn send(&mut self, text: &str) -> String {
        self.0.write_all(text.as_bytes()).expect("a listener");
        self.read_list()
    }
}

fn all(count: u32, rate: u32, mail: u32, rcpt: u32, newtls: u32, auth: u32) -> String {
    format!(
        "status=0\ncount={count}\nrate={rate}\nmail={mail}\nrcpt={rcpt}\nnewtls={newtls}\nauth={auth}\n\n"
    )
}

#[test]
fn every_request_has_its_reply() {
    let instance = Plan::new("anvil-requests").start();
    let mut anvil = Anvil::connect(&instance);
    let client = "smtp:192.0.2.1";
    for (event, reply) in [
        ("connect", "status=0\ncount=1\nrate=1\n\n"),
        // The second connect on one connection gives the first one up.
        ("connect", "status=0\ncount=1\nrate=2\n\n"),
        ("message", "status=0\nrate=1\n\n"),
        ("message", "status=0\nrate=2\n\n"),
        ("recipient", "status=0\nrate=1\n\n"),
        ("auth", "status=0\nrate=1\n\n"),
        ("newtls", "status=0\nrate=1\n\n"),
        ("newtls_status", "status=0\nrate=1\n\n"),
    ] {
        assert_eq!(anvil.ask(event, client), reply, "{event}");
    }
    assert_eq!(anvil.ask("lookup", client), all(1, 2, 2, 1, 1, 1));
    assert_eq!(anvil.ask("disconnect", client), "status=0\n\n");
    assert_eq!(anvil.ask("lookup", client), all(0, 2, 2, 1, 1, 1));
    assert_eq!(anvil.ask("newtls_report", client), "status=4294967295\n\n");
    instance.wait_for_log("warning: unrecognized request: \"newtls_report\", ignored");
    assert_eq!(anvil.ask("lookup", "smtp:nobody"), all(0, 0, 0, 0, 0, 0));
    assert_eq!(anvil.ask("newtls_status", "smtp:nobody"), "status=0\nrate=0\n\n");
    // An event of an unknown client begins with a connect.
    assert_eq!(anvil.ask("message", "smtp:new"), "status=0\nrate=1\n\n");
    assert_eq!(anvil.ask("lookup", "smtp:new"), all(1, 1, 1, 0, 0, 0));
}

#[test]
fn a_connection_that_ends_takes_its_client_along() {
    let instance = Plan::new("anvil-binding").start();
    let (mut one, mut two) = (Anvil::connect(&instance), Anvil::connect(&instance));
    assert_eq!(one.ask("connect", "a"), "status=0\ncount=1\nrate=1\n\n");
    assert_eq!(two.ask("connect", "a"), "status=0\ncount=2\nrate=2\n\n");
    assert_eq!(two.ask("disconnect", "other"), "status=0\n\n");
    assert_eq!(two.ask("lookup", "a"), all(2, 2, 0, 0, 0, 0));
    drop(one);
    instance.wait_for("count of one", || (two.ask("lookup", "a") == all(1, 2, 0, 0, 0, 0)).then_some(()));
    assert_eq!(two.ask("connect", "b"), "status=0\ncount=1\nrate=1\n\n");
    assert_eq!(two.ask("lookup", "a"), all(0, 2, 0, 0, 0, 0));
}

#[test]
fn malformed_requests_end_the_connection() {
    let instance = Plan::new("anvil-malformed").start();
    instance.expect_fault("unexpected attribute ");
    for (request, warning) in [
        ("ident=x\nrequest=connect\n\n", "unexpected attribute ident from anvil socket (expecting: request)"),
        ("request=connect\n\n", "missing attribute ident in input from anvil socket"),
        ("\n", "missing attribute request in input from anvil socket"),
    ] {
        assert_eq!(Anvil::connect(&instance).send(request), "", "{request:?}");
        instance.wait_for_log(&format!("warning: {warning}"));
        let mut bound = Anvil::connect(&instance);
        bound.ask("connect", "bound");
        // As if it had said goodbye.
        assert_eq!(bound.send(request), "status=0\n\n", "{request:?}");
        assert_eq!(bound.read_list(), "");
    }
    let reply = Anvil::connect(&instance).send("request=connect\nident=extra\nmore=x\n\n");
    assert_eq!(reply, "status=0\ncount=1\nrate=1\n\n");
    instance.wait_for_log("unexpected attribute more from anvil socket (expecting: (list terminator))");
}

#[test]
fn rates_begin_anew_after_the_time_unit() {
    let mut plan = Plan::new("anvil-period");
    plan.set("anvil_rate_time_unit", "1s");
    let instance = plan.start();
    let mut anvil = Anvil::connect(&instance);
    anvil.ask("connect", "a");
    anvil.ask("message", "a");
    instance.wait_for("rates of zero", || (anvil.ask("lookup", "a") == all(1, 0, 0, 0, 0, 0)).then_some(()));
    assert_eq!(anvil.ask("recipient", "a"), "status=0\nrate=1\n\n");
    assert_eq!(anvil.ask("lookup", "a"), all(1, 0, 0, 1, 0, 0));
}

#[test]
fn statistics_are_logged_at_exit() {
    let mut plan = Plan::new("anvil-statistics");
    plan.set("anvil_rate_time_unit", "2s").set("max_idle", "1s");
    let instance = plan.start();
    let mut anvil = Anvil::connect(&instance);
    for (event, ident) in [("connect", "s:a"), ("message", "s:a"), ("message", "s:a"), ("auth", "s:b")] {
        anvil.ask(event, ident);
    }
    drop(anvil);
    instance.wait_for_log("statistics: max cache size");
    let lines: Vec<String> = instance
        .log_of("anvil")
        .into_iter()
        .filter_map(|line| line.rsplit_once(" at ").map(|(what, _)| what.to_owned()))
        .collect();
    let expected = [
        "statistics: max connection rate 1/2s for (s:a)",
        "statistics: max connection count 1 for (s:a)",
        "statistics: max message rate 2/2s for (s:a)",
        "statistics: max auth rate 1/2s for (s:b)",
        "statistics: max cache size 2",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn statistics_are_logged_at_intervals() {
    let mut plan = Plan::new("anvil-interval");
    plan.set("anvil_status_update_time", "1s");
    let instance = plan.start();
    let mut anvil = Anvil::connect(&instance);
    anvil.ask("connect", "s:a");
    instance.wait_for_log("statistics: max connection rate 1/60s for (s:a) at ");
    instance.wait_for_log("statistics: max cache size 1 at ");
    anvil.ask("connect", "s:b");
    instance.wait_for_log("statistics: max connection rate 1/60s for (s:b) at ");
}

#[test]
fn a_limit_of_more_than_one_process_is_refused() {
    let mut plan = Plan::new("anvil-limit");
    plan.without("anvil").master_cf("anvil unix - - n - 2 anvil\n");
    let instance = plan.start();
    let _client = UnixStream::connect(instance.queue_directory().join("private/anvil")).expect("a listener");
    instance.wait_for_log("fatal: service anvil requires a process limit of 1");
}

#[test]
fn an_smtp_session_is_counted() {
    let mut plan = Plan::new("anvil-smtp");
    plan.set("smtpd_client_event_limit_exceptions", "")
        .set("smtpd_client_message_rate_limit", "1")
        .set("smtpd_client_recipient_rate_limit", "2");
    let instance = plan.start();
    let ident = format!("127.0.0.1:{}:127.0.0.1", instance.smtp_port());
    let mut client = Client::connect(instance.smtp_port());
    for command in
        ["EHLO client.example.net", "MAIL FROM:<>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"]
    {
        assert_eq!(client.command(command).code, 250, "{command}");
    }
    assert_eq!(
        client.command("RCPT TO:<c@example.com>").text(),
        "450 4.7.1 Error: too many recipients from 127.0.0.1"
    );
    assert_eq!(client.command("RSET").code, 250);
    assert_eq!(client.command("MAIL FROM:<>").text(), "450 4.7.1 Error: too much mail from 127.0.0.1");
    let mut anvil = Anvil::connect(&instance);
    assert_eq!(anvil.ask("lookup", &ident), all(1, 1, 2, 3, 0, 0));
    client.command("QUIT");
    instance.wait_for("the end of the session", || {
        (anvil.ask("lookup", &ident) == all(0, 1, 2, 3, 0, 0)).then_some(())
    });
}

/// The counter of this name in an answer.
fn number(answer: &str, name: &str) -> u32 {
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {answer}"))
}

#[test]
fn gateways_share_their_counters() {
    require!(Suite::under_test().is_ours("anvil"), "Postfix has nothing of the kind");
    let mut redis = Redis::start();
    // Each has a service at an address of its own, and the same port.
    let port = free_port();
    let start = |number: usize| {
        let mut plan = Plan::new(&format!("anvil-shared-{number}"));
        plan.set("anvil_shared_counters", &format!("redis:127.0.0.1:{}", redis.port()))
            .set("smtpd_client_connection_count_limit", "10")
            .set("smtpd_client_event_limit_exceptions", "")
            .service(Service::new(format!("127.0.0.{number}:{port} inet n - n - - smtpd")));
        plan.start()
    };
    let instances = [start(1), start(2), start(3)];
    let client = "smtp:192.0.2.1";
    let mut sessions: Vec<Anvil> = (0..9).map(|index| Anvil::connect(&instances[index % 3])).collect();
    for (index, session) in (1..).zip(&mut sessions) {
        assert_eq!(session.ask("connect", client), format!("status=0\ncount={index}\nrate={index}\n\n"));
    }
    for (index, session) in (1..).zip(&mut sessions) {
        assert_eq!(session.ask("recipient", client), format!("status=0\nrate={index}\n\n"));
    }
    assert_eq!(sessions[0].ask("auth", client), "status=0\nrate=1\n\n");
    assert_eq!(sessions[1].ask("newtls", client), "status=0\nrate=1\n\n");
    for session in &mut sessions[..3] {
        assert_eq!(session.ask("lookup", client), all(9, 9, 0, 9, 1, 1));
    }
    assert_eq!(sessions[8].ask("disconnect", client), "status=0\n\n");
    assert_eq!(sessions[0].ask("lookup", client), all(8, 9, 0, 9, 1, 1));
    // A client has ten connections to all of them together.
    let greeting = |index: usize| {
        let socket = TcpStream::connect(format!("127.0.0.{}:{port}", index % 3 + 1)).expect("smtpd");
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a greeting");
        (line, reader)
    };
    let clients: Vec<_> = (0..10).map(greeting).collect();
    assert!(clients.iter().all(|(line, _)| line.starts_with("220 ")), "{clients:?}");
    for index in 0..3 {
        assert!(greeting(index).0.starts_with("421 4.7.0 "));
    }
    // Anybody who asks sees the sum.
    for (number, instance) in (1..).zip(&instances) {
        let program = Suite::Postern.command("postwhy").expect("cargo build makes it");
        let service = format!("127.0.0.{number}:{port}/inet");
        let question = ["-s", &service, "--name", "x.example", "127.0.0.1", "", "joe@example.com"];
        let told = instance.run_path(&program, &question, b"").out();
        assert!(told.contains("  smtpd_client_connection_count_limit = 10: 10 counted\n"), "{told}");
    }
    drop(clients);
    // The server is away: each host counts alone, and says so once.
    redis.stop();
    for instance in &instances {
        let mut other = Anvil::connect(instance);
        assert_eq!(other.ask("connect", "smtp:other"), "status=0\ncount=1\nrate=1\n\n");
        assert_eq!(other.ask("connect", "smtp:other"), "status=0\ncount=1\nrate=2\n\n");
        instance.wait_for_log("warning: anvil_shared_counters = redis:127.0.0.1:");
    }
    assert_eq!(number(&sessions[0].ask("lookup", client), "count"), 3);
    // It is back, and knows nothing: what the hosts know is there again with the next event of each.
    redis.run();
    for (instance, session) in instances.iter().zip(&mut sessions) {
        instance.wait_for("the server again", || {
            session.ask("lookup", client);
            instance.log_text().contains("the server is back").then_some(())
        });
    }
    assert_eq!(number(&sessions[0].ask("lookup", client), "count"), 8);
    for instance in &instances {
        let log = instance.log_text();
        assert_eq!(log.matches("this host counts alone").count(), 1, "{log}");
    }
    // A gateway that dies takes its sessions along.
    for pid in instances[1].processes("anvil") {
        drop(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status());
    }
    instances[0].wait_for("the sessions of two hosts", || {
        (number(&sessions[0].ask("lookup", client), "count") == 5).then_some(())
    });
}

/// A client with this connection, and what it was greeted with.
fn visit(client: &Network, gateway: &str) -> (String, Child) {
    let script = format!("exec 3<>/dev/tcp/{gateway}; IFS= read -r line <&3; echo \"$line\"; exec sleep 600");
    let mut command = client.command("bash");
    let mut visitor =
        command.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("a client in the network");
    let mut line = String::new();
    let out = visitor.stdout.take().expect("it is a pipe");
    BufReader::new(out).read_line(&mut line).expect("a greeting");
    (line, visitor)
}

/// Clients that go.
fn leave(visitors: Vec<(String, Child)>) {
    for (_, mut visitor) in visitors {
        drop(visitor.kill());
        drop(visitor.wait());
    }
}

/// Three hosts that have nothing in common but the way to the server of the counters.
#[test]
fn gateways_of_a_farm() {
    require!(Suite::under_test().is_ours("anvil"), "Postfix has nothing of the kind");
    require!(Network::possible(), "needs the superuser, network name spaces and bash");
    let hub = Network::new();
    hub.run("ip addr add 10.77.0.9/32 dev lo");
    let mut redis = Redis::start_within(&hub);
    let port = free_port();
    let gateways: Vec<(Network, Instance)> = (1..=3)
        .map(|number| {
            let network = Network::new();
            let net = format!("10.77.{number}");
            hub.link(&network, &net, "10.77.0.9");
            let mut plan = Plan::new(&format!("farm-{number}"));
            plan.set("anvil_shared_counters", &format!("redis:{net}.1:{}", redis.port()))
                // No resolver can be reached from there: each client would wait for one.
                .set("smtpd_peername_lookup", "no")
                .set("smtpd_client_connection_count_limit", "10")
                .set("smtpd_client_event_limit_exceptions", "")
                .service(Service::new(format!("{net}.2:{port} inet n - n - - smtpd")));
            let instance = plan.prepare();
            let master = instance.home().join("libexec/master").display().to_string();
            let keeper = network.id().to_string();
            let outcome =
                instance.run_path(Path::new("/usr/bin/nsenter"), &["-t", &keeper, "-n", &master, "-w"], b"");
            assert_eq!(outcome.status, Some(0), "{outcome:?}");
            (network, instance)
        })
        .collect();
    let visit = |index: usize| visit(&hub, &format!("10.77.{}.2/{port}", index % 3 + 1));
    let is_served = |(line, _): &(String, Child)| line.starts_with("220 ");
    let mut guests: Vec<_> = (0..10).map(visit).collect();
    assert!(guests.iter().all(is_served), "{guests:?}");
    let refused: Vec<_> = (0..3).map(visit).collect();
    assert!(refused.iter().all(|(line, _)| line.starts_with("421 4.7.0 ")), "{refused:?}");
    leave(refused);
    // Without the server each counts for itself, and nobody is refused for that.
    redis.stop();
    guests.extend((0..3).map(visit));
    assert!(guests.iter().all(is_served), "{guests:?}");
    for (_, instance) in &gateways {
        instance.wait_for_log("this host counts alone");
    }
    // It is back without memory, and is told by each host with its next event what that knows.
    redis.run();
    gateways[0].1.wait_for("the limit of all together", || {
        let late: Vec<_> = (0..3).map(visit).collect();
        let are_refused = late.iter().all(|guest| guest.0.starts_with("421 4.7.0 "));
        leave(late);
        are_refused.then_some(())
    });
    leave(guests);
    gateways[0].1.wait_for("room after the others have gone", || {
        let next = visit(1);
        let is_in = is_served(&next);
        leave(vec![next]);
        is_in.then_some(())
    });
    for (_, instance) in &gateways {
        assert_eq!(instance.log_text().matches("this host counts alone").count(), 1);
    }
}

#[test]
fn servers_of_shared_counters_that_are_none() {
    require!(Suite::under_test().is_ours("anvil"), "Postfix has nothing of the kind");
    let mut plan = Plan::new("anvil-shared-wrong");
    plan.set("anvil_shared_counters", "memcache:127.0.0.1:11211");
    let instance = plan.start();
    drop(UnixStream::connect(instance.queue_directory().join("private/anvil")));
    instance
        .wait_for_log("fatal: anvil_shared_counters = memcache:127.0.0.1:11211: expected redis:HOST:PORT");
}

#[test]
fn a_host_of_shared_counters_that_cannot_be_found_is_an_outage() {
    require!(Suite::under_test().is_ours("anvil"), "Postfix has nothing of the kind");
    require!(DnsServer::possible(), "needs the superuser, mount namespaces and port 53");
    let redis = Redis::start();
    let start = |name: &str, zone: &str| {
        let mut plan = Plan::new(name);
        plan.with_dns(zone);
        plan.set("anvil_shared_counters", &format!("redis:counters.example:{}", redis.port()));
        plan.start()
    };
    let instances = [
        // No answer, from a resolver that waits for longer than anvil may.
        start("anvil-shared-silent", "counters.example SILENT A\ncounters.example SILENT AAAA"),
        start("anvil-shared-unknown", "other.example A 127.0.0.1"),
    ];
    for instance in &instances {
        let mut session = Anvil::connect(instance);
        assert_eq!(session.ask("connect", "smtp:192.0.2.1"), "status=0\ncount=1\nrate=1\n\n");
        assert_eq!(session.ask("connect", "smtp:192.0.2.1"), "status=0\ncount=1\nrate=2\n\n");
        instance.wait_for_log("this host counts alone");
        let log = instance.log_text();
        assert!(!log.contains("fatal:") && log.contains("warning: anvil_shared_counters = redis:counters"));
    }
    // Found in the end, and a name is asked for again.
    let mut sessions: Vec<Anvil> = instances.iter().map(Anvil::connect).collect();
    for (instance, session) in instances.iter().zip(&mut sessions) {
        instance.dns().change("counters.example A 127.0.0.1");
        instance.wait_for("the server", || {
            session.ask("lookup", "smtp:192.0.2.2");
            instance.log_text().contains("the server is back").then_some(())
        });
        assert_eq!(instance.log_text().matches("this host counts alone").count(), 1);
    }
    for (index, session) in (1..).zip(&mut sessions) {
        let both = format!("status=0\ncount={index}\nrate={index}\n\n");
        assert_eq!(session.ask("connect", "smtp:192.0.2.3"), both);
    }
}
