//! Dead transports and destinations, and how they come back (spec qmgr 12 to 14).

use std::cmp::Reverse;
use std::time::Instant;

use crate::model::{DestinationId, JobId, MessageId, State, Suspension, TransportId};
use crate::window::Window;
use crate::{Fault, Scheduler};

/// Recipients that can be handed to nobody: even `retry` is dead. Who is asked defers them himself.
#[derive(Debug)]
pub struct Stranded<R> {
    /// Their message.
    pub message: MessageId,
    /// They.
    pub recipients: Vec<R>,
    /// Why the delivery was not tried.
    pub fault: Fault,
}

/// Whose time may have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    Transport(TransportId),
    Destination(DestinationId),
}

impl<R> Scheduler<R> {
    /// A transport does not take requests: nobody listens, or what listens is no agent.
    #[must_use]
    pub fn transport_failed(
        &mut self,
        transport: TransportId,
        fault: &Fault,
        now: Instant,
    ) -> Vec<Stranded<R>> {
        if self.transports[transport].dead.is_some() {
            return Vec::new();
        }
        let until = now + self.limits.transport_retry_time;
        self.transports[transport].dead = Some(Suspension { fault: fault.clone(), until });
        self.set_alarm(until, Alarm::Transport(transport));
        let mut destinations: Vec<_> = self.transports[transport].destinations.values().copied().collect();
        destinations.sort_unstable();
        destinations.into_iter().flat_map(|destination| self.move_to_retry(destination, fault, now)).collect()
    }

    /// The request could not be sent: it waits again, before all others of its peer.
    pub fn put_back(&mut self, request: crate::EntryId) {
        let entry = &mut self.entries[request];
        entry.is_busy = false;
        let (job, destination) = (entry.job, entry.destination);
        self.transports[self.jobs[job].transport].gate = crate::model::Gate::Open;
        self.destinations[destination].busy -= 1;
        self.destinations[destination].todo += 1;
        self.jobs[job].selected -= 1;
        self.jobs[job].slots_available -= 1;
        self.jobs[job].slots_used -= 1;
        self.withdraw(destination);
        self.queue_again(job, destination, request);
        self.refresh(destination);
        self.unblock(destination);
    }

    /// Moves what waits for a destination to `retry`, with the reason why it is not tried.
    pub(crate) fn move_to_retry(
        &mut self,
        destination: DestinationId,
        fault: &Fault,
        now: Instant,
    ) -> Vec<Stranded<R>> {
        let mut stranded = Vec::new();
        self.withdraw(destination);
        for peer in self.destinations[destination].peers.peers() {
            let job = self.peers[peer].job;
            let entries = std::mem::take(&mut self.peers[peer].entries);
            self.drop_peer(peer);
            for entry in entries {
                let Some(entry) = self.entries.remove(entry) else { continue };
                let count = i64::try_from(entry.recipients.len()).unwrap_or(i64::MAX);
                self.destinations[destination].todo -= 1;
                self.jobs[job].made -= 1;
                self.count_recipients(job, -count);
                self.messages[entry.message].outstanding -= 1;
                match self.retry_destination(fault) {
                    Some(retry) => {
                        let job = self.job(entry.message, self.destinations[retry].transport);
                        self.add_entry(job, retry, entry.recipients, now);
                        self.count_recipients(job, count);
                    }
                    None => stranded.push(Stranded {
                        message: entry.message,
                        recipients: entry.recipients,
                        fault: fault.clone(),
                    }),
                }
            }
            self.retire_if_idle(job);
        }
        self.refresh(destination);
        self.forget_if_idle(destination);
        stranded
    }

    fn retire_if_idle(&mut self, job: JobId) {
        if self.jobs[job].waiting() == 0 && self.messages[self.jobs[job].message].unread.is_none() {
            self.retire(job);
        }
    }

    pub(crate) fn revive_transport(&mut self, transport: TransportId) {
        self.transports[transport].dead = None;
    }

    /// Lets a dead destination take requests again; if there are none it is forgotten.
    fn wake_destination(&mut self, destination: DestinationId) {
        self.revive_destination(destination);
        self.forget_if_idle(destination);
    }

    /// Lets a dead destination take requests again, with a window of its own.
    pub(crate) fn revive_destination(&mut self, destination: DestinationId) {
        let of_destination = &mut self.destinations[destination];
        if matches!(of_destination.state, State::Dead(_)) {
            let settings = &self.transports[of_destination.transport].settings;
            of_destination.state = State::Alive;
            of_destination.window = Window::revived(settings, of_destination.busy);
        }
        self.refresh(destination);
        self.unblock(destination);
    }

    /// The whole queue is flushed: nobody is dead any more.
    pub fn revive_all(&mut self) {
        let transports: Vec<_> = self.transports.keys().collect();
        for transport in transports {
            self.revive_transport(transport);
        }
        let dead =
            self.destinations.iter().filter(|(_, destination)| matches!(destination.state, State::Dead(_)));
        let dead: Vec<_> = dead.map(|(id, _)| id).collect();
        for destination in dead {
            self.wake_destination(destination);
        }
    }

    pub(crate) fn set_alarm(&mut self, when: Instant, alarm: Alarm) {
        self.alarms.push(Reverse((when, alarm)));
    }

    /// When [`moment_passed`](Self::moment_passed) has something to do.
    #[must_use]
    pub fn next_moment(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse((when, _))| *when)
    }

    /// Revives whose time has come.
    pub fn moment_passed(&mut self, now: Instant) {
        while let Some(&Reverse((when, alarm))) = self.alarms.peek() {
            if when > now {
                return;
            }
            self.alarms.pop();
            match alarm {
                Alarm::Transport(id) => {
                    let dead = self.transports.get(id).and_then(|transport| transport.dead.as_ref());
                    if dead.is_some_and(|dead| dead.until <= now) {
                        self.revive_transport(id);
                    }
                }
                Alarm::Destination(id) => {
                    match self.destinations.get(id).map(|destination| &destination.state) {
                        Some(State::Dead(dead)) if dead.until <= now => self.wake_destination(id),
                        Some(State::Waiting(until)) if *until <= now => self.resume(id),
                        _ => {}
                    }
                }
            }
        }
    }

    /// The rate delay is over.
    fn resume(&mut self, destination: DestinationId) {
        let of_destination = &mut self.destinations[destination];
        of_destination.state = State::Alive;
        of_destination.window.size = 1;
        self.refresh(destination);
        self.unblock(destination);
        self.forget_if_idle(destination);
    }
}
