//! The start of a session, and its start anew after XCLIENT: what is found out once, limits, greeting (smtpd chapter,
//! section 1.1), and its end when the client is lost.

use crate::log;
use crate::params::BareNewline;
use crate::replies;
use crate::session::{Pending, Session};
use crate::tables::Untold;
use crate::transcript::Classes;
use crate::verb::helo::Discard;

impl Session<'_> {
    /// Finds out what the client is allowed; once, for the client that connected.
    ///
    /// # Errors
    /// A list cannot tell: the session ends with the reply that was made.
    pub fn authorise(&mut self) -> Result<(), Untold> {
        self.xclient_allowed =
            self.told(self.tables.xclient_hosts.has(&self.client), "command XCLIENT should be allowed from")?;
        self.xforward_allowed = self
            .told(self.tables.xforward_hosts.has(&self.client), "command XFORWARD should be allowed from")?;
        self.exempt_from_bare_newline();
        Ok(())
    }

    fn told(&mut self, answer: Result<bool, Untold>, question: &str) -> Result<bool, Untold> {
        answer.inspect_err(|_| {
            ::log::warn!("don't know if {question} {}", maillog::shown(&self.client.namaddr));
            let text = replies::local_data_error(&self.params.myhostname);
            log::reject(self, self.stage, text.as_bytes(), None, None);
            self.reply(text);
            self.transcript.error(Classes::DATA);
        })
    }

    /// After XCLIENT: the new client may be one that may not use it again. XFORWARD stays as it was.
    pub fn authorise_again(&mut self) {
        self.xclient_allowed = self.tables.xclient_hosts.has(&self.client).unwrap_or(false);
        self.exempt_from_bare_newline();
        self.denied = None;
    }

    fn exempt_from_bare_newline(&mut self) {
        self.bare_newline_exempt = self.params.forbid_bare_newline != BareNewline::Accept
            && self.tables.bare_newline_exclusions.has(&self.client).unwrap_or(false);
    }

    /// Early talkers, limits, connect restrictions, greeting. `false` ends the session after the reply that was made.
    pub fn greet(&mut self, pending: &mut dyn Pending) -> bool {
        if !self.behind_front_end && self.early_input(pending).is_some() {
            return false;
        }
        if let Some(text) = self.connection_limits() {
            self.reply(text);
            return false;
        }
        self.discard = Discard::parse(&self.params.discard_ehlo_keywords);
        if !self.params.delay_reject {
            if let Some(text) = self.check_client() {
                self.reply(&text);
                self.denied = Some(text);
                self.error_count = self.error_count.saturating_add(1);
                return !self.hangup;
            }
        }
        let text = format!("220 {}", self.params.banner);
        self.reply(text);
        true
    }

    /// A command line that ends in LF alone, in reject mode: the stage is that of the command before.
    pub fn refuse_bare_newline(&mut self) -> crate::session::Step {
        self.log_bare_newline();
        let text =
            replies::bare_newline(self.params.forbid_bare_newline_reject_code, &self.params.myhostname);
        self.reply(text);
        crate::session::Step::Close
    }
}
