//! A request: its destinations, their servers one after another, and who is left (spec smtp-client 4).

mod kept;

use std::path::Path;
use std::time::SystemTime;

use delivery::{Delivery, Parts, Relay, Status};
use dns::Resolver;
use ipc::delivery::{Completion, Moment};
use queue::sendopts;
use smtp::client::Socket;

use self::kept::Endpoint;
use crate::connect::{self, NotConnected};
use crate::destination::{self, Destination, Place};
use crate::details::{Phase, Progress};
use crate::protocol::Protocol;
use crate::reuse::Cache;
use crate::servers::{Finder, Found, Server, Trail};
use crate::session::{Context, Left, Life, Names, Session, Unusable};
use crate::settings::{HostLookup, Settings, Tables};
use crate::tally::Tally;
use crate::tls::{self, End, Lack, Level, NoPolicy, Security, Standing, Terms, Tls, Unclear, Wire};

/// The port of mail between servers, where a host that gets mail from itself is in a loop.
const SMTP_PORT: u16 = 25;

/// What a process has once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) tables: &'a Tables,
    pub(crate) tls: &'a Tls,
    pub(crate) resolver: &'a Resolver,
    pub(crate) cache: &'a Cache,
}

/// Delivers a request.
pub(crate) fn deliver<'a>(site: &Site<'a>, delivery: &'a Delivery<'a>) -> Completion {
    let settings = site.settings;
    if let Some(completion) = unfit(settings, delivery) {
        return completion;
    }
    let nexthop = String::from_utf8_lossy(delivery.nexthop()).into_owned();
    let own: Vec<Destination> = parsed(&nexthop, settings.protocol);
    let is_unix = own.iter().any(|destination| matches!(destination.place, Place::Unix(_)));
    if is_unix && !settings.fallback_relay.is_empty() {
        log::warn!(
            "ignoring \"lmtp_fallback_relay = {}\" setting for non-TCP connections",
            settings.fallback_relay
        );
    }
    let others = if is_unix { Vec::new() } else { parsed(&settings.fallback_relay, settings.protocol) };
    let count = own.len() + others.len();
    let relayhost_is_first = own.first().is_some_and(|first| first.text == settings.relayhost);
    let mut tally = Tally::new(delivery, settings);
    let mut fell_back = false;
    let visit = kept::Visit::default();
    for (place, destination) in own.iter().chain(&others).enumerate() {
        if tally.left.is_empty() {
            break;
        }
        fell_back = place >= own.len();
        let walk = Walk {
            site,
            delivery,
            destination: &destination.text,
            visit: &visit,
            is_first: place == 0,
            is_last: place + 1 == count,
        };
        if walk.destination(destination, &mut tally) {
            break;
        }
    }
    let own_transport = match settings.protocol {
        Protocol::Smtp => settings.best_mx_transport.as_str(),
        Protocol::Lmtp => "",
    };
    tally.finish(own_transport, |status| {
        let is_hard = status.code().starts_with('5');
        if is_hard && fell_back {
            log::warn!("smtp_fallback_relay configuration problem");
            Status::new("4.3.5", status.text)
        } else if is_hard && settings.protocol == Protocol::Smtp && relayhost_is_first {
            log::warn!("relayhost configuration problem");
            Status::new("4.3.5", status.text)
        } else {
            status
        }
    })
}

/// What the service's own flags make of the request.
fn unfit(settings: &Settings, delivery: &Delivery<'_>) -> Option<Completion> {
    let relay = settings.service_name.as_str();
    let failed = |status: &Status| delivery.each(|recipient| delivery.failed(recipient, relay, status));
    let recipients = &delivery.request().recipients;
    for (part, flag) in [(Parts::DELIVERED_TO, 'D'), (Parts::ORIGINAL_TO, 'O')] {
        if settings.parts.contains(part) && recipients.len() > 1 {
            log::warn!("flag `{flag}' requires {relay}_destination_recipient_limit = 1");
            return Some(failed(&Status::new("4.3.5", "mail system configuration error")));
        }
    }
    if settings.parts.contains(Parts::DELIVERED_TO) && delivery.delivered_to().has(&recipients[0].address) {
        let text = [b"mail forwarding loop for ", &*recipients[0].address].concat();
        return Some(failed(&Status::new("5.4.6", text)));
    }
    None
}

fn parsed(list: &str, protocol: Protocol) -> Vec<Destination> {
    config::list::text_words(list)
        .map(|text| {
            Destination::parse(text, protocol)
                .unwrap_or_else(|error| maillog::fatal(format_args!("{error} in server description: {text}")))
        })
        .collect()
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
struct Goal<'g> {
    /// As it was written.
    destination: &'g str,
    /// Its domain or host.
    host: &'g str,
    port: u16,
}

/// How a server was found.
#[derive(Debug, Clone, Copy)]
enum Way<'w> {
    Found(&'w Trail),
    /// It is a socket in the file system.
    Path(&'w Path),
}

/// A server's place among those that are tried.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// No other one is tried after it.
    is_final: bool,
    /// It may be this host.
    detects_loops: bool,
}

/// A server, and how it is talked to.
struct Peer<'p> {
    host: &'p str,
    port: u16,
    security: Security,
}

/// How a talk with a server has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// It took mail, or told why not.
    Ready,
    NotReady,
    /// It may be of use without TLS.
    WithoutTls,
}

/// The way over one destination's servers.
struct Walk<'w, 'a> {
    site: &'w Site<'a>,
    delivery: &'a Delivery<'a>,
    /// As it is written.
    destination: &'w str,
    visit: &'w kept::Visit,
    is_first: bool,
    is_last: bool,
}

impl<'a> Walk<'_, 'a> {
    /// Tries the servers of a destination; whether no other destination is to be tried.
    fn destination(&self, destination: &Destination, tally: &mut Tally<'a>) -> bool {
        let settings = self.site.settings;
        let progress = Progress::at(Phase::Lookup);
        let (host, service, is_literal) = match &destination.place {
            Place::Unix(path) => {
                tally.try_destination(&destination.text, "");
                self.path(path, tally);
                return false;
            }
            Place::Inet { host, service, is_literal } => (host, service, *is_literal),
        };
        tally.try_destination(&destination.text, host);
        let service = service.as_deref().unwrap_or(&settings.default_port);
        let port = destination::port(&settings.known_ports, service, &destination.text);
        if port == 465 && settings.helpful_warnings && settings.protocol == Protocol::Smtp {
            log::info!(
                "SMTPS wrappermode (TCP port 465) requires setting \"smtp_tls_wrappermode = yes\", and \
                 \"smtp_tls_security_level = encrypt\" (or stronger)"
            );
        }
        let finding = &settings.finding;
        let detects_loops = settings.protocol == Protocol::Smtp && port == SMTP_PORT;
        let finder =
            Finder::new(finding, &self.site.tables.dns_replies, self.site.resolver, port, detects_loops);
        let has_exchangers = settings.protocol == Protocol::Smtp && !is_literal && finding.uses_dns;
        // Who asks the DNS goes by the level already (observed, 3.11.7).
        if has_exchangers || finding.host_lookup != HostLookup::Native {
            self.site.tls.tell_of_old_level();
        }
        let otherwise = |finder: Finder<'_>, host: &str| {
            if has_exchangers { finder.of_domain(host) } else { finder.of_host(host) }
        };
        let found = if !is_literal && finding.uses_dns && self.has_services(service) {
            finder.of_service(host, service, otherwise)
        } else {
            otherwise(finder, host)
        };
        let Found { servers, is_final } = found;
        match servers {
            Ok(servers) => {
                self.decide(host);
                let goal = Goal { destination: &destination.text, host, port };
                self.servers(servers, &goal, is_final || self.is_last, detects_loops, tally);
            }
            Err(status) => {
                tally.attempt_failed("none", &progress, &status);
                tally.skip(status);
            }
        }
        is_final
    }

    /// Whether a service has servers of its own.
    fn has_services(&self, service: &str) -> bool {
        self.site.tables.services.matches(service.as_bytes()).unwrap_or_else(|error| {
            log::warn!("{error}");
            false
        })
    }

    fn servers(
        &self,
        mut servers: Vec<Server>,
        goal: &Goal<'_>,
        is_last: bool,
        detects_loops: bool,
        tally: &mut Tally<'a>,
    ) {
        let finding = &self.site.settings.finding;
        // What REQUIRETLS demands is asked of a connection of one's own.
        let loads = self.visit.policy.get().loads && !self.is_required();
        let kept = if loads {
            self.on_kept(&mut servers, goal, Turn { is_final: is_last, detects_loops }, tally)
        } else {
            0
        };
        let (mut tried, mut completed) = (kept, kept);
        for (place, server) in servers.iter().enumerate() {
            if tally.left.is_empty() {
                return;
            }
            let address = server.address.ip().to_string();
            let host = format!("{}[{address}]", server.host);
            let relay = format!("{host}:{}", server.address.port());
            let names = Names { relay, host, address, destination: self.destination.to_owned() };
            let Some(terms) = self.terms(goal, &server.host, Way::Found(&server.trail), tally) else {
                continue;
            };
            tried += 1;
            let is_end = place + 1 == servers.len()
                || tried == finding.address_limit
                || completed + 1 == finding.session_limit;
            let turn = Turn { is_final: is_last && is_end, detects_loops };
            if loads && !server.is_best && self.on_kept_of(server, goal, turn, tally) {
                completed += 1;
                if completed == finding.session_limit {
                    return;
                }
                continue;
            }
            let context = self.context(detects_loops, server.is_best);
            completed += usize::from(self.server(server, context, names, terms, turn.is_final, tally));
            if tried == finding.address_limit || completed == finding.session_limit && completed > 0 {
                return;
            }
        }
    }

    /// The terms for a server; nothing where it is not to be talked to.
    fn terms(&self, goal: &Goal<'_>, host: &str, way: Way<'_>, tally: &mut Tally<'a>) -> Option<Terms> {
        let tls = self.site.tls;
        let progress = Progress::at(Phase::Policy);
        tls.tell_of_old_level();
        let Goal { destination, host: nexthop, port } = *goal;
        let place = tls::Place { destination, nexthop, host, port };
        let terms = if self.is_lenient() {
            tls.lenient_terms(place)
        } else {
            let direct = Trail::default();
            let trail = if let Way::Found(trail) = way { trail } else { &direct };
            tls.terms(place, trail, self.site.resolver)
        };
        let is_required = self.is_required();
        tally.stand(&Standing::unknown(is_required));
        if let Err(NoPolicy::OtherServer(level)) = &terms {
            tally.stand(&Standing::new(*level, is_required));
        }
        let terms = terms
            .map_err(NoPolicy::status)
            .and_then(|terms| self.required(terms, nexthop, host, tally).map_err(Some));
        let terms = match terms {
            Ok(terms) => terms,
            Err(None) => return None,
            Err(Some(status)) => {
                let text = maillog::shown(&status.text);
                match way {
                    Way::Path(path) => {
                        log::warn!("TLS policy lookup error for {host}/{}: {text}", path.display());
                    }
                    Way::Found(_) => log::warn!("TLS policy lookup for {destination}/{host}: {text}"),
                }
                tally.attempt_failed(host, &progress, &status);
                tally.skip(status);
                return None;
            }
        };
        if tls.settings.wraps && !terms.level.requires_tls() {
            log::warn!(
                "{} requires \"{} = encrypt\" (or stronger)",
                self.site.settings.protocol.parameter("smtp_tls_wrappermode"),
                self.site.settings.protocol.parameter("smtp_tls_security_level"),
            );
            return None;
        }
        Some(terms)
    }

    /// The message has `TLS-Required: no`, and no REQUIRETLS.
    fn is_lenient(&self) -> bool {
        let options = i64::from(self.delivery.request().sendopts);
        let says_no = options & sendopts::TLS_REQUIRED_NO != 0;
        self.site.settings.obeys_tls_required && says_no && !self.is_required()
    }

    /// The message has REQUIRETLS.
    fn is_required(&self) -> bool {
        let options = i64::from(self.delivery.request().sendopts);
        self.site.tls.obeys_requiretls() && options & sendopts::REQUIRETLS != 0
    }

    /// The terms with what REQUIRETLS demands on top, if these terms can have that.
    fn required(
        &self,
        mut terms: Terms,
        nexthop: &str,
        host: &str,
        tally: &mut Tally<'a>,
    ) -> Result<Terms, Status> {
        let level = terms.level;
        tally.stand(&Standing::new(level, false));
        if !self.is_required() {
            return Ok(terms);
        }
        terms.requirement = self.site.tls.requirement(nexthop).map_err(|Unclear| {
            let text = "REQUIRETLS policy configuration error. The last attempted server was";
            Status::new("4.7.10", format!("{text} {host}"))
        })?;
        let Some(requirement) = terms.requirement else { return Ok(terms) };
        let lack = requirement.lack(level, host);
        let mut standing = Standing::new(level, true);
        if let Some(Lack { reason: Some(reason), .. }) = lack {
            standing.required(End::Violated(reason));
        }
        tally.stand(&standing);
        match lack {
            Some(Lack { text, reason: Some(_) }) => Err(Status::new("5.7.10", text)),
            Some(Lack { text, reason: None }) => {
                log::info!("{}: {text}", self.delivery.id());
                Ok(terms)
            }
            None => Ok(terms),
        }
    }

    /// Connects to a server and talks to it, once more in clear text where TLS does not come about and that is allowed;
    /// whether it was ready to take mail.
    fn server(
        &self,
        server: &Server,
        context: Context<'a>,
        names: Names,
        terms: Terms,
        is_final: bool,
        tally: &mut Tally<'a>,
    ) -> bool {
        let (level, requirement) = (terms.level, terms.requirement);
        let mut next = Some(Security::of(terms));
        while let Some(security) = next.take() {
            let progress = Progress::at(Phase::Connect);
            match connect::to_address(self.site.settings, server.address, &names.relay) {
                Ok(socket) => {
                    let peer = Peer { host: &server.host, port: server.address.port(), security };
                    match self.session(context, names.clone(), peer, socket, is_final, tally) {
                        Talk::Ready => return true,
                        Talk::WithoutTls => next = Some(Security::in_clear_text(level, requirement)),
                        Talk::NotReady => {}
                    }
                }
                Err(NotConnected { status, cause }) => {
                    log::info!("{}", maillog::shown(&status.text));
                    progress.broke(cause);
                    tally.attempt_failed(&names.relay, &progress, &status);
                    tally.skip(status);
                }
            }
        }
        false
    }

    /// The message has waited long enough, or is none.
    fn may_go_without_tls(&self) -> bool {
        let times = &self.delivery.request().times;
        let waited = times.active.sec.saturating_sub(times.arrival.sec);
        let limit = self.site.tls.settings.min_backoff.as_secs();
        self.delivery.is_probe() || u64::try_from(waited).is_ok_and(|waited| waited >= limit)
    }

    fn path(&self, path: &Path, tally: &mut Tally<'a>) {
        let host = format!("{}[{}]", self.site.settings.hostname, path.display());
        let names = Names {
            relay: host.clone(),
            address: path.display().to_string(),
            host,
            destination: self.destination.to_owned(),
        };
        let own = self.site.settings.hostname.as_str();
        let goal = Goal { destination: own, host: own, port: 0 };
        let Some(terms) = self.terms(&goal, own, Way::Path(path), tally) else { return };
        let security = if terms.level == Level::May && !terms.demands_tls() {
            log::warn!(
                "smtp_connect_local: opportunistic TLS encryption is not appropriate for unix-domain destinations."
            );
            Security::in_clear_text(terms.level, terms.requirement)
        } else {
            Security::of(terms)
        };
        self.decide(&names.address);
        let loads = self.visit.policy.get().loads && !self.is_required();
        if loads && self.on_kept_path(path, &security.terms, tally) {
            return;
        }
        let progress = Progress::at(Phase::Connect);
        match connect::to_path(self.site.settings, path, &names.host) {
            Ok(socket) => {
                let context = self.context(false, false);
                let peer = Peer { host: own, port: 0, security };
                self.session(context, names, peer, socket, self.is_last, tally);
            }
            // There is no other one to be tried, so this is told of the recipients.
            Err(NotConnected { status, cause }) => {
                progress.broke(cause);
                tally.attempt_failed(&names.relay, &progress, &status);
                tally.skip(status);
            }
        }
    }

    fn context(&self, detects_loops: bool, is_best: bool) -> Context<'a> {
        let Site { settings, tables, tls, .. } = *self.site;
        let goes_without_tls = self.may_go_without_tls();
        Context { settings, tables, tls, delivery: self.delivery, detects_loops, is_best, goes_without_tls }
    }

    /// Talks to a server.
    fn session(
        &self,
        context: Context<'a>,
        names: Names,
        Peer { host, port, security }: Peer<'_>,
        socket: Socket,
        is_final: bool,
        tally: &mut Tally<'a>,
    ) -> Talk {
        let relay = names.relay.clone();
        let failed = |tally: &mut Tally<'a>, status: &Status| {
            let now = Moment::from(SystemTime::now());
            tally.site_failed(told(&relay, now), status, is_final);
        };
        let level = security.terms.level;
        let stores = self.visit.policy.get().stores && (!level.requires_tls() || security.terms.is_kept);
        let mut session = match Session::new(context, names, security, Wire::Clear(socket)) {
            Ok(session) => session,
            Err(status) => {
                tally.attempt_failed(&relay, &Progress::at(Phase::Greeting), &status);
                failed(tally, &status);
                return Talk::NotReady;
            }
        };
        session.life = Life::begins(stores, self.site.settings.reuse_time_limit);
        let greeted = session.greet();
        tally.stand(&session.standing);
        if let Err(Unusable { status, left }) = greeted {
            tally.attempt_failed(&relay, &session.progress, &status);
            if left == Left::ClearText {
                log::info!("{}: {}", self.delivery.id(), maillog::shown(&status.text));
                return Talk::WithoutTls;
            }
            let now = Moment::from(SystemTime::now());
            match left {
                // The queue manager hears nothing of the server (observed, 3.7.11).
                Left::Mail => tally.all_failed(told(&relay, now), &status, is_final),
                Left::Others => tally.passed_over(told(&relay, now), &status, is_final),
                _ => failed(tally, &status),
            }
            if matches!(left, Left::Connection | Left::Others) || session.has_table_failed {
                session.quit();
            }
            return Talk::NotReady;
        }
        if self.transact(session, Endpoint { host, port, level, is_best: context.is_best }, is_final, tally) {
            return Talk::WithoutTls;
        }
        Talk::Ready
    }
}

/// Who refused a message on a connection that has just ended.
fn told(name: &str, now: Moment) -> Relay<'_> {
    Relay { connected: now, delivered: now, ..name.into() }
}
