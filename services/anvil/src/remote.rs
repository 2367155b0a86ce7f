//! The counters of each client, and how they change.
//!
//! A client is an identity, `SERVICE:CLIENT`. It has a count of open sessions and six rates that share one
//! start: the first event after `anvil_rate_time_unit` has passed sets all to zero and the start to its own
//! time. A client without sessions is forgotten one time unit after its last one ended. Times are given by the
//! caller, as time since the service started; rates go by whole seconds, as Postfix's do.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ipc::anvil::Counters;

/// What is counted per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Sessions.
    Connection,
    /// Messages.
    Message,
    /// Recipients.
    Recipient,
    /// New TLS sessions.
    NewTls,
    /// AUTH commands.
    Auth,
    /// TLS traces.
    TlsTrace,
}

impl Rate {
    /// How many there are.
    pub const COUNT: usize = 6;
}

#[derive(Debug, Default)]
struct Remote {
    count: i32,
    start: u64,
    rates: [i32; Rate::COUNT],
    /// When its last session ended, while it has none.
    idle_since: Option<Duration>,
}

/// All clients.
#[derive(Debug)]
pub(crate) struct Remotes {
    time_unit: Duration,
    known: HashMap<Vec<u8>, Remote>,
    /// Clients without sessions, the longest idle first; an entry is void when the client has sessions again.
    idle: VecDeque<(Duration, Vec<u8>)>,
}

impl Remotes {
    /// With this `anvil_rate_time_unit`.
    #[must_use]
    pub(crate) fn new(time_unit: Duration) -> Self {
        Self { time_unit, known: HashMap::new(), idle: VecDeque::new() }
    }

    /// `anvil_rate_time_unit`.
    #[must_use]
    pub(crate) fn time_unit(&self) -> Duration {
        self.time_unit
    }

    /// Number of clients known.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether this client is known.
    #[must_use]
    pub(crate) fn is_known(&self, ident: &[u8]) -> bool {
        self.known.contains_key(ident)
    }

    /// A session begins: open sessions, and the connection rate.
    pub(crate) fn connect(&mut self, ident: &[u8], now: Duration) -> (i32, i32) {
        let time_unit = self.time_unit;
        let remote = self.known.entry(ident.to_vec()).or_insert_with(|| Remote::new(now));
        remote.count = remote.count.saturating_add(1);
        remote.idle_since = None;
        (remote.count, remote.add(Rate::Connection, now, time_unit))
    }

    /// An event of a known client: its new rate.
    pub(crate) fn event(&mut self, ident: &[u8], rate: Rate, now: Duration) -> i32 {
        let time_unit = self.time_unit;
        self.known.get_mut(ident).map_or(0, |remote| remote.add(rate, now, time_unit))
    }

    /// A session ends.
    pub(crate) fn disconnect(&mut self, ident: &[u8], now: Duration) {
        let Some(remote) = self.known.get_mut(ident).filter(|remote| remote.count > 0) else { return };
        remote.count -= 1;
        if remote.count == 0 {
            remote.idle_since = Some(now);
            self.idle.push_back((now, ident.to_vec()));
        }
    }

    /// All counters; zero for a client that is not known, and for rates of a period that has passed.
    #[must_use]
    pub(crate) fn lookup(&self, ident: &[u8], now: Duration) -> Counters {
        let Some(remote) = self.known.get(ident) else { return Counters::default() };
        if remote.is_over(now, self.time_unit) {
            return Counters { count: remote.count, ..Counters::default() };
        }
        let [rate, mail, rcpt, newtls, auth, tlstr] = remote.rates;
        Counters { count: remote.count, rate, mail, rcpt, newtls, auth, tlstr }
    }

    /// When the next client is to be forgotten, at the earliest.
    #[must_use]
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.idle.front().map(|(since, _)| since.saturating_add(self.time_unit))
    }

    /// Forgets the clients that have been without sessions for long enough.
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some((since, _)) = self.idle.front()
            && since.saturating_add(self.time_unit) <= now
        {
            let Some((since, ident)) = self.idle.pop_front() else { break };
            if self.known.get(&ident).is_some_and(|remote| remote.idle_since == Some(since)) {
                self.known.remove(&ident);
            }
        }
    }
}

impl Remote {
    fn new(now: Duration) -> Self {
        Self { start: now.as_secs(), ..Self::default() }
    }

    fn is_over(&self, now: Duration, time_unit: Duration) -> bool {
        self.start + time_unit.as_secs() < now.as_secs()
    }

    fn add(&mut self, rate: Rate, now: Duration, time_unit: Duration) -> i32 {
        if self.is_over(now, time_unit) {
            self.rates = [0; Rate::COUNT];
            self.start = now.as_secs();
        }
        let value = &mut self.rates[rate as usize];
        *value = value.saturating_add(1);
        *value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn counts_and_rates() {
        let mut remotes = Remotes::new(at(60));
        assert_eq!(remotes.connect(b"a", at(0)), (1, 1));
        assert_eq!(remotes.connect(b"a", at(1)), (2, 2));
        assert_eq!(remotes.event(b"a", Rate::Message, at(2)), 1);
        assert_eq!(remotes.event(b"a", Rate::Message, at(60)), 2);
        let all = Counters { count: 2, rate: 2, mail: 2, ..Counters::default() };
        assert_eq!(remotes.lookup(b"a", at(60)), all);
        // One second past the period: lookups see nothing, the next event starts anew.
        assert_eq!(remotes.lookup(b"a", at(61)), Counters { count: 2, ..Counters::default() });
        assert_eq!(remotes.event(b"a", Rate::Recipient, at(61)), 1);
        assert_eq!(remotes.lookup(b"a", at(61)).mail, 0);
        assert_eq!(remotes.lookup(b"b", at(61)), Counters::default());
        assert_eq!(remotes.event(b"b", Rate::Auth, at(61)), 0);
    }

    #[test]
    fn idle_clients_are_forgotten_unless_they_come_back() {
        let mut remotes = Remotes::new(at(10));
        remotes.connect(b"a", at(0));
        remotes.connect(b"b", at(0));
        remotes.disconnect(b"a", at(1));
        remotes.disconnect(b"b", at(2));
        remotes.disconnect(b"b", at(2));
        remotes.connect(b"a", at(5));
        remotes.disconnect(b"a", at(6));
        assert_eq!(remotes.next_expiry(), Some(at(11)));
        remotes.expire(at(12));
        assert!(remotes.is_known(b"a") && !remotes.is_known(b"b"));
        remotes.expire(at(16));
        assert!(remotes.len() == 0);
        assert_eq!(remotes.next_expiry(), None);
    }

    #[test]
    fn counters_stop_at_the_top() {
        let mut remotes = Remotes::new(at(10));
        remotes.connect(b"a", at(0));
        remotes.known.get_mut(&b"a"[..]).unwrap().count = i32::MAX;
        assert_eq!(remotes.connect(b"a", at(0)), (i32::MAX, 2));
    }
}
