//! Random messages for transports with random limits and feedback, whose agent serves one connection at a time and gives random
//! answers: which recipients it is asked to deliver to together and in which order, and what is logged, on Postfix and on the
//! suite under test.
//!
//! Nothing is answered before all messages of a scene are active, so that the order does not depend on when each comes.
//! `POSTERN_SCENES` is how many scenes; `POSTERN_SEED`, what they begin with.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use conformance::{Client, Dice, Instance, Plan, Suite, mask, require};
use nix::unistd::Uid;

use super::neighbours::DELAYS;
use super::wait_for_end_of_each;
use crate::addresses::number;
use crate::agents::read_lists;

/// Scenes of an instance.
const AT_ONCE: u64 = 6;

const COUNTS: &[&str] = &["1", "1", "2", "3", "5", "20", "0"];
const FEEDBACK: &[&str] =
    &["1", "1", "1/2", "0.3", "1/concurrency", "0.5/concurrency", "1/sqrt_concurrency", "0", "x", "2", "1/5"];

/// Parameters of a transport, and their values.
const SETTINGS: &[(&str, &[&str])] = &[
    ("destination_concurrency_limit", COUNTS),
    ("initial_destination_concurrency", &["1", "2", "5", "9"]),
    ("destination_recipient_limit", &["1", "2", "3", "5", "50", "0"]),
    ("destination_concurrency_positive_feedback", FEEDBACK),
    ("destination_concurrency_negative_feedback", FEEDBACK),
    ("destination_concurrency_failed_cohort_limit", &["0", "1", "2", "10"]),
    ("delivery_slot_cost", &["0", "1", "2", "3", "5", "10"]),
    ("delivery_slot_loan", &["0", "1", "3", "10"]),
    ("delivery_slot_discount", &["0", "50", "100"]),
    ("minimum_delivery_slots", &["0", "1", "3", "10"]),
    ("recipient_limit", &["1", "3", "10", "20000"]),
    ("extra_recipient_limit", &["0", "1", "5", "1000"]),
    ("recipient_refill_limit", &["1", "5", "100"]),
];

/// What an agent answers: status, reason, and whether there has to be another attempt.
const ANSWERS: [(&str, &str, &str); 4] = [
    ("", "", "0"),
    ("", "", "4294967295"),
    ("4.4.1", "host down", "4294967295"),
    ("4.4.2", "lost connection", "4294967295"),
];

#[derive(Debug)]
struct Scene {
    settings: Vec<(String, String)>,
    /// The recipients of each message.
    messages: Vec<Vec<String>>,
    /// The answer to each request, by its number.
    answers: Vec<usize>,
    /// The transport's name.
    name: String,
}

impl Scene {
    fn random(dice: &mut Dice, place: u64) -> Self {
        let name = format!("t{place}");
        let mut settings = Vec::new();
        for (parameter, values) in SETTINGS {
            if dice.percent(50) {
                settings.push((format!("{name}_{parameter}"), (*dice.one_of(values)).to_owned()));
            }
        }
        let destinations = 1 + dice.below(4);
        let messages = (0..2 + dice.below(5))
            .map(|_| {
                let count = *dice.one_of(&[1, 1, 2, 4, 9, 20, 45]);
                let recipient = |user| format!("u{user}@d{}.{name}.example", dice.below(destinations));
                (0..count).map(recipient).collect()
            })
            .collect();
        let odds = *dice.one_of(&[0, 10, 40]);
        let answer = |dice: &mut Dice| if dice.percent(odds) { 1 + dice.below(3) } else { 0 };
        let answers = (0..400).map(|_| usize::try_from(answer(dice)).expect("small")).collect();
        Self { settings, messages, answers, name }
    }
}

#[test]
fn orders_and_windows() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let count = number("POSTERN_SCENES", AT_ONCE);
    let mut differences = Vec::new();
    for round in 0..count.div_ceil(AT_ONCE) {
        let scenes: Vec<Scene> =
            (0..AT_ONCE.min(count - round * AT_ONCE)).map(|place| Scene::random(&mut dice, place)).collect();
        let [theirs, ours] = play(&scenes);
        let different =
            |(place, pair): (usize, (&Vec<String>, &Vec<String>))| (pair.0 != pair.1).then_some(place);
        let mut places: Vec<usize> = theirs.iter().zip(&ours).enumerate().filter_map(different).collect();
        if places.is_empty() {
            continue;
        }
        // Which of several messages overtakes another is also a matter of how many seconds old they are.
        let [again, ours] = play(&scenes);
        places.retain(|place| again[*place] != ours[*place] && theirs[*place] != ours[*place]);
        for place in places {
            let scene = &scenes[place];
            let sizes: Vec<usize> = scene.messages.iter().map(Vec::len).collect();
            let at =
                theirs[place].iter().zip(&ours[place]).take_while(|(theirs, ours)| theirs == ours).count();
            let part = |lines: &[String]| lines[at.saturating_sub(5)..lines.len().min(at + 12)].join("\n  ");
            differences.push(format!(
                "{:?}\n{sizes:?} {:?}\nfrom line {at}: Postfix\n  {}\nhere\n  {}\n",
                scene.settings,
                &scene.answers[..40],
                part(&theirs[place]),
                part(&ours[place])
            ));
        }
    }
    assert!(differences.is_empty(), "{} of {count}:\n{}", differences.len(), differences.join("\n"));
}

/// What came of each of the scenes, on both.
fn play(scenes: &[Scene]) -> [Vec<Vec<String>>; 2] {
    thread::scope(|scope| {
        [Suite::Postfix, Suite::under_test()]
            .map(|suite| scope.spawn(move || play_on(suite, scenes)))
            .map(|played| played.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn play_on(suite: Suite, scenes: &[Scene]) -> Vec<Vec<String>> {
    let mut plan = Plan::for_suite("scheduling", suite);
    let transports: String =
        scenes.iter().map(|Scene { name, .. }| format!("{{.{name}.example = {name}:}}, ")).collect();
    plan.with_delivery()
        .set("transport_maps", &format!("inline:{{ {transports} {{x.example = discard:}} }}"))
        .set("parent_domain_matches_subdomains", "")
        .set("virtual_alias_maps", "")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("destination_concurrency_feedback_debug", "yes")
        .set("in_flow_delay", "0");
    for (name, value) in scenes.iter().flat_map(|scene| &scene.settings) {
        plan.set(name, value);
    }
    let instance = plan.start();
    scenes.iter().map(|scene| play_scene(&instance, scene)).collect()
}

fn play_scene(instance: &Instance, scene: &Scene) -> Vec<String> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (go, going) = channel();
    agent(instance, scene, Arc::clone(&asked), going);
    let before = instance.log().len();
    let ids: Vec<String> = scene.messages.iter().map(|recipients| send(instance, recipients)).collect();
    go.send(()).expect("the agent waits");
    wait_for_end_of_each(instance, &ids);
    let number = |text: &str| {
        let numbered = ids.iter().enumerate();
        numbered.fold(text.to_owned(), |text, (number, id)| text.replace(id, &format!("m{number}")))
    };
    let mut lines: Vec<String> = asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .map(|asked: &String| number(asked))
        .collect();
    // The values that a transport begins with are told by Postfix alone.
    let is_feedback = |text: &str| text.starts_with("qmgr_queue_") && !text.contains(" feedback type ");
    let log: Vec<_> = instance.log().into_iter().skip(before).collect();
    let told = log.iter().filter(|line| line.program() == "qmgr" && is_feedback(&line.text));
    lines.extend(told.map(|line| line.text.clone()));
    // Who was left alone, by the agent for that, of which there may be several processes.
    let told = log.iter().filter(|line| line.program() == "error");
    let mut alone: Vec<String> = told
        .map(|line| {
            let text = mask(&number(&line.text), &HashMap::new());
            DELAYS.replace(&text, "DELAYS").into_owned()
        })
        .collect();
    alone.sort();
    lines.extend(alone);
    lines
}

/// Sends a message, and waits until it is active; its queue ID.
fn send(instance: &Instance, recipients: &[String]) -> String {
    let mut client = Client::connect(instance.smtp_port());
    client.command("EHLO client.example");
    client.command("MAIL FROM:<>");
    let commands: String = recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")).collect();
    client.send(commands.as_bytes());
    for _ in recipients {
        assert_eq!(client.read_reply().code, 250);
    }
    client.command("DATA");
    let reply = client.command("Subject: x\r\n\r\nx\r\n.").text();
    client.command("QUIT");
    let id = reply.rsplit(' ').next().expect("a word").to_owned();
    instance.wait_for_log(&format!("{id}: from=<>, size="));
    id
}

/// Listens for a queue manager, and serves it once it may.
fn agent(instance: &Instance, scene: &Scene, asked: Arc<Mutex<Vec<String>>>, going: Receiver<()>) {
    let path = instance.queue_directory().join("private").join(&scene.name);
    let listener = UnixListener::bind(&path).expect("a name of its own");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("just made");
    let answers = scene.answers.clone();
    thread::spawn(move || {
        let Ok(()) = going.recv() else { return };
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(b"protocol\0delivery_request_protocol\0\0");
            let common = read_lists(&mut stream, 1);
            let value = |name: &str| {
                let pair = common.split(", ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix(' '));
                pair.unwrap_or_default().to_owned()
            };
            let Ok(count) = value("recipient_count").parse::<usize>() else { continue };
            let recipients: Vec<String> = (0..count)
                .map(|_| {
                    let recipient = read_lists(&mut stream, 1);
                    let address = recipient.split(", ").find_map(|pair| pair.strip_prefix("recipient "));
                    address.unwrap_or_default().to_owned()
                })
                .collect();
            let number = {
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.push(format!(
                    "{} to {}: {}",
                    value("queue_id"),
                    value("nexthop"),
                    recipients.join(" ")
                ));
                asked.len() - 1
            };
            let (status, reason, again) = ANSWERS[answers.get(number).copied().unwrap_or(0)];
            let answer: String = [
                ("status", status),
                ("diag_type", ""),
                ("diag_text", ""),
                ("mta_type", ""),
                ("mta_mname", ""),
                ("action", ""),
                ("reason", reason),
                ("status", again),
            ]
            .iter()
            .map(|(name, value)| format!("{name}\0{value}\0"))
            .collect();
            let _ = stream.write_all(format!("{answer}\0").as_bytes());
            // It has made of it what it does before it closes.
            read_lists(&mut stream, 1);
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}
