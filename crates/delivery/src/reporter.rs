//! Who is told what became of a recipient: the bounce, defer and trace services, verify, flush (spec ipc 14.2).

use std::cell::RefCell;
use std::time::Duration;

use config::Globals;
use ipc::bounce::{Notice, Service};
use ipc::client::Timers;
use ipc::delivery::{Recipient, RequestFlags};
use ipc::dialect::Dialect;
use ipc::{flush, verify};
use maillog::AddressFormat;
use queue::{QueueId, notify};

use crate::relay::Relay;
use crate::status::Status;

/// The way to those who are told, one for each thread that delivers.
#[derive(Debug)]
pub(crate) struct Reporter {
    bounce: Named,
    defer: Named,
    trace: Named,
    verify: RefCell<verify::Client>,
    flush: String,
    ipc_timeout: Duration,
    pub(crate) soft_bounce: bool,
    pub(crate) addresses: AddressFormat,
    pub(crate) digits: usize,
}

/// One of the three services.
#[derive(Debug)]
struct Named {
    name: String,
    service: Service,
}

/// A recipient of a message, and what they are told with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a QueueId,
    pub(crate) flags: RequestFlags,
    pub(crate) recipient: &'a Recipient,
    pub(crate) relay: Relay<'a>,
}

impl Reporter {
    /// As the shared settings say; `addresses` is `info_log_address_format`.
    pub(crate) fn new(globals: &Globals, addresses: AddressFormat) -> Self {
        let dialect = Dialect::of_postfix_3(globals.postfix_minor);
        let named = |name: &str| Named {
            name: name.to_owned(),
            service: Service::new(name, globals.ipc_timeout, dialect),
        };
        let timers = Timers { timeout: globals.ipc_timeout, idle: globals.ipc_idle, ttl: globals.ipc_ttl };
        Self {
            bounce: named(&globals.bounce_service_name),
            defer: named(&globals.defer_service_name),
            trace: named(&globals.trace_service_name),
            verify: RefCell::new(verify::Client::new(&globals.address_verify_service_name, timers)),
            flush: format!("public/{}", globals.flush_service_name),
            ipc_timeout: globals.ipc_timeout,
            soft_bounce: globals.soft_bounce,
            addresses,
            digits: usize::try_from(globals.delay_logging_resolution_limit).unwrap_or_default(),
        }
    }

    /// Adds a recipient that failed for good.
    #[must_use]
    pub(crate) fn bounce(&self, subject: Subject<'_>, status: &Status) -> bool {
        self.bounce.append(subject, status, "failed")
    }

    /// Has a recipient that failed for good told of at once.
    #[must_use]
    pub(crate) fn bounce_one(&self, notice: &Notice<'_>, subject: Subject<'_>, status: &Status) -> bool {
        let outcome = status.outcome("failed");
        let flags = subject.flags.trace().bits();
        self.bounce.service.one(flags, notice, &subject.recipient.as_reported(), &outcome)
    }

    /// Adds a recipient that is tried again.
    #[must_use]
    pub(crate) fn defer(&self, subject: Subject<'_>, status: &Status) -> bool {
        self.defer.append(subject, status, "delayed")
    }

    /// Adds what became of a recipient.
    #[must_use]
    pub(crate) fn trace(&self, subject: Subject<'_>, status: &Status, action: &str) -> bool {
        let told = if subject.relay.name == "none" {
            self.trace.append(subject, status, action)
        } else {
            let way = format!("delivery via {}: ", subject.relay.name);
            let text = [way.as_bytes(), &status.text].concat();
            self.trace.append(subject, &Status { text, ..status.clone() }, action)
        };
        if !told {
            log::warn!("{}: {} service failure", subject.id, self.trace.name);
        }
        told
    }

    /// As [`Self::trace`], where somebody has asked for it.
    #[must_use]
    pub(crate) fn trace_if_recorded(&self, subject: Subject<'_>, status: &Status, action: &str) -> bool {
        !subject.flags.contains(RequestFlags::RECORD) || self.trace(subject, status, action)
    }

    /// As [`Self::trace`], for a recipient that was delivered to: where somebody has asked for it, or waits to hear that a
    /// delay is over; and once more for NOTIFY=SUCCESS.
    #[must_use]
    pub(crate) fn trace_delivery(&self, subject: Subject<'_>, status: &Status, action: &str) -> bool {
        let notify_flags = i64::from(subject.recipient.notify_flags);
        let ends_delay = subject.flags.contains(RequestFlags::DELAY_WAS_TOLD)
            && (notify_flags == 0 || notify_flags & notify::DELAY != 0);
        let is_recorded = subject.flags.contains(RequestFlags::RECORD) || ends_delay;
        (!is_recorded || self.trace(subject, status, action))
            && (notify_flags & notify::SUCCESS == 0 || self.trace(subject, status, action))
    }

    /// Tells what a probe has found.
    #[must_use]
    pub(crate) fn verified(&self, recipient: &Recipient, status: verify::Status, text: &[u8]) -> bool {
        let answer = verify::Answer { status, reason: text.to_vec() };
        self.verify.borrow_mut().update(&recipient.address, &answer)
    }

    /// Tells the flush service that a message waits for the recipient's site.
    pub(crate) fn waits(&self, subject: Subject<'_>) {
        let address = &subject.recipient.address;
        let Some(at) = address.iter().rposition(|&byte| byte == b'@') else { return };
        let Ok(site) = std::str::from_utf8(&address[at + 1..]) else { return };
        // A site that is not logged is none of the agent's business.
        if flush::add(&self.flush, self.ipc_timeout, site, subject.id.as_str()) == flush::Status::Fail {
            log::warn!("{}: {} service failure", subject.id, self.flush.trim_start_matches("public/"));
        }
    }

    /// Why a recipient is deferred of which these two could not be told.
    pub(crate) fn bounce_failure(&self) -> Status {
        Status::new("4.3.0", format!("{} or {} service failure", self.bounce.name, self.trace.name))
    }

    /// The same, of a delivery.
    pub(crate) fn trace_failure(&self, id: &QueueId) -> Status {
        Status::new("4.3.0", format!("{id}: {} service failed", self.trace.name))
    }

    pub(crate) fn warn_of_defer(&self, id: &QueueId) {
        log::warn!("{id}: {} service failure", self.defer.name);
    }

    pub(crate) fn warn_of_trace(&self, id: &QueueId) {
        log::warn!("{id}: {} service failure", self.trace.name);
    }
}

impl Named {
    fn append(&self, subject: Subject<'_>, status: &Status, action: &str) -> bool {
        let outcome = status.outcome(action);
        let flags = subject.flags.trace().bits();
        self.service.append(flags, subject.id.as_str(), &subject.recipient.as_reported(), &outcome)
    }
}
