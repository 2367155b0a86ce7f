//! An instance with Milters that play the cases of a file, and what each case comes to.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use conformance::{
    Client, Instance, LogLine, Plan, QueueFile, ScriptedMilter, Service, Suite, free_port, mask, peer_program,
};
use regex_lite::Regex;

use super::script::{MARKS, MILTERS, bytes};
use crate::case_file::{Case, CaseFile};
use crate::cleanup::record;

/// The message that is sent when a case says no other: further lines, blanks, headers of one name, a short one.
const MESSAGE: &[&str] = &[
    "From: Alice <alice@example.com>",
    "To: bob@example.com",
    "Subject: test",
    "X-Multi: one",
    "\ttwo",
    "X-Space:  two blanks",
    "X-Tab:\ttab",
    "X-None:none",
    "X-Multi: again",
    "A: b",
    "Date: Sun, 22 Nov 2026 06:52:29 +0000",
    "Message-Id: <1@client.example.net>",
    "",
    "Hello",
    ". dot",
    "",
    "bye",
];

/// What a producer tells cleanup when a case says nothing else.
const RECORDS: &[&str] = &[
    "T 1795327907 5",
    "A log_client_name=client.example.net",
    "A log_client_address=192.0.2.1",
    "A log_message_origin=client.example.net[192.0.2.1]",
    "A log_helo_name=helo.example.net",
    "A log_protocol_name=ESMTP",
    "A client_name=client.example.net",
    "A reverse_client_name=reverse.example.net",
    "A client_address=192.0.2.1",
    "A client_port=4711",
    "A helo_name=helo.example.net",
    "A protocol_name=ESMTP",
    "A client_address_type=2",
    "A rewrite_context=local",
    "S alice@example.com",
    "R bob@example.com",
    "R carol",
    "M ",
    "N Received: by client.example.net; Sun, 22 Nov 2026 06:52:29 +0000",
    "N From: Alice <alice@example.com>",
    "N To: bob@example.com",
    "N Subject: test",
    "N X-Multi: one",
    "N \ttwo",
    "N X-Space:  two blanks",
    "N X-Tab:\ttab",
    "N X-None:none",
    "N X-Multi: again",
    "N A: b",
    "N ",
    "N Hello",
    "N ",
    "N bye",
    "X ",
    "E ",
];

/// Plays the file; all cases that went otherwise are told at once.
pub(super) fn play(file: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/milters").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut cases = CaseFile::parse(&text, &MARKS);
    let stage = Stage::set_up(&cases, file);
    let record = std::env::var_os("POSTERN_RECORD").is_some() && Suite::under_test() == Suite::Postfix;
    let mut failures = String::new();
    let mut results = BTreeMap::new();
    for (number, service) in &stage.services {
        let case = &cases.cases[*number];
        let lines = stage.play(*service, case);
        if case.results != lines {
            failures += &format!("== {}\n{}", case.name, difference(&case.results, &lines));
        }
        results.insert(*number, lines);
    }
    if record {
        cases.record(results);
        return fs::write(&path, cases.text()).expect("our own file");
    }
    assert!(failures.is_empty(), "{file}: cases that went otherwise (- expected, + seen):\n{failures}");
}

/// An instance, and the Milters.
pub(super) struct Stage {
    pub(super) instance: Instance,
    pub(super) milters: Vec<ScriptedMilter>,
    names: HashMap<String, String>,
    /// The service of each case.
    services: BTreeMap<usize, usize>,
    ports: Vec<u16>,
}

impl Stage {
    fn set_up(cases: &CaseFile, file: &str) -> Stage {
        let name = Path::new(file).file_stem().expect("a file").to_string_lossy().into_owned();
        let mut plan = Plan::new(&format!("milters-{name}"));
        for line in cases.head.iter().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.split_once('=').expect("name = value");
            plan.set(name.trim(), value.trim());
        }
        let mut options: Vec<Vec<String>> = Vec::new();
        let mut services = BTreeMap::new();
        let played = |case: &Case| case.is_current() && case.is_of_suite();
        for (number, case) in cases.cases.iter().enumerate().filter(|(_, case)| played(case)) {
            let place = options.iter().position(|known| *known == case.options).unwrap_or_else(|| {
                options.push(case.options.clone());
                options.len() - 1
            });
            services.insert(number, place);
        }
        Self::of(plan, &options, services)
    }

    /// A stage with one smtpd and one cleanup for each set of options.
    pub(super) fn of(mut plan: Plan, options: &[Vec<String>], services: BTreeMap<usize, usize>) -> Stage {
        let milters: Vec<_> = (0..MILTERS).map(|_| ScriptedMilter::start(Default::default())).collect();
        plan.set("smtpd_error_sleep_time", "0")
            .set("milter_macro_v", "Mail 1")
            .set("smtpd_client_connection_count_limit", "0");
        let mut ports = Vec::new();
        for (number, options) in options.iter().enumerate() {
            let port = free_port();
            let mut smtpd = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"))
                .option("cleanup_service_name", &format!("cleanup{number}"))
                .option("syslog_name", &format!("s{number}"));
            let mut cleanup = Service::new(format!("cleanup{number} unix n - n - 0 cleanup"))
                .option("syslog_name", &format!("s{number}"));
            for option in options {
                let (name, value) = option.split_once('=').expect("name=value");
                let value = milters.iter().enumerate().fold(value.to_owned(), |value, (at, milter)| {
                    value.replace(&format!("${}", at + 1), &milter.endpoint())
                });
                // Values may have braces themselves.
                smtpd.arguments.push(format!("-o {{ {name} = {value} }}"));
                cleanup.arguments.push(format!("-o {{ {name} = {value} }}"));
            }
            plan.service(smtpd).service(cleanup);
            ports.push(port);
        }
        let mut names = HashMap::new();
        for (at, milter) in milters.iter().enumerate() {
            let port = milter.endpoint().rsplit(':').next().map(str::to_owned);
            names.insert(port.expect("an endpoint"), format!("MILTER{}", at + 1));
        }
        names.extend(ports.iter().map(|port| (port.to_string(), "PORT".to_owned())));
        Stage { instance: plan.start(), milters, names, services, ports }
    }

    /// Plays one case; the script with its results in between, then packets, queue files and log.
    pub(super) fn play(&self, service: usize, case: &Case) -> Vec<String> {
        for (milter, script) in self.milters.iter().zip(case.milters()) {
            milter.take();
            milter.play(script);
        }
        let ident = format!("s{service}");
        let logged = self.log(&ident).len();
        let mut lines = Vec::new();
        let mut message: Vec<&str> = Vec::new();
        let mut records: Vec<&str> = Vec::new();
        let mut client = None;
        for line in &case.script {
            lines.push(line.clone());
            if let Some(text) = line.strip_prefix("= ").or_else(|| (line == "=").then_some("")) {
                message.push(text);
            } else if let Some(text) = line.strip_prefix("~ ") {
                records.push(text);
            } else if let Some(flags) = line.strip_prefix("@cleanup ") {
                let told = if records.is_empty() { RECORDS.to_vec() } else { std::mem::take(&mut records) };
                let flags = flags.parse().expect("a number");
                lines.push(format!("< {}", self.masked(&self.submit(service, flags, &told))));
            } else if line.starts_with('>') || line.starts_with("@mail ") || line == "@message" {
                let message = if message.is_empty() { MESSAGE } else { &message };
                let client = client.get_or_insert_with(|| {
                    let client = Client::connect(self.ports[service]);
                    if client.greeting().code != 220 {
                        lines.push(format!("< {}", client.greeting().text()));
                    }
                    client
                });
                lines.extend(self.say(client, line, message));
            }
        }
        if let Some(mut client) = client {
            client.send(b"QUIT\r\n");
            client.close_sending();
            client.read_to_end();
            self.instance.wait_for(&format!("end of the session of {}", case.name), || {
                let end = |line: &LogLine| {
                    line.text.starts_with("disconnect from ") || line.text.starts_with("fatal: ")
                };
                self.log(&ident)[logged..].iter().any(end).then_some(())
            });
        }
        let whole = case.script.iter().any(|line| line == "@packets");
        for (at, milter) in self.milters.iter().enumerate() {
            for (connection, packets) in milter.take().into_iter().enumerate() {
                if connection > 0 {
                    lines.push(format!("{} --", at + 1));
                }
                let mut shown: Vec<String> = packets
                    .iter()
                    .map(|packet| format!("{} {}", at + 1, self.masked(&packet.shown())))
                    .collect();
                if !whole {
                    // What is sent in every case.
                    shown.drain(..shown.len().saturating_sub(3));
                }
                lines.append(&mut shown);
            }
        }
        for file in self.take_files() {
            let records = self.records(&file);
            let told = if whole { records } else { shortened(records) };
            lines.extend(told.into_iter().map(|record| format!("? {record}")));
        }
        self.settle_log();
        for line in &self.log(&ident)[logged..] {
            let told_once = line.text.starts_with("warning: ")
                && (line.text.ends_with(" (-o option)") || line.text.contains("/etc/main.cf, line "));
            let of_session =
                line.text.starts_with("connect from ") || line.text.starts_with("disconnect from ");
            if !told_once && !of_session && !line.text.contains("unable to look up public/qmgr") {
                lines.push(format!("| {}: {}", line.program(), self.masked(&line.text)));
            }
        }
        lines
    }

    fn say(&self, client: &mut Client, line: &str, message: &[&str]) -> Vec<String> {
        let mut told = Vec::new();
        let tell = |told: &mut Vec<String>, reply: &conformance::Reply| {
            let text = if reply.code == 0 { "(closed)".to_owned() } else { self.masked(&reply.text()) };
            told.extend(text.lines().map(|line| format!("< {line}")));
        };
        let content = |client: &mut Client| {
            let mut content = Vec::new();
            for line in message {
                if line.starts_with('.') {
                    content.push(b'.');
                }
                content.extend(bytes(line));
                content.extend(b"\r\n");
            }
            client.send(&content);
            client.command(".")
        };
        if let Some(command) = line.strip_prefix("> ") {
            let reply = client.command(command);
            if command.starts_with("EHLO") && reply.lines.len() > 1 {
                told.push(format!("< {} ...", reply.code));
            } else {
                tell(&mut told, &reply);
            }
        } else if line == "@message" {
            let mut reply = client.command("DATA");
            if reply.code == 354 {
                reply = content(client);
            }
            tell(&mut told, &reply);
        } else if let Some(addresses) = line.strip_prefix("@mail ") {
            let mut words = addresses.split(' ').map(|word| if word == "<>" { "" } else { word });
            let sender = words.next().unwrap_or_default();
            let mut commands = vec!["EHLO client.example.net".to_owned(), format!("MAIL FROM:<{sender}>")];
            commands.extend(words.map(|recipient| format!("RCPT TO:<{recipient}>")));
            commands.push("DATA".to_owned());
            let mut reply = None;
            for command in commands {
                let answer = client.command(&command);
                let is_over = answer.code == 354 || answer.code == 0;
                if answer.code >= 400 {
                    tell(&mut told, &answer);
                }
                reply = Some(answer);
                if is_over {
                    break;
                }
            }
            match reply {
                Some(reply) if reply.code == 354 => tell(&mut told, &content(client)),
                Some(reply) if told.is_empty() || reply.code == 0 => tell(&mut told, &reply),
                _ => {}
            }
        }
        told
    }

    /// Hands records to cleanup; its answer.
    pub(super) fn submit(&self, service: usize, flags: u32, records: &[&str]) -> String {
        let socket = self.instance.queue_directory().join(format!("public/cleanup{service}"));
        let mut client = UnixStream::connect(&socket).expect("cleanup listens");
        client.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        let mut request = format!("flags\0{flags}\0\0").into_bytes();
        for line in records {
            request.extend(record(line.as_bytes()[0], &bytes(line.get(2..).unwrap_or_default())));
        }
        drop(client.write_all(&request));
        drop(client.shutdown(Shutdown::Write));
        let mut reply = Vec::new();
        drop(client.read_to_end(&mut reply));
        let text = String::from_utf8_lossy(&reply).into_owned();
        // Behind the announcement of the queue ID and its end.
        let (_, answer) = text.split_once("\0\0").unwrap_or_default();
        answer.replace('\0', "|").replace('\r', "\\r").replace('\n', "\\n")
    }

    /// The files of the queues; they are gone then.
    pub(super) fn take_files(&self) -> Vec<QueueFile> {
        let files: Vec<_> =
            ["incoming", "hold"].iter().flat_map(|queue| self.instance.queue(queue)).collect();
        // One that is not whole is about to be removed: its session is over.
        let is_whole =
            |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0);
        files.into_iter().filter(|file| is_whole(&file.path)).collect()
    }

    /// What Debian's postcat shows of a file, in the order of reading. Each record has its rank in the order of offsets in
    /// the place of its offset, and so has what a pointer leads to. The file is gone then.
    pub(super) fn records(&self, file: &QueueFile) -> Vec<String> {
        // Without complaints.
        file.records();
        let outcome =
            self.instance.run_path(&peer_program("postcat"), &["-ov", &file.path.to_string_lossy()], b"");
        let text = outcome.out();
        let lines: Vec<(u64, &str)> = text
            .lines()
            .filter_map(|line| {
                let (offset, rest) = line.trim_start().split_once(' ')?;
                Some((offset.parse().ok()?, rest))
            })
            .collect();
        let mut offsets: Vec<u64> = lines.iter().map(|(offset, _)| *offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let rank = |offset: u64| offsets.iter().position(|known| *known == offset);
        let mut records = vec![format!("file {} {:o}", file.queue, file.mode)];
        for (offset, text) in lines {
            let text = text.trim_end();
            let text = match text.split_once(": ") {
                Some(("pointer_record", target)) => {
                    let target: u64 = target.trim().parse().unwrap_or(0);
                    let place = if target == 0 { None } else { rank(target) };
                    place.map_or("place".to_owned(), |place| format!("-> {place}"))
                }
                Some(("message_size", size)) => format!("message_size: {}", sizes(size)),
                Some(("create_time", _)) => "create_time".to_owned(),
                _ if text.starts_with("***") => text
                    .split(&format!(" {}", self.instance.home().display()))
                    .next()
                    .unwrap_or(text)
                    .to_owned(),
                Some(("message_arrival_time", _)) => "message_arrival_time".to_owned(),
                _ => self.masked(text),
            };
            records.push(format!("{:3} {text}", rank(offset).unwrap_or(0)));
        }
        fs::remove_file(&file.path).expect("our own file");
        records
    }

    /// Waits until all that has been logged so far is in the log.
    fn settle_log(&self) {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let text = format!("so far {}.", NUMBER.fetch_add(1, Ordering::Relaxed));
        let outcome = self.instance.run("postlog", &["-t", "suite", &text]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        self.instance.wait_for_log(&text);
    }

    /// What the services of this name have logged.
    fn log(&self, ident: &str) -> Vec<LogLine> {
        let of_it = |line: &LogLine| line.ident.split_once('/').is_some_and(|(name, _)| name == ident);
        self.instance.log().into_iter().filter(of_it).collect()
    }

    /// Without what differs from run to run.
    pub(super) fn masked(&self, text: &str) -> String {
        static MASKS: LazyLock<[(Regex, &str); 7]> = LazyLock::new(|| {
            let regex = |text: &str| Regex::new(text).expect("a literal");
            [
                (regex(r"<\d{14}\."), "<STAMP."),
                (regex(r"client_port=\d{5}\b"), "client_port=PORT"),
                (regex(r"\|4 port \d{5} "), "|4 port PORT "),
                // header_size_limit may cut it.
                (regex(r"\w{3}, [ \d]\d \w{3} \d{4} [\d:]{8}(?: \+0000 \(UTC\)|$)"), "DATE"),
                (regex(r"postern-test-[-\w]*"), "HOME"),
                (regex(r"process id \d+"), "process id PID"),
                // A long queue ID.
                (regex(r"\b[0-9][0-9B-Zb-z]{9}z[0-9B-Zb-z]{4,}\b"), "QID"),
            ]
        });
        let text = mask(text, &self.names);
        let home = self.instance.home().to_string_lossy();
        let text = text.replace(&*home, "HOME");
        MASKS.iter().fold(text, |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned())
    }
}

/// Without what lies inside a run of records that stand one behind the other, and that edits leave as they are.
fn shortened(records: Vec<String>) -> Vec<String> {
    let rank = |at: usize| {
        records.get(at).and_then(|text| text.trim_start().split(' ').next()?.parse::<usize>().ok())
    };
    let is_plain = |at: usize| {
        let edited = ["->", "place", "canceled", "***", "message_size"];
        records.get(at).is_some_and(|text| !edited.iter().any(|part| text.contains(part)))
    };
    let goes_on = |at: usize| {
        is_plain(at) && rank(at + 1).is_some_and(|next| Some(next) == rank(at).map(|rank| rank + 1))
    };
    let mut told = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let is_inside = at > 0 && is_plain(at - 1) && goes_on(at - 1) && goes_on(at) && is_plain(at + 1);
        if !is_inside {
            told.push(record.clone());
        } else if told.last().is_none_or(|last| last != "...") {
            told.push("...".to_owned());
        }
    }
    told
}

/// The size record: what depends on names and times is left out.
fn sizes(text: &str) -> String {
    let numbers: Vec<i64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [data, _offset, recipients, flags, content, options] = numbers[..] else { return text.to_owned() };
    format!("recipients {recipients} flags {flags} content {:+} options {options}", content - data)
}

/// The lines that only one of them has, and a few before.
pub(super) fn difference(expected: &[String], seen: &[String]) -> String {
    let mut text = String::new();
    let same = expected.iter().zip(seen).take_while(|(left, right)| left == right).count();
    let rest = expected.len().min(seen.len()) - same;
    let back = |at: usize| expected[expected.len() - 1 - at] == seen[seen.len() - 1 - at];
    let behind = (0..rest).take_while(|at| back(*at)).count();
    for line in &expected[same.saturating_sub(3)..same] {
        text += &format!("  {line}\n");
    }
    for line in &expected[same..expected.len() - behind] {
        text += &format!("- {line}\n");
    }
    for line in &seen[same..seen.len() - behind] {
        text += &format!("+ {line}\n");
    }
    text
}
