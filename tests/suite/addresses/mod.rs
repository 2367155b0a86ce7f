//! Random addresses on Postfix and on the suite under test: the same replies, the same lines in the log, the same keys
//! asked of tables, and the same addresses in the queue file.
//!
//! What is checked must be what is queued: a form of an address for which restrictions and tables see something else
//! than cleanup writes is a way around them. `POSTERN_ADDRESSES` is how many addresses there are in one run (the
//! default is a few thousand), and `POSTERN_SEED` a number that makes them; a failure tells both.

mod clients;
mod filters;
mod headers;
mod random;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;

use conformance::{Client, Dice, Instance, Plan, RecordingMap, Suite, mask, require};
use nix::unistd::Uid;

use random::Generator;

/// Differences that a failure shows.
const SHOWN: usize = 30;
/// Transactions that one configuration is used for.
const TRANSACTIONS: u64 = 60;
/// Addresses that one transaction needs.
const ADDRESSES: u64 = 5;

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// What tables have; every table has the same.
fn values() -> HashMap<String, String> {
    [
        ("spammer@bad.test", "REJECT no spam"),
        ("spammer@", "REJECT no spammers"),
        ("bad.test", "REJECT bad domain"),
        ("other.test", "DUNNO"),
        ("u@relay.test", "DUNNO"),
        ("u@virt.test", "DUNNO"),
        ("u@box.test", "OK"),
        ("u@local.test", "OK"),
        ("u", "DUNNO"),
        ("u+ext@relay.test", "DUNNO"),
        ("x y@relay.test", "DUNNO"),
        ("\"x y\"@relay.test", "REJECT quoted"),
        ("joe@", "450 joe"),
        ("<>", "DUNNO"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// One of two: a running instance, with the tables that it asks.
struct Side {
    instance: Instance,
    tables: RecordingMap,
    client: Client,
}

impl Side {
    fn start(suite: Suite, parameters: &[(String, String)]) -> Side {
        let mut plan = Side::plan(suite);
        for (name, value) in parameters {
            plan.set(name, value);
        }
        Side::run(&plan, values())
    }

    /// With tables that note what they are asked.
    fn plan(suite: Suite) -> Plan {
        let mut plan = Plan::for_suite("addresses", suite);
        // Tables are for smtpd and trivial-rewrite; what cleanup looks up is another matter.
        let table = |name: &str| format!("proxy:texthash:{name}");
        for name in ["relay_recipient_maps", "local_recipient_maps", "virtual_mailbox_maps"] {
            plan.set(name, &table(name));
        }
        for (name, value) in [
            ("mydestination", "$myhostname, local.test"),
            ("relay_domains", "relay.test"),
            ("virtual_alias_domains", "virt.test"),
            ("virtual_mailbox_domains", "box.test"),
            ("smtpd_soft_error_limit", "1000000"),
            ("smtpd_hard_error_limit", "1000000"),
            ("smtpd_junk_command_limit", "1000000"),
            ("smtpd_error_sleep_time", "0"),
            ("smtpd_sender_restrictions", "check_sender_access proxy:texthash:sender_access"),
            ("smtpd_recipient_restrictions", "check_recipient_access proxy:texthash:recipient_access"),
            ("disable_vrfy_command", "no"),
        ] {
            plan.set(name, value);
        }
        let smtpd = plan.smtpd().clone();
        *plan.smtpd() = smtpd
            .option("virtual_alias_maps", &table("virtual_alias_maps"))
            .option("smtpd_sender_login_maps", &table("smtpd_sender_login_maps"));
        plan
    }

    fn run(plan: &Plan, values: HashMap<String, String>) -> Side {
        let instance = plan.prepare();
        let tables = RecordingMap::start(&instance, values);
        let started = instance.start_master(&["-w"]);
        assert_eq!(started.status, Some(0), "{started:?}");
        let mut client = Client::connect(instance.smtp_port());
        client.command("EHLO client.example.net");
        Side { instance, tables, client }
    }

    /// A command and all that came of it.
    fn command(&mut self, line: &[u8]) -> (u16, String) {
        self.client.send(&[line, b"\r\n"].concat());
        let reply = self.client.read_reply();
        let mut came = reply.text();
        // `*` is asked for when a process starts, and again after a while.
        for key in self.tables.take().iter().filter(|key| !key.ends_with(" *")) {
            let _ = write!(came, " | {key}");
        }
        (reply.code, came)
    }

    /// DATA with a small message, and the addresses that were queued.
    fn message(&mut self) -> String {
        self.message_of(queued)
    }

    /// The same with other records of the file.
    fn message_of(&mut self, queued: fn(&[u8]) -> String) -> String {
        let (code, text) = self.command(b"DATA");
        if code != 354 {
            return text;
        }
        self.client.send(b"Subject: x\r\n\r\n.\r\n");
        let text = self.client.read_reply().text();
        let Some(id) = text.rsplit(' ').next().filter(|_| text.starts_with("250")) else { return text };
        let files = self.instance.queue("incoming");
        let file = files.iter().find(|file| file.queue_id == id).expect("the file that was named");
        let queued = queued(&file.bytes());
        fs::remove_file(&file.path).expect("nobody else takes it");
        queued
    }

    /// The lines that a program has logged, from the given one on.
    fn log(&self, program: &str) -> Vec<String> {
        let lines = self.instance.log_of(program);
        let quiet = ["connect from", "disconnect from", "statistics:"];
        let told =
            |line: &&String| !quiet.iter().any(|text| line.contains(text)) && !is_of_the_instance(line);
        let lines = lines.iter().filter(told);
        // A message ID has the time in it.
        let lines = lines.map(|line| if line.contains("message-id=<") { "message-id" } else { line });
        lines.map(|line| mask(line, &HashMap::new())).collect()
    }
}

/// What cleanup says of the instance and not of the message: there is no queue manager.
pub(crate) fn is_of_the_instance(line: &str) -> bool {
    line.contains("unable to look up public/qmgr")
}

/// The records of a queue file: type and data.
pub(crate) fn records(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let [kind, tail @ ..] = rest {
        let (mut length, mut shift, mut used) = (0_usize, 0, 0);
        for byte in tail {
            length |= usize::from(byte & 0x7f) << shift;
            (shift, used) = (shift + 7, used + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        records.push((*kind, &tail[used..used + length]));
        rest = &tail[used + length..];
    }
    records
}

/// The records that are about addresses, and the line of the trace header that names a recipient.
fn queued(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (kind, data) in records(bytes) {
        let data = String::from_utf8_lossy(data);
        let attribute = ["dsn", "notify", "sasl", "encoding"].iter().any(|name| data.starts_with(name));
        let shown = match kind {
            b'S' | b'R' | b'O' | b'D' => true,
            b'A' => attribute,
            b'N' => data.starts_with("\tfor "),
            _ => false,
        };
        if shown {
            // The date stands behind the recipient.
            let data = data.split(';').next().filter(|_| kind == b'N').unwrap_or(&data);
            let _ = write!(text, " {}<{data}>", char::from(kind));
        }
    }
    text
}

/// The same transactions on both sides.
struct Comparison {
    ours: Side,
    theirs: Side,
    different: Vec<String>,
}

impl Comparison {
    /// Whether both sides accept, or Postfix alone.
    fn command(&mut self, line: &[u8]) -> u16 {
        let (_, ours) = self.ours.command(line);
        let (code, theirs) = self.theirs.command(line);
        self.note(&String::from_utf8_lossy(line), &ours, &theirs);
        code
    }

    fn note(&mut self, what: &str, ours: &str, theirs: &str) {
        if ours != theirs {
            self.different.push(format!("{what:?}\n  under test: {ours}\n  Postfix:    {theirs}\n"));
        }
    }

    fn transaction(&mut self, dice: &mut Dice, wide: bool, parameter: &[u8]) {
        let path = |dice: &mut Dice| Generator::new(dice, wide).path();
        let gap = |dice: &mut Dice| if dice.percent(10) { &b" "[..] } else { b"" };
        let mut said = Vec::new();
        let sender = [b"MAIL FROM:", gap(dice), &path(dice), parameter].concat();
        if self.command(&sender) != 250 {
            self.command(b"RSET");
            self.command(&[b"MAIL FROM:<>", parameter].concat());
        }
        said.push(sender);
        let mut accepted = 0;
        for _ in 0..ADDRESSES - 2 {
            let mut line = [b"RCPT TO:", gap(dice), &path(dice)].concat();
            if dice.percent(10) {
                line.extend_from_slice(b" ORCPT=rfc822;");
                let address = Generator::new(dice, false).address();
                for byte in address {
                    if byte.is_ascii_graphic() && byte != b'+' && byte != b'=' || dice.percent(5) {
                        line.push(byte);
                    } else {
                        line.extend_from_slice(format!("+{byte:02X}").as_bytes());
                    }
                }
            }
            accepted += usize::from(self.command(&line) == 250);
            said.push(line);
        }
        self.command(&[b"VRFY ", &path(dice)[..]].concat());
        if accepted > 0 {
            let (ours, theirs) = (self.ours.message(), self.theirs.message());
            let said: Vec<_> = said.iter().map(|line| String::from_utf8_lossy(line)).collect();
            self.note(&said.join("\n"), &ours, &theirs);
        }
        self.command(b"RSET");
    }

    fn logs(&mut self) {
        for side in [&mut self.ours, &mut self.theirs] {
            side.command(b"QUIT");
            side.instance.wait_for_log("disconnect from");
        }
        for program in ["smtpd", "cleanup", "trivial-rewrite"] {
            let (mut ours, mut theirs) = (self.ours.log(program), self.theirs.log(program));
            if program == "trivial-rewrite" {
                // Answers are remembered, so only what is said counts, not how often.
                for lines in [&mut ours, &mut theirs] {
                    lines.sort();
                    lines.dedup();
                }
            }
            let only = |these: &[String], those: &[String]| {
                let mut left: HashMap<String, i32> = HashMap::new();
                those.iter().for_each(|line| *left.entry(line.clone()).or_default() += 1);
                let missing = these.iter().filter(|line| {
                    let count = left.entry((*line).clone()).or_default();
                    *count -= 1;
                    *count < 0
                });
                missing.cloned().collect::<Vec<_>>().join("\n    ")
            };
            if ours != theirs {
                let (more, less) = (only(&ours, &theirs), only(&theirs, &ours));
                self.note(&format!("log of {program}"), &format!("{more} "), &less);
            }
        }
    }
}

/// A configuration: what changes the way of an address.
fn parameters(dice: &mut Dice) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut set = |name: &str, value: &str| parameters.push((name.to_owned(), value.to_owned()));
    for (name, usual, percent) in [
        ("strict_rfc821_envelopes", false, 40),
        ("resolve_dequoted_address", true, 30),
        ("allow_percent_hack", true, 30),
        ("swap_bangpath", true, 30),
        ("allow_untrusted_routing", false, 40),
        ("append_at_myorigin", true, 15),
        ("append_dot_mydomain", false, 30),
        ("resolve_null_domain", false, 30),
        ("resolve_numeric_domain", false, 30),
        ("strict_smtputf8", false, 20),
        ("allow_min_user", false, 30),
        ("smtpd_delay_reject", true, 60),
        ("enable_original_recipient", true, 20),
        ("smtpd_reject_unlisted_sender", false, 40),
    ] {
        set(name, if usual != dice.percent(percent) { "yes" } else { "no" });
    }
    set("recipient_delimiter", dice.one_of::<&str>(&["", "+", "+-", "-"]));
    set("empty_address_recipient", dice.one_of::<&str>(&["MAILER-DAEMON", "null@other.test"]));
    set("info_log_address_format", dice.one_of::<&str>(&["external", "external", "internal"]));
    set("mynetworks", dice.one_of::<&str>(&["127.0.0.0/8", "192.0.2.0/24"]));
    set("parent_domain_matches_subdomains", dice.one_of::<&str>(&["", "relay_domains, smtpd_access_maps"]));
    set(
        "smtpd_relay_restrictions",
        dice.one_of::<&str>(&[
            "permit_mynetworks, reject_unauth_destination",
            "permit_auth_destination, permit_mynetworks, defer_unauth_destination",
        ]),
    );
    parameters
}

#[test]
fn checked_as_queued() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_ADDRESSES", 3000));
    println!("seed {seed}, {count} addresses");
    let mut dice = Dice::new(seed);
    let (mut done, mut different) = (0, Vec::new());
    while done < count {
        let parameters = parameters(&mut dice);
        let mut comparison = Comparison {
            ours: Side::start(Suite::under_test(), &parameters),
            theirs: Side::start(Suite::Postfix, &parameters),
            different: Vec::new(),
        };
        let wide = dice.percent(50);
        let parameter: &[u8] = if wide && dice.percent(50) { b" SMTPUTF8" } else { b"" };
        for _ in 0..TRANSACTIONS.min((count - done).div_ceil(ADDRESSES)) {
            comparison.transaction(&mut dice, wide, parameter);
            done += ADDRESSES;
        }
        comparison.logs();
        if !comparison.different.is_empty() {
            different.push(format!("with {parameters:?}:\n"));
            different.extend(comparison.different);
        }
    }
    let shown = different.iter().take(SHOWN).map(String::as_str).collect::<String>();
    assert!(different.is_empty(), "seed {seed}: {} differences\n{shown}", different.len());
}
