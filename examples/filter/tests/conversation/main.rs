//! The filter as a program, between a client and a server that these tests play.

mod peers;

use std::io::Write;
use std::time::Duration;

use peers::{Client, Filter, Server};

const GTUBE: &str = concat!("XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");
const ENVELOPE: [&str; 3] = ["EHLO front.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>"];

fn begin(filter: &Filter) -> Client {
    let mut client = filter.client();
    for command in ENVELOPE {
        assert_eq!(client.command(command), "250", "{command}");
    }
    assert_eq!(client.command("DATA"), "354");
    client
}

#[test]
fn content_passes_byte_for_byte_behind_one_header() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    let big = format!("Subject: big\r\n\r\n{}\r\n{}", "x".repeat(3_000_000), "..\r\n".repeat(10_000));
    for content in ["", "\r\n", "no header\r\n", "A: b\r\n\r\nc\nd\re\0\u{e9}\r\n..f\r\n", &big] {
        let mut client = begin(&filter);
        client.send(content.as_bytes());
        assert_eq!(client.command("."), "250 queued");
        assert_eq!(client.command("QUIT"), "221");
        let heard = server.message();
        let expected = format!("X-Example-Filter: passed\r\n{content}");
        assert!(
            heard == expected.as_bytes(),
            "{:?}",
            String::from_utf8_lossy(&heard[..heard.len().min(500)])
        );
    }
}

#[test]
fn the_scanner_sees_client_envelope_and_headers() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    let mut client = filter.client();
    for command in [
        "EHLO front.test",
        "XFORWARD NAME=real.test ADDR=192.0.2.7",
        "XFORWARD HELO=x+20y IDENT=[UNAVAILABLE]",
    ] {
        assert_eq!(client.command(command), "250");
    }
    for command in &ENVELOPE[1..] {
        assert_eq!(client.command(command), "250");
    }
    client.command("DATA");
    client.send(b"X-Example-Filter-Test: tell\r\n\r\nhi\r\n");
    assert_eq!(client.command("."), "250 queued");
    let heard = String::from_utf8(server.message()).unwrap();
    assert!(heard.contains("X-Example-Client: real.test [192.0.2.7]\r\n"), "{heard}");
    assert!(heard.contains("X-Example-Envelope: <a@b.test> to 1 recipients\r\n"), "{heard}");
    // Of the two commands only what the server takes: it has not asked for IDENT.
    let commands = server.commands();
    assert!(commands.contains(&"XFORWARD NAME=real.test ADDR=192.0.2.7".into()), "{commands:?}");
    assert!(commands.contains(&"XFORWARD HELO=x+20y".into()), "{commands:?}");
    let log = filter.log();
    for part in
        ["accept: client=real.test[192.0.2.7] helo=<x y> from=<a@b.test> to=<c@d.test> nrcpt=1", "250 queued"]
    {
        assert!(log.contains(part), "{log}");
    }
}

#[test]
fn refused_and_deferred_messages_are_not_seen_behind() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    let mut client = filter.client();
    client.command(ENVELOPE[0]);
    for (content, reply) in [
        (format!("Subject: x\r\n\r\n{GTUBE}\r\n"), "550 5.7.1 message looks like spam (GTUBE test string)"),
        (
            "x-example-filter-test: defer\r\n\r\n".into(),
            "451 4.7.1 deferred, as a header of the message asks for",
        ),
    ] {
        for command in &ENVELOPE[1..] {
            assert_eq!(client.command(command), "250");
        }
        client.command("DATA");
        client.send(content.as_bytes());
        assert_eq!(client.command("."), reply);
    }
    client.command("QUIT");
    let commands = server.commands();
    assert!(!commands.contains(&"DATA".into()), "{commands:?}");
    assert_eq!(commands.iter().filter(|line| *line == "RSET").count(), 2);
}

#[test]
fn a_client_that_leaves_has_sent_nothing() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    for phase in 0..=ENVELOPE.len() {
        let mut client = filter.client();
        for command in &ENVELOPE[..phase] {
            client.command(command);
        }
    }
    let mut client = begin(&filter);
    // What Postfix does when its own client leaves in the middle.
    client.send(b"Subject: half\r\n\r\nhalf\r\nQUIT\r\n");
    drop(client);
    filter.wait_for_log("lost: client=unknown[unknown] from=<a@b.test>");
    assert!(!server.commands().contains(&"DATA".into()));
}

#[test]
fn commands_in_one_piece_are_answered_in_order() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    let mut client = filter.client();
    let all = "EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<refused@d.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n";
    client.send(format!("{all}hi\r\n.\r\nNOOP\r\nDATA\r\nBDAT 1\r\nQUIT\r\n").as_bytes());
    let replies: Vec<String> = (0..10).map(|_| client.reply()).collect();
    assert_eq!(
        replies,
        [
            "250",
            "250",
            "550 no such",
            "250",
            "354",
            "250 queued",
            "250",
            "503 5.5.1 need MAIL command",
            "502 5.5.1 command not implemented",
            "221",
        ]
    );
}

#[test]
fn the_next_hop_has_the_last_word() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    for (sender, reply) in [
        ("nodata", "452 full"),
        ("no", "554 bad"),
        ("odd", "451 4.3.2 example-filter: lost the next hop"),
        ("gone", "451 4.3.2 example-filter: lost the next hop"),
    ] {
        let mut client = filter.client();
        client.command(ENVELOPE[0]);
        assert_eq!(client.command(&format!("MAIL FROM:<{sender}@b.test>")), "250");
        client.command(ENVELOPE[2]);
        assert_eq!(client.command("DATA"), "354");
        client.send(b"hi\r\n");
        assert_eq!(client.command("."), reply, "{sender}");
    }
    let mut client = filter.client();
    client.command(ENVELOPE[0]);
    assert_eq!(client.command("MAIL FROM:<closed@b.test>"), "421 closing");
    assert!(client.is_closed());
}

#[test]
fn nobody_behind_is_a_451_at_mail() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let filter = Filter::start(free, &[]);
    let mut client = filter.client();
    assert_eq!(client.command("EHLO a"), "250");
    assert_eq!(client.command("XFORWARD NAME=a"), "250 2.0.0 Ok");
    let unavailable = "451 4.3.2 example-filter: next hop is not available";
    assert_eq!(client.command("MAIL FROM:<a@b.test>"), unavailable);
    assert_eq!(client.command("RCPT TO:<a@b.test>"), "503 5.5.1 need MAIL command");
    assert_eq!(client.command("MAIL FROM:<a@b.test>"), unavailable);
    assert_eq!(client.command("QUIT"), "221 2.0.0 Bye");
}

#[test]
fn sessions_are_bounded() {
    let server = Server::start();
    let filter = Filter::start(server.port, &["--sessions", "2"]);
    let (_first, second) = (filter.client(), filter.client());
    assert_eq!(filter.connect().reply(), "421 4.3.2 example-filter: too many sessions");
    drop(second);
    // A place is free as soon as the filter has seen the end of the other.
    let mut next = filter.connect();
    while next.reply() != "220" {
        next = filter.connect();
    }
}

#[test]
fn a_spool_that_cannot_be_written_defers() {
    let server = Server::start();
    let filter = Filter::start(server.port, &["--spool", "/nonexistent", "--memory", "1000"]);
    let mut client = begin(&filter);
    client.send(&[b'x'; 100_000]);
    client.send(b"\r\n");
    assert!(client.command(".").starts_with("452 4.3.1 "));
    for command in &ENVELOPE[1..] {
        assert_eq!(client.command(command), "250");
    }
    client.command("DATA");
    assert_eq!(client.command("."), "250 queued");
}

#[test]
fn sigterm_lets_a_message_finish_and_sends_the_idle_away() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    let mut idle = filter.client();
    let mut busy = begin(&filter);
    filter.terminate();
    assert_eq!(idle.reply(), "421 4.3.2 example-filter: shutting down");
    assert!(idle.is_closed());
    busy.send(b"hi\r\n");
    assert_eq!(busy.command("."), "250 queued");
    assert_eq!(busy.command("MAIL FROM:<a@b.test>"), "421 4.3.2 example-filter: shutting down");
    assert_eq!(filter.wait(), Some(0));
}

#[test]
fn long_lines_and_slow_writers() {
    let server = Server::start();
    let filter = Filter::start(server.port, &[]);
    let mut client = filter.client();
    assert_eq!(client.command(&"x".repeat(5000)), "500 5.5.2 command line too long");
    for byte in b"NOOP\r\n" {
        client.stream().write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.reply(), "250");
}
