//! One message, by its queue ID, and the moves that [`crate::sweep`] makes too.
//!
//! The queues are searched twice, because a message can move from one not yet searched to one already searched. Only
//! complete files are touched.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use nix::fcntl::OFlag;
use queue::{FORCE_EXPIRE, QueueDirectory, QueueId, QueueName, ready};

use crate::progress::{Action, Progress};

const ROUNDS: u32 = 2;
/// Logs that go with a message.
pub(crate) const LOGS: [QueueName; 3] = [QueueName::Bounce, QueueName::Defer, QueueName::Trace];

/// Does it to the message, if it is in one of the queues; logs what was done and counts it.
pub fn apply(
    directory: &QueueDirectory,
    progress: &Progress,
    action: Action,
    id: &QueueId,
    queues: impl Iterator<Item = QueueName> + Clone,
) {
    for _ in 0..ROUNDS {
        for queue in queues.clone().filter(|queue| action.queues().contains(queue)) {
            let path = directory.relative_path(queue, id);
            if ready(directory, &path).is_some() && apply_in(directory, progress, action, id, queue) {
                return;
            }
        }
    }
}

/// Whether the search is over.
fn apply_in(
    directory: &QueueDirectory,
    progress: &Progress,
    action: Action,
    id: &QueueId,
    queue: QueueName,
) -> bool {
    match action {
        Action::Delete => {
            for log in LOGS {
                remove(&directory.path(log, id));
            }
            let is_done = remove(&directory.path(queue, id));
            if is_done {
                progress.deleted();
                log::info!("{id}: removed");
            }
            is_done
        }
        Action::Expire | Action::ExpireAndRelease => {
            let Some(is_new) = expire(directory, &directory.relative_path(queue, id)) else { return false };
            if is_new {
                progress.expired();
                log::info!("{id}: expired");
            }
            if action == Action::ExpireAndRelease && queue == QueueName::Hold {
                return apply_in(directory, progress, Action::Release, id, queue);
            }
            true
        }
        Action::Hold => {
            let is_done = rename(directory, queue, QueueName::Hold, id);
            if is_done {
                progress.held();
                log::info!("{id}: placed on hold");
            }
            is_done
        }
        Action::Release => {
            let is_done = rename(directory, queue, QueueName::Deferred, id);
            if is_done {
                progress.released();
                log::info!("{id}: released from hold");
            }
            is_done
        }
        Action::Requeue => {
            let is_done = rename(directory, queue, QueueName::Maildrop, id);
            if is_done {
                touch(&directory.path(QueueName::Maildrop, id));
                progress.requeued();
                log::info!("{id}: requeued");
            }
            is_done
        }
    }
}

fn rename(directory: &QueueDirectory, from: QueueName, to: QueueName, id: &QueueId) -> bool {
    move_path(directory, &directory.relative_path(from, id), &directory.relative_path(to, id))
}

/// Renames by relative paths; whether there was something to rename.
pub(crate) fn move_path(directory: &QueueDirectory, from: &Path, to: &Path) -> bool {
    match directory.rename(from, to) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => maillog::fatal(format_args!(
            "rename file {} as {}: {}",
            from.display(),
            to.display(),
            sys::error_text(&error)
        )),
    }
}

/// Removes a file; whether there was one.
pub(crate) fn remove(path: &Path) -> bool {
    match fs::remove_file(path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => {
            maillog::fatal(format_args!("remove file {}: {}", path.display(), sys::error_text(&error)))
        }
    }
}

/// Gives both time stamps the present time, so that pickup takes the file now.
pub(crate) fn touch(path: &Path) {
    let now = SystemTime::now();
    let times = FileTimes::new().set_accessed(now).set_modified(now);
    let result = open(path).and_then(|file| file.set_times(times));
    if let Err(error) = result
        && error.kind() != ErrorKind::NotFound
    {
        log::warn!("update of file time stamps of {}: {}", path.display(), sys::error_text(&error));
    }
}

/// Sets the expiry bit of a complete file; whether it was not set before. `None` when the file has gone.
pub(crate) fn expire(directory: &QueueDirectory, path: &Path) -> Option<bool> {
    let mode = ready(directory, path)?.permissions().mode();
    if mode & FORCE_EXPIRE != 0 {
        return Some(false);
    }
    let result = open(&directory.resolve(path))
        .and_then(|file| file.set_permissions(Permissions::from_mode((mode | FORCE_EXPIRE) & 0o7777)));
    match result {
        Ok(()) => Some(true),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            log::warn!("expire file {}: {}", path.display(), sys::error_text(&error));
            None
        }
    }
}

/// The file itself, never one that a link leads to.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}
