//! The message file of a request, open while its recipients are delivered to.

use std::fs::{File, Permissions};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;

use ipc::delivery::{Recipient, Request};
use queue::{At, QueueDirectory, QueueId, QueueName, RecordReader};
use sys::flock::{self, Mode, Wait};

/// A message file, read and written under a shared lock, which keeps others from taking it away.
#[derive(Debug)]
pub(crate) struct MessageFile {
    file: File,
    /// As in the log.
    name: String,
}

impl MessageFile {
    /// Opens the file of a request. Whatever is wrong is logged.
    pub(crate) fn open(request: &Request, directory: &QueueDirectory) -> Option<(QueueId, Self)> {
        let text = |bytes: &[u8]| maillog::shown(bytes).to_string();
        let Ok(id) = QueueId::parse(&request.queue_id) else {
            log::warn!("malformed queue id: {}", text(&request.queue_id));
            return None;
        };
        let queue =
            std::str::from_utf8(&request.queue_name).ok().and_then(|name| name.parse::<QueueName>().ok());
        let Some(queue) = queue else {
            log::warn!("{id}: bad queue name: {}", text(&request.queue_name));
            return None;
        };
        let file = match sys::file::open_unnoticed(&directory.path(queue, &id)) {
            Ok(file) => file,
            Err(error) => {
                log::warn!("open {queue} {id}: {}", sys::error_text(&error));
                return None;
            }
        };
        match flock::lock(&file, Mode::Shared, Wait::No) {
            Ok(true) => {
                let name = directory.relative_path(queue, &id).display().to_string();
                Some((id, Self { file, name }))
            }
            Ok(false) => {
                log::warn!("shared lock {queue} {id}: file has a lock already");
                None
            }
            Err(error) => {
                log::warn!("shared lock {queue} {id}: {}", sys::error_text(&error));
                None
            }
        }
    }

    /// A reader of the content, at its start.
    pub(crate) fn content(&self, request: &Request) -> RecordReader<BufReader<At<'_>>> {
        let start = u64::try_from(request.content_offset).unwrap_or_default();
        RecordReader::new(BufReader::new(At::new(&self.file, start)), &*self.name)
    }

    /// Marks the whole file, so that the queue manager puts it away.
    pub(crate) fn mark_corrupt(&self) {
        log::warn!("corrupted queue file: {}", self.name);
        if let Err(error) = self.file.set_permissions(Permissions::from_mode(queue::CORRUPT)) {
            log::warn!("{}: set permissions: {}", self.name, sys::error_text(&error));
        }
    }

    /// Marks a recipient that needs no further attempt. False, after a warning, when that cannot be written: it will be
    /// delivered to again.
    #[must_use]
    pub(crate) fn mark_done(&self, recipient: &Recipient) -> bool {
        let Ok(offset) = u64::try_from(recipient.offset) else { return true };
        match queue::mark_done(&self.file, &self.name, offset) {
            Ok(()) => true,
            Err(error) => {
                log::warn!("{error}");
                false
            }
        }
    }
}
