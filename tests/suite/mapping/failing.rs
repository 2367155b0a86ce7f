//! Tables behind servers that fail: the message is refused for now, whole, and nothing of it stays in the queue.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use conformance::{Client, LogLine, Plan, QueueFile, Service, Suite, require};
use nix::unistd::Uid;

use super::{Configuration, Message, Side, compare};

/// What a server sends for a key that begins so; nothing is found for others.
type Replies = &'static [(&'static str, &'static [u8])];

const SOCKETMAP: Replies = &[
    ("temp", b"10:TEMP later,"),
    ("timeout", b"13:TIMEOUT later,"),
    ("perm", b"10:PERM never,"),
    ("close", b""),
    ("half", b"40:OK x"),
    ("garbage", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ("huge", b"9999999:OK x"),
    ("many", b"43:OK one@y.test, temp@y.test, other@plain.test,"),
    ("found", b"12:OK to@y.test,"),
    ("", b"9:NOTFOUND ,"),
];

const TCP: Replies = &[
    ("temp", b"400 later\n"),
    ("garbage", b"what\n"),
    ("many", b"200 one@y.test,temp@y.test\n"),
    ("", b"500 none\n"),
];

/// A server that reads a key up to this byte.
fn serve(end: u8, replies: Replies) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, end, replies));
        }
    });
    port
}

/// Answers until the client has enough, or the reply is one after which there is nothing to say.
fn answer(mut stream: TcpStream, end: u8, replies: Replies) -> Option<()> {
    loop {
        let mut request = Vec::new();
        let mut byte = [0];
        while byte != [end] {
            stream.read_exact(&mut byte).ok()?;
            request.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let key = text.trim_end_matches([',', '\n']).rsplit(' ').next()?;
        let (start, reply) = replies.iter().find(|(start, _)| key.starts_with(start))?;
        stream.write_all(reply).ok()?;
        if matches!(*start, "close" | "half" | "garbage" | "huge") {
            return None;
        }
    }
}

const PARAMETERS: [&str; 4] =
    ["canonical_maps", "virtual_alias_maps", "sender_bcc_maps", "recipient_bcc_maps"];

fn messages(replies: Replies) -> Vec<Message> {
    let failing = replies.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
    let mut messages = Vec::new();
    for name in failing {
        let recipient = format!("R {name}@x.test");
        let recipients = ["R first@x.test", &recipient, "R last@x.test"];
        messages.push(Message::new("s@x.test", &recipients, &[]));
        messages.push(Message::new(&format!("{name}@x.test"), &["R first@x.test"], &[]));
        messages.push(Message::new(
            "s@x.test",
            &["R first@x.test"],
            &[&format!("To: {name}@x.test, b@x.test")],
        ));
    }
    messages
}

#[test]
fn socketmap() {
    let table = format!("socketmap:inet:127.0.0.1:{}:name", serve(b',', SOCKETMAP));
    for parameter in PARAMETERS {
        compare(&Configuration::new(&[(parameter, &table)], &[]), &messages(SOCKETMAP));
    }
}

#[test]
fn tcp() {
    let table = format!("tcp:127.0.0.1:{}", serve(b'\n', TCP));
    for parameter in ["canonical_maps", "virtual_alias_maps", "recipient_bcc_maps"] {
        compare(&Configuration::new(&[(parameter, &table)], &[]), &messages(TCP));
    }
}

#[test]
fn clients_are_told_to_come_again_and_submissions_wait() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let table = format!("socketmap:inet:127.0.0.1:{}:name", serve(b',', SOCKETMAP));
    for parameter in ["canonical_maps", "virtual_alias_maps", "recipient_bcc_maps"] {
        let configuration = Configuration::new(
            &[
                (parameter, &table),
                ("notify_classes", ""),
                ("smtpd_reject_unlisted_recipient", "no"),
                ("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH"),
            ],
            &[],
        );
        let [ours, theirs] = [Suite::under_test(), Suite::Postfix].map(|suite| {
            let side = Side::start_plan(Plan::for_suite("mapping-failing", suite), &configuration);
            let mut heard = String::new();
            for recipient in ["temp@local.test", "many@local.test", "garbage@local.test", "found@local.test"]
            {
                let mut client = Client::connect(side.instance.smtp_port());
                let recipients = ["first@local.test", recipient, "last@local.test"];
                let reply = client.send_message("s@x.test", &recipients, "Subject: x\r\n\r\nx\r\n").text();
                let end = if reply.starts_with("250") { 22 } else { reply.len() };
                heard += &format!("{recipient}: {}\n", &reply[..end]);
                let sent = side.instance.run_with_input("sendmail", &[recipient], b"Subject: x\n\nx\n");
                assert_eq!(sent.status, Some(0), "{sent:?}");
            }
            // What was taken came last, so that all the others have been tried by now.
            side.instance.wait_for("the accepted ones", || {
                let files = side.instance.queue("incoming");
                let waiting = side.instance.queue("maildrop").len();
                (files.len() == 2 && files.iter().all(conformance::QueueFile::is_complete) && waiting == 3)
                    .then_some(())
            });
            heard
        });
        assert_eq!(ours, theirs, "{parameter}");
        assert!(ours.contains("temp@local.test: 451 4.3.0 Error: queue file write error\n"), "{ours}");
    }
}

/// A server that takes connections and what is said, and never answers.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        let mut clients: Vec<TcpStream> = Vec::new();
        clients.extend(listener.incoming().flatten());
    });
    port
}

/// What a client hears when a table does not answer, and the first line of each daemon about it; nothing is queued.
fn unanswered(suite: Suite, parameter: &str, table: &str) -> String {
    let mut plan = Plan::for_suite("mapping-unanswered", suite);
    plan.set(parameter, table)
        .service(Service::new("proxymap unix - - n - - proxymap"))
        .set("ipc_timeout", "1s")
        .set("notify_classes", "")
        .set("virtual_alias_domains", "")
        .set("smtpd_reject_unlisted_recipient", "no");
    let instance = plan.start();
    let mut client = Client::connect(instance.smtp_port());
    let content = "Subject: x\r\n\r\nx\r\n";
    let mut heard = client.send_message("s@x.test", &["first@mx.example.com"], content).text();
    let told =
        |line: &LogLine, program: &str, text: &str| line.program() == program && line.text.contains(text);
    for (program, text) in
        [("smtpd", "warning: mail_stream_cleanup: close error"), ("cleanup", "service proxymap: ")]
    {
        let is_concerned = program == "smtpd" || table.starts_with("proxy:");
        if is_concerned {
            let line = instance.wait_for(text, || {
                instance.log().into_iter().find(|line| told(line, program, text)).map(|line| line.text)
            });
            heard += &format!("\n{program}: {line}");
        }
    }
    let silent = "timeout on p";
    assert!(!instance.log_text().contains(silent), "{}", instance.log_text());
    assert!(
        !instance.queue("incoming").iter().any(QueueFile::is_complete),
        "{:?}",
        instance.queue("incoming")
    );
    heard
}

#[test]
fn servers_that_never_answer() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let port = silent();
    for (parameter, table) in [
        ("virtual_alias_maps", format!("socketmap:inet:127.0.0.1:{port}:name")),
        ("header_checks", format!("proxy:socketmap:inet:127.0.0.1:{port}:name")),
    ] {
        let [ours, theirs] =
            [Suite::under_test(), Suite::Postfix].map(|suite| unanswered(suite, parameter, &table));
        assert_eq!(ours, theirs, "{parameter} {table}");
        assert!(ours.starts_with("451 4.3.0 Error: queue file write error\n"), "{ours}");
    }
}
