//! The filters of a process: which there are, how they are, and connections that wait for the next message.
//!
//! With one address in `smtpd_proxy_filter` this is only a place for the connection that
//! `smtpd_proxy_reuse_limit` lets live on. With several, a conversation goes to the filter that has the fewest of this
//! process at the moment; one that failed rests, for a second at first and twice as long each time, up to
//! [`LONGEST_REST`], until it has answered to a message. A filter has failed when it could not be reached, did not greet,
//! or broke off; what it answers is its own business.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipc::pool::KEPT;
use smtp::client::{Conversation, Endpoint, Features, Socket};

use super::counters::Counters;
use super::learning::Learnt;

/// How long a filter rests after its first failure.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest a filter rests.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Time for a filter to take leave, where its connections are counted.
pub(super) const LEAVE: Duration = Duration::from_secs(1);

/// How long a connection may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    /// `smtpd_proxy_reuse_limit`: messages.
    pub limit: u32,
    /// `smtpd_proxy_reuse_idle_limit`: time between two of them.
    pub idle: Duration,
}

impl Default for Reuse {
    fn default() -> Self {
        Self { limit: 1, idle: Duration::from_secs(10) }
    }
}

/// What becomes of a filter that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resting {
    /// It is tried each time, as there is no other way to go.
    Never,
    /// It is tried only when all the others rest as well.
    WhileOthersWork,
    /// It is left alone until its rest is over.
    Always,
}

/// The filters, in the order of main.cf.
pub struct Filters {
    endpoints: Vec<Endpoint>,
    reuse: Reuse,
    resting: Resting,
    /// Connections at a time, idle ones included (`smtpd_proxy_concurrency_limit`).
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    members: Vec<Member>,
    turn: usize,
    /// Connections that are being ended by somebody who does not open another one in their place.
    leaving: usize,
    /// A thread watches over idle connections.
    watched: bool,
}

#[derive(Debug, Default)]
struct Member {
    busy: usize,
    failures: u32,
    rests_until: Option<Instant>,
    idle: Vec<Idle>,
    learnt: Option<Learnt>,
    counters: Counters,
}

/// A connection between two messages.
pub struct Idle {
    /// The conversation, no command outstanding.
    pub conversation: Conversation<Socket>,
    /// What the filter announced.
    pub features: Features,
    /// Messages it has had.
    pub messages: u32,
    /// The last of them was given up before DATA: RSET comes first.
    pub unfinished: bool,
    since: Instant,
}

impl Idle {
    /// Put away now.
    pub fn new(
        conversation: Conversation<Socket>,
        features: Features,
        messages: u32,
        unfinished: bool,
    ) -> Self {
        Self { conversation, features, messages, unfinished, since: Instant::now() }
    }

    fn quit(mut self) {
        self.say_quit();
    }

    fn say_quit(&mut self) {
        // Nobody waits for it any more.
        self.conversation.set_timeout(LEAVE);
        let _ = self.conversation.write_line(b"QUIT").and_then(|()| self.conversation.flush());
    }
}

/// After QUIT: waits for the end of the connection, but no longer than this. Until then it is one to the filter.
pub(super) fn wait_for_end(conversation: &mut Conversation<Socket>, deadline: Instant) {
    // The answer, and the end.
    for _ in 0..2 {
        conversation
            .set_timeout(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        if conversation.read_reply(&mut |_| {}).is_err() {
            break;
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Idle {{ messages: {} }}", self.messages)
    }
}

impl Filters {
    /// Addresses that are none.
    pub fn faults(&self) -> impl Iterator<Item = String> {
        self.endpoints.iter().filter_map(Endpoint::fault)
    }

    /// Filters at these addresses; nothing is known about them yet.
    pub fn new(endpoints: Vec<Endpoint>, reuse: Reuse, resting: Resting) -> Self {
        let members = endpoints.iter().map(|_| Member::default()).collect();
        // Processes do not all begin with the same one; process ids may go up in steps, so their bits are mixed.
        let mixed = std::process::id().wrapping_mul(0x9e37_79b1) >> 16;
        let turn = mixed as usize % endpoints.len().max(1);
        let state = Mutex::new(State { members, turn, leaving: 0, watched: false });
        Self { endpoints, reuse, resting, limit: usize::MAX, state, changed: Condvar::new() }
    }

    /// With so many connections at a time, when there is a limit; whoever chooses a filter keeps to it, here it is idle
    /// ones that make room.
    #[must_use]
    pub fn limited(self, limit: Option<usize>) -> Self {
        Self { limit: limit.unwrap_or(usize::MAX), ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.endpoints.len()
    }

    /// Connections that may be idle while others are not, beyond the few that are kept without a limit.
    pub fn kept(&self) -> usize {
        if self.reuses() && self.limit < usize::MAX { self.limit } else { 0 }
    }

    /// Connections may have a second message.
    pub fn reuses(&self) -> bool {
        self.reuse.limit > 1
    }

    /// The filter for the next conversation, none of `tried`; `None` when there is none left to try.
    pub fn choose(self: &Arc<Self>, tried: &BTreeSet<usize>) -> Option<Lease> {
        let mut state = self.state();
        let now = Instant::now();
        let count = self.endpoints.len();
        state.turn = (state.turn + 1) % count.max(1);
        let turn = state.turn;
        let rests = |member: &Member| match self.resting {
            Resting::Never => None,
            _ => member.rests_until.filter(|until| *until > now),
        };
        let candidates = state.members.iter().enumerate().filter(|(index, _)| !tried.contains(index));
        let (index, member) = candidates.min_by_key(|(index, member)| {
            // Who is awake, then who has least to do, then who is known to be there, then in turn.
            (rests(member), member.busy, member.idle.is_empty(), (index + count - turn) % count)
        })?;
        if self.resting == Resting::Always && rests(member).is_some() {
            return None;
        }
        state.members[index].busy += 1;
        drop(state);
        Some(Lease { filters: Arc::clone(self), index })
    }

    /// What all filters that have been talked to announce.
    pub(crate) fn learnt(&self) -> Option<Learnt> {
        let state = self.state();
        state.members.iter().filter_map(|member| member.learnt).reduce(Learnt::both)
    }

    /// Each filter with what was counted of it, for the log.
    pub fn counted(&self) -> Vec<(String, Counters)> {
        let state = self.state();
        let names = self.endpoints.iter().map(ToString::to_string);
        names.zip(state.members.iter().map(|member| member.counters)).collect()
    }

    /// Takes leave of all filters.
    pub fn close(&self) {
        let idle: Vec<Idle> =
            self.state().members.iter_mut().flat_map(|member| std::mem::take(&mut member.idle)).collect();
        idle.into_iter().for_each(Idle::quit);
    }

    /// Ends connections that count as leaving.
    fn end(&self, mut old: Vec<Idle>) {
        for idle in &mut old {
            idle.say_quit();
        }
        let deadline = Instant::now() + LEAVE;
        for mut idle in old {
            if self.limit < usize::MAX {
                wait_for_end(&mut idle.conversation, deadline);
            }
            drop(idle);
            self.state().leaving -= 1;
            self.changed.notify_all();
        }
    }

    /// Closes what has been idle for too long, until nothing is idle any more.
    fn watch(self: &Arc<Self>) {
        let mut state = self.state();
        loop {
            let mut old = Vec::new();
            for member in &mut state.members {
                let (gone, kept) = std::mem::take(&mut member.idle)
                    .into_iter()
                    .partition(|idle: &Idle| idle.since.elapsed() >= self.reuse.idle);
                member.idle = kept;
                old.extend::<Vec<Idle>>(gone);
            }
            if !old.is_empty() {
                state.leaving += old.len();
                drop(state);
                self.end(old);
                state = self.state();
                continue;
            }
            let eldest =
                state.members.iter().flat_map(|member| &member.idle).map(|idle| idle.since.elapsed()).max();
            let Some(eldest) = eldest else {
                state.watched = false;
                return;
            };
            let wait = self.reuse.idle.saturating_sub(eldest);
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Open ones, and those that are about to be.
    fn connections(&self) -> usize {
        self.leaving + self.members.iter().map(|member| member.busy + member.idle.len()).sum::<usize>()
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints.iter().map(ToString::to_string)).finish()
    }
}

/// A conversation with one of the filters, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    filters: Arc<Filters>,
    index: usize,
}

impl Lease {
    /// Which one.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.filters.endpoints[self.index]
    }

    fn member<R>(&self, work: impl FnOnce(&mut Member) -> R) -> R {
        work(&mut self.filters.state().members[self.index])
    }

    /// A connection that is still open, as far as one can see.
    pub fn idle(&self) -> Option<Idle> {
        loop {
            let mut idle = self.member(|member| member.idle.pop())?;
            // A filter that has something to say now says that it leaves, or has left.
            let stale = idle.conversation.input_waiting();
            if !stale && idle.since.elapsed() < self.filters.reuse.idle {
                return Some(idle);
            }
            if stale {
                self.count(|counters| counters.stale += 1);
            }
            self.filters.state().leaving += 1;
            self.filters.end(vec![idle]);
        }
    }

    /// Whether a connection may have another message after so many.
    pub(crate) fn may_keep(&self, messages: u32) -> bool {
        messages < self.filters.reuse.limit
    }

    /// Closes idle connections, of any filter, as long as there is no room for another one; and waits for those that
    /// others close.
    pub fn make_room(&self) {
        let mut state = self.filters.state();
        while state.connections() > self.filters.limit {
            let enough = state.connections() - state.leaving <= self.filters.limit;
            let idle = state.members.iter_mut().filter(|_| !enough).find_map(|member| member.idle.pop());
            if let Some(idle) = idle {
                state.leaving += 1;
                drop(state);
                self.filters.end(vec![idle]);
                state = self.filters.state();
            } else if state.leaving > 0 {
                // Whoever ends a connection waits for the filter no longer than LEAVE.
                state = self.filters.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                return;
            }
        }
    }

    /// Puts a connection away for the next message.
    pub fn keep(&self, idle: Idle) {
        let mut state = self.filters.state();
        let kept: usize = state.members.iter().map(|member| member.idle.len()).sum();
        if self.filters.limit == usize::MAX && kept >= KEPT {
            drop(state);
            return idle.quit();
        }
        state.members[self.index].idle.push(idle);
        let watched = std::mem::replace(&mut state.watched, true);
        drop(state);
        if watched {
            return;
        }
        let filters = Arc::clone(&self.filters);
        let watcher = std::thread::Builder::new().name("filters".into()).stack_size(64 * 1024);
        if watcher.spawn(move || filters.watch()).is_err() {
            // Without a watcher nothing may stay.
            self.filters.state().watched = false;
            self.filters.close();
        }
    }

    /// The filter has answered to a message.
    pub fn answered(&self) {
        let was_away = self.member(|member| {
            member.rests_until = None;
            std::mem::take(&mut member.failures) > 0
        });
        if was_away && self.filters.resting != Resting::Never {
            log::info!("proxy filter {}: back in service", self.endpoint());
        }
    }

    /// The filter has failed.
    pub fn failed(&self) {
        let resting = self.filters.resting;
        let first = self.member(|member| {
            let rest = FIRST_REST.saturating_mul(1 << member.failures.min(8)).min(LONGEST_REST);
            member.rests_until = Some(Instant::now() + rest);
            member.failures = member.failures.saturating_add(1);
            member.failures == 1
        });
        if first && resting != Resting::Never {
            log::info!("proxy filter {}: out of service for a while", self.endpoint());
        }
    }

    /// Remembers what the filter announces; whether that is news.
    pub fn learn(&self, learnt: Learnt) -> bool {
        self.member(|member| member.learnt.replace(learnt) != Some(learnt))
    }

    /// Counts something.
    pub fn count(&self, what: impl FnOnce(&mut Counters)) {
        self.member(|member| what(&mut member.counters));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member(|member| member.busy -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(count: u16, resting: Resting) -> Arc<Filters> {
        let endpoints =
            (0..count).map(|number| Endpoint::parse(&format!("[127.0.0.1]:{}", 9 + number)).unwrap());
        Arc::new(Filters::new(endpoints.collect(), Reuse::default(), resting))
    }

    #[test]
    fn the_one_with_least_to_do() {
        let filters = filters(3, Resting::WhileOthersWork);
        let none = BTreeSet::new();
        let leases: Vec<Lease> = (0..6).map(|_| filters.choose(&none).unwrap()).collect();
        let mut chosen: Vec<usize> = leases.iter().map(Lease::index).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 0, 1, 1, 2, 2]);
        let busy: Vec<Lease> = leases.into_iter().filter(|lease| lease.index() != 1).collect();
        assert_eq!(filters.choose(&none).unwrap().index(), 1);
        drop(busy);
        let tried = BTreeSet::from([0, 1]);
        assert_eq!(filters.choose(&tried).unwrap().index(), 2);
        assert!(filters.choose(&BTreeSet::from([0, 1, 2])).is_none());
    }

    #[test]
    fn who_failed_rests() {
        let none = BTreeSet::new();
        let two = filters(2, Resting::WhileOthersWork);
        let lease = two.choose(&none).unwrap();
        lease.failed();
        let resting = lease.index();
        drop(lease);
        for _ in 0..4 {
            assert_ne!(two.choose(&none).unwrap().index(), resting);
        }
        let other = BTreeSet::from([1 - resting]);
        let lease = two.choose(&other).unwrap();
        assert_eq!(lease.index(), resting, "better than none");
        lease.answered();
        assert!(two.state().members.iter().all(|member| member.rests_until.is_none()));

        let one = filters(1, Resting::Always);
        one.choose(&none).unwrap().failed();
        assert!(one.choose(&none).is_none());
        let one = filters(1, Resting::Never);
        one.choose(&none).unwrap().failed();
        assert!(one.choose(&none).is_some());
    }
}
