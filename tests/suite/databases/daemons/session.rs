//! Sessions with the smtpd of a case, and what came of them.

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::Duration;

use conformance::{Client, Instance, Reply, mask};

use super::Case;

/// What came of a session: the replies, and what each daemon logged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) replies: Vec<String>,
    pub(super) log: BTreeMap<String, Vec<String>>,
}

impl Outcome {
    /// The daemon that ended, and why.
    fn fatal(&self) -> Option<(&String, &str)> {
        let fatal = |lines: &Vec<String>| lines.iter().position(|line| line.starts_with("fatal: "));
        self.log.iter().find_map(|(program, lines)| Some((program, &lines[fatal(lines)?]["fatal: ".len()..])))
    }

    /// Where Postfix's process ends because of a table, Postern's says so as of others that cannot be opened, and goes on:
    /// compared is what else it said (docs/differences.md).
    pub(super) fn is_same(&self, theirs: &Outcome) -> bool {
        let Some((program, text)) = theirs.fatal() else { return self == theirs };
        let Some(lines) = self.log.get(program) else { return false };
        let is_told = |level: &str| lines.contains(&format!("{level}: {text}"));
        let mut others = theirs.log[program].iter().filter(|line| !line.starts_with("fatal: "));
        (is_told("error") || is_told("fatal")) && others.all(|line| lines.contains(line))
    }
}

/// A session that lasts.
pub(super) struct Session<'a> {
    instance: &'a Instance,
    case: &'a Case,
    number: usize,
    port: u16,
    /// Lines of the case's daemons that were logged before.
    seen: usize,
    client: Client,
    /// The client is served.
    is_open: bool,
    replies: Vec<String>,
}

/// A session of one message.
pub(super) fn session(instance: &Instance, case: &Case, number: usize, port: u16) -> Outcome {
    let mut session = Session::begin(instance, case, number, port);
    session.message();
    session.end()
}

impl<'a> Session<'a> {
    pub(super) fn begin(instance: &'a Instance, case: &'a Case, number: usize, port: u16) -> Self {
        let seen = log(instance, number).len();
        let client = Client::connect_silently(port);
        let replies = Vec::new();
        let mut session = Session { instance, case, number, port, seen, client, is_open: true, replies };
        session.is_open = session.reply().is_some_and(|reply| reply.code == 220);
        session.say("EHLO client.example.net");
        session
    }

    /// What the case's daemons have logged since it began.
    fn new_lines(&self) -> Vec<(String, String)> {
        log(self.instance, self.number).split_off(self.seen)
    }

    /// The next reply; none when a daemon of the case has ended.
    fn reply(&mut self) -> Option<Reply> {
        while self.client.is_silent_for(Duration::from_millis(100)) {
            if has_ended(&self.new_lines()) {
                return None;
            }
        }
        Some(self.client.read_reply())
    }

    /// The code of the reply to a command; 0 when there is none.
    fn say(&mut self, command: &str) -> u16 {
        if !self.is_open {
            return 0;
        }
        self.client.send(format!("{command}\r\n").as_bytes());
        let reply = self.reply();
        self.is_open = reply.as_ref().is_some_and(|reply| reply.code != 0);
        let Some(reply) = reply.filter(|_| self.is_open) else { return 0 };
        self.replies.push(reply.text());
        reply.code
    }

    /// A message to all recipients of the case, and their delivery where it is an agent's.
    pub(super) fn message(&mut self) {
        let recipients = self.case.recipients(self.number);
        self.say("MAIL FROM:<joe@example.com>");
        for recipient in &recipients {
            self.say(&format!("RCPT TO:<{recipient}>"));
        }
        if self.say("DATA") != 354 {
            self.say("RSET");
        } else if self.say("x\r\n.") == 250 && self.case.is_agents() {
            let id = self.replies.last().and_then(|reply| reply.rsplit(' ').next()).unwrap_or_default();
            self.instance.wait_for("the end of a delivery", || {
                let log = self.instance.log();
                let is_done = |recipient: &String| {
                    let is_it = |text: &str| text.starts_with(&format!("{id}: to=<{recipient}>"));
                    log.iter().any(|line| is_it(&line.text) && line.text.contains(" status="))
                };
                (recipients.iter().all(is_done) || has_ended(&self.new_lines())).then_some(())
            });
        }
    }

    pub(super) fn end(mut self) -> Outcome {
        self.say("QUIT");
        let Session { instance, case, number, port, seen, is_open, replies, .. } = self;
        if is_open {
            instance.wait_for("the end of a session", || {
                let lines = log(instance, number).split_off(seen);
                lines.iter().any(|(_, text)| text.starts_with("disconnect from ")).then_some(())
            });
        }
        let names = HashMap::from([(port.to_string(), "PORT".to_owned())]);
        let mut outcome = Outcome {
            replies: replies.iter().map(|text| mask(text, &names)).collect(),
            log: BTreeMap::new(),
        };
        for (program, text) in log(instance, number).split_off(seen) {
            let text = without_times(&mask(&text, &names));
            let told = outcome.log.entry(program).or_default();
            if !(is_told_by_us(&text) || may_be_repeated(&text) && told.contains(&text)) {
                told.push(text);
            }
        }
        outcome.log.retain(|_, lines| !lines.is_empty());
        // Recipients of a message go to several processes of an agent.
        if case.is_agents()
            && let Some(lines) = outcome.log.get_mut(case.place.daemon)
        {
            lines.sort();
        }
        outcome
    }
}

/// What daemons of this case have logged.
fn log(instance: &Instance, number: usize) -> Vec<(String, String)> {
    let start = format!("c{number}/");
    let lines = instance.log().into_iter();
    lines.filter_map(|line| Some((line.ident.strip_prefix(&start)?.to_owned(), line.text))).collect()
}

fn has_ended(lines: &[(String, String)]) -> bool {
    lines.iter().any(|(_, text)| text.starts_with("fatal: ") || text.starts_with("panic: "))
}

/// What only Postern says: at its start, with the place behind it, and at the end of an outage.
fn is_told_by_us(line: &str) -> bool {
    line.ends_with(" answers again")
        || line.starts_with("warning: ")
            && (line.ends_with("(-o option)") || line.contains("/etc/main.cf, line "))
}

/// Postfix tells each attempt of an outage (docs/differences.md); and requests may go to several processes of proxymap, each of
/// which opens the table.
fn may_be_repeated(line: &str) -> bool {
    ["warning: connect to ", "warning: dict_ldap_connect: ", "error: "]
        .iter()
        .any(|start| line.starts_with(start))
        || line.contains(": I/O error")
}

/// A line without the times in it, and without the errors of the system that are told otherwise (docs/differences.md).
fn without_times(line: &str) -> String {
    if let Some((start, _)) = line.split_once(": I/O error: ") {
        return format!("{start}: I/O error");
    }
    if let Some((start, _)) = line.rsplit_once(": ").filter(|_| line.starts_with("warning: table virtual_")) {
        return start.to_owned();
    }
    if let Some((start, end)) = line.split_once("message-id=<2") {
        let end = end.split_once('@').map_or("", |(_, end)| end);
        return format!("{start}message-id=<...@{end}");
    }
    let times =
        line.split_once(", delay=").and_then(|(start, rest)| Some((start, rest.split_once(", dsn=")?.1)));
    times.map_or_else(|| line.to_owned(), |(start, end)| format!("{start}, dsn={end}"))
}

/// A session with each of the cases.
pub(super) fn sessions(instance: &Instance, cases: &[Case], ports: &[u16]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let started: Vec<_> = cases
            .iter()
            .zip(ports)
            .enumerate()
            .map(|(number, (case, port))| scope.spawn(move || session(instance, case, number, *port)))
            .collect();
        started.into_iter().map(|session| session.join().expect("no panic")).collect()
    })
}
