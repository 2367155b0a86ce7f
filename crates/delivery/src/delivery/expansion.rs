//! What an agent needs whose recipients become others.

use std::io::BufReader;

use ipc::announce::Protocol;
use ipc::bounce::Notice;
use ipc::client::connect_wait;
use ipc::delivery::{Completion, Recipient, Reply, Request, RequestFlags};
use queue::{At, RecordReader};

use super::{Action, Delivery, Marks};
use crate::status::{Class, Status};

/// Whom a failure is told to.
#[derive(Debug, Clone, Copy)]
pub struct Teller<'a> {
    /// The address that gets the notice, in internal form.
    pub sender: &'a [u8],
    /// ENVID of what was sent.
    pub envelope_id: &'a [u8],
    /// RET of it.
    pub ret_flags: i32,
}

impl Delivery<'_> {
    /// All that came of a recipient is told: marks it, unless something of it has to be tried again, or nothing is to be
    /// marked.
    #[must_use]
    pub fn end(&self, recipient: &Recipient, completion: Completion) -> Completion {
        match completion {
            Completion::All if self.request.flags.contains(RequestFlags::SUCCESS) => self.mark(recipient),
            other => other,
        }
    }

    /// A reader of the content, at its start.
    #[must_use]
    pub fn content(&self) -> RecordReader<BufReader<At<'_>>> {
        self.file.content(&self.request)
    }

    /// The message file is damaged: the queue manager is to put it away.
    pub fn mark_corrupt(&self) {
        self.file.mark_corrupt();
    }

    /// Tells the trace service of a recipient that has become others, without a line in the log. Whether it can be told changes
    /// nothing for those (observed, 3.7.11).
    pub fn expanded(&self, recipient: &Recipient, relay: &str, status: &Status, action: Action) {
        let _ = self.reporter.trace(self.subject(recipient, relay.into()), status, action.word());
    }

    /// As [`Self::bounced`], in a notice for this recipient alone, sent at once to somebody else than the sender.
    #[must_use]
    pub fn bounced_to(
        &self,
        teller: Teller<'_>,
        recipient: &Recipient,
        relay: &str,
        status: &Status,
    ) -> Completion {
        let (relay, status) = (relay.into(), self.filtered(status));
        if status.is_of(Class::Temporary) && !self.is_unfiltered() {
            return self.defer(recipient, relay, &status);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let queue_name = text(&self.request.queue_name);
        let notice = Notice {
            queue_name: &queue_name,
            queue_id: self.id.as_str(),
            encoding: &self.request.encoding,
            sendopts: self.request.sendopts,
            sender: teller.sender,
            envelope_id: teller.envelope_id,
            ret_flags: teller.ret_flags,
            verp_delimiters: None,
        };
        self.bounce_by(recipient, relay, &status, |subject, status| {
            self.reporter.bounce_one(&notice, subject, status)
        })
    }

    /// Hands a recipient to another agent, `transport` or `transport:nexthop`: what becomes of it is told by that one. An
    /// agent that cannot be reached ends the process, as all that need it do.
    #[must_use]
    pub fn pass(&self, sender: &[u8], recipient: &Recipient, to: &str) -> Completion {
        let (transport, nexthop) = to.split_once(':').unwrap_or((to, ""));
        let address = self.reporter.addresses.shown(&recipient.address);
        log::info!("{}: passing <{address}> to transport={transport}", self.id);
        let mut stream = match connect_wait(&format!("private/{transport}"), self.ground.ipc_timeout) {
            Ok(stream) => stream,
            Err(text) => maillog::fatal(format_args!("{text}")),
        };
        let name = stream.name().to_owned();
        let nexthop =
            if nexthop.is_empty() { self.request.nexthop.clone() } else { nexthop.as_bytes().to_vec() };
        let request = Request {
            nexthop,
            sender: sender.to_vec(),
            // Who has become others is marked when all that came of him is told.
            recipients: vec![Recipient {
                offset: if self.ground.marks == Marks::Expanded { -1 } else { recipient.offset },
                ..recipient.clone()
            }],
            ..self.request.clone()
        };
        if let Err(error) = Protocol::DELIVERY_REQUEST.expect(&mut stream, &name) {
            error.warn();
            return Completion::Deferred;
        }
        for list in request.lists(self.ground.dialect) {
            if let Err(error) = list.send(&mut stream) {
                log::warn!("write {name}: {}", sys::error_text(&error));
                return Completion::Deferred;
            }
        }
        match Reply::read(stream.input().0, &name) {
            Ok(Reply { status: 0, .. }) => Completion::All,
            Ok(_) => Completion::Deferred,
            Err(error) => {
                error.warn();
                Completion::Deferred
            }
        }
    }
}
