//! The slots of a process with many sessions, as master is told about them.
//!
//! Master counts the process as idle until it is full: TAKEN is sent when the last slot is taken, AVAIL when one is
//! free again. A slot is reserved before a client is taken from the listen socket, and counts as a session once it is
//! occupied; whoever finds no client gives it back as if nothing had been.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::status::StatusChannel;
use crate::uses::Uses;

/// The slots of a process.
pub(crate) struct Slots<'a> {
    limit: usize,
    status: &'a StatusChannel,
    /// Sessions that may still begin.
    uses: &'a Uses,
    taken: Mutex<Taken>,
    freed: Condvar,
}

struct Taken {
    count: usize,
    /// When the last session ended.
    since: Instant,
    /// Somebody waits for a slot to become free.
    awaited: bool,
    /// Master counts this process as busy.
    told: bool,
    /// Nobody is taken any more.
    draining: bool,
    master_gone: bool,
}

impl<'a> Slots<'a> {
    pub(crate) fn new(limit: usize, uses: &'a Uses, status: &'a StatusChannel) -> Self {
        let taken = Taken {
            count: 0,
            since: Instant::now(),
            awaited: false,
            told: false,
            draining: false,
            master_gone: false,
        };
        Self { limit, status, uses, taken: Mutex::new(taken), freed: Condvar::new() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for a client that may come; `None` when there is none, or nobody is to be taken any more.
    pub(crate) fn reserve(&self) -> Option<Slot<'_, 'a>> {
        let mut taken = self.taken();
        if taken.count >= self.limit || taken.draining || self.uses.are_over() {
            return None;
        }
        taken.count += 1;
        Some(Slot { slots: self, occupied: false })
    }

    /// Whether as many sessions have begun as may.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.uses.are_over()
    }

    /// Waits for a free slot; whether it had to.
    pub(crate) fn wait_for_one(&self) -> bool {
        let mut taken = self.taken();
        let full = taken.count >= self.limit;
        while taken.count >= self.limit {
            taken.awaited = true;
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        full
    }

    /// Whether master could not be told something.
    pub(crate) fn master_is_gone(&self) -> bool {
        self.taken().master_gone
    }

    /// Since when nobody is served; now, while somebody is.
    pub(crate) fn idle_since(&self) -> Instant {
        let taken = self.taken();
        if taken.count == 0 { taken.since } else { Instant::now() }
    }

    pub(crate) fn is_idle_for(&self, span: Option<Duration>) -> bool {
        let taken = self.taken();
        taken.count == 0 && span.is_some_and(|span| taken.since.elapsed() >= span)
    }

    fn tell_busy(&self, taken: &mut Taken) {
        if !taken.told {
            self.status.taken();
            taken.told = true;
        }
    }

    /// Takes nobody any more.
    pub(crate) fn close(&self) {
        self.taken().draining = true;
    }

    /// Waits until all have gone. Nobody must be taken any more.
    pub(crate) fn drain(&self) {
        let mut taken = self.taken();
        if taken.count > 0 {
            self.tell_busy(&mut taken);
        }
        while taken.count > 0 {
            taken.awaited = true;
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One of the slots; given back when it is dropped, whatever happened in it.
pub(crate) struct Slot<'p, 'a> {
    slots: &'p Slots<'a>,
    occupied: bool,
}

impl Slot<'_, '_> {
    /// A session begins; whether it is the last that may.
    pub(crate) fn occupy(&mut self) -> bool {
        self.occupied = true;
        let mut taken = self.slots.taken();
        self.slots.uses.begin();
        if taken.count >= self.slots.limit {
            self.slots.tell_busy(&mut taken);
        }
        self.slots.uses.are_over()
    }
}

impl Drop for Slot<'_, '_> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.count = taken.count.saturating_sub(1);
        if self.occupied {
            taken.since = Instant::now();
        }
        if taken.told && !taken.draining {
            taken.told = false;
            taken.master_gone |= !self.slots.status.available();
        }
        // To wake nobody is a system call, too.
        if std::mem::take(&mut taken.awaited) {
            self.slots.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// What master has been told since it was last asked.
    fn told(master: &mut UnixStream) -> Vec<u8> {
        let mut bytes = [0; 240];
        let count = master.read(&mut bytes).unwrap_or(0);
        bytes[..count].chunks(12).map(|record| record[8]).collect()
    }

    fn channel() -> (UnixStream, StatusChannel) {
        let (master, child) = UnixStream::pair().unwrap();
        master.set_nonblocking(true).unwrap();
        (master, StatusChannel::new(child.into(), 1))
    }

    #[test]
    fn master_hears_of_the_last_slot_only() {
        let (mut master, status) = channel();
        let uses = Uses::of(None);
        let slots = Slots::new(2, &uses, &status);
        let mut one = slots.reserve().unwrap();
        one.occupy();
        let mut two = slots.reserve().unwrap();
        assert!(slots.reserve().is_none());
        assert_eq!(told(&mut master), [], "nobody has come yet");
        two.occupy();
        assert_eq!(told(&mut master), [0]);
        drop(one);
        assert_eq!(told(&mut master), [1]);
        drop(slots.reserve());
        assert_eq!(told(&mut master), [], "and nobody came");
        drop(two);
        assert_eq!(told(&mut master), []);
        assert!(!slots.master_is_gone());
    }

    #[test]
    fn a_process_wears_out_by_those_who_came() {
        let (_master, status) = channel();
        let uses = Uses::of(Some(2));
        let slots = Slots::new(9, &uses, &status);
        drop(slots.reserve());
        assert!(!slots.reserve().unwrap().occupy());
        assert!(slots.reserve().unwrap().occupy(), "the last");
        assert!(slots.is_worn_out() && slots.reserve().is_none());
    }

    #[test]
    fn who_drains_is_busy_to_the_end() {
        let (mut master, status) = channel();
        let uses = Uses::of(None);
        let slots = Slots::new(2, &uses, &status);
        let mut one = slots.reserve().unwrap();
        one.occupy();
        slots.close();
        assert!(slots.reserve().is_none());
        std::thread::scope(|scope| {
            let drained = scope.spawn(|| slots.drain());
            while !slots.taken().awaited {
                std::thread::yield_now();
            }
            drop(one);
            drained.join().unwrap();
        });
        assert_eq!(told(&mut master), [0]);
    }
}
