//! Waking services up at intervals (spec master 2.12).
//!
//! master connects like any client, but does not wait for room in a full queue, sends `W` and NUL, and keeps the connection until the
//! service closes it or 101 seconds are over. A FIFO gets the one byte `W`; over a pass service the descriptor of a
//! pipe that holds the request is handed. Datagram services cannot be woken.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use config::mastercf::Transport;
use sys::error_text;

use crate::definition::{Definition, Place};
use crate::master::{Master, Source, Timer};
use crate::network::Network;
use crate::owner::Owner;
use crate::service::ServiceId;

/// Time limit for a TCP connection, and for the request.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long the service may take to close the connection.
const PATIENCE: Duration = Duration::from_secs(101);
/// The request.
const WAKEUP: &[u8] = b"W\0";

impl Master {
    /// A service (re)starts: first wakeup now, or after the first process when the time has a `?`.
    pub(crate) fn start_wakeup(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let wakeup = service.definition.entry.wakeup;
        self.timers.cancel(Timer::Wakeup(id));
        service.asleep = wakeup.seconds > 0 && wakeup.if_used;
        if wakeup.seconds > 0 && !wakeup.if_used {
            self.wake(id);
        }
    }

    /// A service has got a process: begin its wakeups if they waited for that.
    pub(crate) fn awaken(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if std::mem::take(&mut service.asleep) {
            self.wake(id);
        }
    }

    /// One wakeup, and the timer for the next.
    pub(crate) fn wake(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(&id) else { return };
        let interval = Duration::from_secs(u64::from(service.definition.entry.wakeup.seconds));
        if interval.is_zero() {
            return;
        }
        if !service.pool.is_throttled() {
            let definition = &service.definition;
            match request(definition, &self.settings.network, self.settings.owner) {
                Ok(Some(connection)) => {
                    let path = definition.identity.canonical.escape_ascii().to_string();
                    self.await_close(connection, path);
                }
                Ok(None) => {}
                Err(error) => {
                    log::warn!("master_wakeup_timer_event: service {definition}: {}", error_text(&error));
                }
            }
        }
        self.timers.set(Timer::Wakeup(id), Instant::now() + interval);
    }

    /// Keeps a connection until the service closes it.
    fn await_close(&mut self, connection: OwnedFd, path: String) {
        let token = self.next_token();
        if let Err(error) = self.watch_fd(connection.as_fd(), token, Source::Trigger(token.0)) {
            log::warn!("master_wakeup_timer_event: watch connection: {}", error_text(&error));
            return;
        }
        self.timers.set(Timer::Trigger(token.0), Instant::now() + PATIENCE);
        self.triggers.insert(token.0, (connection, path));
    }

    /// The service has closed the connection.
    pub(crate) fn trigger_done(&mut self, number: u64) {
        self.timers.cancel(Timer::Trigger(number));
        self.forget_trigger(number);
    }

    /// The service has not closed the connection in time.
    pub(crate) fn trigger_overdue(&mut self, number: u64) {
        if let Some(path) = self.forget_trigger(number) {
            log::warn!("unix_trigger_event: read timeout for service {path}");
        }
    }

    fn forget_trigger(&mut self, number: u64) -> Option<String> {
        let (connection, path) = self.triggers.remove(&number)?;
        self.unwatch_fd(connection.as_fd(), events::Token(number));
        Some(path)
    }
}

/// Sends the request; the connection to wait on, if there is one.
fn request(service: &Definition, network: &Network, owner: Owner) -> io::Result<Option<OwnedFd>> {
    match (&service.place, service.entry.transport) {
        (Place::Inet(addresses), _) => {
            let address = addresses.sockets(network).map_err(io::Error::other)?.first().copied();
            let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
            let mut stream = sys::socket::connect_inet(reachable(address), Some(CONNECT_LIMIT), None)?;
            sys::socket::set_write_timeout(&stream, Some(CONNECT_LIMIT))?;
            stream.write_all(WAKEUP)?;
            Ok(Some(stream.into()))
        }
        (Place::Path(path), transport) => request_path(Path::new(OsStr::from_bytes(path)), transport, owner),
    }
}

fn request_path(path: &Path, transport: Transport, owner: Owner) -> io::Result<Option<OwnedFd>> {
    match transport {
        Transport::Fifo => {
            let fifo = owner.act(|| sys::socket::open_fifo_writer(path))??;
            sys::fd::write(&fifo, &WAKEUP[..1])?;
            Ok(None)
        }
        Transport::UnixDgram => Err(io::Error::from_raw_os_error(nix::errno::Errno::EOPNOTSUPP as i32)),
        Transport::Pass => {
            let (reader, writer) = sys::fd::pipe()?;
            let stream = sys::socket::connect_unix_at_once(path)?;
            sys::pass::send(&stream, &reader)?;
            sys::fd::write(&writer, WAKEUP)?;
            Ok(Some(stream.into()))
        }
        Transport::Unix | Transport::Inet => {
            let mut stream = sys::socket::connect_unix_at_once(path)?;
            sys::socket::set_write_timeout(&stream, Some(CONNECT_LIMIT))?;
            stream.write_all(WAKEUP)?;
            Ok(Some(stream.into()))
        }
    }
}

/// The wildcard address is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
