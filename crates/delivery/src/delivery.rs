//! A request in the hands of an agent, and the three ends that a recipient can have.

mod expansion;

use std::cell::RefCell;
use std::io::Write;
use std::time::Duration;

use ipc::delivery::{Completion, Recipient, Request, RequestFlags};
use ipc::dialect::Dialect;
use ipc::verify;
use queue::{QueueDirectory, QueueId};

use crate::copy::{self, CopyError, Form, Parts};
use crate::filter::StatusFilter;
use crate::loops::DeliveredTo;
use crate::message::MessageFile;
use crate::relay::Relay;
use crate::reporter::{Reporter, Subject};
use crate::rights::Rights;
use crate::status::{Class, Status};
use crate::{Delays, StatusLine, delays};

pub use expansion::Teller;

/// A delivery: a message, and recipients that are to get it from this agent.
#[derive(Debug)]
pub struct Delivery<'a> {
    request: Request,
    id: QueueId,
    file: MessageFile,
    reporter: &'a Reporter,
    ground: &'a Ground,
    destination_failure: RefCell<Option<Status>>,
}

/// What a process has once, beside its agent.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) directory: QueueDirectory,
    pub(crate) filter: Option<StatusFilter>,
    pub(crate) rights: Rights,
    /// `enable_original_recipient`
    pub(crate) tells_original: bool,
    pub(crate) marks: Marks,
    pub(crate) dialect: Dialect,
    pub(crate) ipc_timeout: Duration,
}

/// Which recipients are marked in the queue file as needing no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Those who got the message where the request says so; in any case those whose sender was told of a failure, and the
    /// recipients of a probe.
    Ended,
    /// All these where the request says so, and nobody else.
    IfAsked,
    /// A recipient becomes others, each told of by itself: none of them is marked, the recipient is when
    /// [`Delivery::end`] says so.
    Expanded,
}

/// What has become of a recipient who got the message, for those who want to hear of it (RFC 3464, 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is in the recipient's mailbox.
    Delivered,
    /// Somebody else has it, who may tell more, or not.
    Relayed,
    /// It was sent to several others.
    Expanded,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }
}

impl<'a> Delivery<'a> {
    /// Opens the message of a request; what is wrong with it is logged.
    pub(crate) fn begin(mut request: Request, ground: &'a Ground, reporter: &'a Reporter) -> Option<Self> {
        let (id, file) = MessageFile::open(&request, &ground.directory)?;
        if !request.times.handed_over.is_known() {
            request.times.handed_over = delays::now();
        }
        Some(Self { request, id, file, reporter, ground, destination_failure: RefCell::new(None) })
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

    /// The request as it came.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The message's queue ID.
    #[must_use]
    pub fn id(&self) -> &QueueId {
        &self.id
    }

    /// Nobody can be reached there: the queue manager is to let the destination alone for a while. The first reason counts.
    pub fn destination_failed(&self, status: &Status) {
        self.destination_failure.borrow_mut().get_or_insert_with(|| status.clone());
    }

    /// Tells the queue manager how it ended.
    pub(crate) fn finish(&self, completion: Completion, output: &mut impl Write) -> std::io::Result<()> {
        let failure = self.destination_failure.borrow();
        let outcome = failure.as_ref().map_or_else(Default::default, |status| status.outcome(""));
        ipc::delivery::finish(completion, &outcome, output)
    }

    /// Whether nothing is to be delivered: somebody wants to know what would become of the recipients.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.request.flags.intersects(RequestFlags::MTA_VERIFY | RequestFlags::USER_VERIFY)
    }

    /// The rights that this agent can lend.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.ground.rights
    }

    /// The form of the message for a recipient.
    #[must_use]
    pub fn form<'f>(&'f self, parts: Parts, recipient: &'f Recipient) -> Form<'f> {
        let original = if self.ground.tells_original { &recipient.original[..] } else { b"" };
        Form {
            parts,
            sender: &self.request.sender,
            original,
            delivered_to: &recipient.address,
            line_end: b"\n",
        }
    }

    /// Writes the message. The output wants a buffer; what is in it is written out.
    ///
    /// # Errors
    /// It cannot be read, written, or is damaged. Part of it may be written.
    pub fn copy(&self, form: &Form<'_>, output: &mut impl Write) -> Result<(), CopyError> {
        let copied = copy::copy(&mut self.file.content(&self.request), form, output);
        if matches!(copied, Err(CopyError::Corrupt)) {
            self.ground.rights.as_owner(|| self.file.mark_corrupt());
        }
        copied
    }

    /// Who has had the message already.
    #[must_use]
    pub fn delivered_to(&self) -> DeliveredTo {
        DeliveredTo::read(&mut self.file.content(&self.request))
    }

    /// The recipient has got the message, or would have. `relay` is who took it, or `none`.
    #[must_use]
    pub fn sent<'r>(
        &self,
        recipient: &Recipient,
        relay: impl Into<Relay<'r>>,
        status: &Status,
    ) -> Completion {
        self.sent_as(recipient, relay, status, Action::Delivered)
    }

    /// As [`Self::sent`], for one who was not delivered to his mailbox.
    #[must_use]
    pub fn sent_as<'r>(
        &self,
        recipient: &Recipient,
        relay: impl Into<Relay<'r>>,
        status: &Status,
        action: Action,
    ) -> Completion {
        let relay = relay.into();
        let status = self.filtered(status).of_class(Class::Success, "sent");
        let subject = self.subject(recipient, relay);
        if let Some(told) = self.probe(subject, &status, verify::Status::Ok) {
            if !told {
                return Completion::Deferred;
            }
            self.log(subject, &status, "deliverable");
            return self.done_if_asked(recipient);
        }
        if !self.reporter.trace_delivery(subject, &status, action.word()) {
            return self.defer(recipient, relay, &self.reporter.trace_failure(&self.id));
        }
        self.log(subject, &status, "sent");
        self.done_if_asked(recipient)
    }

    /// The recipient will not get the message.
    #[must_use]
    pub fn bounced<'r>(
        &self,
        recipient: &Recipient,
        relay: impl Into<Relay<'r>>,
        status: &Status,
    ) -> Completion {
        let (relay, status) = (relay.into(), self.filtered(status));
        if status.is_of(Class::Temporary) && !self.is_unfiltered() {
            return self.defer(recipient, relay, &status);
        }
        self.bounce(recipient, relay, &status)
    }

    fn bounce(&self, recipient: &Recipient, relay: Relay<'_>, status: &Status) -> Completion {
        self.bounce_by(recipient, relay, status, |subject, status| self.reporter.bounce(subject, status))
    }

    /// As [`Self::bounce`]; `bounce` is how the sender is told.
    fn bounce_by(
        &self,
        recipient: &Recipient,
        relay: Relay<'_>,
        status: &Status,
        bounce: impl FnOnce(Subject<'_>, &Status) -> bool,
    ) -> Completion {
        let status = status.clone().of_class(Class::Permanent, "bounce_append");
        let subject = self.subject(recipient, relay);
        if let Some(told) = self.probe(subject, &status, verify::Status::Bounce) {
            return self.end_probe(subject, &status, told);
        }
        let soft = self.reporter.soft_bounce;
        let (status, action) = if soft { (status.softened(), "delayed") } else { (status, "failed") };
        let told = if soft { self.reporter.defer(subject, &status) } else { bounce(subject, &status) };
        if !told || !self.reporter.trace_if_recorded(subject, &status, action) {
            let failure = Status { diagnosis: status.diagnosis, ..self.reporter.bounce_failure() };
            return self.defer(recipient, relay, &failure);
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
    pub fn deferred<'r>(
        &self,
        recipient: &Recipient,
        relay: impl Into<Relay<'r>>,
        status: &Status,
    ) -> Completion {
        let (relay, status) = (relay.into(), self.filtered(status));
        if status.is_of(Class::Permanent) && !self.is_unfiltered() {
            return self.bounce(recipient, relay, &status);
        }
        self.defer(recipient, relay, &status)
    }

    /// The recipient has not got the message: for good, or so far, as the code says.
    #[must_use]
    pub fn failed<'r>(
        &self,
        recipient: &Recipient,
        relay: impl Into<Relay<'r>>,
        status: &Status,
    ) -> Completion {
        if status.is_of(Class::Temporary) {
            self.deferred(recipient, relay, status)
        } else {
            self.bounced(recipient, relay, status)
        }
    }

    fn is_unfiltered(&self) -> bool {
        self.ground.filter.is_none()
    }

    fn filtered(&self, status: &Status) -> Status {
        let status = status.clone();
        match &self.ground.filter {
            Some(filter) => filter.apply(status),
            None => status,
        }
    }

    fn defer(&self, recipient: &Recipient, relay: Relay<'_>, status: &Status) -> Completion {
        let status = status.clone().of_class(Class::Temporary, "defer_append");
        let subject = self.subject(recipient, relay);
        if let Some(told) = self.probe(subject, &status, verify::Status::Defer) {
            return self.end_probe(subject, &status, told);
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

    fn subject<'s>(&'s self, recipient: &'s Recipient, relay: Relay<'s>) -> Subject<'s> {
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

    fn end_probe(&self, subject: Subject<'_>, status: &Status, told: bool) -> Completion {
        if !told {
            return Completion::Deferred;
        }
        self.log(subject, status, "undeliverable");
        self.done(subject.recipient)
    }

    /// One who has the message, or could have it, is marked where the request says so.
    fn done_if_asked(&self, recipient: &Recipient) -> Completion {
        if self.request.flags.contains(RequestFlags::SUCCESS) {
            self.done(recipient)
        } else {
            Completion::All
        }
    }

    fn done(&self, recipient: &Recipient) -> Completion {
        match self.ground.marks {
            Marks::Ended => self.mark(recipient),
            Marks::IfAsked if self.request.flags.contains(RequestFlags::SUCCESS) => self.mark(recipient),
            Marks::IfAsked | Marks::Expanded => Completion::All,
        }
    }

    fn mark(&self, recipient: &Recipient) -> Completion {
        if self.file.mark_done(recipient) { Completion::All } else { Completion::Deferred }
    }

    fn log(&self, subject: Subject<'_>, status: &Status, word: &str) {
        StatusLine {
            recipient: &subject.recipient.as_reported(),
            relay: subject.relay.name,
            reuses: subject.relay.reuses,
            tls: subject.relay.tls,
            delays: Delays::of(&subject.relay.times(&self.request.times), self.reporter.digits),
            outcome: &status.outcome(word),
            status: word,
            addresses: self.reporter.addresses,
        }
        .log(&self.id);
    }
}
