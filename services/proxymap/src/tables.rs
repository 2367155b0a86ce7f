//! The tables that are open, and what is done with them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use config::printable;
use ipc::proxymap::Status;
use lookup::build::{Content, Sizes, Writer};
use lookup::{Flags, Kind, LookupError, Opening, Table};

const FIXED: u32 = 16;
const PATTERN: u32 = 32;
const MULTI_WRITER: u32 = 262_144;
/// What the type of a table decides.
const IMPLEMENTATION: u32 = FIXED | PATTERN | MULTI_WRITER;
/// Most entries that are kept between two requests for the next one.
const SEQUENCE_LIMIT: usize = 1_000_000;

type Entries = std::vec::IntoIter<(Vec<u8>, Vec<u8>)>;

#[derive(Debug)]
pub(crate) struct Tables {
    open: HashMap<(Vec<u8>, u32), Box<dyn Table>>,
    sequences: HashMap<Vec<u8>, Entries>,
    sizes: Sizes,
}

fn status(error: LookupError) -> Status {
    match error {
        LookupError::Retry => Status::Retry,
        LookupError::Config => Status::Config,
    }
}

impl Tables {
    pub(crate) fn new(lmdb_map_size: i64) -> Tables {
        let sizes = Sizes { lmdb_map_size: u64::try_from(lmdb_map_size).unwrap_or(0) };
        Tables { open: HashMap::new(), sequences: HashMap::new(), sizes }
    }

    fn table(&mut self, name: &[u8], flags: u32) -> Option<&dyn Table> {
        let flags = flags & !IMPLEMENTATION;
        let entry = match self.open.entry((name.to_vec(), flags)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // The server reads its tables itself, and locks them.
                let flags = Flags::from_bits(flags).with(Flags::LOCK).with(Flags::NO_PROXY);
                entry.insert(lookup::open(name, flags, Opening::Survive).ok()?)
            }
        };
        Some(&**entry)
    }

    /// The flags of a table: those given, and those of its type.
    pub(crate) fn open(&mut self, name: &[u8], flags: u32) -> u32 {
        let kind = match self.table(name, flags).map(Table::kind) {
            Some(Kind::Fixed) => FIXED,
            _ => PATTERN,
        };
        let writers = if name.starts_with(b"lmdb:") { MULTI_WRITER } else { 0 };
        flags & !IMPLEMENTATION | kind | writers
    }

    pub(crate) fn lookup(&mut self, name: &[u8], flags: u32, key: &[u8]) -> (Status, Vec<u8>) {
        let Some(table) = self.table(name, flags) else { return (Status::Config, Vec::new()) };
        match table.lookup(key) {
            Ok(Some(value)) => (Status::Ok, value),
            Ok(None) => (Status::NoKey, Vec::new()),
            Err(error) => (status(error), Vec::new()),
        }
    }

    fn change(
        &mut self,
        name: &[u8],
        flags: u32,
        change: impl FnOnce(&mut Writer) -> Result<bool, lookup::OpenError>,
    ) -> Status {
        let Some(colon) = name.iter().position(|byte| *byte == b':') else { return Status::Bad };
        let flags = Flags::from_bits(flags & !IMPLEMENTATION).with(Flags::REPLACE_DUPLICATES);
        let done = Writer::open(&name[..colon], &name[colon + 1..], flags, Content::Kept, self.sizes)
            .and_then(|mut writer| {
                let changed = change(&mut writer)?;
                if changed {
                    writer.commit()?;
                }
                Ok(changed)
            });
        // What was open has the old state, unless it looks again at each request.
        self.open.retain(|(table, _), _| table != name);
        match done {
            Ok(true) => Status::Ok,
            Ok(false) => Status::NoKey,
            Err(error) => {
                log::warn!("{}: {error}", printable(name));
                Status::Config
            }
        }
    }

    pub(crate) fn update(&mut self, name: &[u8], flags: u32, key: &[u8], value: &[u8]) -> Status {
        self.change(name, flags, |writer| writer.put(key, value).map(|()| true))
    }

    pub(crate) fn delete(&mut self, name: &[u8], flags: u32, key: &[u8]) -> Status {
        self.change(name, flags, |writer| Ok(writer.delete(key)))
    }

    /// The first entry (0) or the next one.
    pub(crate) fn sequence(&mut self, name: &[u8], flags: u32, function: i32) -> (Status, Vec<u8>, Vec<u8>) {
        let failed = |status: Status| (status, Vec::new(), Vec::new());
        if function == 0 {
            let Some(table) = self.table(name, flags) else { return failed(Status::Config) };
            let mut entries = Vec::new();
            let listed = table.each(&mut |key, value| {
                entries.push((key.to_vec(), value.to_vec()));
                entries.len() < SEQUENCE_LIMIT
            });
            if listed.is_err() {
                return failed(Status::Config);
            }
            self.sequences.insert(name.to_vec(), entries.into_iter());
        } else if function != 1 {
            return failed(Status::Bad);
        }
        match self.sequences.get_mut(name).and_then(Iterator::next) {
            Some((key, value)) => (Status::Ok, key, value),
            None => failed(Status::NoKey),
        }
    }

    /// A table whose file has changed, by the name under which Postfix's proxymap has it (observed): flags that belong
    /// to the table, and not to a request, come after a colon.
    pub(crate) fn changed(&self) -> Option<String> {
        let ((name, flags), _) = self.open.iter().find(|(_, table)| table.has_changed())?;
        let of_requests = [
            Flags::WARN_DUPLICATES,
            Flags::IGNORE_DUPLICATES,
            Flags::REPLACE_DUPLICATES,
            Flags::LOCK,
            Flags::NO_REGSUB,
            Flags::NO_PROXY,
            Flags::NO_UNAUTH,
            Flags::FOLD_FIX,
            Flags::FOLD_MUL,
            Flags::UTF8,
        ];
        let flags = of_requests.into_iter().fold(Flags::from_bits(*flags), Flags::without);
        Some(format!("{}:{}", printable(name), flags.names()))
    }
}
