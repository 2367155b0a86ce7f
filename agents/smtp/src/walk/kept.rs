//! Servers that are talked to on a connection that was kept (spec smtp-client 10.3), and connections that are (10.2).

use std::cell::{Cell, RefCell};
use std::path::Path;

use super::{Goal, Site, Turn, Walk};
use crate::reuse::{self, Connection, Policy, Purpose};
use crate::servers::Server;
use crate::session::{Names, Session};
use crate::tally::Tally;
use crate::tls::{self, Level, Security, Standing, Terms};
use crate::transaction::{self, After};

/// No server is preferred to this one: Postfix's number in what is known of a destination.
const BEST_MX: i32 = 1 << 12;

/// What a request does with connections that are kept.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// Decided once, for the first destination that has servers.
    pub(super) policy: Cell<Policy>,
    /// Addresses of servers that were talked to on such connections.
    used: RefCell<Vec<String>>,
}

/// A server that a connection leads to.
struct Place<'p> {
    host: &'p str,
    address: &'p str,
    port: u16,
    is_best: bool,
    is_path: bool,
    level: Level,
}

/// A server that was talked to, for whoever looks for a connection to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint<'p> {
    pub(super) host: &'p str,
    pub(super) port: u16,
    /// How much TLS it was asked for.
    pub(super) level: Level,
    pub(super) is_best: bool,
}

impl<'a> Walk<'_, 'a> {
    /// Decides what is done for the request.
    pub(super) fn decide(&self, destination: &str) {
        if self.is_first {
            let flags = self.delivery.request().flags;
            self.visit.policy.set(self.site.cache.policy(destination, flags));
        }
    }

    fn purpose(&self) -> Purpose<'a> {
        let (settings, request) = (self.site.settings, self.delivery.request());
        let has_logins = self.site.tables.logins.is_some();
        let by_sender = has_logins && settings.logs_in_by_sender;
        let nexthop = std::str::from_utf8(self.delivery.nexthop()).unwrap_or_default();
        Purpose {
            service: &settings.service_name,
            sender: by_sender.then_some(&*request.sender),
            destination: config::list::text_words(nexthop).next().unwrap_or_default(),
            has_logins,
        }
    }

    /// Talks on connections that were kept for the destination, and for the best of its servers; how many there were. Those
    /// are not among the servers any more.
    pub(super) fn on_kept(
        &self,
        servers: &mut Vec<Server>,
        goal: &Goal<'_>,
        turn: Turn,
        tally: &mut Tally<'a>,
    ) -> usize {
        let remove = |servers: &mut Vec<Server>, address: &str| {
            servers.retain(|server| server.address.ip().to_string() != address);
        };
        let before = servers.len();
        for address in &*self.visit.used.borrow() {
            remove(servers, address);
        }
        if servers.is_empty() && before > 0 {
            // The next destination is at servers that were talked to: nothing is told of these (observed, 3.7.11).
            tally.forget();
            return 0;
        }
        let limit = self.site.settings.finding.session_limit;
        let mut count = 0;
        let label = self.purpose().destination_label();
        let of_destination = if self.is_first { self.site.cache.of_destination(&label) } else { None };
        if let Some((found, endpoint, connection)) = of_destination {
            let is_best = found.features & BEST_MX != 0;
            let is_final = turn.is_final && is_only(servers, &found.address);
            let place = self.place(goal, &found.host, &found.address, is_best);
            // One that was made without TLS because that did not work is not for who would try it.
            let place = place.filter(|place| place.level.number() == endpoint.level);
            let (turn, kept) = (Turn { is_final, ..turn }, (endpoint, connection));
            if place.is_some_and(|place| self.on(&place, Terms::clear(), kept, turn, tally)) {
                remove(servers, &found.address);
                count += 1;
            }
        }
        let best: Vec<Server> = servers.iter().filter(|server| server.is_best).cloned().collect();
        for server in best {
            if tally.left.is_empty() || limit > 0 && count >= limit {
                break;
            }
            let address = server.address.ip().to_string();
            let turn = Turn { is_final: turn.is_final && is_only(servers, &address), ..turn };
            if self.on_kept_of(&server, goal, turn, tally) {
                remove(servers, &address);
                count += 1;
            }
        }
        count
    }

    /// Talks on a connection that was kept for a server; whether there was one.
    pub(super) fn on_kept_of(
        &self,
        server: &Server,
        goal: &Goal<'_>,
        turn: Turn,
        tally: &mut Tally<'a>,
    ) -> bool {
        let address = server.address.ip().to_string();
        self.on_encrypted_of(server, goal, turn, tally)
            || self.place(goal, &server.host, &address, server.is_best).is_some_and(|place| {
                tally.stand(&Standing::new(place.level, self.is_required()));
                self.on_kept_at(&place, turn, tally)
            })
    }

    /// The same on one with TLS.
    fn on_encrypted_of(&self, server: &Server, goal: &Goal<'_>, turn: Turn, tally: &mut Tally<'a>) -> bool {
        let Site { tls, resolver, cache, .. } = *self.site;
        if !cache.may_have_encrypted() {
            return false;
        }
        let Goal { destination, host: nexthop, port } = *goal;
        let host = &*server.host;
        let place = tls::Place { destination, nexthop, host, port };
        let Ok(terms) = tls.terms(place, &server.trail, resolver) else { return false };
        let (address, level) = (server.address.ip().to_string(), terms.level);
        tally.stand(&Standing::new(level, self.is_required()));
        let (port, is_best) = (server.address.port(), server.is_best);
        self.on_encrypted(
            &Place { host, address: &address, port, is_best, is_path: false, level },
            terms,
            turn,
            tally,
        )
    }

    fn on_encrypted(&self, place: &Place<'_>, terms: Terms, turn: Turn, tally: &mut Tally<'a>) -> bool {
        if terms.level == Level::None || !terms.is_kept {
            return false;
        }
        let label = self.purpose().encrypted_label(place.host, place.address, place.port, &terms);
        let found = self.site.cache.of_encrypted(&label);
        found.is_some_and(|found| self.on(place, terms, found, turn, tally))
    }

    /// The same for a socket in the file system.
    pub(super) fn on_kept_path(&self, path: &Path, terms: &Terms, tally: &mut Tally<'a>) -> bool {
        let (host, address) = (&*self.site.settings.hostname, path.display().to_string());
        let level = terms.level;
        let place = Place { host, address: &address, port: 0, is_best: false, is_path: true, level };
        let turn = Turn { is_final: self.is_last, detects_loops: false };
        if level.requires_tls() {
            self.on_encrypted(&place, terms.clone(), turn, tally)
        } else {
            self.on_kept_at(&place, turn, tally)
        }
    }

    /// A server that may be talked to in clear text: no other connections are kept.
    fn place<'p>(
        &self,
        goal: &Goal<'p>,
        host: &'p str,
        address: &'p str,
        is_best: bool,
    ) -> Option<Place<'p>> {
        let Goal { destination, host: nexthop, port } = *goal;
        let level = self.site.tls.clear_level(tls::Place { destination, nexthop, host, port })?;
        Some(Place { host, address, port, is_best, is_path: false, level })
    }

    fn on_kept_at(&self, place: &Place<'_>, turn: Turn, tally: &mut Tally<'a>) -> bool {
        let label = self.purpose().endpoint_label(place.host, place.address, place.port, place.level);
        let found = self.site.cache.of_endpoint(&label, place.is_path);
        found.is_some_and(|found| self.on(place, Terms::clear(), found, turn, tally))
    }

    /// Whether the server still wanted mail on the connection.
    fn on(
        &self,
        place: &Place<'_>,
        terms: Terms,
        (endpoint, connection): (reuse::Endpoint, Connection),
        Turn { is_final, detects_loops }: Turn,
        tally: &mut Tally<'a>,
    ) -> bool {
        let (address, port) = (place.address.to_owned(), place.port);
        let host = format!("{}[{address}]", place.host);
        let relay = if place.is_path { host.clone() } else { format!("{host}:{port}") };
        let names = Names { relay, host, address, destination: self.destination.to_owned() };
        let context = self.context(detects_loops, place.is_best);
        let security = Security { terms, standing: Standing::new(place.level, false) };
        let Some(session) = Session::resumed(context, names, security, connection, &endpoint) else {
            return false;
        };
        self.visit.used.borrow_mut().push(place.address.to_owned());
        let Place { host, level, is_best, .. } = *place;
        self.transact(session, Endpoint { host, port, level, is_best }, is_final, tally);
        true
    }

    /// Delivers in a session, and keeps its connection if it is to be kept; whether the server is to be tried once more,
    /// without TLS.
    pub(super) fn transact(
        &self,
        session: Session<'a>,
        Endpoint { host, port, level, is_best }: Endpoint<'_>,
        is_final: bool,
        tally: &mut Tally<'a>,
    ) -> bool {
        // Only the first session of a request is the destination's.
        let is_first = !tally.has_completed;
        let address = session.names.address.clone();
        let settings = self.site.settings;
        let (mut endpoint, connection, terms) =
            match transaction::deliver(session, settings, self.delivery, tally, is_final) {
                After::Kept(session) => session.into_kept(),
                After::Ended => return false,
                After::WithoutTls => return true,
            };
        let purpose = self.purpose();
        if connection.wire.is_encrypted() {
            let label = purpose.encrypted_label(host, &address, port, &terms);
            self.site.cache.save((&label, &endpoint), None, connection);
            return false;
        }
        endpoint.level = level.number();
        let label = purpose.endpoint_label(host, &address, port, level);
        let destination_label = purpose.destination_label();
        let destination = reuse::Destination {
            host: host.to_owned(),
            address,
            port: (settings.minor >= 8).then_some(i32::from(port)),
            features: if is_best { BEST_MX } else { 0 },
        };
        let destination = is_first.then_some((&*destination_label, &destination));
        self.site.cache.save((&label, &endpoint), destination, connection);
        false
    }
}

/// Whether nobody else is among the servers.
fn is_only(servers: &[Server], address: &str) -> bool {
    servers.iter().all(|server| server.address.ip().to_string() == address)
}
