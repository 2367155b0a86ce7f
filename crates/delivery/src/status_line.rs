//! The line itself.

use std::fmt;

use ipc::bounce::{Outcome, Recipient};
use maillog::{AddressFormat, shown};
use metrics::Family;
use queue::QueueId;

use crate::Delays;

/// What became of a recipient.
#[derive(Debug, Clone, Copy)]
pub struct StatusLine<'a> {
    /// Whose status it is.
    pub recipient: &'a Recipient<'a>,
    /// Who took it, or refused it: a host, a transport, or `none`.
    pub relay: &'a str,
    /// How often its connection had been used before.
    pub reuses: i32,
    /// What became of TLS; nothing where that is not told.
    pub tls: &'a str,
    /// How long it took.
    pub delays: Delays,
    /// Status code and reason.
    pub outcome: &'a Outcome<'a>,
    /// The word for it.
    pub status: &'a str,
    /// `info_log_address_format`
    pub addresses: AddressFormat,
}

impl StatusLine<'_> {
    /// Logs it.
    pub fn log(&self, id: &QueueId) {
        self.count();
        log::info!("{id}: {self}");
    }
}

impl StatusLine<'_> {
    fn count(&self) {
        if !metrics::is_on() {
            return;
        }
        let dsn = self.outcome.status.to_string();
        let class = dsn.get(..1).unwrap_or("");
        metrics::count(Family::Deliveries, &[maillog::process_name(), self.status, class]);
        for (step, span) in self.delays.spans() {
            metrics::observe(Family::DeliveryDelay, &[step], span);
        }
    }
}

/// Whether addresses differ in more than case.
fn is_other(one: &[u8], other: &[u8]) -> bool {
    let folded = |address| address::fold(address, maillog::shows_utf8());
    !one.eq_ignore_ascii_case(other) && folded(one) != folded(other)
}

impl fmt::Display for StatusLine<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recipient = self.recipient;
        write!(out, "to=<{}>, ", self.addresses.shown(recipient.address))?;
        if !recipient.original.is_empty() && is_other(recipient.original, recipient.address) {
            write!(out, "orig_to=<{}>, ", self.addresses.shown(recipient.original))?;
        }
        let reason = shown(self.outcome.reason);
        let (dsn, status) = (self.outcome.status, self.status);
        write!(out, "relay={}, ", self.relay)?;
        if self.reuses > 0 {
            write!(out, "conn_use={}, ", self.reuses.saturating_add(1))?;
        }
        write!(out, "{}, ", self.delays)?;
        if !self.tls.is_empty() {
            write!(out, "tls={}, ", self.tls)?;
        }
        write!(out, "dsn={dsn}, status={status} ({reason})")
    }
}
