//! Connections whose every further step is an event (spec master 3.7): postscreen, tlsproxy.

use std::time::Duration;

use crate::accept::{Accepted, accept};
use crate::connection::Connection;
use crate::leave::{Reason, leave};
use crate::lifetime::{Age, Over};
use crate::passing::{FIRST, HANDOVERS, Handovers};
use crate::service::Service;
use crate::start::{Start, Transport};
use crate::startup::{EVENT_WATCHDOG, Link, Ready, Skeleton, bring_up};
use crate::watchdog::Watchdog;
use events::{EventLoop, Happened, Interest, Readiness, Timer, Token};

/// Attempts to fork before a process that should drain gives up.
const FORK_ATTEMPTS: u32 = 5;

/// A service that is an event loop.
pub trait EventService: Service {
    /// Whether the process finishes its connections in the background when master has gone or it retires.
    const DRAINS: bool = false;

    /// A new connection, non-blocking. The service watches it with the loop for as long as it has it.
    fn accepted(&mut self, connection: Connection, events: &mut EventLoop, start: &Start);

    /// How many of the connections it was given it still has.
    fn connections(&self) -> usize;

    /// A watched descriptor is ready. The 131072 greatest tokens are the skeleton's.
    fn ready(&mut self, token: Token, readiness: Readiness, events: &mut EventLoop, start: &Start);

    /// A timer has run out.
    fn timer(&mut self, _timer: Timer, _events: &mut EventLoop, _start: &Start) {}
}

/// Tokens from here on are the skeleton's own.
pub(crate) const RESERVED: u64 = u64::MAX - 0xffff;
const STATUS: u64 = u64::MAX;

/// Runs an event server. `program` is its name when it was started without one.
pub fn event<S: EventService>(program: &'static str) -> ! {
    let skeleton = Skeleton {
        program,
        options: crate::options::ALL,
        transports: &[Transport::Inet, Transport::Unix, Transport::Pass],
        accept_lock: false,
        watchdog: Some(EVENT_WATCHDOG),
    };
    let mut ready = bring_up::<S>(&skeleton);
    let outcome = run(&mut ready);
    ready.leave_loop(outcome)
}

struct State {
    events: EventLoop,
    age: Age,
    handovers: Handovers,
    clients: usize,
    draining: bool,
}

fn run<S: EventService>(ready: &mut Ready<S>) -> std::io::Result<Reason> {
    let mut state = State {
        events: EventLoop::new()?,
        age: Age::new(&ready.start.lifetime),
        handovers: Handovers::default(),
        clients: 0,
        draining: false,
    };
    let Some(link) = ready.link.take() else {
        let connection = ready.standard_connection();
        state.admit(ready, connection);
        return state.turn_until_done(ready, None);
    };
    for (token, listener) in (RESERVED..).zip(link.listeners.iter()) {
        state.events.watch(listener, Token(token), Interest::Read)?;
    }
    state.events.watch(link.status.fd(), Token(STATUS), Interest::Read)?;
    state.turn_until_done(ready, Some(&link))
}

impl State {
    fn turn_until_done<S: EventService>(
        &mut self,
        ready: &mut Ready<S>,
        link: Option<&Link>,
    ) -> std::io::Result<Reason> {
        let mut watchdog = Some(Watchdog::start(ready.start.lifetime.watchdog));
        let alone = link.is_none();
        while !((alone || self.draining || self.age.is_worn_out())
            && self.clients == 0
            && self.handovers.is_empty())
        {
            let limit =
                [self.age.wait(), self.handovers.expire(&mut self.events)].into_iter().flatten().min();
            let happened = match &watchdog {
                Some(watchdog) => watchdog.rest(|| self.events.turn(limit))?,
                None => self.events.turn(limit)?,
            };
            let mut reason = self.age.over().map(Reason::Over);
            for what in happened {
                match (what, link) {
                    (Happened::Timer(timer), _) => ready.service.timer(timer, &mut self.events, &ready.start),
                    (Happened::Ready(Token(STATUS), _), _) => reason = reason.or(Some(Reason::MasterGone)),
                    (Happened::Ready(Token(token), _), Some(link)) if token >= RESERVED => {
                        self.accept(ready, link, token - RESERVED);
                    }
                    (Happened::Ready(token, _), Some(link))
                        if (FIRST..FIRST + HANDOVERS).contains(&token.0) =>
                    {
                        if let Some(connection) = self.handovers.ready(token, &mut self.events) {
                            self.take(ready, link, connection);
                        }
                    }
                    (Happened::Ready(token, readiness), _) => {
                        ready.service.ready(token, readiness, &mut self.events, &ready.start);
                    }
                }
                self.settle(&ready.service);
            }
            match (reason, link) {
                (None, _) => {}
                (Some(reason), Some(link)) if S::DRAINS && self.clients > 0 && drains(reason) => {
                    // The child has no timer: it starts its own, once this one has been stopped.
                    drop(watchdog.take());
                    self.drain(link)?;
                    watchdog = Some(Watchdog::start(ready.start.lifetime.watchdog));
                }
                (Some(reason), _) => return Ok(reason),
            }
        }
        Ok(Reason::WornOut)
    }

    fn accept<S: EventService>(&mut self, ready: &mut Ready<S>, link: &Link, listener: u64) {
        if self.draining {
            return;
        }
        ready.restart_for_changed_table();
        let listener = usize::try_from(listener).ok().and_then(|index| link.listeners.get(index));
        match listener.and_then(|fd| accept(fd, ready.start.transport, ready.start.ipc_timeout)) {
            Some(Accepted::Client(connection)) => self.take(ready, link, connection),
            Some(Accepted::Passing(passing)) => self.handovers.begin(passing, &mut self.events),
            None => {}
        }
    }

    fn take<S: EventService>(&mut self, ready: &mut Ready<S>, link: &Link, connection: Connection) {
        let _ = sys::fd::set_nonblocking(&connection, true);
        link.status.taken();
        self.admit(ready, connection);
        if !link.status.available() {
            // The end of the status channel is an event of its own, handled there.
            log::debug!("master disconnect");
        }
    }

    fn admit<S: EventService>(&mut self, ready: &mut Ready<S>, connection: Connection) {
        self.clients += 1;
        self.age.work();
        ready.service.accepted(connection, &mut self.events, &ready.start);
        self.settle(&ready.service);
    }

    /// Counts the connections that the service has finished.
    fn settle<S: EventService>(&mut self, service: &S) {
        let finished = self.clients.saturating_sub(service.connections());
        for _ in 0..finished {
            self.age.count();
        }
        self.clients -= finished;
        if finished > 0 && self.clients == 0 {
            self.age.rest();
        }
    }

    /// Goes on in a child that master does not know, with the connections there are.
    fn drain(&mut self, link: &Link) -> std::io::Result<()> {
        log::debug!("master disconnect -- draining");
        for attempt in 1.. {
            match sys::process::fork() {
                Ok(sys::process::Fork::Parent(_)) => leave(Reason::Served),
                Ok(sys::process::Fork::Child) => break,
                Err(error) if attempt < FORK_ATTEMPTS => {
                    log::warn!("fork: {}", sys::error_text(&error));
                    sys::process::sleep(Duration::from_secs(1));
                }
                Err(error) => maillog::fatal(format_args!("fork: {}", sys::error_text(&error))),
            }
        }
        self.draining = true;
        self.age.drain();
        self.events.forget(link.status.fd())?;
        for listener in link.listeners.iter() {
            self.events.forget(listener)?;
        }
        Ok(())
    }
}

/// Idle processes have nothing to finish.
fn drains(reason: Reason) -> bool {
    matches!(reason, Reason::MasterGone | Reason::Over(Over::Retired))
}
