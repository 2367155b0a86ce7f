//! `postconf` with files and words that nobody would write, on both suites: what it says, and what it makes of the files.
//!
//! Left out is what differs on purpose (docs/differences.md): what is told of several mistakes at once, the order of what
//! comes from a hash table, and where Postfix dies of a signal.

use std::fs;
use std::path::Path;

use conformance::{Dice, Instance, Plan, Suite, require};

use super::beside::{compare, run_in, told};

/// Names of parameters; some that nobody has.
const NAMES: &[&str] = &[
    "mail_name",
    "ipc_ttl",
    "smtpd_banner",
    "relay_domains",
    "max_idle",
    "mynetworks",
    "myhostname",
    "mydomain",
    "smtpd_recipient_restrictions",
    "smtp_destination_concurrency_limit",
    "virtual_maps",
    "process_name",
    "config_directory",
    "own",
    "foo",
    "nosuch",
    "é",
    "smtpd_restriction_classes",
    "cls",
    "x_destination_recipient_limit",
    "transport_maps",
    "db_query",
    "import_environment",
    "syslog_name",
    "always_bcc",
    "2bounce_notice_recipient",
    "smtpd_timout",
    "MAIL_NAME",
];

const VALUES: &[&str] = &[
    "",
    "a",
    "a b   c",
    "$own",
    "${own}",
    "$(own)",
    "${own?x}",
    "${own:y}",
    "${own?{x}:{y}}",
    "${{a}=={b}?{c}:{d}}",
    "$",
    "$$x",
    "$nosuch",
    "hash:/x",
    "{a, b}",
    "{ a = b }",
    "proxy:mysql:db",
    "mysql:db",
    "# x",
    "a\n  b",
    "a\n# b\n c",
    "$foo$own",
    "é",
    "127.0.0.1",
    "cls",
    "unionmap:{hash:/x,mysql:db}",
    "${own?",
    "{a",
    "=",
    "yes",
    "$mail_name",
];

/// What may stand behind an entry of master.cf.
const OPTIONS: &[&str] = &[
    "",
    "",
    " -v",
    " -o own=1",
    " -o smtpd_banner=$own",
    " -o { own = y z }",
    "\n  -o foo=b",
    " -o mynetworks=$nosuch",
    " -o smtpd_restriction_classes=cls\n -o cls=permit",
    " -o db_query=x -o transport_maps=mysql:db",
    " -o own=",
    " -o syslog_name=x/$service_name",
    " -o nosuch=1",
    " {a b} c",
    " -o mail_version=1",
    " -o own=é",
];

const ENTRIES: &[&str] = &[
    "smtp inet n - n - - smtpd",
    "x unix - - n - - pipe\n  flags=R user=nobody argv=/bin/x $own",
    "127.0.0.1:25 inet n - n - - smtpd",
    "cleanup unix n - n - 0 cleanup",
    "x unix - n n - 10 smtp",
    "# smtp inet n - n - - smtpd",
    "a/b unix - - y 60? 1 lmtp",
];

const SERVICES: &[&str] = &[
    "smtp/inet",
    "smtp",
    "x/unix",
    "inet",
    "",
    "/",
    "*",
    "*/inet",
    "x/*",
    "127.0.0.1:25/inet",
    "nosuch/unix",
    "a/b/unix",
    "new/unix",
    "é/inet",
];
const FIELDS: &[&str] =
    &["private", "chroot", "command", "service", "type", "nosuch", "*", "wakeup", "process_limit", ""];
const FIELD_VALUES: &[&str] = &["n", "y", "-", "0", "60?", "smtpd -v", "x", "unix", "", "é"];
const COMMANDS: &[&str] = &[
    "new unix n - n - - smtp",
    "smtp inet n - n - - smtpd -v",
    "x unix n",
    "",
    "new unix n - n - - smtp {a b}",
    "a b",
];

/// main.cf below the instance's own lines, master.cf, and the words.
#[derive(Debug)]
struct Case {
    main: String,
    master: String,
    words: Vec<String>,
}

fn case(dice: &mut Dice) -> Case {
    let mut main = String::new();
    for _ in 0..dice.below(5) {
        main += &format!("{} = {}\n", dice.one_of(NAMES), dice.one_of(VALUES));
    }
    if dice.percent(4) {
        main += *dice.one_of(&["junk\n", "= x\n", "  own = 1\n", "own\t=\t1\n", "é = 1\n"]);
    }
    let mut master = String::new();
    for _ in 0..1 + dice.below(4) {
        master += &format!("{}{}\n", dice.one_of(ENTRIES), dice.one_of(OPTIONS));
    }
    if dice.percent(4) {
        master += *dice.one_of(&["junk\n", "x unix q n n - 1 smtp\n", "y unix n - n - q smtp\n"]);
    }
    Case { main, master, words: words(dice) }
}

fn words(dice: &mut Dice) -> Vec<String> {
    let mut words = Vec::new();
    let mode = *dice.one_of(&["", "", "", "-p", "-M", "-F", "-P", "-a", "-l"]);
    let edit = *dice.one_of(&["", "", "-e", "-X", "-#"]);
    for word in [mode, edit] {
        if !word.is_empty() {
            words.push(word.to_owned());
        }
    }
    for _ in 0..dice.below(3) {
        let word = dice.one_of(&["-d", "-f", "-h", "-H", "-n", "-x", "-o", "-C", "-z", "-M", "-q"]);
        words.push((*word).to_owned());
        match *word {
            "-o" => words.push(setting(dice)),
            "-C" => words.push((*dice.one_of(&["user", "builtin", "service", "all", "bogus"])).to_owned()),
            _ => {}
        }
    }
    for _ in 0..dice.below(3) {
        words.push(operand(dice, mode, edit));
    }
    words
}

fn setting(dice: &mut Dice) -> String {
    let name = *dice.one_of(NAMES);
    let blank = *dice.one_of(&["", " "]);
    format!("{name}{blank}={blank}{}", dice.one_of(VALUES))
}

/// What is shown, or changed and how.
fn operand(dice: &mut Dice, mode: &str, edit: &str) -> String {
    let service = *dice.one_of(SERVICES);
    let name = match mode {
        "-M" => service.to_owned(),
        "-F" => format!("{service}/{}", dice.one_of(FIELDS)),
        "-P" => format!("{service}/{}", dice.one_of(NAMES)),
        _ => (*dice.one_of(NAMES)).to_owned(),
    };
    let sets = edit == "-e" && dice.percent(90) || edit.is_empty() && dice.percent(15);
    let values = match mode {
        _ if !sets => return name,
        "-M" => COMMANDS,
        "-F" => FIELD_VALUES,
        _ => VALUES,
    };
    format!("{name}={}", dice.one_of(values))
}

struct Side {
    instance: Instance,
    main: String,
}

impl Side {
    fn new(suite: Suite) -> Side {
        // A line in both, as lines are counted.
        let ours = if suite == Suite::Postern { "" } else { "# " };
        let instance = Plan::for_suite("postconf-random", suite).prepare();
        let main = format!(
            "queue_directory = /nosuch/spool\ndaemon_directory = /nosuch/libexec\ncommand_directory = /nosuch/bin\n\
             data_directory = /nosuch/data\n{ours}postern_postfix_version = 3.7\n"
        );
        Side { instance, main }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.instance.home().join("etc").join(name)
    }

    fn run(&self, case: &Case) -> Option<String> {
        write(&self.path("main.cf"), &format!("{}{}", self.main, case.main));
        write(&self.path("master.cf"), &case.master);
        let outcome = run_in(&self.instance, self.instance.home(), "postconf", &case.words, "");
        // Of a signal.
        outcome.status?;
        let said = told(&self.instance, "postconf", &outcome.stderr);
        let mut said: Vec<_> = said.lines().map(without_place).collect();
        said.sort_unstable();
        let shown = told(&self.instance, "postconf", &outcome.stdout);
        let shown: Vec<_> = shown.lines().filter(|line| !is_an_addition(line)).collect();
        let files = ["main.cf", "master.cf"].map(|name| {
            let text = read(&self.path(name));
            let lines = text.lines().filter(|line| !line.trim_start_matches("# ").starts_with("postern_"));
            let mut lines: Vec<_> = lines.map(str::to_owned).collect();
            // What is added comes in the order of a hash table.
            lines.sort();
            lines.join("\n")
        });
        Some(format!(
            "{:?}\n{}\n{}\n{}\n",
            outcome.status,
            shown.join("\n"),
            said.join("\n"),
            files.join("\n")
        ))
    }
}

/// Without what only Postern says behind Postfix's words.
fn without_place(line: &str) -> &str {
    let line = line.split(" (HOME/").next().unwrap_or_default();
    line.split(" (-o option").next().unwrap_or_default()
}

/// Whether a line shows a parameter that only Postern has, or that is another one in each process.
fn is_an_addition(line: &str) -> bool {
    const ADDITIONS: &str = include_str!("../../../docs/differences.md");
    let name = line.split([' ', '=']).next().unwrap_or_default();
    name == "process_id"
        || name.starts_with("postern_")
        || !name.is_empty() && ADDITIONS.contains(&format!("`{name}`"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of our own")
}

/// The file is made to look old, so that no program waits for it to come to rest.
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("our own folder");
    let file = fs::File::options().write(true).open(path).expect("our own file");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.set_modified(long_ago).expect("our own file");
}

#[test]
fn random_files_and_words() {
    require!(Suite::under_test() == Suite::Postern, "compares Postern's command with Postfix's");
    compare(60, Side::new, case, Side::run);
}
