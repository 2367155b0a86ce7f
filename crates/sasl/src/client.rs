//! Clients of an authentication server: each has a connection, opened when it is needed and again when it was lost;
//! [`Clients`] lends them to the sessions of a process (spec tls-sasl 19.3 and 19.5).
//!
//! A login takes several requests, with the other end's pauses between them, so a session keeps its client from the
//! first to the last. A process with one session has one connection, kept for later sessions, as in Postfix.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::Fault;
use smtp::client::{Families, Socket};

use crate::connection::{Connection, Lost, Server, Trouble};
use crate::dialogue::{Answer, Failure};
use crate::line::{Reply, Request, continuation, is_base64};
use crate::mechanism::Mechanism;

/// Postfix's time limit for a connect, and for an answer.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Connections that are kept while nobody uses them.
const KEPT: usize = 32;

/// Process numbers are below this power of two on Linux; what is above tells connections of a process apart.
const PROCESS_BITS: u32 = 22;

/// Where the server is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `smtpd_sasl_path`
    pub server: Server,
    /// `inet_protocols`
    pub families: Families,
    /// For a connect, for a handshake, for an answer.
    pub time_limit: Duration,
}

/// The clients of a process.
#[derive(Debug)]
pub struct Clients {
    settings: Settings,
    request: Arc<AtomicU32>,
    made: AtomicU32,
    free: Mutex<Vec<Client>>,
}

impl Clients {
    /// No clients so far.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let (request, made) = (Arc::default(), AtomicU32::new(0));
        Arc::new(Self { settings, request, made, free: Mutex::default() })
    }

    /// A client that nobody uses; the one used last, since its connection is the most likely to be alive.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Lent {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let client = free.unwrap_or_else(|| {
            // A server refuses a second connection under one number. The first has the number of the process, as
            // in Postfix.
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let cpid = std::process::id() | number.wrapping_shl(PROCESS_BITS);
            Client {
                settings: self.settings.clone(),
                request: Arc::clone(&self.request),
                cpid,
                connection: None,
            }
        });
        Lent { clients: Arc::clone(self), client: Some(client) }
    }
}

/// A client, until it is dropped: then it is free for others.
#[derive(Debug)]
pub struct Lent {
    clients: Arc<Clients>,
    client: Option<Client>,
}

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.clients.free.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = free.iter().filter(|client| client.connection.is_some()).count();
        // Its number is free for another connection; who knows what one was doing in a panic.
        let keep = connected < KEPT && !std::thread::panicking();
        free.extend(
            self.client
                .take()
                .map(|client| Client { connection: client.connection.filter(|_| keep), ..client }),
        );
    }
}

/// One connection to the server, there or not.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    request: Arc<AtomicU32>,
    cpid: u32,
    connection: Option<Connection>,
}

impl Client {
    /// A client on a socket that is connected, for tests; it shakes hands first.
    #[must_use]
    pub fn over(settings: Settings, socket: Socket) -> Option<Self> {
        let cpid = std::process::id();
        let connection = Connection::over(socket, settings.time_limit, cpid).ok()?;
        Some(Self { settings, request: Arc::default(), cpid, connection: Some(connection) })
    }

    /// What the server offers; connects when there is no connection.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn mechanisms(&mut self) -> Result<&[Mechanism], Trouble> {
        Ok(self.connected()?.mechanisms())
    }

    fn connected(&mut self) -> Result<&mut Connection, Trouble> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => {
                let Settings { server, families, time_limit } = &self.settings;
                let opened = Connection::open(server, *families, *time_limit, self.cpid);
                match &opened {
                    Ok(_) => metrics::fault_over(Fault::Auth, &server.path()),
                    Err(trouble) => metrics::fault(Fault::Auth, &server.path(), trouble),
                }
                Ok(none.insert(opened?))
            }
        }
    }

    /// Starts a login; the number of its request, and the first answer.
    pub fn start(&mut self, request: &Request<'_>) -> (u32, Answer) {
        if !is_base64(request.initial_response.unwrap_or_default()) {
            return (0, Answer::Failed(Failure::InitialResponse));
        }
        // The connection may have been closed since it was used last: one more try with a new one.
        for _ in 0..2 {
            let id = self.request.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let connection = match self.connected() {
                Ok(connection) => connection,
                Err(trouble) => {
                    trouble.warn();
                    return (0, Answer::Failed(Failure::NoConnection));
                }
            };
            if connection.send(&request.line(id)).is_ok() {
                return (id, self.answer(id));
            }
            self.connection = None;
        }
        (0, Answer::Failed(Failure::CannotConnect))
    }

    /// Sends the response to a challenge of request `id`.
    pub fn proceed(&mut self, id: u32, response: &[u8]) -> Answer {
        if !is_base64(response) {
            return Answer::Failed(Failure::ContinuedResponse);
        }
        let sent = self.connection.as_mut().is_some_and(|it| it.send(&continuation(id, response)).is_ok());
        if sent {
            return self.answer(id);
        }
        self.connection = None;
        Answer::Failed(Failure::ConnectionLost)
    }

    fn answer(&mut self, id: u32) -> Answer {
        let Some(connection) = &mut self.connection else {
            return Answer::Failed(Failure::ConnectionLost);
        };
        let answer = connection.answer(id, |reply| match reply {
            Reply::Ok { user: Some(user) } => Answer::LoggedIn(user.to_vec()),
            Reply::Ok { user: None } => {
                log::warn!("missing Dovecot server OK username field");
                Answer::Failed(Failure::NoUser)
            }
            Reply::Continue(Some(challenge)) => Answer::Challenge(challenge.to_vec()),
            Reply::Continue(None) => {
                log::warn!("missing Dovecot server CONT reply field");
                Answer::Failed(Failure::Backend)
            }
            Reply::Fail { user, reason } => Answer::Refused {
                user: user.map(<[u8]>::to_vec),
                reason: reason.unwrap_or_default().to_vec(),
            },
            Reply::NoId | Reply::Other => Answer::Failed(Failure::Backend),
        });
        answer.unwrap_or_else(|Lost| {
            // The next login gets a new connection; Postfix before 3.11 fails it once more.
            self.connection = None;
            let lost = Failure::ConnectionLost;
            metrics::fault(Fault::Auth, &self.settings.server.path(), &lost);
            Answer::Failed(lost)
        })
    }
}
