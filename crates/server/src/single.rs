//! One client at a time (spec master 3.5).
//!
//! [`SingleService`] keeps apart what a process has once (`self`: parameters and tables, read by all) and what
//! each thread that serves clients has of its own ([`SingleService::Worker`]: connections to other services).
//! A process with several sessions ([`Start::sessions`]) is one service with several workers.

use crate::accept::{Accepted, accept};
use crate::connection::Connection;
use crate::leave::Reason;
use crate::lifetime::Age;
use crate::service::Service;
use crate::sessions::serve_many;
use crate::start::{Start, Transport};
use crate::startup::{Link, Ready, Skeleton, bring_up};
use crate::uses::Uses;
use crate::waiter::{Waiter, Woken};
use crate::watchdog::Watchdog;

/// A service that serves one client to the end before it takes the next.
pub trait SingleService: Service + Send + Sync {
    /// What one thread keeps from client to client.
    type Worker;

    /// Whether a thread of a process with several sessions keeps its worker after a session. A process with one
    /// session always does.
    const KEEPS_WORKER: bool = false;

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
        Some(link) => {
            ready.start.uses = Uses::of(ready.start.lifetime.max_use);
            if ready.sessions.count > 1 {
                serve_many(ready, link);
            }
            let mut worker = ready.service.worker(&ready.start);
            serve_clients(&mut ready, &mut worker, &link)
        }
    };
    ready.leave(reason)
}

fn serve_clients<S: SingleService>(ready: &mut Ready<S>, worker: &mut S::Worker, link: &Link) -> Reason {
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    let waiter = link.waiter().unwrap_or_else(|error| fatal_wait(&error));
    let mut age = Age::new(&ready.start.lifetime);
    while !ready.start.uses.are_over() {
        let connection = match next_client(ready, &waiter, &watchdog, &age) {
            Ok(Some(connection)) => connection,
            Ok(None) => continue,
            Err(reason) => return reason,
        };
        log::debug!("connection established");
        link.status.taken();
        ready.start.uses.begin();
        ready.service.serve(worker, connection, &ready.start);
        let is_told = link.status.available();
        log::debug!("connection closed");
        if !is_told {
            return Reason::MasterGone;
        }
        age.rest();
    }
    Reason::WornOut
}

/// Waits for a client. `Ok(None)` when there was none after all.
fn next_client<S: Service>(
    ready: &mut Ready<S>,
    waiter: &Waiter,
    watchdog: &Watchdog,
    age: &Age,
) -> Result<Option<Connection>, Reason> {
    let came = watchdog.rest(|| waiter.wait(age.wait())).unwrap_or_else(|error| fatal_wait(&error));
    if let Some(over) = age.over() {
        return Err(Reason::Over(over));
    }
    let Woken::Clients(listeners) = came else { return Err(Reason::MasterGone) };
    ready.restart_for_changed_table();
    let start = &ready.start;
    let accepted = listeners.iter().find_map(|listener| accept(listener, start.transport, start.ipc_timeout));
    Ok(accepted.and_then(Accepted::complete))
}

/// There is no waiting for clients.
pub(crate) fn fatal_wait(error: &std::io::Error) -> ! {
    maillog::fatal(format_args!("epoll: {}", sys::error_text(error)))
}
