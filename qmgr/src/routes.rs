//! From recipients to transports and next hops (spec qmgr 7).

use std::cmp::Ordering;
use std::fs::File;
use std::time::Instant;

use ipc::bounce::{Outcome, Recipient as Reported};
use ipc::delivery::{Recipient, RequestFlags};
use ipc::resolve::{Flags, Purpose, Resolved};
use ipc::rewrite::{Rule, TOGETHER};
use queue::{Editor, QueueName};
use scheduler::{Addressed, MessageId, Stranded};

use crate::message::Message;
use crate::{QueueManager, Turn};

/// Where a recipient goes.
struct Route {
    transport: Vec<u8>,
    nexthop: Vec<u8>,
}

impl Route {
    fn retry(reason: &str) -> Self {
        Self { transport: b"retry".to_vec(), nexthop: reason.into() }
    }

    fn error(reason: &str) -> Self {
        Self { transport: b"error".to_vec(), nexthop: reason.into() }
    }
}

impl QueueManager {
    /// Makes requests of recipients that were read. `file` is open for writing: what is done at once is marked in it.
    pub(crate) fn assign(
        &mut self,
        id: MessageId,
        mut recipients: Vec<Recipient>,
        file: &File,
        ignores_deferred: bool,
        turn: &mut Turn<'_>,
    ) {
        recipients.sort_by(order);
        let Some(mut message) = self.messages.remove(&id) else { return };
        if message.redirect.is_some() {
            recipients.truncate(1);
            message.rest = None;
        }
        let is_flushed = message.is_flushed;
        let mut addressed = Vec::with_capacity(recipients.len());
        let mut recipients = recipients.into_iter();
        loop {
            let group: Vec<_> = recipients.by_ref().take(TOGETHER).collect();
            if group.is_empty() {
                break;
            }
            let mut answers = self.resolve_all(&message, &group).into_iter();
            for mut recipient in group {
                let answer = answers.next();
                let route = self.route(&message, &mut recipient, answer, file, ignores_deferred);
                let Some(route) = route else { continue };
                let transport = self.transport(&route.transport, turn);
                let (local, _) = split(&recipient.address);
                let user = self.params.delimiter.split(local).map_or(local, |(user, _)| user).to_vec();
                addressed.push(Addressed { transport, nexthop: route.nexthop, user, is_flushed, recipient });
            }
        }
        let unread = message.unread();
        self.messages.insert(id, message);
        let stranded = self.scheduler.assign(id, addressed, unread, Instant::now());
        self.defer_all(stranded);
    }

    /// What the resolver says of recipients: nothing where it has no say.
    fn resolve_all(&mut self, message: &Message, recipients: &[Recipient]) -> Vec<Resolved> {
        let is_filtered = message.filter.is_some() && !is_probe(message);
        if message.redirect.is_some() || is_filtered {
            return Vec::new();
        }
        let addresses: Vec<_> = recipients.iter().map(|recipient| &recipient.address[..]).collect();
        self.resolver.resolve_all(purpose(message), &message.sender, &addresses)
    }

    /// Where a recipient goes, which may change its address; nothing when it is done already. `answer` is what the resolver
    /// says, if it was asked.
    fn route(
        &mut self,
        message: &Message,
        recipient: &mut Recipient,
        answer: Option<Resolved>,
        file: &File,
        ignores_deferred: bool,
    ) -> Option<Route> {
        let mut is_local = false;
        let mut route = if let Some(redirect) = &message.redirect {
            let address = address::Mailbox::from_internal(redirect.clone());
            let address = self.resolver.rewrite_internal(Rule::Local, &address).into_internal();
            let answer = self.resolver.resolve_for(purpose(message), &message.sender, &address);
            recipient.address = address;
            resolved_route(answer, recipient, &mut is_local)
        } else if let Some(answer) = answer {
            resolved_route(answer, recipient, &mut is_local)
        } else {
            self.filter_route(message.filter.as_deref().unwrap_or_default(), recipient)
        };
        if recipient.address.is_empty() {
            (route, is_local) = (Route::error("5.1.3 null recipient address"), false);
        }
        if message.is_expired {
            return Some(Route::retry("4.7.0 message is administratively expired"));
        }
        if is_local && split(&recipient.address).0.eq_ignore_ascii_case(&self.params.double_bounce_sender) {
            self.discard_double_bounce(message, recipient, file);
            return None;
        }
        let name = route.transport.clone();
        if !(message.is_flushed || ignores_deferred)
            && self.params.defer_transports.iter().any(|transport| transport.as_bytes() == name)
        {
            route = Route::retry("4.3.2 deferred transport");
        }
        let probes = RequestFlags::MTA_VERIFY;
        if message.trace_flags.contains(probes) && self.messages.probes() >= self.params.pending_verifications
        {
            route = Route::retry("4.3.2 Too many address verification requests");
        }
        Some(route)
    }

    /// `transport:nexthop`, where the next hop may be missing.
    fn filter_route(&self, filter: &[u8], recipient: &Recipient) -> Route {
        let at = filter.iter().position(|&byte| byte == b':');
        let (transport, nexthop) = at.map_or((filter, &b""[..]), |at| (&filter[..at], &filter[at + 1..]));
        let domain = split(&recipient.address).1.unwrap_or_default();
        let candidates = [nexthop, &self.params.default_filter_nexthop, domain, &self.params.myhostname];
        let nexthop = candidates.into_iter().find(|candidate| !candidate.is_empty()).unwrap_or_default();
        Route { transport: transport.to_vec(), nexthop: nexthop.to_vec() }
    }

    /// Mail to the address that undeliverable notices to the postmaster come from ends here.
    fn discard_double_bounce(&self, message: &Message, recipient: &Recipient, file: &File) {
        let outcome = Outcome {
            status: "2.0.0",
            action: "delivered",
            reason: b"undeliverable postmaster notification discarded",
            ..Outcome::default()
        };
        self.log_status(message, &recipient.as_reported(), &outcome, "sent");
        let path = self.directory.path(QueueName::Active, &message.id);
        let offset = u64::try_from(recipient.offset).unwrap_or(0);
        let marked =
            Editor::new(file, path.display().to_string()).and_then(|editor| editor.mark_done(offset));
        if let Err(error) = marked {
            log::warn!("{error}");
        }
    }

    /// Defers recipients that no agent takes, and ends messages that have nothing else.
    pub(crate) fn strand(&mut self, stranded: Vec<Stranded<Recipient>>, turn: &mut Turn<'_>) {
        let messages: Vec<_> = stranded.iter().map(|stranded| stranded.message).collect();
        self.defer_all(stranded);
        for message in messages {
            if self.scheduler.is_done(message) {
                self.requests_done(message, turn);
            }
        }
    }

    fn defer_all(&mut self, stranded: Vec<Stranded<Recipient>>) {
        for Stranded { message: id, recipients, fault } in stranded {
            self.scheduler.try_again(id);
            let Some(message) = self.messages.get(&id) else { continue };
            let status = String::from_utf8_lossy(&fault.status);
            for recipient in recipients {
                let outcome = Outcome {
                    status: &status,
                    action: "delayed",
                    reason: &fault.reason,
                    ..Default::default()
                };
                let flags = message.trace_flags.bits();
                if !self.defer.append(flags, message.id.as_str(), &recipient.as_reported(), &outcome) {
                    log::warn!("{}: {} service failure", message.id, self.params.defer_service_name);
                }
                self.log_status(message, &recipient.as_reported(), &outcome, "deferred");
            }
        }
    }

    fn log_status(&self, message: &Message, recipient: &Reported<'_>, outcome: &Outcome<'_>, status: &str) {
        let line = delivery::StatusLine {
            recipient,
            relay: "none",
            reuses: 0,
            tls: "",
            delays: delivery::Delays::of(&message.times, self.params.delay_digits),
            outcome,
            status,
            addresses: self.params.addresses,
        };
        line.log(&message.id);
    }
}

/// The settings that a message's addresses are resolved by.
fn purpose(message: &Message) -> Purpose {
    if message.trace_flags.contains(RequestFlags::MTA_VERIFY) { Purpose::Verify } else { Purpose::Resolve }
}

/// What the resolver's answer means for a recipient.
fn resolved_route(answer: Resolved, recipient: &mut Recipient, is_local: &mut bool) -> Route {
    if answer.flags.contains(Flags::FAIL) {
        return Route::retry("4.3.0 address resolver failure");
    }
    if answer.flags.contains(Flags::ERROR) {
        return Route::error("5.1.3 bad address syntax");
    }
    recipient.address = answer.recipient;
    *is_local = answer.flags.contains(Flags::CLASS_LOCAL);
    Route { transport: answer.transport, nexthop: answer.nexthop }
}

/// Address verification, by the system or a user: the real way is asked for, not the content filter.
fn is_probe(message: &Message) -> bool {
    message.trace_flags.intersects(RequestFlags::MTA_VERIFY | RequestFlags::USER_VERIFY)
}

/// By domain, whatever its case, then by address.
fn order(one: &Recipient, other: &Recipient) -> Ordering {
    let domain = |recipient| split(recipient).1.unwrap_or_default().iter().map(u8::to_ascii_lowercase);
    let (one, other) = (&one.address, &other.address);
    domain(one).cmp(domain(other)).then_with(|| one.cmp(other))
}

/// Local part and domain, at the last `@`.
fn split(address: &[u8]) -> (&[u8], Option<&[u8]>) {
    match address.iter().rposition(|&byte| byte == b'@') {
        Some(at) => (&address[..at], Some(&address[at + 1..])),
        None => (address, None),
    }
}
