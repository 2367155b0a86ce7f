//! When a session is at work (see [`crate::services::permits`]).

use access::replies;
use access::settings::classes::Classes;

use crate::session::Session;
use crate::session::standing::Standing;

impl Standing<'_> {
    /// Begins to work, unless it is at work. `false` when no permit has become free in time.
    #[must_use]
    pub(crate) fn work(&mut self) -> bool {
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
}

impl Session<'_, '_> {
    /// Ends its work, unless something is open: the session now waits for its client.
    pub(crate) fn rest(&mut self) {
        let open = self.transaction().is_some() || self.sasl.dialogue.is_some();
        if !open {
            self.work.end();
        }
    }

    /// Tells the client that the session cannot go on.
    pub(crate) fn end_without_work(&mut self) {
        self.reply(replies::local_error(&self.params.access.myhostname));
    }
}
