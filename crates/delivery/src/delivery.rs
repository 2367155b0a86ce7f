//! A request in the hands of an agent, and the three ends that a recipient can have.

use ipc::delivery::{Completion, Recipient, Request, RequestFlags};
use ipc::verify;
use queue::{QueueDirectory, QueueId};

use crate::message::MessageFile;
use crate::reporter::{Reporter, Subject};
use crate::status::{Class, Status};
use crate::{Delays, StatusLine, delays};

/// A delivery: a message, and recipients that are to get it from this agent.
#[derive(Debug)]
pub struct Delivery<'a> {
    request: Request,
    id: QueueId,
    file: MessageFile,
    reporter: &'a Reporter,
}

impl<'a> Delivery<'a> {
    /// Opens the message of a request; what is wrong with it is logged.
    pub(crate) fn begin(
        mut request: Request,
        directory: &QueueDirectory,
        reporter: &'a Reporter,
    ) -> Option<Self> {
        let (id, file) = MessageFile::open(&request, directory)?;
        if !request.times.handed_over.is_known() {
            request.times.handed_over = delays::now();
        }
        Some(Self { request, id, file, reporter })
    }

    /// Does something for each recipient, and returns whether one has to be tried again.
    pub fn each(&self, mut deliver: impl FnMut(&Recipient) -> Completion) -> Completion {
        let deferred = |completion: &Completion| *completion == Completion::Deferred;
        let count = self.request.recipients.iter().map(&mut deliver).filter(deferred).count();
        if count == 0 { Completion::All } else { Completion::Deferred }
    }

    /// Where the message is to go: never empty.
    #[must_use]
    pub fn nexthop(&self) -> &[u8] {
        &self.request.nexthop
    }

    /// The recipient has got the message, or would have. `relay` is who took it, or `none`.
    #[must_use]
    pub fn sent(&self, recipient: &Recipient, relay: &str, status: &Status) -> Completion {
        let status = status.clone().of_class(Class::Success, "sent");
        let subject = self.subject(recipient, relay);
        if let Some(told) = self.probe(subject, &status, verify::Status::Ok) {
            return self.end_probe(subject, &status, told, "deliverable");
        }
        if !self.reporter.trace_delivery(subject, &status) {
            return self.deferred(recipient, relay, &self.reporter.trace_failure(&self.id));
        }
        self.log(subject, &status, "sent");
        if self.request.flags.contains(RequestFlags::SUCCESS) {
            self.done(recipient)
        } else {
            Completion::All
        }
    }

    /// The recipient will not get the message.
    #[must_use]
    pub fn bounced(&self, recipient: &Recipient, relay: &str, status: &Status) -> Completion {
        let status = status.clone().of_class(Class::Permanent, "bounce_append");
        let subject = self.subject(recipient, relay);
        if let Some(told) = self.probe(subject, &status, verify::Status::Bounce) {
            return self.end_probe(subject, &status, told, "undeliverable");
        }
        let soft = self.reporter.soft_bounce;
        let (status, action) = if soft { (status.softened(), "delayed") } else { (status, "failed") };
        let told =
            if soft { self.reporter.defer(subject, &status) } else { self.reporter.bounce(subject, &status) };
        if !told || !self.reporter.trace_if_recorded(subject, &status, action) {
            return self.deferred(recipient, relay, &self.reporter.bounce_failure());
        }
        if soft {
            self.log(subject, &status, "SOFTBOUNCE");
            return Completion::Deferred;
        }
        self.log(subject, &status, "bounced");
        self.done(recipient)
    }

    /// The recipient has not got the message so far.
    #[must_use]
    pub fn deferred(&self, recipient: &Recipient, relay: &str, status: &Status) -> Completion {
        let status = status.clone().of_class(Class::Temporary, "defer_append");
        let subject = self.subject(recipient, relay);
        if let Some(told) = self.probe(subject, &status, verify::Status::Defer) {
            return self.end_probe(subject, &status, told, "undeliverable");
        }
        if !self.reporter.defer(subject, &status) {
            self.reporter.warn_of_defer(&self.id);
        }
        self.log(subject, &status, "deferred");
        if !self.reporter.trace_if_recorded(subject, &status, "delayed") {
            // Once for the service, and once for what it was for.
            self.reporter.warn_of_trace(&self.id);
        }
        self.reporter.waits(subject);
        Completion::Deferred
    }

    fn subject<'s>(&'s self, recipient: &'s Recipient, relay: &'s str) -> Subject<'s> {
        Subject { id: &self.id, flags: self.request.flags, recipient, relay }
    }

    /// Tells what a probe has found; nothing where the request is none.
    fn probe(&self, subject: Subject<'_>, status: &Status, found: verify::Status) -> Option<bool> {
        if subject.flags.contains(RequestFlags::MTA_VERIFY) {
            return Some(self.reporter.verified(subject.recipient, found, &status.text));
        }
        let action = if found == verify::Status::Ok { "deliverable" } else { "undeliverable" };
        let is_probe = subject.flags.contains(RequestFlags::USER_VERIFY);
        is_probe.then(|| self.reporter.trace(subject, status, action))
    }

    fn end_probe(&self, subject: Subject<'_>, status: &Status, told: bool, word: &str) -> Completion {
        if !told {
            return Completion::Deferred;
        }
        self.log(subject, status, word);
        self.done(subject.recipient)
    }

    fn done(&self, recipient: &Recipient) -> Completion {
        if self.file.mark_done(recipient) { Completion::All } else { Completion::Deferred }
    }

    fn log(&self, subject: Subject<'_>, status: &Status, word: &str) {
        StatusLine {
            recipient: &subject.recipient.as_reported(),
            relay: subject.relay,
            delays: Delays::of(&self.request.times, self.reporter.digits),
            outcome: &ipc::bounce::Outcome { status: status.code(), action: "", reason: &status.text },
            status: word,
            addresses: self.reporter.addresses,
        }
        .log(&self.id);
    }
}
