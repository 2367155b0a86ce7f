//! Random logs, messages and requests, on Postfix and on the suite under test: all that comes of them is the same.
//!
//! `POSTERN_BOUNCES` is how many; `POSTERN_SEED`, what they begin with.

use std::collections::HashMap;

use conformance::{Dice, Suite, require};
use nix::unistd::Uid;

use crate::addresses::number;
use crate::addresses::records;

use super::stage::{Stage, message, request};

const ADDRESSES: &[&[u8]] = &[
    b"bob@remote.test",
    b"a b@remote.test",
    b"\"q\"@remote.test",
    b"a..b@remote.test",
    b"@remote.test",
    b"nobody",
    b"",
    b"a@b@remote.test",
    "x\u{e9}@\u{e9}.test".as_bytes(),
    b"x\xff@remote.test",
    b"a\nb@remote.test",
    b"@r,@s:u v@remote.test",
    b"BOB@Remote.test",
    b"a\\b@remote.test",
    b"(c)@remote.test",
    b"a@[192.0.2.1]",
    b"o=w@remote.test",
    b"a@x>: y",
    b"averyveryveryverylonglocalpartthatgoesonandon@averyveryveryverylongdomainthatgoesonandon.test",
];

#[test]
fn as_postfix() {
    require!(Uid::effective().is_root(), "queue files belong to the mail owner");
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    for options in [
        &["notify_classes=bounce, 2bounce, delay", "enable_threaded_bounces=yes"][..],
        &["smtputf8_enable=no", "bounce_size_limit=200", "mail_name=Mail (x)"],
        &[
            "notify_classes=bounce",
            "backwards_bounce_logfile_compatibility=no",
            "header_from_format=obsolete",
        ],
    ] {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let stages = [Stage::of(Suite::Postfix, &options), Stage::of(Suite::under_test(), &options)];
        for _ in 0..number("POSTERN_BOUNCES", 60) / 3 {
            let play = Play::new(&mut dice);
            let [theirs, ours] = stages.each_ref().map(|stage| play.on(stage));
            let differ = theirs.iter().zip(&ours).find(|(theirs, ours)| theirs != ours);
            assert!(
                theirs == ours,
                "{differ:?}, of {} and {} lines: {options:?} {play:?}",
                theirs.len(),
                ours.len()
            );
        }
    }
}

struct Play {
    message: Option<Vec<u8>>,
    log: Option<Vec<u8>>,
    service: &'static str,
    requests: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let requests: Vec<String> = self.requests.iter().map(|request| text(request)).collect();
        write!(
            f,
            "{}: {:?} {:?}",
            self.service,
            self.message.as_deref().map(text),
            self.log.as_deref().map(text)
        )?;
        write!(f, " {requests:?}")
    }
}

impl Play {
    fn new(dice: &mut Dice) -> Play {
        let message = dice.percent(90).then(|| random_message(dice));
        let mut offsets = vec!["0".to_owned(), "-1".to_owned()];
        offsets
            .extend(message.iter().flat_map(|message| recipients(message)).map(|offset| offset.to_string()));
        let service = *dice.one_of(&["bounce", "bounce", "defer", "trace"]);
        let command = *dice.one_of(&["flush", "flush", "flush", "warn", "verp", "one", "trace", "trace"]);
        let service = if command == "one" { "bounce" } else { service };
        let mut requests = Vec::new();
        let log = dice.percent(25).then(|| random_log(dice));
        if log.is_none() {
            let count = *dice.one_of(&[0, 1, 1, 2, 3, 8]);
            requests.extend((0..count).map(|_| request("append", &about_a_recipient(dice, &offsets))));
        }
        let mut fields = about_a_recipient(dice, &offsets);
        fields.extend(about_the_message(dice));
        requests.push(request(command, &fields));
        Play { message, log, service, requests }
    }

    fn on(&self, stage: &Stage) -> Vec<String> {
        let before = stage.instance.log().len();
        stage.start(self.message.as_deref());
        if let Some(log) = &self.log {
            stage.log_file(self.service, log);
        }
        let mut lines: Vec<String> =
            self.requests.iter().map(|request| stage.ask(self.service, request)).collect();
        lines.extend(stage.outcome(before));
        lines
    }
}

fn text(dice: &mut Dice) -> Vec<u8> {
    const ODD: &[&[u8]] = &[
        b"",
        b" x ",
        b"a  b",
        b"tab\there",
        b"two\n\nlines",
        b"\xc3\xa9 \xff",
        b"a=b",
        b"=",
        b"recipient=x",
    ];
    if dice.percent(20) {
        return dice.one_of(ODD).to_vec();
    }
    let count = *dice.one_of(&[1, 2, 8, 30]);
    let words = (0..count).map(|_| {
        let length = *dice.one_of(&[1_usize, 3, 8, 30]);
        let word: String =
            (0..length).map(|_| *dice.one_of(&['a', 'b', ':', '<', '>', ';', '=', '.'])).collect();
        word
    });
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

fn field(fields: &mut HashMap<String, Vec<u8>>, name: &str, value: impl AsRef<[u8]>) {
    fields.insert(name.to_owned(), value.as_ref().to_vec());
}

/// Where the recipients of a message stand.
fn recipients(message: &[u8]) -> Vec<usize> {
    let mut offset = 0;
    let mut found = Vec::new();
    for (kind, data) in records(message) {
        found.extend((kind == b'R').then_some(offset));
        offset += 1 + data.len() + if data.len() < 128 { 1 } else { 2 };
    }
    found
}

fn about_a_recipient(dice: &mut Dice, offsets: &[String]) -> HashMap<String, Vec<u8>> {
    let mut fields = HashMap::new();
    let address = *dice.one_of(ADDRESSES);
    field(&mut fields, "recipient", address);
    let original = if dice.percent(50) { address } else { *dice.one_of(ADDRESSES) };
    field(&mut fields, "original_recipient", original);
    field(&mut fields, "offset", dice.one_of(offsets));
    field(
        &mut fields,
        "dsn_orig_rcpt",
        dice.one_of(&[&b""[..], b"rfc822;bob@remote.test", b"utf-8;\xc3\xa9", b"x"]),
    );
    field(
        &mut fields,
        "notify_flags",
        dice.one_of(&["0", "0", "1", "2", "4", "8", "12", "99", "4294967295"]),
    );
    field(&mut fields, "status", dice.one_of(&["5.1.1", "4.4.1", "2.0.0", "", "x"]));
    field(&mut fields, "diag_type", dice.one_of(&["", "smtp", "x-unix"]));
    field(&mut fields, "diag_text", text(dice));
    field(&mut fields, "mta_type", dice.one_of(&["", "dns"]));
    field(&mut fields, "mta_mname", dice.one_of(&["", "mx.remote.test"]));
    field(&mut fields, "action", dice.one_of(&["failed", "delayed", "delivered", "relayed", ""]));
    field(&mut fields, "reason", text(dice));
    fields
}

fn about_the_message(dice: &mut Dice) -> HashMap<String, Vec<u8>> {
    let mut fields = HashMap::new();
    let senders: &[&[u8]] = &[b"ann@example.net", b"", b"double-bounce@mx.example.com"];
    let sender = if dice.percent(60) { senders[0] } else { *dice.one_of(&[senders, ADDRESSES].concat()) };
    field(&mut fields, "sender", sender);
    field(&mut fields, "flags", dice.one_of(&["0", "0", "1", "2", "3", "512", "1024"]));
    field(&mut fields, "queue_name", dice.one_of(&["active", "active", "active", "incoming", "nosuch"]));
    field(&mut fields, "encoding", dice.one_of(&["", "7bit", "8bit", "odd"]));
    field(&mut fields, "options", dice.one_of(&["0", "0", "1", "2", "4", "8", "15", "16"]));
    field(&mut fields, "envelope_id", dice.one_of(&[&b""[..], b"envid", b"\xc3\xa9\x01"]));
    field(&mut fields, "ret_flags", dice.one_of(&["0", "1", "2"]));
    field(&mut fields, "verp_delimiters", dice.one_of(&["+=", "-=", "=="]));
    fields
}

fn random_message(dice: &mut Dice) -> Vec<u8> {
    let mut fields = HashMap::new();
    let sender = if dice.percent(50) { &b"ann@example.net"[..] } else { *dice.one_of(ADDRESSES) };
    field(&mut fields, "sender", if dice.percent(5) { b"none" } else { sender });
    field(&mut fields, "time", dice.one_of(&["1795330952 5", "1795330952", "0", "x"]));
    let lines: &[&str] = &[
        "Subject: x",
        "Message-ID: <m1@x>",
        "Message-Id: bad",
        " folded",
        "A : b",
        "no header",
        "X: \u{e9}",
    ];
    let count = dice.below(5);
    let header: Vec<&str> = (0..count).map(|_| *dice.one_of(lines)).collect();
    field(&mut fields, "header", header.join("|"));
    field(&mut fields, "body", dice.one_of(&["body", "300", "2500"]));
    if dice.percent(20) {
        field(&mut fields, "size", dice.one_of(&["0", "-3", "50000", "50001"]));
    }
    if dice.percent(50) {
        field(&mut fields, "id", dice.one_of(&["<a@b>", "bad", "<a", "<a@b> x", "<<a>>", " <a>"]));
    }
    message(&fields)
}

fn random_log(dice: &mut Dice) -> Vec<u8> {
    const NAMES: &[&str] = &[
        "recipient=",
        "original_recipient=",
        "dsn_orig_rcpt=",
        "notify_flags=",
        "status=",
        "action=",
        "diag_type=",
        "diag_text=",
        "mta_type=",
        "mta_mname=",
        "reason=",
        "Reason=",
        "recipient = ",
        " reason=",
        "<a@b>: ",
        "<>: ",
        "<a>:",
        "x",
    ];
    let mut log = Vec::new();
    for _ in 0..dice.below(6) {
        for _ in 0..dice.below(7) {
            log.extend_from_slice(dice.one_of(NAMES).as_bytes());
            let value = match dice.below(3) {
                0 => text(dice),
                _ => dice
                    .one_of(&[&b""[..], b"1", b" 4 ", b"4x", b"8", b"a@b", b"\xc3\xa9", b"\xff\x01"])
                    .to_vec(),
            };
            log.extend(value.into_iter().map(|byte| if byte == b'\n' { b' ' } else { byte }));
            log.extend_from_slice(dice.one_of::<&[u8]>(&[b"\n", b"\n", b"\n", b"\r\n", b""]));
        }
        log.extend_from_slice(dice.one_of::<&[u8]>(&[b"\n", b"\n\n", b""]));
    }
    log
}
