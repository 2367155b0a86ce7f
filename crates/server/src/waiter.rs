//! Where a process, or a thread of one, waits for clients.
//!
//! Each waits in an epoll instance of its own, in which the listen sockets are `EPOLLEXCLUSIVE`: a client wakes one of
//! those who wait, and nobody takes turns. When several wait, it is the one whose waiter was made first.
//!
//! A client calls once. Who was called and does not come (it was killed in between, or leaves because a table has changed)
//! leaves the client standing, until the next client calls somebody else: so everybody who waits looks for himself once a
//! second ([`LOOK`]).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// How often to look without having been called.
const LOOK: Duration = Duration::from_secs(1);
/// Events taken in one call.
const EVENTS: usize = 8;
/// Tokens from here on are other descriptors; below are listen sockets.
const WATCHED: u64 = 1 << 32;

/// The listen sockets of a process. They are closed with the last waiter that has them.
pub(crate) type Listeners = Arc<[OwnedFd]>;

/// Waits for clients, and for what else is to wake its owner.
#[derive(Debug)]
pub(crate) struct Waiter {
    epoll: Epoll,
    listeners: Listeners,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Woken<'l> {
    /// A client may wait at one of these.
    Clients(&'l [OwnedFd]),
    /// This other descriptor has something to say.
    Watched(u32),
}

impl Waiter {
    /// One that waits for clients at these listen sockets.
    pub(crate) fn new(listeners: &Listeners) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (token, listener) in (0..).zip(listeners.iter()) {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
            epoll.add(listener, EpollEvent::new(flags, token))?;
        }
        Ok(Self { epoll, listeners: Arc::clone(listeners) })
    }

    /// Also waits for another descriptor, as long as it is open. It goes before clients.
    pub(crate) fn also(&self, fd: impl AsFd, name: u32) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, WATCHED + u64::from(name)))?)
    }

    /// All the listen sockets.
    pub(crate) fn listeners(&self) -> &[OwnedFd] {
        &self.listeners
    }

    /// Waits for a call, for at most `limit` and at most [`LOOK`].
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<Woken<'_>> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let limit = limit.map_or(LOOK, |limit| limit.min(LOOK));
        let count = match self.epoll.wait(&mut events, timeout(limit)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let tokens = || events.iter().take(count).map(EpollEvent::data);
        if let Some(watched) = tokens().find(|token| *token >= WATCHED) {
            return Ok(Woken::Watched(u32::try_from(watched - WATCHED).unwrap_or(u32::MAX)));
        }
        let called = tokens().next().and_then(|token| usize::try_from(token).ok());
        let listener = called.and_then(|index| self.listeners.get(index));
        Ok(Woken::Clients(listener.map_or(&self.listeners[..], std::slice::from_ref)))
    }
}

/// Rounded up, so that nobody wakes shortly before his time and then waits for nothing.
fn timeout(limit: Duration) -> EpollTimeout {
    let whole = limit.as_micros().div_ceil(1000);
    u16::try_from(whole).map_or(EpollTimeout::from(u16::MAX), EpollTimeout::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc;

    fn listener(name: &str) -> (std::path::PathBuf, OwnedFd) {
        let path = std::env::temp_dir().join(format!("server-waiter-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        (path, listener.into())
    }

    #[test]
    fn each_client_wakes_one() {
        let (path, listener) = listener("one");
        let listeners: Listeners = [listener].into();
        let (woken, calls) = mpsc::channel();
        let (end, ended) = sys::fd::pipe().unwrap();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (woken, listeners, end) = (woken.clone(), &listeners, &end);
                scope.spawn(move || {
                    let waiter = Waiter::new(listeners).unwrap();
                    waiter.also(end, 7).unwrap();
                    loop {
                        match waiter.wait(None).unwrap() {
                            Woken::Watched(watched) => return assert_eq!(watched, 7),
                            Woken::Clients(at) => {
                                if sys::socket::accept(&at[0]).is_ok() {
                                    woken.send(number).unwrap();
                                }
                            }
                        }
                    }
                });
            }
            let clients: Vec<_> = (0..20).map(|_| UnixStream::connect(&path).unwrap()).collect();
            for _ in &clients {
                calls.recv().unwrap();
            }
            drop(ended);
        });
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn who_is_not_called_looks() {
        let (path, listener) = listener("look");
        let listeners: Listeners = [listener].into();
        let waiter = Waiter::new(&listeners).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        sys::socket::accept(&listeners[0]).unwrap();
        assert!(matches!(waiter.wait(Some(Duration::ZERO)).unwrap(), Woken::Clients(all) if all.len() == 1));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn time_limits_are_never_short() {
        assert_eq!(timeout(Duration::ZERO), EpollTimeout::ZERO);
        assert_eq!(timeout(Duration::from_micros(1)), EpollTimeout::from(1u8));
        assert_eq!(timeout(LOOK), EpollTimeout::from(1000u16));
    }
}
