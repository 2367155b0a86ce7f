//! Walking through a queue directory.
//!
//! [`Scan`] yields every file whose name is a queue ID. A name of one character is a sub-directory whether or not the
//! queue is hashed now: files stay where they are when the settings change, until `postsuper -s` moves them.
//! [`ready`] is the test that a file is complete and may be opened.

use std::fs::{self, Metadata, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::directory::QueueDirectory;
use crate::id::QueueId;
use crate::name::QueueName;
use sys::error_text as text;

/// No queue is hashed deeper than its IDs are long; deeper nesting is not ours.
const MAX_DEPTH: usize = 255;
/// A hard link younger than this may be a rename under way.
const LINK_AGE: i64 = 60;

/// A file found in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The queue.
    pub queue: QueueName,
    /// The file's name.
    pub id: QueueId,
    /// Path relative to the queue directory; not always the one that the hashing gives.
    pub path: PathBuf,
}

/// An iterator over the files of a queue, in the order of the file system, depth first.
#[derive(Debug)]
pub struct Scan {
    directory: QueueDirectory,
    queue: QueueName,
    open: Vec<(PathBuf, ReadDir)>,
}

impl Scan {
    /// Opens a queue.
    ///
    /// # Errors
    /// When the queue's directory cannot be read.
    pub fn new(directory: &QueueDirectory, queue: QueueName) -> io::Result<Self> {
        let path = PathBuf::from(queue.as_str());
        let entries = fs::read_dir(directory.resolve(&path))?;
        Ok(Self { directory: directory.clone(), queue, open: vec![(path, entries)] })
    }

    fn enter(&mut self, path: PathBuf) {
        if self.open.len() > MAX_DEPTH {
            return;
        }
        match fs::read_dir(self.directory.resolve(&path)) {
            Ok(entries) => self.open.push((path, entries)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("open directory {}: {}", path.display(), text(&error)),
        }
    }
}

impl Iterator for Scan {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let (path, entries) = self.open.last_mut()?;
            match entries.next() {
                None => {
                    self.open.pop();
                }
                Some(Err(error)) => {
                    log::warn!("read directory {}: {}", path.display(), text(&error));
                    self.open.pop();
                }
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    let path = path.join(&name);
                    match name.as_bytes() {
                        [byte] if byte.is_ascii_alphanumeric() || *byte == b'_' => self.enter(path),
                        bytes => {
                            if let Ok(id) = QueueId::parse(bytes) {
                                return Some(Entry { queue: self.queue, id, path });
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether the file at a path (relative to the queue directory) is a complete message file; its metadata if so. What
/// should not be there is logged; what vanished meanwhile is not.
pub fn ready(directory: &QueueDirectory, path: &Path) -> Option<Metadata> {
    let metadata = match fs::symlink_metadata(directory.resolve(path)) {
        Ok(metadata) => metadata,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("lstat {}: {}", path.display(), text(&error));
            }
            return None;
        }
    };
    let shown = path.display();
    if !metadata.is_file() {
        log::warn!("{shown}: uid {}: not a regular file", metadata.uid());
        return None;
    }
    if metadata.mode() & 0o700 != 0o700 {
        return None;
    }
    if metadata.nlink() > 1 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if metadata.ctime().saturating_add(LINK_AGE) < i64::try_from(now).unwrap_or(i64::MAX) {
            log::warn!("{shown}: uid {}: file has {} links", metadata.uid(), metadata.nlink());
        }
    }
    Some(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Hashing;
    use crate::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn finds_files_at_any_depth() {
        let scratch = Scratch::new("scan");
        let directory = QueueDirectory::new(Hashing::default(), false).at(scratch.path());
        let make = |path: &str, mode| {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            fs::write(&path, b"x").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        };
        make("hold/AAAAA1", 0o700);
        make("hold/B/C/BCAAA1", 0o700);
        make("hold/123.4", 0o600);
        make("hold/CCCCC1", 0o600);
        fs::create_dir(scratch.path().join("hold/DDDDD1")).expect("made");
        let mut found: Vec<_> =
            Scan::new(&directory, QueueName::Hold).expect("opened").map(|entry| entry.path).collect();
        found.sort();
        let all = ["hold/AAAAA1", "hold/B/C/BCAAA1", "hold/CCCCC1", "hold/DDDDD1"];
        assert_eq!(found, all.map(PathBuf::from));
        found.retain(|path| ready(&directory, path).is_some());
        assert_eq!(found, all[..2].iter().map(PathBuf::from).collect::<Vec<_>>());
        fs::remove_dir(scratch.path().join("corrupt")).expect("was empty");
        assert!(Scan::new(&directory, QueueName::Corrupt).is_err());
    }
}
