//! The program: what a process has once, and its clients.

use std::path::Path;
use std::sync::Arc;

use access::policy::connection::PolicyClients;
use access::replies;
use config::Complaint;
use server::{Connection, Fatal, Service, Sessions, SingleService, Start, Transport};
use sys::transport::Standard;

use crate::client::peer;
use crate::complaints;
use crate::conversation;
use crate::conversation::contained::contained;
use crate::conversation::wire::{Stream, Wire};
use crate::log;
use crate::services::Services;
use crate::services::duplicates::Duplicates;
use crate::services::permits::{self, Work};
use crate::session::Session;
use crate::session::debug_peer::{self, Tracer};
use crate::session::standing::Standing;
use crate::settings::params::SmtpdParams;
use crate::settings::stand_alone;
use crate::tables::Tables;
use crate::tls::TlsServer;
use crate::transaction::phase::Phase;

/// The SMTP server.
#[derive(Debug)]
pub struct Smtpd {
    params: SmtpdParams,
    tables: Option<Tables>,
    services: Services,
}

impl Smtpd {
    fn of_a_service(start: &Start) -> Result<Self, Fatal> {
        Self::with(start, SmtpdParams::new(&start.config)?)
    }

    fn with(start: &Start, params: SmtpdParams) -> Result<Self, Fatal> {
        let services = Services::new(&start.config, &params, &start.service_name)?;
        Ok(Self { params, tables: None, services })
    }
}

impl Service for Smtpd {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        if start.stand_alone && stand_alone::submits(&start.config) {
            return Self::with(start, SmtpdParams::stand_alone(&start.config)?);
        }
        Self::of_a_service(start)
    }

    fn sessions(&self) -> Sessions {
        Sessions {
            count: self.params.access.sessions_per_process,
            descriptors: permits::descriptors(&self.params, self.services.proxy.as_deref()),
        }
    }

    fn pre_jail(&mut self, start: &Start) -> Result<(), Fatal> {
        let tables = Tables::open(&self.params).map_err(Fatal::new)?;
        if self.params.submitter.is_some() {
            // The superuser's complains of the service's tables, though it does not use them; another user's cannot read
            // them (observed, 3.7.11).
            if sys::user::uid().is_root() {
                Self::of_a_service(start)?.pre_jail(start)?;
            }
            self.tables = Some(tables);
            return Ok(());
        }
        if !tables.restrictions.protects_relay() {
            return Err(Fatal::new(complaints::OPEN_RELAY));
        }
        if let Some(text) = complaints::short_of_space(&self.params) {
            ::log::warn!("{text}");
        }
        self.tables = Some(tables);
        if !self.params.duplicate_time.is_zero() {
            let opened = Duplicates::open(Path::new("pid"), self.params.duplicate_time);
            match opened {
                Ok(duplicates) => self.services.duplicates = Some(Arc::new(duplicates)),
                Err(error) => ::log::warn!("messages that come twice are not recognized: {error}"),
            }
        }
        self.services.tls = TlsServer::open(&self.params).map_err(Fatal::new)?.map(Arc::new);
        Ok(())
    }

    fn complaints(&self, start: &Start) -> Vec<Complaint> {
        self.tables
            .iter()
            .flat_map(|tables| {
                complaints::mistakes(&start.config, &self.params, self.services.proxy.as_deref(), tables)
            })
            .collect()
    }

    fn changed_table(&self) -> Option<String> {
        self.tables.as_ref().and_then(Tables::changed).map(str::to_string)
    }

    fn before_exit(&mut self, _: &Start) {
        if let Some(proxy) = &self.services.proxy {
            proxy.close();
        }
    }
}

impl SingleService for Smtpd {
    type Worker = Services;

    fn worker(&self, _: &Start) -> Services {
        self.services.clone()
    }

    fn serve(&self, services: &mut Services, connection: Connection, start: &Start) {
        let Some(tables) = &self.tables else {
            return;
        };
        let Some(work) = Work::begin(&start.permits) else {
            turn_away(connection, &self.params);
            return;
        };
        services.access.policy.each_idle(PolicyClients::expire);
        let (client, identified) = peer::identify(&connection, &self.params, &services.client_names);
        let front_end = start.transport == Transport::Pass && !connection.attributes().is_empty();
        let mut stream = match Stream::new(wire(connection), conversation::time_limit(&self.params)) {
            Ok(stream) => stream,
            Err(error) => {
                ::log::warn!("client socket: {error}");
                return;
            }
        };
        let mut standing = Standing::new(&self.params, tables, services, client);
        standing.behind_front_end = front_end;
        standing.work = work;
        let mut phase = Phase::default();
        let mut session = Session::new(&mut standing, &mut phase);
        log::connect(&session.client);
        if identified.is_ok() {
            session.authorise();
        }
        let _verbose = debug_peer::watch(&self.params.debug_peers, &session.client, tables);
        if maillog::verbose() > 0 {
            session.observer = Some(&Tracer);
        }
        if identified.is_err() {
            session.reply(replies::local_error(&self.params.access.myhostname));
        }
        contained(&mut session, &mut stream, attend);
        log::disconnect(&session.client, &session.statistics.line());
        if let Some(proxy) = &self.services.proxy {
            proxy.tell();
        }
    }
}

fn wire(connection: Connection) -> Wire {
    match connection.into_ends() {
        (input, Some(output)) => Wire::Standard(Standard::new(input, output)),
        (socket, None) => Wire::socket(socket),
    }
}

/// Ends a session for which there are no open files before it has begun.
fn turn_away(connection: Connection, params: &SmtpdParams) {
    ::log::warn!("too few open files for another session at work: a client is turned away");
    let text = replies::local_error(&params.access.myhostname);
    let stream = Stream::new(wire(connection), conversation::time_limit(params));
    // In wrapper mode the client would not understand it.
    if let (Ok(mut stream), false) = (stream, params.tls.wrappermode) {
        let _ =
            stream.write(text.as_bytes()).and_then(|()| stream.write(b"\r\n")).and_then(|()| stream.flush());
    }
}

/// The session from its greeting to its end.
fn attend(session: &mut Session<'_, '_>, stream: &mut Stream) {
    if !session.hangup {
        // A handshake is waiting for the client.
        session.rest();
        if session.wrap(stream).is_ok() {
            conversation::serve(session, stream);
        } else {
            let _ = stream.write(&session.replies.text).and_then(|()| stream.flush());
            stream.socket_mut().close_notify();
            session.forget_connection();
        }
    } else {
        // The client may be gone; there is nothing left to do for it in any case.
        let _ = stream.write(&session.replies.text).and_then(|()| stream.flush());
        session.transcript_close();
    }
}
