//! What is worth a case of its own.

use conformance::{Plan, Suite, require};
use nix::unistd::Uid;

use super::{Configuration, Message, Side, compare, quoted};
use crate::cleanup::{BCC, BOUNCE, FLAGS, MAP};

const TABLES: [(&str, &str); 3] = [
    ("canonical_maps", "proxy:texthash:canonical"),
    ("sender_canonical_maps", "proxy:texthash:sender"),
    ("recipient_canonical_maps", "proxy:texthash:recipient"),
];

#[test]
fn canonical() {
    let values = [
        ("a@out.test", "b@out.test"),
        ("b@out.test", "c@out.test"),
        ("loop@x.test", "pool@x.test"),
        ("pool@x.test", "loop@x.test"),
        ("multi@x.test", "m1@x.test, m2@x.test"),
        ("ext@x.test", "exto@y.test"),
        ("@dom.test", "@dom2.test"),
        ("blank@x.test", " "),
        ("empty@x.test", ""),
        ("null@x.test", "<>"),
        ("comma@x.test", ","),
        ("\"q r\"@x.test", "\"t u\"@x.test"),
        ("u", "local@z.test"),
        ("self@x.test", "SELF@x.test"),
        ("first@x.test", "then@retry.test"),
    ];
    let configuration = Configuration::new(&TABLES, &values);
    let mut messages = Vec::new();
    let addresses = [
        "a@out.test",
        "loop@x.test",
        "multi@x.test",
        "ext+foo@x.test",
        "u+e@dom.test",
        "blank@x.test",
        "empty@x.test",
        "null@x.test",
        "comma@x.test",
        "q r@x.test",
        "u+e@local.test",
        "self@x.test",
        "x@retry.test",
        "first@x.test",
        "",
    ];
    for address in addresses {
        let recipient = format!("R {address}");
        let header = format!("{}, z@y.test", quoted(address));
        let (from, to) = (format!("From: {header}"), format!("Cc: {header}"));
        let whole = format!("Reply-To: \"p\" <{}> (c)", quoted(address));
        messages.push(Message::new("s@y.test", &["R r@y.test"], &[&whole]));
        let message = Message::new(address, &["R r@y.test"], &[]);
        messages.extend([message.clone().with_flags(FLAGS & !MAP), message]);
        messages.push(Message::new("s@y.test", &[&recipient, "R r@y.test"], &[]));
        messages.push(Message::new("s@y.test", &["R r@y.test"], &[&from, &to, "To: z"]));
        messages.push(Message::new("s@y.test", &[&recipient], &[&to]).with_flags(FLAGS | BOUNCE));
    }
    compare(&configuration, &messages);
}

const ALIASES: [(&str, &str); 4] = [
    ("canonical_maps", "proxy:texthash:canonical"),
    ("virtual_alias_maps", "proxy:texthash:virtual"),
    ("sender_bcc_maps", "proxy:texthash:sbcc"),
    ("recipient_bcc_maps", "proxy:texthash:rbcc"),
];

const ALIAS_VALUES: [(&str, &str); 31] = [
    ("virtual v1@x.test", "v2@x.test, v3@x.test"),
    ("virtual v2@x.test", "v4@x.test"),
    ("virtual va@x.test", "vb@x.test"),
    ("virtual vb@x.test", "va@x.test"),
    ("virtual vs@x.test", "vs@x.test, vt@x.test"),
    ("virtual vt@x.test", "vs@x.test"),
    ("virtual vp@x.test", "v1@x.test, x@retry.test, v2@x.test"),
    ("virtual vn@x.test", "<>, a@x"),
    ("virtual e@x.test", "f@y.test, @z.test, g h@w"),
    ("virtual mailer-daemon", "root@q"),
    ("virtual \"\"", "null@q"),
    ("virtual w1@x.test", "w2, w3@x.test"),
    ("virtual w3@x.test", "w1@x.test, w4@x.test"),
    ("virtual dup@x.test", "A@x, a@x, b@x"),
    ("virtual self@x.test", "SELF@x.test"),
    ("virtual self2@x.test", "self2@x.test, other@x.test"),
    ("virtual comma@x.test", ","),
    ("virtual d1@x.test", "d2@x.test"),
    ("virtual d2@x.test", "d3@x.test"),
    ("virtual d3@x.test", "d4@x.test"),
    ("virtual long@x.test", "a-long-address-of-more-than-40-characters@x.test"),
    ("canonical null@x.test", "<>"),
    ("sbcc s@x.test", "sb@y.test"),
    ("sbcc s2@x.test", "v1@x.test"),
    ("sbcc x y@x.test", "unquoted@y.test"),
    ("rbcc r@x.test", "rb@y.test, foo"),
    ("rbcc r2+e@x.test", "<rb2>"),
    ("rbcc r2@x.test", "rb2"),
    ("rbcc @at.test", "@bt.test"),
    ("rbcc \"q r\"@x.test", "va@x.test"),
    ("rbcc q r@x.test", "not this"),
];

#[test]
fn aliases_and_bcc() {
    let recipients = [
        "v1@x.test",
        "va@x.test",
        "vs@x.test",
        "vp@x.test",
        "vn@x.test",
        "e+foo@x.test",
        "e@x.test",
        "",
        "w1@x.test",
        "dup@x.test",
        "self@x.test",
        "self2@x.test",
        "comma@x.test",
        "d1@x.test",
        "long@x.test",
        "null@x.test",
        "r@x.test",
        "r2+e@x.test",
        "r2+f@x.test",
        "u@at.test",
        "q r@x.test",
        "x@retry.test",
    ];
    let mut messages = Vec::new();
    for recipient in recipients {
        let recipient = format!("R {recipient}");
        for flags in [FLAGS, FLAGS | BOUNCE, FLAGS & !MAP, FLAGS & !BCC] {
            messages.push(Message::new("o@o", &[&recipient, "R z@z"], &[]).with_flags(flags));
        }
        messages.push(Message::new("s@x.test", &["R v1@x.test", &recipient, &recipient], &[]));
        messages.push(Message::new("o@o", &["A notify_flags=12", "O x", &recipient], &[]));
    }
    for sender in ["s@x.test", "s2@x.test", "s+e@x.test", "x y@x.test", "x@retry.test", "", "null@x.test"] {
        messages.push(Message::new(sender, &["R r@x.test"], &[]));
        messages.push(Message::new(sender, &["R r@x.test"], &[]).with_flags(FLAGS & !MAP));
    }
    let limits = [
        ("virtual_alias_expansion_limit", "3"),
        ("virtual_alias_recursion_limit", "3"),
        ("virtual_alias_address_length_limit", "40"),
    ];
    for limits in [&limits[..0], &limits[..1], &limits[1..2], &limits[2..]] {
        let parameters = [&ALIASES[..], limits, &[("always_bcc", "v1@x.test")]].concat();
        compare(&Configuration::new(&parameters, &ALIAS_VALUES), &messages);
    }
}

/// The sender who asked for it is told of an alias; a probe of one ends in cleanup.
#[test]
fn expanded_recipients_are_traced_and_probed() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let configuration = Configuration::new(&ALIASES, &ALIAS_VALUES);
    let sides = [Suite::under_test(), Suite::Postfix].map(|suite| {
        let mut plan = Plan::for_suite("traced", suite);
        plan.with_delivery().without("qmgr").without("proxymap").set("in_flow_delay", "0");
        Side::start_plan(plan, &configuration)
    });
    for recipient in ["v1@x.test", "self@x.test", "d1@x.test", "other@x.test", "va@x.test"] {
        let recipient = format!("R {recipient}");
        for before in [
            &["A notify_flags=2"][..],
            &["A notify_flags=14", "O orig@x.test", "A dsn_orig_rcpt=rfc822;zz"],
            &["A trace_flags=256"],
            &["A trace_flags=256", "O orig@x.test", "A notify_flags=2"],
            &["A trace_flags=512", "A notify_flags=6"],
        ] {
            // What is refused at its end is forgotten.
            for last in ["R z@z", "R x@retry.test"] {
                let records = [before, &[&recipient, last]].concat();
                let message = Message::new("o@o", &records, &[]);
                let [ours, theirs] = [&sides[0], &sides[1]].map(|side| {
                    let came = side.submit(&message);
                    let traces = side.instance.queue("trace").into_iter().map(|file| {
                        let text = String::from_utf8_lossy(&file.bytes()).into_owned();
                        std::fs::remove_file(&file.path).expect("nobody else takes it");
                        text
                    });
                    format!("{came}{}", traces.collect::<String>())
                });
                assert_eq!(ours, theirs, "{}", message.shown());
            }
        }
    }
    let [ours, theirs] = [&sides[0], &sides[1]].map(Side::log);
    assert_eq!(ours, theirs);
}
