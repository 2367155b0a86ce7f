//! Answers that may be kept: a name server's answer holds for as long as its records say, and need not be asked for again.
//!
//! Only answers that have records are kept, for the shortest TTL among these and never longer than [`TIME_LIMIT`];
//! failures are asked about anew each time. What is kept is bounded in entries and in records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::message::{Message, ResponseCode};
use crate::record::RecordType;

/// Nothing is kept longer.
const TIME_LIMIT: Duration = Duration::from_secs(100);
/// Answers that are kept.
const ENTRY_LIMIT: usize = 1024;
/// An answer with more records is not kept.
const RECORD_LIMIT: usize = 32;

/// What was asked for; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    name: Vec<u8>,
    kind: RecordType,
    dnssec: bool,
}

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    since: Instant,
    until: Instant,
}

/// Answers of one set of name servers.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    answers: Mutex<HashMap<Question, Kept>>,
}

impl Cache {
    /// An answer that still holds, its TTLs counted down as another name server would.
    pub(crate) fn find(&self, name: &[u8], kind: RecordType, dnssec: bool, now: Instant) -> Option<Message> {
        let answers = self.lock();
        let kept = answers.get(&question(name, kind, dnssec)).filter(|kept| kept.until > now)?;
        let age = u32::try_from(now.saturating_duration_since(kept.since).as_secs()).unwrap_or(u32::MAX);
        let mut message = Message::clone(&kept.message);
        for record in &mut message.answers {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(message)
    }

    /// Keeps an answer for as long as it says.
    pub(crate) fn keep(&self, name: &[u8], kind: RecordType, dnssec: bool, message: &Message, now: Instant) {
        let shortest = message.answers.iter().map(|record| record.ttl).min().unwrap_or(0);
        let is_whole = message.code == ResponseCode::NoError && !message.truncated;
        if shortest == 0 || !is_whole || message.answers.len() > RECORD_LIMIT {
            return;
        }
        let until = now + TIME_LIMIT.min(Duration::from_secs(shortest.into()));
        let mut answers = self.lock();
        if answers.len() >= ENTRY_LIMIT {
            answers.retain(|_, kept| kept.until > now);
        }
        if answers.len() >= ENTRY_LIMIT {
            // The half that would go first.
            let mut ends: Vec<Instant> = answers.values().map(|kept| kept.until).collect();
            let (_, middle, _) = ends.select_nth_unstable(ENTRY_LIMIT / 2);
            let middle = *middle;
            let mut spare = ENTRY_LIMIT / 2;
            answers.retain(|_, kept| {
                let stays = kept.until >= middle && spare > 0;
                spare -= usize::from(stays);
                stays
            });
        }
        let kept = Kept { message: Arc::new(message.clone()), since: now, until };
        answers.insert(question(name, kind, dnssec), kept);
    }

    /// Other servers are asked from now on.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Kept>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn question(name: &[u8], kind: RecordType, dnssec: bool) -> Question {
    Question { name: name.to_ascii_lowercase(), kind, dnssec }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::record::{Data, Record};

    fn message(ttls: &[u32]) -> Message {
        let record = |ttl: &u32| Record {
            owner: b"a.example".to_vec(),
            kind: RecordType::A,
            ttl: *ttl,
            data: Data::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        };
        Message {
            id: 1,
            code: ResponseCode::NoError,
            truncated: false,
            authentic: true,
            name: b"a.example".to_vec(),
            kind: 1,
            answers: ttls.iter().map(record).collect(),
        }
    }

    #[test]
    fn answers_hold_for_their_shortest_ttl_and_no_longer_than_the_limit() {
        let cache = Cache::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ttls = |name: &str, seconds| -> Option<Vec<u32>> {
            let found = cache.find(name.as_bytes(), RecordType::A, false, at(seconds))?;
            Some(found.answers.iter().map(|record| record.ttl).collect())
        };
        cache.keep(b"a.example", RecordType::A, false, &message(&[30, 10]), start);
        cache.keep(b"long.example", RecordType::A, false, &message(&[100_000]), start);
        cache.keep(b"zero.example", RecordType::A, false, &message(&[30, 0]), start);
        cache.keep(b"none.example", RecordType::A, false, &message(&[]), start);
        assert_eq!(ttls("A.Example", 9), Some(vec![21, 1]));
        assert_eq!(ttls("a.example", 10), None);
        assert_eq!(ttls("long.example", 99), Some(vec![99_901]));
        assert_eq!(ttls("long.example", 100), None);
        assert_eq!((ttls("zero.example", 0), ttls("none.example", 0)), (None, None));
        assert_eq!(cache.find(b"a.example", RecordType::A, true, start), None, "another question");
        assert_eq!(cache.find(b"a.example", RecordType::Aaaa, false, start), None, "another question");
        cache.clear();
        assert_eq!(ttls("long.example", 1), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Cache::default();
        let now = Instant::now();
        for number in 0..5 * ENTRY_LIMIT {
            let name = format!("{number}.example");
            cache.keep(name.as_bytes(), RecordType::A, false, &message(&[60]), now);
            assert!(cache.lock().len() <= ENTRY_LIMIT);
        }
        assert!(cache.lock().len() >= ENTRY_LIMIT / 2);
        cache.keep(b"much.example", RecordType::A, false, &message(&[60; RECORD_LIMIT + 1]), now);
        assert_eq!(cache.find(b"much.example", RecordType::A, false, now), None);
    }
}
