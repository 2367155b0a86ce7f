//! Tables that map addresses in cleanup: what comes of them on Postfix and on the suite under test. Raw record streams
//! are given to cleanup's own socket, and status, reason, records of the queue file, keys asked of the tables in their
//! order, and the lines of the log are compared.
//!
//! `POSTERN_MAPPINGS` is how many random messages there are in one run, and `POSTERN_SEED` a number that makes them.

mod cases;
mod extremes;
mod failing;
mod random;
mod services;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use conformance::{Instance, Plan, QueueFile, RecordingMap, Suite, mask, require};
use nix::unistd::Uid;

use crate::addresses;
use crate::cleanup::{FLAGS, list, record};

/// Differences that a failure shows.
const SHOWN: usize = 20;

/// How records begin that are not the same in two runs; the trace header has lines that are a date.
const MADE_HERE: [&str; 17] = [
    "create_time=",
    "log_client_port=",
    "client_port=",
    "server_port=",
    "log_ident=",
    "Resent-Message-Id:",
    "Received: ",
    "\tby ",
    "\tid ",
    "\tfor ",
    "\tMon,",
    "\tTue,",
    "\tWed,",
    "\tThu,",
    "\tFri,",
    "\tSat,",
    "\tSun,",
];

/// A configuration: parameters, and what recorded tables have, by `NAME KEY` or by `KEY` for all.
#[derive(Debug, Default, Clone)]
struct Configuration {
    parameters: Vec<(String, String)>,
    values: HashMap<String, String>,
}

impl Configuration {
    fn new(parameters: &[(&str, &str)], values: &[(&str, &str)]) -> Configuration {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Configuration {
            parameters: parameters.iter().map(owned).collect(),
            values: values.iter().map(owned).collect(),
        }
    }
}

/// An address as a header or a table has it: the local part quoted where it has to be.
fn quoted(address: &str) -> String {
    let at = address.rfind('@').unwrap_or(address.len());
    let (local, domain) = address.split_at(at);
    let special = |byte: u8| byte <= b' ' || b"()<>@,;:\\\"[]".contains(&byte);
    let is_plain =
        !local.is_empty() && !local.bytes().any(special) && local.split('.').all(|atom| !atom.is_empty());
    if is_plain {
        return address.to_owned();
    }
    format!("\"{}\"{domain}", local.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A message for cleanup.
#[derive(Debug, Clone)]
struct Message {
    flags: u32,
    /// Type and data of each record.
    records: Vec<(u8, Vec<u8>)>,
}

impl Message {
    /// A message from `sender` to recipients that are given as text records (`R x`, `A notify_flags=2`), with header lines.
    fn new(sender: &str, recipients: &[&str], headers: &[&str]) -> Message {
        let split = |line: &&str| (line.as_bytes()[0], line.as_bytes().get(2..).unwrap_or_default().to_vec());
        let mut records = vec![
            (b'T', b"1795327907 5".to_vec()),
            (b'A', b"rewrite_context=local".to_vec()),
            (b'S', sender.as_bytes().to_vec()),
        ];
        records.extend(recipients.iter().map(split));
        records.push((b'M', Vec::new()));
        for line in ["Received: by x; now", "Message-Id: <a@b>", "Date: x"].iter().chain(headers) {
            records.push((b'N', line.as_bytes().to_vec()));
        }
        records.extend([
            (b'N', Vec::new()),
            (b'N', b"body".to_vec()),
            (b'X', Vec::new()),
            (b'E', Vec::new()),
        ]);
        Message { flags: FLAGS, records }
    }

    fn with_flags(self, flags: u32) -> Message {
        Message { flags, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        self.records.iter().flat_map(|(kind, data)| record(*kind, data)).collect()
    }

    fn shown(&self) -> String {
        let lines = self.records.iter().map(|(kind, data)| {
            let data = data.get(..200).unwrap_or(data);
            format!("  {} {}\n", char::from(*kind), String::from_utf8_lossy(data))
        });
        format!("flags {}\n{}", self.flags, lines.collect::<String>())
    }
}

/// One of two: a running instance, with the tables that it asks.
struct Side {
    instance: Instance,
    tables: RecordingMap,
}

impl Side {
    fn start(suite: Suite, configuration: &Configuration) -> Side {
        Side::start_plan(Plan::for_suite("mapping", suite), configuration)
    }

    fn start_plan(mut plan: Plan, configuration: &Configuration) -> Side {
        // trivial-rewrite is not asked where mail goes.
        plan.set("virtual_alias_domains", "").set("mydestination", "$myhostname, local.test");
        plan.set("recipient_delimiter", "+");
        for (name, value) in &configuration.parameters {
            plan.set(name, value);
        }
        let instance = plan.prepare();
        let tables = RecordingMap::start(&instance, configuration.values.clone());
        let started = instance.start_master(&["-w"]);
        assert_eq!(started.status, Some(0), "{started:?}");
        Side { instance, tables }
    }

    /// All that comes of a message but the log.
    fn submit(&self, message: &Message) -> String {
        let socket = self.instance.queue_directory().join("public/cleanup");
        let mut client = UnixStream::connect(&socket).expect("cleanup listens");
        client.set_read_timeout(Some(Duration::from_secs(300))).expect("a time limit");
        let id = list(&mut client)[3].clone();
        let flags = message.flags;
        client.write_all(format!("flags\0{flags}\0\0").as_bytes()).expect("cleanup reads");
        client.write_all(&message.bytes()).expect("cleanup reads all");
        let reply = list(&mut client);
        // The connection's end is the message's: what is logged about it has been.
        let _ = client.read(&mut [0]);
        let mut text = format!("  status {} {}\n", reply[1], reply[3]);
        let file = self.instance.queue("incoming").into_iter().find(|file| file.queue_id == id);
        if let Some(file) = file {
            text += &self.file(&file);
        }
        let keys = self.tables.take();
        let shown = keys.len().min(60);
        let _ = writeln!(text, "  {} keys: {}", keys.len(), keys[..shown].join(" | "));
        text
    }

    /// The records of a queue file, which is gone then; those that are the same in two runs.
    fn file(&self, file: &QueueFile) -> String {
        let mut text = String::new();
        let bytes = file.bytes();
        for (kind, data) in addresses::records(&bytes) {
            // The size record tells sizes of what stands here, and flags.
            let data = if kind == b'C' { data.get(31..).unwrap_or_default() } else { data };
            let data = String::from_utf8_lossy(data);
            let made_here = MADE_HERE.iter().any(|name| data.starts_with(name));
            if !made_here && !matches!(kind, b'T' | b'M' | b'X' | b'E') {
                let _ = writeln!(text, "  {} {data}", char::from(kind));
            }
        }
        fs::remove_file(&file.path).expect("nobody else takes it");
        text
    }

    /// Cleanup's lines.
    fn log(&self) -> Vec<String> {
        // The log's service writes behind the programs that log.
        self.submit(
            &Message::new("", &["R last@last.test"], &["Message-Id: <the-last-one@x>"]).with_flags(0),
        );
        self.instance.wait_for_log("message-id=<the-last-one@x>");
        let mut lines = self.instance.log();
        lines.retain(|line| line.program() == "cleanup");
        // Who comes before master has heard that the process is idle again gets another one, which opens its tables too.
        let first = lines.first().map(|line| line.pid);
        lines.retain(|line| Some(line.pid) == first || !line.text.starts_with("error: open "));
        let lines: Vec<_> = lines.into_iter().map(|line| line.text).collect();
        // An ID that is made here has the time in it.
        let told = |line: &&String| {
            !addresses::is_of_the_instance(line)
                && !line.contains("resent-message-id=")
                // Where a table that cannot be opened is named is told by Postern only.
                && !line.contains("etc/main.cf, line ")
        };
        let lines = lines.iter().filter(told);
        // So has how late a message is that was made long ago.
        let late = |line: String| match (line.find("delay="), line.find("dsn=")) {
            (Some(from), Some(to)) if from < to => [&line[..from], &line[to..]].concat(),
            _ => line,
        };
        lines.map(|line| late(mask(line, &HashMap::new()))).collect()
    }
}

/// The lines that the other text does not have.
fn only(text: &str, other: &str) -> String {
    let lines = text.lines().filter(|line| !other.lines().any(|known| known == *line));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Gives all messages to both suites; the differences, as texts.
fn differences(configuration: &Configuration, messages: &[Message]) -> Vec<String> {
    let [ours, theirs] = [Suite::under_test(), Suite::Postfix].map(|suite| Side::start(suite, configuration));
    let mut different = Vec::new();
    for message in messages {
        let (left, right) = (ours.submit(message), theirs.submit(message));
        if left != right {
            let (left, right) = (only(&left, &right), only(&right, &left));
            different.push(format!("{}only under test:\n{left}only Postfix:\n{right}\n", message.shown()));
        }
    }
    let (left, right) = (ours.log(), theirs.log());
    if left != right {
        let at = left.iter().zip(&right).position(|(left, right)| left != right);
        let at = at.unwrap_or(left.len().min(right.len()));
        let part = |lines: &[String]| {
            lines.iter().skip(at.saturating_sub(3)).take(9).cloned().collect::<Vec<_>>().join("\n  ")
        };
        different.push(format!("log\nunder test:\n  {}\nPostfix:\n  {}\n", part(&left), part(&right)));
    }
    if !different.is_empty() {
        println!("{}", messages.iter().map(Message::shown).collect::<String>());
        different.insert(0, format!("with {configuration:?}:\n"));
    }
    different
}

/// Fails with the differences, if there are any.
fn fail_with(different: &[String], what: &str) {
    let shown = different.iter().take(SHOWN).map(String::as_str).collect::<String>();
    assert!(different.is_empty(), "{what}: {} differences\n{shown}", different.len());
}

/// Compares cases on both suites.
fn compare(configuration: &Configuration, messages: &[Message]) {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    fail_with(&differences(configuration, messages), "cases");
}
