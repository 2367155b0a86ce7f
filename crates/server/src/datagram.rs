//! One datagram at a time, never answered (spec master 3.9).

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use sys::signal::Signal;

use crate::accept_lock::{AcceptGuard, wait};
use crate::leave::Reason;
use crate::lifetime::Age;
use crate::service::Service;
use crate::start::{Start, Transport};
use crate::startup::{EVENT_WATCHDOG, Link, Ready, Skeleton, bring_up};
use crate::watchdog::Watchdog;

/// Datagrams taken in one turn, before the watchdog hears from this process again.
const BURST: u32 = 100;
/// Where many datagrams follow each other as close as this, they are let gather for a while: to wake this process for each of
/// them costs it and their senders more than all the rest. A socket lets eleven wait as a rule, and then its senders wait.
const CLOSE: Duration = Duration::from_millis(1);
/// So many of them are many: the few lines of one event are written at once.
const MANY: u32 = 32;
const GATHERING: Duration = Duration::from_micros(300);
/// How often in a row, before this process looks for the end of master again.
const GATHERINGS: u32 = 100;

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
    let mut woken: Option<Instant> = None;
    let mut close = 0;
    while !age.is_worn_out() {
        let guard = AcceptGuard::take(link, &watchdog);
        let socket = match watchdog.rest(|| wait(link, &age)) {
            Ok(Some(socket)) => socket,
            Ok(None) => continue,
            Err(reason) => return reason,
        };
        let now = Instant::now();
        let is_close = woken.replace(now).is_some_and(|before| now.duration_since(before) < CLOSE);
        close = if is_close { close + 1 } else { 0 };
        if !reported {
            link.status.taken();
        }
        take(ready, socket, &mut buffer, &mut age);
        drop(guard);
        if !reported && !link.status.available() {
            return Reason::MasterGone;
        }
        reported = true;
        if close >= MANY {
            close = MANY;
            let mut gathered = || watchdog.rest(|| gather(ready, socket, &mut buffer, &mut age));
            let _ = (0..GATHERINGS).find(|_| gathered() == 0);
            woken = Some(Instant::now());
        }
        age.rest();
    }
    Reason::WornOut
}

/// Lets datagrams gather, and takes them; how many. The signal by which master ends its processes waits for that, as it has
/// some of them, and its own last one, behind it.
fn gather<S: DatagramService>(
    ready: &mut Ready<S>,
    socket: &OwnedFd,
    buffer: &mut [u8],
    age: &mut Age,
) -> u32 {
    let _ = sys::signal::block(&[Signal::SIGTERM], true);
    sys::process::sleep(GATHERING);
    let count = take(ready, socket, buffer, age);
    let _ = sys::signal::block(&[Signal::SIGTERM], false);
    count
}

/// Takes the datagrams that wait; how many.
fn take<S: DatagramService>(ready: &mut Ready<S>, socket: &OwnedFd, buffer: &mut [u8], age: &mut Age) -> u32 {
    let mut taken = 0;
    while taken < BURST {
        match sys::socket::receive(socket, buffer) {
            Ok(count) => {
                log::debug!("dgram_server_accept: request arrived");
                ready.service.received(buffer.get(..count).unwrap_or_default(), &ready.start);
                age.count();
                taken += 1;
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
    taken
}
