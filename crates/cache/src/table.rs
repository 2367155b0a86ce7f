//! A cache that may be on disk.
//!
//! The file is opened before the jail, as the mail owner, and read whole. It is rewritten some time after a change, in
//! place, because that is how index files are written here; the pause grows with the time that writing takes. It is
//! written a last time at exit. What a crash loses is found out again. A file that cannot be read is left alone, and the
//! cache is in memory: so a damaged one keeps nobody from mail. Table types that can be made: hash, btree and lmdb; with
//! others, too, the cache is in memory.
//!
//! A table on a server (memcache) is not held here: each entry is asked for and stored there. While the server is not
//! there, nothing is known.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lookup::build::{Content, Sizes, Writer};
use lookup::changes::{self, Changes, Missing};
use lookup::{Flags, OpenError, Opening, debug};

use crate::Place;
use crate::place::Store;

/// Shortest pause between two writings of the file.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than one writing of the file the pause after it is.
const PAUSE_FACTOR: u32 = 20;
/// The key with the time of the last clean-up.
const LAST_CLEANUP: &[u8] = b"_LAST_CACHE_CLEANUP_COMPLETED_";

/// Values by key.
type Entries = HashMap<Vec<u8>, Vec<u8>>;

/// A cache that may be on disk.
#[derive(Debug)]
pub struct Table {
    entries: Entries,
    /// The table that could not be read, and that memory stands for.
    unreadable: Option<String>,
    file: Option<Backing>,
    /// A table on a server in the place of both, and what it is called.
    server: Option<(Box<dyn Changes>, String)>,
    /// Tables of type `debug` around the file, the innermost first, as they call what they hold.
    watchers: Vec<String>,
    cleaning: Option<Cleaning>,
}

/// When entries that are over are thrown away.
#[derive(Debug)]
struct Cleaning {
    interval: Duration,
    at: Instant,
}

#[derive(Debug)]
struct Backing {
    /// What stands in front of the type.
    front: String,
    kind: String,
    name: String,
    sizes: Sizes,
    file: File,
    changed: bool,
    write_at: Option<Instant>,
    pause: Duration,
}

impl Table {
    /// The cache at this place; reads what is there, and creates the file.
    pub(crate) fn open(place: &Place) -> Self {
        let Place { front, watchers, map, sizes } = place;
        let in_memory = Self {
            entries: HashMap::new(),
            unreadable: None,
            file: None,
            server: None,
            watchers: Vec::new(),
            cleaning: None,
        };
        let error = match place.store() {
            Store::Memory => return in_memory,
            Store::Unusable(why) => why,
            Store::Served => {
                let watched = format!("{}{map}", "debug:".repeat(watchers.len()));
                match changes::open(watched.as_bytes(), FLAGS, *sizes, Missing::Made) {
                    Ok(table) => return Self { server: Some((table, format!("{front}{map}"))), ..in_memory },
                    Err(error) => error.to_string(),
                }
            }
            Store::File { kind, name } => match read(kind, name, *sizes) {
                Ok((entries, file)) => {
                    let (kind, name) = (kind.into(), name.into());
                    let (changed, write_at, pause) = (false, None, LEAST_PAUSE);
                    let front = front.clone();
                    let file = Backing { front, kind, name, sizes: *sizes, file, changed, write_at, pause };
                    return Self { entries, file: Some(file), watchers: watchers.clone(), ..in_memory };
                }
                Err(error) => error,
            },
        };
        log::error!("{error}");
        log::warn!("{map} is unavailable. {error}");
        Self { unreadable: Some(map.clone()), ..in_memory }
    }

    /// The table that could not be read or written, and that memory stands for.
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Nothing but memory is behind it.
    pub fn is_volatile(&self) -> bool {
        self.file.is_none() && self.server.is_none()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        match &self.server {
            // An error has been told of.
            Some((server, _)) => server.lookup(key).ok()?.map(Cow::Owned),
            None => {
                let found = self.entries.get(key).map(Vec::as_slice);
                debug::tell_lookup::<()>(&self.watchers, key, Ok(found));
                found.map(Cow::Borrowed)
            }
        }
    }

    /// Stores a value.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) {
        if let Some((server, _)) = &self.server {
            // What cannot be stored is found out again.
            let _ = server.update(key, &value);
            return;
        }
        self.tell(debug::SUCCESS, || debug::update(key, &value));
        self.entries.insert(key.to_vec(), value);
        self.touch();
    }

    /// Removes an entry.
    pub fn delete(&mut self, key: &[u8]) {
        if let Some((server, _)) = &self.server {
            let _ = server.delete(key);
            return;
        }
        let was_there = self.entries.remove(key).is_some();
        self.tell(if was_there { debug::SUCCESS } else { debug::FAILED }, || debug::deletion(key));
        if was_there {
            self.touch();
        }
    }

    fn tell(&self, end: &str, deed: impl FnOnce() -> String) {
        if !self.watchers.is_empty() {
            debug::tell(&self.watchers, &deed(), end);
        }
    }

    /// Cleans up so often, and soon when that was last done longer ago.
    pub fn clean_every(&mut self, interval: Duration) {
        let last =
            self.get(LAST_CLEANUP).and_then(|value| std::str::from_utf8(&value).ok()?.parse::<u64>().ok());
        let due = last.unwrap_or(0).saturating_add(interval.as_secs()).saturating_sub(now());
        self.cleaning = Some(Cleaning { interval, at: Instant::now() + Duration::from_secs(due) });
    }

    /// Does what is due: throws away the entries that `keep` does not want, and writes the file. Malformed entries are
    /// the affair of `keep`, too.
    pub fn work(&mut self, keep: impl FnMut(&[u8], &[u8]) -> bool) {
        if let Some(cleaning) = self.cleaning.as_mut().filter(|cleaning| cleaning.at <= Instant::now()) {
            cleaning.at = Instant::now() + cleaning.interval;
            self.clean_up(keep);
        }
        if self.write_after().is_some_and(|wait| wait.is_zero()) {
            self.write();
        }
    }

    fn clean_up(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        if let Some((server, map)) = &self.server {
            clean_up_server(server.as_ref(), map, keep);
            return;
        }
        let watchers = &self.watchers;
        let last = self.entries.remove_entry(LAST_CLEANUP);
        if let Some((key, value)) = &last {
            debug::tell_entry(watchers, Some((key, value)));
        }
        let before = self.entries.len();
        self.entries.retain(|key, value| {
            debug::tell_entry(watchers, Some((key, value)));
            let is_kept = keep(key, value);
            if !is_kept && !watchers.is_empty() {
                debug::tell(watchers, &debug::deletion(key), debug::SUCCESS);
            }
            is_kept
        });
        debug::tell_entry(watchers, None);
        let retained = self.entries.len();
        if let Some(Backing { front, kind, name, .. }) = &self.file {
            let dropped = before - retained;
            log::info!(
                "cache {front}{kind}:{name} full cleanup: retained={retained} dropped={dropped} entries"
            );
        }
        self.put(LAST_CLEANUP, now().to_string().into_bytes());
    }

    fn touch(&mut self) {
        if let Some(file) = &mut self.file {
            file.changed = true;
            file.write_at.get_or_insert(Instant::now() + file.pause);
        }
    }

    /// How long the next work can wait.
    pub fn wait(&self) -> Option<Duration> {
        let cleaning = self.cleaning.as_ref().map(|due| due.at.saturating_duration_since(Instant::now()));
        self.write_after().into_iter().chain(cleaning).min()
    }

    fn write_after(&self) -> Option<Duration> {
        let at = self.file.as_ref()?.write_at?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Writes the file when anything has changed.
    pub fn write(&mut self) {
        let Some(file) = self.file.as_mut().filter(|file| file.changed) else { return };
        let start = Instant::now();
        if let Err(error) = file.write(&self.entries) {
            log::warn!("{}:{}: {error}", file.kind, file.name);
        }
        file.changed = false;
        file.write_at = None;
        file.pause = LEAST_PAUSE.max(start.elapsed().saturating_mul(PAUSE_FACTOR));
    }
}

/// Throws away what a server has and nobody wants: as far as it can tell what it has.
fn clean_up_server(server: &dyn Changes, map: &str, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
    let (mut retained, mut unwanted) = (0_usize, Vec::new());
    let listed = server.each(&mut |key, value| {
        if key != LAST_CLEANUP {
            if keep(key, value) {
                retained += 1;
            } else {
                unwanted.push(key.to_vec());
            }
        }
        true
    });
    for key in &unwanted {
        let _ = server.delete(key);
    }
    if listed.is_err() {
        return;
    }
    let _ = server.update(LAST_CLEANUP, now().to_string().as_bytes());
    let dropped = unwanted.len();
    log::info!("cache {map} full cleanup: retained={retained} dropped={dropped} entries");
}

/// Makes the file if there is none, finds out whether it can be written, and reads it.
fn read(kind: &str, name: &str, sizes: Sizes) -> Result<(Entries, File), String> {
    let text = |error: OpenError| error.to_string();
    let writer = Writer::open(kind.as_bytes(), name.as_bytes(), FLAGS, Content::Kept, sizes).map_err(text)?;
    let file = writer.file().try_clone();
    writer.commit().map_err(text)?;
    let file = file.map_err(|error| format!("open database {name}: {error}"))?;
    let map = format!("{kind}:{name}");
    let table = lookup::open(map.as_bytes(), Flags::LOCK, Opening::FatalErrors).map_err(text)?;
    let mut entries = Entries::new();
    table
        .each(&mut |key, value| {
            entries.insert(key.to_vec(), value.to_vec());
            true
        })
        .map_err(|_| format!("open database {name}: Invalid argument"))?;
    Ok((entries, file))
}

/// An entry takes the place of an older one.
const FLAGS: Flags = Flags::LOCK.with(Flags::REPLACE_DUPLICATES);

impl Backing {
    fn write(&self, entries: &Entries) -> Result<(), String> {
        let (kind, name) = (self.kind.as_bytes(), self.name.as_bytes());
        let mut writer =
            Writer::again(kind, name, FLAGS, &self.file, self.sizes).map_err(|error| error.to_string())?;
        for (key, value) in entries {
            writer.put(key, value).map_err(|error| error.to_string())?;
        }
        writer.commit().map_err(|error| error.to_string())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
