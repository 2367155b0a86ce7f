//! What is in the queue, as showq lists it.
//!
//! All messages are counted; of a queue with very many, only so many are kept to be shown, and destinations and reasons beyond
//! a bound are counted together.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::time::Duration;

use config::Globals;
use ipc::client::Stream;
use ipc::dialect::Dialect;
use ipc::showq::{Event, Reader};

/// Messages that are kept.
const MESSAGES: usize = 5000;
/// Destinations, and reasons, that are told apart.
const KINDS: usize = 2000;
/// Bytes of a reason.
const REASON: usize = 200;
/// What is beyond [`KINDS`].
const OTHERS: &str = "(others)";
const PATIENCE: Duration = Duration::from_secs(10);

/// One queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// When the oldest message came, in seconds since 1970.
    pub(crate) oldest: Option<i64>,
}

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) queue: String,
    pub(crate) id: String,
    pub(crate) time: i64,
    pub(crate) size: u64,
    pub(crate) sender: String,
    /// The first one.
    pub(crate) recipient: String,
    pub(crate) recipients: u64,
    /// Why the first one that is delayed is.
    pub(crate) reason: String,
}

/// The listing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    pub(crate) queues: BTreeMap<String, Content>,
    pub(crate) messages: Vec<Message>,
    /// Domains, and how many recipients in each; the most first.
    pub(crate) destinations: Vec<(String, u64)>,
    /// Why recipients are delayed, and how many.
    pub(crate) reasons: Vec<(String, u64)>,
}

/// Counts by name, up to a bound.
#[derive(Debug, Default)]
struct Counts(HashMap<String, u64>);

impl Counts {
    fn add(&mut self, name: &str) {
        let known = self.0.len() < KINDS || self.0.contains_key(name);
        *self.0.entry(if known { name } else { OTHERS }.to_owned()).or_default() += 1;
    }

    fn sorted(self) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

/// Asks showq.
pub(crate) fn list(globals: &Globals) -> Result<Listing, String> {
    let path = format!("{}/public/{}", globals.queue_directory, globals.showq_service_name);
    let mut stream = Stream::connect(&path, PATIENCE).map_err(|error| sys::error_text(&error))?;
    let dialect = Dialect::of_postfix_3(globals.postfix_minor);
    let name = stream.name().to_owned();
    read(stream.input().0, &name, dialect)
}

fn read(input: impl BufRead, from: &str, dialect: Dialect) -> Result<Listing, String> {
    let mut reader = Reader::new(input, from, dialect).map_err(|error| error.to_string())?;
    let mut listing = Listing::default();
    let (mut destinations, mut reasons) = (Counts::default(), Counts::default());
    let mut current = Message::default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while let Some(event) = reader.next_event().map_err(|error| error.to_string())? {
        match event {
            Event::Message(message) => {
                current = Message {
                    queue: text(&message.queue_name),
                    id: text(&message.queue_id),
                    time: message.time,
                    size: u64::try_from(message.size).unwrap_or(0),
                    sender: text(&message.sender),
                    ..Message::default()
                };
            }
            Event::Recipient(recipient) => {
                let address = text(&recipient.address);
                let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
                destinations.add(&domain.to_ascii_lowercase());
                if !recipient.reason.is_empty() {
                    let reason = text(recipient.reason.get(..REASON).unwrap_or(&recipient.reason));
                    reasons.add(&reason);
                    if current.reason.is_empty() {
                        current.reason = reason;
                    }
                }
                current.recipients += 1;
                if current.recipients == 1 {
                    current.recipient = address;
                }
            }
            Event::EndOfMessage => {
                let content = listing.queues.entry(current.queue.clone()).or_default();
                content.messages += 1;
                content.bytes += current.size;
                content.oldest = Some(content.oldest.map_or(current.time, |oldest| oldest.min(current.time)));
                if listing.messages.len() < MESSAGES {
                    listing.messages.push(std::mem::take(&mut current));
                }
            }
        }
    }
    listing.destinations = destinations.sorted();
    listing.reasons = reasons.sorted();
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc::showq::{Message as Listed, Recipient, Writer};

    #[test]
    fn counted() {
        let dialect = Dialect::of_postfix_3(7);
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, dialect).unwrap();
        for number in 0..10_u8 {
            let queue = if number < 7 { "deferred" } else { "hold" };
            writer
                .message(&Listed {
                    queue_name: queue.into(),
                    queue_id: format!("49A9299615{number}").into(),
                    time: 1000 - i64::from(number),
                    size: 10,
                    forced_expire: false,
                    sender: b"a@b".to_vec(),
                })
                .unwrap();
            for domain in ["Example.com", "example.org"].iter().take(1 + usize::from(number) % 2) {
                let address = format!("c@{domain}").into();
                let reason = if number < 7 { b"no \x1b route".to_vec() } else { Vec::new() };
                writer
                    .recipient(&Recipient {
                        original: Vec::new(),
                        address,
                        log_class: b"defer".to_vec(),
                        reason,
                    })
                    .unwrap();
            }
            writer.end_message().unwrap();
        }
        writer.finish().unwrap();
        let listing = read(&bytes[..], "test", dialect).unwrap();
        assert_eq!(listing.queues["deferred"], Content { messages: 7, bytes: 70, oldest: Some(994) });
        assert_eq!(listing.destinations, [("example.com".to_owned(), 10), ("example.org".to_owned(), 5)]);
        assert_eq!(listing.reasons, [("no \u{1b} route".to_owned(), 10)]);
        let first = &listing.messages[1];
        assert_eq!((&*first.recipient, first.recipients, &*first.id), ("c@Example.com", 2, "49A92996151"));
        assert!(read(&bytes[..40], "test", dialect).is_err());
    }

    #[test]
    fn bounded() {
        let mut counts = Counts::default();
        (0..KINDS + 10).for_each(|number| counts.add(&number.to_string()));
        counts.add("7");
        let sorted = counts.sorted();
        assert_eq!(
            (sorted.len(), &sorted[0], &sorted[1]),
            (KINDS + 1, &(OTHERS.to_owned(), 10), &("7".to_owned(), 2))
        );
    }
}
