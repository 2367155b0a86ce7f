//! cleanup behind its own socket: raw record streams on Postfix and on the suite under test give the same answers, the
//! same queue files record for record, and the same log lines.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::time::Duration;

use conformance::{Instance, Plan, Suite, require};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use regex_lite::Regex;

pub(crate) const BOUNCE: u32 = 1;
pub(crate) const FILTER: u32 = 2;
pub(crate) const BCC: u32 = 16;
pub(crate) const MAP: u32 = 32;
pub(crate) const AUTODETECT: u32 = 512;
/// What smtpd sends, less Milters and SMTP replies.
pub(crate) const FLAGS: u32 = FILTER | BCC | MAP;

/// A record: type and data.
pub(crate) fn record(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut rest = data.len();
    loop {
        let group = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        bytes.push(if rest > 0 { group | 0x80 } else { group });
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(data);
    bytes
}

/// Records from lines `T text`, with the escapes of a byte string.
pub(crate) fn records(text: &str) -> Vec<u8> {
    text.lines()
        .filter(|line| !line.is_empty())
        .flat_map(|line| record(line.as_bytes()[0], &unescape(line.get(2..).unwrap_or_default())))
        .collect()
}

pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match (byte, byte == b'\\') {
            (_, true) => {
                let digits = [rest.next().expect("two digits"), rest.next().expect("two digits")];
                let digits = std::str::from_utf8(&digits).expect("ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
            }
            (byte, false) => bytes.push(byte),
        }
    }
    bytes
}

const ENVELOPE: &str = "T 1795327907 5\nA rewrite_context=local\nS alice@example.net\nR bob@example.org\n";

/// A whole message with these lines of content below `Received:`.
fn message(content: &str) -> Vec<u8> {
    let mut stream = records(ENVELOPE);
    stream.extend(record(b'M', b""));
    stream.extend(record(b'N', b"Received: by x; now"));
    for line in content.split('\n') {
        stream.extend(record(b'N', &unescape(line)));
    }
    stream.extend(records("X\nE"));
    stream
}

/// What became of one stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) records: Vec<String>,
}

static MASKS: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
    let regex = |text: &str| Regex::new(text).expect("a literal");
    [
        (regex(r"<\d{14}\."), "<STAMP."),
        (regex(r"create_time: .*"), "create_time"),
        (regex(r"delays?=[0-9./]+"), "delay"),
    ]
});

pub(crate) fn masked(text: &str, queue_id: &str) -> String {
    let text = text.replace(queue_id, "QID");
    MASKS.iter().fold(text, |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned())
}

/// Reads one list of the null encoding.
pub(crate) fn list(stream: &mut UnixStream) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).expect("a whole list");
        if byte[0] != 0 {
            word.push(byte[0]);
            continue;
        }
        // An empty name ends the list; an empty value does not.
        if word.is_empty() && words.len() % 2 == 0 {
            return words;
        }
        words.push(String::from_utf8_lossy(&std::mem::take(&mut word)).into_owned());
    }
}

/// The queue ID and what became of the stream.
pub(crate) fn submit(instance: &Instance, flags: u32, stream: &[u8]) -> (String, Outcome) {
    let socket = instance.queue_directory().join("public/cleanup");
    let mut client = UnixStream::connect(&socket).expect("cleanup listens");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let announcement = list(&mut client);
    assert_eq!(announcement[..3], ["protocol", "cleanup_protocol", "queue_id"]);
    let queue_id = &announcement[3];
    let mut request = format!("flags\0{flags}\0\0").into_bytes();
    request.extend_from_slice(stream);
    client.write_all(&request).expect("cleanup reads all");
    client.shutdown(std::net::Shutdown::Write).expect("half a connection");
    let reply = list(&mut client);
    let mut files = ["incoming", "hold"].into_iter().flat_map(|queue| instance.queue(queue));
    let file = files.find(|file| file.queue_id == *queue_id);
    let records = file.map(|file| {
        assert!(file.is_complete(), "{queue_id}");
        file.records().iter().map(|line| masked(line, queue_id)).collect()
    });
    let outcome = Outcome {
        status: reply.get(1).cloned().unwrap_or_default(),
        reason: reply.get(3).cloned().unwrap_or_default(),
        records: records.unwrap_or_default(),
    };
    (queue_id.clone(), outcome)
}

/// Cleanup's log lines about one message.
fn lines_about(instance: &Instance, queue_id: &str) -> Vec<String> {
    let lines = instance.log_of("cleanup");
    lines.iter().filter(|line| line.contains(queue_id)).map(|line| masked(line, queue_id)).collect()
}

/// Compares all cases on both; fails with every difference.
fn compare(configure: impl Fn(&mut Plan), cases: &[(u32, String, Vec<u8>)]) {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let start = |suite: Suite| {
        let mut plan = Plan::for_suite("cleanup", suite);
        configure(&mut plan);
        plan.start()
    };
    let (ours, theirs) = (start(Suite::under_test()), start(Suite::Postfix));
    let mut different = Vec::new();
    let mut ids = Vec::new();
    for (flags, name, stream) in cases {
        let ((our_id, left), (their_id, right)) =
            (submit(&ours, *flags, stream), submit(&theirs, *flags, stream));
        if left != right {
            different.push(format!("{name}:\nunder test: {left:#?}\nPostfix:    {right:#?}"));
        }
        ids.push((name, our_id, their_id));
    }
    // The log's service writes behind the programs that log.
    for instance in [&ours, &theirs] {
        submit(instance, FLAGS & !MAP, &message("Message-Id: <the-last-one@example.net>\n\n"));
        instance.wait_for_log("message-id=<the-last-one@example.net>");
    }
    for (name, our_id, their_id) in ids {
        let (left, right) = (lines_about(&ours, &our_id), lines_about(&theirs, &their_id));
        if left != right {
            different.push(format!("{name}:\nunder test: {left:#?}\nPostfix:    {right:#?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn cases(texts: &[&str], stream: impl Fn(&str) -> Vec<u8>) -> Vec<(u32, String, Vec<u8>)> {
    texts.iter().map(|text| (FLAGS, (*text).to_owned(), stream(text))).collect()
}

const CONTENT: &str = "M\nN Received: by x; now\nN Subject: s\nN\nN body\nX\n";

#[test]
fn envelopes() {
    let texts = [
        "T 1795327907 5\nS a@example.net\n{}E",
        "T 1795327907 5\nR b@example.org\n{}E",
        "S a@example.net\nR b@example.org\n{}E",
        "R b@example.org\n{}E",
        "T x\nS a@example.net\nR b@example.org\n{}E",
        "T 1795327907 5\nS a@example.net\nQ x\nR b@example.org\n{}E",
        "T 1795327907 5\nS a@example.net\nR b@example.org\n{}Q x\nE",
        "T 1795327907 5\nS a@example.net\nR b@example.org\n{}p 0\nE",
        "w 0\nT 1795327907 5\nS a@example.net\nR b@example.org\n{}E",
        "T 1795327907 5\nS a@example.net\nS b@example.net\nR b@example.org\n{}E",
        "T 1795327907 5\nS a@example.net\nR b@example.org\n{}",
        "T 1795327907 5\nS a@example.net\n{}R c@example.org\nE",
        "T 1795327907 5\nS a@example.net\nR b@example.org\n{}R c@example.org\nA notify_flags=1\nf 8\nE",
        "T 1795327907 5\nF Al Q. \"Ice\"\nA log_client_name=x\nS joe\nA notify_flags=6\nA dsn_orig_rcpt=rfc822;B\nR bob\n\
         O orig\nR carol\nA encoding=8bit\nR \nR al ice@x\nR BOB\n{}L smtp:x\n> r@example.org\nE",
        "T 1795327907 5\nS \nV +=\nR b@example.org\n{}E",
        "T 1795327907 5\nS a@example.net\nV +=\nW 5\nA foo=\nA bar\nR b@example.org\n{}E",
        "T 1795327907 5\nS a@example.net\nA notify_flags=3\nA ret_flags=1\nA envelope_id=x y\nR b@example.org\n{}E",
        "T 1795327907 5\nS a@example.net\nA rewrite_context=zz\nR b@example.org\n{}E",
        "m 0\nT 1795327907 5\nS a@b\nR b@example.org\nM\nN Received: x\nN From: c\nN Cc: a@b\nN\nN body\nX\nR c@d\nE",
        "f 64\nT 1795327907 5\nS a@example.net\nR b@example.org\n{}E",
        "T 1795327907 5\nS mailer-daemon\nR b@example.org\n{}E",
        "C 1 2 3 4 5 6\nT 1795327907 5\nK x\nI y\nS a@example.net\nO x\nD b@example.org\nR b@example.org\n{}E",
    ];
    let mut all = cases(&texts, |text| records(&text.replace("{}", CONTENT)));
    let many: String = (0..120).map(|n| format!("A a{n}=1\n")).collect();
    let many = format!("T 1795327907 5\n{many}S a@example.net\nR b@example.org\n{CONTENT}E");
    all.push((FLAGS, "attributes".into(), records(&many)));
    let utf8 = "T 1795327907 5\nS al\\c3\\a9@example.net\nR b\\c3\\a9@example.org\n";
    all.push((FLAGS | AUTODETECT, "utf8".into(), records(&format!("{utf8}{CONTENT}E"))));
    compare(|_| {}, &all);
}

#[test]
fn headers() {
    let texts = [
        "",
        "\n",
        "no header",
        " continued\n\nbody",
        "Subject: x",
        "Subject : x\nX\\09: y\n\nbody",
        "A: b\\00c\n d\\00\nE\\00: f\n\nx\\00y",
        "To: joe, (c) jim (d), \"x\" (c1) <joe> (c2)\nCc: g: a, b;, c d\nFrom: a <joe> b <jim>\n\nx",
        "To: undisclosed-recipients:;\nSender: <@a,@b:c>\nReply-To: a!b, c%d, \"e f\"\nErrors-To: x; y\n\n",
        "To: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, c, d@example.org, e\n",
        "Message-Id:  <a@b>  c\nDate: x\nFrom: y\nBcc: z\nReturn-Path: <q>\nContent-Length: 5\n\n",
        "Resent-From: joe\nBcc: x\nResent-Bcc: y\n\n",
        "Resent-To: joe\nResent-Message-Id: <x>\nMessage-Id: <y>\n\n",
        "Content-Transfer-Encoding: 8BIT\nSubject: \\e9\n\n\\e9",
        "Content-Transfer-Encoding: 8bit \n\n",
        "X: a\\0db\\0a\n\nc\\0dd",
    ];
    let mut all = cases(&texts, message);
    for count in [48, 49, 60] {
        let received = "Received: x\n".repeat(count);
        all.push((FLAGS, format!("{count} hops"), message(&format!("{received}\nx"))));
    }
    for length in [2047, 2048, 2049, 5000, 102_399, 102_500] {
        let long = "x".repeat(length);
        all.push((FLAGS, format!("long {length}"), message(&format!("A: {long}\nB: c\n\n{long}"))));
        let folded = "A: b\n".to_owned() + &" cccccccc\n".repeat(length / 10) + "B: c\n\n";
        all.push((FLAGS, format!("folded {length}"), message(&folded)));
    }
    let no_received = records(&format!("{ENVELOPE}M\nN A: b\nN\nX\nE"));
    all.push((FLAGS, "no Received".into(), no_received));
    compare(|_| {}, &all);
    compare(
        |plan| {
            plan.set("remote_header_rewrite_domain", "domain.invalid");
            plan.set("always_bcc", "archive@host.example.com").set("delay_warning_time", "4h");
            plan.set("undisclosed_recipients_header", "To: undisclosed-recipients:;");
            plan.set("masquerade_domains", "!x.example.com example.com").set("header_size_limit", "100");
            plan.set("masquerade_exceptions", "root").set("message_drop_headers", "subject, x");
        },
        &all,
    );
}

/// A list as any other: tables, files, `!`; one that fails defers the message, and the log says so.
#[test]
fn masquerade_exceptions_are_a_list() {
    let addresses = ["a", "root", "Root", "al ice", "joe", "\\c3\\a4", ""];
    let mut texts = Vec::new();
    for (first, second) in addresses.iter().zip(addresses.iter().cycle().skip(1)) {
        texts.push(format!("S {first}@x.example.com\nR {second}@x.example.com\n{{}}R z@y.example.com\nE"));
        texts.push(format!("S x\nR y\nM\nN Received: x\nN From: q, \"{first}\"@x.example.com\nN\nX\nE"));
        texts.push(format!("S x\nR y\nM\nN Received: x\nN Cc: {second} <{first}@x.example.com>, q\nN\nX\nE"));
    }
    texts.push("S \nR \n{}E".to_owned());
    let mut all: Vec<_> = [FLAGS, FLAGS & !MAP, FLAGS | BOUNCE]
        .into_iter()
        .flat_map(|flags| {
            texts.iter().map(move |text| {
                let stream = format!("T 1795327907 5\n{}", text.replace("{}", CONTENT));
                (flags, format!("{flags} {text}"), records(&stream))
            })
        })
        .collect();
    all.push((FLAGS, "bcc".to_owned(), message("A: b\n\n")));
    let (envelope, headers) = ("envelope_sender, envelope_recipient", "header_sender, header_recipient");
    let all_classes = format!("{envelope}, {headers}");
    for (exceptions, classes) in [
        ("root, joe !joe", &*all_classes),
        ("!root inline:{root=x,{\"al ice\"=y},a=}", &all_classes),
        ("a fail:x", headers),
        ("!fail:x", envelope),
        ("regexp:{{/^[ar]/ x}}", &all_classes),
        ("joe \u{e4}", &all_classes),
    ] {
        compare(
            |plan| {
                plan.set("masquerade_domains", "example.com").set("always_bcc", "joe@z.example.com");
                plan.set("masquerade_exceptions", exceptions).set("masquerade_classes", classes);
            },
            &all,
        );
    }
}

#[test]
fn mime() {
    let bodies = [
        "pre : 1\n--b\nA : 1\n\nB : 2\n--b\nC : 3\n\nD : 4\n--b--\nE : 5",
        "--b\nContent-Type: message/rfc822\n\nA : 1\nTo : joe\n\nB : 2\n--b\n\nC : 1\n--b--\nD\\e9",
        "--b\nContent-Transfer-Encoding: 8bit\n\n\\e9\n--b\nContent-Transfer-Encoding: base64\n\n\\e9\n--b\n\n\\e9",
    ];
    let types = [
        "multipart/mixed; boundary=b",
        "multipart/digest; x=y; Boundary=\"b\"",
        "multipart; boundary=b; boundary=c",
        "multipart/mixed; \"boundary\"=b",
        "message/rfc822",
        "message/partial\nContent-Transfer-Encoding: 8bit",
        "multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64",
        "text/plain; boundary=b",
    ];
    let mut all = Vec::new();
    for kind in types {
        for body in bodies {
            all.push((FLAGS, kind.to_owned(), message(&format!("Content-Type: {kind}\n\n{body}"))));
        }
    }
    for count in 1..7 {
        let nested: String = (0..count)
            .map(|level| format!("Content-Type: multipart/x; boundary=b{level}\n\n--b{level}\n"))
            .collect();
        all.push((FLAGS, format!("nested {count}"), message(&format!("{nested}A : b\n\nc\n--b0\nB : c"))));
    }
    compare(|_| {}, &all);
    compare(
        |plan| {
            plan.set("strict_8bitmime", "yes").set("strict_mime_encoding_domain", "yes");
            plan.set("mime_nesting_limit", "2").set("mime_boundary_length_limit", "20");
        },
        &all,
    );
}

#[test]
fn a_message_that_grows_too_large_is_refused() {
    let mut content = String::from("A: b\n\n");
    content.push_str(&"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(20_000));
    let all = [(FLAGS, "too large".to_owned(), message(&content))];
    compare(
        |plan| {
            plan.set("message_size_limit", "1000000");
        },
        &all,
    );
}

#[test]
fn sigterm_removes_the_file_in_progress_and_no_other() {
    let instance = Plan::new("cleanup-sigterm").start();
    let (done, _) = submit(&instance, FLAGS, &message("Message-Id: <done@example.net>\n\n"));
    let socket = instance.queue_directory().join("public/cleanup");
    let mut client = UnixStream::connect(&socket).expect("cleanup listens");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let progress = list(&mut client)[3].clone();
    let mut request = format!("flags\0{FLAGS}\0\0").into_bytes();
    request.extend(records(ENVELOPE));
    request.extend(record(b'M', b""));
    request.extend(record(b'N', b"Subject: one of many").repeat(10_000));
    client.write_all(&request).expect("cleanup reads all");
    let ids = || instance.queue("incoming").into_iter().map(|file| file.queue_id).collect::<Vec<_>>();
    assert!(ids().contains(&progress) && ids().contains(&done), "{:?}", ids());
    let processes = instance.processes("cleanup");
    for pid in &processes {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGTERM);
    }
    let answer = client.read(&mut [0; 100]);
    assert!(!matches!(answer, Ok(1..)), "{answer:?}");
    instance.wait_for("end of the file", || (ids() == [done.clone()]).then_some(()));
    instance.wait_for_log("exit status 15");
}
