//! Sessions written down with the notices that Postfix makes of them, played again on the suite under test.
//!
//! A file begins with lines of main.cf; then come the cases:
//!
//! | line | what |
//! | --- | --- |
//! | `== NAME` | a case begins |
//! | `-o NAME=VALUE` | a setting of its service |
//! | `@filter PLACE ANSWER` | what the filter `$filter` says there: a text, `close`, `hangup TEXT`, `silence` |
//! | `@cleanup BITS REASON` | what cleanup says of the message; `close`: nothing |
//! | `> LINE` | a command, and its reply |
//! | `>> LINE` | a line that is not answered |
//! | `@twice` | the session is played two times, and what counts is the second |
//! | `@text` | the text of notices matters as well |
//! | `@reply` | a reply that is awaited |
//! | `@bytes N LETTER` | so many bytes, not answered |
//! | `@gone` | the client closes |
//! | `@end` | the client waits for the end |
//! | `< ` | what was replied |
//! | `* CLASSES` | with these `notify_classes`, one at a time, these notices were made |
//! | `* from SENDER to RECIPIENTS` | a notice |
//! | `* \|LINE` | with `@text`: its lines, behind the head that all mail of the system has |
//!
//! A session that was not ended otherwise ends with QUIT. With `POSTERN_RECORD=1` and Postfix under test the results
//! in the file are written anew. Only then each class is tried; otherwise all of them together, one with which there
//! is a notice, and one with which there is none.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use conformance::{
    CleanupAnswer, CleanupMessage, Client, Instance, Plan, Play, ScriptedCleanup, ScriptedFilter, Service,
    Suite, free_port, mask,
};

use crate::case_file::{Case, CaseFile, Marks, bytes};

/// Sessions that are played at once, each with a cleanup service and a filter of its own.
const PLAYERS: usize = 4;

/// Each class that a server sees by itself, then all.
const CLASSES: [&str; 7] = [
    "bounce",
    "data",
    "policy",
    "protocol",
    "resource",
    "software",
    "bounce,data,policy,protocol,resource,software,delay,2bounce",
];

const MARKS: Marks = Marks { script: &['>', '@'], results: Some(&['<', '*', '|']) };

/// The services of one set of options, one for each of [`CLASSES`], and the sessions that they have.
struct Scene {
    ports: Vec<u16>,
    ident: String,
    cases: Vec<usize>,
}

/// Who plays a scene.
struct Player {
    cleanup: ScriptedCleanup,
    filter: ScriptedFilter,
}

/// Plays the file; all cases that went otherwise are told at once.
pub(super) fn play(file: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut file = CaseFile::parse(&text, &MARKS);
    let filters: Vec<ScriptedFilter> = (0..PLAYERS).map(|_| ScriptedFilter::start()).collect();
    let (instance, scenes) = set_up(&file, &filters);
    let players: Vec<Player> = filters
        .into_iter()
        .enumerate()
        .map(|(number, filter)| {
            let cleanup = ScriptedCleanup::start(&instance, &format!("cleanup{number}"));
            Player { cleanup, filter }
        })
        .collect();
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "master did not start: {outcome:?}\n{}", instance.log_text());
    let records = std::env::var_os("POSTERN_RECORD").is_some() && Suite::under_test() == Suite::Postfix;
    let results: Mutex<BTreeMap<usize, Vec<String>>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for (number, player) in players.iter().enumerate() {
            let (results, file, scenes, instance) = (&results, &file, &scenes, &instance);
            scope.spawn(move || {
                for scene in scenes.iter().skip(number).step_by(PLAYERS) {
                    for &case in &scene.cases {
                        let tried = classes_to_try(&file.cases[case], records);
                        let played = catch_unwind(AssertUnwindSafe(|| {
                            play_case(instance, player, scene, &file.cases[case], &tried)
                        }));
                        let lines = played.unwrap_or_else(|_| vec!["| no session".to_owned()]);
                        results.lock().expect("no panic there").insert(case, lines);
                    }
                }
            });
        }
    });
    let results = results.into_inner().expect("no panic there");
    if records {
        file.record(results);
        fs::write(&path, file.text()).expect("our own file");
        return;
    }
    let mut failures = String::new();
    for (number, lines) in results {
        let case = &file.cases[number];
        let expected = restricted(&case.results, &classes_to_try(case, false));
        if expected != lines {
            let options = case.options.join(" ");
            failures += &format!("== {} {options}\n{}", case.name, difference(&expected, &lines));
        }
    }
    assert!(failures.is_empty(), "cases that went otherwise (- expected, + seen):\n{failures}");
}

fn set_up(file: &CaseFile, filters: &[ScriptedFilter]) -> (Instance, Vec<Scene>) {
    let mut plan = Plan::new("notices");
    plan.set("error_notice_recipient", "errors@example.com")
        .set("bounce_notice_recipient", "bounces@example.com")
        .set("max_idle", "5s")
        .set("nobody", &format!("127.0.0.1:{}", free_port()));
    for line in file.head.iter().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once('=').expect("name = value");
        plan.set(name.trim(), value.trim());
    }
    let mut services: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
    for (number, case) in file.cases.iter().enumerate().filter(|(_, case)| case.is_current()) {
        services.entry(&case.options).or_default().push(number);
    }
    let mut scenes = Vec::new();
    for (number, (options, cases)) in services.into_iter().enumerate() {
        let player = number % PLAYERS;
        let ident = format!("s{number}");
        let mut ports = Vec::new();
        for (index, classes) in CLASSES.iter().enumerate() {
            let port = free_port();
            let mut service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"))
                .option("syslog_name", &format!("{ident}-{index}"))
                .option("notify_classes", classes)
                .option("filter", &format!("127.0.0.1:{}", filters[player].port()))
                .option("cleanup_service_name", &format!("cleanup{player}"));
            for option in options {
                let (name, value) = option.split_once('=').expect("name=value");
                service = service.option(name, value);
            }
            plan.service(service);
            ports.push(port);
        }
        scenes.push(Scene { ports, ident, cases });
    }
    (plan.prepare(), scenes)
}

/// Results, taken apart: what was said, and the notices for each class.
type Results = (Vec<String>, Vec<(Vec<String>, Vec<String>)>);

fn taken_apart(lines: &[String]) -> Results {
    let mut results = Results::default();
    for line in lines {
        let is_classes =
            line.strip_prefix("* ").filter(|text| !text.starts_with("from ") && !text.starts_with('|'));
        match (is_classes, results.1.last_mut()) {
            (Some(classes), _) => {
                results.1.push((classes.split(' ').map(str::to_owned).collect(), Vec::new()));
            }
            (None, Some((_, notice))) => notice.push(line.clone()),
            (None, None) => results.0.push(line.clone()),
        }
    }
    results
}

fn name_of(class: usize) -> &'static str {
    if class + 1 == CLASSES.len() { "all" } else { CLASSES[class] }
}

/// Which of [`CLASSES`] to try.
fn classes_to_try(case: &Case, records: bool) -> Vec<usize> {
    let all = 0..CLASSES.len();
    if records {
        return all.collect();
    }
    let (_, notices) = taken_apart(&case.results);
    let tells =
        |class: &usize| notices.iter().any(|(classes, _)| classes.iter().any(|it| it == name_of(*class)));
    let last = CLASSES.len() - 1;
    let mut chosen = vec![last];
    chosen.extend(all.clone().filter(|class| *class != last && tells(class)).take(1));
    chosen.extend(all.filter(|class| *class != last && !tells(class)).take(1));
    chosen.sort_unstable();
    chosen
}

/// The results as far as these classes were tried.
fn restricted(lines: &[String], tried: &[usize]) -> Vec<String> {
    let (mut said, notices) = taken_apart(lines);
    for (classes, notice) in notices {
        let classes: Vec<String> =
            classes.into_iter().filter(|class| tried.iter().any(|tried| name_of(*tried) == class)).collect();
        if !classes.is_empty() {
            said.push(format!("* {}", classes.join(" ")));
            said.extend(notice);
        }
    }
    said
}

/// Plays a case with these of [`CLASSES`].
fn play_case(
    instance: &Instance,
    player: &Player,
    scene: &Scene,
    case: &Case,
    tried: &[usize],
) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut notices: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    let with_text = case.script.iter().any(|line| line == "@text");
    for &index in tried {
        let classes = name_of(index);
        player.filter.reset();
        player.cleanup.answer(CleanupAnswer::default());
        if case.script.iter().any(|line| line == "@twice") {
            session(instance, player, scene, index, case);
        }
        let seen = session(instance, player, scene, index, case);
        if lines.is_empty() {
            lines = seen;
        } else if lines != seen {
            lines.push(format!("| otherwise with {classes}: {}", seen.join(" / ")));
        }
        let made = player.cleanup.take();
        let made = made.iter().filter(|message| message.is_of_the_system());
        let made: Vec<String> = made.flat_map(|message| notice(message, with_text)).collect();
        match notices.iter_mut().find(|(_, notice)| *notice == made) {
            Some((with, _)) => with.push(classes),
            None => notices.push((vec![classes], made)),
        }
    }
    for (classes, notice) in notices.into_iter().filter(|(_, notice)| !notice.is_empty()) {
        lines.push(format!("* {}", classes.join(" ")));
        lines.extend(notice);
    }
    lines
}

/// One session: the script with the replies in between.
fn session(instance: &Instance, player: &Player, scene: &Scene, index: usize, case: &Case) -> Vec<String> {
    let ident = format!("{}-{index}/smtpd", scene.ident);
    let goodbyes = || {
        let log = instance.log();
        let over = |text: &str| text.starts_with("disconnect from ") || text.starts_with("fatal: ");
        log.iter().filter(|line| line.ident == ident && over(&line.text)).count()
    };
    let before = goodbyes();
    let mut lines = Vec::new();
    let mut client: Option<Client> = None;
    let hear = |client: &mut Client, lines: &mut Vec<String>, word: &str| {
        let reply = client.read_reply();
        let text = mask(&reply.text(), &HashMap::new());
        let text = if reply.code == 0 { "(closed)" } else { text.as_str() };
        let whole = if word == "EHLO" { 1 } else { usize::MAX };
        lines.extend(text.lines().take(whole).map(|line| format!("< {line}")));
    };
    let mut ended = false;
    for line in &case.script {
        lines.push(line.clone());
        if matches!(line.as_str(), "@text" | "@twice") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("@filter ") {
            let (place, answer) = rest.split_once(' ').expect("@filter PLACE ANSWER");
            player.filter.play(place, [answer_of(answer)]);
            continue;
        }
        if let Some(rest) = line.strip_prefix("@cleanup ") {
            player.cleanup.answer(match rest.split_once(' ').unwrap_or((rest, "")) {
                ("close", _) => CleanupAnswer::Close,
                (bits, reason) => CleanupAnswer::Status(bits.parse().expect("a number"), reason.to_owned()),
            });
            continue;
        }
        let client = client.get_or_insert_with(|| {
            let mut client = Client::connect_silently(scene.ports[index]);
            let mut greeting = Vec::new();
            hear(&mut client, &mut greeting, "");
            if !greeting[0].starts_with("< 220") {
                lines.append(&mut greeting);
            }
            client
        });
        if let Some(text) = line.strip_prefix(">> ") {
            client.send(&[&bytes(text)[..], b"\r\n"].concat());
        } else if let Some(text) = line.strip_prefix("> ") {
            client.send(&[&bytes(text)[..], b"\r\n"].concat());
            hear(client, &mut lines, text.split(' ').next().unwrap_or(""));
        } else if line == "@reply" {
            hear(client, &mut lines, "");
        } else if line == "@gone" {
            client.close_sending();
            ended = true;
        } else if line == "@end" {
            ended = true;
        } else if let Some(rest) = line.strip_prefix("@bytes ") {
            let (count, letter) = rest.split_once(' ').expect("@bytes N LETTER");
            client.send(&letter.as_bytes().repeat(count.parse().expect("a number")));
        } else {
            panic!("{line}");
        }
    }
    let mut client = client.unwrap_or_else(|| Client::connect(scene.ports[index]));
    if !ended {
        client.send(b"QUIT\r\n");
    }
    let rest = client.read_to_end();
    if ended {
        lines.extend(rest.lines().map(|line| format!("< {line}")));
    }
    instance.wait_for(&format!("the end of {}", case.name), || (goodbyes() > before).then_some(()));
    lines
}

fn answer_of(text: &str) -> Play {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("close", _) => Play::Close,
        ("silence", _) => Play::Silence,
        ("hangup", text) => Play::say_and_close(&text.replace("\\n", "\n")),
        _ => Play::say(&text.replace("\\n", "\n")),
    }
}

/// A notice: sender, recipients, flags, and what stands behind the lines that all mail of the system begins with.
fn notice(message: &CleanupMessage, with_text: bool) -> Vec<String> {
    let of_all = |line: &&String| {
        !["Received:", "\tid ", "Date:", "Message-Id:"].iter().any(|it| line.starts_with(it))
    };
    let head = format!(
        "* from {} to {} flags {}{}",
        message.sender,
        message.recipients.join(" "),
        message.flags,
        if message.complete { "" } else { " incomplete" }
    );
    let lines = message.content.iter().filter(|_| with_text).filter(of_all).map(|line| format!("* |{line}"));
    [head].into_iter().chain(lines).collect()
}

fn difference(expected: &[String], seen: &[String]) -> String {
    let same = expected.iter().zip(seen).take_while(|(one, other)| one == other).count();
    let common = expected[same..].iter().rev().zip(seen[same..].iter().rev());
    let tail = common.take_while(|(one, other)| one == other).count();
    let mut text = String::new();
    expected[..same].iter().for_each(|line| text += &format!("  {line}\n"));
    expected[same..expected.len() - tail].iter().for_each(|line| text += &format!("- {line}\n"));
    seen[same..seen.len() - tail].iter().for_each(|line| text += &format!("+ {line}\n"));
    expected[expected.len() - tail..].iter().for_each(|line| text += &format!("  {line}\n"));
    text
}
