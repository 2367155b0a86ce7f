//! Random tables and messages. `POSTERN_CONFIGURATIONS` and `POSTERN_MESSAGES` are how many, `POSTERN_SEED` a number that
//! makes them; a failure tells it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use conformance::{Dice, Plan, Suite, require, version_at_least};
use nix::unistd::Uid;

use super::{Case, SHOWN, differences, message};
use crate::addresses::number;
use crate::cleanup::{AUTODETECT, BCC, BOUNCE, FILTER, FLAGS, MAP};

/// What `LONG` stands for: longer than the least `line_length_limit`.
static LONG: LazyLock<String> = LazyLock::new(|| "l".repeat(520));

/// Patterns, without braces.
const PATTERNS: &[&str] = &[
    "^X-A:",
    "^X-A: *(.*)",
    "^Subject: (.*)$",
    "^To:.*joe",
    "^(To|Cc): (.*)",
    "^Content-Type:.*(multi|mess)",
    "^Content-[TD]",
    "^MIME-Version",
    "^Received:",
    "^Message-Id:",
    "^Bcc:",
    "body",
    "^--b",
    "b",
    "x(x+)",
    "e$",
    " w",
    "^$",
    "^ ",
    ":",
    ".",
];

const ACTIONS: &[&str] = &[
    "REJECT",
    "REJECT $1",
    "REJECT 5.2.1 no",
    "REJECT 4.3.2 later",
    "REJECT 2.0.0 odd",
    "WARN",
    "WARN $1",
    "WARN text",
    "INFO",
    "INFO $1",
    "FILTER",
    "FILTER smtp:$1",
    "FILTER smtp:x",
    "FILTER x",
    "PASS",
    "PASS text",
    "DISCARD",
    "DISCARD text",
    "HOLD",
    "HOLD text",
    "PREPEND X-Pre: $1",
    "PREPEND X-Pre: text",
    "PREPEND $1",
    "PREPEND To: ann",
    "PREPEND Content-Type: x/y",
    "PREPEND X-Long: LONG",
    "REPLACE X-Rep: $1",
    "REPLACE X-Rep: text",
    "REPLACE X-Rep \t:text",
    "REPLACE $1",
    "REPLACE To: jim",
    "REPLACE Bcc: jim",
    "REPLACE Received: y",
    "REPLACE Message-Id: <r>",
    "REPLACE Resent-From: <r>",
    "REPLACE Content-Type: multipart/mixed; boundary=c",
    "REPLACE Content-Transfer-Encoding: 8bit",
    "REPLACE X-Long: LONG",
    "REDIRECT",
    "REDIRECT carol@example.org",
    "REDIRECT $1@example.org",
    "BCC",
    "BCC carol@example.org",
    "BCC $1@example.org",
    "BCC x@y, z",
    "STRIP",
    "STRIP $1",
    "IGNORE",
    "DUNNO",
    "OK",
    "FOO $1",
    "DELAY 1h",
    "WARN\ttext  text ",
];

const HEADERS: &[&str] = &[
    "X-A: b",
    "X-A : b\\00c",
    "X-A:",
    "X-A: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "Subject: s\\c3\\a9",
    "Subject: body\n w\n\tx",
    "To: joe",
    "To: joe, ann\n w, bob",
    "Cc: joe",
    "Bcc: joe",
    "From: jim",
    "Message-Id: <m@x>",
    "Received: x",
    "Resent-To: joe",
    "Date: x",
    "MIME-Version: 1.0",
    "Content-Transfer-Encoding: 8bit",
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: 7bit",
    "Content-Type: text/plain",
    "Content-Type: multipart/mixed; boundary=b",
    "Content-Type: multipart/mixed;\n boundary=\"bc\"",
    "Content-Type: multipart/digest; boundary=b; boundary=d",
    "Content-Type: message/rfc822",
    "Content-Type: message/partial",
    "Content-Disposition: x; b=body",
    "X-A: LONG\n LONG",
    "X-A: \\+\nb\\+\nc",
];

const LINES: &[&str] = &[
    "body",
    "",
    " ",
    "X-A: b",
    "To: joe",
    "no header",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "\\e9t\\e9",
    "\\00body",
    "body\\00 e",
    "one\\+\ntwo body\\+\nthree",
    "body\\+\n--b",
    "a\\0db\\0a",
    "--",
    "--b",
    "--b--",
    "--bc",
    "--bc--",
    "--d",
    "--c",
    ".",
    "\tbody w",
    "LONG body LONG",
];

fn table(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => return "fail:x".to_owned(),
        1 => return format!("static:{{{}}}", dice.one_of(ACTIONS)),
        2 => {
            return format!(
                "inline:{{ {{body={}}}, {{--b={}}} }}",
                dice.one_of(ACTIONS),
                dice.one_of(ACTIONS)
            );
        }
        3 => return "regexp:/nowhere".to_owned(),
        4 => {
            return "pipemap:{regexp:{{/(X-A|bod)/ $1}},inline:{{X-A=WARN piped},{bod=STRIP piped}}}"
                .to_owned();
        }
        _ => {}
    }
    let kind = if dice.percent(50) { "regexp" } else { "pcre" };
    let mut text = format!("{kind}:{{");
    for _ in 0..=dice.below(5) {
        let pattern = dice.one_of(PATTERNS);
        let mut action = *dice.one_of(ACTIONS);
        // What is not captured would keep the table from being opened.
        if !pattern.contains('(') {
            while action.contains("$1") {
                action = *dice.one_of(ACTIONS);
            }
        }
        // Most do not end the message.
        if action.starts_with("REJECT") || action.starts_with("DISCARD") {
            action = if dice.percent(40) { action } else { "INFO seen" };
        }
        let _ = write!(text, "{{/{pattern}/ {action}}} ");
    }
    text.push('}');
    text.replace('$', "$$").replace("LONG", &LONG)
}

fn tables(dice: &mut Dice) -> String {
    let mut all = vec![table(dice)];
    if dice.percent(20) {
        all.push(table(dice));
    }
    all.join(" ")
}

/// A parameter, in how many of a hundred configurations it is set, and to what.
type Choice = (&'static str, u64, &'static [&'static str]);

/// Parameters of one configuration.
fn parameters(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for name in ["header_checks", "body_checks"] {
        if dice.percent(85) {
            all.push((name, tables(dice)));
        }
    }
    for name in ["mime_header_checks", "nested_header_checks"] {
        if dice.percent(50) {
            let value = if dice.percent(20) { String::new() } else { tables(dice) };
            all.push((name, value));
        }
    }
    let choices: &[Choice] = &[
        ("body_checks_size_limit", 50, &["0", "1", "4", "5", "9", "20", "60"]),
        ("header_size_limit", 30, &["10", "20", "40", "100"]),
        ("line_length_limit", 20, &["512"]),
        ("mime_nesting_limit", 30, &["1", "2", "3"]),
        ("mime_boundary_length_limit", 10, &["1", "2"]),
        ("strict_8bitmime", 10, &["yes"]),
        ("strict_7bit_headers", 15, &["yes"]),
        ("strict_8bitmime_body", 15, &["yes"]),
        ("strict_mime_encoding_domain", 15, &["yes"]),
        ("disable_mime_input_processing", 15, &["yes"]),
        ("detect_8bit_encoding_header", 15, &["no"]),
        ("message_reject_characters", 10, &["\\0", "\\351w"]),
        ("message_strip_characters", 10, &["\\0", "\\351b"]),
        ("message_drop_headers", 20, &["x-a, content-type, received", "to x-rep x-pre", ""]),
        ("cleanup_replace_stray_cr_lf", 10, &["no"]),
        ("always_bcc", 20, &["archive@example.org"]),
        ("always_add_missing_headers", 10, &["yes"]),
        ("hopcount_limit", 10, &["3"]),
        ("undisclosed_recipients_header", 10, &["To: undisclosed-recipients:;"]),
        ("enable_original_recipient", 10, &["no"]),
        ("duplicate_filter_limit", 10, &["1"]),
        ("soft_bounce", 10, &["yes"]),
    ];
    // Versions before do not know them.
    let later: &[(u32, Choice)] = &[
        (9, ("force_mime_input_conversion", 40, &["yes"])),
        (11, ("non_empty_end_of_header_action", 50, &["add_header", "reject", "fix_quietly"])),
    ];
    let later = later.iter().filter(|(minor, _)| version_at_least(3, *minor)).map(|(_, choice)| choice);
    let choices: Vec<_> = choices.iter().chain(later).collect();
    for (name, percent, values) in choices {
        if dice.percent(*percent) {
            all.push((name, (*dice.one_of(values)).to_owned()));
        }
    }
    // Later versions cut the headers that they make, too.
    if version_at_least(3, 8) {
        all.retain(|(name, value)| *name != "header_size_limit" || value == "100");
    }
    // Both together are refused.
    if all.iter().any(|(name, _)| *name == "force_mime_input_conversion") {
        all.retain(|(name, _)| *name != "disable_mime_input_processing");
    }
    all
}

fn content(dice: &mut Dice) -> String {
    let mut lines: Vec<&str> = Vec::new();
    // Those that make structure come more often.
    for _ in 0..dice.below(6) {
        lines.push(*dice.one_of(HEADERS));
    }
    if dice.percent(85) {
        lines.push("");
    }
    for _ in 0..dice.below(4) {
        for _ in 0..dice.below(5) {
            lines.push(*dice.one_of(LINES));
        }
        if dice.percent(60) {
            lines.push(*dice.one_of(&["--b", "--bc", "--c"]));
            for _ in 0..dice.below(4) {
                lines.push(*dice.one_of(HEADERS));
            }
            lines.push("");
        }
    }
    lines.join("\n").replace("LONG", &LONG)
}

fn cases(dice: &mut Dice, count: u64) -> Vec<Case> {
    let flags = [
        FLAGS,
        FLAGS,
        FLAGS,
        FLAGS,
        FLAGS | BOUNCE,
        FILTER,
        FILTER | MAP | AUTODETECT,
        BCC | MAP,
        FILTER | BCC,
    ];
    let case = |_| {
        let content = content(dice);
        let flags = *dice.one_of(&flags);
        Case { name: format!("flags {flags}\n{content}"), flags, stream: message(&content) }
    };
    (0..count).map(case).collect()
}

#[test]
fn random_tables_and_messages() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let seed = number("POSTERN_SEED", 0);
    let mut dice = if seed == 0 { Dice::of_the_clock() } else { Dice::new(seed) };
    let (configurations, messages) = (number("POSTERN_CONFIGURATIONS", 6), number("POSTERN_MESSAGES", 40));
    let mut different = Vec::new();
    for _ in 0..configurations {
        let parameters = parameters(&mut dice);
        let configure = |plan: &mut Plan| {
            for (name, value) in &parameters {
                plan.set(name, value);
            }
        };
        let found = differences(configure, &cases(&mut dice, messages));
        if !found.is_empty() {
            different.push(format!("{parameters:#?}\n{} differ", found.len()));
            different.extend(found.into_iter().take(5));
        }
        if different.len() > SHOWN {
            break;
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
