//! Where in the file a number is.
//!
//! The file is a header and a table of records, found by a hash of what they count and, where another one has that place,
//! in the places behind it. A record is written once: its first word says whether it is free, being written, or there for
//! good. A process that dies while it writes one leaves a place that nobody uses; two that want the same record at
//! the same time may both get one, and what they count is added up when it is shown.
//!
//! | word | of the header | of a record |
//! |---|---|---|
//! | 0 | magic number and layout | state |
//! | 1 | when the file was made, in seconds | hash |
//! | 2 | how many records are taken | family, and the length of the values of its labels |
//! | 3 | what found no room | values of labels, each with a NUL behind it, up to word 23 |
//! | 4 | when the queues were looked at, in seconds | |
//! | 24 | | numbers: one, or those of the buckets, and the sum in microseconds |

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::family::{BUCKETS, Family, Kind};

/// So many numbers, or groups of them in a histogram, can be counted.
pub const RECORDS: usize = 4096;
/// Records are not taken beyond this, so that each is found soon.
const MOST_TAKEN: u64 = 3072;

pub(crate) const HEADER: usize = 8;
const RECORD: usize = 40;
const KEY: usize = 3;
const KEY_WORDS: usize = NUMBERS - KEY;
const KEY_LENGTH: usize = KEY_WORDS * 8;
const NUMBERS: usize = 24;
const SUM: usize = BUCKETS.len();
/// Words of header and table; the sessions are behind them.
pub(crate) const WORDS: usize = HEADER + RECORDS * RECORD;

pub(crate) const MAGIC: usize = 0;
pub(crate) const MADE: usize = 1;
const TAKEN: usize = 2;
const DROPPED: usize = 3;
const LOOKED: usize = 4;

const FREE: u64 = 0;
const WRITING: u64 = 1;
const THERE: u64 = 2;

/// The table.
#[derive(Debug, Clone)]
pub struct Records {
    words: &'static [AtomicU64],
}

/// A record as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The number of the family.
    pub(crate) family: u64,
    /// The values of its labels, the service's first.
    pub values: Vec<String>,
    /// Its numbers.
    pub(crate) numbers: Vec<u64>,
}

impl Record {
    /// What is counted.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        Family::numbered(self.family)
    }

    /// The number of a counter or gauge.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.numbers.first().copied().unwrap_or(0)
    }
}

impl Record {
    /// Of a histogram: how many spans there were, and how long all of them, in microseconds.
    #[must_use]
    pub fn spans(&self) -> (u64, u64) {
        let (counts, sum) = self.numbers.split_at(SUM.min(self.numbers.len()));
        (counts.iter().fold(0, |all, count| all.wrapping_add(*count)), sum.first().copied().unwrap_or(0))
    }
}

/// The values of labels, as words.
struct Key {
    words: [u64; KEY_WORDS],
    /// The family, and the length.
    head: u64,
    hash: u64,
}

impl Key {
    fn new(family: Family, service: &str, values: &[&str]) -> Self {
        let mut bytes = [0; KEY_LENGTH];
        let mut length = 0;
        // What is too long keeps its beginning, and room is left for the ends of the others.
        let mut left = values.len() + 1;
        for value in std::iter::once(service).chain(values.iter().copied()) {
            let room = (KEY_LENGTH - length).saturating_sub(left);
            let end = (0..=room.min(value.len())).rfind(|end| value.is_char_boundary(*end)).unwrap_or(0);
            let value = &value.as_bytes()[..end];
            bytes[length..length + value.len()].copy_from_slice(value);
            length += value.len() + 1;
            left -= 1;
        }
        let mut words = [0; KEY_WORDS];
        let head = family as u64 | (length as u64) << 16;
        let mut hash = head ^ 0xcbf2_9ce4_8422_2325;
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)).take(length.div_ceil(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
            hash = (hash ^ *word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        Self { words, head, hash }
    }

    fn used(&self) -> &[u64] {
        let length = usize::try_from(self.head >> 16).unwrap_or(0);
        &self.words[..length.div_ceil(8).min(KEY_WORDS)]
    }
}

impl Records {
    /// In these words, of which there must be [`WORDS`].
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        assert!(words.len() >= WORDS, "the file is as long as its maker made it");
        Self { words }
    }

    fn header(&self, word: usize) -> &AtomicU64 {
        &self.words[word]
    }

    fn record(&self, index: usize) -> &[AtomicU64] {
        &self.words[HEADER + index * RECORD..][..RECORD]
    }

    /// When the file was made, in seconds since 1970.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.header(MADE).load(Ordering::Relaxed)
    }

    /// What found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.header(DROPPED).load(Ordering::Relaxed)
    }

    /// Whether the queues are to be looked at, by who asks: the last time that somebody was told so is as long ago. `now` is the
    /// time since 1970. After the clock was set back, anybody may.
    #[must_use]
    pub fn claim_look(&self, now: Duration, interval: Duration) -> bool {
        let last = self.header(LOOKED).load(Ordering::Relaxed);
        let (now, interval) = (now.as_secs(), interval.as_secs());
        let is_due = now >= last.saturating_add(interval) || last > now.saturating_add(86_400);
        is_due
            && self.header(LOOKED).compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn add(&self, family: Family, service: &str, values: &[&str], count: u64) {
        if let Some(record) = self.find(family, service, values) {
            record[NUMBERS].fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn set(&self, family: Family, service: &str, values: &[&str], to: u64) {
        if let Some(record) = self.find(family, service, values) {
            record[NUMBERS].store(to, Ordering::Relaxed);
        }
    }

    pub(crate) fn observe(&self, family: Family, service: &str, values: &[&str], span: Duration) {
        let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|(bound, _)| span <= *bound).unwrap_or(SUM - 1);
        if let Some(record) = self.find(family, service, values) {
            record[NUMBERS + bucket].fetch_add(1, Ordering::Relaxed);
            record[NUMBERS + SUM].fetch_add(span, Ordering::Relaxed);
        }
    }

    pub(crate) fn clear(&self, family: Family) {
        for record in (0..RECORDS).map(|index| self.record(index)) {
            if record[0].load(Ordering::Acquire) == THERE
                && record[2].load(Ordering::Relaxed) & 0xffff == family as u64
            {
                record[NUMBERS].store(0, Ordering::Relaxed);
            }
        }
    }

    /// The record of this, made if need be.
    fn find(&self, family: Family, service: &str, values: &[&str]) -> Option<&[AtomicU64]> {
        debug_assert_eq!(values.len(), family.labels().len(), "{}", family.name());
        let key = Key::new(family, service, values);
        let start = usize::try_from(key.hash % RECORDS as u64).unwrap_or(0);
        for index in (start..RECORDS).chain(0..start) {
            let record = self.record(index);
            match record[0].load(Ordering::Acquire) {
                THERE if is_of(record, &key) => return Some(record),
                FREE if self.header(TAKEN).load(Ordering::Relaxed) >= MOST_TAKEN => break,
                FREE => {
                    let claimed =
                        record[0].compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Acquire);
                    if claimed.is_ok() {
                        self.header(TAKEN).fetch_add(1, Ordering::Relaxed);
                        write(record, &key);
                        return Some(record);
                    }
                }
                _ => {}
            }
        }
        self.header(DROPPED).fetch_add(1, Ordering::Relaxed);
        None
    }

    /// All records, in the order of families and of the values of their labels.
    #[must_use]
    pub fn all(&self) -> Vec<Record> {
        let mut all: Vec<Record> = (0..RECORDS).filter_map(|index| read(self.record(index))).collect();
        all.sort();
        all.dedup_by(|next, before| {
            let same = next.family == before.family && next.values == before.values;
            if same {
                for (sum, number) in before.numbers.iter_mut().zip(&next.numbers) {
                    *sum = sum.wrapping_add(*number);
                }
            }
            same
        });
        all
    }
}

fn is_of(record: &[AtomicU64], key: &Key) -> bool {
    let is = |word: usize, value: u64| record[word].load(Ordering::Relaxed) == value;
    is(1, key.hash) && is(2, key.head) && key.used().iter().enumerate().all(|(at, word)| is(KEY + at, *word))
}

fn write(record: &[AtomicU64], key: &Key) {
    record[1].store(key.hash, Ordering::Relaxed);
    record[2].store(key.head, Ordering::Relaxed);
    for (place, word) in record[KEY..].iter().zip(key.used()) {
        place.store(*word, Ordering::Relaxed);
    }
    record[0].store(THERE, Ordering::Release);
}

/// What is no record of ours (other processes can write anything) is none.
fn read(record: &[AtomicU64]) -> Option<Record> {
    if record[0].load(Ordering::Acquire) != THERE {
        return None;
    }
    let load = |word: usize| record[word].load(Ordering::Relaxed);
    let (family, length) = (load(2) & 0xffff, load(2) >> 16);
    let known = Family::numbered(family)?;
    let bytes: Vec<u8> = (KEY..NUMBERS).flat_map(|word| load(word).to_ne_bytes()).collect();
    let bytes = bytes.get(..usize::try_from(length).ok()?)?.strip_suffix(b"\0")?;
    let values: Vec<String> =
        bytes.split(|byte| *byte == 0).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let count = if known.kind() == Kind::Histogram { BUCKETS.len() + 1 } else { 1 };
    let numbers = (NUMBERS..).take(count).map(load).collect();
    (values.len() == known.labels().len() + 1).then_some(Record { family, values, numbers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        Records::new((0..WORDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak())
    }

    #[test]
    fn threads_count_together() {
        let records = records();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..3000 {
                        records.add(Family::SmtpdTransactions, "smtp", &[&format!("k{}", number % 30)], 1);
                    }
                });
            }
        });
        let all = records.all();
        assert_eq!(all.len(), 30);
        assert!(all.iter().all(|record| record.number() == 400), "{all:?}");
        assert_eq!(records.dropped(), 0);
    }

    #[test]
    fn a_full_table_counts_what_it_does_not_take() {
        let records = records();
        let most = usize::try_from(MOST_TAKEN).unwrap();
        for number in 0..most + 10 {
            records.add(Family::SmtpdTransactions, "smtp", &[&number.to_string()], 2);
        }
        records.add(Family::SmtpdTransactions, "smtp", &["7"], 1);
        assert_eq!((records.all().len(), records.dropped()), (most, 10));
        let seven = records.all().into_iter().find(|record| record.values[1] == "7").unwrap();
        assert_eq!(seven.number(), 3);
    }

    #[test]
    fn long_values_keep_their_beginning() {
        let records = records();
        let long = "\u{fc}".repeat(200);
        records.add(Family::SmtpdProxyFailures, &long, &[&long, "phase", ""], 1);
        let [record] = &records.all()[..] else { panic!("one") };
        assert_eq!(record.values.len(), 4);
        assert!(record.values[0].starts_with('\u{fc}') && long.starts_with(&record.values[0]));
    }

    #[test]
    fn spans_and_gauges() {
        let records = records();
        for seconds in [0, 1, 2, 1_000_000] {
            records.observe(Family::DeliveryDelay, "smtp", &["a"], Duration::from_secs(seconds));
        }
        let [record] = &records.all()[..] else { panic!("one") };
        assert_eq!(record.numbers, [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1_000_003_000_000]);
        records.set(Family::Processes, "smtp", &["busy"], 7);
        records.set(Family::Processes, "smtp", &["busy"], 5);
        assert_eq!(records.all()[1].number(), 5);
        records.clear(Family::Processes);
        assert_eq!(records.all()[1].number(), 0);
    }

    #[test]
    fn one_looks() {
        let records = records();
        let look = |now| records.claim_look(Duration::from_secs(now), Duration::from_secs(10));
        assert_eq!([look(500_000), look(500_009), look(500_010), look(500_010)], [true, false, true, false]);
        assert_eq!([look(400_000), look(400_001)], [true, false]);
    }

    #[test]
    fn what_is_no_record_is_none() {
        let words: &[AtomicU64] =
            (0..WORDS).map(|number| AtomicU64::new(number as u64 % 3)).collect::<Vec<_>>().leak();
        let records = Records::new(words);
        records.add(Family::SmtpdSessions, "smtp", &[], 1);
        for record in records.all() {
            assert!(record.family().is_some());
        }
    }
}
