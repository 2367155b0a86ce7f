//! All requests of a message are done: notices, reports, and where its file goes (spec qmgr 17 to 21).
//!
//! The steps follow each other strictly; a step that has asked a bounce service goes on with the answer.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipc::bounce::{FLAG_DELETE, NoticeKind};
use ipc::delivery::RequestFlags;
use metrics::Family;
use queue::{Editor, QueueName, notify, qmgr_flags};
use scheduler::MessageId;

use crate::notices::Asked;
use crate::{QueueManager, Turn};

/// What was asked of a bounce service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The notice about recipients that failed.
    Bounce,
    /// The report on deliveries.
    Trace,
    /// The notice that the message is given up.
    Expire,
    /// The notice that it is late.
    Warn,
}

impl QueueManager {
    /// Begins, unless it has begun: requests that came of a further reading may be done before a notice is.
    pub(crate) fn requests_done(&mut self, id: MessageId, turn: &mut Turn<'_>) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        if !std::mem::replace(&mut message.is_ending, true) {
            self.send_bounces(id, turn);
        }
    }

    /// What a bounce service was asked is done, or not.
    pub(crate) fn step_done(&mut self, id: MessageId, step: Step, is_done: bool, turn: &mut Turn<'_>) {
        match step {
            Step::Bounce => {
                if !is_done {
                    self.scheduler.try_again(id);
                }
                self.read_on(id, turn);
            }
            Step::Trace => {
                if is_done {
                    self.forget_trace_request(id);
                } else {
                    self.scheduler.try_again(id);
                }
                self.delay(id, turn);
            }
            Step::Expire => self.end(id, !is_done),
            Step::Warn => {
                if is_done {
                    self.forget_warning(id);
                }
                self.end(id, true);
            }
        }
    }

    /// Step 1: recipients that failed, now or in an attempt before that did not come so far.
    fn send_bounces(&mut self, id: MessageId, turn: &mut Turn<'_>) {
        let Some(message) = self.messages.get(&id) else { return };
        let path = self.directory.path(QueueName::Bounce, &message.id);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > 0 => {
                let verp = message.verp_delimiters.is_some() && !self.params.disable_verp_bounces;
                let (kind, word) = self.flush_kind(verp, "bounce");
                let service = self.params.bounce_service_name.clone();
                self.ask(id, Step::Bounce, Asked { service: &service, kind, flags: 0, word }, turn);
            }
            Ok(_) => {
                let _ = fs::remove_file(&path);
                self.read_on(id, turn);
            }
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    log::warn!("stat {}: {}", path.display(), sys::error_text(&error));
                }
                self.read_on(id, turn);
            }
        }
    }

    /// The request that closes a log, and the word for its failure.
    fn flush_kind(&self, verp: bool, word: &'static str) -> (NoticeKind, &'static str) {
        match verp {
            true if self.params.postfix_minor >= 11 => (NoticeKind::Verp, "verp-bounce"),
            true => (NoticeKind::Verp, "verp"),
            false => (NoticeKind::Flush, word),
        }
    }

    /// Steps 2 and 3: recipients that are not read yet.
    fn read_on(&mut self, id: MessageId, turn: &mut Turn<'_>) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        let path = self.directory.relative_path(QueueName::Active, &message.id);
        let is_marked = self.scheduler.must_try_again(id) && queue::ready(&self.directory, &path).is_none();
        if message.is_corrupt || is_marked {
            return self.set_aside(id);
        }
        if message.rest.is_some() && self.scheduler.is_done(id) {
            self.read_more(id, turn);
            let Some(message) = self.messages.get_mut(&id) else { return };
            if message.is_corrupt {
                return self.set_aside(id);
            }
            if self.scheduler.is_done(id) {
                return self.send_bounces(id, turn);
            }
        }
        if !self.scheduler.is_done(id) {
            if let Some(message) = self.messages.get_mut(&id) {
                message.is_ending = false;
            }
            return;
        }
        self.report(id, turn);
    }

    /// Step 4: a report was asked for.
    fn report(&mut self, id: MessageId, turn: &mut Turn<'_>) {
        let Some(message) = self.messages.get(&id) else { return };
        let traced = RequestFlags::USER_VERIFY | RequestFlags::RECORD | RequestFlags::DELAY_WAS_TOLD;
        let notify_flags = message.size.qmgr_flags >> qmgr_flags::NOTIFY_SHIFT;
        if message.trace_flags.intersects(traced) || notify_flags & notify::SUCCESS != 0 {
            let service = self.params.trace_service_name.clone();
            let asked = Asked {
                service: &service,
                kind: NoticeKind::Trace,
                flags: message.trace_flags.bits(),
                word: "trace",
            };
            self.ask(id, Step::Trace, asked, turn);
        } else {
            self.delay(id, turn);
        }
    }

    /// Step 5: too old, or late.
    fn delay(&mut self, id: MessageId, turn: &mut Turn<'_>) {
        if !self.scheduler.must_try_again(id) {
            return self.end(id, false);
        }
        let Some(message) = self.messages.get(&id) else { return };
        let now = unix_time();
        let lifetime = if message.sender.is_empty() {
            self.params.bounce_queue_lifetime
        } else {
            self.params.maximal_queue_lifetime
        };
        let service = self.params.defer_service_name.clone();
        if message.is_expired || now >= message.created.saturating_add(seconds(lifetime)) {
            let word = if message.is_expired { "force-expired" } else { "expired" };
            let sender = self.params.addresses.shown(&message.sender);
            metrics::count(Family::QmgrExpired, &[word]);
            log::info!("{}: from=<{sender}>, status={word}, returned to sender", message.id);
            let verp = message.verp_delimiters.is_some() && !self.params.disable_verp_bounces;
            let (kind, word) = self.flush_kind(verp, "bounce");
            let asked = Asked { service: &service, kind, flags: FLAG_DELETE, word };
            return self.ask(id, Step::Expire, asked, turn);
        }
        match message.warning {
            Some(warning) if warning.value > 0 && now >= warning.value - 1 => {
                let asked =
                    Asked { service: &service, kind: NoticeKind::Warn, flags: 0, word: "delay warning" };
                self.ask(id, Step::Warn, asked, turn);
            }
            _ => self.end(id, true),
        }
    }

    /// Step 6.
    fn end(&mut self, id: MessageId, again: bool) {
        let Some(message) = self.messages.remove(&id) else { return };
        self.scheduler.release(id);
        let path = self.directory.path(QueueName::Active, &message.id);
        if !again {
            match fs::remove_file(&path) {
                Ok(()) => {
                    metrics::count(Family::QmgrRemoved, &[]);
                    log::info!("{}: removed", message.id);
                }
                Err(error) => log::warn!("remove {}: {}", path.display(), sys::error_text(&error)),
            }
            return;
        }
        let age = Duration::from_secs(u64::try_from(unix_time() - message.created).unwrap_or(0));
        let delay = age.min(self.params.maximal_backoff_time).max(self.params.minimal_backoff_time);
        self.put_off(&message.id, QueueName::Deferred, with_jitter(delay, self.params.backoff_jitter));
    }

    /// Moves an active file to another queue, where it is not to be looked at before `delay` is over.
    pub(crate) fn put_off(&self, id: &queue::QueueId, to: QueueName, delay: Duration) {
        let path = self.directory.path(QueueName::Active, id);
        if let Err(error) = set_times(&path, delay) {
            if error.kind() != ErrorKind::NotFound {
                maillog::fatal(format_args!(
                    "update {} time stamps: {}",
                    path.display(),
                    sys::error_text(&error)
                ));
            }
            log::warn!("update {} time stamps: {}", path.display(), sys::error_text(&error));
        }
        if let Err(error) = self.directory.move_file(id, QueueName::Active, to) {
            let text = format!("rename {id} from active to {}: {}", to.as_str(), sys::error_text(&error));
            if error.kind() == ErrorKind::NotFound {
                log::warn!("{text}");
            } else {
                maillog::fatal(format_args!("{text}"));
            }
        }
    }

    /// A file that cannot be read goes where nobody looks at it.
    pub(crate) fn set_aside(&mut self, id: MessageId) {
        self.scheduler.release(id);
        if let Some(message) = self.messages.remove(&id) {
            self.move_to_corrupt(&message.id);
        }
    }

    pub(crate) fn move_to_corrupt(&self, id: &queue::QueueId) {
        match self.directory.move_file(id, QueueName::Active, QueueName::Corrupt) {
            Ok(()) => {
                log::warn!("saving corrupt file \"{id}\" from queue \"active\" to queue \"corrupt\"");
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => maillog::fatal(format_args!(
                "rename {id} from active to corrupt: {}",
                sys::error_text(&error)
            )),
        }
    }

    /// A report that was asked for by `sendmail -v` is sent once.
    fn forget_trace_request(&self, id: MessageId) {
        let Some(message) = self.messages.get(&id) else { return };
        let Some(record) = message.trace_flags_record else { return };
        if record.value == i64::from(RequestFlags::RECORD.bits()) {
            self.edit(message, |editor| editor.kill_attribute(record.offset));
        }
    }

    fn forget_warning(&self, id: MessageId) {
        let Some(message) = self.messages.get(&id) else { return };
        if let Some(record) = message.warning {
            self.edit(message, |editor| editor.rewrite_warning(record.offset, -1));
        }
    }

    fn edit(
        &self,
        message: &crate::message::Message,
        change: impl FnOnce(&Editor<'_>) -> Result<(), queue::EditError>,
    ) {
        let path = self.directory.path(QueueName::Active, &message.id);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let outcome = match &file {
            Ok(file) => Editor::new(file, path.display().to_string())
                .and_then(|editor| change(&editor))
                .map_err(|error| error.to_string()),
            Err(error) => Err(format!("open {}: {}", path.display(), sys::error_text(error))),
        };
        if let Err(text) = outcome {
            log::warn!("{text}");
        }
    }
}

/// A pause, longer by up to so many percent: what was put off together need not come back together.
fn with_jitter(delay: Duration, percent: u32) -> Duration {
    delay + (delay * percent / 100).mul_f64(rand::random())
}

/// Sets both time stamps to so long from now.
pub(crate) fn set_times(path: &std::path::Path, delay: Duration) -> io::Result<()> {
    let now = u64::try_from(unix_time()).unwrap_or(0);
    let then = UNIX_EPOCH + Duration::from_secs(now) + delay;
    File::open(path)?.set_times(FileTimes::new().set_accessed(then).set_modified(then))
}

pub(crate) fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_adds() {
        let pause = Duration::from_secs(4000);
        assert_eq!(with_jitter(pause, 0), pause);
        let found: Vec<Duration> = (0..200).map(|_| with_jitter(pause, 25)).collect();
        assert!(found.iter().all(|delay| (pause..pause * 5 / 4).contains(delay)), "{found:?}");
        let (shortest, longest) = (found.iter().min(), found.iter().max());
        let spread = longest.zip(shortest).map(|(longest, shortest)| *longest - *shortest);
        assert!(spread > Some(Duration::from_secs(500)), "{spread:?}");
    }
}
