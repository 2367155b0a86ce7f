//! The log of a message: `bounce/ID`, `defer/ID`, `trace/ID`.
//!
//! A record is appended under an exclusive lock, in one write, and synced: the agent that has sent it marks the recipient done
//! as soon as it is answered. What cannot be written to its end is taken back, and ends the process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use queue::{DeliveryLogReader, DeliveryRecord, QueueDirectory, QueueId};
use sys::error_text;
use sys::flock::{self, Mode, Wait};

/// A log, perhaps not there.
#[derive(Debug)]
pub(crate) struct Logfile {
    /// As in the log: relative to the queue directory.
    relative: PathBuf,
    path: PathBuf,
    /// The directory, which is the name of the service.
    directory: String,
    id: QueueId,
}

impl Logfile {
    pub(crate) fn new(queue: &QueueDirectory, directory: &str, id: &QueueId) -> Self {
        let relative = queue.hashing().path_in(directory, id);
        let path = queue.resolve(&relative).into_owned();
        Self { relative, path, directory: directory.to_owned(), id: id.clone() }
    }

    pub(crate) fn id(&self) -> &QueueId {
        &self.id
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Adds a record. Failure is fatal: the client hears nothing, and keeps the recipient.
    pub(crate) fn append(&self, queue: &QueueDirectory, record: &DeliveryRecord, with_summary: bool) {
        let (directory, id) = (&self.directory, &self.id);
        let file = match self.open_to_append(queue) {
            Ok(file) => file,
            Err(error) => maillog::fatal(format_args!("open file {directory} {id}: {}", error_text(&error))),
        };
        if let Err(error) = flock::lock(&file, Mode::Exclusive, Wait::Forever) {
            maillog::fatal(format_args!("lock file {directory} {id}: {}", error_text(&error)));
        }
        if let Err(error) = write(&file, &record.encode(with_summary)) {
            maillog::fatal(format_args!("append file {directory} {id}: {}", error_text(&error)));
        }
    }

    fn open_to_append(&self, queue: &QueueDirectory) -> io::Result<File> {
        let options = OpenOptions::new().append(true).create(true).mode(0o600).clone();
        match options.open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound && queue.make_parents(&self.relative)? => {
                options.open(&self.path)
            }
            result => result,
        }
    }

    /// Opens the log; nothing when there is none. Anything else that keeps it closed is fatal.
    pub(crate) fn open(&self) -> Option<File> {
        match File::open(&self.path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                maillog::fatal(format_args!("open {} {}: {}", self.directory, self.id, error_text(&error)))
            }
        }
    }

    /// Reads an open log from its beginning.
    pub(crate) fn reader<'f>(
        &self,
        file: &'f File,
        utf8: bool,
    ) -> DeliveryLogReader<BufReader<queue::At<'f>>> {
        let name = self.relative.display().to_string();
        let input = BufReader::new(queue::At::new(file, 0));
        DeliveryLogReader::new(input, name, self.directory == "defer", utf8)
    }

    /// Removes the log, if it is there.
    pub(crate) fn remove(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let (directory, id) = (&self.directory, &self.id);
                maillog::fatal(format_args!("remove {directory} {id}: {}", error_text(&error)))
            }
        }
    }
}

/// Appends in one piece, or not at all.
fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let length = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Others have appended nothing meanwhile: the file is locked.
        let _ = file.set_len(length);
    }
    written
}
