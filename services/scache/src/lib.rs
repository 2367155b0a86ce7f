//! The scache service: open connections of SMTP clients, kept for the delivery that comes next.
//!
//! A multi server, one process by requirement: what it keeps are descriptors of its own. A client saves a connection under
//! the label of its endpoint, and under that of a destination which endpoint to ask for; another one is given it, once,
//! within the time that the first one said and `connection_cache_ttl_limit` at most. [`statistics`] are the lines in the
//! log. A client that asks for a descriptor and does not take it, or sends none, is waited for
//! `connection_cache_protocol_timeout` and no longer, for all others wait meanwhile. Source: spec ipc 13,
//! trivial-rewrite 24.

#![forbid(unsafe_code)]

pub mod statistics;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use cache::{Connections, Kept};
use ipc::announce::Protocol;
use ipc::attr::Error;
use ipc::scache::{BAD, FAILED, Kind, OK, Received, Reply, Request, await_ready, ready};
use server::{After, Connection, Fatal, MultiService, Requires, Service, Start};

use statistics::{Lookup, Statistics};

/// The service.
#[derive(Debug)]
pub struct Scache {
    connections: Connections<OwnedFd>,
    statistics: Statistics,
    ttl_limit: Duration,
    protocol_timeout: Duration,
    status_update_time: Duration,
    next_status_update: Instant,
    /// Name of its connections in warnings.
    stream: String,
}

/// The client is of no more use.
struct Broken;

impl Service for Scache {
    const REQUIRES: Requires = Requires::LIMIT_ONE;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let config = &start.config;
        let status_update_time = config.time("connection_cache_status_update_time")?;
        Ok(Self {
            connections: Connections::default(),
            statistics: Statistics::new(SystemTime::now()),
            ttl_limit: config.time("connection_cache_ttl_limit")?,
            protocol_timeout: config.time("connection_cache_protocol_timeout")?,
            status_update_time,
            next_status_update: Instant::now() + status_update_time,
            stream: format!("{} socket", start.service_name),
        })
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        start.lifetime.max_use = None;
        Ok(())
    }

    fn before_exit(&mut self, _: &Start) {
        self.statistics.report(SystemTime::now());
    }
}

impl MultiService for Scache {
    type Client = ();

    fn connected(&mut self, connection: &mut Connection, _: &Start) -> Option<()> {
        connection.set_limit(Some(self.protocol_timeout));
        Protocol::CONNECTION_CACHE.announce(connection).ok()
    }

    fn request(&mut self, (): &mut (), connection: &mut Connection, _: &Start) -> After {
        let outcome = match Received::read(connection, &self.stream) {
            Ok(Received::Request(request)) => self.answer(request, connection),
            Ok(Received::Malformed(kind)) => refuse(kind, connection),
            Ok(Received::Unknown(name)) => {
                log::warn!("unrecognized request: \"{}\", ignored", maillog::shown(&name));
                send(Reply::status(BAD), connection)
            }
            Err(error) => {
                error.warn();
                // What came in place of a request is passed over without an answer (observed, 3.7.11).
                let is_over =
                    matches!(error, Error::Closed { .. } | Error::Failed { .. } | Error::Premature { .. });
                return if is_over { After::Close } else { After::Keep };
            }
        };
        if outcome.is_ok() { After::Keep } else { After::Close }
    }

    fn wake_after(&self) -> Option<Duration> {
        let now = Instant::now();
        let update = self.next_status_update.saturating_duration_since(now);
        let end = self.connections.next_end().map(|end| end.saturating_duration_since(now));
        Some(end.map_or(update, |end| end.min(update)))
    }

    fn woke(&mut self, _: &Start) {
        let now = Instant::now();
        self.connections.expire(now);
        if now >= self.next_status_update {
            self.statistics.report(SystemTime::now());
            self.next_status_update = now + self.status_update_time;
        }
    }
}

impl Scache {
    fn answer(&mut self, request: Request, connection: &mut Connection) -> Result<(), Broken> {
        self.connections.expire(Instant::now());
        match request {
            Request::SaveEndpoint { ttl, .. } if ttl <= 0 => refuse(Kind::SaveEndpoint, connection),
            Request::SaveDestination { ttl, .. } if ttl <= 0 => refuse(Kind::SaveDestination, connection),
            Request::SaveEndpoint { ttl, label, property } => {
                ready(connection).map_err(|_| Broken)?;
                let descriptor = self.receive(connection)?;
                self.connections.save_endpoint(&label, property, descriptor, self.until(ttl));
                self.statistics.count(self.connections.counts());
                send(Reply::status(OK), connection)
            }
            Request::SaveDestination { ttl, label, property, endpoint } => {
                self.connections.save_destination(&label, property, &endpoint, self.until(ttl));
                self.statistics.count(self.connections.counts());
                send(Reply::status(OK), connection)
            }
            Request::FindEndpoint { label } => match self.connections.find_endpoint(&label) {
                Some(Kept { property, connection: found }) => {
                    self.statistics.lookup(Lookup::Address, true);
                    self.give(&found, Reply::endpoint(OK, &property), connection)
                }
                None => {
                    self.statistics.lookup(Lookup::Address, false);
                    send(Reply::endpoint(FAILED, b""), connection)
                }
            },
            Request::FindDestination { label } => match self.connections.find_destination(&label) {
                Some((destination, Kept { property, connection: found })) => {
                    self.statistics.lookup(Lookup::Domain, true);
                    self.give(&found, Reply::destination(OK, &destination, &property), connection)
                }
                None => {
                    self.statistics.lookup(Lookup::Domain, false);
                    send(Reply::destination(FAILED, b"", b""), connection)
                }
            },
        }
    }

    fn until(&self, ttl: i32) -> Instant {
        let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or_default());
        Instant::now() + ttl.min(self.ttl_limit)
    }

    /// The descriptor that a client has been told to send.
    fn receive(&self, connection: &Connection) -> Result<OwnedFd, Broken> {
        // Nothing was read ahead: the client has waited for us.
        let socket = connection.output();
        match sys::poll::readable(socket, Some(self.protocol_timeout)) {
            Ok(true) => sys::pass::receive(socket).map_err(|error| {
                log::warn!("{}: receive file descriptor: {}", self.stream, sys::error_text(&error));
                Broken
            }),
            Ok(false) | Err(_) => {
                log::warn!("{}: timeout receiving file descriptor", self.stream);
                Err(Broken)
            }
        }
    }

    /// A connection that was found: the reply, and when the client is ready its descriptor.
    fn give(&self, found: &OwnedFd, reply: Reply, connection: &mut Connection) -> Result<(), Broken> {
        send(reply, connection)?;
        let wait = |connection: &mut Connection| {
            await_ready(connection, &self.stream).map_err(|error| {
                error.warn();
                Broken
            })
        };
        wait(connection)?;
        sys::pass::send(connection.output(), found).map_err(|error| {
            log::warn!("{}: cannot send file descriptor: {}", self.stream, sys::error_text(&error));
            Broken
        })?;
        wait(connection)
    }
}

/// A request that makes no sense.
fn refuse(kind: Kind, connection: &mut Connection) -> Result<(), Broken> {
    let (name, reply) = match kind {
        Kind::SaveEndpoint => ("save_endp", Reply::status(BAD)),
        Kind::FindEndpoint => ("find_endp", Reply::endpoint(BAD, b"")),
        Kind::SaveDestination => ("save_dest", Reply::status(BAD)),
        Kind::FindDestination => ("find_dest", Reply::destination(BAD, b"", b"")),
    };
    log::warn!("scache_{name}_service: bad or missing request parameter");
    send(reply, connection)
}

fn send(reply: Reply, connection: &mut Connection) -> Result<(), Broken> {
    reply.send(connection).map_err(|_| Broken)
}
