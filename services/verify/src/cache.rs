//! The cache: in memory, and when `address_verify_map` names a table also on disk.
//!
//! The file is opened before the jail, as the mail owner, and read whole. It is rewritten some time after a change, in
//! place, because that is how index files are written here; the pause grows with the time that writing takes. It is
//! written a last time at exit. What a crash loses is asked again. A file that cannot be read is left alone, and the
//! cache is in memory: so a damaged one keeps nobody from mail. Table types that can be made: hash, btree and lmdb; others
//! are refused at start.

use std::collections::HashMap;
use std::fs::File;
use std::time::{Duration, Instant};

use lookup::build::{Content, Sizes, Writer};
use lookup::{Flags, OpenError, Opening};

/// Shortest pause between two writings of the file.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than one writing of the file the pause after it is.
const PAUSE_FACTOR: u32 = 20;
/// The types that can be written.
const TYPES: [&str; 3] = ["hash", "btree", "lmdb"];

/// Values by address.
type Entries = HashMap<Vec<u8>, Vec<u8>>;

/// The entries.
#[derive(Debug)]
pub struct Cache {
    entries: Entries,
    file: Option<Backing>,
}

#[derive(Debug)]
struct Backing {
    kind: String,
    name: String,
    sizes: Sizes,
    file: File,
    changed: bool,
    write_at: Option<Instant>,
    pause: Duration,
}

impl Cache {
    /// A cache for `map`, empty or `type:name`; reads what is there, and creates the file.
    ///
    /// # Errors
    /// The text of a fatal line: the table is of a type that cannot be written.
    pub fn open(map: &str, sizes: Sizes) -> Result<Self, String> {
        let in_memory = Self { entries: HashMap::new(), file: None };
        if map.is_empty() {
            return Ok(in_memory);
        }
        let (kind, name) =
            map.split_once(':').ok_or_else(|| format!("need type:name instead of \"{map}\""))?;
        if !TYPES.contains(&kind) {
            return Err(format!(
                "address_verify_map = {map}: this server writes tables of the types {} only; or set \
                 address_verify_map to nothing: the cache is in memory then",
                TYPES.join(", ")
            ));
        }
        match read(kind, name, sizes) {
            Ok((entries, file)) => {
                let (kind, name) = (kind.into(), name.into());
                let (changed, write_at, pause) = (false, None, LEAST_PAUSE);
                let file = Backing { kind, name, sizes, file, changed, write_at, pause };
                Ok(Self { entries, file: Some(file) })
            }
            Err(error) => {
                log::error!("{error}");
                log::warn!("{map} is unavailable. {error}");
                Ok(in_memory)
            }
        }
    }

    /// Nothing but memory is behind it.
    pub fn is_volatile(&self) -> bool {
        self.file.is_none()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice)
    }

    /// Stores a value.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.entries.insert(key.to_vec(), value);
        self.touch();
    }

    /// Removes an entry.
    pub fn delete(&mut self, key: &[u8]) {
        if self.entries.remove(key).is_some() {
            self.touch();
        }
    }

    /// Keeps the entries that `keep` wants: how many stay, and how many go. Malformed ones are its affair, too.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> (usize, usize) {
        let before = self.entries.len();
        self.entries.retain(|key, value| keep(key, value));
        let dropped = before - self.entries.len();
        if dropped > 0 {
            self.touch();
        }
        (self.entries.len(), dropped)
    }

    fn touch(&mut self) {
        if let Some(file) = &mut self.file {
            file.changed = true;
            file.write_at.get_or_insert(Instant::now() + file.pause);
        }
    }

    /// How long the next writing can wait.
    pub fn wait(&self) -> Option<Duration> {
        let at = self.file.as_ref()?.write_at?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Writes the file when that is due.
    pub fn write_when_due(&mut self) {
        if self.wait().is_some_and(|wait| wait.is_zero()) {
            self.write();
        }
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
