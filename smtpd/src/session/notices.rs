//! When a session's transcript ends, and the postmaster is told.

use std::time::SystemTime;

use access::settings::classes::Classes;
use posting::{Kind, Notice};

use crate::session::standing::Standing;

/// How many times `smtpd_history_flush_threshold` a transcript may grow within one transaction.
const GROWTH_LIMIT: usize = 10;

impl Standing<'_> {
    /// A transaction has ended: a transcript that has grown long ends with it (observed: a short one goes on).
    pub(crate) fn transcript_end(&mut self) {
        if self.transcript.count() > self.params.history_flush_threshold {
            self.notify(None);
        }
    }

    /// A command comes: a transcript that has grown long may end, and one that grows and grows does.
    pub(crate) fn transcript_before_command(&mut self) {
        if self.params.ends_transcripts_early {
            self.transcript_end();
        } else {
            self.transcript_limit();
        }
    }

    /// Ends the transcript: sends a notice when something happened that `notify_classes` asks for.
    pub(crate) fn transcript_close(&mut self) {
        self.notify(None);
    }

    /// The client was lost: the notice, if any, says so.
    pub(crate) fn lost(&mut self, reason: &str) {
        self.notify(Some(reason));
    }

    /// Drops a transcript that grows and grows: a client that never ends a transaction must not fill the memory.
    pub(crate) fn transcript_limit(&mut self) {
        if self.transcript.count() > self.params.history_flush_threshold.saturating_mul(GROWTH_LIMIT) {
            self.notify(None);
        }
    }

    fn notify(&mut self, reason: Option<&str>) {
        let errors = self.transcript.errors();
        if !errors.intersects(self.params.notify_classes) {
            self.transcript.clear();
            return;
        }
        let (lines, errors) = self.transcript.take();
        let bounce =
            errors.intersects(Classes::BOUNCE) && self.params.notify_classes.intersects(Classes::BOUNCE);
        let recipient =
            if bounce { &self.params.bounce_notice_recipient } else { &self.params.error_notice_recipient };
        if !self.work() {
            return;
        }
        let notice = Notice {
            double_bounce_sender: &self.params.access.double_bounce_sender,
            header_from_format: &self.params.header_from_format,
            error_notice_recipient: &self.params.error_notice_recipient,
            program: "SMTP server",
            peer: &self.client.namaddr,
            lines: &lines,
            kind: Kind::Server(reason),
        };
        match notice.post(&self.params.posting, recipient, SystemTime::now()) {
            // cleanup has told why.
            Ok(()) | Err(posting::Error::Refused(..)) => {}
            Err(error) => log::warn!("postmaster notify: {error}"),
        }
    }
}
