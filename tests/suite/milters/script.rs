//! Cases of Milters as files: how the Milters answer, what the client says, and what Postfix made of it.
//!
//! A file begins with lines of main.cf. Then come the cases:
//!
//! | line | what |
//! | --- | --- |
//! | `== NAME` | a case begins |
//! | `-o NAME=VALUE` | a setting of its smtpd and its cleanup; cases with the same settings share processes. `$1` to `$3` are the Milters |
//! | `@N agree VERSION ACTIONS STEPS` | what Milter N agrees to |
//! | `@N macros STAGE NAMES` | macros that it asks for |
//! | `@N CODE PLAY ; PLAY ...` | what it does at each event of that code, at `CODE.K` at the K-th only, from 0 |
//! | `> LINE` | an SMTP command |
//! | `@mail SENDER RECIPIENT ...` | EHLO, MAIL, RCPT, DATA and the message; told is the last reply |
//! | `@message` | DATA and the message |
//! | `@cleanup FLAGS` | the records of the lines `~ ` before it go to cleanup itself |
//! | `@packets` | every packet and every record is told, not only the last packets and what edits concern |
//! | `@postfix REASON` | a case for Postfix's cleanup only, because Postern differs on purpose |
//! | `= LINE` | a line of the message of the commands that follow, in place of the usual one |
//! | `< `, `N `, `? `, `\| ` | what came of it: replies, packets to Milter N, records of the queue file, log |
//!
//! A play is a packet, its code and its data (`|` is NUL, `\n` a line feed, `\xNN` a byte; `i` and `m` begin with a number
//! and a blank), or one of `!close`, `!silence`, `!bytes DATA`, `!bytewise`, `!pause MILLISECONDS`, `!times COUNT PACKET`.
//!
//! With `POSTERN_RECORD=1` and Postfix under test the results in the file are written anew.

use conformance::{MilterPlay, MilterScript, Suite};

use crate::case_file::{Case, Marks};

/// How lines of a file begin; packets begin with the number of their Milter.
pub(super) const MARKS: Marks = Marks { script: &['>', '@', '=', '~'], results: None };

/// Milters of a file.
pub(super) const MILTERS: usize = 3;

impl Case {
    /// Whether it is for what is under test, as far as it says so in lines of its own.
    pub(super) fn is_of_suite(&self) -> bool {
        !Suite::under_test().is_ours("cleanup")
            || !self.script.iter().any(|line| line.starts_with("@postfix "))
    }

    /// How the Milters answer.
    pub(super) fn milters(&self) -> [MilterScript; MILTERS] {
        let mut scripts: [MilterScript; MILTERS] = Default::default();
        for line in &self.script {
            let Some((number, rest)) = line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else { continue };
            let script = std::mem::take(&mut scripts[number - 1]);
            scripts[number - 1] = with(script, rest);
        }
        scripts
    }
}

fn with(script: MilterScript, line: &str) -> MilterScript {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "agree" => {
            let numbers: Vec<u32> = rest.split(' ').map(number).collect();
            script.agreeing(numbers[0], numbers[1], numbers[2])
        }
        "macros" => {
            let (stage, names) = rest.split_once(' ').unwrap_or((rest, ""));
            script.macros(number(stage), names)
        }
        _ => {
            let plays = rest.split(" ; ").filter(|text| !text.is_empty()).flat_map(play).collect();
            let code = word.as_bytes()[0];
            match word.split_once('.') {
                Some((_, nth)) => script.at_nth(code, nth.parse().expect("CODE.K"), plays),
                None => script.at(code, plays),
            }
        }
    }
}

fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .expect("a number")
}

fn play(text: &str) -> Vec<MilterPlay> {
    let Some(word) = text.strip_prefix('!') else { return vec![packet(text)] };
    let (word, rest) = word.split_once(' ').unwrap_or((word, ""));
    match word {
        "close" => vec![MilterPlay::Close],
        "silence" => vec![MilterPlay::Silence],
        "bytes" => vec![MilterPlay::Bytes(bytes(rest))],
        "bytewise" => vec![MilterPlay::ByteByByte],
        "pause" => vec![MilterPlay::Pause(std::time::Duration::from_millis(number(rest).into()))],
        "times" => {
            let (count, rest) = rest.split_once(' ').expect("!times COUNT PACKET");
            let count = usize::try_from(number(count)).expect("a count");
            vec![packet(rest); count]
        }
        other => panic!("no such play: {other}"),
    }
}

fn packet(text: &str) -> MilterPlay {
    let (code, rest) = text.split_at(1);
    let code = code.as_bytes()[0];
    if matches!(code, b'i' | b'm') && !rest.is_empty() {
        let (index, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        return MilterPlay::Packet(code, [number(index).to_be_bytes().to_vec(), bytes(rest)].concat());
    }
    MilterPlay::Packet(code, bytes(rest))
}

/// `|` is NUL, `\n` a line feed, `\r` a carriage return, `\xNN` a byte.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'|' => 0,
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'x') => {
                    let digits = [rest.next().expect("two digits"), rest.next().expect("two digits")];
                    let digits = std::str::from_utf8(&digits).expect("ASCII");
                    u8::from_str_radix(digits, 16).expect("hexadecimal")
                }
                other => panic!("no such escape: {other:?}"),
            },
            byte => byte,
        });
    }
    bytes
}
