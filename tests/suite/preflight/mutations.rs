//! Random wrong lines and fields in the files of a mail system that runs, and `postfix reload`: where Postfix takes mail then,
//! Postern does, and both do when the mistake is repaired.
//!
//! `POSTERN_MUTATIONS=300 POSTERN_SEED=7` are more of them, and others.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Client, Dice, Instance, Plan, Suite, require};
use nix::unistd::Uid;

use crate::addresses::number;

/// How long a server of Postfix's is waited for, of which it is not known whether it serves: one that cannot start is
/// throttled for a minute.
const LIMIT: Duration = Duration::from_secs(3);

const VALUES: &[&str] = &[
    "",
    "garbage",
    "-1",
    "0",
    "1",
    "99999999999999999999",
    "2147483648",
    "${x",
    "$",
    "$$",
    "$nosuch",
    "${{a}=={b}?{c}:{d}}",
    "$mydestination",
    "/nosuch/x",
    "/tmp",
    "hash:/nosuch/x",
    "hash:",
    "static:x",
    "inline:{",
    "inline:{a=b}",
    "regexp:/nosuch",
    "nosuch:x",
    "proxy:hash:/nosuch",
    "unionmap:{",
    "tcp:127.0.0.1:1",
    "socketmap:unix:/x:y",
    "unix:passwd.byname",
    "yes",
    "no",
    "maybe",
    "5x",
    "0s",
    "-5s",
    "!",
    "[",
    "[::1]",
    "192.0.2.77",
    "10.0.0.1/8",
    "10.0.0.0/33",
    "all",
    "ipv6",
    "loopback-only",
    "exa mple.com",
    "é",
    "{",
    "}",
    "{ a = b }",
    "\"x\"",
    "reject",
    "permit",
    "check_client_access",
    "check_client_access hash:/nosuch",
    "check_policy_service unix:/x",
    "sleep 1",
    "smtp:[127.0.0.1]:1",
    "local",
    "error:x",
    "root",
    "nobody",
    "nosuchuser",
    "inet:127.0.0.1:1",
    "unix:/nosuch",
    "TLSv1",
    "!SSLv2",
    "may",
    "encrypt",
    "none",
    "lmdb",
    "3.6",
    "9999",
    "%s%n",
    "a;b",
    "/bin/false",
    "..",
    "local7",
    "bounce",
    "resource, software",
    "450",
    "999",
    "=",
    "# x",
];
const WORDS: &[&str] = &[
    "x",
    "-",
    "y",
    "n",
    "0",
    "-1",
    "99999",
    "60?",
    "!",
    "é",
    "q",
    "127.0.0.1:x",
    "[",
    "inet",
    "unix",
    "fifo",
    "pass",
    "unix-dgram",
    "smtpd",
    "cleanup",
    "nosuch",
    "showq",
    "{",
    "}",
    "-v",
    "-o",
    "#",
    "=",
    "4294967297",
];
/// Lines that are no settings.
const LINES: &[&str] = &[
    "garbage",
    "= x",
    "\\",
    "\u{feff}x = y",
    "a = b\r",
    "  continued",
    "\t",
    "myhostname=",
    "${",
    "x y = z",
];

/// What is done to one of the files.
#[derive(Debug)]
enum Mutation {
    /// A line at the end of main.cf.
    Line(String),
    /// A word of an entry of master.cf is another: which entry, which field.
    Field(u64, u64, &'static str),
    /// A setting of an entry.
    Option(u64, String),
    /// An entry is gone.
    Entry(u64),
}

impl Mutation {
    fn new(dice: &mut Dice, names: &[String]) -> Mutation {
        let setting = format!("{} = {}", dice.one_of(names), dice.one_of(VALUES));
        let entry = dice.below(1000);
        match dice.below(100) {
            0..55 => Mutation::Line(setting),
            55..62 => Mutation::Line((*dice.one_of(LINES)).to_owned()),
            62..82 => Mutation::Field(entry, dice.below(8), dice.one_of::<&str>(WORDS)),
            82..96 => Mutation::Option(entry, setting),
            _ => Mutation::Entry(entry),
        }
    }

    fn apply(&self, instance: &Instance) {
        let entry = |number: u64, change: &dyn Fn(&str) -> String| {
            instance.edit_master_cf(|text| {
                let count = text.lines().count() as u64;
                let lines = (0..).zip(text.lines());
                lines
                    .map(|(at, line)| if at == number % count { change(line) } else { format!("{line}\n") })
                    .collect()
            });
        };
        match self {
            Mutation::Line(line) => instance.edit_main_cf(|text| format!("{text}{line}\n")),
            Mutation::Field(number, field, word) => entry(*number, &|line| {
                let words = (0..).zip(line.split_whitespace());
                let words: Vec<_> = words.map(|(at, old)| if at == *field { word } else { old }).collect();
                words.join(" ") + "\n"
            }),
            Mutation::Option(number, setting) => {
                entry(*number, &|line| format!("{line}\n  -o {{ {setting} }}\n"))
            }
            Mutation::Entry(number) => entry(*number, &|_| String::new()),
        }
    }
}

/// A mail system that runs, and its files without a mistake.
struct Side {
    instance: Instance,
    files: [String; 2],
}

impl Side {
    fn new(suite: Suite) -> Side {
        let mut plan = Plan::for_suite("preflight-mutations", suite);
        plan.with_delivery().set("local_transport", "discard:");
        let instance = plan.start();
        instance.expect_fault("fatal: ");
        let read =
            |name: &str| std::fs::read_to_string(instance.home().join("etc").join(name)).expect("laid out");
        let files = [read("main.cf"), read("master.cf")];
        Side { instance, files }
    }

    /// Whether it is refused is not the point. What is asked next shall be answered by processes of the new configuration, as
    /// far as the log tells that they are.
    fn reload(&self) {
        let reloads = || self.instance.log_text().matches("reload -- version ").count();
        let (before, until) = (reloads(), Instant::now() + LIMIT);
        let is_done = self.instance.run("postfix", &["reload"]).status == Some(0);
        while is_done && reloads() == before && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn repair(&self) {
        self.instance.edit_main_cf(|_| self.files[0].clone());
        self.instance.edit_master_cf(|_| self.files[1].clone());
        if self.instance.master_pid().is_none() {
            self.instance.start_master(&["-w"]);
        }
        self.reload();
    }

    /// Whether a message is taken. A server with a limit is not waited for beyond it.
    fn serves(&self, limit: Option<Duration>) -> bool {
        let port = self.instance.smtp_port();
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return false;
        }
        let mut client = Client::connect_silently(port);
        let mut agrees = |line: &str| {
            client.send(line.as_bytes());
            !limit.is_some_and(|limit| client.is_silent_for(limit))
                && (200..400).contains(&client.read_reply().code)
        };
        [
            "",
            "EHLO client.example.net\r\n",
            "MAIL FROM:<a@example.com>\r\n",
            "RCPT TO:<b@example.com>\r\n",
            "DATA\r\n",
            "Subject: x\r\n\r\nx\r\n.\r\n",
        ]
        .into_iter()
        .all(&mut agrees)
    }
}

/// Parameters, but for those that could have folders and files made elsewhere.
fn names(instance: &Instance) -> Vec<String> {
    let defaults = instance.run("postconf", &["-d"]).out();
    let names = defaults.lines().filter_map(|line| Some(line.split_once(" =")?.0.to_owned()));
    names
        .filter(|name| !["_directory", "maillog_file", "debugger"].iter().any(|part| name.contains(part)))
        .collect()
}

#[test]
fn random_mistakes_and_reloads() {
    require!(Suite::under_test() == Suite::Postern, "compares Postern with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (count, seed) = (number("POSTERN_MUTATIONS", 2), number("POSTERN_SEED", 1));
    let mut dice = Dice::new(seed);
    let [theirs, ours] = [Suite::Postfix, Suite::Postern].map(Side::new);
    let names = names(&theirs.instance);
    assert!(names.len() > 500, "{names:?}");
    let mut less = Vec::new();
    for _ in 0..count {
        let mutation = Mutation::new(&mut dice, &names);
        for side in [&theirs, &ours] {
            mutation.apply(&side.instance);
            side.reload();
        }
        if theirs.serves(Some(LIMIT)) && !ours.serves(None) {
            less.push(format!("{mutation:?}"));
        }
        for side in [&theirs, &ours] {
            side.repair();
        }
        if theirs.serves(Some(LIMIT)) && !ours.serves(None) {
            less.push(format!("{mutation:?}, repaired"));
        }
    }
    assert!(
        less.is_empty(),
        "of {count} with seed {seed} served less: {less:#?}\n{}",
        ours.instance.log_text()
    );
}
