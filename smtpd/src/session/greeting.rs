//! The start of a session, and its start anew after XCLIENT: what is found out once, limits, greeting (spec smtpd
//! 1.1), and its end when the client is lost.

use std::fmt;

use access::client::list::Untold;
use access::replies;
use access::settings::classes::Classes;
use lookup::KeyForm;
use smtp::stream::LineEnd;

use crate::log;
use crate::session::discard::Discard;
use crate::session::standing::{Replies, Standing};
use crate::session::{Pending, Session, Step};
use crate::settings::params::BareNewline;
use crate::transaction::phase::InPhase;

impl Standing<'_> {
    /// Finds out what the client is allowed; once, for the client that connected. A list that cannot tell matters when
    /// the client comes to what it decides.
    pub(crate) fn authorise(&mut self) {
        self.xclient_allowed = self.tables.xclient_hosts.has(&self.client);
        self.xforward_allowed = self.tables.xforward_hosts.has(&self.client);
        self.exempt_from_bare_newline();
    }

    /// The EHLO keywords that this client is not told.
    fn select_discarded_keywords(&mut self) {
        let found = self.tables.discard_ehlo_keywords.find(&self.client.address, KeyForm::Full);
        self.discard_unknown = found.is_err();
        self.discard = match found {
            Ok(Some(words)) => Discard::parse(&String::from_utf8_lossy(&words)),
            Ok(None) | Err(_) => Discard::parse(&self.params.discard_ehlo_keywords),
        };
    }

    /// After XCLIENT: the new client may be one that may not use it again. XFORWARD stays as it was.
    pub(crate) fn authorise_again(&mut self) {
        self.xclient_allowed = self.tables.xclient_hosts.has(&self.client);
        self.exempt_from_bare_newline();
        self.denied = None;
    }

    fn exempt_from_bare_newline(&mut self) {
        self.bare_newline_exempt = self.params.forbid_bare_newline != BareNewline::Accept
            && self.tables.bare_newline_exclusions.has(&self.client).unwrap_or(false);
    }

    /// Remembers the end of a command for what is told when the client leaves.
    pub(crate) fn note_line_end(&mut self, end: LineEnd) {
        self.statistics.bare_newlines |= end == LineEnd::BareLf && self.bare_newline() == BareNewline::Note;
    }
}

impl<P: InPhase> Session<'_, '_, P> {
    /// The answer of such a list; without one the session ends.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn told(
        &mut self,
        answer: Result<bool, Untold>,
        question: fmt::Arguments<'_>,
    ) -> Result<bool, Step> {
        answer.map_err(|Untold| {
            ::log::warn!("don't know if {question} {}", maillog::shown(&self.client.namaddr));
            self.local_data_error();
            Step::Close
        })
    }

    /// Ends the session: a look-up failed that decides what the client may do.
    pub(crate) fn local_data_error(&mut self) {
        let text = replies::local_data_error(&self.params.access.myhostname);
        log::local_data_error(self.queue_id(), self.stage, &self.client, &text);
        self.reply(text);
        self.transcript.error(Classes::DATA);
    }
}

impl Session<'_, '_> {
    /// Early talkers, limits, connect restrictions, greeting. `false` ends the session after the reply that was made.
    pub(crate) fn greet(&mut self, pending: &mut dyn Pending) -> bool {
        if !self.greeting(pending) {
            return false;
        }
        // Postfix dies here without having sent its greeting (observed, 3.7.11).
        let started = self.start_sasl();
        if !started {
            self.replies = Replies::default();
        }
        started
    }

    fn greeting(&mut self, pending: &mut dyn Pending) -> bool {
        if !self.work() {
            self.end_without_work();
            return false;
        }
        if !self.behind_front_end && self.early_input(pending).is_some() {
            return false;
        }
        if let Some(text) = self.connection_limits() {
            self.reply(text);
            return false;
        }
        self.select_discarded_keywords();
        if !self.params.access.delay_reject
            && let Some(text) = self.check_client()
        {
            self.reply(&text);
            self.denied = Some(text);
            self.error_count = self.error_count.saturating_add(1);
            return !self.hangup;
        }
        if !self.find_milters() {
            return false;
        }
        match self.tell_of_connect() {
            Some(text) => {
                self.reply(text);
                // As where restrictions refuse it (observed, 3.7.11).
                self.error_count = self.error_count.saturating_add(1);
                !self.hangup
            }
            None => {
                self.reply(["220 ", &self.params.banner].concat());
                true
            }
        }
    }

    /// A command line that ends in LF alone, in reject mode: the stage is that of the command before.
    pub(crate) fn refuse_bare_newline(&mut self) -> Step {
        self.log_bare_newline();
        let text = replies::bare_newline(
            self.params.forbid_bare_newline_reject_code,
            &self.params.access.myhostname,
        );
        self.reply(text);
        Step::Close
    }
}
