//! Size, number, time.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::check::{Context, Outcome};
use crate::message::{Message, compare, ordinary};

/// How much a filter's memory may grow while it has a message of that size: a quarter, but not less than 8 MB, which
/// is what buffers and allocators come to.
fn allowed_growth(size: usize) -> u64 {
    (size as u64 / 4).max(8_000_000)
}

pub fn big(context: &Context) -> Outcome {
    let size = context.options.big;
    let send = || {
        // Once small, so that what is only needed once is there.
        context.deliver(&context.message(ordinary("Hello.\r\n")))?;
        let message = context.message(ordinary(&body(size)));
        let before = context.options.pid.map(memory);
        let done = AtomicBool::new(false);
        let (reply, highest) = thread::scope(|scope| {
            let highest = scope.spawn(|| {
                let mut highest = 0;
                while let (Some(pid), false) = (context.options.pid, done.load(Ordering::Relaxed)) {
                    highest = highest.max(memory(pid));
                    thread::sleep(Duration::from_millis(20));
                }
                highest
            });
            let reply = context.send(&message);
            done.store(true, Ordering::Relaxed);
            (reply, highest.join().unwrap_or_default())
        });
        let delivery = context.arrived(&message, &reply?)?;
        compare(&message.content, &delivery.content)?;
        let Some(before) = before else { return Ok(format!("{size} bytes; memory unknown without --pid")) };
        if before == 0 {
            return Err("--pid names no process whose memory can be seen".into());
        }
        let growth = highest.saturating_sub(before);
        let note = format!("{size} bytes; memory grew by {growth}");
        if growth > allowed_growth(size) { Err(note) } else { Ok(note) }
    };
    send().into()
}

/// Lines that are not all the same, of `size` bytes or a little more.
fn body(size: usize) -> String {
    let mut body = String::with_capacity(size + 100);
    let mut number: u64 = 1;
    while body.len() < size {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.push_str(&format!("{number:020} {:020} and some words of text\r\n", number.rotate_left(32)));
    }
    body
}

/// Bytes in memory of a process and its descendants, this program not among them.
fn memory(pid: u32) -> u64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = status(pid, "PPid:").and_then(|parent| u32::try_from(parent).ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = vec![pid];
    let mut sum = 0;
    while let Some(pid) = all.pop() {
        if pid == std::process::id() {
            continue;
        }
        sum += status(pid, "VmRSS:").unwrap_or(0) * 1024;
        all.extend(children.remove(&pid).unwrap_or_default());
    }
    sum
}

fn status(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

pub fn sessions(context: &Context) -> Outcome {
    let messages: Vec<Vec<Message>> =
        (0..context.options.sessions).map(|_| (0..5).map(|_| numbered(context)).collect()).collect();
    let results: Vec<Result<(), String>> = thread::scope(|scope| {
        let threads: Vec<_> = messages
            .iter()
            .map(|messages| {
                scope.spawn(move || {
                    for message in messages {
                        compare(&message.content, &context.deliver(message)?.content)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a bug here".into()))).collect()
    });
    let count = results.len();
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let result = match failed.first() {
        None => Ok(format!("{count} sessions with 5 messages each, one after the other")),
        Some(first) => Err(format!("{} of {count} sessions failed: {first}", failed.len())),
    };
    result.into()
}

/// A message that is no other's.
fn numbered(context: &Context) -> Message {
    let mut message = context.message("");
    message.content = ordinary(&format!("This is {} and no other.\r\n", message.token).repeat(500));
    message
}

pub fn times(context: &Context) -> Outcome {
    let take = || {
        let mut times = Vec::new();
        for _ in 0..context.options.messages.max(1) {
            let message = numbered(context);
            let mut client = context.session()?;
            let reply = client.envelope(&message)?;
            if reply.class() != 2 {
                return Err(format!("the envelope was refused: {reply}"));
            }
            client.expect("DATA", 3)?;
            client.send(&message.content);
            let begin = Instant::now();
            client.send(b".\r\n");
            client.expect_reply("end of data", 2)?;
            times.push(begin.elapsed());
            client.quit();
        }
        times.sort_unstable();
        let show = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        let (min, median, max) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        let count = times.len();
        Ok(format!("{count} messages, ms: min {} median {} max {}", show(min), show(median), show(max)))
    };
    take().into()
}
