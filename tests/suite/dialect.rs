//! The internal protocols in the dialect of the Postfix version that is said to be around.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conformance::{Client, Instance, Plan, Service, Suite, require, version_at_least};

fn instance(version: Option<&str>) -> Instance {
    let mut plan = Plan::new("dialect");
    if let Some(version) = version {
        plan.set("postern_postfix_version", version);
    } else {
        plan.without_version();
    }
    plan.set("proxy_read_maps", "proxy:inline:{key=value}");
    plan.service(Service::new("proxymap unix - - n - - proxymap"));
    plan.set("virtual_alias_maps", "").start()
}

/// The suite's own client and server of proxymap understand each other.
fn assert_proxymap_answers(instance: &Instance) {
    let outcome = instance.run("postmap", &["-q", "key", "proxy:inline:{key=value}"]);
    assert_eq!((outcome.status, outcome.out()), (Some(0), "value\n".into()), "{}", outcome.err());
}

/// What a service says on its socket.
fn ask(instance: &Instance, socket: &str, request: &[u8], until: &[u8]) -> String {
    let mut stream = UnixStream::connect(instance.queue_directory().join(socket)).expect("master listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    stream.write_all(request).expect("the service listens");
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !said.ends_with(until) && stream.read(&mut byte).expect("it answers in time") == 1 {
        said.push(byte[0]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn queue_one(instance: &Instance) {
    let mut client = Client::connect(instance.smtp_port());
    assert_eq!(client.send_message("a@example.net", &["b@example.com"], "Subject: x\n\nx\n").code, 250);
}

#[test]
fn without_the_parameter_it_is_that_of_the_programs_around() {
    require!(
        !version_at_least(3, 11),
        "what is expected is that of 3.7 to 3.10, of which Postern alone has the last"
    );
    let instance = instance(None);
    queue_one(&instance);
    let listing = ask(&instance, "public/showq", b"", b"\0\0\0\0");
    assert!(listing.contains("sender\0a@example.net\0recipient\0b@example.com\0reason\0\0"), "{listing:?}");
    let request = b"request=tlstr\nident=smtp:192.0.2.1\n\n";
    let answer = ask(&instance, "private/anvil", request, b"status=4294967295\n\n");
    assert!(answer.ends_with("status=4294967295\n\n"), "{answer:?}");
    let request = b"request=lookup\nident=smtp:192.0.2.1\n\n";
    let answer = ask(&instance, "private/anvil", request, b"auth=0\n\n");
    assert!(answer.ends_with("newtls=0\nauth=0\n\n"), "{answer:?}");
    assert_proxymap_answers(&instance);
    let request = b"request\0lookup\0table\0inline:{key=value}\0flags\x0064\0key\0key\0\0";
    let answer = ask(&instance, "private/proxymap", request, b"value\0\0");
    assert!(answer.ends_with("\0\0status\x000\0value\0value\0\0"), "{answer:?}");
}

#[test]
fn that_of_3_12_where_it_is_asked_for() {
    require!(Suite::under_test() == Suite::Postern, "Postfix speaks its own version's dialect only");
    let instance = instance(Some("3.12"));
    queue_one(&instance);
    let listing = ask(&instance, "public/showq", b"", b"reason\0\0\0\0");
    let expected = "original_recipient\0b@example.com\0recipient\0b@example.com\0log_class\0\0reason\0\0";
    assert!(listing.contains(expected), "{listing:?}");
    let shown = instance.run("postqueue", &["-j"]);
    let expected = "\"recipients\": [{\"orig_address\": \"b@example.com\", \"address\": \"b@example.com\"}]";
    assert!(shown.out().contains(expected), "{}", shown.out());
    assert_proxymap_answers(&instance);
    let request =
        b"request\0lookup\0table\0inline:{key=value}\0instance_flags\x000\0flags\x0064\0key\0key\0\0";
    let answer = ask(&instance, "private/proxymap", request, b"value\0\0");
    assert!(answer.ends_with("\0\0status\x000\0flags\x0064\0value\0value\0\0"), "{answer:?}");
    let request = b"request=tlstr\nident=smtp:192.0.2.1\n\n";
    let answer = ask(&instance, "private/anvil", request, b"rate=1\n\n");
    assert!(answer.ends_with("status=0\nrate=1\n\n"), "{answer:?}");
    let version = instance.run("postconf", &["-h", "mail_version"]);
    assert_eq!(version.out(), "3.12-20260821\n");
}

#[test]
fn alone_it_is_that_of_3_10() {
    require!(Suite::under_test() == Suite::Postern, "beside Postfix it is Postfix's");
    let instance = instance(None);
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example.net");
    // Of 3.9, and of 3.10.
    assert_eq!(client.command("HELP").code, 214);
    drop(client);
    instance.wait_for_log("NOQUEUE: lost connection after HELP from ");
    for (name, value) in [
        ("mail_version", "3.10.3"),
        ("smtpd_forbid_bare_newline", "normalize"),
        ("default_database_type", "hash"),
    ] {
        assert_eq!(instance.run("postconf", &["-h", name]).out(), format!("{value}\n"));
    }
    let lines = instance.log_of("master");
    assert!(lines.iter().any(|line| line.ends_with(", as Postfix 3.10")), "{lines:?}");
}

#[test]
fn a_version_that_nobody_knows_is_refused() {
    require!(Suite::under_test() == Suite::Postern, "Postfix does not have the parameter");
    for version in ["3.6", "3.13", "4.0", "3.10x", "3"] {
        let instance = Plan::new("dialect-bad").set("postern_postfix_version", version).prepare();
        instance.expect_fault("fatal: ");
        let outcome = instance.start_master(&["-w"]);
        assert_ne!(outcome.status, Some(0), "{version:?}");
        assert!(
            outcome.err().contains("postern_postfix_version") || outcome.err().is_empty(),
            "{}",
            outcome.err()
        );
    }
}

/// An instance with the defaults of `version`: those that the programs around have, or that Postern is told.
fn with_defaults_of(version: &str) -> Option<Instance> {
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse().ok()).expect("a version");
    let mut plan = Plan::new("dialect-defaults");
    if Suite::under_test() == Suite::Postern {
        plan.set("postern_postfix_version", version);
    } else if !version_at_least(3, minor) {
        return None;
    }
    // Clients of one's own networks are exempt.
    plan.set("mynetworks", "192.0.2.0/24")
        .set("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination");
    Some(plan.start())
}

#[test]
fn from_3_9_on_messages_cannot_be_smuggled_in() {
    let Some(instance) = with_defaults_of("3.9") else {
        require!(false, "the suite under test is older");
        return;
    };
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\n.\r", "\r.\r\n"] {
        let mut client = Client::connect(instance.smtp_port());
        client.command("EHLO client.example.net");
        client.command("MAIL FROM:<a@example.net>");
        client.command("RCPT TO:<b@example.com>");
        assert_eq!(client.command("DATA").code, 354);
        client.send(format!("Subject: x\r\n\r\nx{end}MAIL FROM:<smuggled@example.net>\r\n").as_bytes());
        client.send(b"RCPT TO:<b@example.com>\r\nDATA\r\nSubject: y\r\n\r\ny\r\n.\r\n");
        assert_eq!(client.read_reply().code, 250, "{end:?}");
        assert_eq!(client.command("QUIT").code, 221, "{end:?}: there was one message");
    }
    let sessions = || instance.log_text().matches("disconnect from").count();
    instance.wait_for("the end of all sessions", || (sessions() == 5).then_some(()));
    let log = instance.log_text();
    assert!(!log.contains("smuggled@example.net"), "{log}");
    assert_eq!(log.matches(": message-id=").count(), 5, "{log}");
}

#[test]
fn from_3_9_on_commands_before_their_time_end_the_session() {
    let Some(instance) = with_defaults_of("3.9") else {
        require!(false, "the suite under test is older");
        return;
    };
    let mut client = Client::connect(instance.smtp_port());
    client.send(b"EHLO client.example.net\r\nMAIL FROM:<a@example.net>\r\n");
    let reply = client.read_reply();
    assert_eq!(reply.text(), "554 5.5.0 Error: SMTP protocol synchronization");
    assert_eq!(client.read_to_end(), "");
    instance.wait_for_log("improper command pipelining after EHLO from");
}
