//! Many clients in one process, a thread each: a single server whose service asked for it ([`Start::sessions`]).
//!
//! A thread that has ended its session waits for another client at a door of its own ([`Door`]), or, when there are enough
//! of those, for what the first thread hands it ([`Crew`]). The first thread waits at the last door, so that it is called
//! when nobody else is there, and makes new threads. Who is called and cannot take the client rings for the first thread.
//!
//! `max_use` and `max_idle` count sessions; a process that has to leave accepts no more, serves its sessions to their
//! end, and is TAKEN meanwhile ([`Places`]). A panic or a fatal error of a session ends that session.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::accept::accept;
use crate::connection::Connection;
use crate::crew::{Crew, REST};
use crate::descriptors::{Descriptors, Desks};
use crate::door::{Came, Door, Listeners};
use crate::keeper::keep;
use crate::leave::{Reason, leave, restart_for_table};
use crate::lifetime::{Age, Over};
use crate::places::{Place, Places};
use crate::single::{SingleService, fatal_wait};
use crate::start::{Start, Transport};
use crate::startup::{Link, MASTER, Ready};
use crate::watchdog::Watchdog;

/// Stack of a session: address space, of which only what is used becomes memory. Access tables may lead to each other a
/// hundred deep, which takes less than half of it in a debug build.
const STACK: usize = 1024 * 1024;
/// Doors for threads that have ended a session. Every client knocks at those that are before the one who opens.
const DOORS: usize = 16;
/// The tie of the last door by which others ring for the first thread, and that of theirs by which they are told to go.
const BELL: u32 = MASTER + 1;

/// Why no more clients are taken.
enum End {
    Leave(Reason),
    TableChanged(String),
}

/// A client and its place.
type Work<'p, 'a> = (Connection, Place<'p, 'a>);

/// What the threads of a process share.
struct House<'a, S> {
    service: &'a S,
    start: &'a Start,
    places: Places<'a>,
    /// Those at which nobody waits; none when nobody is taken any more.
    doors: Mutex<Option<Vec<Door>>>,
    /// Rung for the first thread.
    bell: EventFd,
    /// Rung for those at doors when nobody is taken any more.
    closing: &'a EventFd,
}

/// Serves clients until the process has to leave.
pub(crate) fn serve_many<S: SingleService>(mut ready: Ready<S>, link: Link) -> ! {
    let (limit, desks) = places_that_fit(ready.start.sessions, ready.start.descriptors);
    ready.start.desks = Desks::of(desks);
    let link = keep(link);
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    widen_backlog(&ready.start, &link, limit);
    let end = live(&ready, link, &watchdog, limit);
    ready.service.before_exit(&ready.start);
    match end {
        End::Leave(reason) => leave(reason),
        End::TableChanged(table) => restart_for_table(&table),
    }
}

fn live<S: SingleService>(ready: &Ready<S>, link: Link, watchdog: &Watchdog, limit: usize) -> End {
    let closing = bell();
    let doors = doors(&link.listeners, &closing, limit).unwrap_or_else(|error| fatal_wait(&error));
    let last = link.door().unwrap_or_else(|error| fatal_wait(&error));
    // Only who waits for clients holds the listen sockets: what this process drains is no concern of its service any more.
    let Link { status, listeners, lifeline: _lifeline, .. } = link;
    drop(listeners);
    let house = House {
        service: &ready.service,
        start: &ready.start,
        places: Places::new(limit, ready.start.lifetime.max_use, &status),
        doors: Mutex::new(Some(doors)),
        bell: bell(),
        closing: &closing,
    };
    let crew = Crew::new();
    thread::scope(|scope| {
        let end = accept_clients(&house, last, watchdog, |connection, place| {
            let (house, crew) = (&house, &crew);
            let Some(first) = crew.give((connection, place)) else { return };
            let session = thread::Builder::new().name("session".into()).stack_size(STACK);
            let started = session.spawn_scoped(scope, move || house.work(crew, first));
            if let Err(error) = started {
                log::warn!("cannot start a thread for a session: {}", sys::error_text(&error));
            }
        });
        house.close();
        crew.close();
        watchdog.rest(|| house.places.drain());
        end
    })
}

fn bell() -> EventFd {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .unwrap_or_else(|error| fatal_wait(&error.into()))
}

/// The doors of those who have ended a session.
fn doors(listeners: &Listeners, closing: &EventFd, limit: usize) -> std::io::Result<Vec<Door>> {
    let door = |_| {
        let door = Door::new(listeners)?;
        door.tie(closing, BELL)?;
        Ok(door)
    };
    (0..limit.min(DOORS)).map(door).collect()
}

impl<'a, S: SingleService> House<'a, S> {
    /// One session after another, in a thread.
    fn work<'p>(&'p self, crew: &Crew<Work<'p, 'a>>, first: Work<'p, 'a>) {
        maillog::set_session_number(Some(sys::process::thread_id()));
        maillog::contain_panics();
        let mut worker = None;
        let mut next = Some(first);
        while let Some((connection, place)) = next {
            serve(self.service, &mut worker, connection, self.start);
            drop(place);
            let door = self.doors().as_mut().and_then(Vec::pop);
            next = match door {
                Some(door) => {
                    let client = self.wait(&door);
                    if let Some(doors) = self.doors().as_mut() {
                        doors.push(door);
                    }
                    client
                }
                None => crew.next(),
            };
        }
    }

    fn doors(&self) -> std::sync::MutexGuard<'_, Option<Vec<Door>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at a door; none means that the thread is to end.
    fn wait<'p>(&'p self, door: &Door) -> Option<Work<'p, 'a>> {
        let until = Instant::now() + REST;
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let Ok(Came::Clients(listeners)) = door.wait(Some(left)) else { return None };
            if self.service.changed_table().is_some() {
                self.ring();
                return None;
            }
            let Some(place) = self.places.reserve() else {
                self.ring();
                return None;
            };
            if let Some(client) = self.take(listeners, place) {
                return Some(client);
            }
        }
    }

    fn take<'p>(&self, listeners: &[OwnedFd], mut place: Place<'p, 'a>) -> Option<Work<'p, 'a>> {
        let start = self.start;
        let connection =
            listeners.iter().find_map(|listener| accept(listener, start.transport, start.ipc_timeout))?;
        if place.occupy() {
            self.ring();
        }
        Some((connection, place))
    }

    /// Calls the first thread.
    fn ring(&self) {
        // When it cannot be rung it is ringing.
        let _ = self.bell.write(1);
    }

    /// Takes nobody any more.
    fn close(&self) {
        self.places.close();
        let _ = self.closing.write(1);
        *self.doors() = None;
    }
}

/// Lets as many clients wait as there are places, and no fewer than are allowed processes as a rule. The kernel turns away
/// those of a crowd who find no room: they come back after seconds, or, where it has sent them SYN cookies, wait for a
/// greeting for ever.
fn widen_backlog(start: &Start, link: &Link, places: usize) {
    if start.transport != Transport::Inet {
        return;
    }
    let least = start.config.integer("default_process_limit").unwrap_or(0);
    let backlog = i32::try_from(places).unwrap_or(i32::MAX).max(least);
    for listener in link.listeners.iter() {
        if let Err(error) = sys::socket::set_backlog(listener, backlog) {
            log::warn!("listen: {}", sys::error_text(&error));
        }
    }
}

/// Makes room for the descriptors of so many sessions, above the limit that came from master if this process may do
/// that: before it gives up its privileges.
pub fn make_room_for(sessions: usize, descriptors: Descriptors) {
    let wanted = descriptors.wanted(sessions);
    if sessions > 1 {
        // When that fails, fewer work at a time, or there are fewer, and a line in the log says so.
        let _ = sys::process::allow_open_files(u64::try_from(wanted).unwrap_or(u64::MAX));
    }
}

/// The sessions for which there are descriptors, and how many of them may work at a time.
fn places_that_fit(wanted: usize, descriptors: Descriptors) -> (usize, usize) {
    let _ = sys::process::raise_open_file_limit();
    let Ok(Some(limit)) = sys::process::open_file_limit() else { return (wanted, wanted) };
    let (fit, desks) = descriptors.fit(usize::try_from(limit).unwrap_or(usize::MAX), wanted);
    if fit < wanted {
        log::warn!("the limit of {limit} open files leaves room for {fit} sessions, not {wanted}");
    }
    if desks < fit {
        log::info!("the limit of {limit} open files lets {desks} of {fit} sessions work at a time");
    }
    (fit, desks)
}

fn accept_clients<'p, 'a, S: SingleService>(
    house: &'p House<'a, S>,
    door: Door,
    watchdog: &Watchdog,
    mut begin: impl FnMut(Connection, Place<'p, 'a>),
) -> End {
    let (places, start) = (&house.places, house.start);
    let mut age = Age::new(&start.lifetime);
    door.tie(&house.bell, BELL).unwrap_or_else(|error| fatal_wait(&error));
    loop {
        if places.is_worn_out() {
            return End::Leave(Reason::WornOut);
        }
        let was_full = watchdog.rest(|| places.wait_for_one());
        if places.master_is_gone() {
            return End::Leave(Reason::MasterGone);
        }
        age.rest_since(places.idle_since());
        // Who called while there was no place calls no more.
        let limit = if was_full { Some(Duration::ZERO) } else { age.wait() };
        let came = watchdog.rest(|| door.wait(limit)).unwrap_or_else(|error| fatal_wait(&error));
        match age.over() {
            Some(Over::Idle) if !places.is_idle_for(start.lifetime.max_idle) => continue,
            Some(over) => return End::Leave(Reason::Over(over)),
            None => {}
        }
        let listeners = match came {
            Came::Clients(listeners) => listeners,
            Came::Tie(BELL) => {
                let _ = house.bell.read();
                door.listeners()
            }
            Came::Tie(_) => return End::Leave(Reason::MasterGone),
        };
        if let Some(table) = house.service.changed_table() {
            return End::TableChanged(table);
        }
        // Whoever comes at the same time is taken at once.
        while let Some((connection, place)) = places.reserve().and_then(|place| house.take(listeners, place))
        {
            begin(connection, place);
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
