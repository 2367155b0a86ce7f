//! What a session needs open files for, where the sessions of a process share them (`smtpd_sessions_per_process`).
//!
//! An idle session has its client, a connection to anvil when the client is counted, and those to mail filters. At work it needs more: a
//! connection to cleanup or to the filter, the spool's file, and for a look-up a socket. It takes a [`Permit`] for all of
//! that before it begins, and has it while a command runs that looks something up, and for as long as a mail transaction
//! or a login is open. Without one MAIL is put off with 452, and the session ends at any other command.

use ipc::pool::KEPT;
use server::{Descriptors, Permit, Permits};

use crate::proxy::ProxyParams;
use crate::settings::params::SmtpdParams;

/// Tables, listeners, the log, connections to trivial-rewrite, tlsmgr, proxymap.
const PROCESS: usize = 100;
/// Kinds of connections of which those that nobody uses are kept: to policy servers, verify, the authentication server,
/// filters without a limit.
const KEPT_KINDS: usize = 4;
/// The connection to cleanup or to the filter, and one for a look-up.
const WORK: usize = 2;

/// What the sessions of a process need.
pub(crate) fn descriptors(params: &SmtpdParams, proxy: Option<&ProxyParams>) -> Descriptors {
    let filters = proxy.map_or(0, |proxy| proxy.filters.kept());
    let spooled = proxy.is_some_and(|proxy| proxy.speed_adjust);
    Descriptors {
        process: PROCESS + KEPT_KINDS * KEPT + filters,
        session: 1 + usize::from(params.limits.any()) + params.milters.most(),
        work: WORK + usize::from(spooled),
    }
}

/// A session's part in it.
#[derive(Debug, Default)]
pub(crate) struct Work<'a> {
    /// Without any, open files are not counted.
    permits: Option<&'a Permits>,
    permit: Option<Permit<'a>>,
}

impl<'a> Work<'a> {
    /// The work of a session that begins: it looks up its client's name first. `None` when no permit is free.
    pub(crate) fn begin(permits: &'a Permits) -> Option<Self> {
        permits.take().map(|permit| Self { permits: Some(permits), permit: Some(permit) })
    }

    /// Takes a permit, unless there is one. `false` when none has become free in time.
    #[must_use]
    pub(crate) fn take(&mut self) -> bool {
        let Some(permits) = self.permits.filter(|_| self.permit.is_none()) else { return true };
        self.permit = permits.take();
        self.permit.is_some()
    }
    /// Gives it back.
    pub(crate) fn end(&mut self) {
        self.permit = None;
    }
}
