//! Every action at every place.

use super::{Case, case, compare, message, rules};
use crate::cleanup::{BOUNCE, FILTER, FLAGS};

/// Results of a table: good, bad and unknown ones.
const ACTIONS: &[&str] = &[
    "REJECT",
    "REJECT  no  such ",
    "reject 5.2.1 no",
    "REJECT 4.7.9 later",
    "REJECT 2.0.0 odd",
    "REJECT 3.0.0",
    "REJECT 5.7 short",
    "REJECT 550 5.1.1 code",
    "REJECT 5.1.1x",
    "REJECT 9.1.1 x",
    "WARN",
    "WARN text",
    "INFO",
    "Info\ttext",
    "FILTER",
    "FILTER smtp:[127.0.0.1]:10025",
    "FILTER nocolon",
    "FILTER a:b c",
    "PASS",
    "PASS text",
    "DISCARD",
    "DISCARD text",
    "HOLD",
    "HOLD text",
    "PREPEND",
    "PREPEND text",
    "PREPEND X-Pre: text",
    "PREPEND X-Pre : text",
    "PREPEND To: joe",
    "PREPEND :",
    "REPLACE",
    "REPLACE text",
    "REPLACE X-Rep: text",
    "REPLACE X-Rep : text",
    "REPLACE To: joe",
    "REPLACE Message-Id: <replaced>",
    "REPLACE Content-Type: multipart/mixed; boundary=c",
    "REPLACE Content-Transfer-Encoding: 8bit",
    "REPLACE bcc: x",
    "REPLACE Received: x",
    "REPLACE Resent-To: joe",
    "REDIRECT",
    "REDIRECT nobody",
    "REDIRECT carol@example.org",
    "REDIRECT <carol@example.org>, dave@example.org",
    "BCC",
    "BCC nobody",
    "BCC carol@example.org",
    "BCC <carol@example.org>",
    "STRIP",
    "STRIP text",
    "IGNORE",
    "IGNORE text",
    "DUNNO",
    "DUNNO text",
    "OK",
    "ok text",
    "FOO",
    "FOO bar",
    "DELAY",
    "DELAY 1h",
    "DEFER x",
    "DEFER_IF_PERMIT x",
    "ACCEPT",
    "550 x",
    "5.7.1 x",
    "QUARANTINE",
];

/// Where the matched text stands.
const PLACES: &[(&str, &str)] = &[
    ("header", "X-0: v\n w\nSubject: s\n\nbody"),
    ("recipients", "To: ann, bob\nX-0: v\n\nbody"),
    ("mime", "Content-Disposition: v-0\n\nbody"),
    (
        "part",
        "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\nX-0: v\nX-B: w\n\nbody\n--b--\nepilogue",
    ),
    ("nested", "Content-Type: message/rfc822\n\nX-0: v\nTo: joe\n\nbody"),
    ("nested mime", "Content-Type: message/rfc822\n\nContent-ID: v-0\nTo: joe\n\nbody"),
    ("body", "Subject: s\n\nX-0: v\nbody"),
    ("piece", "Subject: s\n\nX-0: v\\+\nbody\nmore"),
];

const PARAMETERS: [&str; 4] = ["header_checks", "mime_header_checks", "nested_header_checks", "body_checks"];

/// The rules of all actions, by number.
fn all_rules() -> Vec<(String, String)> {
    let rule = |(number, action): (usize, &&str)| (format!("[X-]-{number}(:|$)"), (*action).to_owned());
    ACTIONS.iter().enumerate().map(rule).collect()
}

fn cases(flags: u32) -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, action) in ACTIONS.iter().enumerate() {
        for (place, content) in PLACES {
            let content = content.replace("-0", &format!("-{number}")).replace("v-", "X-");
            let name = format!("{action} in {place}, flags {flags}");
            cases.push(Case { name, flags, stream: message(&content) });
        }
    }
    cases
}

#[test]
fn every_action_at_every_place() {
    let table = rules("regexp", &all_rules());
    let configure = |plan: &mut conformance::Plan| {
        for name in PARAMETERS {
            plan.set(name, &table);
        }
    };
    compare(configure, &cases(FLAGS));
}

#[test]
fn actions_under_other_flags() {
    let table = rules("pcre", &all_rules());
    let configure = |plan: &mut conformance::Plan| {
        for name in PARAMETERS {
            plan.set(name, &table);
        }
    };
    let mut all = cases(FLAGS & !FILTER);
    all.truncate(40);
    all.extend(cases(FLAGS | BOUNCE));
    all.extend(cases(FILTER));
    compare(configure, &all);
}

/// One after the other in a message: what the first says about those behind it.
#[test]
fn two_actions_in_a_message() {
    let table = rules("regexp", &all_rules());
    let mut all = Vec::new();
    for (first, one) in ACTIONS.iter().enumerate() {
        for (second, two) in ACTIONS.iter().enumerate().skip(first % 7).step_by(7) {
            let name = format!("{one} then {two}");
            all.push(case(name, &format!("X-{first}: a\nX-{second}: b\n\nX-{second}: c")));
        }
    }
    let configure = |plan: &mut conformance::Plan| {
        for name in PARAMETERS {
            plan.set(name, &table);
        }
        plan.set("always_bcc", "archive@example.org");
    };
    compare(configure, &all);
}

/// What is said about MIME before and behind an action that ends all checks.
#[test]
fn strict_checks_end_with_the_others() {
    let ends = ["PASS", "REDIRECT carol@example.org", "REJECT", "REJECT 4.3.0 x", "DISCARD", "HOLD"];
    let rules_of_ends: Vec<_> =
        ends.iter().enumerate().map(|(number, end)| (format!("^X-{number}:"), (*end).to_owned())).collect();
    let table = rules("regexp", &rules_of_ends);
    let mut all = Vec::new();
    for (number, end) in ends.iter().enumerate() {
        for content in [
            "Subject: \\e9\nX-0: a\n\nbody",
            "X-0: a\nSubject: \\e9\n\nbody",
            "X-0: \\e9\n\nbody",
            "Subject: \\e9\n\nX-0: body",
            "Subject: \\e9\nX-0: a\n\nX-0: \\e9",
            "X-0: a\n\n\\e9",
            "Subject: s\n\n\\e9\nX-0: a",
            "Subject: s\n\nX-0: \\e9",
            "Subject: s\n\nX-0: s\nb",
            "Subject: s\n\nX-\\00: s\nb",
            "X-0: a\nContent-Type: message/partial\nContent-Transfer-Encoding: 8bit\n\nbody",
            "Content-Type: message/partial\nContent-Transfer-Encoding: 8bit\n\nX-0: body",
            "Content-Type: a\nX-0: a\n\nb\\02",
            "Content-Type: a\\02\nX-0: a\n\nb",
        ] {
            for flags in [FLAGS, FLAGS | BOUNCE] {
                let content = content.replace("X-0", &format!("X-{number}"));
                all.push(Case {
                    name: format!("{end} {flags}\n{content}"),
                    flags,
                    stream: message(&content),
                });
            }
        }
    }
    let configure = |plan: &mut conformance::Plan| {
        for name in PARAMETERS {
            plan.set(name, &table);
        }
        plan.set("strict_8bitmime", "yes").set("strict_mime_encoding_domain", "yes");
        plan.set("message_reject_characters", "\\2");
    };
    compare(configure, &all);
}

/// `body_checks_size_limit`: what counts, and where counting begins anew.
#[test]
fn as_much_of_a_body_as_the_limit_says() {
    let contents = [
        "Subject: s\n\naaa\nbbb\nccc\nddd",
        "Subject: s\n\naaa\\+\nbbb\\+\nccc\nddd",
        "Subject: s\nno header\naaa\nbbb\nccc\nddd",
        "Subject: s\n\n\n\n\n\n\n\n\n\n\n\naaa",
        "Content-Type: multipart/x; boundary=b\n\na\nb\nc\nd\n--b\n\na\nb\nc\n--b--\na\nb\nc\nd\ne",
        "Content-Type: multipart/x; boundary=b\n\na\nb\n--b\nX: y\n\na\nb\nc\n--b\na\nb\nc\nd\ne",
        "Content-Type: multipart/x; boundary=b\n\n--b\n--b\n--b\n\n--b\nContent-Type: message/rfc822\n\nX: y\n\na\nb\n--b",
        "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nX: y\n\na\nb\nc\nd\ne\nf\ng\nh\ni\nj",
        "Content-Type: message/rfc822\n\n\na\nb\nc\nd\ne\nf\ng\nh\ni\nj",
    ];
    let all: Vec<_> = contents.iter().map(|content| case(*content, content)).collect();
    for limit in ["0", "1", "2", "3", "4", "5", "6", "8", "11"] {
        let configure = |plan: &mut conformance::Plan| {
            plan.set("body_checks", "regexp:{{/./ WARN}}").set("body_checks_size_limit", limit);
        };
        compare(configure, &all);
    }
}
