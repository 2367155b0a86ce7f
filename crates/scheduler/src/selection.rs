//! Which transport gets a further connection, and which request its agent gets (spec qmgr 9, 10.2 and 10.3).

use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::Scheduler;
use crate::model::{
    ConnectionCache, DestinationId, EntryId, Gate, JobId, MessageId, Offer, PeerId, State, Transport,
    TransportId,
};
use crate::place::Place;

/// Connections of a transport that may be open without a request.
const MAX_PENDING: usize = 2;

/// What an agent that is ready gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This request.
    Deliver(EntryId),
    /// First there are recipients of this message to read, then the question is to be put again.
    Read(MessageId),
    /// Nothing: the connection is closed.
    Nothing,
}

impl<R> Scheduler<R> {
    /// A transport that can use one more connection to an agent, which counts as opened from now on.
    pub fn next_connection(&mut self) -> Option<TransportId> {
        let position = self.turns.iter().position(|&transport| {
            let transport = &self.transports[transport];
            transport.dead.is_none()
                && transport.gate == Gate::Open
                && transport.pending < MAX_PENDING
                && transport.capacity > transport.pending
        })?;
        let transport = self.turns.remove(position)?;
        self.turns.push_back(transport);
        let of_transport = &mut self.transports[transport];
        of_transport.pending += 1;
        if !of_transport.settings.transport_rate_delay.is_zero() {
            of_transport.gate = Gate::Shut;
        }
        Some(transport)
    }

    /// Whether an agent of this transport that has done its request can have another at once; then its connection counts
    /// as opened anew.
    pub fn reuse_connection(&mut self, transport: TransportId) -> bool {
        let Some(transport) = self.transports.get_mut(transport) else { return false };
        let can = transport.dead.is_none()
            && transport.settings.transport_rate_delay.is_zero()
            && transport.capacity > 0;
        transport.pending += usize::from(can);
        can
    }

    /// How long to wait between an agent's announcement and [`choose`](Self::choose).
    #[must_use]
    pub fn rate_delay(&self, transport: TransportId) -> Duration {
        self.transports
            .get(transport)
            .map_or(Duration::ZERO, |transport| transport.settings.transport_rate_delay)
    }

    /// An opened connection came to nothing: it was closed, or failed.
    pub fn connection_ended(&mut self, transport: TransportId) {
        if let Some(transport) = self.transports.get_mut(transport) {
            transport.pending = transport.pending.saturating_sub(1);
            transport.gate = Gate::Open;
        }
    }

    /// The request for an agent of this transport that has announced itself. The connection counts as opened no more,
    /// unless there is something to read first.
    pub fn choose(&mut self, transport: TransportId, now: Instant) -> Choice {
        if let Some(current) = self.transports[transport].current
            && self.transports[transport].settings.slot_cost >= 2
        {
            let current = self.preempt(current, now);
            self.transports[transport].current = Some(current);
        }
        let offer = self.first_offer(transport);
        if let Some(message) = self.due_reading(transport, offer, now) {
            return Choice::Read(message);
        }
        let Some((job, peer_offer)) = offer else {
            self.transports[transport].current = None;
            self.connection_ended(transport);
            return Choice::Nothing;
        };
        let of_transport = &mut self.transports[transport];
        of_transport.pending = of_transport.pending.saturating_sub(1);
        Choice::Deliver(self.select(job, peer_offer, now))
    }

    /// The first job from the current one on with an offer, and the first of its peers in turn.
    fn first_offer(&self, transport: TransportId) -> Option<(JobId, Offer)> {
        let transport = &self.transports[transport];
        let from = self.current_place(transport).map_or(Bound::Unbounded, Bound::Included);
        let mut ready = transport.ready.range((from, Bound::Unbounded));
        // Before the current one are those that could not go; should one be able to, nobody may wait for ever.
        let (&place, &job) = ready.next().or_else(|| transport.ready.iter().next())?;
        let (&turn, &peer) = self.jobs[job].offers.iter().next()?;
        Some((job, Offer { place, job, turn, peer }))
    }

    fn current_place(&self, transport: &Transport) -> Option<Place> {
        transport.current.and_then(|job| self.jobs.get(job)).and_then(|job| job.place)
    }

    /// A message on the way to the chosen job that has room for recipients, and is due: there is much room, or the last
    /// reading was some time ago, or its job has nothing to do until then.
    fn due_reading(
        &self,
        transport: TransportId,
        chosen: Option<(JobId, Offer)>,
        now: Instant,
    ) -> Option<MessageId> {
        let transport = &self.transports[transport];
        let from = self.current_place(transport).map_or(Bound::Unbounded, Bound::Included);
        let to = chosen.map_or(Bound::Unbounded, |(_, offer)| Bound::Included(offer.place));
        if matches!((from, to), (Bound::Included(from), Bound::Included(to)) if from > to) {
            return None;
        }
        transport.unread.range((from, to)).find_map(|(_, &job)| {
            let message = &self.messages[self.jobs[job].message];
            let free = message.free_slots();
            let is_idle = chosen.is_none_or(|(chosen, _)| chosen != job);
            let is_due = free >= transport.settings.refill_limit
                || now.saturating_duration_since(message.read_at) >= transport.settings.refill_delay
                || is_idle;
            (free > 0 && is_due).then_some(self.jobs[job].message)
        })
    }

    /// Takes the first entry of a peer.
    fn select(&mut self, job: JobId, offer: Offer, now: Instant) -> EntryId {
        let transport = self.jobs[job].transport;
        let destination = self.peers[offer.peer].destination;
        self.withdraw(destination);
        let entry = self.peers[offer.peer].entries.pop_front().expect("a peer has entries");
        self.entries[entry].is_busy = true;
        if self.peers[offer.peer].entries.is_empty() {
            self.drop_peer(offer.peer);
        } else {
            let of_job = &mut self.jobs[job];
            self.peers[offer.peer].turn = of_job.next_turn;
            of_job.next_turn += 1;
        }
        let of_job = &mut self.jobs[job];
        of_job.selected += 1;
        of_job.slots_available += 1;
        of_job.slots_used += 1;
        let of_destination = &mut self.destinations[destination];
        of_destination.todo -= 1;
        of_destination.busy += 1;
        self.decide_about_kept_connections(destination, now);
        self.transports[transport].current = Some(job);
        self.transports[transport].candidate = None;
        if self.jobs[job].waiting() == 0 && self.messages[self.jobs[job].message].unread.is_none() {
            self.retire(job);
        }
        self.refresh(destination);
        entry
    }

    /// A peer that has nothing more to do is forgotten. Its destination offers nothing at the moment.
    pub(crate) fn drop_peer(&mut self, peer: PeerId) {
        let Some(gone) = self.peers.remove(peer) else { return };
        let job = &mut self.jobs[gone.job];
        job.peers.remove(&gone.destination);
        if let Some(place) = job.place {
            self.destinations[gone.destination].peers.remove(place, peer);
        }
    }

    /// Takes a job that has nothing to do off the list; the next one is current then.
    pub(crate) fn retire(&mut self, job: JobId) {
        let Some(place) = self.jobs[job].place else { return };
        let transport = self.jobs[job].transport;
        if self.transports[transport].current == Some(job) {
            let next =
                self.transports[transport].jobs.range((Bound::Excluded(place), Bound::Unbounded)).next();
            self.transports[transport].current = next.map(|(_, &next)| next);
        }
        self.pop(job);
        self.take_off_list(job);
    }

    /// Connections are kept while requests follow each other (spec qmgr 15).
    fn decide_about_kept_connections(&mut self, destination: DestinationId, now: Instant) {
        let destination = &mut self.destinations[destination];
        let back_to_back = destination
            .last_finished
            .is_some_and(|then| now.saturating_duration_since(then) <= Duration::from_secs(1));
        if !destination.cache.store {
            if back_to_back {
                destination.cache = ConnectionCache { load: true, store: true };
            }
        } else if destination.busy <= 1 && !back_to_back {
            destination.cache.store = false;
        }
    }

    /// What the agent of a request is told about kept connections.
    #[must_use]
    pub fn connection_cache(&self, request: EntryId) -> ConnectionCache {
        let destination =
            self.entries.get(request).and_then(|entry| self.destinations.get(entry.destination));
        destination.map_or_else(ConnectionCache::default, |destination| destination.cache)
    }

    /// Takes back what a destination offers.
    pub(crate) fn withdraw(&mut self, destination: DestinationId) {
        let Some(offer) = self.destinations[destination].offer.take() else { return };
        let job = &mut self.jobs[offer.job];
        job.offers.remove(&offer.turn);
        if job.offers.is_empty() {
            self.transports[job.transport].ready.remove(&offer.place);
        }
    }

    /// Brings up to date what a destination offers and how many requests it can take, after any change of it.
    pub(crate) fn refresh(&mut self, destination: DestinationId) {
        let of_destination = &self.destinations[destination];
        let room = if of_destination.is_alive() {
            of_destination.window.size.saturating_sub(of_destination.busy) as usize
        } else {
            0
        };
        let capacity = room.min(of_destination.todo);
        let first = if room > 0 { of_destination.peers.first() } else { None };
        let offer = first.map(|(place, peer)| Offer {
            place,
            job: self.peers[peer].job,
            turn: self.peers[peer].turn,
            peer,
        });
        let known = of_destination.offer;
        let transport = &mut self.transports[of_destination.transport];
        transport.capacity = transport.capacity - of_destination.capacity + capacity;
        self.destinations[destination].capacity = capacity;
        if offer == known {
            return;
        }
        self.withdraw(destination);
        if let Some(offer) = offer {
            let job = &mut self.jobs[offer.job];
            job.offers.insert(offer.turn, offer.peer);
            let transport = &mut self.transports[job.transport];
            transport.ready.insert(offer.place, offer.job);
            self.destinations[destination].offer = Some(offer);
        }
    }

    /// A destination has room again: when that lets a job go that was passed over, the walk starts at the head of the list.
    pub(crate) fn unblock(&mut self, destination: DestinationId) {
        let Some(offer) = self.destinations[destination].offer else { return };
        let transport = self.destinations[destination].transport;
        let place = self.current_place(&self.transports[transport]);
        if place.is_none_or(|place| offer.place < place) {
            let transport = &mut self.transports[transport];
            transport.current = transport.jobs.values().next().copied();
        }
        self.transports[transport].candidate = None;
    }

    /// Whether a job has a peer that can go.
    pub(crate) fn can_go(&self, job: JobId) -> bool {
        let job = &self.jobs[job];
        !job.offers.is_empty()
            || job.peers.keys().any(|&destination| self.destinations[destination].has_room())
    }

    /// A destination without anything to do is forgotten, unless it has to be remembered for being dead or waiting. Its
    /// window starts afresh when it is met again.
    pub(crate) fn forget_if_idle(&mut self, destination: DestinationId) {
        let Some(of_destination) = self.destinations.get(destination) else { return };
        if !of_destination.is_empty() {
            return;
        }
        let many = usize::try_from(self.limits.recipients).unwrap_or(usize::MAX).saturating_mul(2);
        let is_forgotten = match of_destination.state {
            State::Alive => true,
            State::Dead(_) => self.destinations.len() > many,
            State::Waiting(_) => false,
        };
        if is_forgotten {
            let transport = &mut self.transports[of_destination.transport];
            transport.destinations.remove(&of_destination.name);
            self.destinations.remove(destination);
        }
    }
}
