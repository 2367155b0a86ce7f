//! Random messages, Milters, edits and settings, on Postfix and on the suite under test: replies, packets, macros, queue
//! files and log.
//!
//! `POSTERN_EDITS` is how many messages there are in one run, and `POSTERN_SEED` a number that makes them. A case that went
//! otherwise is shown as the files of cases have it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use conformance::{Dice, Plan, Suite, require};
use nix::unistd::Uid;

use super::random_messages::{edits, message, records, shortened};
use super::script::MARKS;
use super::stage::{Stage, difference};
use crate::addresses::number;
use crate::case_file::{Case, CaseFile};

/// Messages that one set of options is used for, and sets that one instance has.
const MESSAGES: u64 = 10;
const SETS: u64 = 6;
/// Differences that a failure shows.
const SHOWN: usize = 12;

/// A parameter, in how many of a hundred configurations it is set, and to what.
type Choice = (&'static str, u64, &'static [&'static str]);

/// Rules of `milter_header_checks`.
const RULES: &[&str] = &[
    "{/^X-A:/ REJECT}",
    "{/^X-A:/ REJECT 4.7.1 later}",
    "{/^Subject:/ WARN seen}",
    "{/^X-A: *(.*)/ REPLACE X-Rep: $$1}",
    "{/^X-A:/ REPLACE no header}",
    "{/^X-/ IGNORE}",
    "{/^X-/ STRIP gone}",
    "{/^X-B/ HOLD so}",
    "{/^X-A/ DISCARD}",
    "{/^Cc:/ BCC dave@example.com}",
    "{/^Cc:/ BCC dave@example.com, erin@example.com}",
    "{/^X-B:/ REDIRECT erin@example.com}",
    "{/^X-B:/ FILTER smtp:[127.0.0.1]:1}",
    "{/^X-B:/ PREPEND X-Pre: x}",
    "{/^To:/ INFO}",
    "{/^X-Multi:/ PASS}",
    "{/^X-Multi:/ FOO}",
    "{/^X-/ DUNNO}",
];

const CHOICES: &[Choice] = &[
    ("milter_protocol", 20, &["2", "3", "4", "6,no_header_reply", "2,no_header_reply"]),
    ("milter_default_action", 30, &["accept", "reject", "quarantine", "tempfail"]),
    ("always_add_missing_headers", 20, &["yes"]),
    ("enable_long_queue_ids", 15, &["yes"]),
    ("enable_original_recipient", 15, &["no"]),
    ("smtputf8_enable", 15, &["no"]),
    ("soft_bounce", 8, &["yes"]),
    ("line_length_limit", 12, &["512", "600"]),
    ("header_size_limit", 8, &["200", "60", "100"]),
    ("duplicate_filter_limit", 10, &["1", "0"]),
    ("header_address_token_limit", 6, &["3"]),
    (
        "virtual_alias_maps",
        35,
        &[
            "inline:{{bob@example.com=bob@x.test, eve@x.test},{dave@example.com=dave@x.test}}",
            "inline:{{carol@mx.example.com=bob@example.com}, {erin@example.com = erin@example.com, u@x.test}}",
            "static:all@x.test",
            "regexp:{{/^(.*)@example.org$$/ $$1@x.test}}",
        ],
    ),
    ("virtual_alias_expansion_limit", 5, &["1"]),
    (
        "canonical_maps",
        20,
        &["inline:{{alice@example.com=another-alice@x.test},{dave@example.com=d@x.test}}"],
    ),
    (
        "sender_canonical_maps",
        15,
        &["inline:{{zoe@example.com=zoe-and-others@x.test},{alice@example.com=alice-and-others@x.test}}"],
    ),
    ("recipient_canonical_maps", 15, &["regexp:{{/^dave@/ dd@x.test}}", "inline:{@example.com=@x.test}"]),
    ("sender_bcc_maps", 25, &["static:archive@x.test", "inline:{{zoe@example.com=zb@x.test}}", "fail:x"]),
    (
        "recipient_bcc_maps",
        20,
        &["inline:{{dave@example.com=db@x.test},{bob@example.com=bb@x.test}}", "fail:x"],
    ),
    ("always_bcc", 12, &["log@x.test", "bob@example.com"]),
    ("masquerade_domains", 15, &["example.com", "x.test example.com"]),
    ("masquerade_classes", 10, &["envelope_sender envelope_recipient", "header_sender"]),
    (
        "header_checks",
        20,
        &[
            "regexp:{{/^X-A:/ PREPEND X-Checked: yes}}",
            "regexp:{{/^Subject:/ REPLACE Subject: new}}",
            "regexp:{{/^X-Multi:/ HOLD}}",
            "regexp:{{/^X-Multi:/ DISCARD}}",
            "regexp:{{/^X-A:/ REDIRECT r@x.test}}",
            "regexp:{{/^X-A:/ FILTER smtp:f}}",
            "regexp:{{/^X-Tab:/ REJECT}}",
        ],
    ),
    (
        "body_checks",
        8,
        &["regexp:{{/^bye/ REPLACE ciao}}", "regexp:{{/^bye/ HOLD}}", "regexp:{{/dot/ PREPEND first}}"],
    ),
    ("receive_override_options", 12, &["no_milters", "no_address_mappings", "no_header_body_checks"]),
    (
        "milter_end_of_data_macros",
        15,
        &["i {mail_addr} {rcpt_addr} {mail_host}, {rcpt_host} {msg_size}", "", "j,v {x}"],
    ),
    ("milter_end_of_header_macros", 8, &["{rcpt_addr} {nrcpt}", "i,v"]),
    ("milter_mail_macros", 8, &["i {mail_addr} {client_name} {client_ptr} {auth_type}", ""]),
    ("milter_macro_defaults", 10, &["{x}=y, v=w"]),
    ("milter_macro_daemon_name", 5, &["other"]),
    ("local_header_rewrite_clients", 10, &["", "static:all"]),
    ("remote_header_rewrite_domain", 10, &["domain.invalid"]),
    ("append_dot_mydomain", 8, &["yes"]),
    ("recipient_delimiter", 10, &["+"]),
    ("message_drop_headers", 8, &["x-multi subject", ""]),
    ("undisclosed_recipients_header", 8, &["To: undisclosed-recipients:;"]),
    ("hopcount_limit", 4, &["1"]),
    ("smtpd_reject_footer", 8, &["\\c. ask us"]),
    ("smtpd_discard_ehlo_keywords", 5, &["8bitmime,dsn"]),
];

/// How a Milter is named: by itself, or with settings of its own.
fn named(dice: &mut Dice, milter: u64) -> String {
    match dice.below(8) {
        0 => format!("{{ ${milter}, default_action={} }}", dice.one_of(&["accept", "reject", "quarantine"])),
        1 => format!("{{ ${milter}, protocol={} }}", dice.one_of(&["2", "4", "6"])),
        _ => format!("${milter}"),
    }
}

/// Settings of one smtpd and its cleanup.
fn options(dice: &mut Dice) -> Vec<String> {
    let count = *dice.one_of(&[1, 1, 1, 2, 2, 3]);
    let list = (1..=count).map(|milter| named(dice, milter)).collect::<Vec<_>>().join(", ");
    let mut options = match dice.below(6) {
        0..=2 => vec![format!("smtpd_milters={list}")],
        3 | 4 => vec![format!("non_smtpd_milters={list}")],
        _ => vec![format!("smtpd_milters={list}"), "non_smtpd_milters=$1".to_owned()],
    };
    for (name, percent, values) in CHOICES {
        if dice.percent(*percent) {
            options.push(format!("{name}={}", dice.one_of(values)));
        }
    }
    if dice.percent(30) {
        let mut rules = String::new();
        for _ in 0..=dice.below(3) {
            let _ = write!(rules, " {}", dice.one_of(RULES));
        }
        options.push(format!("milter_header_checks=regexp:{{{rules}}}"));
    }
    options
}

/// What a Milter agrees to, and what it does.
fn milter(dice: &mut Dice, number: u64, options: &[String]) -> String {
    let mut text = String::new();
    if dice.percent(30) {
        let version = dice.one_of(&[2, 3, 4, 5, 6, 6, 6]);
        let actions = dice.one_of(&[0, 1, 0x11, 0x3f, 0x1ff, 0x1ff]);
        let mut steps = 0_u32;
        for bit in 0..21 {
            if dice.percent(12) {
                steps |= 1 << bit;
            }
        }
        let _ = writeln!(text, "@{number} agree {version} {actions:#x} {steps:#x}");
    } else if dice.percent(30) {
        let _ = writeln!(text, "@{number} agree 6 0x1ff 0x100000");
    }
    // Lists that a Milter of cleanup's own has asked for stay with Postfix's process.
    let keeps_lists = options.iter().any(|option| option.starts_with("non_smtpd"));
    if !keeps_lists && dice.percent(12) {
        let names =
            dice.one_of(&["i {mail_addr}", "{rcpt_addr}, {rcpt_host} v", "_", "", "j {nothing} {msg_id}"]);
        let _ = writeln!(text, "@{number} macros {} {names}", dice.below(7));
    }
    // Two answers to one event are a race.
    if !text.contains("agree") && dice.percent(12) {
        let event = dice.one_of(&["C", "H", "M", "R", "R.1", "T", "L", "L.2", "N", "B"]);
        let reply =
            dice.one_of(&["a", "r", "t", "d", "qno| ; c", "q ; c", "y451 4.7.1 later|", "s", "c", "p ; c"]);
        let _ = writeln!(text, "@{number} {event} {reply}");
    }
    if dice.percent(90) {
        let _ = writeln!(text, "@{number} E {}", edits(dice));
    }
    text
}

/// A case of this name, with these options.
fn case(dice: &mut Dice, name: &str, options: &[String]) -> Case {
    let mut text = format!("== {name}\n");
    for option in options {
        let _ = writeln!(text, "-o {option}");
    }
    text += "@packets\n";
    for number in 1..=3 {
        text += &milter(dice, number, options);
    }
    let is_smtp = options.iter().any(|option| option.starts_with("smtpd_milters=")) && dice.percent(90);
    text += &if is_smtp { message(dice) } else { records(dice) };
    let mut file = CaseFile::parse(&text, &MARKS);
    file.cases.pop().expect("the case above")
}

/// Plays all cases on both; the differences as texts.
fn differences(name: &str, options: &[Vec<String>], cases: &[(usize, Case)]) -> Vec<String> {
    let stages = [Suite::under_test(), Suite::Postfix].map(|suite| {
        let mut plan = Plan::for_suite(name, suite);
        plan.set("virtual_alias_domains", "") // A client waits longer.
            .set("milter_command_timeout", "25s")
            .set("milter_content_timeout", "25s");
        Stage::of(plan, options, BTreeMap::new())
    });
    let mut different = Vec::new();
    for (service, case) in cases {
        // Where it stops, if it stops.
        println!("== {}\n-o {}\n{:.2000}", case.name, case.options.join("\n-o "), case.script.join("\n"));
        let [ours, theirs] = [0, 1].map(|stage: usize| stages[stage].play(*service, case));
        let [ours, theirs] = [ours, theirs].map(by_program);
        if ours != theirs {
            let options: String = case.options.iter().map(|option| format!("-o {option}\n")).collect();
            let script = shortened(&case.script.join("\n")) + "\n";
            let text = shortened(&difference(&theirs, &ours));
            different.push(format!("== {}\n{options}{script}(- Postfix, + under test)\n{text}\n", case.name));
        }
    }
    different
}

/// smtpd and cleanup work at the same time: the log of each by itself.
fn by_program(mut lines: Vec<String>) -> Vec<String> {
    let log = lines.iter().position(|line| line.starts_with("| ")).unwrap_or(lines.len());
    lines[log..].sort_by_key(|line| line.split(':').next().map(str::to_owned));
    lines
}

/// Compares so many messages, made by one maker of cases.
pub(super) fn compare(
    name: &str,
    count: u64,
    options: fn(&mut Dice) -> Vec<String>,
    case: fn(&mut Dice, &str, &[String]) -> Case,
) {
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let seed = number("POSTERN_SEED", 1);
    println!("seed {seed}, {count} messages");
    let mut dice = Dice::new(seed);
    let (mut done, mut different) = (0, Vec::new());
    while done < count {
        let mut sets = Vec::new();
        let mut cases = Vec::new();
        while cases.len() < 60 && done < count && sets.len() < usize::try_from(SETS).expect("a few") {
            let set = options(&mut dice);
            for _ in 0..MESSAGES.min(count - done) {
                let name = format!("{seed}.{done}");
                cases.push((sets.len(), case(&mut dice, &name, &set)));
                done += 1;
            }
            sets.push(set);
        }
        different.extend(differences(name, &sets, &cases));
        if different.len() > SHOWN {
            break;
        }
    }
    let shown: String = different.iter().take(SHOWN).map(String::as_str).collect();
    assert!(different.is_empty(), "seed {seed}: {} of {done} differ\n{shown}", different.len());
}

#[test]
fn random_edits() {
    compare("milters-random", number("POSTERN_EDITS", 60), options, case);
}
