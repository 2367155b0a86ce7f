//! When a message is handed to cleanup: the queue ID in the log, whatever the client does next, and the file that goes
//! with a client that changes its mind.

use conformance::{Client, Plan, Service, free_port};

use crate::dialogue::EHLO;

const MAIL: &str = "MAIL FROM:<alice@example.net>";
const RCPT: &str = "RCPT TO:<bob@example.com>";
const REFUSED: &str = "RCPT TO:<refused@example.com>";
const CLIENT: &str = "QID: client=localhost[127.0.0.1]";
const REJECT: &str = "reject: RCPT from localhost[127.0.0.1]: 554 5.7.1 <refused@example.com>: Recipient address \
                      rejected: Access denied; from=<alice@example.net> to=<refused@example.com> proto=ESMTP \
                      helo=<client.example.net>";

/// Which server is asked.
#[derive(Debug, Clone, Copy)]
enum To {
    /// The usual one.
    Usual,
    /// One that waits for a second only.
    Impatient,
    /// One that opens the message at MAIL.
    Eager,
}

/// How the client goes.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// It closes.
    Close,
    /// It waits until the server closes.
    Wait,
}

/// A session behind EHLO: what is sent, a string a packet, and the lines of the log between `connect` and `disconnect`.
struct Case {
    name: &'static str,
    to: To,
    packets: &'static [&'static [&'static str]],
    then: Then,
    log: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "QUIT",
        to: To::Usual,
        packets: &[&[MAIL], &[RCPT], &["QUIT"]],
        then: Then::Wait,
        log: &[CLIENT],
    },
    Case {
        name: "gone",
        to: To::Usual,
        packets: &[&[MAIL], &[RCPT]],
        then: Then::Close,
        log: &[CLIENT, "lost connection after RCPT from localhost[127.0.0.1]"],
    },
    Case {
        name: "silent",
        to: To::Impatient,
        packets: &[&[MAIL], &[RCPT]],
        then: Then::Wait,
        log: &[CLIENT, "timeout after RCPT from localhost[127.0.0.1]"],
    },
    Case {
        name: "refused recipients around an accepted one",
        to: To::Usual,
        packets: &[&[MAIL], &[REFUSED], &[RCPT], &[REFUSED], &["QUIT"]],
        then: Then::Wait,
        log: &["NOQUEUE: REJECT", CLIENT, "QID: REJECT"],
    },
    Case {
        name: "the same in one packet",
        to: To::Usual,
        packets: &[&[MAIL, REFUSED, RCPT, REFUSED, "RSET", MAIL, RCPT, "QUIT"]],
        then: Then::Wait,
        log: &["NOQUEUE: REJECT", CLIENT, "QID: REJECT", CLIENT],
    },
    Case {
        name: "other commands",
        to: To::Usual,
        packets: &[&[MAIL], &[RCPT], &["VRFY bob"], &["RSET"], &[MAIL], &[RCPT], &[EHLO], &["QUIT"]],
        then: Then::Wait,
        log: &[CLIENT, CLIENT],
    },
    Case {
        name: "no command",
        to: To::Usual,
        packets: &[&[MAIL], &[RCPT], &["Subject: x"]],
        then: Then::Wait,
        log: &[CLIENT, "warning: non-SMTP command from localhost[127.0.0.1]: Subject: x"],
    },
    Case {
        name: "gone, opened at MAIL",
        to: To::Eager,
        packets: &[&[MAIL]],
        then: Then::Close,
        log: &[CLIENT, "lost connection after MAIL from localhost[127.0.0.1]"],
    },
    Case {
        name: "refused recipient, opened at MAIL",
        to: To::Eager,
        packets: &[&[MAIL], &[REFUSED], &[RCPT], &["QUIT"]],
        then: Then::Wait,
        log: &[CLIENT, "QID: REJECT"],
    },
    Case {
        name: "opened at MAIL, in one packet",
        to: To::Eager,
        packets: &[&[MAIL, REFUSED, RCPT, "QUIT"]],
        then: Then::Wait,
        log: &[CLIENT, "QID: REJECT"],
    },
];

/// The text with its queue ID, if it begins with one, as `QID`; the ID.
fn masked(text: &str) -> (String, Option<&str>) {
    match text.split_once(": ") {
        Some((id, rest)) if id.len() > 6 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            (format!("QID: {rest}"), Some(id))
        }
        _ => (text.to_owned(), None),
    }
}

#[test]
fn the_queue_id_is_in_the_log_before_anything_that_comes_next() {
    let (impatient, eager) = (free_port(), free_port());
    let service = |port: u16| Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
    let mut plan = Plan::new("handover");
    plan.set("smtpd_recipient_restrictions", "check_recipient_access inline:{refused@example.com=REJECT}")
        .set("smtpd_error_sleep_time", "0")
        .service(service(impatient).option("smtpd_timeout", "1s"))
        .service(service(eager).option("smtpd_delay_open_until_valid_rcpt", "no"));
    let instance = plan.start();
    let mut wrong = Vec::new();
    for case in CASES {
        let before = instance.log().len();
        let mut client = Client::connect(match case.to {
            To::Usual => instance.smtp_port(),
            To::Impatient => impatient,
            To::Eager => eager,
        });
        assert_eq!(client.command(EHLO).code, 250, "{}", case.name);
        for packet in case.packets {
            client.send(format!("{}\r\n", packet.join("\r\n")).as_bytes());
            for _ in *packet {
                client.read_reply();
            }
        }
        if let Then::Wait = case.then {
            client.read_to_end();
        }
        drop(client);
        let lines = instance.wait_for(case.name, || {
            let mut lines = instance.log().split_off(before);
            lines.retain(|line| line.program() == "smtpd");
            lines.last().is_some_and(|line| line.text.starts_with("disconnect")).then_some(lines)
        });
        let told: Vec<_> = lines[1..lines.len() - 1].iter().map(|line| masked(&line.text).0).collect();
        let expected: Vec<_> = case.log.iter().map(|line| line.replace("REJECT", REJECT)).collect();
        if told != expected {
            wrong.push(format!("{}:\n  expected {expected:#?}\n  found {told:#?}", case.name));
        }
        // All lines since the last `client=` are about that message.
        let ids: Vec<_> = lines.iter().filter_map(|line| masked(&line.text).1.map(|id| (id, line))).collect();
        for pair in ids.windows(2) {
            if pair[0].0 != pair[1].0 && !pair[1].1.text.contains("client=") {
                wrong.push(format!("{}: {} after {}", case.name, pair[1].1.text, pair[0].1.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // None of them became mail, and cleanup has nothing to say about it.
    instance.wait_for("an empty queue", || instance.queue("incoming").is_empty().then_some(()));
    assert_eq!(instance.log_of("cleanup"), Vec::<String>::new());
}
