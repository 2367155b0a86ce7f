//! Requests of a few bytes that are never answered (spec master 3.8).

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::accept::accept;
use crate::accept_lock::AcceptGuard;
use crate::leave::Reason;
use crate::lifetime::Age;
use crate::passing::Passing;
use crate::service::Service;
use crate::start::{Start, Transport};
use crate::startup::{EVENT_WATCHDOG, Link, Ready, Skeleton, bring_up};
use crate::watchdog::Watchdog;
use events::{EventLoop, Happened, Interest, Readiness, Timer, Token};

/// Longest request; more bytes of one client are not read.
const REQUEST: usize = 1024;
/// How long a client may take to send its bytes.
const LIMIT: Duration = Duration::from_secs(10);
/// Tokens from here on are the skeleton's.
const RESERVED: u64 = u64::MAX - 0xffff;
const STATUS: u64 = u64::MAX;

/// A service that is triggered.
pub trait TriggerService: Service {
    /// Each byte is one request; unknown ones, NUL included, are to be ignored. A client that closed without a
    /// byte gives an empty slice.
    fn triggered(&mut self, request: &[u8], events: &mut EventLoop, start: &Start);

    /// A descriptor that the service watches with the loop is ready.
    fn ready(&mut self, _token: Token, _readiness: Readiness, _events: &mut EventLoop, _start: &Start) {}

    /// A timer of the service has run out.
    fn timer(&mut self, _timer: Timer, _events: &mut EventLoop, _start: &Start) {}

    /// Called between events; returns how long the next wait may last, `None` for as long as it takes.
    fn between(&mut self, _events: &mut EventLoop, _start: &Start) -> Option<Duration> {
        None
    }
}

/// Runs a trigger server. `program` is its name when it was started without one.
pub fn trigger<S: TriggerService>(program: &'static str) -> ! {
    let skeleton = Skeleton {
        program,
        options: crate::options::WITHOUT_RETIREMENT,
        transports: &[Transport::Unix, Transport::Fifo, Transport::Pass],
        accept_lock: true,
        watchdog: Some(EVENT_WATCHDOG),
    };
    let mut ready = bring_up::<S>(&skeleton);
    let outcome = run(&mut ready);
    ready.leave_loop(outcome)
}

fn run<S: TriggerService>(ready: &mut Ready<S>) -> io::Result<Reason> {
    let mut events = EventLoop::new()?;
    let Some(link) = ready.link.take() else {
        let mut request = vec![0; REQUEST];
        let count = io::Read::read(&mut ready.standard_connection(), &mut request)?;
        request.truncate(count);
        ready.service.triggered(&request, &mut events, &ready.start);
        return Ok(Reason::Served);
    };
    for (token, listener) in (RESERVED..).zip(link.listeners.iter()) {
        events.watch(listener, Token(token), Interest::Read)?;
    }
    events.watch(link.status.fd(), Token(STATUS), Interest::Read)?;
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    let mut age = Age::new(&ready.start.lifetime);
    while !age.is_worn_out() {
        let between = ready.service.between(&mut events, &ready.start);
        let mut guard = Some(AcceptGuard::take(&link, &watchdog));
        let limit = match (age.wait(), between) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let happened = watchdog.rest(|| events.turn(limit))?;
        if let Some(over) = age.over() {
            return Ok(Reason::Over(over));
        }
        for what in happened {
            match what {
                Happened::Ready(Token(STATUS), _) => return Ok(Reason::MasterGone),
                Happened::Ready(Token(token), _) if token >= RESERVED => {
                    let Some(source) = take_source(ready, &link, token - RESERVED) else { continue };
                    guard = None;
                    link.status.taken();
                    serve(ready, &source, &mut events);
                    drop(source);
                    if !link.status.available() {
                        return Ok(Reason::MasterGone);
                    }
                    age.count();
                    age.rest();
                }
                Happened::Ready(token, readiness) => {
                    ready.service.ready(token, readiness, &mut events, &ready.start);
                }
                Happened::Timer(timer) => ready.service.timer(timer, &mut events, &ready.start),
            }
        }
        drop(guard);
    }
    Ok(Reason::WornOut)
}

/// Where the bytes of a request come from: the FIFO itself, or a connection.
enum Source<'a> {
    Fifo(&'a OwnedFd),
    Client(OwnedFd),
}

fn take_source<'a, S: TriggerService>(
    ready: &mut Ready<S>,
    link: &'a Link,
    listener: u64,
) -> Option<Source<'a>> {
    ready.restart_for_changed_table();
    let listener = link.listeners.get(usize::try_from(listener).ok()?)?;
    let kind = ready.start.transport;
    log::debug!(
        "trigger_server_accept_{}: trigger arrived",
        if kind == Transport::Fifo { "fifo" } else { "local" }
    );
    let client = match kind {
        Transport::Fifo => return Some(Source::Fifo(listener)),
        Transport::Pass => {
            let stream = accept(listener, Transport::Unix, LIMIT)?.complete()?.into_parts().0;
            Passing::without_attributes(stream, LIMIT).wait()?.into_parts().0
        }
        _ => accept(listener, Transport::Unix, LIMIT)?.complete()?.into_parts().0,
    };
    match sys::poll::readable(&client, Some(LIMIT)) {
        Ok(true) => Some(Source::Client(client)),
        _ => None,
    }
}

fn serve<S: TriggerService>(ready: &mut Ready<S>, source: &Source<'_>, events: &mut EventLoop) {
    let mut request = [0; REQUEST];
    let fd = match source {
        Source::Fifo(fd) => fd,
        Source::Client(fd) => fd,
    };
    // A FIFO that another process has just emptied, or a client that has gone, asks for nothing.
    if let Ok(count) = sys::fd::read(fd, &mut request) {
        ready.service.triggered(request.get(..count).unwrap_or_default(), events, &ready.start);
    }
}
