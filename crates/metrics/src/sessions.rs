//! Sessions in progress: who each process serves, and what with. A delivery is one, too, with a destination for a client.
//!
//! The table lies behind the counters, in the same memory. A session takes a place when it begins and writes what changes,
//! without lock or system call; the place is given back with its end. The place of a process that died without giving it back
//! is free for the next that looks for one, and nobody shows it. A full table costs a session its place, no more.
//!
//! | word | of a place |
//! |---|---|
//! | 0 | the process that has it; 0 when it is free |
//! | 1 | odd while it is being written |
//! | 2, 3 | since when the session lasts, and what it does now, in microseconds since 1970 |
//! | 4 | the session's number in the log |
//! | 5 | what it does, by its place in [`Activity::ALL`] |
//! | 6, 13, 44, 49 | service, client, stage, queue ID, each with a NUL behind it; only what changes is written |

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::place::{self, put, text};

/// So many sessions are shown.
pub const SESSIONS: usize = 1024;
const PLACE: usize = 64;
/// Words of the table.
pub(crate) const WORDS: usize = SESSIONS * PLACE;

const OWNER: usize = 0;
const SEQUENCE: usize = 1;
const SINCE: usize = 2;
const CHANGED: usize = 3;
const NUMBER: usize = 4;
const ACTIVITY: usize = 5;
const SERVICE: Range<usize> = 6..13;
const CLIENT: Range<usize> = 13..44;
const STAGE: Range<usize> = 44..49;
const QUEUE_ID: Range<usize> = 49..58;
const _: () = assert!(QUEUE_ID.end <= PLACE);

/// What a session waits for, or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Its client is to send something.
    Client,
    /// It works.
    Work,
    /// A content filter is to have room for it.
    FilterTurn,
    /// It talks with a content filter.
    Filter,
    /// A content filter decides on a message.
    Verdict,
    /// It is a delivery.
    Delivery,
}

impl Activity {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Client, Self::Work, Self::FilterTurn, Self::Filter, Self::Verdict, Self::Delivery];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Work => "work",
            Self::FilterTurn => "filter-turn",
            Self::Filter => "filter",
            Self::Verdict => "verdict",
            Self::Delivery => "delivery",
        }
    }

    fn code(self) -> u64 {
        Self::ALL.iter().zip(0..).find(|(activity, _)| **activity == self).map_or(0, |(_, code)| code)
    }

    fn of(code: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// A session as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The process.
    pub pid: u64,
    /// The number of its lines in the log.
    pub number: u64,
    /// Since when, in microseconds since 1970.
    pub since: u64,
    /// Since when it does what it does.
    pub changed: u64,
    /// The service of master.cf.
    pub service: String,
    /// Name and address of the client; the next hop of a delivery.
    pub client: String,
    /// The last command, or the part of it.
    pub stage: String,
    /// [`Activity::name`].
    pub activity: String,
    /// Of the message in hand, where it has one.
    pub queue_id: String,
}

/// The table.
#[derive(Debug, Clone, Copy)]
pub struct Sessions {
    words: &'static [AtomicU64],
}

/// What this thread has of its session.
#[derive(Debug)]
struct Mine {
    place: &'static [AtomicU64],
    stage: String,
    activity: Activity,
    queue_id: String,
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.place[OWNER].store(0, Ordering::Release);
    }
}

thread_local! {
    static MINE: RefCell<Option<Mine>> = const { RefCell::new(None) };
}

impl Sessions {
    /// In these words, of which there must be [`WORDS`].
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        assert!(words.len() >= WORDS, "the file is as long as its maker made it");
        Self { words }
    }

    fn places(self) -> impl Iterator<Item = &'static [AtomicU64]> + Clone {
        self.words.chunks_exact(PLACE).take(SESSIONS)
    }

    /// A free place, or one whose owner has died.
    fn take(self, pid: u64) -> Option<&'static [AtomicU64]> {
        let start = usize::try_from(pid.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0) % SESSIONS;
        let claim = |place: &&[AtomicU64], from: u64| {
            place[OWNER].compare_exchange(from, pid, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let mut turn = self.places().cycle().skip(start).take(SESSIONS);
        if let Some(place) = turn.find(|place| claim(place, 0)) {
            return Some(place);
        }
        self.places().find(|place| {
            let owner = place[OWNER].load(Ordering::Relaxed);
            !is_alive(owner) && claim(place, owner)
        })
    }

    /// All sessions of processes that are there, the oldest first.
    #[must_use]
    pub fn all(self) -> Vec<Shown> {
        let mut all: Vec<Shown> = self.places().filter_map(read).collect();
        all.retain(|session| is_alive(session.pid));
        all.sort_by_key(|session| (session.since, session.number));
        all
    }

    /// Gives back what processes of this number had: it is a new one's now.
    pub(crate) fn release(self, pid: u64) {
        for place in self.places() {
            let _ = place[OWNER].compare_exchange(pid, 0, Ordering::Release, Ordering::Relaxed);
        }
    }
}

/// Whether there is a process of this number.
pub(crate) fn is_alive(pid: u64) -> bool {
    i32::try_from(pid).is_ok_and(|pid| pid > 0 && sys::process::exists(pid))
}

/// This thread serves a client from now on, or delivers a message.
pub(crate) fn begin(sessions: Sessions, service: &str, client: &str, number: u32, queue_id: Option<&str>) {
    MINE.with_borrow_mut(|mine| {
        *mine = None;
        let Some(place) = sessions.take(u64::from(sys::process::id())) else { return };
        let (stage, activity) = match queue_id {
            None => ("CONNECT", Activity::Work),
            Some(_) => ("", Activity::Delivery),
        };
        let queue_id = queue_id.unwrap_or_default();
        let new = Mine { place, stage: stage.to_owned(), activity, queue_id: queue_id.to_owned() };
        new.write(|place| {
            place[SINCE].store(now(), Ordering::Relaxed);
            place[NUMBER].store(u64::from(number), Ordering::Relaxed);
            place[ACTIVITY].store(activity.code(), Ordering::Relaxed);
            for (words, text) in [(SERVICE, service), (CLIENT, client), (STAGE, stage), (QUEUE_ID, queue_id)]
            {
                put(&place[words], text);
            }
        });
        *mine = Some(new);
    });
}

/// It serves nobody any more.
pub(crate) fn end() {
    MINE.with_borrow_mut(|mine| *mine = None);
}

pub(crate) fn change(stage: Option<&str>, activity: Option<Activity>, queue_id: Option<&str>) {
    MINE.with_borrow_mut(|mine| {
        let Some(mine) = mine else { return };
        let stage = stage.filter(|stage| *stage != mine.stage);
        let activity = activity.filter(|activity| *activity != mine.activity);
        let queue_id = queue_id.filter(|id| *id != mine.queue_id);
        if stage.is_none() && activity.is_none() && queue_id.is_none() {
            return;
        }
        mine.write(|place| {
            if let Some(stage) = stage {
                put(&place[STAGE], stage);
            }
            if let Some(activity) = activity {
                place[ACTIVITY].store(activity.code(), Ordering::Relaxed);
            }
            if let Some(id) = queue_id {
                put(&place[QUEUE_ID], id);
            }
        });
        if let Some(stage) = stage {
            stage.clone_into(&mut mine.stage);
        }
        if let Some(id) = queue_id {
            id.clone_into(&mut mine.queue_id);
        }
        mine.activity = activity.unwrap_or(mine.activity);
    });
}

impl Mine {
    fn write(&self, change: impl FnOnce(&[AtomicU64])) {
        place::write(self.place, SEQUENCE, || {
            self.place[CHANGED].store(now(), Ordering::Relaxed);
            change(self.place);
        });
    }
}

/// The session that a place is for.
fn read(place: &[AtomicU64]) -> Option<Shown> {
    if place[OWNER].load(Ordering::Relaxed) == 0 {
        return None;
    }
    place::read(place, SEQUENCE, |words| {
        let pid = words[OWNER];
        if pid == 0 || words[SEQUENCE] == 0 || place[OWNER].load(Ordering::Relaxed) != pid {
            return None;
        }
        Some(Shown {
            pid,
            number: words[NUMBER],
            since: words[SINCE],
            changed: words[CHANGED],
            service: text(words, SERVICE),
            client: text(words, CLIENT),
            stage: text(words, STAGE),
            activity: Activity::of(words[ACTIVITY]).map_or("", Activity::name).to_owned(),
            queue_id: text(words, QUEUE_ID),
        })
    })
}

fn now() -> u64 {
    micros(SystemTime::now())
}

/// Microseconds since 1970.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        Sessions::new((0..WORDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak())
    }

    #[test]
    fn begun_changed_and_ended() {
        let sessions = sessions();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u32)
                .map(|number| {
                    scope.spawn(move || {
                        begin(sessions, "smtp", &format!("a[{number}]"), number, None);
                        for turn in 0..50 {
                            let activity = Activity::ALL[turn % 6];
                            change(Some("RCPT"), Some(activity), Some("4jXJlq4m2tz1SlqS"));
                            let all = sessions.all();
                            let mine = all.iter().find(|shown| shown.number == u64::from(number));
                            let Some(mine) = mine else { panic!("not there: {all:?}") };
                            assert_eq!((&*mine.service, &*mine.stage), ("smtp", "RCPT"));
                            assert_eq!(
                                (&*mine.activity, &*mine.client),
                                (activity.name(), &*format!("a[{number}]"))
                            );
                            assert!(mine.changed >= mine.since && mine.queue_id == "4jXJlq4m2tz1SlqS");
                        }
                        if number % 2 == 0 {
                            end();
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(sessions.all(), []);
    }

    #[test]
    fn places_of_the_dead_are_taken_and_a_full_table_is_no_fault() {
        let sessions = sessions();
        let dead = 0x7fff_fff0;
        for (number, place) in sessions.places().enumerate() {
            place[SEQUENCE].store(2, Ordering::Relaxed);
            place[OWNER].store(if number == 7 { dead } else { 1 }, Ordering::Relaxed);
        }
        assert_eq!(sessions.all().len(), SESSIONS - 1, "nobody shows the dead");
        begin(sessions, &"s".repeat(100), &"\u{fc}".repeat(300), 1, None);
        let mine: Vec<Shown> = sessions.all().into_iter().filter(|shown| shown.pid != 1).collect();
        assert_eq!((mine[0].service.len(), &*mine[0].stage), (55, "CONNECT"));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                begin(sessions, "smtp", "b", 2, Some("4jXJlq4m2tz1SlqS"));
                change(Some("QUIT"), None, None);
            });
            other.join().unwrap();
        });
        end();
        assert_eq!(sessions.all().len(), SESSIONS - 1);
        sessions.release(1);
        assert_eq!(sessions.all(), []);
    }

    #[test]
    fn what_is_no_session_is_none() {
        let words =
            (0..WORDS).map(|number| AtomicU64::new(number as u64 * 0x0101_0101_0101)).collect::<Vec<_>>();
        let _ = Sessions::new(words.leak()).all();
    }
}
