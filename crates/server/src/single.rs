//! One client at a time (spec master 3.5).
//!
//! [`SingleService`] keeps apart what a process has once (`self`: parameters and tables, read by all) and what
//! each thread that serves clients has of its own ([`SingleService::Worker`]: connections to other services).
//! A process with several sessions ([`Start::sessions`]) is one service with several workers.

use std::os::fd::AsFd;

use sys::poll::{PollFd, PollFlags};

use crate::accept::accept;
use crate::connection::Connection;
use crate::leave::{Reason, leave, restart_for_table};
use crate::lifetime::Age;
use crate::service::Service;
use crate::sessions::serve_many;
use crate::start::{Start, Transport};
use crate::startup::{Link, Ready, Skeleton, bring_up};
use crate::watchdog::Watchdog;

/// A service that serves one client to the end before it takes the next.
pub trait SingleService: Service + Send + Sync {
    /// What one thread keeps from client to client.
    type Worker;

    /// A worker, made after the start is complete; with several sessions in a process, one for each.
    fn worker(&self, start: &Start) -> Self::Worker;

    /// Serves a client. The connection is closed when it is dropped, before master hears that this process is
    /// idle again.
    fn serve(&self, worker: &mut Self::Worker, connection: Connection, start: &Start);
}

/// Runs a single server. `program` is its name when it was started without one.
pub fn single<S: SingleService>(program: &'static str) -> ! {
    let skeleton = Skeleton {
        program,
        options: crate::options::ALL,
        transports: &[Transport::Inet, Transport::Unix, Transport::Pass],
        accept_lock: true,
        watchdog: None,
    };
    let mut ready = bring_up::<S>(&skeleton);
    let reason = match ready.link.take() {
        None => {
            let mut worker = ready.service.worker(&ready.start);
            let connection = ready.standard_connection();
            ready.service.serve(&mut worker, connection, &ready.start);
            Reason::Served
        }
        Some(link) if ready.start.sessions > 1 => serve_many(ready, link),
        Some(link) => {
            let mut worker = ready.service.worker(&ready.start);
            serve_clients(&mut ready, &mut worker, &link)
        }
    };
    ready.service.before_exit(&ready.start);
    leave(reason)
}

fn serve_clients<S: SingleService>(ready: &mut Ready<S>, worker: &mut S::Worker, link: &Link) -> Reason {
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    let mut age = Age::new(&ready.start.lifetime);
    while !age.is_worn_out() {
        let connection = match next_client(ready, link, &watchdog, &age) {
            Ok(Some(connection)) => connection,
            Ok(None) => continue,
            Err(reason) => return reason,
        };
        link.status.taken();
        ready.service.serve(worker, connection, &ready.start);
        if !link.status.available() {
            return Reason::MasterGone;
        }
        age.count();
        age.rest();
    }
    Reason::WornOut
}

/// Waits for a client while holding the accept lock. `Ok(None)` when there was none after all.
fn next_client<S: Service>(
    ready: &mut Ready<S>,
    link: &Link,
    watchdog: &Watchdog,
    age: &Age,
) -> Result<Option<Connection>, Reason> {
    let _turn = Turn::take(link, watchdog);
    match watchdog.rest(|| wait(link, age))? {
        None => Ok(None),
        Some(listener) => {
            if let Some(table) = ready.service.changed_table() {
                ready.service.before_exit(&ready.start);
                restart_for_table(&table);
            }
            Ok(accept(listener, ready.start.transport, ready.start.ipc_timeout))
        }
    }
}

/// The accept lock, given back when this goes out of scope.
pub(crate) struct Turn<'a>(&'a Link);

impl<'a> Turn<'a> {
    /// Waits for this process's turn.
    pub(crate) fn take(link: &'a Link, watchdog: &Watchdog) -> Self {
        if let Some(lock) = &link.lock {
            watchdog.rest(|| lock.lock());
        }
        Self(link)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(lock) = &self.0.lock {
            lock.unlock();
        }
    }
}

/// Waits for a listen socket, the end of master, or the end of this process's time.
pub(crate) fn wait<'a>(link: &'a Link, age: &Age) -> Result<Option<&'a std::os::fd::OwnedFd>, Reason> {
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(link.listeners.len() + 2);
    fds.push(PollFd::new(link.status.fd().as_fd(), PollFlags::POLLIN));
    fds.extend(link.lifeline.iter().map(|(keeper, _)| PollFd::new(keeper.as_fd(), PollFlags::POLLIN)));
    fds.extend(link.listeners.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    if let Err(error) = sys::poll::any(&mut fds, age.wait()) {
        maillog::fatal(format_args!("poll: {}", sys::error_text(&error)));
    }
    if let Some(over) = age.over() {
        return Err(Reason::Over(over));
    }
    let has_event = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
    let ties = fds.len() - link.listeners.len();
    if fds.iter().take(ties).any(has_event) {
        return Err(Reason::MasterGone);
    }
    let ready = fds.iter().skip(ties).position(has_event);
    Ok(ready.and_then(|index| link.listeners.get(index)))
}
