//! Random requests to services with random attributes, on Postfix and on the suite under test: what each command saw, and what
//! came of it.
//!
//! `POSTERN_REQUESTS` is how many, eight to a service; `POSTERN_SEED`, what they begin with.

use conformance::{Dice, Plan, Suite, require};
use nix::unistd::Uid;

use super::Stage;
use crate::addresses::number;
use crate::case_file::{Case, cut_log_line};

/// Requests that one service gets.
const OF_A_SERVICE: u64 = 8;
const USERS: &[&str] = &["nobody", "nobody", "games", "nobody:daemon", "games:nogroup"];
const MACROS: &[&str] = &[
    "client_address",
    "client_helo",
    "client_hostname",
    "client_port",
    "client_protocol",
    "domain",
    "envid",
    "extension",
    "mailbox",
    "nexthop",
    "original_recipient",
    "queue_id",
    "recipient",
    "recipient",
    "sasl_method",
    "sasl_sender",
    "sasl_username",
    "sender",
    "sender",
    "size",
    "user",
    "user",
    "nosuch",
];
const ADDRESSES: &[&str] = &[
    "bob@pipe.test",
    "Bob+Ext@Pipe.Test",
    "bob+@pipe.test",
    "+ext@pipe.test",
    "bob+a+b@pipe.test",
    "bob-x+y@pipe.test",
    "a b@pipe.test",
    "a\"b\\c@pipe.test",
    "\"quoted\"@pipe.test",
    ".dot.@pipe.test",
    "a..b@pipe.test",
    "a@b@pipe.test",
    "bob",
    "@pipe.test",
    "bob@",
    "B\u{c4}b@Pipe.T\u{cb}st",
    "owner-list@pipe.test",
    "list-request+x@pipe.test",
    "postmaster+x@pipe.test",
    "double-bounce+x@pipe.test",
    "mailer-daemon-x@pipe.test",
    "-x@pipe.test",
    "a(b)c@pipe.test",
    "a,b;c:d@pipe.test",
    "bob@[192.0.2.1]",
    "<bob@pipe.test>",
    "a\tb@pipe.test",
];
const OUTPUTS: &[&str] = &[
    "said",
    "5.1.1\\040no",
    "4.2.2\\040later",
    "2.0.0\\040fine",
    "5.7.1",
    "4.7.1\\n\\nmore",
    "\\n",
    "one\\ntwo\\r\\nthree",
    "\\303\\244\\377",
    "\\001x\\177",
    "a\\000b",
    "5.1.1x",
    "x\\040\\040",
];
const WORDS: &[&str] = &[
    "From ",
    ">From ",
    "From",
    "from ",
    ".",
    "..",
    " ",
    "\\x09",
    "\\x00",
    "\\x0d",
    "\\xff",
    "\\xc3\\xa9",
    "Subject: x",
    "Delivered-To: bob@pipe.test",
    "Return-Path: <x>",
    "word",
    ":",
];

#[test]
fn as_postfix() {
    require!(Uid::effective().is_root(), "commands run as other users");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let count = number("POSTERN_REQUESTS", 64);
    let services: Vec<String> = (0..count.div_ceil(OF_A_SERVICE)).map(|_| attributes(&mut dice)).collect();
    let options = ["recipient_delimiter=+-".to_owned()];
    let stages = [Suite::Postfix, Suite::under_test()]
        .map(|suite| Stage::of(Plan::for_suite("pipe-random", suite), &options, services.iter().cloned()));
    let mut failures = String::new();
    for number in 0..count {
        let service = &services[usize::try_from(number / OF_A_SERVICE).expect("small")];
        let mut case = Case::default();
        case.script = script(&mut dice, service);
        let [theirs, ours] = stages
            .each_ref()
            .map(|stage| stage.play(&case).into_iter().map(cut_log_line).collect::<Vec<_>>());
        if theirs != ours {
            failures += &format!("== {number}\nPostfix {theirs:#?}\nhere {ours:#?}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// What stands behind the program's name in master.cf.
fn attributes(dice: &mut Dice) -> String {
    let mut words = vec![format!("user={}", dice.one_of(USERS))];
    if dice.percent(80) {
        let flags: String = "BDFORXhqu.>".chars().filter(|_| dice.percent(25)).collect();
        words.push(format!("flags={flags}"));
    }
    for (percent, word) in [
        (15, "null_sender="),
        (10, "null_sender=null@x.test"),
        (10, "{null_sender=a b@X.test}"),
        (10, "size=0"),
        (10, "size=100"),
        (5, "size=99"),
        (10, "eol=\\r\\n"),
        (5, "eol="),
        (5, "eol=x\\0y"),
        (10, "directory=/tmp"),
        (3, "directory=/nonexistent"),
    ] {
        if dice.percent(percent) {
            words.push(word.to_owned());
        }
    }
    words.push(format!("argv={}", if dice.percent(2) { "/nonexistent/command" } else { "SEE" }));
    for _ in 0..dice.below(6) {
        words.push(argument(dice));
    }
    let mut deeds = deeds(dice);
    if words.iter().any(|word| word.starts_with("flags=") && word.contains('F')) {
        // There is a date in the first line.
        deeds.iter_mut().for_each(|deed| *deed = deed.replace("do=bytes", "do=read"));
    }
    words.extend(deeds);
    words.join(" ")
}

fn argument(dice: &mut Dice) -> String {
    let name = |dice: &mut Dice| {
        // One that there is not ends all of them.
        let name = *dice.one_of(MACROS);
        if name == "nosuch" && dice.percent(80) { "user" } else { name }
    };
    let (one, two) = (name(dice), name(dice));
    match dice.below(12) {
        0 => format!("${one}"),
        1 => format!("$({one})"),
        2 => format!("x${{{one}}}y"),
        3 => format!("${{{one}}}-${{{two}}}"),
        4 => format!("{{{one} ${{{one}}}, ${two}}}"),
        5 => "$$x".to_owned(),
        6 => "plain".to_owned(),
        _ => format!("${{{one}}}"),
    }
}

/// What the command does.
fn deeds(dice: &mut Dice) -> Vec<String> {
    let mut deeds = Vec::new();
    deeds.push(
        (*dice.one_of(&["do=read", "do=read", "do=bytes", "do=count", "do=none", "do=blind"])).to_owned(),
    );
    if dice.percent(40) {
        deeds.push(format!("{{do={}:{}}}", dice.one_of(&["out", "err"]), dice.one_of(OUTPUTS)));
    }
    if dice.percent(10) {
        deeds.push(format!("do=many:{}", dice.below(6000)));
    }
    if dice.percent(5) {
        deeds.push((*dice.one_of(&["do=close", "do=closein", "do=all"])).to_owned());
    }
    match dice.below(10) {
        0 => deeds.push(format!("do=die:{}", dice.one_of(&["9", "15", "1", "6", "13"]))),
        1 | 2 => deeds.push(format!("do=status:{}", 64 + dice.below(16))),
        3 => deeds.push(format!("do=status:{}", dice.below(256))),
        _ => {}
    }
    deeds
}

fn script(dice: &mut Dice, service: &str) -> Vec<String> {
    let mut lines = vec![format!("$ {service}")];
    let flags = *dice.one_of(&["3", "3", "3", "2", "1", "515", "1027", "8195"]);
    lines.push(format!("> {flags} {}", dice.one_of(&["pipe.test", "Next.Hop:25", "[x]", "a b", "x@y"])));
    for _ in 0..1 + dice.below(4) {
        let original = *dice.one_of(&["", "", "Orig@Pipe.Test", "a b@x.test", "orig+x"]);
        let orcpt = *dice.one_of(&["", "", "rfc822;bob@pipe.test", "x;y"]);
        let notify = *dice.one_of(&["0", "0", "1", "2", "4", "8", "14"]);
        lines.push(format!("+ {}|{original}|{orcpt}|{notify}", dice.one_of(ADDRESSES)));
    }
    for (percent, name, values) in [
        (
            60,
            "sender",
            &["", "", "Ann@Example.Net", "a b@x.test", "ann", "a\"b@x", "\u{e9}@x.test", "owner-x+y@x.test"]
                [..],
        ),
        (20, "envelope_id", &["id", "a b", "+41"]),
        (20, "log_client_name", &["client.test", "unknown", "CLIENT.Test"]),
        (20, "log_client_address", &["192.0.2.7", "2001:db8::1", "unknown"]),
        (20, "log_client_port", &["4711", "unknown"]),
        (20, "log_protocol_name", &["ESMTP", "local"]),
        (20, "log_helo_name", &["he lo", "Helo.Test"]),
        (10, "sasl_method", &["PLAIN"]),
        (10, "sasl_username", &["ann", "a b@Sasl.Test"]),
        (10, "sasl_sender", &["ann@sasl.test"]),
        (20, "log_ident", &["LOGIDENT"]),
        (50, "size", &["0", "99", "100", "101", "99999"]),
        (20, "ret_flags", &["0", "1", "2"]),
        (20, "encoding", &["7bit", "8bit"]),
    ] {
        if dice.percent(percent) {
            lines.push(format!("= {name} {}", dice.one_of(values)));
        }
    }
    for _ in 0..dice.below(10) {
        let text = match dice.below(20) {
            0 => "x".repeat(usize::try_from(dice.below(9000)).expect("small")),
            1 => "From long ".repeat(usize::try_from(dice.below(900)).expect("small")),
            _ => (0..dice.below(4)).map(|_| *dice.one_of(WORDS)).collect(),
        };
        lines.push(format!("{} {text}", if dice.percent(85) { ":" } else { ":+" }));
    }
    if dice.percent(3) {
        lines.push(format!("! {} x", dice.one_of(&["R", "Z", "X", "E", "w", "p"])));
    }
    lines
}
