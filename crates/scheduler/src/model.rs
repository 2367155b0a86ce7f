//! What the scheduler knows: transports with their destinations, messages with their jobs.
//!
//! ```text
//! transport -> destinations (window, busy, waiting)      message -> jobs, one a transport
//! job       -> peers, one a destination                  peer    -> entries, each a request to be
//! ```
//!
//! A job with something to do stands in its transport's list, at a [`Place`]. Which job has a peer that can go is not
//! looked for: each destination that has room *offers* its first peer, in the order of the list, to that peer's job. The
//! first job with an offer is the one that a walk along the list would find.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use slotmap::new_key_type;

use crate::line::Line;
use crate::place::Place;
use crate::settings::Settings;
use crate::window::Window;

new_key_type! {
    /// A transport.
    pub struct TransportId;
    /// A destination of a transport: what Postfix calls a queue.
    pub struct DestinationId;
    /// A message in the active queue.
    pub struct MessageId;
    /// A request, waiting or with a delivery agent.
    pub struct EntryId;
    /// A message's part in a transport.
    pub(crate) struct JobId;
    /// A job's part in a destination.
    pub(crate) struct PeerId;
}

/// Why mail cannot be delivered for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `4.3.0`.
    pub status: Vec<u8>,
    /// The text behind it.
    pub reason: Vec<u8>,
}

impl Fault {
    /// As the transport `retry` is told, in the place of a next hop.
    #[must_use]
    pub(crate) fn as_nexthop(&self) -> Vec<u8> {
        [self.status.as_slice(), b" ", self.reason.as_slice()].concat()
    }
}

/// Not before a moment, and why.
#[derive(Debug, Clone)]
pub(crate) struct Suspension {
    pub(crate) fault: Fault,
    pub(crate) until: Instant,
}

/// The gate of a transport with a rate delay, which lets one request through at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// From the opening of a connection to the result of its request.
    Shut,
}

#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) name: Vec<u8>,
    pub(crate) settings: Settings,
    pub(crate) dead: Option<Suspension>,
    pub(crate) gate: Gate,
    /// Connections that were opened and have no request yet.
    pub(crate) pending: usize,
    /// Requests that could be with agents now, over all destinations.
    pub(crate) capacity: usize,
    pub(crate) destinations: HashMap<Rc<[u8]>, DestinationId>,
    /// The job list.
    pub(crate) jobs: BTreeMap<Place, JobId>,
    /// Those of it that have an offer.
    pub(crate) ready: BTreeMap<Place, JobId>,
    /// Those of it whose message has recipients that are not read yet.
    pub(crate) unread: BTreeMap<Place, JobId>,
    pub(crate) current: Option<JobId>,
    /// What was found for preemption, and when; until something changes.
    pub(crate) candidate: Option<(Option<JobId>, Instant)>,
    /// Recipient slots that no job has.
    pub(crate) free_slots: i64,
}

#[derive(Debug)]
pub(crate) enum State {
    Alive,
    Dead(Box<Suspension>),
    /// By its rate delay, until then.
    Waiting(Instant),
}

/// The peer that a destination offers, with what it takes to find it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) place: Place,
    pub(crate) job: JobId,
    pub(crate) turn: u64,
    pub(crate) peer: PeerId,
}

#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) transport: TransportId,
    pub(crate) name: Rc<[u8]>,
    /// As the first recipient spelled it.
    pub(crate) nexthop: Rc<[u8]>,
    pub(crate) state: State,
    pub(crate) window: Window,
    /// Entries that wait.
    pub(crate) todo: usize,
    /// Requests with agents.
    pub(crate) busy: u32,
    /// Those that wait, in the order of the job list.
    pub(crate) peers: Line,
    pub(crate) offer: Option<Offer>,
    /// Its part in the transport's capacity.
    pub(crate) capacity: usize,
    pub(crate) last_finished: Option<Instant>,
    pub(crate) cache: ConnectionCache,
    pub(crate) clog_warned: Option<Instant>,
}

/// What an agent is told about kept connections (spec qmgr 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionCache {
    /// One may be used.
    pub load: bool,
    /// One may be kept.
    pub store: bool,
}

#[derive(Debug)]
pub(crate) struct Message {
    /// In the order of admission: the smaller, the older.
    pub(crate) number: u64,
    pub(crate) since: Instant,
    pub(crate) one_recipient_each: bool,
    pub(crate) jobs: HashMap<TransportId, JobId>,
    /// Requests that have no result.
    pub(crate) outstanding: usize,
    /// Recipients in memory, and how many there may be.
    pub(crate) recipients: i64,
    pub(crate) slots: i64,
    /// Recipients that are not read yet, as far as is known; nothing when all are read.
    pub(crate) unread: Option<u64>,
    pub(crate) read_at: Instant,
    /// Some recipient must be tried again.
    pub(crate) again: bool,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) transport: TransportId,
    pub(crate) message: MessageId,
    /// Where it stands in the list, if it does.
    pub(crate) place: Option<Place>,
    pub(crate) level: u32,
    pub(crate) parent: Option<JobId>,
    pub(crate) children: HashSet<JobId>,
    /// Entries made, and entries given to agents.
    pub(crate) made: i64,
    pub(crate) selected: i64,
    pub(crate) slots_available: i64,
    pub(crate) slots_used: i64,
    /// Recipients in memory, and how many slots it has.
    pub(crate) recipients: i64,
    pub(crate) slots: i64,
    pub(crate) peers: HashMap<DestinationId, PeerId>,
    /// Peers by turn; the first in turn goes.
    pub(crate) offers: BTreeMap<u64, PeerId>,
    pub(crate) next_turn: u64,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) job: JobId,
    pub(crate) destination: DestinationId,
    pub(crate) turn: u64,
    /// Never empty.
    pub(crate) entries: VecDeque<EntryId>,
}

#[derive(Debug)]
pub(crate) struct Entry<R> {
    pub(crate) message: MessageId,
    pub(crate) job: JobId,
    pub(crate) destination: DestinationId,
    pub(crate) recipients: Vec<R>,
    pub(crate) is_busy: bool,
}

impl Destination {
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.state, State::Alive)
    }

    /// Whether one more request can go.
    pub(crate) fn has_room(&self) -> bool {
        self.is_alive() && self.window.size > self.busy
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.todo == 0 && self.busy == 0
    }
}

impl Job {
    /// Entries that wait.
    pub(crate) fn waiting(&self) -> i64 {
        self.made - self.selected
    }
}

impl Message {
    /// Slots that no recipient has.
    pub(crate) fn free_slots(&self) -> i64 {
        self.slots - self.recipients
    }
}
