//! Has the queue manager try deferred messages again, at once.

use std::fs::{File, FileTimes, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use queue::{QueueDirectory, QueueId, QueueName};
use sys::error_text;

/// The mode bit that tells the queue manager to treat a message's destinations as alive (spec queue-file 4).
const FLUSH_EACH: u32 = 0o040;

/// What becomes of a message besides being moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Nothing.
    AsItIs,
    /// Its destinations are tried although they are dead.
    FlushEach,
}

/// What becomes of dead destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dead {
    /// They are forgotten first.
    Revive,
    /// They stay dead.
    Leave,
}

/// The queue, and the queue manager's door.
#[derive(Debug)]
pub(crate) struct Schedule {
    directory: QueueDirectory,
    queue_manager: String,
}

impl Schedule {
    /// Of this queue directory and service.
    pub(crate) fn new(directory: QueueDirectory, queue_service_name: &str) -> Self {
        Self { directory, queue_manager: format!("public/{queue_service_name}") }
    }

    /// Forgets dead destinations.
    pub(crate) fn revive(&self) {
        self.trigger(b"F");
    }

    /// Has the incoming queue scanned.
    pub(crate) fn scan_incoming(&self) {
        self.trigger(b"I");
    }

    fn trigger(&self, bytes: &[u8]) {
        match ipc::trigger::send_at_once(&self.queue_manager, bytes) {
            // It has more triggers than it can take, and will look at everything.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                log::warn!("unable to look up {}: {}", self.queue_manager, error_text(&error));
            }
            Ok(()) => {}
        }
    }

    /// Moves a deferred message to the incoming queue, with the time stamp of now. Whether it is there; one that has
    /// been delivered or is being delivered is not.
    pub(crate) fn message(&self, id: &QueueId, urgency: Urgency) -> bool {
        for queue in [QueueName::Deferred, QueueName::Incoming] {
            let path = self.directory.path(queue, id);
            match self.prepare(&path, urgency) {
                Ok(()) => return queue == QueueName::Incoming || self.enter(id),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    log::warn!("{}: update queue file time stamps: {}", id, error_text(&error));
                    return false;
                }
            }
        }
        false
    }

    fn enter(&self, id: &QueueId) -> bool {
        match self.directory.move_file(id, QueueName::Deferred, QueueName::Incoming) {
            Ok(()) => true,
            // The queue manager was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => {
                log::warn!("{id}: rename from deferred to incoming: {}", error_text(&error));
                false
            }
        }
    }

    fn prepare(&self, path: &Path, urgency: Urgency) -> io::Result<()> {
        let options = OpenOptions::new().read(true).clone();
        let file = sys::file::open_existing(path, &options).map_err(|error| {
            error
                .io()
                .and_then(io::Error::raw_os_error)
                .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
        })?;
        touch(&file)?;
        if urgency == Urgency::FlushEach {
            let mode = file.metadata()?.permissions().mode();
            file.set_permissions(Permissions::from_mode((mode & 0o7777) | FLUSH_EACH))?;
        }
        Ok(())
    }
}

/// Sets both time stamps to now, in whole seconds: a queue file must not be of the future.
pub(crate) fn touch(file: &File) -> io::Result<()> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = UNIX_EPOCH + Duration::from_secs(seconds);
    file.set_times(FileTimes::new().set_accessed(now).set_modified(now))
}
