//! How much is in the queue, and how old it is.
//!
//! A message's age is its file's: the file keeps its time of birth when it moves from queue to queue. Where the file system
//! has none, it is the time of its last change, which for deferred mail is when it is tried next.
//!
//! A look costs a `stat` for each message, so there is not one for each client: all processes of the service share the time of
//! the last one, and the next comes after [`INTERVAL`], or after twenty times what the last one took.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use metrics::{Family, Records};
use queue::{QueueDirectory, QueueName, Scan};

const INTERVAL: Duration = Duration::from_secs(10);

const QUEUES: [QueueName; 6] = [
    QueueName::Maildrop,
    QueueName::Incoming,
    QueueName::Active,
    QueueName::Deferred,
    QueueName::Hold,
    QueueName::Corrupt,
];

/// Up to which age, in seconds, and what that is called.
const AGES: [(u64, &str); 6] =
    [(300, "5m"), (3600, "1h"), (21_600, "6h"), (86_400, "1d"), (432_000, "5d"), (u64::MAX, "older")];

/// What is in one queue.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    counts: [u64; AGES.len()],
    oldest: u64,
}

impl Content {
    fn add(&mut self, age: u64) {
        let band = AGES.iter().position(|(bound, _)| age <= *bound).unwrap_or(AGES.len() - 1);
        self.counts[band] += 1;
        self.oldest = self.oldest.max(age);
    }
}

/// Looks at the queues, when it is time.
pub(crate) fn look(directory: &QueueDirectory, records: &Records) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if !records.claim_look(now, INTERVAL) {
        return;
    }
    let begun = Instant::now();
    for queue in QUEUES {
        // A queue that cannot be looked at shows nothing, and what it showed before is not true any more.
        let content = content(directory, queue).unwrap_or_default();
        for ((_, age), count) in AGES.iter().zip(content.counts) {
            metrics::set(Family::QueueMessages, "", &[queue.as_str(), age], count);
        }
        metrics::set(Family::QueueOldest, "", &[queue.as_str()], content.oldest);
    }
    let rest = begun.elapsed() * 20;
    if rest > INTERVAL {
        let _ = records.claim_look(now + rest - INTERVAL, Duration::ZERO);
    }
}

fn content(directory: &QueueDirectory, queue: QueueName) -> std::io::Result<Content> {
    let now = SystemTime::now();
    let mut content = Content::default();
    for entry in Scan::new(directory, queue)? {
        // It may have moved on.
        let Ok(data) = fs::symlink_metadata(directory.resolve(&entry.path)) else { continue };
        let since = data.created().or_else(|_| data.modified()).unwrap_or(now);
        content.add(now.duration_since(since).unwrap_or_default().as_secs());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands() {
        let mut content = Content::default();
        [0, 300, 301, 432_001].into_iter().for_each(|age| content.add(age));
        assert_eq!(content, Content { counts: [2, 1, 0, 0, 0, 1], oldest: 432_001 });
    }
}
