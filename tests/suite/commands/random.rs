//! Command lines that nobody would write, given to Postfix's command and to Postern's: the exit status, what is said, and
//! what becomes of the files.
//!
//! `POSTERN_COMMANDS=2000 POSTERN_SEED=7` are more of them, and others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use conformance::{Dice, Instance, Plan, Suite, require};
use nix::unistd::Uid;

use super::beside::{compare, run_in, told};

/// Messages in `incoming`, `deferred` and `hold`.
const IDS: [&str; 3] = ["A80AF99417A", "B2EF1994181", "DBA64994188"];

/// A command: its options without an argument, those with one, and what may stand behind them.
struct Shape {
    name: &'static str,
    flags: &'static str,
    with: &'static str,
    values: &'static [&'static str],
    operands: &'static [&'static str],
}

const TABLES: &[&str] = &[
    "hash:t",
    "btree:t",
    "lmdb:t",
    "cdb:t",
    "texthash:t",
    "hash:bad",
    "hash:aliases",
    "inline:{a=b}",
    "inline:{a}",
    "static:x",
    "regexp:t",
    "cidr:t",
    "unix:passwd.byname",
    "fail:x",
    "nosuch:x",
    "hash:missing",
    "hash:",
    ":t",
    "t",
    "missing",
    "",
    "tcp:127.0.0.1",
    "socketmap:x",
    "socketmap:unix:/nosuch:n",
    "unionmap:{static:a}",
    "pipemap:{",
    "environ:HOME",
    "proxy:hash:t",
    "hash:/nosuch/x",
    "sqlite:missing",
    "lmdb:missing",
    "proxy:",
];
const NAMES: &[&str] =
    &["A80AF99417A", "B2EF1994181", "DBA64994188", "ALL", "all", "-", "", "nosuch", "AB12CD", "../x", "é"];

/// Values of the options of posttls-finger.
const FINGERED: &[&str] = &[
    "may",
    "none",
    "encrypt",
    "dane",
    "secure",
    "bogus",
    "",
    "ipv4",
    "inet6",
    "any",
    "sha256",
    "md5",
    "nosuch",
    "1",
    "0",
    "-1",
    "x",
    "summary",
    "certmatch,untrusted",
    "smtp_tls_loglevel=1",
    "a",
    "smtp_tls_loglevel = x",
    "high",
    "TLSv1",
    "!SSLv2",
    ">=TLSv1.2",
];

const SHAPES: &[Shape] = &[
    Shape {
        name: "postmap",
        flags: "Nfimnoprsuwz",
        with: "dq",
        values: &["a", "-", "c", "é", "A"],
        operands: TABLES,
    },
    Shape {
        name: "postalias",
        flags: "Nfinoprsuwz",
        with: "dq",
        values: &["a", "-", "c", "é", "A"],
        operands: TABLES,
    },
    Shape { name: "postqueue", flags: "fjpz", with: "is", values: NAMES, operands: &["x", ""] },
    Shape {
        name: "postsuper",
        flags: "psz",
        with: "defhHr",
        values: NAMES,
        operands: &[
            "hold", "deferred", "incoming", "active", "maildrop", "trace", "corrupt", "", "nosuch", "pid",
        ],
    },
    Shape { name: "postcat", flags: "bdehnoqz", with: "", values: &[], operands: NAMES },
    Shape {
        name: "postlog",
        flags: "iz",
        with: "pt",
        values: &["info", "warn", "error", "INFO", "", "bogus", "é"],
        operands: &["text", "", "two words", "é", "%s"],
    },
    Shape {
        name: "newaliases",
        flags: "inz",
        with: "oA",
        values: &["Ahash:t", "i", "", "x"],
        operands: &["x", ""],
    },
    Shape { name: "postdrop", flags: "rz", with: "", values: &[], operands: &["x", ""] },
    // Nobody is there to be looked at.
    Shape {
        name: "posttls-finger",
        flags: "CfSwz",
        with: "agHlLmoPp",
        values: FINGERED,
        operands: &[
            "[127.0.0.1]:1",
            "inet:[127.0.0.1]:1",
            "127.0.0.1:1",
            "[::1]:1",
            "[127.0.0.1",
            "[127.0.0.1]:x",
            "[]",
            "unix:nosuch",
            "",
            ":",
        ],
    },
    Shape {
        name: "postkick",
        flags: "z",
        with: "",
        values: &[],
        operands: &["public", "private", "nosuch", "pickup", "W", "", "é"],
    },
];

/// A command's name, its words, and its standard input.
type Case = (&'static str, Vec<String>, &'static str);

fn line(dice: &mut Dice) -> (&'static str, Vec<String>) {
    let shape = dice.one_of(SHAPES);
    let mut words = Vec::new();
    for _ in 0..dice.below(4) {
        let letters: Vec<char> =
            shape.flags.chars().chain(shape.with.chars()).chain(shape.with.chars()).collect();
        let letter = if dice.percent(8) { 'c' } else { *dice.one_of(&letters) };
        if letter == 'c' {
            words.extend(["-c".to_owned(), (*dice.one_of(&["/nosuch", "", "relative", "é"])).to_owned()]);
        } else if shape.with.contains(letter) {
            let value = dice.one_of(shape.values);
            if dice.percent(25) && !value.is_empty() {
                words.push(format!("-{letter}{value}"));
            } else {
                words.extend([format!("-{letter}"), (*value).to_owned()]);
            }
        } else if dice.percent(30) {
            words.push(format!("-{letter}{}", dice.one_of(&shape.flags.chars().collect::<Vec<_>>())));
        } else {
            words.push(format!("-{letter}"));
        }
    }
    if dice.percent(5) {
        words.push((*dice.one_of(&["--", "-", "-q", "-c"])).to_owned());
    }
    let operands = if shape.name == "postkick" { 3 } else { 1 };
    for _ in 0..operands + dice.below(2) - u64::from(dice.percent(30)) {
        words.push((*dice.one_of(shape.operands)).to_owned());
    }
    (shape.name, words)
}

/// A suite that is down, with three messages, and tables in a folder to work in.
struct Side {
    instance: Instance,
    folder: PathBuf,
}

impl Side {
    fn new(suite: Suite) -> Side {
        let mut plan = Plan::for_suite("commands-random", suite);
        plan.set("enable_long_queue_ids", "no").set("hash_queue_names", "flush");
        let instance = plan.prepare();
        let folder = instance.home().join("work");
        // postsuper writes it with the rights of the mail owner.
        let log = instance.home().join("log");
        fs::write(&log, "").expect("our own folder");
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("our own file");
        Side { instance, folder }
    }

    /// As it was before the last command.
    fn lay_out(&self) {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir(&self.folder).expect("our own folder");
        for (name, text) in [
            ("t", "a b\nc d\n"),
            ("bad", "a\n  b\nc: d\n\"x y z\na b\n"),
            ("aliases", "a: b\nc: d, e\na: x\n: y\nq z\n"),
        ] {
            let path = self.folder.join(name);
            fs::write(&path, text).expect("our own folder");
            // A text that has just changed is read until it rests.
            let file = fs::OpenOptions::new().append(true).open(&path).expect("our own file");
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
                .expect("our own file");
        }
        let queue = self.instance.queue_directory();
        for name in ["incoming", "active", "deferred", "hold", "maildrop"] {
            for entry in fs::read_dir(queue.join(name)).expect("laid out").flatten() {
                fs::remove_file(entry.path()).expect("a message of ours");
            }
        }
        let owner = fs::metadata(queue.join("incoming")).expect("laid out");
        for (name, id) in ["incoming", "deferred", "hold"].into_iter().zip(IDS) {
            let path = queue.join(name).join(id);
            fs::write(&path, id).expect("our own folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("our own file");
            let (uid, gid) =
                (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("we are root");
        }
    }

    /// Where files are, and of which message; the names that postsuper gives by the number of the file are not the same in
    /// two runs.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let queue = self.instance.queue_directory();
        for name in ["incoming", "active", "deferred", "hold", "maildrop"] {
            for entry in fs::read_dir(queue.join(name)).expect("laid out").flatten() {
                let id = fs::read_to_string(entry.path()).expect("a message of ours");
                let renamed = if entry.file_name().to_string_lossy() == id { "" } else { " renamed" };
                found.push(format!("{name} {id}{renamed}"));
            }
        }
        for entry in fs::read_dir(&self.folder).expect("our own folder").flatten() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
        found.sort();
        found
    }

    fn run(&self, (name, words, input): &Case) -> String {
        self.lay_out();
        let outcome = run_in(&self.instance, &self.folder, name, words, input);
        let told = |bytes: &[u8]| {
            let text = told(&self.instance, name, bytes);
            // What the name servers of this machine make of a destination.
            let of_dns =
                |line: &&str| !["DNSSEC", "dnssec", "asciified"].iter().any(|word| line.contains(word));
            let mut lines: Vec<_> = text.lines().filter(of_dns).map(plain).collect();
            // The order of a list is that of a hash table.
            if words.iter().any(|word| word.starts_with('-') && word.contains('s')) {
                lines.sort();
            }
            lines.join("\n")
        };
        let (out, err) = (told(&outcome.stdout), told(&outcome.stderr));
        format!("{:?}\n{out}\n{err}\n{}\n", outcome.status, self.files().join(", "))
    }
}

/// A line without what differs in each run, and without what only Postern says behind Postfix's words.
fn plain(line: &str) -> String {
    let line = line.replace("YP_LAST_MODIFIED", "");
    // postdrop tells the name of a file that is new.
    let line = line.split("queue_id").next().unwrap_or_default();
    line.split(": want host:port").next().unwrap_or_default().to_owned()
}

#[test]
fn random_command_lines() {
    require!(Suite::under_test() == Suite::Postern, "compares Postern's commands with Postfix's");
    require!(Uid::effective().is_root(), "postsuper is for the superuser");
    let case = |dice: &mut Dice| {
        let (name, words) = line(dice);
        (name, words, *dice.one_of(&["", "a\nzz\n", "a b\nc: d\n", "A80AF99417A\n", "é x\n"]))
    };
    compare(36, Side::new, case, |side, case| Some(side.run(case)));
}
