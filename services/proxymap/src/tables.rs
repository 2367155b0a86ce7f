//! The tables that are open, and what is done with them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use config::printable;
use ipc::dialect::Dialect;
use ipc::proxymap::Status;
use lookup::build::{Content, Sizes, Writer, index_path};
use lookup::changes::{self, Changes, Missing};
use lookup::{Flags, Kind, LookupError, Opening, SequenceError, Table, debug};

const FIXED: u32 = 16;
const PATTERN: u32 = 32;
const MULTI_WRITER: u32 = 262_144;
/// The UTF-8 checks are there.
const UTF8_ACTIVE: u32 = 1_048_576;
const SYNC_UPDATE: u32 = 256;
/// Which forms of keys an index file may have.
const KEY_FORMS: u32 = Flags::TRY0NULL.bits() | Flags::TRY1NULL.bits();
/// What the type of a table decides, or its file.
const IMPLEMENTATION: u32 = FIXED | PATTERN | MULTI_WRITER | UTF8_ACTIVE;
/// What a request can have otherwise than the open call.
const OF_REQUESTS: u32 = Flags::FOLD_FIX.bits() | Flags::FOLD_MUL.bits();

/// How a client wants a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// The flags of its open call.
    pub(crate) instance_flags: u32,
    /// Those of the request.
    pub(crate) flags: u32,
}

impl Wish {
    /// The flags to open the table with. Which forms of keys an index file has is what the opener finds out.
    fn opening(self) -> u32 {
        let utf8 = (self.instance_flags | self.flags) & Flags::UTF8.bits();
        let own = self.instance_flags & !(IMPLEMENTATION | OF_REQUESTS);
        own | self.flags & OF_REQUESTS | utf8
    }
}
/// Most entries that are kept between two requests for the next one.
const SEQUENCE_LIMIT: usize = 1_000_000;

type Entries = std::vec::IntoIter<(Vec<u8>, Vec<u8>)>;

#[derive(Debug)]
pub(crate) struct Tables {
    /// Whether a table that is not there is made when it is opened.
    creates: bool,
    open: HashMap<(Vec<u8>, u32), Box<dyn Table>>,
    sequences: HashMap<Vec<u8>, Entries>,
    /// Those on servers that were changed.
    served: HashMap<Vec<u8>, Box<dyn Changes>>,
    sizes: Sizes,
}

/// The type in `type:name`.
fn kind_of(table: &[u8]) -> &[u8] {
    table.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn status(error: LookupError) -> Status {
    match error {
        LookupError::Retry => Status::Retry,
        LookupError::Config => Status::Config,
    }
}

impl Tables {
    pub(crate) fn new(creates: bool, lmdb_map_size: i64) -> Tables {
        let sizes = Sizes { lmdb_map_size: u64::try_from(lmdb_map_size).unwrap_or(0) };
        Tables { creates, open: HashMap::new(), sequences: HashMap::new(), served: HashMap::new(), sizes }
    }

    fn table(&mut self, name: &[u8], wish: Wish) -> Option<&dyn Table> {
        let flags = wish.opening();
        if self.creates && !self.open.contains_key(&(name.to_vec(), flags)) {
            self.create(name, flags);
        }
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

    /// Makes the index file of a table that has none; what fails here fails again, and is told, when the table is opened.
    fn create(&self, name: &[u8], flags: u32) {
        let (name, _) = debug::watched_by(name);
        let Some(colon) = name.iter().position(|byte| *byte == b':') else { return };
        let (kind, file) = (&name[..colon], &name[colon + 1..]);
        // What a table of Berkeley DB's types may have become.
        let Ok(made) = lookup::migration::to_make(kind, file) else { return };
        let kind = made.as_deref().map_or(kind, kind_of);
        if index_path(kind, file).is_some_and(|path| !path.exists()) {
            let made = Writer::open(kind, file, Flags::from_bits(flags), Content::Kept, self.sizes);
            drop(made.and_then(Writer::commit));
        }
    }

    /// The flags of a table: those given, those of its type, and all that its index file may yet be found to be.
    pub(crate) fn open(&mut self, name: &[u8], wish: Wish) -> u32 {
        let Some(table) = self.table(name, wish) else { return wish.flags & !IMPLEMENTATION | PATTERN };
        let kind = if table.kind() == Kind::Fixed { FIXED } else { PATTERN };
        let forms = if table.key_forms() == Flags::NONE { 0 } else { KEY_FORMS };
        let writers = if name.starts_with(b"lmdb:") && forms != 0 { MULTI_WRITER } else { 0 };
        let utf8 = if table.checks_utf8() { UTF8_ACTIVE } else { 0 };
        wish.flags & !IMPLEMENTATION | kind | forms | writers | utf8
    }

    /// The value, and the flags that the table has now.
    pub(crate) fn lookup(&mut self, name: &[u8], wish: Wish, key: &[u8]) -> (Status, Vec<u8>, u32) {
        let flags = wish.flags;
        let Some(table) = self.table(name, wish) else { return (Status::Config, Vec::new(), flags) };
        match table.lookup(key) {
            Ok(Some(value)) => (Status::Ok, value, flags & !(KEY_FORMS & !table.key_forms().bits())),
            Ok(None) => (Status::NoKey, Vec::new(), flags),
            Err(error) => (status(error), Vec::new(), flags),
        }
    }

    fn change(
        &mut self,
        name: &[u8],
        wish: Wish,
        change: impl FnOnce(&mut Writer) -> Result<bool, lookup::OpenError>,
        served: impl FnOnce(&dyn Changes) -> Result<bool, LookupError>,
    ) -> Status {
        let (inner, watchers) = debug::watched_by(name);
        let Some(colon) = inner.iter().position(|byte| *byte == b':') else { return Status::Bad };
        let flags = Flags::from_bits(wish.opening() | wish.flags & KEY_FORMS).with(Flags::REPLACE_DUPLICATES);
        let (kind, file) = (&inner[..colon], &inner[colon + 1..]);
        if changes::are_served(kind) {
            return self.change_served(name, flags, served);
        }
        let done = lookup::migration::to_make(kind, file)
            .and_then(|made| {
                let kind = made.as_deref().map_or(kind, kind_of);
                let mut writer = Writer::open(kind, file, flags, Content::Kept, self.sizes)?;
                writer.watch(watchers);
                Ok(writer)
            })
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
                log::warn!("{} is unavailable. {error}", printable(name));
                Status::Retry
            }
        }
    }

    /// The same for a table on a server.
    fn change_served(
        &mut self,
        name: &[u8],
        flags: Flags,
        change: impl FnOnce(&dyn Changes) -> Result<bool, LookupError>,
    ) -> Status {
        let table = match self.served.entry(name.to_vec()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let flags = flags.with(Flags::NO_PROXY);
                match changes::open(name, flags, self.sizes, Missing::Made) {
                    Ok(table) => entry.insert(table),
                    Err(error) => {
                        log::warn!("{} is unavailable. {error}", printable(name));
                        return Status::Retry;
                    }
                }
            }
        };
        match change(table.as_ref()) {
            Ok(true) => Status::Ok,
            Ok(false) => Status::NoKey,
            Err(error) => status(error),
        }
    }

    /// The status, and the flags that the table has now.
    pub(crate) fn update(&mut self, name: &[u8], wish: Wish, key: &[u8], value: &[u8]) -> (Status, u32) {
        let status = self.change(
            name,
            wish,
            |writer| writer.put(key, value).map(|()| true),
            |table| table.update(key, value).map(|()| true),
        );
        (status, wish.flags | SYNC_UPDATE | Flags::REPLACE_DUPLICATES.bits())
    }

    /// The status, and the flags that the table has now.
    pub(crate) fn delete(&mut self, name: &[u8], wish: Wish, key: &[u8]) -> (Status, u32) {
        let status = self.change(name, wish, |writer| Ok(writer.delete(key)), |table| table.delete(key));
        (status, wish.flags | SYNC_UPDATE)
    }

    /// The first entry (0) or the next one.
    pub(crate) fn sequence(&mut self, name: &[u8], wish: Wish, function: i32) -> (Status, Vec<u8>, Vec<u8>) {
        let failed = |status: Status| (status, Vec::new(), Vec::new());
        if function == 0 {
            let Some(table) = self.table(name, wish) else { return failed(Status::Config) };
            let mut entries = Vec::new();
            let listed = table.each(&mut |key, value| {
                entries.push((key.to_vec(), value.to_vec()));
                entries.len() < SEQUENCE_LIMIT
            });
            match listed {
                Ok(()) => {}
                Err(SequenceError::Unavailable) => return failed(Status::Retry),
                Err(_) => return failed(Status::Config),
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
    /// to the table, and not to a request, come after a colon; where requests tell those of the table, all of them stand in
    /// brackets, as in other programs.
    pub(crate) fn changed(&self, dialect: Dialect) -> Option<String> {
        let ((name, flags), _) = self.open.iter().find(|(_, table)| table.has_changed())?;
        if dialect.proxymap_tells_instance_flags() {
            return Some(format!("{}(0,{})", printable(name), Flags::from_bits(*flags).names()));
        }
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
