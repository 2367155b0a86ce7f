//! Random tables and random messages.

use conformance::{Dice, Suite, require};
use nix::unistd::Uid;

use super::{Configuration, Message, differences, fail_with, quoted};
use crate::addresses::number;
use crate::cleanup::{BCC, BOUNCE, FLAGS, MAP};

/// Messages that one configuration is used for.
const MESSAGES: u64 = 40;

const USERS: &[&str] = &[
    "u",
    "u",
    "v",
    "w",
    "User",
    "u+e",
    "u+e",
    "v-f",
    "w+g-h",
    "u+",
    "+x",
    "a.b",
    "postmaster",
    "MAILER-DAEMON",
    "double-bounce",
    "owner-u",
    "u-request",
    "x y",
    "x y+e",
    "a@b",
    "\u{e4}",
    "\u{c4}+e",
    "q\"r",
    "",
    "s\\t",
    ".u",
    "u!v",
    "u%v",
];
const DOMAINS: &[&str] = &[
    "x.test",
    "x.test",
    "y.test",
    "X.Test",
    "local.test",
    "local.test",
    "mx.example.com",
    "h.x.test",
    "[127.0.0.1]",
    "[192.0.2.1]",
    "\u{e4}.test",
    "retry.test",
    "",
];
/// Values that are not made of the names above.
const VALUES: &[&str] = &[
    "<>",
    ",",
    "(c)",
    "@y.test",
    "@local.test",
    "@y.test, u@x.test",
    "u@x.test, v@x.test",
    "u v w",
    "\"x y\"@y.test",
    "Joe <u@y.test>",
    "g: u@x.test, v@y.test;",
    "<@r:u@x.test>",
    "@r:u@x.test",
    "a@b@y.test",
    "u@x.test (c)",
    "u;v",
    "\"",
    "\\",
    "\"\"",
    "\"\"@x.test",
    "<>, u@x.test",
    "u,",
    "u@",
    "@",
    "u@x.test,u@X.TEST",
    "u!v",
    "u@retry.test",
    "(a(b) u",
    "x <u",
    "REJECT",
    "<u@x.test> <v@x.test>",
];
const TABLES: &[&str] = &[
    "canonical_maps",
    "sender_canonical_maps",
    "recipient_canonical_maps",
    "virtual_alias_maps",
    "virtual_alias_maps",
    "sender_bcc_maps",
    "recipient_bcc_maps",
];
const CLASSES: &[&str] = &["envelope_sender", "envelope_recipient", "header_sender", "header_recipient"];

/// An address in internal form.
fn address(dice: &mut Dice) -> String {
    let (user, domain) = (*dice.one_of(USERS), *dice.one_of(DOMAINS));
    match dice.below(20) {
        0 => String::new(),
        1 => user.to_owned(),
        2 => format!("@{domain}"),
        3 => format!("@r.test:{user}@{domain}"),
        _ => format!("{user}@{domain}"),
    }
}

/// The same as a table has it, and as a header has it.
fn external(dice: &mut Dice) -> String {
    quoted(&address(dice))
}

fn key(dice: &mut Dice) -> String {
    let text = match dice.below(10) {
        0 => format!("@{}", dice.one_of(DOMAINS)),
        1 => (*dice.one_of(USERS)).to_owned(),
        _ => external(dice),
    };
    text.to_lowercase()
}

fn value(dice: &mut Dice) -> String {
    match dice.below(20) {
        0..=7 => (*dice.one_of(VALUES)).to_owned(),
        8..=9 => format!("{}, {}", external(dice), external(dice)),
        10 => format!("{} {}, {}", external(dice), external(dice), dice.one_of(VALUES)),
        _ => external(dice),
    }
}

fn classes(dice: &mut Dice, known: &[&str]) -> String {
    let some: Vec<_> = known.iter().copied().filter(|_| dice.percent(60)).collect();
    if some.is_empty() { known[0].to_owned() } else { some.join(" ") }
}

fn configuration(dice: &mut Dice) -> Configuration {
    let mut made = Configuration::default();
    let mut set = |name: &str, value: &str| made.parameters.push((name.to_owned(), value.to_owned()));
    for name in TABLES {
        if dice.percent(30) {
            continue;
        }
        let recorded = format!("proxy:texthash:{name}");
        let others = [
            "regexp:{{/^(u)(.*)@y/ v$2@x.test}}",
            "pcre:{{/^\"x (.)/ z$1@local.test}}",
            "inline:{u@y.test=w@x.test, {@h.x.test = @x.test}}",
            "static:all@x.test",
            "fail:x",
            "proxy:regexp:p",
        ];
        let tables = match dice.below(12) {
            0 => format!("{} {recorded}", dice.one_of(&others)),
            1 => format!("{recorded}, {}", dice.one_of(&others)),
            2 => (*dice.one_of(&others)).to_owned(),
            _ => recorded,
        };
        set(name, &tables);
    }
    for (name, known) in [
        ("canonical_classes", CLASSES),
        ("sender_canonical_classes", &["envelope_sender", "header_sender"]),
        ("recipient_canonical_classes", &["envelope_recipient", "header_recipient"]),
    ] {
        if dice.percent(40) {
            set(name, &classes(dice, known));
        }
    }
    if dice.percent(30) {
        set("masquerade_domains", "x.test");
        set("masquerade_classes", &classes(dice, CLASSES));
        set("masquerade_exceptions", dice.one_of::<&str>(&["", "u", "!u, v", "inline:{w=x}", "w fail:x"]));
    }
    for (name, values) in [
        ("recipient_delimiter", &["+", "+", "+-", "-", ""][..]),
        ("propagate_unmatched_extensions", &["canonical, virtual", "canonical", "virtual", ""]),
        ("owner_request_special", &["yes", "no"]),
        ("enable_original_recipient", &["yes", "yes", "no"]),
        ("smtputf8_enable", &["yes", "yes", "no"]),
        ("append_at_myorigin", &["yes", "yes", "yes", "no"]),
        ("append_dot_mydomain", &["no", "no", "yes"]),
        ("myorigin", &["$myhostname", "$myhostname", "x.test"]),
        ("remote_header_rewrite_domain", &["", "domain.invalid"]),
        ("empty_address_recipient", &["MAILER-DAEMON", "u@x.test"]),
        ("always_bcc", &["", "", "u@x.test", "v+e"]),
        ("virtual_alias_expansion_limit", &["1000", "1000", "4", "1"]),
        ("virtual_alias_recursion_limit", &["20", "3", "1"]),
        ("virtual_alias_address_length_limit", &["1000", "1000", "8"]),
        ("duplicate_filter_limit", &["1000", "1", "0"]),
    ] {
        set(name, dice.one_of::<&str>(values));
    }
    for _ in 0..40 {
        let table = dice.one_of(TABLES);
        let key = if dice.percent(70) { format!("{table} {}", key(dice)) } else { key(dice) };
        made.values.insert(key, value(dice));
    }
    made
}

fn message(dice: &mut Dice) -> Message {
    let mut records = vec![(b'T', b"1795327907 5".to_vec())];
    let context = if dice.percent(80) { "local" } else { "remote" };
    records.push((b'A', format!("rewrite_context={context}").into_bytes()));
    records.push((b'S', address(dice).into_bytes()));
    if dice.percent(5) {
        records.push((b'W', b"1795327999".to_vec()));
    }
    for _ in 0..=dice.below(3) {
        if dice.percent(20) {
            records.push((b'O', address(dice).into_bytes()));
        }
        if dice.percent(15) {
            records.push((b'A', format!("notify_flags={}", dice.one_of(&[1, 4, 8, 12, 14])).into_bytes()));
        }
        if dice.percent(15) {
            records.push((b'A', b"dsn_orig_rcpt=rfc822;other@x".to_vec()));
        }
        records.push((b'R', address(dice).into_bytes()));
    }
    records.push((b'M', Vec::new()));
    let mut lines =
        vec!["Received: by x; now".to_owned(), "Message-Id: <a@b>".to_owned(), "Date: x".to_owned()];
    for name in ["From", "To", "Cc", "Reply-To", "Resent-To"] {
        if dice.percent(40) {
            let (one, two) = (external(dice), external(dice));
            lines.push(match dice.below(4) {
                0 => format!("{name}: {one}"),
                1 => format!("{name}: Joe <{one}>, {two}"),
                2 => format!("{name}: g: {one}, \"y\" <{two}> (c);"),
                _ => format!("{name}: {one} {two}"),
            });
        }
    }
    records.extend(lines.into_iter().map(|line| (b'N', line.into_bytes())));
    records.extend([(b'N', Vec::new()), (b'N', b"body".to_vec()), (b'X', Vec::new()), (b'E', Vec::new())]);
    let flags = match dice.below(10) {
        0 => FLAGS & !MAP,
        1 => FLAGS & !BCC,
        2 => FLAGS | BOUNCE,
        3 => FLAGS | 512,
        4 => FLAGS | 256,
        _ => FLAGS,
    };
    Message { flags, records }
}

#[test]
fn random_tables() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_MAPPINGS", 400));
    println!("seed {seed}, {count} messages");
    let mut dice = Dice::new(seed);
    let (mut done, mut different) = (0, Vec::new());
    while done < count {
        let configuration = configuration(&mut dice);
        let messages: Vec<_> = (0..MESSAGES.min(count - done)).map(|_| message(&mut dice)).collect();
        done += MESSAGES;
        different.extend(differences(&configuration, &messages));
    }
    fail_with(&different, &format!("seed {seed}"));
}
