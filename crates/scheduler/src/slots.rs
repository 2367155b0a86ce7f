//! Recipients in memory: how many a message may have, so that a large one does not take the room of all (spec qmgr 6).
//!
//! Every message has [`Limits::recipient_minimum`](crate::Limits) slots. A transport has a pool of more, which the oldest
//! of its jobs with unread recipients has, and gives back when the recipients are delivered.

use crate::Scheduler;
use crate::model::{JobId, MessageId};

/// Recipients that one reading gives at most.
const MAX_READING: i64 = 5000;

/// How many recipients may be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room(pub usize);

impl<R> Scheduler<R> {
    /// For the first reading of a message that is in nobody's way yet.
    #[must_use]
    pub fn room_for_new(&self) -> Room {
        let free = self.limits.recipients - self.recipients;
        Self::room(free.max(self.limits.recipient_minimum))
    }

    /// For a further reading.
    #[must_use]
    pub fn room_for_more(&self, message: MessageId) -> Room {
        Self::room(self.messages.get(message).map_or(0, |message| message.free_slots()))
    }

    fn room(slots: i64) -> Room {
        Room(usize::try_from(slots.clamp(0, MAX_READING)).unwrap_or(0))
    }

    pub(crate) fn count_recipients(&mut self, job: JobId, change: i64) {
        let job = &mut self.jobs[job];
        job.recipients += change;
        self.messages[job.message].recipients += change;
        self.recipients += change;
    }

    /// A job that comes onto the list takes what nobody has.
    pub(crate) fn take_free_slots(&mut self, job: JobId) {
        let free = &mut self.transports[self.jobs[job].transport].free_slots;
        if *free > 0 {
            let slots = std::mem::take(free);
            self.jobs[job].slots += slots;
            self.messages[self.jobs[job].message].slots += slots;
        }
    }

    /// A job that passes others gets more than there is, so that it comes to its end.
    pub(crate) fn give_extra_slots(&mut self, job: JobId, extra: i64) {
        let free = &mut self.transports[self.jobs[job].transport].free_slots;
        let slots = (extra + *free + 1) / 2;
        *free -= slots;
        self.jobs[job].slots += slots;
        self.messages[self.jobs[job].message].slots += slots;
    }

    /// A message whose recipients are all read gives back what they do not need.
    pub(crate) fn return_slots(&mut self, message: MessageId) {
        if self.messages[message].unread.is_some() {
            return;
        }
        let jobs: Vec<_> = self.messages[message].jobs.values().copied().collect();
        for job in jobs {
            let of_job = &mut self.jobs[job];
            let of_message = &mut self.messages[message];
            let slots = (of_job.slots - of_job.recipients).min(of_message.free_slots());
            if slots > 0 {
                of_job.slots -= slots;
                of_message.slots -= slots;
                self.give_to_oldest(job, slots);
            }
        }
    }

    /// Puts slots of a job back into its transport's pool, from where the oldest job that has recipients to read takes
    /// them.
    pub(crate) fn give_to_oldest(&mut self, from: JobId, slots: i64) {
        let transport = &mut self.transports[self.jobs[from].transport];
        transport.free_slots += slots;
        if let Some(&job) = transport.unread.values().next() {
            self.take_free_slots(job);
        }
    }
}
