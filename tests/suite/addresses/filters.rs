//! Random addresses in front of a before-queue filter: what restrictions have checked is what the filter is told, and
//! both are what Postfix checks and tells.

use std::fmt::Write as _;

use conformance::{Client, Dice, Play, ScriptedFilter, Suite, require};
use nix::unistd::Uid;

use super::clients::{XFORWARD, attributes, without_ports};
use super::random::Generator;
use super::{SHOWN, Side, number, parameters, values};

/// Transactions that one configuration is used for.
const TRANSACTIONS: u64 = 40;

/// What the filter answers, by verb; `/` begins another line of a reply, `|` the next reply.
type Answers = &'static [(&'static str, &'static str)];

const FILTERS: &[Answers] = &[
    &[],
    &[],
    &[("EHLO", "250-filter/250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT/250-SMTPUTF8/250 8BITMIME")],
    &[("EHLO", "250-filter/250-XFORWARD ADDR/250 DSN")],
    &[("EHLO", "250-filter/250 XFORWARD IDENT SOURCE HELO"), ("RCPT", "250 ok|550 no|250 ok|450 later")],
    &[("EHLO", "500 no"), ("HELO", "250 ok")],
    &[("MAIL", "250 ok|550 5.1.7 no"), ("RCPT", "251 ok|550 no")],
];

/// A running instance and its filter.
struct Filtered {
    side: Side,
    filter: ScriptedFilter,
    answers: Answers,
}

impl Filtered {
    fn start(suite: Suite, parameters: &[(String, String)], answers: Answers) -> Filtered {
        let filter = ScriptedFilter::start();
        let mut plan = Side::plan(suite);
        for (name, value) in parameters {
            plan.set(name, value);
        }
        let smtpd = plan.smtpd().clone();
        *plan.smtpd() = smtpd.option("smtpd_proxy_filter", &format!("127.0.0.1:{}", filter.port()));
        let filtered = Filtered { side: Side::run(&plan, values()), filter, answers };
        filtered.play();
        filtered
    }

    fn play(&self) {
        for (verb, replies) in self.answers {
            self.filter.play(verb, replies.split('|').map(|lines| Play::say(&lines.replace('/', "\n"))));
        }
    }

    /// A message, or none, the end of the session, and all that the filter heard in it.
    fn finish(&mut self, content: bool) -> String {
        let mut came = String::new();
        if content {
            let (code, text) = self.side.command(b"DATA");
            came += &text;
            if code == 354 {
                self.side.client.send(b"Subject: x\r\n\r\n.\r\n");
                let _ = write!(came, " | {}", self.side.client.read_reply().text());
            }
        }
        self.side.command(b"QUIT");
        for line in self.filter.heard_bytes() {
            // The date.
            if !line.ends_with(b" +0000 (UTC)") {
                let _ = write!(came, "\n      {}", without_port(&line).escape_ascii());
            }
        }
        self.filter.reset();
        self.play();
        self.side.client = Client::connect(self.side.instance.smtp_port());
        self.side.command(b"EHLO client.example.net");
        came
    }
}

/// XFORWARD without a port of the system.
fn without_port(line: &[u8]) -> Vec<u8> {
    if !line.starts_with(b"XFORWARD") {
        return line.to_vec();
    }
    let words = line.split(|&byte| byte == b' ');
    let kept = words.filter(|word| {
        let port = word.strip_prefix(b"PORT=").unwrap_or_default();
        !(port.len() == 5 && port.iter().all(u8::is_ascii_digit))
    });
    kept.collect::<Vec<_>>().join(&b' ')
}

/// The same sessions on both sides.
struct Both {
    ours: Filtered,
    theirs: Filtered,
    different: Vec<String>,
    said: Vec<String>,
}

impl Both {
    fn command(&mut self, line: &[u8]) -> u16 {
        let (_, ours) = self.ours.side.command(line);
        let (code, theirs) = self.theirs.side.command(line);
        self.said.push(line.escape_ascii().to_string());
        self.note(&ours, &theirs);
        code
    }

    fn note(&mut self, ours: &str, theirs: &str) {
        if without_ports(ours) != without_ports(theirs) {
            let said = self.said.join("\n    ");
            self.different.push(format!("    {said}\n  under test: {ours}\n  Postfix:    {theirs}\n"));
        }
    }

    fn session(&mut self, dice: &mut Dice, wide: bool, parameter: &[u8]) {
        for _ in 0..dice.below(3) {
            self.command(&attributes(dice, "XFORWARD", XFORWARD));
        }
        let sender = [b"MAIL FROM:", &Generator::new(dice, wide).path()[..], parameter].concat();
        if self.command(&sender) != 250 {
            self.command(b"RSET");
            let sender = dice.one_of(&["<u@local.test>", "<\"x y\"@other.test>", "<>"]);
            self.command(&[b"MAIL FROM:", sender.as_bytes(), parameter].concat());
        }
        let mut accepted = false;
        for _ in 0..3 {
            accepted |= self.command(&[b"RCPT TO:", &Generator::new(dice, wide).path()[..]].concat()) == 250;
        }
        let content = accepted && dice.percent(60);
        let (ours, theirs) = (self.ours.finish(content), self.theirs.finish(content));
        self.note(&ours, &theirs);
        self.said.clear();
    }
}

#[test]
fn told_as_checked() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    let (seed, count) = (number("POSTERN_SEED", 1), number("POSTERN_FILTERED", 120));
    println!("seed {seed}, {count} sessions");
    let mut dice = Dice::new(seed);
    let (mut done, mut different) = (0, Vec::new());
    while done < count {
        let mut parameters = parameters(&mut dice);
        parameters.push(("smtpd_authorized_xforward_hosts".into(), "static:all".into()));
        parameters.push(("inet_protocols".into(), "all".into()));
        let options = *dice.one_of(&["", "", "speed_adjust"]);
        parameters.push(("smtpd_proxy_options".into(), options.into()));
        let answers = *dice.one_of(FILTERS);
        let [ours, theirs] =
            [Suite::under_test(), Suite::Postfix].map(|suite| Filtered::start(suite, &parameters, answers));
        let mut both = Both { ours, theirs, different: Vec::new(), said: Vec::new() };
        let wide = dice.percent(50);
        let parameter: &[u8] = if wide && dice.percent(50) { b" SMTPUTF8" } else { b"" };
        for _ in 0..TRANSACTIONS.min(count - done) {
            both.session(&mut dice, wide, parameter);
            done += 1;
        }
        let [ours, theirs] = [&both.ours, &both.theirs].map(|side| {
            let mut lines = side.side.log("smtpd");
            lines.sort();
            let port = format!(":{}", side.filter.port());
            lines.iter().map(|line| without_ports(line).replace(&port, ":FILTER")).collect::<Vec<_>>()
        });
        if ours != theirs {
            let only = |these: &[String], those: &[String]| {
                these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>().join("\n    ")
            };
            let (more, less) = (only(&ours, &theirs), only(&theirs, &ours));
            both.different.push(format!("log\n  under test: {more}\n  Postfix:    {less}\n"));
        }
        if !both.different.is_empty() {
            different.push(format!("with {parameters:?} {answers:?}:\n"));
            different.extend(both.different);
        }
    }
    let shown = different.iter().take(SHOWN).map(String::as_str).collect::<String>();
    assert!(different.is_empty(), "seed {seed}: {} differences\n{shown}", different.len());
}
