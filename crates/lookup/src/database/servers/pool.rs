//! The connections of this process to the servers of a list.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(any(feature = "mysql", feature = "pgsql"))]
use super::Connection;
use super::{CONNECTION_LIMIT, Engine, Host};

/// What this process knows of an engine's servers, each list and login once.
pub(in crate::database) type Known<E> = Mutex<Vec<Weak<Servers<E>>>>;

/// What is done with a connection: until when, and whether an answer has begun.
pub(in crate::database) type Work<'a, C> = dyn FnMut(&mut C, Instant, &mut bool) -> Result<(), Failure> + 'a;

/// The servers of a list, with one login.
#[derive(Debug)]
pub(in crate::database) struct Servers<E: Engine> {
    engine: E,
    hosts: Vec<Host>,
    /// How long a server that failed is left alone.
    retry_interval: Duration,
    /// How long a connection is kept that nobody uses.
    idle_interval: Duration,
    state: Mutex<State<E::Connection>>,
    /// A connection or the place of one was given back, or a server has failed.
    changed: Condvar,
}

#[derive(Debug)]
struct State<C> {
    hosts: Vec<HostState<C>>,
    /// Connections there are, and those being made.
    connections: usize,
    /// How many wait for one of them.
    waiting: usize,
    /// Somebody closes those that are idle for long.
    is_watched: bool,
    /// The log was told that all connections are in use, and none has been free since.
    is_known_busy: bool,
}

#[derive(Debug)]
struct HostState<C> {
    idle: Vec<(C, Instant)>,
    /// It has failed, and is not asked before this.
    retry_at: Option<Instant>,
    outage: Option<Outage>,
}

/// A server is not of use.
#[derive(Debug)]
struct Outage {
    /// Why, as seen last.
    why: String,
    /// What the log was told of it.
    told: Vec<String>,
}

/// Most lines about one outage.
const TOLD_LIMIT: usize = 4;

/// After what waits for a connection end: those that have one should be the first to find out why it is no use.
const GRACE: Duration = Duration::from_millis(250);

/// Why there is no answer to a query.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "mysql", feature = "pgsql")),
    expect(dead_code, reason = "not all engines tell")
)]
pub(in crate::database) enum Failure {
    /// The server has refused it. The connection is good.
    Refused(String),
    /// The connection broke.
    Lost(String),
    /// The answer was not wanted to its end.
    Unwanted,
}

/// A connection that is in use.
struct Lease<C> {
    host: usize,
    connection: C,
    /// It has been used before.
    is_old: bool,
}

impl<E: Engine> Servers<E> {
    /// The servers of this list with this login: those that are known, if there are any.
    pub(in crate::database) fn shared(
        engine: E,
        hosts: Vec<Host>,
        intervals: (Duration, Duration),
    ) -> Arc<Self> {
        let mut known = E::known().lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|servers| servers.strong_count() > 0);
        let same = |servers: &Arc<Self>| {
            let theirs = (servers.retry_interval, servers.idle_interval);
            servers.engine == engine && servers.hosts == hosts && theirs == intervals
        };
        if let Some(servers) = known.iter().filter_map(Weak::upgrade).find(same) {
            return servers;
        }
        let state = |_| HostState { idle: Vec::new(), retry_at: None, outage: None };
        let states = hosts.iter().map(state).collect();
        let (retry_interval, idle_interval) = intervals;
        let servers = Arc::new(Servers {
            engine,
            hosts,
            retry_interval,
            idle_interval,
            state: Mutex::new(State {
                hosts: states,
                connections: 0,
                waiting: 0,
                is_watched: false,
                is_known_busy: false,
            }),
            changed: Condvar::new(),
        });
        known.push(Arc::downgrade(&servers));
        servers
    }

    #[cfg(any(feature = "mysql", feature = "pgsql"))]
    /// Asks one of the servers after another, until one has answered, and tells each value until `each` says false. False
    /// when none has answered; it has been logged why.
    pub(in crate::database) fn ask(
        self: &Arc<Self>,
        table: &str,
        query: &dyn Fn(&E::Connection) -> Option<Vec<u8>>,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool
    where
        E::Connection: Connection,
    {
        self.with(table, &mut |connection, deadline, began| {
            let Some(query) = query(connection) else { return Ok(()) };
            connection.ask(&query, deadline, &mut |value| {
                *began = true;
                each(value)
            })
        })
    }

    /// Has a connection to one of the servers after another, until one is of use. `work` is told when all has to be done,
    /// and tells when it has begun to give an answer, after which no other server is asked. False when there is no
    /// answer; it has been logged why.
    pub(in crate::database) fn with(
        self: &Arc<Self>,
        table: &str,
        work: &mut Work<'_, E::Connection>,
    ) -> bool {
        let deadline = Instant::now() + self.engine.limits().1;
        let mut began = false;
        let mut tried = vec![false; self.hosts.len()];
        while let Some(mut lease) = self.take(table, deadline, &mut tried) {
            match work(&mut lease.connection, deadline, &mut began) {
                Ok(()) => {
                    self.give_back(lease);
                    return true;
                }
                Err(Failure::Unwanted) => {
                    self.close(lease);
                    return true;
                }
                Err(Failure::Refused(why)) => {
                    log::warn!("{}", E::query_failed(table, &self.hosts[lease.host], &why));
                    tried[lease.host] = true;
                    self.give_back(lease);
                    if began {
                        return false;
                    }
                }
                // It broke while nobody looked, as when the server was started anew: that is no failure of the server.
                Err(Failure::Lost(_)) if lease.is_old && !began => self.close(lease),
                Err(Failure::Lost(why)) => {
                    let host = lease.host;
                    tried[host] = true;
                    self.close(lease);
                    let line = E::query_failed(table, &self.hosts[host], &why);
                    self.has_failed(host, why, |outage| outage.is_none().then_some((log::Level::Warn, line)));
                    if began {
                        return false;
                    }
                }
            }
        }
        false
    }

    #[cfg(any(feature = "ldap", feature = "memcache"))]
    pub(in crate::database) fn engine(&self) -> &E {
        &self.engine
    }

    /// Why the first of the servers cannot be reached, if it cannot.
    #[cfg(feature = "memcache")]
    pub(in crate::database) fn outage(&self) -> Option<String> {
        Some(self.lock().hosts.first()?.outage.as_ref()?.why.clone())
    }

    /// The first of the servers does not answer; true when nobody has found that out before.
    #[cfg(feature = "memcache")]
    pub(in crate::database) fn is_silent(&self, why: &str) -> bool {
        let mut is_new = false;
        self.has_failed(0, why.to_owned(), |outage| {
            is_new = outage.is_none();
            None
        });
        is_new
    }

    fn lock(&self) -> MutexGuard<'_, State<E::Connection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to one of the servers: one that there is, or a new one; UNIX sockets first, else by chance.
    /// None that has been tried.
    fn take(&self, table: &str, deadline: Instant, tried: &mut [bool]) -> Option<Lease<E::Connection>> {
        let mut state = self.lock();
        loop {
            let idle = self.choose(|host| !tried[host] && !state.hosts[host].idle.is_empty());
            if let Some(host) = idle
                && let Some((connection, _)) = state.hosts[host].idle.pop()
            {
                state.is_known_busy = false;
                return Some(Lease { host, connection, is_old: true });
            }
            let now = Instant::now();
            let may_be_asked =
                |host: usize| !tried[host] && state.hosts[host].retry_at.is_none_or(|at| at <= now);
            if state.connections < CONNECTION_LIMIT {
                let host = self.choose(may_be_asked)?;
                state.connections += 1;
                state.is_known_busy = false;
                drop(state);
                if let Some(lease) = self.connect(host, deadline) {
                    return Some(lease);
                }
                tried[host] = true;
                state = self.lock();
                continue;
            }
            // All are taken. When no server is well any more, there is nothing to wait for.
            if !(0..self.hosts.len()).any(may_be_asked) {
                return None;
            }
            let left = (deadline + GRACE).saturating_duration_since(now);
            if left.is_zero() {
                let engine = E::NAME;
                if !std::mem::replace(&mut state.is_known_busy, true) {
                    log::warn!("{table}: all {CONNECTION_LIMIT} connections to {engine} servers are in use");
                }
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
    }

    fn choose(&self, mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.hosts.len()).filter(|host| fits(*host)).collect();
        let unix: Vec<usize> = fitting.iter().copied().filter(|host| self.hosts[*host].is_unix()).collect();
        let choice = if unix.is_empty() { fitting } else { unix };
        if choice.len() < 2 {
            return choice.first().copied();
        }
        // A fresh state is a fresh number; nothing depends on its quality.
        let number = RandomState::new().hash_one(0) % choice.len() as u64;
        usize::try_from(number).ok().and_then(|number| choice.get(number)).copied()
    }

    fn connect(&self, host: usize, deadline: Instant) -> Option<Lease<E::Connection>> {
        let connected =
            self.engine.connect(&self.hosts[host], deadline.min(Instant::now() + self.engine.limits().0));
        match connected {
            Ok(connection) => Some(Lease { host, connection, is_old: false }),
            Err(why) => {
                let line = (E::connect_failed_level(&why), E::connect_failed(&self.hosts[host], &why));
                self.lock().connections -= 1;
                let is_away = E::is_away(&why);
                self.has_failed(host, why.clone(), |outage| {
                    // That it cannot be reached is no news then; that it is there again, and refuses us, is.
                    let is_news =
                        |told: &Vec<String>| !is_away && told.len() < TOLD_LIMIT && !told.contains(&why);
                    outage.is_none_or(is_news).then_some(line)
                });
                None
            }
        }
    }

    /// The server is left alone for a time; those who wait are told. `news` makes of what the log was told about the outage,
    /// if it is one already, what it is told now.
    fn has_failed(
        &self,
        host: usize,
        why: String,
        news: impl FnOnce(Option<&Vec<String>>) -> Option<(log::Level, String)>,
    ) {
        let mut state = self.lock();
        let known = &mut state.hosts[host];
        known.retry_at = Some(Instant::now() + self.retry_interval);
        let line = news(known.outage.as_ref().map(|outage| &outage.told));
        let outage = known.outage.get_or_insert_with(|| Outage { why: String::new(), told: Vec::new() });
        outage.why.clone_from(&why);
        // Written while nobody else can find out the same.
        if let Some((level, line)) = line {
            log::log!(level, "{line}");
            outage.told.push(why);
        }
        self.changed.notify_all();
    }

    fn close(&self, lease: Lease<E::Connection>) {
        drop(lease.connection);
        let mut state = self.lock();
        state.connections -= 1;
        self.changed.notify_one();
    }

    fn give_back(self: &Arc<Self>, lease: Lease<E::Connection>) {
        let mut state = self.lock();
        let host = &mut state.hosts[lease.host];
        host.retry_at = None;
        if host.outage.take().is_some() {
            log::info!("{} server {} answers again", E::NAME, self.hosts[lease.host].name);
        }
        state.hosts[lease.host].idle.push((lease.connection, Instant::now() + self.idle_interval));
        // The kernel is asked for each notice, whoever waits.
        if state.waiting > 0 {
            self.changed.notify_one();
        }
        if !state.is_watched {
            let servers = Arc::downgrade(self);
            let watch = move || close_idle(&servers);
            state.is_watched = thread::Builder::new().name("idle".to_owned()).spawn(watch).is_ok();
        }
    }

    /// Takes out the connections that have been idle for long; tells when to look again.
    fn take_idle(&self) -> (Vec<(E::Connection, Instant)>, Option<Instant>) {
        let (mut old, mut next, now) = (Vec::new(), None::<Instant>, Instant::now());
        let mut state = self.lock();
        for host in &mut state.hosts {
            let (ended, kept) = std::mem::take(&mut host.idle).into_iter().partition(|(_, end)| *end <= now);
            host.idle = kept;
            let soonest = host.idle.iter().map(|(_, end)| *end).min();
            next = next.into_iter().chain(soonest).min();
            old.extend::<Vec<_>>(ended);
        }
        state.connections -= old.len();
        if !old.is_empty() {
            self.changed.notify_all();
        }
        state.is_watched = next.is_some();
        (old, next)
    }
}

/// Closes idle connections, until there is none.
fn close_idle<E: Engine>(servers: &Weak<Servers<E>>) {
    while let Some(known) = servers.upgrade() {
        let (old, next) = known.take_idle();
        drop((old, known));
        let Some(next) = next else { return };
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

#[cfg(all(test, any(feature = "mysql", feature = "pgsql")))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::Place;
    use super::*;

    /// What an engine of the tests is made to do, and how many connections it has.
    #[derive(Debug, Default)]
    struct Play {
        is_down: Mutex<bool>,
        open: AtomicUsize,
        most: AtomicUsize,
        attempts: AtomicUsize,
        /// Connections of an earlier life of the server than this are broken.
        life: AtomicUsize,
    }

    #[derive(Debug, Clone)]
    struct Fake(Arc<Play>);

    impl PartialEq for Fake {
        fn eq(&self, other: &Fake) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }

    #[derive(Debug)]
    struct FakeConnection(Arc<Play>, usize);

    impl Engine for Fake {
        const NAME: &'static str = "fake";
        type Connection = FakeConnection;

        fn connect(&self, _host: &Host, _deadline: Instant) -> Result<FakeConnection, String> {
            self.0.attempts.fetch_add(1, Ordering::SeqCst);
            if *self.0.is_down.lock().unwrap() {
                return Err("not here".to_owned());
            }
            let open = self.0.open.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.most.fetch_max(open, Ordering::SeqCst);
            Ok(FakeConnection(self.0.clone(), self.0.life.load(Ordering::SeqCst)))
        }

        fn known() -> &'static Known<Fake> {
            static KNOWN: Known<Fake> = Mutex::new(Vec::new());
            &KNOWN
        }

        fn is_away(_why: &str) -> bool {
            true
        }

        fn query_failed(_table: &str, _host: &Host, why: &str) -> String {
            why.to_owned()
        }
    }

    impl Connection for FakeConnection {
        fn quote(&self, text: &[u8], out: &mut Vec<u8>) {
            out.extend_from_slice(text);
        }

        fn ask(
            &mut self,
            query: &[u8],
            _deadline: Instant,
            each: &mut dyn FnMut(&[u8]) -> bool,
        ) -> Result<(), Failure> {
            if self.1 < self.0.life.load(Ordering::SeqCst) {
                return Err(Failure::Lost("gone".to_owned()));
            }
            thread::yield_now();
            each(query);
            Ok(())
        }
    }

    impl Drop for FakeConnection {
        fn drop(&mut self) {
            self.0.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn servers(intervals: (Duration, Duration)) -> (Arc<Play>, Arc<Servers<Fake>>) {
        let play = Arc::new(Play::default());
        let hosts = Host::list(b"a b", |name| Place::inet(name, "1"));
        (play.clone(), Servers::shared(Fake(play), hosts, intervals))
    }

    const LONG: Duration = Duration::from_secs(3600);

    fn ask(servers: &Arc<Servers<Fake>>) -> bool {
        servers.ask("fake:x", &|_| Some(b"q".to_vec()), &mut |value| value == b"q")
    }

    #[test]
    fn many_sessions_share_few_connections() {
        let (play, servers) = servers((LONG, LONG));
        thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| (0..20).for_each(|_| assert!(ask(&servers))));
            }
        });
        let most = play.most.load(Ordering::SeqCst);
        assert!((1..=CONNECTION_LIMIT).contains(&most), "{most}");
    }

    #[test]
    fn a_restart_between_two_look_ups_is_not_noticed() {
        let (play, servers) = servers((LONG, LONG));
        assert!(ask(&servers));
        play.life.fetch_add(1, Ordering::SeqCst);
        assert!(ask(&servers));
        assert_eq!(play.attempts.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_server_that_failed_is_left_alone() {
        let (play, down) = servers((LONG, LONG));
        *play.is_down.lock().unwrap() = true;
        assert!(!ask(&down) && !ask(&down));
        assert_eq!(play.attempts.load(Ordering::SeqCst), 2, "each of the two servers once");
        let (play, soon) = servers((Duration::ZERO, LONG));
        *play.is_down.lock().unwrap() = true;
        assert!(!ask(&soon) && !ask(&soon));
        assert_eq!(play.attempts.load(Ordering::SeqCst), 4);
        *play.is_down.lock().unwrap() = false;
        assert!(ask(&soon));
    }

    #[test]
    fn idle_connections_are_closed() {
        let (play, servers) = servers((LONG, Duration::ZERO));
        assert!(ask(&servers));
        let deadline = Instant::now() + Duration::from_secs(60);
        while play.open.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < deadline, "still open");
            thread::yield_now();
        }
        assert!(ask(&servers));
    }

    #[test]
    fn the_same_servers_are_shared() {
        let (play, first) = servers((LONG, LONG));
        let hosts = Host::list(b"a b", |name| Place::inet(name, "1"));
        assert!(Arc::ptr_eq(&first, &Servers::shared(Fake(play.clone()), hosts, (LONG, LONG))));
        let others = Host::list(b"a", |name| Place::inet(name, "1"));
        assert!(!Arc::ptr_eq(&first, &Servers::shared(Fake(play), others, (LONG, LONG))));
    }
}
