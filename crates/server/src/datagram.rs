//! One datagram at a time, never answered (spec master 3.9).

use std::io;

use crate::accept_lock::{AcceptGuard, wait};
use crate::leave::Reason;
use crate::lifetime::Age;
use crate::service::Service;
use crate::start::{Start, Transport};
use crate::startup::{EVENT_WATCHDOG, Link, Ready, Skeleton, bring_up};
use crate::watchdog::Watchdog;

/// Datagrams taken in one turn, before the watchdog hears from this process again.
const BURST: u32 = 100;

/// A service of datagrams.
pub trait DatagramService: Service {
    /// Longest datagram; the rest of a longer one is lost.
    const LIMIT: usize;

    /// Takes a datagram.
    fn received(&mut self, datagram: &[u8], start: &Start);

    /// No more datagrams wait, for the moment, or many have been taken.
    fn taken(&mut self, _start: &Start) {}
}

/// Runs a datagram server. `program` is its name when it was started without one.
pub fn datagram<S: DatagramService>(program: &'static str) -> ! {
    let skeleton = Skeleton {
        program,
        options: crate::options::WITHOUT_CLIENT,
        transports: &[Transport::UnixDatagram],
        accept_lock: true,
        watchdog: Some(EVENT_WATCHDOG),
    };
    let mut ready = bring_up::<S>(&skeleton);
    let Some(link) = ready.link.take() else {
        // Unreachable: the options do not have -S.
        maillog::fatal("invalid option: S")
    };
    let reason = receive(&mut ready, &link);
    ready.leave(reason)
}

fn receive<S: DatagramService>(ready: &mut Ready<S>, link: &Link) -> Reason {
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    let mut age = Age::new(&ready.start.lifetime);
    let mut buffer = vec![0; S::LIMIT];
    // Master learns that this process works. To be told of every datagram would cost both more than the datagrams do,
    // and would tell master nothing: this process is there for the next one at once.
    let mut reported = false;
    while !age.is_worn_out() {
        let guard = AcceptGuard::take(link, &watchdog);
        let socket = match watchdog.rest(|| wait(link, &age)) {
            Ok(Some(socket)) => socket,
            Ok(None) => continue,
            Err(reason) => return reason,
        };
        if !reported {
            link.status.taken();
        }
        for _ in 0..BURST {
            match sys::socket::receive(socket, &mut buffer) {
                Ok(count) => {
                    log::debug!("dgram_server_accept: request arrived");
                    ready.service.received(buffer.get(..count).unwrap_or_default(), &ready.start);
                    age.count();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    log::error!("receive datagram: {}", sys::error_text(&error));
                    break;
                }
            }
            if age.is_worn_out() {
                break;
            }
        }
        ready.service.taken(&ready.start);
        drop(guard);
        if !reported && !link.status.available() {
            return Reason::MasterGone;
        }
        reported = true;
        age.rest();
    }
    Reason::WornOut
}
