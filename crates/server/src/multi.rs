//! Many clients in one process, one request at a time (spec master 3.6).

use std::collections::HashMap;
use std::io::BufRead;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use crate::accept::{Accepted, accept};
use crate::connection::Connection;
use crate::leave::Reason;
use crate::lifetime::Age;
use crate::passing::{self, Handovers};
use crate::service::Service;
use crate::start::{ProcessLimit, Start, Transport};
use crate::startup::{Link, Ready, Skeleton, bring_up};
use crate::watchdog::Watchdog;
use events::{EventLoop, Happened, Interest, Token};

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It stays for further requests.
    Keep,
    /// It is closed.
    Close,
}

/// A service with many connections, each with many requests.
pub trait MultiService: Service {
    /// What the service remembers of a connection.
    type Client;

    /// A new connection: the place for the announcement. `None` closes it.
    fn connected(&mut self, connection: &mut Connection, start: &Start) -> Option<Self::Client>;

    /// At least the first byte of a request is there to be read.
    fn request(&mut self, client: &mut Self::Client, connection: &mut Connection, start: &Start) -> After;

    /// The connection is over, whoever ended it.
    fn disconnected(&mut self, _client: Self::Client, _start: &Start) {}

    /// Whether the replies to requests that came together may leave together, behind the first: nothing but replies is
    /// written, and only to the connection itself.
    const GATHERS: bool = false;

    /// Whether a request may have to wait for another program: then master hears of each one, and starts another process for
    /// clients that come meanwhile.
    fn waits_for_others(&self) -> bool {
        true
    }

    /// How long [`MultiService::woke`] may be put off; `None` without need of it.
    fn wake_after(&self) -> Option<Duration> {
        None
    }

    /// Called in each turn of the loop, at the latest after [`MultiService::wake_after`].
    fn woke(&mut self, _start: &Start) {}
}

/// Which requests master hears of. A process that is busy is one that master starts another for: where there is to be no
/// other, and where this one is back at once, to tell costs more than the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Each,
    /// The next one: it shows that the process works.
    Next,
    NoMore,
}

impl Told {
    fn of<S: MultiService>(ready: &Ready<S>) -> Self {
        let is_alone = ready.start.limit == ProcessLimit::One;
        if is_alone || !ready.service.waits_for_others() { Self::Next } else { Self::Each }
    }
}

/// Tokens: the listen sockets count from 0, then comes the status channel, then the clients; far above, those on their way
/// from a front end.
struct Clients<C> {
    next: u64,
    known: HashMap<u64, (Connection, C)>,
    handovers: Handovers,
    told: Told,
}

/// Runs a multi server. `program` is its name when it was started without one.
pub fn multi<S: MultiService>(program: &'static str) -> ! {
    let skeleton = Skeleton {
        program,
        options: crate::options::WITHOUT_RETIREMENT,
        transports: &[Transport::Inet, Transport::Unix, Transport::Pass],
        accept_lock: false,
        watchdog: None,
    };
    let mut ready = bring_up::<S>(&skeleton);
    let outcome = match ready.link.take() {
        None => {
            serve_standard_input(&mut ready);
            Ok(Reason::Served)
        }
        Some(link) => serve_clients(&mut ready, &link),
    };
    ready.leave_loop(outcome)
}

/// One request, and no announcement before it (observed, 3.7.11).
fn serve_standard_input<S: MultiService>(ready: &mut Ready<S>) {
    let mut connection = ready.standard_connection();
    let unheard = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let Ok(unheard) = unheard else { return };
    let mut unheard = Connection::new(unheard.into(), None, None);
    let Some(mut client) = ready.service.connected(&mut unheard, &ready.start) else { return };
    if connection.fill_buf().is_ok_and(|ahead| !ahead.is_empty()) {
        ready.service.request(&mut client, &mut connection, &ready.start);
    }
    ready.service.disconnected(client, &ready.start);
}

fn serve_clients<S: MultiService>(ready: &mut Ready<S>, link: &Link) -> std::io::Result<Reason> {
    let watchdog = Watchdog::start(ready.start.lifetime.watchdog);
    let mut age = Age::new(&ready.start.lifetime);
    let mut events = EventLoop::new()?;
    let status = link.listeners.len() as u64;
    for (token, listener) in (0..).zip(link.listeners.iter()) {
        events.watch(listener, Token(token), Interest::Read)?;
    }
    events.watch(link.status.fd(), Token(status), Interest::Read)?;
    let mut clients = Clients {
        next: status + 1,
        known: HashMap::new(),
        handovers: Handovers::default(),
        told: Told::of(ready),
    };
    while !age.is_worn_out() || !clients.known.is_empty() {
        let limits = [age.wait(), ready.service.wake_after(), clients.handovers.expire(&mut events)];
        let limit = limits.into_iter().flatten().min();
        let happened = watchdog.rest(|| events.turn(limit))?;
        if let Some(over) = age.over() {
            return Ok(Reason::Over(over));
        }
        ready.service.woke(&ready.start);
        for what in happened {
            match what {
                Happened::Ready(Token(token), _) if token == status => return Ok(Reason::MasterGone),
                Happened::Ready(Token(token), _) if token < status => {
                    clients.take(ready, link, token, &mut events, &mut age);
                }
                Happened::Ready(token, _) if token.0 >= passing::FIRST => {
                    if let Some(connection) = clients.handovers.ready(token, &mut events) {
                        clients.admit(ready, connection, &mut events, &mut age);
                    }
                }
                Happened::Ready(Token(token), _) => {
                    if !clients.serve(ready, link, token, &mut events, &mut age) {
                        return Ok(Reason::MasterGone);
                    }
                }
                Happened::Timer(_) => {}
            }
        }
    }
    Ok(Reason::WornOut)
}

impl<C> Clients<C> {
    fn take<S>(
        &mut self,
        ready: &mut Ready<S>,
        link: &Link,
        listener: u64,
        events: &mut EventLoop,
        age: &mut Age,
    ) where
        S: MultiService<Client = C>,
    {
        ready.restart_for_changed_table();
        let listener = usize::try_from(listener).ok().and_then(|index| link.listeners.get(index));
        let start = &ready.start;
        match listener.and_then(|fd| accept(fd, start.transport, start.ipc_timeout)) {
            Some(Accepted::Client(connection)) => self.admit(ready, connection, events, age),
            Some(Accepted::Passing(passing)) => self.handovers.begin(passing, events),
            None => {}
        }
    }

    fn admit<S>(
        &mut self,
        ready: &mut Ready<S>,
        mut connection: Connection,
        events: &mut EventLoop,
        age: &mut Age,
    ) where
        S: MultiService<Client = C>,
    {
        log::debug!("connection established fd {}", connection.as_fd().as_raw_fd());
        let Some(client) = ready.service.connected(&mut connection, &ready.start) else {
            age.count();
            return;
        };
        let token = self.next;
        self.next += 1;
        if let Err(error) = events.watch(&connection, Token(token), Interest::Read) {
            log::warn!("watch connection: {}", sys::error_text(&error));
            ready.service.disconnected(client, &ready.start);
            return;
        }
        self.known.insert(token, (connection, client));
        age.work();
    }

    /// Serves what waits on a connection; false when master has gone.
    fn serve<S>(
        &mut self,
        ready: &mut Ready<S>,
        link: &Link,
        token: u64,
        events: &mut EventLoop,
        age: &mut Age,
    ) -> bool
    where
        S: MultiService<Client = C>,
    {
        let Some((connection, client)) = self.known.get_mut(&token) else { return true };
        let mut after = match connection.fill_buf() {
            Ok(ahead) if !ahead.is_empty() => After::Keep,
            _ => After::Close,
        };
        if after == After::Keep {
            if self.told != Told::NoMore {
                link.status.taken();
            }
            // Requests that arrived together are in the buffer, where no event tells of them.
            loop {
                after = ready.service.request(client, connection, &ready.start);
                if after == After::Close || connection.buffered().is_empty() {
                    break;
                }
                if S::GATHERS {
                    connection.gather();
                }
            }
            if connection.write_gathered().is_err() {
                after = After::Close;
            }
            if self.told != Told::NoMore && !link.status.available() {
                return false;
            }
            if self.told == Told::Next {
                self.told = Told::NoMore;
            }
        }
        if after == After::Close
            && let Some((connection, client)) = self.known.remove(&token)
        {
            let _ = events.forget(&connection);
            log::debug!("connection closed fd {}", connection.as_fd().as_raw_fd());
            drop(connection);
            ready.service.disconnected(client, &ready.start);
            age.count();
            if self.known.is_empty() {
                age.rest();
            }
        }
        true
    }
}
