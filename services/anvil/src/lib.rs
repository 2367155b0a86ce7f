//! The anvil service: connection counts and event rates of SMTP clients, for smtpd's limits.
//!
//! A multi server, one process by requirement: what it counts is in its memory, and with `anvil_shared_counters`, which
//! Postfix has not, in a server that several hosts share ([`shared`], and [`place`] for where it is). The rooms:
//! [`remote`] holds the counters of each client of each SMTP service and the rules they change by, with no
//! clock and no socket; [`statistics`] holds the peaks and their log lines; this one ties them to the protocol
//! of `ipc::anvil`. Which limits there are, and what exceeding one means, is smtpd's affair. Source: spec ipc
//! 8, trivial-rewrite 19.

#![forbid(unsafe_code)]

mod place;
pub mod remote;
mod shared;
pub mod statistics;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use ipc::announce::Protocol;
use ipc::anvil::{Counters, Event, Reply, Request};
use ipc::dialect::Dialect;
use server::{After, Connection, Fatal, MultiService, Requires, Service, Start};

use remote::{Rate, Remotes};
use shared::Shared;
use statistics::Statistics;

/// The service.
#[derive(Debug)]
pub struct Anvil {
    remotes: Remotes,
    statistics: Statistics,
    shared: Option<Shared>,
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
        let hostname = &start.config.globals().myhostname;
        let shared = Shared::new(&start.config.text("anvil_shared_counters")?, hostname, time_unit)
            .map_err(|text| start.config.wrong("anvil_shared_counters", text))?;
        let now = Instant::now();
        Ok(Self {
            shared,
            remotes: Remotes::new(time_unit),
            statistics: Statistics::new(time_unit),
            status_update_time,
            next_status_update: now + status_update_time,
            started: now,
            stream: format!("{} socket", start.service_name),
            dialect: Dialect::of_postfix_3(start.config.globals().postfix_minor),
        })
    }

    fn pre_jail(&mut self, _: &Start) -> Result<(), Fatal> {
        if let Some(shared) = &mut self.shared {
            shared.find();
        }
        Ok(())
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

    fn waits_for_others(&self) -> bool {
        false
    }

    fn wake_after(&self) -> Option<Duration> {
        let update = self.next_status_update.saturating_duration_since(Instant::now());
        let expiry = self.remotes.next_expiry().map(|at| at.saturating_sub(self.started.elapsed()));
        let beat =
            self.shared.as_ref().map(|it| it.next_heartbeat().saturating_duration_since(Instant::now()));
        Some([expiry, beat].into_iter().flatten().fold(update, Duration::min))
    }

    fn woke(&mut self, _: &Start) {
        self.remotes.expire(self.started.elapsed());
        if let Some(shared) = &mut self.shared {
            shared.beat();
        }
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
                let (count, rate) = self.connect(session, ident);
                Reply::connect(count, rate)
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
            Event::NewTlsStatus => Reply::rate(self.everywhere(ident, None, now).newtls),
            Event::Lookup => Reply::lookup(&self.everywhere(ident, None, now), self.dialect),
        }
    }

    /// A session begins; how many there are, and the connection rate.
    fn connect(&mut self, session: &mut Session, ident: &[u8]) -> (i32, i32) {
        // A connection speaks of one client at a time.
        self.unbind(session);
        let now = self.started.elapsed();
        let (mut count, mut rate) = self.remotes.connect(ident, now);
        session.bound = Some(ident.to_vec());
        if self.shared.is_some() {
            let all = self.everywhere(ident, Some(Rate::Connection), now);
            (count, rate) = (count.max(all.count), rate.max(all.rate));
        }
        let now = SystemTime::now();
        self.statistics.rate(Rate::Connection, rate, ident, now);
        self.statistics.count(count, ident, now);
        self.statistics.cache_size(self.remotes.len(), now);
        (count, rate)
    }

    fn event(&mut self, session: &mut Session, ident: &[u8], rate: Rate) -> Reply {
        if !self.remotes.is_known(ident) {
            self.connect(session, ident);
        }
        let now = self.started.elapsed();
        let mut value = self.remotes.event(ident, rate, now);
        if self.shared.is_some() {
            let all = self.everywhere(ident, Some(rate), now);
            value = value.max(match rate {
                Rate::Connection => all.rate,
                Rate::Message => all.mail,
                Rate::Recipient => all.rcpt,
                Rate::NewTls => all.newtls,
                Rate::Auth => all.auth,
                Rate::TlsTrace => all.tlstr,
            });
        }
        self.statistics.rate(rate, value, ident, SystemTime::now());
        Reply::rate(value)
    }

    fn unbind(&mut self, session: &mut Session) {
        if let Some(ident) = session.bound.take() {
            let now = self.started.elapsed();
            self.remotes.disconnect(&ident, now);
            self.everywhere(&ident, None, now);
        }
    }

    /// A client's counters, with those of other hosts where they are shared and can be had, after this event.
    fn everywhere(&mut self, ident: &[u8], event: Option<Rate>, now: Duration) -> Counters {
        let own = self.remotes.lookup(ident, now);
        let Some(all) = self.shared.as_mut().and_then(|shared| shared.event(ident, own.count, event)) else {
            return own;
        };
        Counters {
            count: own.count.max(all.count),
            rate: own.rate.max(all.rate),
            mail: own.mail.max(all.mail),
            rcpt: own.rcpt.max(all.rcpt),
            newtls: own.newtls.max(all.newtls),
            auth: own.auth.max(all.auth),
            tlstr: own.tlstr.max(all.tlstr),
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
