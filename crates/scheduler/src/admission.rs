//! Messages and recipients come in: from recipient to destination, and from recipients to requests (spec qmgr 7 and 8).

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use crate::line::Line;
use crate::model::{
    ConnectionCache, Destination, DestinationId, Entry, EntryId, Gate, Job, JobId, Message, MessageId, Peer,
    State, Transport, TransportId,
};
use crate::place::Place;
use crate::settings::Settings;
use crate::suspension::Stranded;
use crate::window::Window;
use crate::{Fault, Scheduler};

/// A recipient, and where it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed<R> {
    /// By which transport.
    pub transport: TransportId,
    /// Where the transport is to take it.
    pub nexthop: Vec<u8>,
    /// Local part of the address, without extension: with a recipient limit of 1 the destination is this at the next hop.
    pub user: Vec<u8>,
    /// The message is flushed: what it needs is tried, dead or not.
    pub is_flushed: bool,
    /// The recipient.
    pub recipient: R,
}

impl<R> Scheduler<R> {
    /// A message enters the active queue, without recipients as yet. `one_recipient_each`: its requests have one recipient
    /// each, because each gets a sender of its own (VERP).
    pub fn admit(&mut self, one_recipient_each: bool, now: Instant) -> MessageId {
        self.admitted += 1;
        self.messages.insert(Message {
            number: self.admitted,
            since: now,
            one_recipient_each,
            jobs: HashMap::new(),
            outstanding: 0,
            recipients: 0,
            slots: self.limits.recipient_minimum,
            unread: None,
            read_at: now,
            again: false,
        })
    }

    /// Makes requests of the recipients that one reading of a message gave. They come sorted by domain and address.
    /// `unread` is how many the file still has, as far as is known; nothing when all are read.
    ///
    /// What comes back can be handed to nobody, not even to `retry`.
    #[must_use]
    pub fn assign(
        &mut self,
        message: MessageId,
        recipients: Vec<Addressed<R>>,
        unread: Option<u64>,
        now: Instant,
    ) -> Vec<Stranded<R>> {
        let mut stranded = Vec::new();
        let mut placed = Vec::with_capacity(recipients.len());
        for to in recipients {
            match self.destination_for(&to) {
                Ok(destination) => placed.push((destination, to.recipient)),
                Err(fault) => stranded.push(Stranded { message, recipients: vec![to.recipient], fault }),
            }
        }
        placed.sort_by(|(one, _), (other, _)| {
            self.destination_order(*one).cmp(&self.destination_order(*other))
        });
        for (destination, recipient) in placed {
            self.add_recipient(message, destination, recipient, now);
        }
        self.set_unread(message, unread, now);
        stranded
    }

    fn destination_order(&self, destination: DestinationId) -> (&[u8], &[u8]) {
        let destination = &self.destinations[destination];
        (&self.transports[destination.transport].name, &destination.name)
    }

    /// The destination of a recipient, or in its place one of `retry`; the fault when that is dead, too.
    fn destination_for(&mut self, to: &Addressed<R>) -> Result<DestinationId, Fault> {
        let transport = to.transport;
        if to.is_flushed {
            self.revive_transport(transport);
        }
        if let Some(dead) = &self.transports[transport].dead {
            let fault = dead.fault.clone();
            return self.retry_destination(&fault).ok_or(fault);
        }
        let name = self.destination_name(transport, &to.nexthop, &to.user);
        let destination = self.destination(transport, &name, &to.nexthop);
        if to.is_flushed {
            self.revive_destination(destination);
        }
        match &self.destinations[destination].state {
            State::Dead(dead) => {
                let fault = dead.fault.clone();
                self.retry_destination(&fault).ok_or(fault)
            }
            State::Alive | State::Waiting(_) => Ok(destination),
        }
    }

    /// The destination of `retry` for what cannot be delivered for this reason; nothing when `retry` is dead itself.
    pub(crate) fn retry_destination(&mut self, fault: &Fault) -> Option<DestinationId> {
        let transport = self.retry;
        if self.transports[transport].dead.is_some() {
            return None;
        }
        let nexthop = fault.as_nexthop();
        let destination = self.destination(transport, &nexthop.to_ascii_lowercase(), &nexthop);
        (!matches!(self.destinations[destination].state, State::Dead(_))).then_some(destination)
    }

    /// In lower case, unlike the next hop itself.
    fn destination_name(&self, transport: TransportId, nexthop: &[u8], user: &[u8]) -> Vec<u8> {
        let transport = &self.transports[transport];
        // The destinations of those two are reasons.
        let of_recipient = transport.settings.recipient_limit == 1
            && !["error", "retry"].iter().any(|name| name.as_bytes() == transport.name);
        let name = if of_recipient { [user, b"@", nexthop].concat() } else { nexthop.to_vec() };
        name.to_ascii_lowercase()
    }

    /// A transport by its name; one that is new gets these parameters.
    pub fn transport(&mut self, name: &[u8], settings: impl FnOnce() -> Settings) -> TransportId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let settings = settings().in_force();
        let free_slots = settings.recipients;
        let id = self.transports.insert(Transport {
            name: name.to_vec(),
            settings,
            dead: None,
            gate: Gate::Open,
            pending: 0,
            capacity: 0,
            destinations: HashMap::new(),
            jobs: BTreeMap::new(),
            ready: BTreeMap::new(),
            unread: BTreeMap::new(),
            current: None,
            candidate: None,
            free_slots,
        });
        self.by_name.insert(name.to_vec(), id);
        self.turns.push_front(id);
        id
    }

    fn destination(&mut self, transport: TransportId, name: &[u8], nexthop: &[u8]) -> DestinationId {
        if let Some(&id) = self.transports[transport].destinations.get(name) {
            return id;
        }
        let window = Window::new(&self.transports[transport].settings);
        let name: Rc<[u8]> = name.into();
        let nexthop = if *name == *nexthop { Rc::clone(&name) } else { nexthop.into() };
        let id = self.destinations.insert(Destination {
            transport,
            name: Rc::clone(&name),
            nexthop,
            state: State::Alive,
            window,
            todo: 0,
            busy: 0,
            peers: Line::default(),
            offer: None,
            capacity: 0,
            last_finished: None,
            cache: ConnectionCache::default(),
            clog_warned: None,
        });
        self.transports[transport].destinations.insert(name, id);
        id
    }

    fn add_recipient(&mut self, message: MessageId, destination: DestinationId, recipient: R, now: Instant) {
        let job = self.job(message, self.destinations[destination].transport);
        let limit = match self.transports[self.jobs[job].transport].settings.recipient_limit {
            _ if self.messages[message].one_recipient_each => 1,
            0 => usize::MAX,
            limit => limit,
        };
        let last =
            self.jobs[job].peers.get(&destination).and_then(|&peer| self.peers[peer].entries.back().copied());
        match last {
            Some(entry) if self.entries[entry].recipients.len() < limit => {
                self.entries[entry].recipients.push(recipient);
            }
            _ => self.add_entry(job, destination, vec![recipient], now),
        }
        self.count_recipients(job, 1);
    }

    /// A new request that waits; its recipients are not counted here.
    pub(crate) fn add_entry(
        &mut self,
        job: JobId,
        destination: DestinationId,
        recipients: Vec<R>,
        now: Instant,
    ) {
        let message = self.jobs[job].message;
        let entry = self.entries.insert(Entry { message, job, destination, recipients, is_busy: false });
        self.messages[message].outstanding += 1;
        self.jobs[job].made += 1;
        self.enlist(job);
        self.warn_of_clogging(destination, now);
        self.destinations[destination].todo += 1;
        self.queue_entry(job, destination, entry);
        let transport = &mut self.transports[self.jobs[job].transport];
        transport.current = transport.jobs.values().next().copied();
        transport.candidate = None;
        self.refresh(destination);
    }

    /// Puts an entry behind the others of its peer, which is made if there is none.
    fn queue_entry(&mut self, job: JobId, destination: DestinationId, entry: EntryId) {
        let of_job = &mut self.jobs[job];
        match of_job.peers.entry(destination) {
            MapEntry::Occupied(known) => self.peers[*known.get()].entries.push_back(entry),
            MapEntry::Vacant(place) => {
                let turn = of_job.next_turn;
                of_job.next_turn += 1;
                let peer =
                    self.peers.insert(Peer { job, destination, turn, entries: VecDeque::from([entry]) });
                place.insert(peer);
                let list_place = of_job.place.expect("the job was put on the list before");
                self.destinations[destination].peers.insert(list_place, peer);
            }
        }
    }

    /// Puts an entry before the others of its peer.
    pub(crate) fn queue_again(&mut self, job: JobId, destination: DestinationId, entry: EntryId) {
        self.enlist(job);
        if let Some(&peer) = self.jobs[job].peers.get(&destination) {
            self.peers[peer].entries.push_front(entry);
        } else {
            self.queue_entry(job, destination, entry);
        }
    }

    pub(crate) fn job(&mut self, message: MessageId, transport: TransportId) -> JobId {
        if let Some(&job) = self.messages[message].jobs.get(&transport) {
            return job;
        }
        let job = self.jobs.insert(Job {
            transport,
            message,
            place: None,
            level: 0,
            parent: None,
            children: HashSet::new(),
            made: 0,
            selected: 0,
            slots_available: 0,
            slots_used: 0,
            recipients: 0,
            slots: 0,
            peers: HashMap::new(),
            offers: BTreeMap::new(),
            next_turn: 0,
        });
        self.messages[message].jobs.insert(transport, job);
        job
    }

    /// Puts a job on its transport's list: behind the last that nobody let pass and that is no younger.
    fn enlist(&mut self, job: JobId) {
        if self.jobs[job].place.is_some() {
            return;
        }
        let transport = self.jobs[job].transport;
        let number = self.messages[self.jobs[job].message].number;
        let place = loop {
            let list = &self.transports[transport].jobs;
            let mut behind = None;
            let mut found = None;
            for (&place, &other) in list.iter().rev() {
                let other = &self.jobs[other];
                if other.level == 0 && self.messages[other.message].number <= number {
                    found = Some(place);
                    break;
                }
                behind = Some(place);
            }
            let place = match (found, behind) {
                (None, None) => Some(Place::FIRST),
                (Some(last), None) => Some(last.after()),
                (found, Some(behind)) => behind.before(found),
            };
            match place {
                Some(place) => break place,
                None => self.number_anew(transport),
            }
        };
        self.put_on_list(job, place);
        self.take_free_slots(job);
    }

    pub(crate) fn put_on_list(&mut self, job: JobId, place: Place) {
        let transport = self.jobs[job].transport;
        self.jobs[job].place = Some(place);
        self.transports[transport].jobs.insert(place, job);
        if self.messages[self.jobs[job].message].unread.is_some() {
            self.transports[transport].unread.insert(place, job);
        }
    }

    pub(crate) fn take_off_list(&mut self, job: JobId) {
        let Some(place) = self.jobs[job].place.take() else { return };
        let transport = &mut self.transports[self.jobs[job].transport];
        transport.jobs.remove(&place);
        transport.ready.remove(&place);
        transport.unread.remove(&place);
        transport.candidate = None;
    }

    /// Moves a job, with all that goes by its place.
    pub(crate) fn move_to(&mut self, job: JobId, place: Place) {
        let Some(old) = self.jobs[job].place else { return };
        let peers: Vec<_> =
            self.jobs[job].peers.iter().map(|(&destination, &peer)| (destination, peer)).collect();
        for &(destination, peer) in &peers {
            self.withdraw(destination);
            let of_destination = &mut self.destinations[destination].peers;
            of_destination.remove(old, peer);
            of_destination.insert(place, peer);
        }
        self.take_off_list(job);
        self.put_on_list(job, place);
        for (destination, _) in peers {
            self.refresh(destination);
        }
    }

    /// Gives all jobs of a list places with room between them.
    pub(crate) fn number_anew(&mut self, transport: TransportId) {
        let jobs: Vec<_> = self.transports[transport].jobs.values().copied().collect();
        // From behind the last on, so that no place is taken twice on the way.
        let last = self.transports[transport].jobs.keys().next_back().copied();
        let offset = last.map_or(Place::FIRST, Place::after);
        let mut place = offset;
        for job in jobs {
            self.move_to(job, place);
            place = place.after();
        }
    }

    /// How many recipients of the message are not read yet; nothing when all are.
    fn set_unread(&mut self, message: MessageId, unread: Option<u64>, now: Instant) {
        self.messages[message].unread = unread;
        self.messages[message].read_at = now;
        let jobs: Vec<_> = self.messages[message].jobs.values().copied().collect();
        for job in jobs {
            let Some(place) = self.jobs[job].place else { continue };
            let transport = &mut self.transports[self.jobs[job].transport];
            if unread.is_some() {
                transport.unread.insert(place, job);
            } else {
                transport.unread.remove(&place);
                if self.jobs[job].waiting() == 0 {
                    self.retire(job);
                }
            }
        }
        if unread.is_none() {
            self.return_slots(message);
        }
    }
}
