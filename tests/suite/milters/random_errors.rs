//! Random mistakes of Milters at random places, on Postfix and on the suite under test: they close, send garbage, half a
//! packet, what is no answer to this event, or nothing.
//!
//! `POSTERN_MISTAKES` is how many messages there are in one run, and `POSTERN_SEED` a number that makes them.

use std::fmt::Write as _;

use conformance::Dice;

use super::random::compare;
use super::random_messages::{edits, message, records};
use super::script::MARKS;
use crate::addresses::number;
use crate::case_file::{Case, CaseFile};

/// Messages of one run in the suite.
const COUNT: u64 = 40;

const ACTIONS: &[&str] = &["accept", "reject", "tempfail", "quarantine"];

/// What is no answer, or none to most events. `SLOW` ones take until the time limit.
const MISTAKES: &[&str] = &[
    "!close",
    "!close",
    "!bytes | ; !close",
    "!bytes || ; !close",
    "!bytes |||\\x01 ; !close",
    "!bytes ||||",
    "!bytes ||||||||c",
    "!bytes |||\\x05yb ; !close",
    "!bytes ||\\x01 ; !close",
    "!bytes \\xff\\xff\\xff\\xffz ; !close",
    "!bytes HTTP/1.1 400 Bad Request\\r\\n\\r\\n",
    "cx",
    "ax|",
    "c|",
    "rjunk",
    "djunk|",
    "tjunk",
    "z",
    "C",
    "O",
    "f",
    "Z",
    "s",
    "sx",
    "p ; p ; !close",
    "hX-A|b| ; c",
    "+u@x.test| ; c",
    "bnew ; c",
    "m1 Subject|x| ; a",
    "q ; !close",
    "qwhy| ; r",
    "y|",
    "y5|",
    "yabc|",
    "y450|",
    "y550 |",
    "y650 5.7.1 x|",
    "y550 4.7.1 x|",
    "y550-5.7.1 a\\r\\n550 5.7.1 b|",
    "y421 4.7.0 bye|",
    "y521 5.7.1 gone|",
    "\\x01",
];
const SLOW: &[&str] = &["!silence", "!bytes |||\\x05yb ; !silence", "p ; !silence"];

/// What is no answer to the offer.
const OFFERS: &[&str] = &[
    "!close",
    "c",
    "a",
    "r",
    "O",
    "O|||\\x06|||",
    "O|||\\x06|||\\x01||||x",
    "O|||\\x07||\\x01\\xff|||\\x01",
    "O|||\\x06||\\x03\\xff||||",
    "O||||||||||||",
    "O|||\\x06||\\x01\\xff||||||| ; !close",
    "!bytes ||||",
    "!bytes |||\\x0dO|||\\x06 ; !close",
    "!bytes \\x7f\\xff\\xff\\xffO ; !close",
];

fn slow() -> bool {
    number("POSTERN_MISTAKES", COUNT) > COUNT
}

fn options(dice: &mut Dice) -> Vec<String> {
    let count = dice.below(3) + 1;
    let list: Vec<String> = (1..=count)
        .map(|milter| match dice.below(3) {
            0 => format!("{{ ${milter}, default_action={} }}", dice.one_of::<&str>(ACTIONS)),
            1 => format!("{{ ${milter}, default_action={}, protocol=4 }}", dice.one_of::<&str>(ACTIONS)),
            _ => format!("${milter}"),
        })
        .collect();
    let name = if dice.percent(60) { "smtpd_milters" } else { "non_smtpd_milters" };
    let mut options = vec![format!("{name}={}", list.join(", "))];
    if dice.percent(70) {
        options.push(format!("milter_default_action={}", dice.one_of::<&str>(ACTIONS)));
    }
    if dice.percent(20) {
        options.push("soft_bounce=yes".to_owned());
    }
    if dice.percent(20) {
        options.push("milter_header_checks=regexp:{{/^X-A/ REJECT} {/^X-B/ HOLD}}".to_owned());
    }
    if slow() {
        let time = "{ $1, command_timeout=2s, content_timeout=2s }";
        if dice.percent(30) {
            options[0] = format!("{name}={time}");
        }
    }
    options
}

fn case(dice: &mut Dice, name: &str, options: &[String]) -> Case {
    let mut text = format!("== {name}\n");
    for option in options {
        let _ = writeln!(text, "-o {option}");
    }
    text += "@packets\n";
    let is_slow = options[0].contains("command_timeout");
    for milter in 1..=3 {
        if dice.percent(25) {
            let _ = writeln!(text, "@{milter} E {}", edits(dice));
        }
        if dice.percent(45) {
            let event = *dice
                .one_of(&["C", "H", "M", "R", "R.1", "T", "U", "L", "L.1", "L.2", "N", "B", "E", "E", "E"]);
            let slow = is_slow && dice.percent(20);
            let mistake = dice.one_of(if slow { SLOW } else { MISTAKES });
            if event == "E" && dice.percent(60) {
                // In the middle of edits, whose answer does not come.
                let all = edits(dice);
                let all = all.rsplit_once(" ; ").map_or("p", |(edits, _)| edits);
                // Postfix leaves a new body without its end, and takes the message, when no packet comes behind it.
                let ended = if mistake.starts_with('!') { " ; p" } else { "" };
                let _ = writeln!(text, "@{milter} E {all}{ended} ; {mistake}");
            } else {
                let _ = writeln!(text, "@{milter} {event} {mistake}");
            }
        } else if dice.percent(12) {
            let _ = writeln!(text, "@{milter} O {}", dice.one_of(OFFERS));
        }
    }
    let is_smtp = options[0].starts_with("smtpd_milters=");
    text += &if is_smtp { message(dice) } else { records(dice) };
    if is_smtp && dice.percent(30) {
        text +=
            "> FOO bar\n> VRFY bob\n> MAIL FROM:<bob@example.com>\n> RCPT TO:<bob@example.com>\n@message\n";
    }
    let mut file = CaseFile::parse(&text, &MARKS);
    file.cases.pop().expect("the case above")
}

#[test]
fn random_mistakes() {
    compare("milters-mistakes", number("POSTERN_MISTAKES", COUNT), options, case);
}
