//! When a session is at work (see [`crate::services::permits`]).

use crate::log;
use crate::replies;
use crate::session::statistics::Verb;
use crate::session::{Session, Step};
use crate::settings::classes::Classes;

impl Session<'_> {
    /// Begins to work, unless it is at work. `false` when no permit has become free in time.
    #[must_use]
    pub fn work(&mut self) -> bool {
        let can = self.work.take();
        if !can {
            ::log::warn!(
                "too few open files for another session at work: {}",
                maillog::shown(&self.client.namaddr)
            );
            self.transcript.error(Classes::RESOURCE);
        }
        can
    }

    /// Ends its work, unless something is open: the session now waits for its client.
    pub fn rest(&mut self) {
        let open = self.transaction.is_some() || self.destination.is_some() || self.sasl.dialogue.is_some();
        if !open {
            self.work.end();
        }
    }

    /// Takes a permit for a command that wants one; what to do when there is none.
    pub fn work_on(&mut self, verb: Verb) -> Option<Step> {
        if !verb.is_work() || self.work() {
            return None;
        }
        if verb == Verb::Mail {
            log::reject(&self.request(None, None), "MAIL", replies::NO_STORAGE.as_bytes());
            self.reply(replies::NO_STORAGE);
            return Some(self.failed(Step::Next));
        }
        self.end_without_work();
        Some(Step::Close)
    }

    /// Tells the client that the session cannot go on.
    pub fn end_without_work(&mut self) {
        self.reply(replies::local_error(&self.params.myhostname));
    }
}
