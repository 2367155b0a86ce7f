//! The same sessions on Postfix and on the suite under test: the same replies, queue files record for record, and log
//! lines, apart from what must differ (queue IDs, times, ports, process numbers).

use std::sync::LazyLock;

use conformance::{Client, ExampleFilter, Instance, Plan, Suite, free_port, mask, require};
use nix::unistd::Uid;
use regex_lite::Regex;

/// A session: what the client sends, a string a step. `DATA`, and a step that begins with `BDAT`, carry their content
/// in the next step, which is sent as it is.
struct Script {
    name: &'static str,
    steps: &'static [&'static str],
}

const EHLO: &str = "EHLO client.example.net";
const MAIL: &str = "MAIL FROM:<alice@example.net>";
const RCPT: &str = "RCPT TO:<bob@example.com>";

const SCRIPTS: &[Script] = &[
    Script { name: "plain", steps: &[EHLO, MAIL, RCPT, "DATA", "Subject: a\r\n\r\nbody\r\n.\r\n", "QUIT"] },
    Script {
        name: "helo",
        steps: &["HELO client.example.net", MAIL, RCPT, "DATA", "\r\nbody\r\n.\r\n", "QUIT"],
    },
    Script { name: "empty", steps: &[EHLO, "MAIL FROM:<>", RCPT, "DATA", ".\r\n", "QUIT"] },
    Script {
        name: "headers-only",
        steps: &[
            EHLO,
            MAIL,
            RCPT,
            "DATA",
            "From: Alice <alice>\r\nTo: bob, \"C D\" <c.d@sub>\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "dsn",
        steps: &[
            EHLO,
            "MAIL FROM:<alice@example.net> RET=HDRS ENVID=QQ+2B1 BODY=8BITMIME SIZE=500",
            "RCPT TO:<bob@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+40x@example.com",
            "RCPT TO:<carol@example.com> NOTIFY=NEVER",
            "RCPT TO:<dave@example.com>",
            "DATA",
            "Subject: dsn\r\n\r\n8-bit: \u{e4}\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "duplicate-recipients",
        steps: &[
            EHLO,
            MAIL,
            RCPT,
            RCPT,
            "RCPT TO:<BOB@example.com>",
            "RCPT TO:<x@example.com>",
            "DATA",
            "a: b\r\n\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "quoted-addresses",
        steps: &[
            EHLO,
            "MAIL FROM:<\"a b\"@example.net>",
            "RCPT TO:<\"c d\"@example.com>",
            "RCPT TO:<@relay.example:e@example.com>",
            "RCPT TO:<f>",
            "RCPT TO:<postmaster>",
            "DATA",
            "To: \"c d\"@example.com\r\n\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "dots",
        steps: &[EHLO, MAIL, RCPT, "DATA", "a: b\r\n\r\n..one\r\n...two\r\n..\r\n.x\r\n.\r\n", "QUIT"],
    },
    Script {
        name: "chunks",
        steps: &[
            EHLO,
            MAIL,
            RCPT,
            "BDAT 14",
            "Subject: a\r\n\r\n",
            "BDAT 9",
            ".\r\n..\r\nab",
            "BDAT 4 LAST",
            "cd\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "chunk-without-line-end",
        steps: &[EHLO, MAIL, RCPT, "BDAT 12 LAST", "a: b\r\n\r\nlast", "QUIT"],
    },
    Script {
        name: "two-transactions",
        steps: &[
            EHLO,
            MAIL,
            RCPT,
            "DATA",
            "x: 1\r\n\r\none\r\n.\r\n",
            "RSET",
            MAIL,
            RCPT,
            "RSET",
            MAIL,
            "RCPT TO:<z@example.com>",
            "DATA",
            "x: 2\r\n\r\ntwo\r\n.\r\n",
            "NOOP",
            "QUIT",
        ],
    },
    Script {
        name: "refused-recipients",
        steps: &[
            EHLO,
            "XCLIENT NAME=host.example.org ADDR=192.0.2.9",
            "EHLO host.example.org",
            MAIL,
            "RCPT TO:<x@elsewhere.example>",
            "RCPT",
            "DATA",
            RCPT,
            "RCPT TO:<y@elsewhere.example>",
            "DATA",
            "x: 1\r\n\r\none\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "out-of-order",
        steps: &[
            "MAIL",
            "RCPT TO:<a@b>",
            "DATA",
            EHLO,
            "DATA",
            RCPT,
            "BDAT 0 LAST",
            "",
            MAIL,
            MAIL,
            "RCPT TO:<bad",
            "VRFY bob",
            "EXPN x",
            "FOO",
            "QUIT x",
        ],
    },
    Script {
        name: "xforward",
        steps: &[
            EHLO,
            "XFORWARD NAME=spike.example.org ADDR=192.0.2.77 PORT=4711 PROTO=ESMTP HELO=spike SOURCE=REMOTE IDENT=ABC123",
            MAIL,
            RCPT,
            "DATA",
            "From: x\r\nTo: y\r\n\r\nforwarded\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "xclient",
        steps: &[
            EHLO,
            "XCLIENT NAME=host.example.org ADDR=192.0.2.9 PROTO=ESMTP HELO=host.example.org",
            EHLO,
            MAIL,
            "RCPT TO:<x@elsewhere.example>",
            RCPT,
            "DATA",
            "From: x\r\n\r\nremote\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "resent",
        steps: &[
            EHLO,
            MAIL,
            RCPT,
            "DATA",
            "Resent-From: r@example.net\r\nResent-To: s\r\nTo: undisclosed-recipients:;\r\nBcc: hidden@example.com\r\n\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "mime",
        steps: &[
            EHLO,
            MAIL,
            RCPT,
            "DATA",
            "Content-Type: multipart/mixed; boundary=\"b 1\"\r\nMIME-Version: 1.0\r\n\r\npre\r\n--b 1\r\nContent-Type: \
             text/plain\r\n\r\nx\r\n--b 1\r\nContent-Type: message/rfc822\r\n\r\nTo: inner\r\n\r\ny\r\n--b 1--\r\npost\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "folded-and-odd-headers",
        steps: &[
            EHLO,
            MAIL,
            RCPT,
            "DATA",
            "To: a (comment (nested)), group: b, <c@d>;,\r\n\te@f\r\nSubject: x\r\n y\r\n\r\n\r\nReceived : x\r\n\r\n.\r\n",
            "QUIT",
        ],
    },
    Script {
        name: "no-blank-line",
        steps: &[EHLO, MAIL, RCPT, "DATA", "Subject: x\r\nthis is no header\r\nnor this\r\n.\r\n", "QUIT"],
    },
];

static TIMES: LazyLock<[(Regex, &str); 7]> = LazyLock::new(|| {
    let regex = |text: &str| Regex::new(text).expect("a literal");
    [
        (
            regex(
                r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? [A-Za-z0-9 ]+ \d\d:\d\d:\d\d(?: [+-]\d{4} \([^)]*\)| \d{4})",
            ),
            "TIME",
        ),
        (regex(r"<\d{14}\."), "<STAMP."),
        (regex(r"(client_port=|after CONNECT from |:)\d{5}\b"), "${1}PORT"),
        // Where the content begins depends on the number of digits of the microseconds in the arrival time.
        (regex(r"(message_size: +\d+) +\d+"), "${1} OFFSET"),
        (regex(r"server_port=\d+"), "server_port=PORT"),
        (regex(r"delays?=[0-9./]+"), "delay"),
        (regex(r"smtp:127|service \S+:\d+"), "service"),
    ]
});

pub(crate) fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, name) in TIMES.iter() {
        text = pattern.replace_all(&text, *name).into_owned();
    }
    mask(&text, &std::collections::HashMap::new())
}

/// Replies, queue files and log of one session, masked.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    replies: Vec<String>,
    files: Vec<Vec<String>>,
    log: Vec<String>,
}

fn traces(instance: &Instance, script: &Script) -> Traces {
    let (files_before, log_before) = (instance.queue("incoming").len(), instance.log().len());
    let mut client = Client::connect(instance.smtp_port());
    let mut replies = vec![client.greeting().text()];
    let mut steps = script.steps.iter();
    while let Some(step) = steps.next() {
        let mut reply = if step.starts_with("BDAT") {
            let content = steps.next().copied().unwrap_or_default();
            client.send(format!("{step}\r\n{content}").as_bytes());
            client.read_reply()
        } else {
            client.command(step)
        };
        replies.push(reply.text());
        if *step == "DATA" && reply.code == 354 {
            client.send(steps.next().expect("content behind DATA").as_bytes());
            reply = client.read_reply();
            replies.push(reply.text());
        } else if *step == "DATA" {
            // Refused: its content, if the script has any, must not be sent as commands.
            let rest = steps.as_slice();
            if rest.first().is_some_and(|next| next.ends_with(".\r\n")) {
                steps.next();
            }
        }
    }
    drop(client);
    // Behind a filter there is a second session, of the after-filter server.
    instance.wait_for("the end of all sessions in the log", || {
        let lines = instance.log().split_off(log_before);
        let count = |start: &str| lines.iter().filter(|line| line.text.starts_with(start)).count();
        let ended = count("disconnect from");
        (ended > 0 && ended == count("connect from")).then_some(())
    });
    let files = instance.queue("incoming");
    let mut log = instance.log().split_off(log_before);
    // Two programs log at the same time: only the order of each one's own lines is a trace.
    log.retain(|line| line.program() != "master" && !line.text.contains("unable to look up public/qmgr"));
    log.sort_by(|left, right| left.ident.cmp(&right.ident));
    Traces {
        replies: replies.iter().map(|reply| masked(reply)).collect(),
        files: files[files_before..]
            .iter()
            .map(|file| file.records().iter().map(|line| masked(line)).collect())
            .collect(),
        log: log.iter().map(|line| masked(&format!("{}: {}", line.ident, line.text))).collect(),
    }
}

fn plan(suite: Suite) -> Plan {
    let mut plan = Plan::for_suite("side-by-side", suite);
    plan.set("smtpd_authorized_xclient_hosts", "127.0.0.1")
        .set("smtpd_authorized_xforward_hosts", "127.0.0.1");
    // The sessions make errors on purpose; what a pause for them costs is another test's matter.
    plan.set("smtpd_error_sleep_time", "0");
    plan
}

/// What differs, if anything: the lines of each side that the other does not have in that place.
fn difference(name: &str, ours: &Traces, theirs: &Traces) -> Option<String> {
    let files = |traces: &Traces| traces.files.iter().flatten().cloned().collect::<Vec<_>>();
    let parts = [
        ("replies", ours.replies.clone(), theirs.replies.clone()),
        ("queue files", files(ours), files(theirs)),
        ("log", ours.log.clone(), theirs.log.clone()),
    ];
    let mut shown = String::new();
    for (part, left, right) in parts {
        let lines = left.len().max(right.len());
        for number in 0..lines {
            let (left, right) = (left.get(number), right.get(number));
            if left != right {
                shown.push_str(&format!(
                    "{name}, {part}, {number}:\n  under test: {left:?}\n  Postfix:    {right:?}\n"
                ));
            }
        }
    }
    (!shown.is_empty()).then_some(shown)
}

#[test]
fn the_same_sessions_leave_the_same_traces() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (ours, theirs) = (plan(Suite::under_test()).start(), plan(Suite::Postfix).start());
    let compare = |script: &Script| difference(script.name, &traces(&ours, script), &traces(&theirs, script));
    let different: Vec<String> = SCRIPTS.iter().filter_map(compare).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_same_filtered_sessions_leave_the_same_traces() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let filtered = |suite: Suite| {
        let filter_port = free_port();
        let mut plan = plan(suite);
        let after = plan.proxied(filter_port);
        (plan.start(), ExampleFilter::start(filter_port, after))
    };
    let ((ours, _our_filter), (theirs, _their_filter)) =
        (filtered(Suite::under_test()), filtered(Suite::Postfix));
    let names = ["plain", "dots", "chunks", "xclient", "refused-recipients"];
    let compare = |script: &Script| {
        // Two servers log at the same time, so the order of lines between them is no trace.
        let (mut left, mut right) = (traces(&ours, script), traces(&theirs, script));
        left.log.sort();
        right.log.sort();
        difference(script.name, &left, &right)
    };
    let different: Vec<String> =
        SCRIPTS.iter().filter(|script| names.contains(&script.name)).filter_map(compare).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
