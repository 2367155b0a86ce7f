//! What a session needs open files for, where the sessions of a process share them (`smtpd_sessions_per_process`).
//!
//! An idle session has its client, and a connection to anvil when the client is counted. At work it needs more: a
//! connection to cleanup or to the filter, the spool's file, and for a look-up a socket. It takes a [`Permit`] for all of
//! that before it begins, and has it while a command runs that looks something up, and for as long as a mail transaction
//! or a login is open. Without one MAIL is put off with 452, and the session ends at any other command.

use server::{Descriptors, Permit, Permits};

use crate::log;
use crate::pool::KEPT;
use crate::proxy::ProxyParams;
use crate::replies;
use crate::session::statistics::Verb;
use crate::session::{Session, Step};
use crate::settings::classes::Classes;
use crate::settings::params::SmtpdParams;

/// Tables, listeners, the log, connections to trivial-rewrite, tlsmgr, proxymap.
const PROCESS: usize = 100;
/// Kinds of connections of which those that nobody uses are kept: to policy servers, verify, the authentication server,
/// filters without a limit.
const KEPT_KINDS: usize = 4;
/// The connection to cleanup or to the filter, and one for a look-up.
const WORK: usize = 2;

/// What the sessions of a process need.
pub fn descriptors(params: &SmtpdParams, proxy: Option<&ProxyParams>) -> Descriptors {
    let filters = proxy.map_or(0, |proxy| proxy.filters.kept());
    let spooled = proxy.is_some_and(|proxy| proxy.speed_adjust);
    Descriptors {
        process: PROCESS + KEPT_KINDS * KEPT + filters,
        session: 1 + usize::from(params.limits.any()),
        work: WORK + usize::from(spooled),
    }
}

/// A session's part in it.
#[derive(Debug, Default)]
pub struct Work<'a> {
    /// Without any, open files are not counted.
    permits: Option<&'a Permits>,
    permit: Option<Permit<'a>>,
}

impl<'a> Work<'a> {
    /// The work of a session that begins: it looks up its client's name first. `None` when no permit is free.
    pub fn begin(permits: &'a Permits) -> Option<Self> {
        permits.take().map(|permit| Self { permits: Some(permits), permit: Some(permit) })
    }

    fn take(&mut self) -> bool {
        let Some(permits) = self.permits.filter(|_| self.permit.is_none()) else { return true };
        self.permit = permits.take();
        self.permit.is_some()
    }
}

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
            self.work.permit = None;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use server::Permits;

    use crate::conversation::contained::tests::Server;
    use crate::session::{Pending, Session, Step};

    struct Nothing;

    impl Pending for Nothing {
        fn pending(&mut self) -> Vec<u8> {
            Vec::new()
        }
    }

    /// Says this, and waits for the next command.
    fn say(session: &mut Session<'_>, line: &str) -> (String, Step) {
        let step = session.command(line.as_bytes(), &mut Nothing);
        session.rest();
        (String::from_utf8(std::mem::take(&mut session.replies.text)).unwrap(), step)
    }

    #[test]
    fn a_permit_is_held_for_a_transaction_and_asked_for_once() {
        let server = Server::new("work");
        let permits = Permits::new(1, Duration::from_millis(20));
        let mut one = server.session(&permits);
        one.rest();
        let mut other = server.session(&permits);
        other.rest();
        let ok = "250 2.1.0 Ok\r\n";
        let none = "452 4.3.1 Insufficient system storage\r\n";
        let end = "421 4.3.0 mx.example.com Server local error\r\n";
        assert_eq!(say(&mut one, "MAIL FROM:<>").0, ok);
        assert_eq!(say(&mut other, "MAIL FROM:<>"), (none.into(), Step::Next));
        assert_eq!(say(&mut other, "NOOP").0, "250 2.0.0 Ok\r\n");
        assert_eq!(say(&mut one, "HELO client.example.net").0, "250 mx.example.com\r\n");
        assert_eq!(say(&mut other, "MAIL FROM:<>").0, ok, "HELO has ended the transaction");
        assert_eq!(say(&mut one, "MAIL FROM:<>").0, none);
        assert_eq!(say(&mut one, "HELO client.example.net"), (end.into(), Step::Close));
        drop(other);
        assert_eq!(say(&mut one, "RSET").0, "250 2.0.0 Ok\r\n");
        assert!(permits.take().is_some(), "who has gone, has no permit");
    }
}
