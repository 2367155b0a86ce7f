//! Work on every file of a queue: structure, old unfinished files, and `ALL`.
//!
//! A name of one character is a hashed sub-directory, in every queue but `maildrop`, which is never hashed. Messages
//! are checked for what their names say: the inode number, and the place in the hierarchy. A file whose name must
//! change first becomes `NEW#FIX`, so that it cannot take the name of another one that is still to be renamed; when
//! all queues have been gone through, a second pass gives it the name `NEW`. Sub-directories that the hashing does not
//! ask for are removed as the walk leaves them.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use queue::{QueueDirectory, QueueId, QueueName};

use crate::message::{LOGS, expire, move_path, remove};
use crate::progress::{Action, Progress};

/// What the walk goes through when the command line names no queue, in this order: logs before messages.
pub(crate) const ALL_QUEUES: [QueueName; 8] = [
    QueueName::Defer,
    QueueName::Bounce,
    QueueName::Maildrop,
    QueueName::Incoming,
    QueueName::Active,
    QueueName::Deferred,
    QueueName::Hold,
    QueueName::Flush,
];
/// Ends the name of a file between the two passes.
const FIX_SUFFIX: &[u8] = b"#FIX";
/// Unfinished files of this age are left over from a crash.
const PURGE_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// No hashing goes deeper; what does is not ours.
const MAX_DEPTH: usize = 255;

/// `-s`, `-S` and `-p`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Upkeep {
    /// Rename and move files to where they belong.
    pub structure: bool,
    /// The names of long IDs must match the inode number too.
    pub(crate) long_names: bool,
    /// Remove old unfinished files.
    pub purge: bool,
}

/// What is done to each file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// `-s`, `-S`, `-p`.
    Upkeep(Upkeep),
    /// Only the names that the first pass left.
    Finish,
    /// An action on `ALL`.
    All(Action),
}

/// A walk through the queues.
#[derive(Debug)]
pub(crate) struct Sweep<'a> {
    directory: &'a QueueDirectory,
    progress: &'a Progress,
}

/// A file of the walk.
struct Entry<'a> {
    queue: QueueName,
    name: &'a OsStr,
    /// Relative to the queue directory.
    path: &'a Path,
    metadata: Metadata,
}

impl<'a> Sweep<'a> {
    /// A walk that has not begun.
    pub(crate) fn new(directory: &'a QueueDirectory, progress: &'a Progress) -> Self {
        Self { directory, progress }
    }

    /// Structure and purge: one pass, and one more to finish the renaming of the first.
    pub(crate) fn upkeep(&self, queues: impl Iterator<Item = QueueName> + Clone, upkeep: Upkeep) {
        self.walk_all(queues.clone(), Work::Upkeep(upkeep));
        if self.progress.is_any_mismatched() {
            self.walk_all(queues.clone(), Work::Upkeep(upkeep));
            // The logs of the messages were renamed too. Postfix leaves those of queues that are not swept (the trace
            // logs always) under names that are never found.
            let logs = LOGS.into_iter().filter(|log| !queues.clone().any(|queue| queue == *log));
            self.walk_all(logs, Work::Finish);
        }
    }

    /// One pass through these queues.
    pub(crate) fn walk_all(&self, queues: impl Iterator<Item = QueueName>, work: Work) {
        for queue in queues {
            self.walk(queue, Path::new(queue.as_str()), 0, work);
        }
    }

    fn walk(&self, queue: QueueName, path: &Path, depth: usize, work: Work) {
        let entries = match fs::read_dir(self.directory.resolve(path)) {
            Ok(entries) => entries,
            Err(error) => maillog::fatal(format_args!(
                "scan_dir_push: open directory {}: {}",
                path.display(),
                sys::error_text(&error)
            )),
        };
        for entry in entries {
            self.progress.check_interrupt();
            let name = match entry {
                Ok(entry) => entry.file_name(),
                Err(error) => maillog::fatal(format_args!(
                    "read directory {}: {}",
                    path.display(),
                    sys::error_text(&error)
                )),
            };
            let below = path.join(&name);
            if name.len() == 1 && queue != QueueName::Maildrop && depth < MAX_DEPTH {
                self.walk(queue, &below, depth + 1, work);
            } else {
                self.entry(queue, &name, &below, work);
            }
        }
        if depth > self.directory.hashing().depth_of(queue) && !matches!(work, Work::Finish) {
            match fs::remove_dir(self.directory.resolve(path)) {
                Err(error) if error.kind() != ErrorKind::NotFound => maillog::fatal(format_args!(
                    "remove directory {}: {}",
                    path.display(),
                    sys::error_text(&error)
                )),
                _ => {}
            }
        }
    }

    fn entry(&self, queue: QueueName, name: &OsStr, path: &Path, work: Work) {
        let metadata = match fs::symlink_metadata(self.directory.resolve(path)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                maillog::fatal(format_args!("lstat {}: {}", path.display(), sys::error_text(&error)))
            }
        };
        if metadata.is_dir() {
            self.misplaced_directory(path);
            return;
        }
        if !metadata.is_file() && !matches!(work, Work::All(Action::Delete)) {
            // Nothing but files belongs here: links and the like go without a word (observed, 3.7.11).
            remove(&self.directory.resolve(path));
            return;
        }
        let entry = Entry { queue, name, path, metadata };
        match work {
            Work::All(Action::Delete) => self.delete(&entry),
            Work::Upkeep(upkeep) => {
                if !(upkeep.purge && self.purge(&entry)) {
                    self.structure(&entry, upkeep);
                }
            }
            Work::Finish => {
                let name = final_name(entry.name);
                if name.len() != entry.name.len() {
                    self.relocate(&entry, name);
                }
            }
            Work::All(action) => {
                if let Some(id) = self.message_id(&entry) {
                    self.apply(action, &entry, &id);
                }
            }
        }
    }

    fn misplaced_directory(&self, path: &Path) {
        match fs::remove_dir(self.directory.resolve(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log::warn!("remove subdirectory {}: {}", path.display(), sys::error_text(&error));
            }
            _ => {}
        }
    }

    /// Everything goes; what counts is a complete message.
    fn delete(&self, entry: &Entry<'_>) {
        let is_removed = remove(&self.directory.resolve(entry.path));
        if is_removed && is_message_queue(entry.queue) && entry.is_complete() {
            self.progress.deleted();
        }
    }

    fn purge(&self, entry: &Entry<'_>) -> bool {
        let is_old = |metadata: &Metadata| {
            metadata
                .modified()
                .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > PURGE_AGE))
        };
        is_message_queue(entry.queue)
            && !entry.is_complete()
            && is_old(&entry.metadata)
            && remove(&self.directory.resolve(entry.path))
    }

    fn structure(&self, entry: &Entry<'_>, upkeep: Upkeep) {
        if !is_message_queue(entry.queue) {
            if upkeep.structure {
                self.relocate(entry, final_name(entry.name));
            }
            return;
        }
        if upkeep.structure && final_name(entry.name).len() != entry.name.len() {
            self.relocate(entry, final_name(entry.name));
            self.progress.fixed();
            return;
        }
        let Some(id) = self.message_id(entry) else { return };
        if !upkeep.structure {
            return;
        }
        match self.matching_id(entry, &id, upkeep) {
            Some(new) => self.rename(entry, &id, &new),
            None => self.relocate(entry, entry.name),
        }
    }

    /// The ID of a regular message file; what cannot be one is logged. Log files have no business here.
    fn message_id(&self, entry: &Entry<'_>) -> Option<QueueId> {
        if !is_message_queue(entry.queue) {
            return None;
        }
        let id = QueueId::parse(entry.name.as_bytes()).ok().filter(names_an_inode);
        if id.is_none() {
            log::warn!("bogus file name: {}", entry.path.display());
        }
        id
    }

    /// The ID that the file should have, when it is another one.
    fn matching_id(&self, entry: &Entry<'_>, id: &QueueId, upkeep: Upkeep) -> Option<QueueId> {
        let inode = entry.metadata.ino();
        let is_long = id.is_long();
        if is_long && self.directory.long_queue_ids() {
            let wanted = upkeep.long_names && id.inode() != Some(inode);
            return wanted.then(|| id.with_inode(inode));
        }
        // Long IDs are not wanted: the microseconds are kept.
        let is_right = !is_long && id.inode() == Some(inode);
        (!is_right).then(|| id.short_form(inode))
    }

    /// To `NEW#FIX` in the right place, with the logs of the message.
    fn rename(&self, entry: &Entry<'_>, old: &QueueId, new: &QueueId) {
        let fixed = |queue| {
            let mut path = self.directory.relative_path(queue, new).into_os_string();
            path.push(OsStr::from_bytes(FIX_SUFFIX));
            PathBuf::from(path)
        };
        for log in LOGS {
            move_path(self.directory, &self.directory.relative_path(log, old), &fixed(log));
        }
        if move_path(self.directory, entry.path, &fixed(entry.queue)) {
            self.progress.mismatched();
        }
    }

    /// To its place under a name.
    fn relocate(&self, entry: &Entry<'_>, name: &OsStr) {
        let wanted = match QueueId::parse(name.as_bytes()) {
            Ok(id) => self.directory.relative_path(entry.queue, &id),
            Err(_) => match name.to_str() {
                Some(name) => self.directory.hashing().path_by_name(entry.queue, name),
                None => return,
            },
        };
        if wanted != entry.path {
            move_path(self.directory, entry.path, &wanted);
        }
    }

    fn apply(&self, action: Action, entry: &Entry<'_>, id: &QueueId) {
        if !action.queues().contains(&entry.queue) {
            return;
        }
        let move_to = |queue| move_path(self.directory, entry.path, &self.directory.relative_path(queue, id));
        match action {
            // Done before names are looked at.
            Action::Delete => {}
            Action::Expire => self.expire(entry),
            Action::ExpireAndRelease => {
                self.expire(entry);
                if entry.queue == QueueName::Hold && move_to(QueueName::Deferred) {
                    self.progress.released();
                }
            }
            Action::Hold => {
                if move_to(QueueName::Hold) {
                    self.progress.held();
                }
            }
            Action::Release => {
                if move_to(QueueName::Deferred) {
                    self.progress.released();
                }
            }
            Action::Requeue => {
                // The time stamps stay, other than with a queue ID (observed, 3.7.11); pickup does not look at them.
                if move_to(QueueName::Maildrop) {
                    self.progress.requeued();
                }
            }
        }
    }

    fn expire(&self, entry: &Entry<'_>) {
        if entry.is_complete() && expire(self.directory, entry.path) == Some(true) {
            self.progress.expired();
        }
    }
}

impl Entry<'_> {
    fn is_complete(&self) -> bool {
        self.metadata.mode() & 0o700 == 0o700
    }
}

fn is_message_queue(queue: QueueName) -> bool {
    matches!(
        queue,
        QueueName::Maildrop | QueueName::Incoming | QueueName::Active | QueueName::Deferred | QueueName::Hold
    )
}

/// Whether the part behind the time can be read as an inode number, be it the wrong one. A long name is one by its
/// form alone.
fn names_an_inode(id: &QueueId) -> bool {
    id.is_long() || id.as_str().bytes().skip(5).all(|byte| byte.is_ascii_hexdigit())
}

/// The name without the suffix of the first pass.
fn final_name(name: &OsStr) -> &OsStr {
    OsStr::from_bytes(name.as_bytes().strip_suffix(FIX_SUFFIX).unwrap_or(name.as_bytes()))
}
