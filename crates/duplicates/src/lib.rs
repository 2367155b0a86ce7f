//! Messages that were accepted while their client was gone before it can have read the reply, known for a time.
//!
//! Such a client sends its message again. A message is known by a digest of its client, envelope and content
//! ([`Fingerprint`]), and with it the reply that the client has missed. The table is a file, `pid/duplicates` in the queue directory, that
//! all processes map: to look costs no lock and no system call. It has room for [`MESSAGES`]; where there is none left, the oldest
//! of a few is forgotten. A file is opened with the privileges of the start, and is the starting account's alone.
//!
//! ```
//! use duplicates::Fingerprinting;
//! let of = |content: &[u8]| {
//!     let mut digest = Fingerprinting::begin(&[b"192.0.2.1", b"MAIL FROM:<a@b>"]);
//!     digest.content(content);
//!     digest.end()
//! };
//! assert!(of(b"one") == of(b"one") && of(b"one") != of(b"two"));
//! ```

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use sys::flock::{Mode, Wait};

/// So many messages are known at most.
pub const MESSAGES: usize = 4096;
/// Longest reply that is kept.
pub const REPLY: usize = 400;

const NAME: &str = "duplicates";
const MAGIC: u64 = 0x706f_7374_6475_7031;
const HEADER: usize = 8;
/// Words of a place: a sequence, odd while it is written; when it ends, in seconds since 1970; digest; length and bytes of the reply.
const PLACE: usize = 64;
const SEQUENCE: usize = 0;
const ENDS: usize = 1;
const DIGEST: usize = 2;
const LENGTH: usize = 6;
const TEXT: usize = 7;
const _: () = assert!(TEXT + REPLY / 8 <= PLACE);
/// Places in which a message may be.
const TURNS: usize = 8;
const WORDS: usize = HEADER + MESSAGES * PLACE;

/// What tells a message from all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint([u64; 4]);

/// One that is being made.
#[derive(Clone)]
pub struct Fingerprinting(Context);

impl fmt::Debug for Fingerprinting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fingerprinting")
    }
}

impl Fingerprinting {
    /// Begins with who sends.
    #[must_use]
    pub fn begin(parts: &[&[u8]]) -> Self {
        let mut begun = Self(Context::new(&SHA256));
        parts.iter().for_each(|part| begun.part(part));
        begun
    }

    /// Adds a part that ends: a command.
    pub fn part(&mut self, part: &[u8]) {
        self.0.update(&part.len().to_le_bytes());
        self.0.update(part);
    }

    /// Adds some of the content.
    pub fn content(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// That is all.
    #[must_use]
    pub fn end(self) -> Fingerprint {
        let digest = self.0.finish();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.as_ref().chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        Fingerprint(words)
    }
}

/// The messages that are known.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    words: &'static [AtomicU64],
}

impl Table {
    /// Opens the file in this directory, or makes it.
    ///
    /// # Errors
    /// It cannot be made, or is not such a file of this account's.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let path = directory.join(NAME);
        let failed = |why: String| format!("{}: {why}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file =
            sys::file::open_or_create(&path, &options, 0o600).map_err(|error| failed(error.to_string()))?;
        let map = || -> io::Result<Self> {
            let data = file.metadata()?;
            if data.uid() != sys::user::euid().as_raw() || data.mode() & 0o077 != 0 {
                return Err(io::Error::other("is another account's, or open to others"));
            }
            let length = (WORDS * 8) as u64;
            // One makes it, the others wait.
            sys::flock::lock(&file, Mode::Exclusive, Wait::Forever)?;
            if file.metadata()?.len() == 0 {
                sys::file::allocate(&file, length)?;
                sys::map::shared_numbers(&file)?[0].store(MAGIC, Ordering::Release);
            }
            sys::flock::unlock(&file)?;
            if file.metadata()?.len() != length {
                return Err(io::Error::other("is another version's: remove it"));
            }
            let words = sys::map::shared_numbers(&file)?;
            match words[0].load(Ordering::Acquire) {
                MAGIC => Ok(Self { words }),
                _ => Err(io::Error::other("is another version's: remove it")),
            }
        };
        map().map_err(|error| failed(sys::error_text(&error)))
    }

    /// The places in which this message may be.
    fn places(self, of: &Fingerprint) -> impl Iterator<Item = &'static [AtomicU64]> {
        let start = usize::try_from(of.0[0] % MESSAGES as u64).unwrap_or(0);
        (0..TURNS).map(move |turn| &self.words[HEADER + (start + turn) % MESSAGES * PLACE..][..PLACE])
    }

    /// Keeps a reply for so long. One that is too long is not kept: a part of it is no reply.
    pub fn note(self, of: &Fingerprint, reply: &[u8], time: SystemTime, limit: Duration) {
        if reply.len() > REPLY || limit.is_zero() {
            return;
        }
        let now = seconds(time);
        let ends = |place: &[AtomicU64]| place[ENDS].load(Ordering::Relaxed);
        let is_it = |place: &&[AtomicU64]| digest(place) == of.0;
        let place = self.places(of).find(is_it).or_else(|| self.places(of).min_by_key(|place| ends(place)));
        let Some(place) = place else { return };
        let before = place[SEQUENCE].load(Ordering::Relaxed);
        // Who finds another at work there has lost: the client gets its second copy.
        if !before.is_multiple_of(2)
            || place[SEQUENCE]
                .compare_exchange(before, before | 1, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        fence(Ordering::Release);
        place[ENDS].store(now.saturating_add(limit.as_secs().max(1)), Ordering::Relaxed);
        for (place, word) in place[DIGEST..].iter().zip(of.0) {
            place.store(word, Ordering::Relaxed);
        }
        place[LENGTH].store(reply.len() as u64, Ordering::Relaxed);
        for (place, bytes) in place[TEXT..].iter().zip(reply.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        place[SEQUENCE].store((before | 1).wrapping_add(1), Ordering::Release);
    }

    /// The reply to a message that is known. `limit` is how long one is at most: after the clock was set back, none is known
    /// longer.
    #[must_use]
    pub fn find(self, of: &Fingerprint, time: SystemTime, limit: Duration) -> Option<Vec<u8>> {
        let now = seconds(time);
        self.places(of).find_map(|place| {
            let before = place[SEQUENCE].load(Ordering::Acquire);
            let ends = place[ENDS].load(Ordering::Relaxed);
            let is_known = now < ends && ends <= now.saturating_add(limit.as_secs().max(1));
            if !before.is_multiple_of(2) || !is_known || digest(place) != of.0 {
                return None;
            }
            let length = usize::try_from(place[LENGTH].load(Ordering::Relaxed)).ok()?;
            let bytes: Vec<u8> =
                place[TEXT..].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
            fence(Ordering::Acquire);
            let is_still = place[SEQUENCE].load(Ordering::Relaxed) == before;
            is_still.then(|| bytes.get(..length).map(<[u8]>::to_vec)).flatten()
        })
    }
}

fn digest(place: &[AtomicU64]) -> [u64; 4] {
    std::array::from_fn(|word| place[DIGEST + word].load(Ordering::Relaxed))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(100);

    fn table() -> Table {
        Table { words: (0..WORDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak() }
    }

    fn message(number: u64) -> Fingerprint {
        let mut digest = Fingerprinting::begin(&[b"a", b"b"]);
        digest.content(&number.to_le_bytes());
        digest.end()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn parts_do_not_run_together() {
        let of = |parts: &[&[u8]]| Fingerprinting::begin(parts).end();
        assert!(of(&[b"ab", b"c"]) != of(&[b"a", b"bc"]) && of(&[b"ab"]) == of(&[b"ab"]));
    }

    #[test]
    fn known_for_a_time() {
        let table = table();
        table.note(&message(1), b"250 one", at(1000), LIMIT);
        let find = |number, time| table.find(&message(number), at(time), LIMIT);
        assert_eq!(find(1, 1000).as_deref(), Some(&b"250 one"[..]));
        assert_eq!(find(1, 1099).as_deref(), Some(&b"250 one"[..]));
        assert_eq!([find(1, 1100), find(2, 1000), find(1, 500)], [None, None, None]);
        table.note(&message(1), b"250 again", at(1200), LIMIT);
        assert_eq!(find(1, 1200).as_deref(), Some(&b"250 again"[..]));
        table.note(&message(2), &[b'x'; REPLY + 1], at(1000), LIMIT);
        assert_eq!(find(2, 1000), None);
        table.note(&message(3), &[b'x'; REPLY], at(1000), LIMIT);
        assert_eq!(find(3, 1000).map(|reply| reply.len()), Some(REPLY));
    }

    #[test]
    fn bounded_and_shared() {
        let table = table();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for number in 0..10_000 {
                        let number = thread * 10_000 + number;
                        table.note(&message(number), number.to_string().as_bytes(), at(1000), LIMIT);
                    }
                });
            }
        });
        let known: Vec<u64> = (0..40_000)
            .filter(|number| {
                let found = table.find(&message(*number), at(1000), LIMIT);
                assert!(found.as_ref().is_none_or(|reply| *reply == number.to_string().into_bytes()));
                found.is_some()
            })
            .collect();
        assert!(known.len() > MESSAGES / 2 && known.len() <= MESSAGES, "{}", known.len());
    }

    #[test]
    fn a_file_for_all() {
        let directory = std::env::temp_dir().join(format!("duplicates-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let tables: Vec<Table> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Table::open(&directory).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        tables[0].note(&message(7), b"250 ok", at(1000), LIMIT);
        assert!(tables.iter().all(|table| table.find(&message(7), at(1000), LIMIT).is_some()));
        std::fs::write(directory.join(NAME), "other").unwrap();
        assert!(Table::open(&directory).unwrap_err().ends_with("is another version's: remove it"));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
