//! Many messages, many sessions: nothing lost, nothing logged that should not be, limits kept.

use std::net::Ipv4Addr;
use std::time::Duration;

use conformance::{Client, ExampleFilter, Instance, Plan, Service, free_port, peer_program, run};

/// An instance with the example filter between its two smtpds.
fn filtered(name: &str) -> (Instance, ExampleFilter) {
    let filter_port = free_port();
    let mut plan = Plan::new(name);
    let after = plan.proxied(filter_port);
    let instance = plan.start();
    let filter = ExampleFilter::start(filter_port, after);
    (instance, filter)
}

#[test]
fn five_thousand_messages_through_the_filter_become_five_thousand_queue_files() {
    let (instance, _filter) = filtered("load");
    let address = format!("127.0.0.1:{}", instance.smtp_port());
    let arguments =
        ["-s", "20", "-m", "5000", "-l", "4000", "-f", "a@example.net", "-t", "b@example.com", &address];
    let outcome = run(&peer_program("smtp-source"), &arguments, &[], b"");
    assert_eq!((outcome.status, outcome.err()), (Some(0), String::new()));
    let files = instance.queue("incoming");
    assert_eq!(files.len(), 5000);
    let broken: Vec<_> = files.iter().filter(|file| !file.is_complete()).collect();
    assert!(broken.is_empty(), "{broken:?}");
    let complaints: Vec<_> = instance.log().into_iter().filter(|line| is_complaint(&line.text)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn is_complaint(text: &str) -> bool {
    // True, and meant: the instance has no queue manager, so that mail stays to be counted.
    if text == "warning: unable to look up public/qmgr: No such file or directory" {
        return false;
    }
    ["warning: ", "error: ", "fatal: ", "panic: ", "lost connection", "timeout "]
        .iter()
        .any(|word| text.contains(word))
}

#[test]
fn the_eleventh_session_of_a_client_is_refused_at_a_limit_of_ten() {
    let mut plan = Plan::new("connection-limit");
    plan.set("smtpd_client_connection_count_limit", "10").set("smtpd_client_event_limit_exceptions", "");
    let instance = plan.start();
    let mut held: Vec<Client> = (0..10).map(|_| Client::connect(instance.smtp_port())).collect();
    assert!(held.iter().all(|client| client.greeting().code == 220));
    let mut eleventh = Client::connect(instance.smtp_port());
    assert_eq!(
        eleventh.greeting().text(),
        "421 4.7.0 mx.example.com Error: too many connections from 127.0.0.1"
    );
    assert_eq!(eleventh.read_to_end(), "");
    let line = instance.wait_for_log("Connection concurrency limit exceeded");
    assert!(line.starts_with(
        "warning: Connection concurrency limit exceeded: 11 from localhost[127.0.0.1] for service"
    ));
    // One that leaves makes room for one.
    held.pop().expect("ten").command("QUIT");
    instance.wait_for("room for another session", || {
        Some(Client::connect(instance.smtp_port())).filter(|client| client.greeting().code == 220)
    });
}

#[test]
fn the_session_past_the_process_limit_waits_for_one_to_end() {
    let mut plan = Plan::new("process-limit");
    plan.one_session_a_process();
    let port = free_port();
    plan.service(Service::new(format!("127.0.0.1:{port} inet n - n - 20 smtpd")));
    plan.set("smtpd_client_connection_count_limit", "10").set("smtpd_client_event_limit_exceptions", "");
    let instance = plan.start();
    let from = |last: u8| {
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, last), port);
        assert_eq!(client.read_reply().code, 220);
        client
    };
    let mut held: Vec<Client> = (0..20).map(|n| from(if n < 10 { 1 } else { 2 })).collect();
    assert_eq!(instance.processes("smtpd").len(), 20);
    let mut waiting = Client::connect_from(Ipv4Addr::new(127, 0, 0, 3), port);
    assert!(waiting.is_silent_for(Duration::from_secs(2)), "nobody is free to greet the 21st");
    assert_eq!(held.remove(0).command("QUIT").code, 221);
    assert_eq!(waiting.read_reply().code, 220);
    assert_eq!(waiting.command("NOOP").code, 250);
}
