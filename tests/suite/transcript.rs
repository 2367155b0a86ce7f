//! Transcripts: sessions written down with what Postfix answered and logged, played again on the suite under test.
//!
//! A transcript file begins with lines of main.cf; lines of a zone follow behind `@dns`, those of another server that is
//! asked first behind `@dns first`, lines of `resolv.conf` behind `@resolv`, pairs `KEY VALUE` of the
//! recording table behind `@map`, pairs `LOCALPART ANSWER` of a policy server behind `@policy`: `$policy` is its
//! endpoint, and it answers by the recipient, with nothing at all where it knows none. Then come the cases, each with a service of its own settings:
//!
//! | line | what |
//! | --- | --- |
//! | `== NAME` | a case begins |
//! | `-o NAME=VALUE` | a setting of its service; cases with the same settings share a process |
//! | `@from ADDRESS` | the address that the client connects from |
//! | `@postfix REASON` | a case for Postfix's smtpd only, because Postern differs on purpose |
//! | `> LINE` | a command; `\xNN` is a byte |
//! | `@as ATTRIBUTES` | RSET and XCLIENT |
//! | `@mail HELO SENDER RECIPIENT` | RSET, EHLO, MAIL and RCPT; told are refusals, or the reply to RCPT |
//! | `@message` | DATA and a message of one header and one line; told is a refusal, or the last reply |
//! | `>> LINE` | a line that is not answered |
//! | `@queue` | the records of the `@message` before it, as far as access control made them |
//! | `@keys` | the keys that the recording table was asked for since the last time |
//! | `< `, `* `, `? ` | what came of it: replies, records, keys |
//! | `\| LINE` | what the server logged in that session, but for connect and disconnect |
//!
//! With `POSTERN_RECORD=1` and Postfix under test the results in the file are written anew.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use conformance::{
    Client, DnsServer, Instance, Plan, PolicyServer, RecordingMap, Service, Suite, free_port, mask,
};

use crate::case_file::{Case, CaseFile, Marks, bytes};

/// Sessions that are played at once, each on a service of its own.
const PLAYERS: usize = 4;

const MARKS: Marks = Marks { script: &['>', '@'], results: Some(&['<', '*', '?', '|']) };

impl CaseFile {
    /// The part of the head behind `word`, or before every such word when it is empty.
    fn part(&self, word: &str) -> String {
        let mut here = word.is_empty();
        let mut part = String::new();
        for line in self.head.iter().filter(|line| !line.starts_with('#')) {
            if line.starts_with('@') {
                here = line == word;
            } else if here {
                part += &format!("{line}\n");
            }
        }
        part
    }
}

/// What all sessions of a file share.
struct Stage {
    instance: Instance,
    map: RecordingMap,
    _policy: PolicyServer,
    names: HashMap<String, String>,
}

/// One service and the sessions that it is to have.
struct Scene {
    port: u16,
    ident: String,
    cases: Vec<usize>,
}

/// Plays the file; all cases that went otherwise are told at once.
pub(crate) fn play(file: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut transcript = CaseFile::parse(&text, &MARKS);
    let (stage, scenes) = set_up(&transcript, file);
    let results: Mutex<BTreeMap<usize, Vec<String>>> = Mutex::new(BTreeMap::new());
    let next = Mutex::new(scenes.iter());
    // Keys are told apart by nothing but time.
    let records_keys = transcript.cases.iter().any(|case| case.script.iter().any(|line| line == "@keys"));
    let players = if records_keys { 1 } else { PLAYERS };
    std::thread::scope(|scope| {
        for _ in 0..players {
            scope.spawn(|| {
                loop {
                    let Some(scene) = next.lock().expect("no panic there").next() else { break };
                    for (sessions, &number) in scene.cases.iter().enumerate() {
                        let case = &transcript.cases[number];
                        let lines = std::panic::catch_unwind(AssertUnwindSafe(|| {
                            play_case(&stage, scene, case, sessions)
                        }));
                        let failed = || [&case.script[..], &["| no session".to_owned()]].concat();
                        let lines = lines.unwrap_or_else(|_| failed());
                        results.lock().expect("no panic there").insert(number, lines);
                    }
                }
            });
        }
    });
    let results = results.into_inner().expect("no panic there");
    if std::env::var_os("POSTERN_RECORD").is_some() && Suite::under_test() == Suite::Postfix {
        transcript.record(results);
        fs::write(&path, transcript.text()).expect("our own file");
        return;
    }
    let mut failures = String::new();
    for (number, lines) in results {
        let case = &transcript.cases[number];
        if case.results != lines {
            failures += &format!("== {}\n{}", case.name, difference(&case.results, &lines));
        }
    }
    assert!(failures.is_empty(), "{file}: cases that went otherwise (- expected, + seen):\n{failures}");
}

/// One `@mail` of a transcript, as a question that can be asked without a session.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The case.
    pub case: String,
    /// The port of the service.
    pub port: u16,
    /// What XCLIENT said: NAME, REVERSE_NAME, ADDR.
    pub client: [String; 3],
    /// HELO name, sender, recipient.
    pub envelope: [String; 3],
    /// The first refusal, or the reply to RCPT.
    pub reply: String,
}

/// An instance with the services of the file, and every `@mail` in it.
pub(crate) fn questions(file: &str) -> (Instance, Vec<Asked>) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let transcript = CaseFile::parse(&text, &MARKS);
    let (stage, scenes) = set_up(&transcript, file);
    let mut questions = Vec::new();
    for scene in &scenes {
        for &number in &scene.cases {
            let case = &transcript.cases[number];
            if case.script.iter().any(|line| line.starts_with("@postfix")) {
                continue;
            }
            let mut client = ["localhost", "localhost", "127.0.0.1"].map(str::to_owned);
            for (line, next) in case.results.iter().zip(case.results.iter().skip(1)) {
                if let Some(attributes) = line.strip_prefix("@as ") {
                    for (name, value) in attributes.split(' ').filter_map(|word| word.split_once('=')) {
                        let names = ["NAME", "REVERSE_NAME", "ADDR"];
                        let place = names.iter().position(|known| *known == name).expect("a known attribute");
                        value.trim_start_matches("IPV6:").clone_into(&mut client[place]);
                    }
                }
                let (Some(rest), Some(reply)) = (line.strip_prefix("@mail "), next.strip_prefix("< ")) else {
                    continue;
                };
                let (case, reply, client) = (case.name.clone(), reply.to_owned(), client.clone());
                questions.push(Asked { case, port: scene.port, client, envelope: envelope(rest), reply });
            }
        }
    }
    (stage.instance, questions)
}

/// HELO name, sender, recipient. Only a quoted sender has blanks.
fn envelope(text: &str) -> [String; 3] {
    let (helo, addresses) = text.split_once(' ').expect("@mail HELO SENDER RECIPIENT");
    let (sender, recipient) = addresses.rsplit_once(' ').expect("@mail HELO SENDER RECIPIENT");
    [helo, sender, recipient].map(str::to_owned)
}

fn set_up(transcript: &CaseFile, file: &str) -> (Stage, Vec<Scene>) {
    let name = Path::new(file).file_stem().expect("a file").to_string_lossy().into_owned();
    let mut plan = Plan::new(&format!("transcript-{name}"));
    plan.set("smtpd_error_sleep_time", "0")
        .set("smtpd_soft_error_limit", "1000")
        .set("smtpd_hard_error_limit", "1000")
        .set("smtpd_authorized_xclient_hosts", "static:all")
        .set("smtpd_client_connection_count_limit", "0");
    for line in transcript.part("").lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').expect("name = value");
        plan.set(name.trim(), value.trim());
    }
    let zone = transcript.part("@dns");
    if !zone.is_empty() {
        plan.with_dns(&zone);
    }
    let zone = transcript.part("@dns first");
    if !zone.is_empty() {
        plan.with_first_dns(&zone);
    }
    plan.resolv_conf(&transcript.part("@resolv"));
    let answers = pairs(&transcript.part("@policy"));
    let policy = PolicyServer::start(move |request, _| {
        let local_part = request.get("recipient").split('@').next().unwrap_or_default();
        answers.get(local_part).map_or(Vec::new(), |answer| bytes(answer))
    });
    plan.set("policy", &policy.endpoint());
    let ours = Suite::under_test().is_ours("smtpd");
    let mut services: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for (number, case) in transcript.cases.iter().enumerate().filter(|(_, case)| case.is_current()) {
        if !(ours && case.script.iter().any(|line| line.starts_with("@postfix"))) {
            services.entry(case.options.clone()).or_default().push(number);
        }
    }
    let mut scenes = Vec::new();
    for (number, (options, cases)) in services.into_iter().enumerate() {
        let (port, ident) = (free_port(), format!("s{number}"));
        let mut service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
        service = service.option("syslog_name", &ident);
        for option in &options {
            let (name, value) = option.split_once('=').expect("name=value");
            service = service.option(name, value);
        }
        plan.service(service);
        scenes.push(Scene { port, ident, cases });
    }
    let ports = scenes.iter().map(|scene| scene.port).chain([policy.port()]);
    let names = ports.map(|port| (port.to_string(), "PORT".to_owned())).collect();
    let instance = plan.prepare();
    fs::create_dir_all(instance.queue_directory().join("private")).expect("our own folder");
    let map = RecordingMap::start(&instance, pairs(&transcript.part("@map")));
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "master did not start: {outcome:?}\n{}", instance.log_text());
    if transcript.cases.iter().any(|case| case.results.iter().any(|line| line.contains("| fatal: "))) {
        instance.expect_fault("fatal: ");
    }
    (Stage { instance, map, _policy: policy, names }, scenes)
}

/// Plays one session; the script with its results in between, and the log behind them.
fn play_case(stage: &Stage, scene: &Scene, case: &Case, sessions: usize) -> Vec<String> {
    let from = case.script.iter().find_map(|line| line.strip_prefix("@from "));
    let from = from.map_or(std::net::Ipv4Addr::LOCALHOST, |text| text.parse().expect("an address"));
    let logged = stage.log(&scene.ident).len();
    let mut client = Client::connect_from(from, scene.port);
    let mut lines = Vec::new();
    let mut queued = None;
    let hear = |client: &mut Client, lines: &mut Vec<String>, whole: bool| {
        let reply = client.read_reply();
        let text = mask(&reply.text(), &stage.names);
        let text = if reply.code == 0 { "(closed)" } else { text.as_str() };
        lines.extend(text.lines().take(if whole { usize::MAX } else { 1 }).map(|line| format!("< {line}")));
    };
    let mut greeting = Vec::new();
    hear(&mut client, &mut greeting, true);
    for line in &case.script {
        lines.push(line.clone());
        if lines.len() == 1 && !greeting[0].starts_with("< 220") {
            lines.append(&mut greeting);
        }
        if let Some(short) = Shorthand::of(line) {
            let told = short.say(&mut client);
            queued = told.last().and_then(|text| text.split_once("queued as ")).map(|(_, id)| id.to_owned());
            lines.extend(told.into_iter().map(|text| format!("< {}", mask(&text, &stage.names))));
        } else if let Some(text) = line.strip_prefix(">> ") {
            client.send(&[&bytes(text)[..], b"\r\n"].concat());
        } else if let Some(text) = line.strip_prefix("> ") {
            client.send(&[&bytes(text)[..], b"\r\n"].concat());
            hear(&mut client, &mut lines, !text.starts_with("EHLO"));
        } else if line == "@keys" {
            lines.extend(stage.map.take().into_iter().map(|key| format!("? {key}")));
        } else if line == "@queue" {
            lines.extend(stage.records(queued.as_deref()).into_iter().map(|record| format!("* {record}")));
        }
    }
    client.send(b"QUIT\r\n");
    client.close_sending();
    client.read_to_end();
    stage.instance.wait_for(&format!("end of session {sessions} of {}: {}", scene.ident, case.name), || {
        let log = &stage.log(&scene.ident)[logged..];
        log.iter()
            .any(|line| line.starts_with("disconnect from ") || line.starts_with("fatal: "))
            .then_some(())
    });
    for line in &stage.log(&scene.ident)[logged..] {
        // What Postern's first process of a service tells in addition (docs/differences.md).
        let told_once = line.starts_with("warning: ")
            && (line.ends_with(" (-o option)") || line.contains("/etc/main.cf, line "));
        if !told_once && !line.starts_with("connect from ") && !line.starts_with("disconnect from ") {
            lines.push(format!("| {}", mask(line, &stage.names)));
        }
    }
    lines
}

/// Commands that always come together.
struct Shorthand {
    commands: Vec<String>,
    tells_success: bool,
}

impl Shorthand {
    fn of(line: &str) -> Option<Shorthand> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let commands: Vec<String> = match word {
            "@as" => vec!["RSET".into(), format!("XCLIENT {rest}")],
            "@mail" => {
                let [helo, sender, recipient] = envelope(rest);
                let bare = |text: &str| if text == "<>" { String::new() } else { text.to_owned() };
                vec![
                    "RSET".into(),
                    format!("EHLO {helo}"),
                    format!("MAIL FROM:<{}>", bare(&sender)),
                    format!("RCPT TO:<{}>", bare(&recipient)),
                ]
            }
            "@message" => vec!["DATA".into(), "Subject: x\r\n\r\nbody\r\n.".into()],
            _ => return None,
        };
        Some(Shorthand { commands, tells_success: word != "@as" })
    }

    fn say(&self, client: &mut Client) -> Vec<String> {
        let mut told = Vec::new();
        let mut last = String::new();
        for command in &self.commands {
            client.send(&[&bytes(command)[..], b"\r\n"].concat());
            let reply = client.read_reply();
            last = if reply.code == 0 { "(closed)".to_owned() } else { reply.text() };
            if !(200..400).contains(&reply.code) {
                told.extend(last.lines().map(str::to_owned));
                if reply.code == 0 || command == "DATA" {
                    return told;
                }
            }
        }
        if told.is_empty() && self.tells_success {
            told.push(last);
        }
        told
    }
}

impl Stage {
    /// What the server of this name has logged.
    fn log(&self, ident: &str) -> Vec<String> {
        let ident = format!("{ident}/smtpd");
        self.instance.log().into_iter().filter(|line| line.ident == ident).map(|line| line.text).collect()
    }

    /// The records that access control makes, of this message.
    fn records(&self, id: Option<&str>) -> Vec<String> {
        let queues = ["incoming", "hold"];
        let find = || {
            queues
                .iter()
                .flat_map(|queue| self.instance.queue(queue))
                .find(|file| Some(file.queue_id.as_str()) == id)
        };
        let Some(file) = find() else { return vec!["no file".to_owned()] };
        let mut records = vec![format!("queue {}", file.queue)];
        let made = |line: &&String| {
            let kinds =
                ["content_filter:", "redirect_to:", "recipient:", "original_recipient:", "regular_text: X-"];
            kinds.iter().any(|kind| line.contains(kind))
        };
        let all = file.records();
        let text =
            |line: &String| line.split_once(' ').map_or(line.clone(), |(_, rest)| rest.trim().to_owned());
        records.extend(all.iter().filter(made).map(text));
        records
    }
}

/// Lines `KEY VALUE`.
fn pairs(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn difference(expected: &[String], seen: &[String]) -> String {
    let mut text = String::new();
    for line in expected {
        text += &format!("{}{line}\n", if seen.contains(line) { "  " } else { "- " });
    }
    for line in seen.iter().filter(|line| !expected.contains(line)) {
        text += &format!("+ {line}\n");
    }
    if expected.iter().all(|line| seen.contains(line)) && seen.iter().all(|line| expected.contains(line)) {
        text += "(order or number of lines) seen:\n";
        seen.iter().for_each(|line| text += &format!("+ {line}\n"));
    }
    text
}

/// Whether the host can play a transcript that has a zone.
pub(crate) fn possible() -> bool {
    DnsServer::possible()
}
