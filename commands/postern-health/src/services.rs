//! The services of the mail system itself: asked as its other programs ask them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ipc::announce::Protocol;
use ipc::attr::{Decoder, Encoder, Flags as Rules};
use ipc::cleanup::{Client, Flags, write_flags};
use ipc::client::Stream;
use ipc::dialect::Dialect;
use ipc::showq::{Event, Reader};

use crate::findings::Outcome;
use crate::instance::cannot;
use crate::subject::Subject;

/// A whole message that the queue manager has left in `incoming` for so long is stuck there.
const STUCK: Duration = Duration::from_secs(300);
/// Recipients that wait for one destination, and for the same reason, from which on it is told.
const MANY: usize = 10;
/// Files of a directory that are looked at.
const FILES_LIMIT: usize = 1000;

/// An address is given its standard form.
pub(crate) fn rewrite(subject: &Subject) -> Outcome {
    let path = format!("private/{}", subject.config.globals().rewrite_service_name);
    let mut stream = match Stream::connect(&path, subject.timeout) {
        Ok(stream) => stream,
        Err(error) => return cannot(&format!("connect to {path}"), &error),
    };
    let name = stream.name().to_owned();
    let request =
        Encoder::null().string("request", "rewrite").string("rule", "local").string("address", "postmaster");
    let answer = (|| {
        Protocol::TRIVIAL_REWRITE.expect(&mut stream, &name)?;
        // One that cannot be sent has no answer.
        let _ = request.send(&mut stream);
        let mut list = Decoder::null(&mut stream, &name, Rules::STRICT);
        let (_, address) = (list.int("flags")?, list.string("address")?);
        list.end().map(|()| address)
    })();
    match answer {
        Ok(address) => Outcome::Good(format!("postmaster is {}", String::from_utf8_lossy(&address))),
        Err(error) => Outcome::Failed(format!("{path}: {}", error.os_text())),
    }
}

/// A queue file is made, and taken back: there is a process, and the queue can be written to.
pub(crate) fn cleanup(subject: &Subject) -> Outcome {
    let path = format!("public/{}", subject.config.globals().cleanup_service_name);
    let stream = match Stream::connect(&path, subject.timeout) {
        Ok(stream) => stream,
        Err(error) => return cannot(&format!("connect to {path}"), &error),
    };
    match Client::start(stream) {
        Ok(mut client) => {
            // From here on it is a message that its client has thought better of.
            let told = write_flags(&mut client, Flags::empty()).and_then(|()| client.flush());
            match told {
                Ok(()) => Outcome::Good("a queue file can be made".into()),
                Err(error) => cannot(&path, &error),
            }
        }
        Err(error) => Outcome::Failed(format!("{path}: {}", error.os_text())),
    }
}

/// How the queue is: nothing stuck on its way in, no destination that everybody waits for.
pub(crate) fn queue(subject: &Subject) -> Outcome {
    if let Some(age) = oldest_incoming() {
        let seconds = age.as_secs();
        return Outcome::Failed(format!(
            "a message has been in the incoming queue for {seconds} seconds: the queue manager does not take it"
        ));
    }
    let path = format!("public/{}", subject.config.globals().showq_service_name);
    let stream = match Stream::connect(&path, subject.timeout) {
        Ok(stream) => stream,
        Err(error) => return cannot(&format!("connect to {path}"), &error),
    };
    let mut tally = Tally::default();
    match tally.read(stream, subject) {
        Ok(()) => tally.outcome(),
        Err(error) => Outcome::Failed(format!("{path}: {}", error.os_text())),
    }
}

/// The age of the oldest whole message in `incoming`, when that is too old.
fn oldest_incoming() -> Option<Duration> {
    let now = SystemTime::now();
    // As deep as hash_queue_depth goes, at most.
    let files = files_below(Path::new("incoming"), 16, &mut FILES_LIMIT.clone());
    let ages = files.iter().filter_map(|path| {
        let data = fs::metadata(path).ok()?;
        // The owner's execute bit says that it is whole.
        let is_whole = data.permissions().mode() & 0o100 != 0;
        now.duration_since(data.modified().ok()?).ok().filter(|_| is_whole)
    });
    ages.max().filter(|age| *age > STUCK)
}

fn files_below(folder: &Path, deepest: usize, left: &mut usize) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && deepest > 0 => {
                found.extend(files_below(&entry.path(), deepest - 1, left));
            }
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// What the listing says.
#[derive(Debug, Default)]
struct Tally {
    /// Messages, by the name of their queue.
    messages: BTreeMap<String, usize>,
    /// Recipients that wait, by domain and reason.
    waiting: BTreeMap<(String, String), usize>,
    /// There was no time for all of it.
    is_partial: bool,
}

impl Tally {
    fn read(&mut self, stream: Stream, subject: &Subject) -> Result<(), ipc::attr::Error> {
        let deadline = Instant::now() + subject.timeout;
        let dialect = Dialect::of_postfix_3(subject.config.globals().postfix_minor);
        let name = stream.name().to_owned();
        let mut reader = Reader::new(stream, name, dialect)?;
        while let Some(event) = reader.next_event()? {
            match event {
                Event::Message(message) => {
                    let queue = String::from_utf8_lossy(&message.queue_name).into_owned();
                    *self.messages.entry(queue).or_default() += 1;
                }
                Event::Recipient(rcpt) if !rcpt.reason.is_empty() => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let domain = rcpt.address.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
                    *self.waiting.entry((text(domain), text(&rcpt.reason))).or_default() += 1;
                }
                Event::Recipient(_) | Event::EndOfMessage => {}
            }
            if Instant::now() > deadline {
                self.is_partial = true;
                break;
            }
        }
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        let counts: Vec<_> = self.messages.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let mut text = if counts.is_empty() { "empty".to_owned() } else { counts.join(", ") };
        if self.is_partial {
            text += ", and more that there was no time to count";
        }
        let worst = self.waiting.iter().max_by_key(|(_, count)| **count);
        match worst {
            Some(((domain, reason), count)) if *count >= MANY => {
                Outcome::Warning(format!("{text}; {count} recipients at {domain} wait: {reason}"))
            }
            _ => Outcome::Good(text),
        }
    }
}
