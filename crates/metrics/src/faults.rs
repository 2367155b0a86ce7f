//! What is wrong at the moment: a server that does not answer, a table that gives errors, a destination that takes nothing.
//!
//! The table lies behind the sessions, in the same memory. Whoever finds something wrong says so, and whoever finds the same
//! thing in order says that it is over; there is no need to know what the other has said. As long as nothing of a kind is
//! wrong, to say that something is in order is a look at one number. What nobody has said anything about for a long time is
//! not shown any more. Texts are for the superuser's eyes: they may name a client or a destination.
//!
//! | word | of the header | of a place |
//! |---|---|---|
//! | 0 | kinds that may be wrong, a bit each | hash of kind and subject; 0 when it is free |
//! | 1 | | the process that writes its texts; 0 when none does |
//! | 2 | | odd while they are being written |
//! | 3 | | the kind |
//! | 4 | | how often it was seen since it began; 0 when it is over |
//! | 5, 6 | | when it began, and when it was seen last, in microseconds since 1970 |
//! | 7, 28 | | subject and detail, each with a NUL behind it |

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::hash;
use crate::place::{self, put, text};
use crate::sessions::{is_alive, micros};

/// So many faults can be told apart.
pub const FAULTS: usize = 128;
/// So many of a kind whose subjects the configuration does not name.
const MOST_OF_OPEN_KIND: usize = FAULTS / 4;
const HEADER: usize = 8;
const PLACE: usize = 64;
/// Words of the table.
pub(crate) const WORDS: usize = HEADER + FAULTS * PLACE;

const HASH: usize = 0;
const WRITER: usize = 1;
const SEQUENCE: usize = 2;
const KIND: usize = 3;
const COUNT: usize = 4;
const SINCE: usize = 5;
const LAST: usize = 6;
const SUBJECT: Range<usize> = 7..28;
const DETAIL: Range<usize> = 28..PLACE;
/// Bytes of a subject and of a detail at most, without their ends.
const SUBJECT_LENGTH: usize = 160;
const DETAIL_LENGTH: usize = 280;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

macro_rules! faults {
    ($($variant:ident $name:literal $subject:ident $doc:literal)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fault {
            $(#[doc = $doc] $variant,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn subjects(self) -> Subjects {
                match self { $(Self::$variant => Subjects::$subject,)* }
            }
        }
    };
}

/// Where the subjects of a kind come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subjects {
    /// From the configuration: there are only so many, and they may be values of labels.
    Configured,
    /// From mail and clients: there are as many as there are of these.
    Open,
}

faults! {
    Filter "filter" Configured "A content filter cannot be reached, or breaks off."
    FilterSlow "filter-slow" Configured "A content filter is at its time limit, or takes more than half of it for a verdict."
    Milter "milter" Configured "A mail filter cannot be reached, or breaks off."
    Disk "disk" Configured "There is no room for mail."
    Dns "dns" Configured "Name servers do not answer."
    Table "table" Configured "A table cannot be looked into."
    Certificate "certificate" Configured "A certificate has expired, or cannot be used."
    Policy "policy" Configured "A policy server does not answer."
    Auth "auth" Configured "An authentication server does not answer."
    Transport "transport" Configured "A transport takes no requests."
    Service "service" Configured "The processes of a service end with an error."
    Destination "destination" Open "A destination takes no mail."
    Client "client" Open "A client is over a limit."
}

impl Fault {
    /// What of a subject may be the value of a label.
    pub(crate) fn label(self, subject: &str) -> &str {
        match self.subjects() {
            Subjects::Configured => subject,
            Subjects::Open => "",
        }
    }

    /// For how long a fault of this kind is shown that nobody sees again, and nobody says is over.
    fn keeps(self) -> Duration {
        match self {
            // A client that goes is not told of.
            Self::Client => 10 * MINUTE,
            _ => DAY,
        }
    }

    fn bit(self) -> u64 {
        1 << (self as u8)
    }

    fn numbered(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A fault as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFault {
    /// The kind.
    pub kind: Fault,
    /// What is wrong: a filter, a table, a destination.
    pub subject: String,
    /// In which way, when it was seen last.
    pub detail: String,
    /// How often it was seen since it began.
    pub count: u64,
    /// When it began, in microseconds since 1970.
    pub since: u64,
    /// When it was seen last.
    pub last: u64,
}

/// The table.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    words: &'static [AtomicU64],
}

impl Faults {
    /// In these words, of which there must be [`WORDS`].
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        assert!(words.len() >= WORDS, "the file is as long as its maker made it");
        Self { words }
    }

    fn places(self) -> impl Iterator<Item = &'static [AtomicU64]> {
        self.words[HEADER..].chunks_exact(PLACE).take(FAULTS)
    }

    /// Something is wrong.
    pub(crate) fn begin(self, kind: Fault, subject: &str, detail: &str) {
        let now = micros(SystemTime::now());
        let hash = hash(kind, subject);
        let known = self.places().find(|place| place[HASH].load(Ordering::Relaxed) == hash);
        let Some(place) = known.or_else(|| self.worst(kind)) else { return };
        let Some(writer) = Writer::of(place) else {
            // Another process writes the same just now.
            if known.is_some() {
                place[LAST].store(now, Ordering::Relaxed);
                place[COUNT].fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        let goes_on = place[HASH].load(Ordering::Relaxed) == hash && place[COUNT].load(Ordering::Relaxed) > 0;
        writer.write(hash, kind, subject, detail);
        if !goes_on {
            place[SINCE].store(now, Ordering::Relaxed);
            place[COUNT].store(0, Ordering::Relaxed);
        }
        place[LAST].store(now, Ordering::Relaxed);
        place[COUNT].fetch_add(1, Ordering::Relaxed);
        drop(writer);
        self.words[0].fetch_or(kind.bit(), Ordering::AcqRel);
    }

    /// The place that is missed least: a free one, one that is over, or the one that was seen longest ago. Kinds with any
    /// number of subjects push out only their own.
    fn worst(self, kind: Fault) -> Option<&'static [AtomicU64]> {
        let is_of_kind = |place: &&[AtomicU64]| {
            place[COUNT].load(Ordering::Relaxed) > 0 && place[KIND].load(Ordering::Relaxed) == kind as u64
        };
        let rank = |place: &&[AtomicU64]| match place[COUNT].load(Ordering::Relaxed) {
            0 => 0,
            _ => place[LAST].load(Ordering::Relaxed).max(1),
        };
        let is_many = kind.subjects() == Subjects::Open
            && self.places().filter(is_of_kind).count() >= MOST_OF_OPEN_KIND;
        match is_many {
            true => self.places().filter(is_of_kind).min_by_key(rank),
            false => self.places().min_by_key(rank),
        }
    }

    /// Whether something of this kind may be wrong.
    pub(crate) fn has(self, kind: Fault) -> bool {
        self.words[0].load(Ordering::Relaxed) & kind.bit() != 0
    }

    /// It is in order.
    pub(crate) fn end(self, kind: Fault, subject: &str) {
        // Who begins one sets the bit last, so that one that is not found below sets it again.
        self.words[0].fetch_and(!kind.bit(), Ordering::AcqRel);
        let hash = hash(kind, subject);
        let mut others = false;
        for place in self.places() {
            if place[HASH].load(Ordering::Relaxed) == hash {
                place[COUNT].store(0, Ordering::Relaxed);
            } else if place[KIND].load(Ordering::Relaxed) == kind as u64 {
                others |= place[COUNT].load(Ordering::Relaxed) > 0;
            }
        }
        if others {
            self.words[0].fetch_or(kind.bit(), Ordering::AcqRel);
        }
    }

    /// All are over: another master begins.
    pub(crate) fn clear(self) {
        self.places().for_each(|place| place[COUNT].store(0, Ordering::Relaxed));
        self.words[0].store(0, Ordering::Release);
    }

    /// What is wrong, the kinds in their order, and of each the one that was seen last before the others.
    #[must_use]
    pub fn all(self) -> Vec<OpenFault> {
        let now = micros(SystemTime::now());
        let mut all: Vec<OpenFault> = self.places().filter_map(read).collect();
        all.retain(|fault| {
            let age = Duration::from_micros(now.saturating_sub(fault.last));
            fault.count > 0 && age < fault.kind.keeps()
        });
        all.sort_by(|a, b| (a.kind, b.last, &a.subject).cmp(&(b.kind, a.last, &b.subject)));
        // Two processes that found it at the same time may have taken two places.
        all.dedup_by(|other, first| {
            let is_same = (other.kind, &other.subject) == (first.kind, &first.subject);
            if is_same {
                first.count += other.count;
                first.since = first.since.min(other.since);
            }
            is_same
        });
        all
    }
}

fn hash(kind: Fault, subject: &str) -> u64 {
    hash::hash(0xcbf2_9ce4_8422_2325 ^ kind as u64, cut(subject, SUBJECT_LENGTH).bytes()) | 1
}

fn cut(text: &str, most: usize) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    let end = (0..=most.min(text.len())).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// The right to write a place, until it is dropped.
struct Writer(&'static [AtomicU64]);

impl Writer {
    fn of(place: &'static [AtomicU64]) -> Option<Self> {
        let pid = u64::from(sys::process::id());
        let claim =
            |from| place[WRITER].compare_exchange(from, pid, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let owner = place[WRITER].load(Ordering::Relaxed);
        // One that died at it has left it.
        let is_free = owner == 0 || !is_alive(owner);
        (is_free && claim(owner)).then_some(Self(place))
    }

    fn write(&self, hash: u64, kind: Fault, subject: &str, detail: &str) {
        let place = self.0;
        place::write(place, SEQUENCE, || {
            place[HASH].store(hash, Ordering::Relaxed);
            place[KIND].store(kind as u64, Ordering::Relaxed);
            put(&place[SUBJECT], cut(subject, SUBJECT_LENGTH));
            put(&place[DETAIL], cut(detail, DETAIL_LENGTH));
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0[WRITER].store(0, Ordering::Release);
    }
}

/// The fault that a place is for.
fn read(place: &[AtomicU64]) -> Option<OpenFault> {
    place::read(place, SEQUENCE, |words| {
        if words[HASH] == 0 {
            return None;
        }
        Some(OpenFault {
            kind: Fault::numbered(words[KIND])?,
            subject: text(words, SUBJECT),
            detail: text(words, DETAIL),
            count: words[COUNT],
            since: words[SINCE],
            last: words[LAST],
        })
    })
}

impl OpenFault {
    /// In one line, as things stand at this time.
    #[must_use]
    pub fn describe(&self, now: SystemTime) -> Described<'_> {
        Described { fault: self, now }
    }
}

/// A fault in one line.
#[derive(Debug)]
pub struct Described<'f> {
    fault: &'f OpenFault,
    now: SystemTime,
}

/// `filter 127.0.0.1:10025: Connection refused (12 times, since 5m, last 3s ago)`; texts as they are.
impl fmt::Display for Described<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenFault { kind, subject, detail, count, since, last } = self.fault;
        let now = micros(self.now);
        let age = |then: &u64| sys::time::age(Duration::from_micros(now.saturating_sub(*then)));
        write!(out, "{} {subject}: {detail} (", kind.name())?;
        match count {
            1 => write!(out, "once, {} ago)", age(last)),
            _ => write!(out, "{count} times in {}, last {} ago)", age(since), age(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Faults {
        Faults::new((0..WORDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak())
    }

    fn shown(faults: Faults) -> Vec<(&'static str, String, String, u64)> {
        let each = faults.all().into_iter();
        each.map(|fault| (fault.kind.name(), fault.subject, fault.detail, fault.count)).collect()
    }

    #[test]
    fn begun_seen_again_and_over() {
        let faults = faults();
        faults.end(Fault::Filter, "a");
        assert!(!faults.has(Fault::Filter));
        faults.begin(Fault::Table, "hash:x", "gone");
        faults.begin(Fault::Filter, "a", "refused, at first");
        faults.begin(Fault::Filter, "a", "lost");
        faults.begin(Fault::Filter, "b", "refused");
        assert_eq!(
            shown(faults),
            [
                ("filter", "b".into(), "refused".into(), 1),
                ("filter", "a".into(), "lost".into(), 2),
                ("table", "hash:x".into(), "gone".into(), 1),
            ]
        );
        faults.end(Fault::Filter, "a");
        assert!(faults.has(Fault::Filter), "the other one");
        faults.end(Fault::Filter, "b");
        assert!(!faults.has(Fault::Filter));
        assert_eq!(shown(faults), [("table", "hash:x".into(), "gone".into(), 1)]);
        faults.begin(Fault::Filter, "a", "again");
        assert_eq!(shown(faults)[0], ("filter", "a".into(), "again".into(), 1));
        faults.clear();
        assert_eq!(faults.all(), []);
        assert!(!faults.has(Fault::Table));
    }

    #[test]
    fn strangers_push_out_strangers_only() {
        let faults = faults();
        faults.begin(Fault::Disk, "queue", "full");
        for number in 0..1000 {
            faults.begin(Fault::Client, &format!("client {number}"), &"\u{fc}\0x".repeat(300));
        }
        let all = shown(faults);
        assert_eq!(all.len(), 1 + MOST_OF_OPEN_KIND);
        assert_eq!(all[0], ("disk", "queue".into(), "full".into(), 1));
        assert!(all.iter().any(|fault| fault.1 == "client 999" && fault.2 == "\u{fc}"));
        for number in 0..1000 {
            faults.begin(Fault::Table, &format!("table {number}"), "");
        }
        assert_eq!(faults.all().len(), FAULTS);
    }

    #[test]
    fn many_at_once() {
        let faults = faults();
        std::thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    for turn in 0..60 {
                        let subject = format!("table {}", turn % 5);
                        faults.begin(Fault::Table, &subject, &format!("{subject} {number}"));
                        for fault in faults.all() {
                            assert!(fault.detail.starts_with(&fault.subject), "{fault:?}");
                        }
                        faults.end(Fault::Policy, "x");
                    }
                });
            }
        });
        assert_eq!(faults.all().len(), 5);
        (0..5).for_each(|number| faults.end(Fault::Table, &format!("table {number}")));
        assert_eq!(faults.all(), []);
    }

    #[test]
    fn what_is_no_fault_is_none() {
        let words =
            (0..WORDS).map(|number| AtomicU64::new(number as u64 * 0x0101_0101_0101)).collect::<Vec<_>>();
        let faults = Faults::new(words.leak());
        faults.begin(Fault::Disk, "queue", "full");
        faults.end(Fault::Disk, "queue");
        let _ = faults.all();
    }

    #[test]
    fn in_one_line() {
        let second = 1_000_000;
        let mut fault = OpenFault {
            kind: Fault::Filter,
            subject: "127.0.0.1:10025".into(),
            detail: "Connection refused".into(),
            count: 1,
            since: 700 * second,
            last: 997 * second,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let line = |fault: &OpenFault| fault.describe(now).to_string();
        assert_eq!(line(&fault), "filter 127.0.0.1:10025: Connection refused (once, 3s ago)");
        fault.count = 12;
        assert_eq!(line(&fault), "filter 127.0.0.1:10025: Connection refused (12 times in 5m, last 3s ago)");
    }
}
