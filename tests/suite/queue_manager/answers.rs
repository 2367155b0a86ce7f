//! Agents that announce themselves and answer a queue manager in any way: what it makes of that, on Postfix and on the suite
//! under test. Some say something behind it, some break off in the middle of an answer. Of such a one Postfix takes over what has come of it, and for the rest
//! what an older one has left; so each answer has a whole one without a reason before it.
//!
//! `POSTERN_ANSWERS` is how many; `POSTERN_SEED`, what they begin with.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use conformance::{Client, Dice, Instance, LogLine, Plan, Suite, mask, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use crate::addresses::number;

static DELAYS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("delay=[0-9.]+, delays=[0-9./]+").expect("a pattern"));

/// What an agent says, before a request and after it; it closes the connection then.
#[derive(Debug, Clone)]
struct Answer {
    before: Vec<u8>,
    after: Vec<u8>,
}

#[test]
fn as_postfix() {
    require!(Uid::effective().is_root(), "Debian's delivery agents need root");
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let mut dice = Dice::new(number("POSTERN_SEED", 17));
    let answers: Vec<Answer> = (0..number("POSTERN_ANSWERS", 25)).map(|_| Answer::new(&mut dice)).collect();
    let [theirs, ours] = [Suite::Postfix, Suite::under_test()].map(|suite| play(suite, &answers));
    let mut failures = String::new();
    for ((answer, theirs), ours) in answers.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
            let (before, after) = (shown(&answer.before), shown(&answer.after));
            failures += &format!("{before} then {after}\nPostfix {theirs:#?}\nhere {ours:#?}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

impl Answer {
    fn new(dice: &mut Dice) -> Answer {
        const BEFORE: &[&[u8]] = &[
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0other_protocol\0\0",
            b"protocol\0delivery_request_protocol\0more\0x\0\0",
            b"protocol\0delivery_request_protocol",
            b"\0",
            b"",
            b"220 mx.example.com ESMTP\r\n",
        ];
        const CODES: &[&[u8]] = &[
            b"",
            b"4.1.1",
            b"4.7.999",
            b"5.1.2",
            b"2.0.0",
            b"3.0.0",
            b"1.1.1",
            b"9.9.9",
            b"0.0.0",
            b"4.1",
            b"4.1.1.1",
            b"4.1.1000",
            b"4.1000.1",
            b"44.1.1",
            b"4.01.001",
            b"4.1.0001",
            b"4..1",
            b"4.1.",
            b".1.1",
            b"4.1.x",
            b"4.1.1 ",
            b" 4.1.1",
            b"4.1.1 text",
            b"4.1.1\t",
            b"x",
            b"4",
            b"-4.1.1",
            b"4.-1.1",
            b"\xc3\xa9",
            b"4.1.1\n",
            b"5.999.999",
        ];
        const REASONS: &[&[u8]] =
            &[b"", b"", b"host down", b"a\nb", b"\xc3\xa9 \xff", b" x ", b"(x)", b"4.1.1 x", b"%s %m"];
        const STATUSES: &[&[u8]] = &[b"0", b"0", b"1", b"4294967295", b"4294967296", b"2", b"00", b" 1"];
        let mut after = Vec::new();
        let status = if dice.percent(70) { &b"4294967295"[..] } else { *dice.one_of(STATUSES) };
        let fields: [(&[u8], &[u8]); 8] = [
            (b"status", *dice.one_of(CODES)),
            (b"diag_type", *dice.one_of(&[&b""[..], b"smtp"])),
            (b"diag_text", *dice.one_of(REASONS)),
            (b"mta_type", b""),
            (b"mta_mname", b""),
            (b"action", *dice.one_of(&[&b""[..], b"failed", b"delayed"])),
            (b"reason", *dice.one_of(REASONS)),
            (b"status", status),
        ];
        for (name, value) in fields {
            after.extend([name, b"\0", value, b"\0"].concat());
        }
        after.push(0);
        const BEHIND: &[&[u8]] = &[
            b"protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0\0protocol\0delivery_request_protocol\0\0",
            b"protocol\0delivery_request_protocol\0",
            b"protocol\0other_protocol\0\0",
            b"\0",
            b"x",
        ];
        if dice.percent(40) {
            after.extend_from_slice(dice.one_of::<&[u8]>(BEHIND));
        } else if dice.percent(50) {
            after.truncate(usize::try_from(dice.below(after.len() as u64)).expect("small"));
        }
        Answer { before: dice.one_of(BEFORE).to_vec(), after }
    }
}

/// What came of each of the answers: what is logged of a message whose agent gives it, and of one that follows it, what they
/// leave in the queue, and how often the agent was asked.
fn play(suite: Suite, answers: &[Answer]) -> Vec<Vec<String>> {
    let mut plan = Plan::for_suite("answers", suite);
    plan.with_delivery();
    let transports: String =
        (0..answers.len()).map(|number| format!("{{d{number}.example = agent{number}:}}, ")).collect();
    let transports = format!("{transports} {{d{}.example = discard:}}", answers.len());
    plan.set("transport_maps", &format!("inline:{{ {transports} }}"))
        .set("in_flow_delay", "0")
        // One failure is enough for a destination to be left alone.
        .set("initial_destination_concurrency", "1")
        .set("smtpd_reject_unlisted_recipient", "no")
        .set("virtual_alias_maps", "");
    let instance = plan.start();
    instance.expect_fault("unexpected attribute ");
    let asked = Arc::new(Mutex::new(HashMap::new()));
    for (number, answer) in answers.iter().enumerate() {
        agent(&instance, number, answer.clone(), Arc::clone(&asked));
    }
    let discarded = answers.len();
    let ids: Vec<[String; 2]> = (0..answers.len())
        .map(|number| {
            send(&instance, discarded);
            [0, 1].map(|_| send(&instance, number))
        })
        .collect();
    // Behind all that has been logged of the others.
    let last = send(&instance, discarded);
    instance.wait_for_log(&format!("{last}: removed"));
    let ids_of = ids.iter().enumerate();
    ids_of
        .map(|(number, pair)| {
            let mut lines: Vec<String> = pair.iter().flat_map(|id| told(&instance, id)).collect();
            let names = [format!("private/agent{number} "), format!("(agent{number})")];
            let is_about_it = |line: &LogLine| names.iter().any(|name| line.text.contains(name));
            let warnings = instance.log().into_iter().filter(is_about_it);
            lines.extend(warnings.map(|line| format!("{}: {}", line.ident, line.text)));
            let asked = asked.lock().expect("nobody panics with it").get(&number).copied();
            lines.push(format!("asked: {}", asked.unwrap_or(0)));
            lines
        })
        .collect()
}

/// Listens for a queue manager.
fn agent(instance: &Instance, number: usize, answer: Answer, asked: Arc<Mutex<HashMap<usize, usize>>>) {
    let path = instance.queue_directory().join(format!("private/agent{number}"));
    let listener = UnixListener::bind(&path).expect("a name of its own");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("just made");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(&answer.before);
            if !answer.before.ends_with(b"\0\0") && answer.before != b"\0" {
                // The queue manager would wait for the rest of it.
                continue;
            }
            let mut request = Vec::new();
            let mut byte = [0];
            // To the end of the list of the only recipient.
            while request.windows(2).filter(|pair| pair == b"\0\0").count() < 2
                || !request.ends_with(b"\0\0")
                || !request.windows(13).any(|part| part == b"notify_flags\0")
            {
                match stream.read(&mut byte) {
                    Ok(1) => request.extend(byte),
                    _ => break,
                }
            }
            if !request.is_empty() {
                *asked.lock().expect("nobody panics with it").entry(number).or_default() += 1;
            }
            let _ = stream.write_all(&answer.after);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut request);
        }
    });
}

/// A message for an agent, when it has been with it.
fn send(instance: &Instance, number: usize) -> String {
    let mut client = Client::connect(instance.smtp_port());
    let recipient = format!("bob@d{number}.example");
    let reply = client.send_message("ann@example.net", &[&recipient], "Subject: x\n\nx\n").text();
    let id = reply.rsplit(' ').next().expect("a word").to_owned();
    client.command("QUIT");
    let deferred = instance.queue_directory().join("deferred").join(&id[..1]).join(&id);
    instance.wait_for("an end", || {
        (deferred.exists() || instance.log_text().contains(&format!("{id}: removed"))).then_some(())
    });
    id
}

fn told(instance: &Instance, id: &str) -> Vec<String> {
    let ours = instance.log().into_iter().filter(|line| line.text.contains(id));
    let ours = ours.filter(|line| !["smtpd", "cleanup"].contains(&line.program()));
    let mut lines: Vec<String> = ours
        .map(|line| {
            let text = mask(&line.text.replace(id, "QID"), &HashMap::new());
            format!("{}: {}", line.ident, DELAYS.replace(&text, "DELAYS"))
        })
        .collect();
    for queue in ["deferred", "defer", "bounce"] {
        let path = instance.queue_directory().join(queue);
        let found = [path.join(id), path.join(&id[..1]).join(id)];
        if found.iter().any(|path| path.exists()) {
            lines.push(format!("in {queue}"));
        }
    }
    lines
}
