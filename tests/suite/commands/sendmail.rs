//! `sendmail` with options and messages that nobody would write, on both suites, with the mail system down: its exit
//! status, what it says, and the records in `maildrop`.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use conformance::{Dice, Instance, Plan, Suite, mask, require};
use nix::unistd::Uid;

use super::beside::{compare, run_in, told};
use crate::submission::file_records;

/// Options without an argument, or with it in the same word.
const FLAGS: &[&str] = &[
    "-i",
    "-oi",
    "-t",
    "-G",
    "-n",
    "-v",
    "-U",
    "-m",
    "-x",
    "-c",
    "-I",
    "-bm",
    "-bp",
    "-bs",
    "-bv",
    "-bh",
    "-bi",
    "-bz",
    "-q",
    "-q30m",
    "-qI",
    "-qIABC",
    "-qRexample.com",
    "-qR",
    "-qx",
    "-oem",
    "-om",
    "-o7",
    "-o8bit",
    "-oA",
    "-oAhash:t",
    "-B8BITMIME",
    "-B7BIT",
    "-Bx",
    "-Nnever",
    "-Nsuccess,failure",
    "-Nbogus",
    "-N",
    "-Rfull",
    "-Rhdrs",
    "-Rx",
    "-Vid",
    "-V",
    "-XV",
    "-XV+=",
    "-XV+",
    "-XVxx",
    "-Xx",
    "-z",
    "--",
    "-fx@y",
    "-F",
    "-it",
    "-h5",
    "-px",
    "-Lx",
    "-Ax",
    "-ex",
];
const VALUED: &[(&str, &[&str])] = &[
    (
        "-f",
        &[
            "a@example.net",
            "",
            "<>",
            "<a@b>",
            "a b@c",
            "é@x",
            "a@b, c@d",
            "\"q q\"@x",
            "a(c)@b",
            "@r:a@b",
            "(c)",
        ],
    ),
    ("-r", &["a@example.net", ""]),
    ("-F", &["Full Name", "", "é", "a\nb"]),
    ("-N", &["never", "delay", "never,delay", "SUCCESS"]),
    ("-R", &["FULL", ""]),
    ("-V", &["id", "", "é", "++"]),
    ("-O", &["x=y", ""]),
    ("-o", &["i", "", "A"]),
    ("-B", &["8BITMIME", "8bitmime"]),
    ("-C", &["/nosuch", ""]),
    ("-b", &["m", "v", ""]),
    ("-q", &["I"]),
    ("-X", &["V", "V+="]),
];
const RECIPIENTS: &[&str] = &[
    "u@example.com",
    "u",
    "",
    "<>",
    "<u@x>",
    "u@x,v@y",
    "a b",
    "(c)",
    "\"q q\"@x",
    "é@x",
    "g: a, b;",
    "@",
    "u@",
    "@r:a@b",
    "/file",
    "|cmd",
    ":include:/x",
    "postmaster",
    "\\u",
    "u@[1.2.3.4]",
    "<u",
    "a@b (c) d@e",
    "u\nv",
];
const LINES: &[&str] = &[
    "Subject: x",
    "To: a@b",
    "To: a@b, c@d",
    "Cc: g: e@f, <h@i>;",
    "Bcc: k",
    "Resent-To: r@s",
    "to : a@b",
    "To:",
    "\tfolded@x",
    "",
    ".",
    "..x",
    "From a b",
    "From: <f@g>",
    "text",
    "é",
    "Received: x",
    "To: \"q\" <q@r> (c)",
    "Resent-Bcc: <>",
    ">From x",
    "\r",
    "x\r",
    "Apparently-To: z@z",
    "Return-Receipt-To: q@q",
    "Errors-To: w@w",
];

/// The words, and the message.
type Case = (Vec<String>, String);

fn case(dice: &mut Dice) -> Case {
    let mut words = Vec::new();
    for _ in 0..dice.below(4) {
        if dice.percent(60) {
            words.push((*dice.one_of(FLAGS)).to_owned());
        } else {
            let (option, values) = dice.one_of(VALUED);
            words.extend([(*option).to_owned(), (*dice.one_of(values)).to_owned()]);
        }
    }
    for _ in 0..dice.below(3) {
        words.push((*dice.one_of(RECIPIENTS)).to_owned());
    }
    let mut message: Vec<_> = (0..dice.below(8)).map(|_| *dice.one_of(LINES)).collect();
    if dice.percent(80) {
        message.push("");
    }
    (words, message.join("\n"))
}

struct Side {
    instance: Instance,
    folder: PathBuf,
}

impl Side {
    fn new(suite: Suite) -> Side {
        let mut plan = Plan::for_suite("sendmail-random", suite);
        plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
        let instance = plan.prepare();
        let folder = instance.home().join("work");
        fs::create_dir(&folder).expect("our own folder");
        Side { instance, folder }
    }

    fn run(&self, (words, message): &Case) -> Option<String> {
        // Twice is verbose, which says little here, as does what sendmail runs then.
        if words.iter().filter(|word| *word == "-v").count() > 1 {
            return None;
        }
        let outcome = run_in(&self.instance, &self.folder, "sendmail", words, message);
        let names = HashMap::new();
        let [out, err] = [&outcome.stdout, &outcome.stderr].map(|bytes| {
            let text = told(&self.instance, "sendmail", bytes);
            let lines =
                text.lines().filter(|line| !line.starts_with("postqueue: ") || line.contains("fatal"));
            mask(&lines.collect::<Vec<_>>().join("\n"), &names)
        });
        let mut files = Vec::new();
        for file in self.instance.queue("maildrop") {
            files.push(mask(&file_records(&file.bytes()).join("|"), &names));
            fs::remove_file(file.path).expect("a message of ours");
        }
        Some(format!("{:?}\n{out}\n{err}\n{}\n", outcome.status, files.join("\n")))
    }
}

#[test]
fn random_words_and_messages() {
    require!(Suite::under_test() == Suite::Postern, "compares Postern's command with Postfix's");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    compare(48, Side::new, case, Side::run);
}
