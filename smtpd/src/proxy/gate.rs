//! The bound of filter conversations in a process (`smtpd_proxy_concurrency_limit`), and the queue before it.
//!
//! Who has a whole message in the spool waits here for a free conversation: in order of arrival, except that a client
//! that has its share of the conversations lets others go first. The share is the limit divided by the number of
//! clients that are here. Nobody waits longer than `smtpd_proxy_queue_time_limit`; who would have to, going by how long
//! conversations took lately, is told at once, and new mail is not taken in as long as that is so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Activity;

/// A message that passed MAIL so long ago and is not here yet is not counted: slow clients must not make the server
/// look busy.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// Conversations to measure before a prediction is made from them.
const ENOUGH: u32 = 3;
/// How much a conversation counts in the average: one in so many.
const MEMORY: u32 = 8;

/// The gate before the filter.
#[derive(Debug)]
pub struct Gate {
    limit: usize,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Conversations, by number.
    running: BTreeMap<u64, Running>,
    waiting: VecDeque<Waiting>,
    /// Messages past MAIL that are not here yet; later numbers came later.
    on_the_way: BTreeMap<u64, Instant>,
    average: Duration,
    measured: u32,
}

#[derive(Debug)]
struct Running {
    client: Vec<u8>,
    since: Instant,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    client: Vec<u8>,
    since: Instant,
    wake: Arc<Condvar>,
}

/// The filter has no time for this message before the client's patience ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Gate {
    /// A gate for so many conversations at a time, at least one.
    pub fn new(limit: usize, patience: Duration) -> Self {
        Self { limit: limit.max(1), patience, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message that begins now can be expected to get its turn; it is counted until it is dropped.
    ///
    /// # Errors
    /// It would have to wait for too long.
    pub fn announce(self: &Arc<Self>) -> Result<Announced, Busy> {
        let mut state = self.state();
        let now = Instant::now();
        let recent = |since: &&Instant| now.saturating_duration_since(**since) < ON_THE_WAY;
        let on_the_way = state.on_the_way.values().rev().take_while(recent).count();
        let before = state.running.len() + state.waiting.len() + on_the_way;
        if before >= self.limit && self.wait_behind(&state, before - self.limit) > self.patience {
            return Err(Busy);
        }
        let number = state.number();
        state.on_the_way.insert(number, now);
        Ok(Announced { gate: Arc::clone(self), number })
    }

    /// Waits for a conversation.
    ///
    /// # Errors
    /// None became free in time, or none will.
    pub fn enter(self: &Arc<Self>, client: &[u8]) -> Result<Place, Busy> {
        let mut state = self.state();
        let number = state.number();
        let wake = Arc::new(Condvar::new());
        let since = Instant::now();
        state.waiting.push_back(Waiting { number, client: client.to_vec(), since, wake: Arc::clone(&wake) });
        self.admit(&mut state);
        metrics::activity(Activity::FilterTurn);
        loop {
            if state.running.contains_key(&number) {
                return Ok(Place { gate: Arc::clone(self), number });
            }
            let left = self.patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                state.waiting.retain(|waiting| waiting.number != number);
            }
            if !state.waiting.iter().any(|waiting| waiting.number == number) {
                return Err(Busy);
            }
            state = wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives free conversations to those whose turn it is.
    fn admit(&self, state: &mut State) {
        while state.running.len() < self.limit
            && let Some(waiting) = state.next_in_turn(self.limit)
        {
            state.running.insert(waiting.number, Running { client: waiting.client, since: Instant::now() });
            waiting.wake.notify_one();
        }
    }

    /// Sends away who would wait too long.
    fn dismiss(&self, state: &mut State) {
        if state.measured < ENOUGH {
            return;
        }
        let mut kept = VecDeque::new();
        for waiting in std::mem::take(&mut state.waiting) {
            if waiting.since.elapsed() + self.wait_behind(state, kept.len()) > self.patience {
                waiting.wake.notify_one();
            } else {
                kept.push_back(waiting);
            }
        }
        state.waiting = kept;
    }

    /// The wait of who has so many waiting before him.
    fn wait_behind(&self, state: &State, before: usize) -> Duration {
        let average = if state.measured < ENOUGH { Duration::ZERO } else { state.average };
        // A filter that has stopped answering ends no conversation that could be measured.
        let stuck = state.running.values().map(|running| running.since.elapsed()).min().unwrap_or_default();
        let each = average.max(stuck);
        let turns = u32::try_from(before + 1).unwrap_or(u32::MAX);
        each.saturating_mul(turns) / u32::try_from(self.limit).unwrap_or(u32::MAX)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn next_in_turn(&mut self, limit: usize) -> Option<Waiting> {
        let running = self.running.values().map(|running| &running.client);
        let clients: BTreeSet<&Vec<u8>> =
            running.chain(self.waiting.iter().map(|waiting| &waiting.client)).collect();
        let share = limit.div_ceil(clients.len().max(1));
        let below_share = |waiting: &Waiting| {
            self.running.values().filter(|running| running.client == waiting.client).count() < share
        };
        let index = self.waiting.iter().position(below_share).unwrap_or(0);
        self.waiting.remove(index)
    }

    fn measure(&mut self, took: Duration) {
        self.measured = self.measured.saturating_add(1);
        let weight = self.measured.min(MEMORY);
        self.average = (self.average * (weight - 1) + took) / weight;
    }
}

/// A message on its way to the gate.
#[derive(Debug)]
pub struct Announced {
    gate: Arc<Gate>,
    number: u64,
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.gate.state().on_the_way.remove(&self.number);
    }
}

/// The right to one conversation, until it is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if let Some(running) = state.running.remove(&self.number) {
            state.measure(running.since.elapsed());
        }
        self.gate.admit(&mut state);
        self.gate.dismiss(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(limit: usize) -> Arc<Gate> {
        Arc::new(Gate::new(limit, Duration::from_secs(60)))
    }

    fn queue(gate: &Gate, client: &str) {
        let mut state = gate.state();
        let number = state.number();
        let (client, since) = (client.as_bytes().to_vec(), Instant::now());
        state.waiting.push_back(Waiting { number, client, since, wake: Arc::default() });
    }

    fn running(gate: &Gate) -> Vec<String> {
        let state = gate.state();
        state.running.values().map(|running| String::from_utf8_lossy(&running.client).into_owned()).collect()
    }

    #[test]
    fn in_order_but_no_more_than_the_share() {
        let gate = patient(4);
        for client in ["a", "a", "a", "a", "a", "b", "a"] {
            queue(&gate, client);
        }
        gate.admit(&mut gate.state());
        assert_eq!(running(&gate), ["a", "a", "a", "b"], "two each, then the first who waits");
        let gate = patient(3);
        ["a", "a", "a", "a"].iter().for_each(|client| queue(&gate, client));
        gate.admit(&mut gate.state());
        assert_eq!(running(&gate), ["a", "a", "a"], "alone, a client has them all");
    }

    #[test]
    fn never_more_than_the_limit() {
        let gate = patient(3);
        let most = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let _place = gate.enter(b"a").unwrap();
                    let now = gate.state().running.len();
                    let mut most = most.lock().unwrap();
                    *most = now.max(*most);
                });
            }
        });
        assert!(*most.lock().unwrap() <= 3);
        assert!(running(&gate).is_empty());
    }

    #[test]
    fn who_would_wait_too_long_is_told_at_once() {
        let gate = Arc::new(Gate::new(2, Duration::from_secs(60)));
        for _ in 0..4 {
            gate.state().measure(Duration::from_secs(50));
        }
        let mut announced = Vec::new();
        while let Ok(one) = gate.announce() {
            announced.push(one);
        }
        // Two at once, and two who wait 25 and 50 seconds.
        assert_eq!(announced.len(), 4);
        announced.clear();
        for _ in 0..6 {
            queue(&gate, "a");
        }
        gate.admit(&mut gate.state());
        gate.dismiss(&mut gate.state());
        let state = gate.state();
        assert_eq!((state.running.len(), state.waiting.len()), (2, 2));
    }

    #[test]
    fn patience_ends() {
        let gate = Arc::new(Gate::new(1, Duration::from_millis(30)));
        let _place = gate.enter(b"a").unwrap();
        assert_eq!(gate.enter(b"b").unwrap_err(), Busy);
        assert!(gate.state().waiting.is_empty());
        assert_eq!(gate.announce().unwrap_err(), Busy, "the one that runs does not end");
    }
}
