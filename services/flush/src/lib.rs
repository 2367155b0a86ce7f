//! The flush service: knows which deferred messages wait for a site, and has them delivered when the site asks (spec
//! ipc 15; ETRN, `postqueue -s` and `-i`).
//!
//! One request a connection. Delivery agents `add` deferred messages to the log of a site ([`logfile`]); `send_site`
//! moves all of that log to the incoming queue, `send_file` moves one message. Sites are those of
//! `fast_flush_domains`. Master's wake-up does the same as `rfrsh`: logs that nobody asked for in
//! `fast_flush_refresh_time` are sent, empty ones that nothing was added to in `fast_flush_purge_time` are removed.

#![forbid(unsafe_code)]

pub mod logfile;
mod schedule;

use std::io::Read;
use std::time::Duration;

use ipc::announce::Protocol;
use ipc::flush::{Request, Status, send_status};
use lookup::Opening;
use lookup::list::{DomainList, Parents};
use queue::{QueueDirectory, QueueId};
use server::{Connection, Fatal, Service, SingleService, Start};

use logfile::Logs;
use schedule::Schedule;

/// A request is longer; master's wake-up is two bytes.
const LONGEST_TRIGGER: usize = 2;

/// The service.
#[derive(Debug)]
pub struct Flush {
    logs: Logs,
    schedule: Schedule,
    sites: Option<DomainList>,
    fast_flush_domains: String,
    parent_domain_matches_subdomains: String,
    refresh_time: Duration,
    purge_time: Duration,
    ipc_timeout: Duration,
    stream: String,
}

impl Service for Flush {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let config = &start.config;
        let globals = config.globals();
        let directory = QueueDirectory::configured(globals);
        Ok(Self {
            logs: Logs::new(directory.clone()),
            schedule: Schedule::new(directory, &globals.queue_service_name),
            sites: None,
            fast_flush_domains: globals.fast_flush_domains.clone(),
            parent_domain_matches_subdomains: globals.parent_domain_matches_subdomains.clone(),
            refresh_time: config.time("fast_flush_refresh_time")?,
            purge_time: config.time("fast_flush_purge_time")?,
            ipc_timeout: globals.ipc_timeout,
            stream: format!("{} socket", start.service_name),
        })
    }

    fn pre_jail(&mut self, _: &Start) -> Result<(), Fatal> {
        let name = "fast_flush_domains";
        let parents = Parents::of(name, self.parent_domain_matches_subdomains.as_bytes());
        let parents = parents.map_err(|error| Fatal::new(error.to_string()))?;
        let sites = DomainList::open(name, self.fast_flush_domains.as_bytes(), parents, Opening::Survive);
        self.sites = Some(sites.map_err(|error| Fatal::new(error.to_string()))?);
        Ok(())
    }
}

impl SingleService for Flush {
    type Worker = ();

    fn worker(&self, _: &Start) {}

    fn serve(&self, (): &mut (), mut connection: Connection, _: &Start) {
        connection.set_limit(Some(self.ipc_timeout));
        if Protocol::FLUSH.announce(&mut connection).is_err() {
            return;
        }
        match is_trigger(&connection, self.ipc_timeout) {
            Ok(true) => self.trigger(connection),
            Ok(false) => self.request(connection),
            Err(error) => log::warn!("read {}: {}", self.stream, sys::error_text(&error)),
        }
    }
}

/// Whether what has come is too short for a request. A client writes its request in one piece.
fn is_trigger(connection: &Connection, limit: Duration) -> std::io::Result<bool> {
    let socket = connection.output();
    if !sys::poll::readable(socket, Some(limit))? {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    Ok((1..=LONGEST_TRIGGER).contains(&sys::fd::readable_bytes(socket)?))
}

impl Flush {
    /// Master's wake-up; it is answered like a request, though nobody listens.
    fn trigger(&self, mut connection: Connection) {
        let mut bytes = [0; LONGEST_TRIGGER];
        let count = connection.read(&mut bytes).unwrap_or(0);
        if bytes[..count].starts_with(ipc::trigger::WAKEUP) {
            let _ = send_status(Status::Ok, &mut connection);
            drop(connection);
            self.refresh(self.refresh_time);
        }
    }

    fn request(&self, mut connection: Connection) {
        let status = match Request::read(&mut connection, &self.stream) {
            Ok(Request::Add { site, queue_id }) => self.add(&site, &queue_id),
            Ok(Request::SendSite { site }) => self.send_site(&site),
            Ok(Request::SendFile { queue_id }) => self.send_file(&queue_id),
            Ok(request @ (Request::Refresh | Request::Purge)) => {
                let _ = send_status(Status::Ok, &mut connection);
                drop(connection);
                let age = if request == Request::Refresh { self.refresh_time } else { Duration::ZERO };
                return self.refresh(age);
            }
            // Not worth an answer, in Postfix either.
            Ok(Request::Unknown) => return,
            Err(error) => {
                error.warn();
                Status::Bad
            }
        };
        // A client that has gone does not need to know.
        let _ = send_status(status, &mut connection);
    }

    /// Whether the site is one that is logged.
    fn check(&self, site: &[u8]) -> Result<(), Status> {
        let Some(sites) = &self.sites else {
            return Err(Status::Fail);
        };
        match sites.matches(site) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Status::Denied),
            Err(error) => {
                log::warn!("{error}");
                Err(Status::Fail)
            }
        }
    }

    fn add(&self, site: &[u8], queue_id: &[u8]) -> Status {
        if let Err(status) = self.check(site) {
            return status;
        }
        match QueueId::parse(queue_id) {
            Ok(id) => self.logs.add(&logfile::name(site), &id),
            Err(_) => Status::Bad,
        }
    }

    fn send_site(&self, site: &[u8]) -> Status {
        match self.check(site) {
            Ok(()) => self.logs.send(&logfile::name(site), &self.schedule, schedule::Dead::Revive),
            Err(status) => status,
        }
    }

    fn send_file(&self, queue_id: &[u8]) -> Status {
        let Ok(id) = QueueId::parse(queue_id) else {
            return Status::Bad;
        };
        if self.schedule.message(&id, schedule::Urgency::FlushEach) {
            self.schedule.scan_incoming();
        }
        Status::Ok
    }

    fn refresh(&self, unread_for: Duration) {
        self.logs.refresh(unread_for, self.purge_time, &self.schedule);
    }
}
