//! The end in good order, which `postfix stop --drain` asks for by SIGUSR1: no client is cut off, and none is taken any
//! more.
//!
//! 1. New connections go to another master that listens at the same addresses, if there is one ([`STEER`]): by that an
//!    instance takes over from another without a moment in which nobody listens. What is already in this one's queue of
//!    connections is served meanwhile.
//! 2. The sockets of the inet services stop listening. Idle processes leave, and busy ones when their client has gone.
//!    Services whose entry names a loopback address wait until the others have no process left: those are what filters
//!    hand mail back to, which still have some.
//! 3. With the last process the file [`MARK`] goes, which whoever asked has made and waits for. All other services stay:
//!    what was taken still goes to cleanup and the queue, and is delivered.
//!
//! From the first step on a reload is refused, as it would listen again. Processes that do not leave are for the signal
//! that ends master, as ever. Postfix's master knows nothing of it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::definition::{Definition, Place};
use crate::master::{Master, Timer};
use crate::service::{ServiceId, Stage};

/// Below the queue directory: it is there as long as clients are.
const MARK: &str = "pid/drain";
/// How long connections that were begun with this instance may take to arrive.
const STEER: Duration = Duration::from_secs(1);

impl Master {
    /// SIGUSR1.
    pub(crate) fn drain(&mut self) {
        if self.drain.is_some() {
            return;
        }
        log::info!("draining: no more clients are taken");
        self.notify.stopping();
        self.drain = Some(Stage::Steering);
        let inet = self.services.values().filter(|service| is_inet(&service.definition));
        for listener in inet.flat_map(|service| &service.listeners) {
            // Without it, clients in between are refused, and come again.
            let _ = sys::socket::steer_to_newest(listener);
        }
        self.timers.set(Timer::Drain, Instant::now() + STEER);
    }

    /// The next stage, when this one is over.
    pub(crate) fn drain_on(&mut self) {
        while let Some(stage) = self.drain.filter(|stage| *stage != Stage::Done) {
            let next = match stage {
                Stage::Steering if self.timers.is_set(Timer::Drain) => return,
                Stage::Steering => Stage::Entrances,
                Stage::Entrances | Stage::Returns if self.has_draining() => return,
                Stage::Entrances => Stage::Returns,
                Stage::Returns | Stage::Done => Stage::Done,
            };
            self.drain = Some(next);
            let is_next = |definition: &Definition| match next {
                Stage::Entrances => is_inet(definition) && !is_return(definition),
                Stage::Returns => is_inet(definition),
                Stage::Steering | Stage::Done => false,
            };
            let ids = self.services.iter().filter(|(_, service)| is_next(&service.definition));
            let ids: Vec<ServiceId> = ids.map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.close(id));
            if next == Stage::Done {
                log::info!("drained: the last client has gone");
                // Nobody may be waiting for it.
                let _ = std::fs::remove_file(MARK);
            }
        }
    }

    fn has_draining(&self) -> bool {
        self.services.values().any(|service| service.condemned && is_inet(&service.definition))
    }

    /// A service takes no more clients.
    fn close(&mut self, id: ServiceId) {
        if let Some(service) = self.services.get_mut(&id) {
            service.condemned = true;
        }
        // Idle processes read end of file and leave, before they see that there is nothing to wait for.
        self.renew_channel(id);
        self.decide(id);
        self.timers.cancel(Timer::Wakeup(id));
        let listeners: &[OwnedFd] = self.services.get(&id).map_or(&[], |service| &service.listeners);
        for listener in listeners {
            // Busy processes have the socket, too.
            let _ = sys::socket::stop_listening(listener);
        }
        self.bury(id);
    }
}

fn is_inet(definition: &Definition) -> bool {
    matches!(definition.place, Place::Inet(_))
}

/// Whether the entry itself names a loopback address, and no other.
fn is_return(definition: &Definition) -> bool {
    let is_named = definition.identity.canonical.starts_with(b"[");
    matches!(&definition.place, Place::Inet(addresses) if is_named && !addresses.remote())
}
