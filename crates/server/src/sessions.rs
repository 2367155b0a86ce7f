//! Many clients in one process, a thread each: a single server whose service asked for it ([`Service::sessions`](crate::Service::sessions)).
//!
//! A thread that has ended its session waits for another client itself ([`Waiter`]), or, when enough of them do, for what
//! the first thread hands over ([`ThreadPool`]). The first thread has the last waiter, so that it wakes when nobody else
//! waits, and makes new threads. A thread that wakes and cannot take the client wakes the first thread.
//!
//! `max_use` and `max_idle` count sessions; a process that has to leave accepts no more, serves its sessions to their
//! end, and is TAKEN meanwhile ([`Slots`]). A panic or a fatal error of a session ends that session.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::accept::{Accepted, accept};
use crate::connection::Connection;
use crate::leave::Reason;
use crate::lifetime::{Age, Over};
use crate::permits::{Permits, Sessions};
use crate::pool::{REST, ThreadPool};
use crate::single::{SingleService, fatal_wait};
use crate::slots::{Slot, Slots};
use crate::start::{Start, Transport};
use crate::startup::{Link, MASTER, Ready};
use crate::waiter::{Listeners, Waiter, Woken};
use crate::watchdog::Watchdog;

/// Stack of a session: address space, of which only what is used becomes memory. Access tables may lead to each other a
/// hundred deep, which takes less than half of it in a debug build.
const STACK: usize = 1024 * 1024;
/// Waiters for threads that have ended a session. A client costs a look at each that was made before the one who wakes.
const WAITERS: usize = 16;
/// What the first thread's waiter calls the descriptor that wakes it, and the others' that which ends them.
const WAKE: u32 = MASTER + 1;

/// Why no more clients are taken.
enum End {
    Leave(Reason),
    TableChanged(String),
}

/// A client and its slot.
type Work<'p, 'a> = (Accepted, Slot<'p, 'a>);

/// What the threads of a process share.
struct Shared<'a, S> {
    service: &'a S,
    start: &'a Start,
    slots: Slots<'a>,
    /// Those that nobody uses; none when no client is taken any more.
    waiters: Mutex<Option<Vec<Waiter>>>,
    /// Wakes the first thread.
    wake: EventFd,
    /// Wakes those who wait, when no client is taken any more.
    closing: &'a EventFd,
}

/// Serves clients until the process has to leave.
pub(crate) fn serve_many<S: SingleService>(mut ready: Ready<S>, link: Link) -> ! {
    let (limit, permits) = slots_that_fit(ready.sessions);
    ready.start.permits = Permits::of(permits);
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    widen_backlog(&ready.start, &link, limit);
    let end = live(&ready, link, &watchdog, limit);
    match end {
        End::Leave(reason) => ready.leave(reason),
        End::TableChanged(table) => ready.restart_for_table(&table),
    }
}

fn live<S: SingleService>(ready: &Ready<S>, link: Link, watchdog: &Watchdog, limit: usize) -> End {
    let closing = event_fd();
    let waiters = waiters(&link.listeners, &closing, limit).unwrap_or_else(|error| fatal_wait(&error));
    let last = link.waiter().unwrap_or_else(|error| fatal_wait(&error));
    // Only who waits for clients holds the listen sockets: what this process drains is no concern of its service any more.
    let Link { status, listeners, lifeline: _lifeline, .. } = link;
    drop(listeners);
    let shared = Shared {
        service: &ready.service,
        start: &ready.start,
        slots: Slots::new(limit, &ready.start.uses, &status),
        waiters: Mutex::new(Some(waiters)),
        wake: event_fd(),
        closing: &closing,
    };
    let pool = ThreadPool::new();
    thread::scope(|scope| {
        let end = accept_clients(&shared, last, watchdog, |accepted, slot| {
            let (shared, pool) = (&shared, &pool);
            let Some(first) = pool.give((accepted, slot)) else { return };
            let session = thread::Builder::new().name("session".into()).stack_size(STACK);
            let started = session.spawn_scoped(scope, move || shared.work(pool, first));
            if let Err(error) = started {
                log::warn!("cannot start a thread for a session: {}", sys::error_text(&error));
            }
        });
        shared.close();
        pool.close();
        watchdog.rest(|| shared.slots.drain());
        end
    })
}

fn event_fd() -> EventFd {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .unwrap_or_else(|error| fatal_wait(&error.into()))
}

/// The waiters of those who have ended a session.
fn waiters(listeners: &Listeners, closing: &EventFd, limit: usize) -> std::io::Result<Vec<Waiter>> {
    let waiter = |_| {
        let waiter = Waiter::new(listeners)?;
        waiter.also(closing, WAKE)?;
        Ok(waiter)
    };
    (0..limit.min(WAITERS)).map(waiter).collect()
}

impl<'a, S: SingleService> Shared<'a, S> {
    /// One session after another, in a thread.
    fn work<'p>(&'p self, pool: &ThreadPool<Work<'p, 'a>>, first: Work<'p, 'a>) {
        maillog::set_session_number(Some(sys::process::thread_id()));
        maillog::contain_panics();
        let mut worker = None;
        let mut next = Some(first);
        while let Some((accepted, slot)) = next {
            if let Some(connection) = accepted.complete() {
                log::debug!("connection established");
                serve(self.service, &mut worker, connection, self.start);
                log::debug!("connection closed");
            }
            drop(slot);
            let waiter = self.waiters().as_mut().and_then(Vec::pop);
            next = match waiter {
                Some(waiter) => {
                    let client = self.wait(&waiter);
                    if let Some(waiters) = self.waiters().as_mut() {
                        waiters.push(waiter);
                    }
                    client
                }
                None => pool.next(),
            };
        }
    }

    fn waiters(&self) -> std::sync::MutexGuard<'_, Option<Vec<Waiter>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a client; none means that the thread is to end.
    fn wait<'p>(&'p self, waiter: &Waiter) -> Option<Work<'p, 'a>> {
        let until = Instant::now() + REST;
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let Ok(Woken::Clients(listeners)) = waiter.wait(Some(left)) else { return None };
            if self.service.changed_table().is_some() {
                self.wake_first();
                return None;
            }
            let Some(slot) = self.slots.reserve() else {
                self.wake_first();
                return None;
            };
            if let Some(client) = self.take(listeners, slot) {
                return Some(client);
            }
        }
    }

    fn take<'p>(&self, listeners: &[OwnedFd], mut slot: Slot<'p, 'a>) -> Option<Work<'p, 'a>> {
        let start = self.start;
        let accepted =
            listeners.iter().find_map(|listener| accept(listener, start.transport, start.ipc_timeout))?;
        if slot.occupy() {
            self.wake_first();
        }
        Some((accepted, slot))
    }

    /// Wakes the first thread.
    fn wake_first(&self) {
        // When it cannot be written to, it has been.
        let _ = self.wake.write(1);
    }

    /// Takes nobody any more.
    fn close(&self) {
        self.slots.close();
        let _ = self.closing.write(1);
        *self.waiters() = None;
    }
}

/// Lets as many clients wait as there are slots, and no fewer than are allowed processes as a rule. The kernel turns away
/// those of a crowd who find no room: they come back after seconds, or, where it has sent them SYN cookies, wait for a
/// greeting for ever.
fn widen_backlog(start: &Start, link: &Link, slots: usize) {
    if start.transport == Transport::Pass {
        return;
    }
    let least = start.config.integer("default_process_limit").unwrap_or(0);
    let backlog = i32::try_from(slots).unwrap_or(i32::MAX).max(least);
    for listener in link.listeners.iter() {
        if let Err(error) = sys::socket::set_backlog(listener, backlog) {
            log::warn!("listen: {}", sys::error_text(&error));
        }
    }
}

/// Makes room for the descriptors of so many sessions, above the limit that came from master if this process may do
/// that: before it gives up its privileges.
pub(crate) fn make_room_for(sessions: Sessions) {
    let wanted = sessions.descriptors.wanted(sessions.count);
    // When that fails, fewer work at a time, or there are fewer, and a line in the log says so.
    let _ = sys::process::allow_open_files(u64::try_from(wanted).unwrap_or(u64::MAX));
}

/// The sessions for which there are descriptors, and how many of them may work at a time.
fn slots_that_fit(sessions: Sessions) -> (usize, usize) {
    let Sessions { count: wanted, descriptors } = sessions;
    let _ = sys::process::raise_open_file_limit();
    let Ok(Some(limit)) = sys::process::open_file_limit() else { return (wanted, wanted) };
    let (fit, permits) = descriptors.fit(usize::try_from(limit).unwrap_or(usize::MAX), wanted);
    if fit < wanted {
        log::warn!("the limit of {limit} open files leaves room for {fit} sessions, not {wanted}");
    }
    if permits < fit {
        log::info!("the limit of {limit} open files lets {permits} of {fit} sessions work at a time");
    }
    (fit, permits)
}

fn accept_clients<'p, 'a, S: SingleService>(
    shared: &'p Shared<'a, S>,
    waiter: Waiter,
    watchdog: &Watchdog,
    mut begin: impl FnMut(Accepted, Slot<'p, 'a>),
) -> End {
    let (slots, start) = (&shared.slots, shared.start);
    let mut age = Age::new(&start.lifetime);
    waiter.also(&shared.wake, WAKE).unwrap_or_else(|error| fatal_wait(&error));
    loop {
        if slots.is_worn_out() {
            return End::Leave(Reason::WornOut);
        }
        let was_full = watchdog.rest(|| slots.wait_for_one());
        if slots.master_is_gone() {
            return End::Leave(Reason::MasterGone);
        }
        age.rest_since(slots.idle_since());
        // Who called while there was no slot calls no more.
        let limit = if was_full { Some(Duration::ZERO) } else { age.wait() };
        let came = watchdog.rest(|| waiter.wait(limit)).unwrap_or_else(|error| fatal_wait(&error));
        match age.over() {
            Some(Over::Idle) if !slots.is_idle_for(start.lifetime.max_idle) => continue,
            Some(over) => return End::Leave(Reason::Over(over)),
            None => {}
        }
        let listeners = match came {
            Woken::Clients(listeners) => listeners,
            Woken::Watched(WAKE) => {
                let _ = shared.wake.read();
                waiter.listeners()
            }
            Woken::Watched(_) => return End::Leave(Reason::MasterGone),
        };
        if let Some(table) = shared.service.changed_table() {
            return End::TableChanged(table);
        }
        // Whoever comes at the same time is taken at once.
        while let Some((accepted, slot)) = slots.reserve().and_then(|slot| shared.take(listeners, slot)) {
            begin(accepted, slot);
        }
    }
}

/// A session. The worker is kept for the next one if the service wants that and nothing went wrong.
fn serve<S: SingleService>(service: &S, kept: &mut Option<S::Worker>, connection: Connection, start: &Start) {
    // What a session leaves half done is its own; what sessions share guards itself.
    let served = catch_unwind(AssertUnwindSafe(|| {
        let mut worker = kept.take().unwrap_or_else(|| service.worker(start));
        service.serve(&mut worker, connection, start);
        S::KEEPS_WORKER.then_some(worker)
    }));
    *kept = served.ok().flatten();
}
