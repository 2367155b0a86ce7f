//! Which delivery comes next, and how many at a time.
//!
//! The queue manager's decisions, without its files, sockets and clocks: messages come in with their recipients, results
//! of requests come in, moments pass; out come connections to open, requests to hand to delivery agents, and recipients
//! that cannot be delivered for now. Each destination has a window of concurrent requests that follows its results, jobs
//! of large messages are passed by small ones, what fails as a whole is left alone for a time, and recipients are read
//! from a message's file as there is room for them.
//!
//! The order is Postfix's, the costs are not: no step walks along jobs or destinations that have nothing to do. Source:
//! spec qmgr 6 to 16.
//!
//! ```
//! use std::time::Instant;
//! use scheduler::{Addressed, Choice, Limits, Outcome, Scheduler, Settings};
//!
//! let mut scheduler = Scheduler::new(Limits::default(), Settings::default());
//! let smtp = scheduler.transport(b"smtp", Settings::default);
//! let now = Instant::now();
//! let message = scheduler.admit(false, now);
//! let to = |recipient| Addressed {
//!     transport: smtp, nexthop: b"Example.com".to_vec(), user: Vec::new(), is_flushed: false, recipient,
//! };
//! assert!(scheduler.assign(message, vec![to("a@example.com"), to("b@example.com")], None, now).is_empty());
//!
//! let transport = scheduler.next_connection().expect("there is something to deliver");
//! let Choice::Deliver(request) = scheduler.choose(transport, now) else { panic!("there is a request") };
//! assert_eq!(scheduler.recipients(request), ["a@example.com", "b@example.com"]);
//! let done = scheduler.finish(request, Outcome::Good { again: false }, now);
//! assert!(done.message_is_done);
//! ```

#![forbid(unsafe_code)]

mod admission;
mod clog;
mod feedback;
mod line;
mod model;
mod place;
mod preemption;
mod result;
mod selection;
mod settings;
mod slots;
mod suspension;
#[cfg(test)]
mod tests;
mod window;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use slotmap::SlotMap;

use model::{Destination, Entry, Job, JobId, Message, Peer, PeerId, Transport};
use suspension::Alarm;

pub use admission::Addressed;
pub use feedback::Feedback;
pub use model::{ConnectionCache, DestinationId, EntryId, Fault, MessageId, TransportId};
pub use result::{Done, Outcome};
pub use selection::Choice;
pub use settings::{Limits, Settings};
pub use slots::Room;
pub use suspension::Stranded;

/// All messages of the active queue, whose recipients are each an `R`.
pub struct Scheduler<R> {
    limits: Limits,
    transports: SlotMap<TransportId, Transport>,
    by_name: HashMap<Vec<u8>, TransportId>,
    /// Who is asked first for a further connection.
    turns: VecDeque<TransportId>,
    destinations: SlotMap<DestinationId, Destination>,
    messages: SlotMap<MessageId, Message>,
    jobs: SlotMap<JobId, Job>,
    peers: SlotMap<PeerId, Peer>,
    entries: SlotMap<EntryId, Entry<R>>,
    /// Recipients in memory, of all messages.
    recipients: i64,
    admitted: u64,
    alarms: BinaryHeap<Reverse<(Instant, Alarm)>>,
    retry: TransportId,
}

impl<R> Scheduler<R> {
    /// One without messages. `retry` are the parameters of the transport of that name, to which goes what cannot be
    /// delivered for now.
    #[must_use]
    pub fn new(limits: Limits, retry: Settings) -> Self {
        let mut scheduler = Self {
            limits,
            transports: SlotMap::with_key(),
            by_name: HashMap::new(),
            turns: VecDeque::new(),
            destinations: SlotMap::with_key(),
            messages: SlotMap::with_key(),
            jobs: SlotMap::with_key(),
            peers: SlotMap::with_key(),
            entries: SlotMap::with_key(),
            recipients: 0,
            admitted: 0,
            alarms: BinaryHeap::new(),
            retry: TransportId::default(),
        };
        scheduler.retry = scheduler.transport(b"retry", || retry);
        scheduler
    }

    /// How many messages there are.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// The recipients of a request.
    #[must_use]
    pub fn recipients(&self, request: EntryId) -> &[R] {
        self.entries.get(request).map_or(&[], |entry| entry.recipients.as_slice())
    }

    /// The message that a request is of.
    #[must_use]
    pub fn message_of(&self, request: EntryId) -> Option<MessageId> {
        self.entries.get(request).map(|entry| entry.message)
    }

    /// The next hop that a request goes to.
    #[must_use]
    pub fn nexthop(&self, request: EntryId) -> &[u8] {
        let destination =
            self.entries.get(request).and_then(|entry| self.destinations.get(entry.destination));
        destination.map_or(&b""[..], |destination| &destination.nexthop)
    }

    /// The transport that a request goes by.
    #[must_use]
    pub fn transport_of(&self, request: EntryId) -> Option<TransportId> {
        let entry = self.entries.get(request)?;
        self.destinations.get(entry.destination).map(|destination| destination.transport)
    }

    /// The name of a transport.
    #[must_use]
    pub fn transport_name(&self, transport: TransportId) -> &[u8] {
        self.transports.get(transport).map_or(b"", |transport| transport.name.as_slice())
    }
}
