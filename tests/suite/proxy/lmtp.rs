//! A filter that speaks LMTP, and so has an answer for each recipient.

use conformance::{Client, Instance, Play, QueueFile, ScriptedFilter, require};

use super::GENERIC;
use super::own::{SPEED, WHY, address, ours, servers, shape};

const MESSAGE: &str = "From: Alice <alice@example.net>\r\nSubject: two minds\r\n\r\nbody\r\n";
const LHLO: &str = "250-filter\n250-XFORWARD NAME ADDR\n250 8BITMIME";
const ADDRESSES: [&str; 3] = ["one@example.com", "two@example.com", "three@example.com"];

/// Sends a message; the replies from MAIL to the last.
fn send(port: u16, parameter: &str, recipients: &[&str]) -> Vec<String> {
    let mut client = Client::connect(port);
    client.command("EHLO client.example.net");
    let mut replies = vec![client.command(&format!("MAIL FROM:<alice@example.net>{parameter}")).text()];
    for recipient in recipients {
        replies.push(client.command(&format!("RCPT TO:<{recipient}>")).text());
    }
    replies.push(client.command("DATA").text());
    client.send(MESSAGE.as_bytes());
    let mut last = client.command(".");
    while last.code == 353 || replies.iter().any(|reply| reply.starts_with("353")) {
        replies.push(last.text());
        // One for each recipient that was taken, and one for the message.
        let taken = replies.iter().filter(|reply| *reply == "250 2.1.5 Ok").count();
        let told = replies.iter().skip_while(|reply| !reply.starts_with("353")).count();
        if told > taken + 1 {
            break;
        }
        last = client.read_reply();
    }
    if replies.last() != Some(&last.text()) {
        replies.push(last.text());
    }
    assert_eq!(client.command("QUIT").code, 221, "{replies:?}");
    replies
}

/// What came after the DATA command.
fn answers(replies: &[String]) -> String {
    let data = replies.iter().position(|reply| reply.starts_with("354")).expect("DATA was taken");
    replies[data + 1..].join(" | ")
}

fn lmtp(filter: &ScriptedFilter) -> &ScriptedFilter {
    filter.reset();
    filter.say("LHLO", LHLO)
}

/// What the filter says to the message, and what the client then hears.
struct Row {
    filter: &'static str,
    prdr: &'static str,
    bounce: &'static str,
}

const DIVIDED: Row = Row {
    filter: "250 2.1.5 <one> ok\n550 5.7.1 <two> spam\n452 4.2.2 <three> full",
    prdr: "353 Answers for each recipient follow | 250 2.1.5 <one> ok | 550 5.7.1 <two> spam | \
           452 4.2.2 <three> full | 250 2.0.0 Ok: accepted for 1 of 3 recipients",
    bounce: "250 2.1.5 <one> ok",
};

const ROWS: [Row; 4] = [
    Row { filter: "250 a\n250 b\n251 c", prdr: "250 a", bounce: "250 a" },
    Row {
        filter: "550-5.7.1 a\n550 5.7.1 a\n554 b\n550 c",
        prdr: "550-5.7.1 a\n550 5.7.1 a",
        bounce: "550-5.7.1 a\n550 5.7.1 a",
    },
    Row {
        filter: "550 a\n421 4.3.0 b\n450 c",
        prdr: "353 Answers for each recipient follow | 550 a | 451 4.3.0 Error: queue file write error | 450 c | \
               451 4.3.0 Error: queue file write error",
        bounce: GENERIC,
    },
    DIVIDED,
];

#[test]
fn each_recipient_has_its_answer() {
    require!(ours(), WHY);
    let filter = ScriptedFilter::start();
    let common = [("smtpd_proxy_protocol", "lmtp"), ("smtpd_proxy_prdr", "yes")];
    let bounce = ("smtpd_proxy_divided_policy", "bounce");
    let gate = ("smtpd_proxy_concurrency_limit", "5");
    let each: [&[(&str, &str)]; 4] = [&[], &[SPEED], &[bounce], &[gate]];
    let (instance, ports) = servers("lmtp", &address(&filter), &common, each);
    let [direct, speed, bouncing, _] = ports;
    let reply = Client::connect(direct).command("EHLO x");
    assert!(reply.announces("PRDR"), "{reply:?}");
    for row in &ROWS {
        for (number, port) in ports.into_iter().enumerate() {
            lmtp(&filter).say(".", row.filter);
            assert_eq!(answers(&send(port, " PRDR", &ADDRESSES)), row.prdr, "{number} {}", row.filter);
            let heard = filter.heard();
            assert_eq!(shape(&heard), "XFORWARD MAIL RCPT RCPT RCPT DATA . QUIT <closed>");
            assert!(heard.iter().any(|line| line == "MAIL FROM:<alice@example.net>"), "{heard:?}");
            assert!(heard[0].starts_with("LHLO "));
        }
        lmtp(&filter).say(".", row.filter);
        assert_eq!(answers(&send(bouncing, "", &ADDRESSES)), row.bounce);
        // Its QUIT is not the next conversation's.
        filter.heard();
    }
    // Without PRDR and without bounces there is one recipient in each transaction.
    for port in [direct, speed] {
        lmtp(&filter).say(".", "250 2.0.0 <one> ok");
        let many = "452 4.5.3 Error: too many recipients";
        let replies = send(port, "", &ADDRESSES);
        assert_eq!(replies[2..4], [many, many]);
        assert_eq!(answers(&replies), "250 2.0.0 <one> ok");
    }
    // Recipients that are refused at RCPT have their answer there, or, from the spool, among the others.
    for port in ports {
        let refused = "550 5.1.1 no two";
        lmtp(&filter).play("RCPT", [Play::say("250 ok"), Play::say(refused), Play::say("250 ok")]);
        filter.say(".", "250 2.0.0 one\n250 2.0.0 three");
        let replies = send(port, " PRDR", &ADDRESSES);
        if port == direct {
            assert_eq!(replies[2], refused);
            assert_eq!(answers(&replies), "250 2.0.0 one");
        } else {
            let expected = "353 Answers for each recipient follow | 250 2.0.0 one | 550 5.1.1 no two | \
                            250 2.0.0 three | 250 2.0.0 Ok: accepted for 2 of 3 recipients";
            assert_eq!(answers(&replies), expected);
        }
    }
    lmtp(&filter).say("RCPT", "550 5.1.1 nobody");
    assert_eq!(answers(&send(speed, " PRDR", &ADDRESSES)), "550 5.1.1 nobody");
    let said = shape(&filter.heard());
    // The end of the conversation before comes when it comes.
    let said = said.strip_prefix("QUIT <closed> ").unwrap_or(&said);
    assert_eq!(said, "XFORWARD MAIL RCPT RCPT RCPT QUIT <closed>", "and no DATA");
    broken_off(&filter, ports);
    for (recipient, verdict) in [("one", "accept"), ("two", "reject"), ("three", "reject")] {
        let to = format!("to=<{recipient}@example.com> proto=ESMTP helo=<client.example.net>");
        let part = format!("proxy-{verdict}: END-OF-MESSAGE: ");
        let logged = |line: &String| line.starts_with(&part) && line.ends_with(&to);
        assert!(instance.log_of("smtpd").iter().any(logged), "{part} {to}");
    }
    bounces(&instance);
}

/// The filter answers for one recipient and is gone.
fn broken_off(filter: &ScriptedFilter, ports: [u16; 4]) {
    let [direct, _, bouncing, _] = ports;
    for (port, parameter, expected) in [
        (
            direct,
            " PRDR",
            "353 Answers for each recipient follow | 250 2.0.0 one | 451 4.3.0 Error: queue file write error | \
             451 4.3.0 Error: queue file write error | 250 2.0.0 Ok: accepted for 1 of 3 recipients",
        ),
        (bouncing, "", GENERIC),
    ] {
        lmtp(filter).play(".", [Play::say_and_close("250 2.0.0 one")]);
        assert_eq!(answers(&send(port, parameter, &ADDRESSES)), expected);
        lmtp(filter).play(".", [Play::Close]);
        assert_eq!(answers(&send(port, parameter, &ADDRESSES)), GENERIC);
    }
}

/// One message of [`ROWS`] was accepted although two recipients were refused.
fn bounces(instance: &Instance) {
    // The postmaster is told of what broke off, after the client has its answer.
    let mut queue = instance.wait_for("the notices to be in the queue", || {
        let queue = instance.queue("incoming");
        queue.iter().all(QueueFile::is_complete).then_some(queue)
    });
    queue.retain(|file| !file.content().contains("SMTP server: errors from"));
    assert_eq!(queue.len(), 1, "the filter keeps what it takes");
    let content = queue[0].content();
    for part in [
        "To: alice@example.net\n",
        "\n<two@example.com>: 550 5.7.1 <two> spam\n",
        "\n<three@example.com>: 452 4.2.2 <three> full\n",
        "\nFinal-Recipient: rfc822; two@example.com\nOriginal-Recipient: rfc822;two@example.com\nAction: failed\n\
         Status: 5.7.1\nDiagnostic-Code: smtp; 550 5.7.1 <two> spam\n",
        "\nStatus: 4.2.2\n",
        "\nContent-Type: text/rfc822-headers\n",
        "\nSubject: two minds\n",
    ] {
        assert!(content.contains(part), "{part:?} is not in\n{content}");
    }
    assert!(!content.contains("one@example.com") && !content.contains("\nbody\n"), "{content}");
    let records = queue[0].records();
    assert!(records.iter().any(|record| record.ends_with("sender: ")), "{records:?}");
}
