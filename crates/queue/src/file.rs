//! A queue file in creation: unique name, writing, completion.
//!
//! The permission bits are the commit protocol. A file is made with mode 0600 (0644 in `maildrop`) under a temporary
//! name `<usec>.<pid>`, then gets the name that its inode number and the time give; every reader skips it until
//! [`QueueFile::commit`] has flushed it, set the mode to 0700 (0744) and synced it to the disk. A file that is dropped
//! before that is removed.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use thiserror::Error;

use crate::directory::QueueDirectory;
use crate::gathered::GatheredFile;
use crate::id::QueueId;
use crate::name::QueueName;
use crate::record::RecordType;
use crate::size::SizeRecord;
use crate::writer::RecordWriter;
use sys::error_text as text;
use sys::last_words::{self, Removal};

/// Pause after a failure that only an operator can mend, such as a full disk.
const CREATE_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks meanwhile.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// After so many failed renames there is no point in going on.
const MAX_RENAMES: u32 = 1000;
/// How far the file system clock may lag before it is reported, in seconds.
const BEHIND_TOLERANCE: i64 = 100;

/// No name could be given to a new file; the process should end with this as its fatal error.
#[derive(Debug, Error)]
#[error("mail_queue_enter: rename {from} to {to}: giving up")]
pub struct GivingUp {
    /// The temporary path.
    pub from: String,
    /// The last path tried.
    pub to: String,
}

/// A queue file that is being written.
#[derive(Debug)]
pub struct QueueFile {
    writer: RecordWriter<GatheredFile>,
    queue: QueueName,
    id: QueueId,
    /// Relative to the queue directory, as in the log.
    path: PathBuf,
    /// The queue directory, to remove the file.
    root: PathBuf,
    created: SystemTime,
    completed: bool,
}

impl QueueFile {
    /// Makes an empty file in `incoming` or `maildrop`. Errors that an operator can mend are logged and waited for.
    ///
    /// # Errors
    /// When no name can be given to the file for a thousand times.
    pub fn create(directory: &QueueDirectory, queue: QueueName) -> Result<Self, GivingUp> {
        Self::create_watching(directory, queue, &|| {})
    }

    /// As [`QueueFile::create`], for who may be told to stop while a directory takes no file: `look` is called several
    /// times a second then, and may end the process.
    ///
    /// # Errors
    /// As [`QueueFile::create`].
    pub fn create_watching(
        directory: &QueueDirectory,
        queue: QueueName,
        look: &dyn Fn(),
    ) -> Result<Self, GivingUp> {
        let (file, temporary, unnamed) = create_temporary(directory, queue, look);
        let inode = match file.metadata() {
            Ok(metadata) => metadata.ino(),
            Err(error) => {
                log::warn!("mail_queue_enter: fstat {}: {}", temporary.display(), text(&error));
                0
            }
        };
        let mut tries = 0;
        loop {
            let created = SystemTime::now();
            let (sec, usec) = since_epoch(created);
            let id = if directory.long_queue_ids() {
                QueueId::long(sec, usec, inode)
            } else {
                QueueId::short(usec, inode)
            };
            let relative = directory.relative_path(queue, &id);
            match directory.rename(&temporary, &relative) {
                Ok(()) => {
                    drop(unnamed);
                    let writer = RecordWriter::new(GatheredFile::new(file));
                    return Ok(Self {
                        writer,
                        queue,
                        id,
                        path: relative,
                        root: directory.root().to_owned(),
                        created,
                        completed: false,
                    });
                }
                Err(error) if is_taken(&error) => {}
                Err(error) => log::warn!(
                    "mail_queue_enter: rename {} to {}: {}",
                    temporary.display(),
                    relative.display(),
                    text(&error)
                ),
            }
            tries += 1;
            if tries > MAX_RENAMES {
                let (from, to) = (temporary.display().to_string(), relative.display().to_string());
                return Err(GivingUp { from, to });
            }
        }
    }

    /// The queue ID.
    pub fn id(&self) -> &QueueId {
        &self.id
    }

    /// The queue that the file is in.
    pub fn queue(&self) -> QueueName {
        self.queue
    }

    /// The path for log lines, relative to the queue directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The time that is part of the ID; a generated Message-ID tells the same time.
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// Where the records go. Buffered.
    pub fn writer(&mut self) -> &mut RecordWriter<GatheredFile> {
        &mut self.writer
    }

    /// The open file, for positioned reads and writes. Flush the writer first.
    pub fn file(&self) -> &File {
        self.writer.get_ref().file()
    }

    /// Rewrites the size record at the start of the file, without moving the writer, and writes what is gathered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn rewrite_size(&mut self, size: &SizeRecord) -> io::Result<()> {
        let mut record = [0; SizeRecord::RECORD_LENGTH];
        RecordWriter::new(record.as_mut_slice()).write_text(RecordType::SIZE, format_args!("{size}"))?;
        self.writer.get_mut().rewrite_start(&record)
    }

    /// Moves the file to another queue before it is complete: a file for `hold` must never be seen complete in
    /// `incoming`, or the queue manager would take it.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn move_to(&mut self, directory: &QueueDirectory, queue: QueueName) -> io::Result<()> {
        let relative = directory.relative_path(queue, &self.id);
        directory.rename(&self.path, &relative)?;
        self.path = relative;
        self.queue = queue;
        Ok(())
    }

    /// Completes the file: everything written is on the disk and readers take the file when this returns.
    ///
    /// # Errors
    /// When the file cannot be flushed or synced; it is removed then. `ErrorKind::FileTooLarge` tells the file size
    /// limit.
    pub fn commit(mut self) -> io::Result<()> {
        self.writer.flush()?;
        let file = self.file();
        let mode = if self.queue == QueueName::Maildrop { 0o744 } else { 0o700 };
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        self.completed = true;
        if self.queue != QueueName::Maildrop {
            check_clock(self.file());
        }
        Ok(())
    }

    /// Removes the file; the same as dropping it, but tells what went wrong.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn discard(mut self) -> io::Result<()> {
        self.completed = true;
        fs::remove_file(self.root.join(&self.path))
    }
}

impl Drop for QueueFile {
    fn drop(&mut self) {
        if self.completed {
            return;
        }
        if let Err(error) = fs::remove_file(self.root.join(&self.path)) {
            log::warn!("remove {}: {}", self.path.display(), text(&error));
        }
    }
}

/// Makes the file under its temporary name, always directly in the queue's directory. Who is ended while it has that
/// name removes it: a file that has it is nobody's, and postsuper warns of it. (Without a place for the path it stays.)
fn create_temporary(
    directory: &QueueDirectory,
    queue: QueueName,
    look: &dyn Fn(),
) -> (File, PathBuf, Option<Removal>) {
    let mode = if queue == QueueName::Maildrop { 0o644 } else { 0o600 };
    loop {
        let (_, usec) = since_epoch(SystemTime::now());
        let mut path = String::with_capacity(32);
        // Writing to a string cannot fail.
        let _ = write!(path, "{queue}/{usec}.{}", sys::process::id());
        let path = PathBuf::from(path);
        let removal = last_words::remove(&directory.resolve(&path)).ok();
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(directory.resolve(&path));
        match opened {
            Ok(file) => return (file, path, removal),
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::IsADirectory) => {}
            Err(error) => {
                log::warn!("mail_queue_enter: create file {}: {}", path.display(), text(&error));
                let end = Instant::now() + CREATE_PAUSE;
                while Instant::now() < end {
                    look();
                    thread::sleep(LOOK_PAUSE);
                }
            }
        }
    }
}

/// Something undeletable has the new name, so another time is to be tried.
fn is_taken(error: &io::Error) -> bool {
    error.kind() == ErrorKind::IsADirectory || error.raw_os_error() == Some(Errno::EPERM as i32)
}

fn since_epoch(time: SystemTime) -> (u64, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (since.as_secs(), since.subsec_micros())
}

const CLOCK_UNCHECKED: u8 = 0;
const CLOCK_GOOD: u8 = 1;
const CLOCK_AHEAD: u8 = 2;
static CLOCK: AtomicU8 = AtomicU8::new(CLOCK_UNCHECKED);

/// Compares the file system's clock with ours after a completion. As long as it is ahead, every file's time stamps are
/// set back, or the queue manager would not touch the file until then; once it is not, the check ends for good.
fn check_clock(file: &File) {
    let state = CLOCK.load(Ordering::Relaxed);
    if state == CLOCK_GOOD {
        return;
    }
    let Ok(metadata) = file.metadata() else { return };
    let now = SystemTime::now();
    let local = i64::try_from(since_epoch(now).0).unwrap_or(i64::MAX);
    let ahead = metadata.mtime() - local;
    if ahead <= 0 {
        if ahead < -BEHIND_TOLERANCE {
            log::warn!("file system clock is {} seconds behind local clock", -ahead);
        }
        CLOCK.store(CLOCK_GOOD, Ordering::Relaxed);
        return;
    }
    if CLOCK.swap(CLOCK_AHEAD, Ordering::Relaxed) != CLOCK_AHEAD {
        log::warn!("file system clock is {ahead} seconds ahead of local clock");
        log::warn!("resetting file time stamps - this hurts performance");
    }
    if let Err(error) = file.set_times(fs::FileTimes::new().set_accessed(now).set_modified(now)) {
        log::warn!("update of file time stamps: {}", text(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Hashing;
    use crate::scratch::Scratch;

    fn directory(scratch: &Scratch, hashing: Hashing, long: bool) -> QueueDirectory {
        QueueDirectory::new(hashing, long).at(scratch.path())
    }

    #[test]
    fn the_name_tells_the_inode() {
        for long in [false, true] {
            let scratch = Scratch::new("name");
            let directory = directory(&scratch, Hashing::new("incoming hold", 2), long);
            let mut file = QueueFile::create(&directory, QueueName::Incoming).expect("created");
            let metadata = file.file().metadata().expect("metadata");
            assert_eq!(file.id().inode(), Some(metadata.ino()));
            assert_eq!(file.id().is_long(), long);
            assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
            file.writer().write(RecordType::SIZE, &SizeRecord::default().encode()).expect("written");
            file.writer().write(RecordType::END, b"").expect("written");
            let size = SizeRecord { data_size: 5, ..SizeRecord::default() };
            file.rewrite_size(&size).expect("rewritten");
            file.move_to(&directory, QueueName::Hold).expect("moved");
            let id = file.id().clone();
            file.commit().expect("committed");
            let path = directory.path(QueueName::Hold, &id);
            let metadata = fs::metadata(&path).expect("in place");
            assert_eq!(metadata.permissions().mode() & 0o7777, 0o700);
            assert_eq!(metadata.len(), SizeRecord::RECORD_LENGTH as u64 + 2);
            let start = fs::read(&path).expect("readable");
            assert_eq!(SizeRecord::parse(&start[2..97]).map(|size| size.data_size), Some(5));
        }
    }

    #[test]
    fn what_is_not_committed_is_gone() {
        let scratch = Scratch::new("gone");
        let directory = directory(&scratch, Hashing::default(), false);
        let file = QueueFile::create(&directory, QueueName::Incoming).expect("created");
        let path = directory.path(QueueName::Incoming, file.id());
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
    }

    /// A crash before the commit leaves what no reader takes, in each state on the way.
    #[test]
    fn readers_skip_what_is_not_committed() {
        let scratch = Scratch::new("states");
        let directory = directory(&scratch, Hashing::default(), false);
        let readable = || {
            [QueueName::Maildrop, QueueName::Incoming, QueueName::Hold]
                .into_iter()
                .flat_map(|queue| crate::Scan::new(&directory, queue).expect("a directory"))
                .filter(|entry| crate::ready(&directory, &entry.path).is_some())
                .count()
        };
        let (temporary, _, _) = create_temporary(&directory, QueueName::Incoming, &|| {});
        drop(temporary);
        assert_eq!(readable(), 0, "temporary");
        let mut file = QueueFile::create(&directory, QueueName::Incoming).expect("created");
        assert_eq!(readable(), 0, "named");
        file.writer().write(RecordType::END, b"").expect("written");
        file.writer().flush().expect("flushed");
        assert_eq!(readable(), 0, "written");
        file.move_to(&directory, QueueName::Hold).expect("moved");
        assert_eq!(readable(), 0, "held, unfinished");
        file.commit().expect("committed");
        assert_eq!(readable(), 1, "on hold");
        let submitted = QueueFile::create(&directory, QueueName::Maildrop).expect("created");
        assert_eq!(readable(), 1, "maildrop, named");
        submitted.commit().expect("committed");
        assert_eq!(readable(), 2, "submitted");
    }

    #[test]
    fn maildrop_files_are_readable() {
        let scratch = Scratch::new("maildrop");
        let directory = directory(&scratch, Hashing::default(), false);
        let file = QueueFile::create(&directory, QueueName::Maildrop).expect("created");
        let path = directory.path(QueueName::Maildrop, file.id());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o644);
        file.commit().expect("committed");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o744);
    }

    #[test]
    fn ids_are_unique_across_threads() {
        let scratch = Scratch::new("unique");
        let directory = directory(&scratch, Hashing::default(), false);
        let ids: Vec<QueueId> = thread::scope(|scope| {
            let make = || {
                let files: Vec<_> = (0..50)
                    .map(|_| QueueFile::create(&directory, QueueName::Incoming).expect("created"))
                    .collect();
                let ids: Vec<_> = files.iter().map(|file| file.id().clone()).collect();
                for file in files {
                    file.commit().expect("committed");
                }
                ids
            };
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
        });
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 200);
    }
}
