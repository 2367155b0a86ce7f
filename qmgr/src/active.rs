//! Files become active: one at a time, as there is room (spec qmgr 5).

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use queue::{FORCE_EXPIRE, QueueId, QueueName};
use scheduler::MessageId;
use sys::flock::{self, Mode, Wait};

use crate::ending::{set_times, unix_time};
use crate::message;
use crate::scans::Found;
use crate::{QueueManager, Turn};

/// How long a file rests that an agent of another queue manager still delivers.
const BUSY_PAUSE: Duration = Duration::from_secs(60);

impl QueueManager {
    /// Takes a file into the active queue; false when it is not its time, or nothing came of it.
    pub(crate) fn admit(&mut self, found: &Found, turn: &mut Turn<'_>) -> bool {
        let entry = &found.entry;
        let Some(metadata) = queue::ready(&self.directory, &entry.path) else { return false };
        if !found.leniency.times && metadata.mtime() > unix_time() + 1 {
            return false;
        }
        if self.messages.has(&entry.id) {
            // Somebody has taken its file away, and back into the queue, while it waits for agents or one delivers it. What
            // the file does not tell yet would be done twice; a later scan finds it.
            log::info!("{}: skipped, still being delivered", entry.id);
            return false;
        }
        let active = self.directory.relative_path(QueueName::Active, &entry.id);
        if let Err(error) = self.directory.rename(&entry.path, &active) {
            let text = format!(
                "qmgr_active_feed: {}: rename from {} to active: {}",
                entry.id,
                entry.queue.as_str(),
                sys::error_text(&error)
            );
            if error.kind() != ErrorKind::NotFound {
                maillog::fatal(format_args!("{text}"));
            }
            log::warn!("{text}");
            return false;
        }
        let Some(file) = self.open(&entry.id) else { return false };
        let room = self.scheduler.room_for_new().0;
        let Ok(first) = message::read(&file, &active, &entry.id, room, self.params.addresses) else {
            self.move_to_corrupt(&entry.id);
            return false;
        };
        let mut message = first.message;
        self.look_at_mode(metadata.mode(), &file, &mut message);
        self.check_verp(&mut message);
        if self.params.confirm_delay_cleared && message.warning.is_some_and(|warning| warning.value < 0) {
            message.trace_flags |= ipc::delivery::RequestFlags::DELAY_WAS_TOLD;
        }
        let one_each = message.verp_delimiters.is_some();
        let ignores_deferred = found.leniency.deferred_transports;
        let is_to_return = message.is_expired && self.has_defer_log(&entry.id);
        if !is_to_return {
            self.forget_defer_log(&entry.id);
        }
        let id = self.scheduler.admit(one_each, Instant::now());
        if is_to_return {
            message.rest = None;
            self.messages.insert(id, message);
            self.scheduler.try_again(id);
        } else {
            self.messages.insert(id, message);
            self.assign(id, first.recipients, &file, ignores_deferred, turn);
        }
        drop(file);
        if self.scheduler.is_done(id) {
            self.requests_done(id, turn);
        }
        true
    }

    /// Opens an active file, if nobody has locked it.
    fn open(&self, id: &QueueId) -> Option<File> {
        let path = self.directory.path(QueueName::Active, id);
        let file = match sys::file::open_unnoticed(&path) {
            Ok(file) => file,
            Err(error) => {
                log::warn!("open active {id}: {}", sys::error_text(&error));
                self.move_to_corrupt(id);
                return None;
            }
        };
        match flock::lock(&file, Mode::Exclusive, Wait::No) {
            Ok(true) => Some(file),
            Ok(false) => {
                log::info!("{id}: skipped, still being delivered");
                self.put_off(id, QueueName::Incoming, BUSY_PAUSE);
                None
            }
            Err(error) => {
                maillog::fatal(format_args!("lock {}: {}", path.display(), sys::error_text(&error)))
            }
        }
    }

    /// What `postqueue -i` and `postsuper -e` have asked for.
    fn look_at_mode(&self, mode: u32, file: &File, message: &mut message::Message) {
        message.is_expired = mode & FORCE_EXPIRE != 0;
        if mode & queue::FLUSH != 0 {
            message.is_flushed = true;
            if let Err(error) = file.set_permissions(Permissions::from_mode(mode & 0o7777 & !queue::FLUSH)) {
                log::warn!("{}: remove the flush mode: {}", message.id, sys::error_text(&error));
            }
        }
    }

    fn check_verp(&self, message: &mut message::Message) {
        let Some(delimiters) = &message.verp_delimiters else { return };
        let id = &message.id;
        if message.sender.is_empty() {
            log::warn!("{id}: ignoring VERP request for null sender");
        } else if delimiters.len() != 2
            || !delimiters.iter().all(|delimiter| self.params.verp_delimiter_filter.contains(delimiter))
        {
            log::warn!("{id}: ignoring bad VERP request: \"{}\"", maillog::shown(delimiters));
        } else {
            return;
        }
        message.verp_delimiters = None;
    }

    fn has_defer_log(&self, id: &QueueId) -> bool {
        fs::metadata(self.directory.path(QueueName::Defer, id)).is_ok_and(|metadata| metadata.len() > 0)
    }

    /// The log of the attempt before: the new one names only who is deferred again.
    fn forget_defer_log(&self, id: &QueueId) {
        let path = self.directory.path(QueueName::Defer, id);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            maillog::fatal(format_args!("remove {}: {}", path.display(), sys::error_text(&error)));
        }
    }

    /// Reads further recipients of a message, as there is room.
    pub(crate) fn read_more(&mut self, id: MessageId, turn: &mut Turn<'_>) {
        let room = self.scheduler.room_for_more(id).0;
        let Some(message) = self.messages.get_mut(&id) else { return };
        let path = self.directory.path(QueueName::Active, &message.id);
        let opened = sys::file::open_unnoticed(&path);
        let read = match &opened {
            Ok(file) => message.read_more(file, &path, room.max(1)),
            Err(error) => {
                log::warn!("open {}: {}", path.display(), sys::error_text(error));
                Err(message::Corrupt)
            }
        };
        if let (Ok(recipients), Ok(file)) = (read, &opened) {
            return self.assign(id, recipients, file, false, turn);
        }
        message.is_corrupt = true;
        message.rest = None;
        let _ = self.scheduler.assign(id, Vec::new(), None, Instant::now());
    }

    /// What was active when the queue manager ended is looked at like new mail.
    pub(crate) fn give_back_active(&self) {
        let scan = match queue::Scan::new(&self.directory, QueueName::Active) {
            Ok(scan) => scan,
            Err(error) => maillog::fatal(format_args!("open directory active: {}", sys::error_text(&error))),
        };
        for entry in scan {
            let incoming = self.directory.relative_path(QueueName::Incoming, &entry.id);
            let path = self.directory.resolve(&entry.path).into_owned();
            let moved =
                set_times(&path, Duration::ZERO).and_then(|()| self.directory.rename(&entry.path, &incoming));
            match moved {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    log::warn!("rename {} from active to incoming: {}", entry.id, sys::error_text(&error));
                }
                Err(error) => maillog::fatal(format_args!(
                    "rename {} from active to incoming: {}",
                    entry.id,
                    sys::error_text(&error)
                )),
            }
        }
    }
}
