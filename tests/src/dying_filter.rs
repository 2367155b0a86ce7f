//! A filter that adds nothing and cannot be relied on: it passes bytes to the after-filter server and back, dawdles, breaks
//! off anywhere, and is restarted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::dice::Dice;

/// Of a hundred connections, how many break off somewhere.
const DYING: u64 = 4;
/// A connection that breaks off does so within so many bytes.
const FUSE: u64 = 4000;
/// Of a hundred pieces, how many are delayed.
const DAWDLING: u64 = 2;

/// A running filter; gone when dropped.
#[derive(Debug)]
pub(crate) struct DyingFilter {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    after: u16,
    stopped: AtomicBool,
    /// Everything that is open, to be broken off by a restart.
    open: Mutex<Vec<TcpStream>>,
    broken: AtomicU64,
}

impl DyingFilter {
    /// Listens on a free loopback port, in front of the server on port `after`.
    ///
    /// # Panics
    /// When there is no port.
    pub(crate) fn start(after: u16) -> DyingFilter {
        let port = crate::free_port();
        let shared = Shared {
            after,
            stopped: AtomicBool::new(true),
            open: Mutex::default(),
            broken: AtomicU64::new(0),
        };
        let filter = DyingFilter { port, shared: Arc::new(shared) };
        filter.listen();
        filter
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it broke off.
    pub(crate) fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// Goes away for a while, in the middle of whatever it does.
    pub(crate) fn restart(&self, pause: Duration) {
        self.end();
        thread::sleep(pause);
        self.listen();
    }

    fn listen(&self) {
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => break listener,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        self.shared.stopped.store(false, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for (number, socket) in listener.incoming().flatten().enumerate() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                connect(socket, &shared, number as u64);
            }
        });
    }

    fn end(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        for socket in self.shared.open().drain(..) {
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for DyingFilter {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Joins a client with the after-filter server.
fn connect(client: TcpStream, shared: &Arc<Shared>, number: u64) -> Option<()> {
    let server = TcpStream::connect(("127.0.0.1", shared.after)).ok()?;
    let mut dice = Dice::new(number ^ u64::from(client.peer_addr().ok()?.port()));
    let pair = [client.try_clone().ok()?, server.try_clone().ok()?];
    let mut open = shared.open();
    // What has been closed by both sides in the meantime is of no use.
    open.retain(|socket| {
        socket.take_error().is_ok_and(|error| error.is_none()) && socket.peer_addr().is_ok()
    });
    open.extend(pair);
    drop(open);
    let dying = dice.percent(DYING);
    for (from, to) in [(client.try_clone().ok()?, server.try_clone().ok()?), (server, client)] {
        let fuse = if dying { dice.below(FUSE) } else { u64::MAX };
        let shared = Arc::clone(shared);
        let dice = Dice::new(dice.below(u64::MAX));
        thread::spawn(move || {
            if pump(&from, &to, fuse, dice).is_none() {
                shared.broken.fetch_add(1, Ordering::Relaxed);
            }
            drop(from.shutdown(Shutdown::Both));
            drop(to.shutdown(Shutdown::Both));
        });
    }
    Some(())
}

/// Passes bytes on until their end; `None` when the fuse was shorter.
fn pump(mut from: &TcpStream, mut to: &TcpStream, mut fuse: u64, mut dice: Dice) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        let len = from.read(&mut piece).unwrap_or(0);
        if len == 0 {
            return Some(());
        }
        if dice.percent(DAWDLING) {
            thread::sleep(Duration::from_millis(dice.below(200)));
        }
        if len as u64 > fuse {
            return None;
        }
        fuse = fuse.saturating_sub(if fuse == u64::MAX { 0 } else { len as u64 });
        if to.write_all(&piece[..len]).is_err() {
            return Some(());
        }
    }
}
