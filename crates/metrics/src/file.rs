//! How the file is made and found.
//!
//! It lies beside master's lock files, in a directory that only the account that starts the mail system can write to, and
//! belongs to that account: a daemon that has given up its privileges can neither exchange nor shorten what master and the
//! delivery agents count in. Its length is taken from the disk when it is made, and a page that is lost nevertheless is no
//! fault (`sys::map`). A file of another version's layout is replaced.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::Tables;
use crate::family::{BUCKETS, Family};
use crate::faults::{self, Faults};
use crate::hash;
use crate::records::{self, MADE, MAGIC, Records};
use crate::sessions::{self, Sessions};

/// The file's name.
const NAME: &str = "metrics";
const WORDS: usize = records::WORDS + sessions::WORDS + faults::WORDS;
const LENGTH: u64 = (WORDS * 8) as u64;
const PERMISSIONS: u32 = 0o600;

/// Says that the file is one, and what is in it: names and their order, labels, buckets.
fn magic() -> u64 {
    let mut hash = 0x706f_7374_6572_6e31_u64;
    let mut add = |text: &str| hash = hash::hash(hash, text.bytes().chain([0]));
    for family in Family::ALL {
        add(family.name());
        family.labels().iter().for_each(|label| add(label));
    }
    BUCKETS.iter().for_each(|(_, bound)| add(bound));
    add("sessions: activity; service, client, stage, queue ID, each at its place");
    add("faults: subject, detail, each at its place");
    faults::Fault::ALL.iter().for_each(|fault| add(fault.name()));
    hash | 1
}

fn tables(words: &'static [AtomicU64]) -> Tables {
    let (records, rest) = words.split_at(records::WORDS);
    let (sessions, faults) = rest.split_at(sessions::WORDS);
    Tables { records: Records::new(records), sessions: Sessions::new(sessions), faults: Faults::new(faults) }
}

/// The tables of the file in this directory, for who only looks at them.
pub(crate) fn look(directory: &Path) -> Result<Tables, String> {
    let path = directory.join(NAME);
    let failed = |error: io::Error| format!("{}: {}", path.display(), sys::error_text(&error));
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
    let is_whole = file.metadata().is_ok_and(|data| data.len() == LENGTH);
    let found = if is_whole { read(&file).map_err(failed)? } else { None };
    found.ok_or_else(|| format!("{}: is another version's", path.display()))
}

/// Opens the file in this directory, or makes it.
pub(crate) fn open(directory: &Path) -> Result<Tables, String> {
    let path = directory.join(NAME);
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    // Another process may be replacing it; it does so once.
    for _ in 0..10 {
        let file = sys::file::open_or_create(&path, &options, PERMISSIONS).map_err(|error| failed(&error))?;
        match take(&file, &path) {
            Ok(Some(tables)) => return Ok(tables),
            Ok(None) => {}
            Err(error) => return Err(failed(&sys::error_text(&error))),
        }
    }
    Err(failed(&"is replaced again and again"))
}

/// The tables in an open file; nothing when it was not one, and has been removed.
fn take(file: &File, path: &Path) -> io::Result<Option<Tables>> {
    let data = file.metadata()?;
    if data.uid() != sys::user::euid().as_raw() || data.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "is another account's, or open to others",
        ));
    }
    if data.len() == LENGTH
        && let Some(tables) = read(file)?
    {
        return Ok(Some(tables));
    }
    // One makes it, the others wait.
    sys::flock::lock(file, sys::flock::Mode::Exclusive, sys::flock::Wait::Forever)?;
    let outcome = make(file, path);
    let _ = sys::flock::unlock(file);
    outcome
}

fn make(file: &File, path: &Path) -> io::Result<Option<Tables>> {
    match file.metadata()?.len() {
        0 => {
            sys::file::allocate(file, LENGTH)?;
            let words = sys::map::shared_numbers(file)?;
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            words[MADE].store(now.as_secs(), Ordering::Relaxed);
            words[MAGIC].store(magic(), Ordering::Release);
            Ok(Some(tables(words)))
        }
        length => {
            if length == LENGTH
                && let Some(tables) = read(file)?
            {
                return Ok(Some(tables));
            }
            // Who waited for the lock of the old file may find the new one there.
            let is_there = std::fs::symlink_metadata(path).is_ok_and(|there| same_file(&there, file));
            if is_there {
                std::fs::remove_file(path)?;
                log::info!(
                    "{}: is another version's, and is replaced: the figures begin again",
                    path.display()
                );
            }
            Ok(None)
        }
    }
}

fn same_file(there: &Metadata, file: &File) -> bool {
    file.metadata().is_ok_and(|opened| (opened.dev(), opened.ino()) == (there.dev(), there.ino()))
}

fn read(file: &File) -> io::Result<Option<Tables>> {
    let words = sys::map::shared_numbers(file)?;
    Ok((words[MAGIC].load(Ordering::Acquire) == magic()).then(|| tables(words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_replaced_when_it_is_another() {
        let directory = std::env::temp_dir().join(format!("metrics-file-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(NAME);
        let opened: Vec<Tables> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| open(&directory).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        opened.iter().for_each(|Tables { records, .. }| records.add(Family::SmtpdSessions, "smtp", &[], 1));
        assert_eq!(open(&directory).unwrap().records.all()[0].number(), 4);
        assert!(open(&directory).unwrap().records.made() > 0);
        for content in [&b"something else"[..], &vec![1; WORDS * 8]] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(open(&directory).unwrap().records.all(), []);
        }
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(open(&directory).unwrap_err().ends_with("is another account's, or open to others"));
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(open(&directory).unwrap_err().contains("No such file"));
    }
}
