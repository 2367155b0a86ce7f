//! The anvil service: connection counts and event rates of SMTP clients, for smtpd's limits.
//!
//! A multi server, one process by requirement: what it counts is in its memory and nowhere else. Three rooms:
//! [`remote`] holds the counters of each client of each SMTP service and the rules they change by, with no
//! clock and no socket; [`statistics`] holds the peaks and their log lines; this one ties them to the protocol
//! of `ipc::anvil`. Which limits there are, and what exceeding one means, is smtpd's affair. Source: spec ipc
//! 8, trivial-rewrite 19.

#![forbid(unsafe_code)]

pub mod remote;
pub mod statistics;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use ipc::announce::Protocol;
use ipc::anvil::{Event, Reply, Request};
use ipc::dialect::Dialect;
use server::{After, Connection, Fatal, MultiService, Requires, Service, Start};

use remote::{Rate, Remotes};
use statistics::Statistics;

/// The service.
#[derive(Debug)]
pub struct Anvil {
    remotes: Remotes,
    statistics: Statistics,
    status_update_time: Duration,
    next_status_update: Instant,
    started: Instant,
    /// Name of its connections in warnings.
    stream: String,
    dialect: Dialect,
}

/// What is remembered of a connection: the client of ours that it speaks of, if any.
#[derive(Debug, Default)]
pub struct Session {
    bound: Option<Vec<u8>>,
}

impl Service for Anvil {
    const REQUIRES: Requires = Requires::LIMIT_ONE;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let time_unit = start.config.time("anvil_rate_time_unit")?;
        let status_update_time = start.config.time("anvil_status_update_time")?;
        let now = Instant::now();
        Ok(Self {
            remotes: Remotes::new(time_unit),
            statistics: Statistics::new(time_unit),
            status_update_time,
            next_status_update: now + status_update_time,
            started: now,
            stream: format!("{} socket", start.service_name),
            dialect: Dialect::of_postfix_3(start.config.globals().postfix_minor),
        })
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        start.lifetime.max_use = None;
        // The counters must outlive the period they are for.
        let time_unit = self.remotes.time_unit();
        start.lifetime.max_idle = start.lifetime.max_idle.map(|limit| limit.max(time_unit));
        Ok(())
    }

    fn before_exit(&mut self, _: &Start) {
        self.statistics.report();
    }
}

impl MultiService for Anvil {
    type Client = Session;

    fn connected(&mut self, connection: &mut Connection, _: &Start) -> Option<Session> {
        Protocol::ANVIL.announce(connection).ok().map(|()| Session::default())
    }

    fn request(&mut self, session: &mut Session, connection: &mut Connection, _: &Start) -> After {
        let outcome = match Request::read(connection, &self.stream) {
            Ok(request) => self.answer(session, &request).send(connection),
            Err(error) => {
                error.warn();
                self.refuse(session, connection);
                return After::Close;
            }
        };
        match outcome {
            Ok(()) => After::Keep,
            Err(_) => After::Close,
        }
    }

    fn disconnected(&mut self, mut session: Session, _: &Start) {
        self.unbind(&mut session);
    }

    fn wake_after(&self) -> Option<Duration> {
        let update = self.next_status_update.saturating_duration_since(Instant::now());
        let expiry = self.remotes.next_expiry().map(|at| at.saturating_sub(self.started.elapsed()));
        Some(expiry.map_or(update, |expiry| update.min(expiry)))
    }

    fn woke(&mut self, _: &Start) {
        self.remotes.expire(self.started.elapsed());
        let now = Instant::now();
        if now >= self.next_status_update {
            self.statistics.report();
            self.next_status_update = now + self.status_update_time;
        }
    }
}

impl Anvil {
    fn answer(&mut self, session: &mut Session, request: &Request) -> Reply {
        let now = self.started.elapsed();
        let ident = &request.ident;
        let Some(event) = Event::named(&request.event, self.dialect) else {
            log::warn!("unrecognized request: \"{}\", ignored", maillog::shown(&request.event));
            return Reply::failed();
        };
        match event {
            Event::Connect => {
                let rate = self.connect(session, ident);
                Reply::connect(self.remotes.lookup(ident, now).count, rate)
            }
            Event::Disconnect => {
                if session.bound.as_ref() == Some(ident) {
                    self.unbind(session);
                }
                Reply::ok()
            }
            Event::Message => self.event(session, ident, Rate::Message),
            Event::Recipient => self.event(session, ident, Rate::Recipient),
            Event::NewTls => self.event(session, ident, Rate::NewTls),
            Event::Auth => self.event(session, ident, Rate::Auth),
            Event::TlsTrace => self.event(session, ident, Rate::TlsTrace),
            Event::NewTlsStatus => Reply::rate(self.remotes.lookup(ident, now).newtls),
            Event::Lookup => Reply::lookup(&self.remotes.lookup(ident, now), self.dialect),
        }
    }

    /// A session begins; the connection rate.
    fn connect(&mut self, session: &mut Session, ident: &[u8]) -> i32 {
        // A connection speaks of one client at a time.
        self.unbind(session);
        let (count, rate) = self.remotes.connect(ident, self.started.elapsed());
        session.bound = Some(ident.to_vec());
        let now = SystemTime::now();
        self.statistics.rate(Rate::Connection, rate, ident, now);
        self.statistics.count(count, ident, now);
        self.statistics.cache_size(self.remotes.len(), now);
        rate
    }

    fn event(&mut self, session: &mut Session, ident: &[u8], rate: Rate) -> Reply {
        if !self.remotes.is_known(ident) {
            self.connect(session, ident);
        }
        let value = self.remotes.event(ident, rate, self.started.elapsed());
        self.statistics.rate(rate, value, ident, SystemTime::now());
        Reply::rate(value)
    }

    fn unbind(&mut self, session: &mut Session) {
        if let Some(ident) = session.bound.take() {
            self.remotes.disconnect(&ident, self.started.elapsed());
        }
    }

    /// Ends a connection whose request makes no sense. Postfix answers as to a disconnect, if there is a client to
    /// disconnect (observed, 3.7.11).
    fn refuse(&mut self, session: &mut Session, connection: &mut Connection) {
        if session.bound.is_some() {
            self.unbind(session);
            let _: io::Result<()> = Reply::ok().send(connection);
        }
    }
}
