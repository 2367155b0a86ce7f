//! What the client hears and what the log says when the filter fails, place by place.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use conformance::{Client, Play, free_port};
use nix::sys::socket::{Backlog, listen};

use super::{CONTENT, GENERIC, GO_AHEAD, Stage, send};

const LOST: &str = "warning: lost connection with proxy FILTER";
const TIMEOUT: &str = "warning: timeout talking to proxy FILTER";
const CLIENT: &str = "NOQUEUE: client=localhost[127.0.0.1]";
const NO_RCPT: &str = "554 5.5.1 Error: no valid recipients";
const MAIL_OK: &str = "250 2.1.0 Ok";
const RCPT_OK: &str = "250 2.1.5 Ok";

/// Where the filter fails; up to which reply the transaction went well before.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Before MAIL was accepted by the filter: no `client=` line.
    Open,
    Rcpt,
    Data,
    End,
}

struct Row {
    at: At,
    plays: Vec<(&'static str, Play)>,
    /// The reply in that place. With speed_adjust it is the reply to end of data.
    reply: &'static str,
    /// The warnings.
    warnings: Vec<String>,
}

fn row(at: At, place: &'static str, play: Play, reply: &'static str, warning: &str) -> Row {
    let warnings = if warning.is_empty() { Vec::new() } else { vec![warning.to_owned()] };
    Row { at, plays: vec![(place, play)], reply, warnings }
}

fn rejected(command: &str, reply: &str) -> String {
    format!("warning: proxy FILTER rejected \"{command}\": \"{reply}\"")
}

fn proxy_reject(reply: &str) -> String {
    let text = reply.replace('\n', "??");
    format!(
        "proxy-reject: END-OF-MESSAGE: {text}; from=<alice@example.net> to=<bob@example.com> proto=ESMTP \
         helo=<client.example.net>"
    )
}

impl Stage {
    /// Plays one row in the default mode and with speed_adjust.
    fn check(&self, row: &Row, direct: u16, speed: u16) {
        let what = format!("{:?}", row.plays);
        let closes = row.reply.starts_with("421");

        self.prepare(row);
        let mut outcome = (Vec::new(), false);
        let log = self.log_of(|| outcome = send(direct, &["bob@example.com"]));
        let mut replies = vec![MAIL_OK];
        match row.at {
            At::Open | At::Rcpt if closes => replies.push(row.reply),
            At::Open | At::Rcpt => replies.extend([row.reply, NO_RCPT]),
            At::Data => replies.extend([RCPT_OK, row.reply]),
            At::End => replies.extend([RCPT_OK, GO_AHEAD, row.reply]),
        }
        assert_eq!(outcome.0, replies, "replies: {what}");
        assert_eq!(outcome.1, closes, "hung up: {what}");
        let mut expected = row.warnings.clone();
        match row.at {
            At::Open => {}
            At::Rcpt | At::Data => expected.insert(0, CLIENT.to_owned()),
            At::End => {
                expected.insert(0, CLIENT.to_owned());
                expected.push(proxy_reject(row.reply));
            }
        }
        assert_eq!(log, expected, "log: {what}");

        self.prepare(row);
        let log = self.log_of(|| outcome = send(speed, &["bob@example.com"]));
        assert_eq!(outcome.0, [MAIL_OK, RCPT_OK, GO_AHEAD, row.reply], "replies with speed_adjust: {what}");
        assert_eq!(outcome.1, closes, "hung up with speed_adjust: {what}");
        let mut expected = row.warnings.clone();
        expected.insert(0, CLIENT.to_owned());
        expected.push(proxy_reject(row.reply));
        assert_eq!(log, expected, "log with speed_adjust: {what}");
    }

    fn prepare(&self, row: &Row) {
        self.filter.heard();
        self.filter.reset();
        for (place, play) in &row.plays {
            if *place == "content" {
                self.filter.close_in_content(2);
            } else {
                self.filter.play(place, [play.clone()]);
            }
        }
    }

    fn check_all(&self, rows: &[Row]) {
        for row in rows {
            let silent = row.plays.iter().any(|(_, play)| *play == Play::Silence);
            let (direct, speed) =
                if silent { (self.hasty[0], self.hasty[1]) } else { (self.direct, self.speed) };
            self.check(row, direct, speed);
        }
    }
}

#[test]
fn failures_while_the_conversation_opens() {
    let stage = Stage::new("proxy-open");
    let xforward = "XFORWARD NAME=localhost";
    let mail = "MAIL FROM:<alice@example.net>";
    let refused_xforward = Row {
        at: At::Open,
        plays: vec![("EHLO", Play::say("250-f\n250 XFORWARD NAME")), ("XFORWARD", Play::say("550 no xf"))],
        reply: GENERIC,
        warnings: vec![rejected(xforward, "550 no xf")],
    };
    stage.check_all(&[
        row(
            At::Open,
            "banner",
            Play::say("554 go away"),
            GENERIC,
            &rejected("connection request", "554 go away"),
        ),
        row(At::Open, "banner", Play::Close, GENERIC, LOST),
        row(At::Open, "banner", Play::Silence, GENERIC, TIMEOUT),
        row(At::Open, "EHLO", Play::say("502 no"), GENERIC, &rejected("EHLO mx.example.com", "502 no")),
        row(At::Open, "EHLO", Play::Close, GENERIC, LOST),
        refused_xforward,
        row(At::Open, "XFORWARD", Play::Close, GENERIC, LOST),
        row(
            At::Open,
            "MAIL",
            Play::say("451 4.1.0 later"),
            "451 4.1.0 later",
            &rejected(mail, "451 4.1.0 later"),
        ),
        row(
            At::Open,
            "MAIL",
            Play::say("550-5.1.0 no\n550 5.1.0 way"),
            "550-5.1.0 no\n550 5.1.0 way",
            &rejected(mail, "550-5.1.0 no??550 5.1.0 way"),
        ),
        row(At::Open, "MAIL", Play::say("354 eh"), GENERIC, &rejected(mail, "354 eh")),
        row(At::Open, "MAIL", Play::Close, GENERIC, LOST),
        row(At::Open, "MAIL", Play::Silence, GENERIC, TIMEOUT),
    ]);
}

#[test]
fn failures_at_rcpt_and_data() {
    let stage = Stage::new("proxy-rcpt");
    let rcpt = "RCPT TO:<bob@example.com>";
    let no_such = "550 5.1.1 no such";
    stage.check_all(&[
        row(At::Rcpt, "RCPT", Play::say(no_such), no_such, &rejected(rcpt, no_such)),
        row(At::Rcpt, "RCPT", Play::say("421 4.3.0 bye"), "421 4.3.0 bye", &rejected(rcpt, "421 4.3.0 bye")),
        row(At::Rcpt, "RCPT", Play::say("354 eh"), GENERIC, &rejected(rcpt, "354 eh")),
        row(At::Rcpt, "RCPT", Play::Close, GENERIC, LOST),
        row(At::Rcpt, "RCPT", Play::Silence, GENERIC, TIMEOUT),
        row(
            At::Data,
            "DATA",
            Play::say("451 4.3.0 later"),
            "451 4.3.0 later",
            &rejected("DATA", "451 4.3.0 later"),
        ),
        row(At::Data, "DATA", Play::say("250 ok"), GENERIC, &rejected("DATA", "250 ok")),
        row(At::Data, "DATA", Play::Close, GENERIC, LOST),
        row(At::Data, "DATA", Play::Silence, GENERIC, TIMEOUT),
    ]);
}

#[test]
fn failures_in_and_after_the_content() {
    let stage = Stage::new("proxy-end");
    let end = |reply: &'static str| row(At::End, ".", Play::say(reply), reply, "");
    stage.check_all(&[
        row(At::End, "content", Play::Close, GENERIC, LOST),
        row(At::End, ".", Play::Close, GENERIC, LOST),
        row(At::End, ".", Play::Silence, GENERIC, TIMEOUT),
        end("550 5.7.1 spam"),
        end("450-4.7.1 not\n450 4.7.1 now"),
        end("421 4.3.0 bye"),
        // A reply that means nothing here is passed on all the same.
        end("354 go on"),
    ]);
}

#[test]
fn a_filter_that_accepts_is_quoted_word_for_word() {
    let stage = Stage::new("proxy-accept");
    stage.filter.say(".", "250-2.0.0 one\n250 2.0.0 two");
    for port in [stage.direct, stage.speed] {
        let mut outcome = (Vec::new(), false);
        let log = stage.log_of(|| outcome = send(port, &["bob@example.com", "carol@example.com"]));
        assert_eq!(outcome.0, [MAIL_OK, RCPT_OK, RCPT_OK, GO_AHEAD, "250-2.0.0 one\n250 2.0.0 two"]);
        assert_eq!(
            log,
            [CLIENT.to_owned(), proxy_reject("250-2.0.0 one\n250 2.0.0 two").replace("reject", "accept")]
        );
    }
}

#[test]
fn a_filter_that_is_not_there() {
    let free = free_port();
    let stage = Stage::with("proxy-refused", |plan| {
        let smtpd = plan.smtpd().clone();
        *plan.smtpd() = smtpd.option("smtpd_proxy_filter", &format!("127.0.0.1:{free}"));
    });
    let mut outcome = (Vec::new(), false);
    let log = stage.log_of(|| outcome = send(stage.direct, &["bob@example.com", "carol@example.com"]));
    assert_eq!(outcome.0, [MAIL_OK, GENERIC, GENERIC, NO_RCPT]);
    let warning = format!("warning: connect to proxy filter 127.0.0.1:{free}: Connection refused");
    assert_eq!(log, [warning.as_str(), warning.as_str()], "each recipient tries again");
}

#[test]
fn a_filter_that_takes_no_connection_in_time() {
    // The kernel takes as many connections as the queue holds, and lets the next ones wait.
    let full = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listen(&full, Backlog::new(0).expect("a small number")).expect("it listens already");
    let address = full.local_addr().expect("a bound socket");
    let mut waiting = Vec::new();
    while let Ok(socket) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(socket);
    }
    let stage = Stage::with("proxy-full", |plan| {
        let smtpd = plan.smtpd().clone();
        let smtpd = smtpd.option("smtpd_proxy_timeout", "2s");
        *plan.smtpd() = smtpd.option("smtpd_proxy_filter", &address.to_string());
    });
    let mut outcome = (Vec::new(), false);
    let log = stage.log_of(|| outcome = send(stage.direct, &["bob@example.com"]));
    assert_eq!(outcome.0, [MAIL_OK, GENERIC, NO_RCPT]);
    assert_eq!(log, [format!("warning: connect to proxy filter {address}: Connection timed out")]);
}

#[test]
fn a_filter_without_an_address() {
    for (filter, reason) in [
        ("127.0.0.1:no-such-service", "Servname not supported for ai_socktype"),
        // The instance speaks IPv4 only.
        ("[::1]:25", "Address family for hostname not supported"),
    ] {
        let stage = Stage::with("proxy-nowhere", |plan| {
            *plan.smtpd() = plan.smtpd().clone().option("smtpd_proxy_filter", filter);
        });
        let mut outcome = (Vec::new(), false);
        let mut log = stage.log_of(|| outcome = send(stage.direct, &["bob@example.com"]));
        // What Postern's first process of a service tells in addition (docs/differences.md).
        log.retain(|line| !line.ends_with(" (-o option)"));
        assert_eq!(outcome.0, [MAIL_OK, GENERIC, NO_RCPT], "{filter}");
        let expected = [
            format!("warning: host or service {filter} not found: {reason}"),
            format!("warning: connect to proxy filter {filter}: Cannot assign requested address"),
        ];
        assert_eq!(log, expected);
    }
}

#[test]
fn a_refused_recipient_leaves_the_others() {
    let stage = Stage::new("proxy-second");
    stage.filter.play("RCPT", [Play::say("550 5.1.1 no"), Play::say("250 ok")]);
    let (replies, _) = send(stage.direct, &["bob@example.com", "carol@example.com"]);
    assert_eq!(replies, [MAIL_OK, "550 5.1.1 no", RCPT_OK, GO_AHEAD, "250 2.0.0 filter accepted"]);
    assert_eq!(stage.filter.connections(), 1);

    // The replay stops at the first refusal, which then stands for all.
    stage.filter.play("RCPT", [Play::say("250 ok"), Play::say("550 5.1.1 no"), Play::say("250 ok")]);
    let (replies, _) = send(stage.speed, &["bob@example.com", "carol@example.com", "dave@example.com"]);
    assert_eq!(replies, [MAIL_OK, RCPT_OK, RCPT_OK, RCPT_OK, GO_AHEAD, "550 5.1.1 no"]);
    assert!(!stage.filter.heard().iter().any(|line| line == "RCPT TO:<dave@example.com>"));
}

#[test]
fn a_dead_connection_stays_dead() {
    let stage = Stage::new("proxy-dead");
    stage.filter.play("RCPT", [Play::Close]);
    let mut outcome = (Vec::new(), false);
    let log = stage.log_of(|| outcome = send(stage.direct, &["bob@example.com", "carol@example.com"]));
    assert_eq!(outcome.0, [MAIL_OK, GENERIC, GENERIC, NO_RCPT]);
    assert_eq!(log, [CLIENT, LOST], "logged once");
    assert_eq!(stage.filter.connections(), 1);
}

#[test]
fn after_a_failed_mail_each_recipient_opens_anew() {
    let stage = Stage::new("proxy-anew");
    stage.filter.play("MAIL", [Play::say("450 4.3.2 not yet"), Play::say("250 ok")]);
    let (replies, _) = send(stage.direct, &["bob@example.com", "carol@example.com"]);
    assert_eq!(replies, [MAIL_OK, "450 4.3.2 not yet", RCPT_OK, GO_AHEAD, "250 2.0.0 filter accepted"]);
    assert_eq!(stage.filter.connections(), 2);
    let verbs = |verb: &str| stage.filter.heard().iter().filter(|line| line.starts_with(verb)).count();
    assert_eq!((verbs("EHLO"), verbs("XFORWARD"), verbs("MAIL"), verbs("RCPT")), (2, 2, 2, 1));
}

#[test]
fn a_transaction_spoilt_by_a_generic_failure_is_not_delivered() {
    let stage = Stage::new("proxy-spoilt");
    // Postfix answers with what the filter said last, the 354 of DATA; Postern with the generic reply, see
    // docs/differences.md, Repairs.
    let verdict = if stage.instance.suite().is_ours("smtpd") { GENERIC } else { "354 go" };
    for (place, recipients) in [("RCPT", 2), ("DATA", 1)] {
        stage.filter.heard();
        stage.filter.reset();
        let wrong = if place == "RCPT" { "354 eh" } else { "250 eh" };
        let right = if place == "RCPT" { "250 ok" } else { "354 go" };
        stage.filter.play(place, [Play::say(wrong), Play::say(right)]);
        let mut client = Client::connect(stage.direct);
        client.command("EHLO client.example.net");
        client.command("MAIL FROM:<alice@example.net>");
        let mut replies: Vec<_> =
            (0..recipients).map(|n| client.command(&format!("RCPT TO:<{n}@example.com>")).text()).collect();
        if place == "DATA" {
            replies.push(client.command("DATA").text());
        }
        assert_eq!(client.command("DATA").text(), GO_AHEAD);
        client.send(CONTENT.as_bytes());
        assert_eq!(client.read_reply().text(), verdict, "{place}");
        client.command("QUIT");
        assert!(replies.iter().any(|reply| reply == GENERIC), "{place}: {replies:?}");
        let heard = stage.filter.heard();
        assert!(!heard.iter().any(|line| line == "body" || line == "."), "{place}: {heard:?}");
        assert_eq!(heard[heard.len() - 2..], ["QUIT", "<closed>"], "{place}");
    }
}

#[test]
fn a_failed_opening_spoils_the_transaction_but_a_refusal_does_not() {
    let stage = Stage::new("proxy-reopened");
    // See docs/differences.md, Repairs.
    let spoilt = if stage.instance.suite().is_ours("smtpd") { GENERIC } else { "354 go" };
    let accepted = "250 2.0.0 filter accepted";
    for (place, failure, verdict) in [
        ("banner", Play::say("554 no"), accepted),
        ("EHLO", Play::say("502 no"), accepted),
        ("XFORWARD", Play::say("550 no"), accepted),
        ("banner", Play::Close, spoilt),
        ("EHLO", Play::Close, spoilt),
        ("XFORWARD", Play::Close, spoilt),
        ("MAIL", Play::Close, spoilt),
        ("MAIL", Play::say("354 eh"), spoilt),
    ] {
        stage.filter.heard();
        stage.filter.reset();
        let polite = match place {
            "banner" => "220 f",
            "EHLO" => "250-f\n250 XFORWARD NAME",
            _ => "250 ok",
        };
        let what = format!("{place} {failure:?}");
        stage.filter.play(place, [failure, Play::say(polite)]);
        let (replies, _) = send(stage.direct, &["bob@example.com", "carol@example.com"]);
        assert_eq!(replies, [MAIL_OK, GENERIC, RCPT_OK, GO_AHEAD, verdict], "{what}");
        let heard = stage.filter.heard();
        assert_eq!(heard.iter().any(|line| line == "body"), verdict == accepted, "{what}: {heard:?}");
    }
}

#[test]
fn opened_at_mail_the_failures_are_the_reply_to_mail() {
    let stage = Stage::new("proxy-at-mail");
    let no_mail = "503 5.5.1 Error: need MAIL command";
    let need_rcpt = "503 5.5.1 Error: need RCPT command";
    for (place, play, reply) in [
        ("MAIL", Play::say("550-a\n550 b"), "550-a\n550 b"),
        ("MAIL", Play::Close, GENERIC),
        ("banner", Play::say("554 no"), GENERIC),
    ] {
        stage.filter.reset();
        stage.filter.play(place, [play]);
        let (replies, _) = send(stage.at_mail, &["bob@example.com"]);
        assert_eq!(replies, [reply, no_mail, need_rcpt], "{place}");
    }
    stage.filter.heard();
    stage.filter.reset();
    let mut client = Client::connect(stage.at_mail);
    client.command("EHLO client.example.net");
    assert_eq!(client.command("MAIL FROM:<alice@example.net>").text(), MAIL_OK);
    let heard = stage.filter.heard_so_far();
    assert_eq!(heard.last().map(String::as_str), Some("MAIL FROM:<alice@example.net>"));
    stage.instance.wait_for_log(CLIENT);
    assert_eq!(client.command("RSET").text(), "250 2.0.0 Ok");
    assert_eq!(stage.filter.heard()[3..], ["QUIT", "<closed>"]);
}

#[test]
fn garbage_in_replies() {
    let stage = Stage::new("proxy-garbage");
    for (place, play, wire, log) in [
        (
            "RCPT",
            Play::say("hello\n250 ok"),
            "hel-o\r\n250 ok\r\n",
            vec![
                "warning: received garbage from proxy FILTER: hello".to_owned(),
                rejected("RCPT TO:<bob@example.com>", "hello??250 ok"),
            ],
        ),
        (
            "RCPT",
            Play::Bytes(b"550 a\xe9\x01b\r\n".to_vec()),
            "550 a??b\r\n",
            vec![rejected("RCPT TO:<bob@example.com>", "550 a??b")],
        ),
        (
            "RCPT",
            Play::Bytes(b"550 a\0b\r\n".to_vec()),
            "550 a\r\n",
            vec![rejected("RCPT TO:<bob@example.com>", "550 a")],
        ),
        (
            "RCPT",
            Play::Bytes([b"550 ".as_slice(), &[b'x'; 3000], b"\r\n"].concat()),
            &format!("550 {}\r\n", "x".repeat(2044)),
            vec![
                format!("warning: FILTER: response longer than 2048: 550 {}...", "x".repeat(26)),
                rejected("RCPT TO:<bob@example.com>", &format!("550 {}", "x".repeat(2044))),
            ],
        ),
    ] {
        stage.filter.heard();
        stage.filter.reset();
        stage.filter.play(place, [play]);
        let mut said = String::new();
        let seen = stage.log_of(|| {
            let mut client = Client::connect(stage.direct);
            client.command("EHLO client.example.net");
            client.command("MAIL FROM:<alice@example.net>");
            client.send(b"RCPT TO:<bob@example.com>\r\n");
            client.close_sending();
            said = client.read_to_end();
        });
        assert_eq!(said, wire);
        assert_eq!(seen[0], CLIENT);
        // Very long lines are cut by the logger, and how that looks is not at issue here.
        let cut = |lines: &[String]| {
            lines.iter().map(|line| line.chars().take(1000).collect()).collect::<Vec<String>>()
        };
        assert_eq!(cut(&seen[1..]), cut(&log));
    }

    stage.filter.heard();
    stage.filter.reset();
    stage.filter.say(".", "hello\n250 ok");
    let log = stage.log_of(|| {
        let mut client = Client::connect(stage.direct);
        for command in
            ["EHLO client.example.net", "MAIL FROM:<alice@example.net>", "RCPT TO:<bob@example.com>"]
        {
            client.command(command);
        }
        assert_eq!(client.command("DATA").text(), GO_AHEAD);
        client.send(CONTENT.as_bytes());
        client.close_sending();
        assert_eq!(client.read_to_end(), "hel-o\r\n250 ok\r\n");
    });
    assert_eq!(
        log[1..],
        ["warning: received garbage from proxy FILTER: hello".to_owned(), proxy_reject("hello\n250 ok")]
    );
}
