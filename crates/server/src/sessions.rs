//! Many clients in one process, a thread each: a single server whose service asked for it ([`Start::sessions`]). A thread
//! that has ended its session takes another ([`Crew`]).
//!
//! Master counts the process as idle until it is full: TAKEN is sent when the last place is taken, AVAIL when one is
//! free again. `max_use` and `max_idle` count sessions; a process that has to leave accepts no more, serves its
//! sessions to their end, and is TAKEN meanwhile.
//!
//! Master replaces its end of the status channel at a reload, and then believes of a process that was not full that it
//! is idle, for as long as it lives: no other process would be started in its place. So the process that master knows
//! is only a keeper, and the sessions live in its child: the keeper leaves at once, the child when its sessions are
//! done.
//!
//! A panic or a fatal error of a session ends that session.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sys::Pid;
use sys::process::{Ended, Fork};
use sys::signal::Signal;

use crate::accept::accept;
use crate::connection::Connection;
use crate::crew::Crew;
use crate::descriptors::{Descriptors, Desks};
use crate::leave::{Reason, leave, restart_for_table};
use crate::lifetime::{Age, Over};
use crate::service::Service;
use crate::single::{SingleService, Turn, wait};
use crate::start::{Start, Transport};
use crate::startup::{Link, Ready};
use crate::status::StatusChannel;
use crate::watchdog::Watchdog;

/// Stack of a session: address space, of which only what is used becomes memory. Access tables may lead to each other a
/// hundred deep, which takes less than half of it in a debug build.
const STACK: usize = 1024 * 1024;

/// Why no more clients are taken.
enum End {
    Leave(Reason),
    TableChanged(String),
}

/// Serves clients until the process has to leave.
pub(crate) fn serve_many<S: SingleService>(mut ready: Ready<S>, link: Link) -> ! {
    let (limit, desks) = places_that_fit(ready.start.sessions, ready.start.descriptors);
    ready.start.desks = Desks::of(desks);
    let link = keep(link);
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    let places = Places::new(limit, &link.status);
    widen_backlog(&ready.start, &link, limit);
    let crew = Crew::new();
    let end = thread::scope(|scope| {
        let end = accept_clients(&ready, &link, &watchdog, &places, |connection| {
            let (service, start, crew) = (&ready.service, &ready.start, &crew);
            let Some(first) = crew.give((connection, places.take())) else { return };
            let session = thread::Builder::new().name("session".into()).stack_size(STACK);
            let started = session.spawn_scoped(scope, move || {
                let mut next = Some(first);
                while let Some((connection, place)) = next {
                    serve(service, connection, start);
                    drop(place);
                    next = crew.next();
                }
            });
            if let Err(error) = started {
                log::warn!("cannot start a thread for a session: {}", sys::error_text(&error));
            }
        });
        crew.close();
        watchdog.rest(|| places.drain());
        end
    });
    ready.service.before_exit(&ready.start);
    match end {
        End::Leave(reason) => leave(reason),
        End::TableChanged(table) => restart_for_table(&table),
    }
}

/// Lets as many clients wait as there are places: the kernel turns away those of a crowd for whom master has left no
/// room, and they come back only after seconds.
fn widen_backlog(start: &Start, link: &Link, places: usize) {
    if start.transport != Transport::Inet {
        return;
    }
    let backlog = i32::try_from(places).unwrap_or(i32::MAX);
    for listener in &link.listeners {
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

/// Becomes the child of a process that leaves when master wants it to.
fn keep(mut link: Link) -> Link {
    let (lifeline, held) = sys::fd::pipe().unwrap_or_else(|error| fatal_fork(&error));
    let (ended, alive) = sys::fd::pipe().unwrap_or_else(|error| fatal_fork(&error));
    match sys::process::fork().unwrap_or_else(|error| fatal_fork(&error)) {
        Fork::Parent(child) => {
            // The child alone may hold these up.
            let Link { status, .. } = link;
            drop((alive, lifeline));
            keeper(&status, &ended, child, held)
        }
        Fork::Child => {
            drop((held, ended));
            // Held open until the process ends.
            link.lifeline = Some((lifeline, alive));
            link
        }
    }
}

fn fatal_fork(error: &std::io::Error) -> ! {
    maillog::fatal(format_args!("fork: {}", sys::error_text(error)))
}

/// Waits for master's end of the status channel, or the child's.
fn keeper(status: &StatusChannel, ended: &OwnedFd, child: Pid, held: OwnedFd) -> ! {
    use std::os::fd::AsFd;
    use sys::poll::{PollFd, PollFlags};
    let mut fds =
        [PollFd::new(ended.as_fd(), PollFlags::POLLIN), PollFd::new(status.fd().as_fd(), PollFlags::POLLIN)];
    if let Err(error) = sys::poll::any(&mut fds, None) {
        maillog::fatal(format_args!("poll: {}", sys::error_text(&error)));
    }
    if fds[0].any().unwrap_or(true) {
        match sys::process::wait(child) {
            Ok(Ended::Exited(status)) => sys::process::exit_now(status),
            Ok(Ended::Killed(signal)) => {
                // Master shall see what happened.
                if let Ok(signal) = Signal::try_from(signal) {
                    let _ = sys::signal::default(signal);
                    let _ = sys::signal::raise(signal);
                }
                sys::process::exit_now(1)
            }
            Err(error) => maillog::fatal(format_args!("waitpid: {}", sys::error_text(&error))),
        }
    }
    drop(held);
    leave(Reason::MasterGone)
}

fn accept_clients<'a, S: Service>(
    ready: &Ready<S>,
    link: &Link,
    watchdog: &Watchdog,
    places: &Places<'a>,
    mut begin: impl FnMut(Connection),
) -> End {
    let mut age = Age::new(&ready.start.lifetime);
    loop {
        if age.is_worn_out() {
            return End::Leave(Reason::WornOut);
        }
        if !watchdog.rest(|| places.wait_for_one()) {
            return End::Leave(Reason::MasterGone);
        }
        let _turn = Turn::take(link, watchdog);
        places.tell_rest(&mut age);
        let listener = match watchdog.rest(|| wait(link, &age)) {
            Ok(Some(listener)) => listener,
            Ok(None) => continue,
            Err(Reason::Over(Over::Idle)) if !places.is_idle_for(ready.start.lifetime.max_idle) => continue,
            Err(reason) => return End::Leave(reason),
        };
        if let Some(table) = ready.service.changed_table() {
            return End::TableChanged(table);
        }
        // Whoever comes at the same time is taken in the same turn.
        while let Some(connection) = accept(listener, ready.start.transport, ready.start.ipc_timeout) {
            age.count();
            begin(connection);
            if age.is_worn_out() || places.is_full() {
                break;
            }
        }
    }
}

/// A session, in its thread.
fn serve<S: SingleService>(service: &S, connection: Connection, start: &Start) {
    maillog::set_session_number(Some(sys::process::thread_id()));
    maillog::contain_panics();
    // What a session leaves half done is its own; what sessions share guards itself.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let mut worker = service.worker(start);
        service.serve(&mut worker, connection, start);
    }));
}

/// The places of a process, as master is told about them.
struct Places<'a> {
    limit: usize,
    status: &'a StatusChannel,
    taken: Mutex<Taken>,
    freed: Condvar,
}

struct Taken {
    count: usize,
    /// When the last session ended.
    since: Instant,
    /// Master counts this process as busy.
    told: bool,
    /// Nobody is taken any more.
    draining: bool,
    master_gone: bool,
}

impl<'a> Places<'a> {
    fn new(limit: usize, status: &'a StatusChannel) -> Self {
        let taken =
            Taken { count: 0, since: Instant::now(), told: false, draining: false, master_gone: false };
        Self { limit, status, taken: Mutex::new(taken), freed: Condvar::new() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; given back when it is dropped, whatever happened in it.
    fn take(&self) -> Place<'_, 'a> {
        let mut taken = self.taken();
        taken.count += 1;
        if taken.count >= self.limit {
            self.tell_busy(&mut taken);
        }
        Place(self)
    }

    fn tell_busy(&self, taken: &mut Taken) {
        if !taken.told {
            self.status.taken();
            taken.told = true;
        }
    }

    fn give_back(&self) {
        let mut taken = self.taken();
        taken.count = taken.count.saturating_sub(1);
        taken.since = Instant::now();
        if taken.told && !taken.draining {
            taken.told = false;
            taken.master_gone |= !self.status.available();
        }
        self.freed.notify_all();
    }

    fn is_full(&self) -> bool {
        self.taken().count >= self.limit
    }

    /// Waits for a free place; false when master is gone.
    fn wait_for_one(&self) -> bool {
        let full = |taken: &mut Taken| taken.count >= self.limit;
        let taken = self.freed.wait_while(self.taken(), full).unwrap_or_else(PoisonError::into_inner);
        !taken.master_gone
    }

    /// Idle time runs since the last session's end; while there are sessions it only bounds the wait.
    fn tell_rest(&self, age: &mut Age) {
        let taken = self.taken();
        age.rest_since(if taken.count == 0 { taken.since } else { Instant::now() });
    }

    fn is_idle_for(&self, span: Option<Duration>) -> bool {
        let taken = self.taken();
        taken.count == 0 && span.is_some_and(|span| taken.since.elapsed() >= span)
    }

    /// Takes nobody any more, and waits until all have gone.
    fn drain(&self) {
        let mut taken = self.taken();
        taken.draining = true;
        if taken.count > 0 {
            self.tell_busy(&mut taken);
        }
        let left = |taken: &mut Taken| taken.count > 0;
        drop(self.freed.wait_while(taken, left).unwrap_or_else(PoisonError::into_inner));
    }
}

/// One of the places.
struct Place<'p, 'a>(&'p Places<'a>);

impl Drop for Place<'_, '_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
