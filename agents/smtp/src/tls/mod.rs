//! TLS to servers (spec tls-sasl 12 to 15): how much of it a server gets, by tables and parameters, and the handshake.
//!
//! | room | what it is |
//! | --- | --- |
//! | `handshake` | a handshake with one server, and what is logged of it |
//! | `dane` | TLSA records |
//! | `terms` | what a server is offered, and what is demanded of it |
//! | `standing` | how far that came about, for the log |
//! | `requirement` | what is made of a sender's REQUIRETLS |
//! | `policy`, `entry`, `bad_entry` | what tables say of a destination |
//! | `sts` | the MTA-STS policy behind that |
//! | `settings`, `level` | parameters |
//! | `wire` | the bytes of a connection |

mod bad_entry;
mod dane;
mod entry;
mod handshake;
mod level;
mod policy;
mod requirement;
mod settings;
mod standing;
mod sts;
mod terms;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use config::Config;
use delivery::Status;
use dns::Resolver;
use server::Fatal;
use tls::client::{Client, Dane, Names, NoClient, ServerCertificate, ShownCertificate, Tlsa};
use tls_settings::LogLevel;

use crate::protocol::Protocol;
use crate::servers::Trail;
use crate::settings::Finding;

pub(crate) use handshake::{Agreed, Failed, Proof, Secured};
pub(crate) use level::Level;
pub(crate) use requirement::{Lack, Requirement, Unclear};
pub(crate) use settings::Settings;
pub(crate) use standing::{Outcome as End, Standing};
pub(crate) use terms::{Place, Security, Terms, digest};
pub(crate) use wire::Wire;

use dane::Outcome;
use entry::Entry;
use policy::{Policies, Policy};
use requirement::Requirements;
use terms::{Wanted, ascii, names};

/// There must not be a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoPolicy {
    /// The log says why.
    Configuration,
    /// There are no TLSA records, or none of use.
    Dane(String),
    /// The server is none of the destination's, by its policy; the log says so.
    OtherServer(Level),
}

impl NoPolicy {
    /// What is told of recipients; nothing where other servers are to tell.
    pub(crate) fn status(self) -> Option<Status> {
        match self {
            Self::Configuration => Some(Status::new("4.7.5", "client TLS configuration problem")),
            Self::Dane(text) => Some(Status::new("4.7.5", text)),
            Self::OtherServer(_) => None,
        }
    }
}

/// What a process has for TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) settings: Settings,
    protocol: Protocol,
    dane: dane::Settings,
    policies: Policies,
    /// Where REQUIRETLS counts.
    requirements: Option<Requirements>,
    /// Nothing where there can be no handshakes.
    client: Option<Client>,
    /// `smtp_tls_security_level` is a default of old, which the log has not told yet.
    has_old_level: AtomicBool,
}

impl Tls {
    /// Opens everything. Without what it takes there is no TLS, and the log says why.
    pub(crate) fn open(config: &Config, protocol: Protocol, finding: &Finding) -> Result<Self, Fatal> {
        let settings = Settings::new(config, protocol)?;
        let dane = dane::Settings::new(config, protocol, finding)?;
        let policies = Policies::open(config, protocol)?;
        let globals = config.globals();
        let is_old = globals.old_defaults.contains("smtp_tls_security_level");
        let has_old_level = protocol == Protocol::Smtp && globals.postfix_minor >= 11 && is_old;
        let requirements = Requirements::open(config, protocol)?;
        let client = settings.is_wanted.then(|| engine(&settings)).flatten();
        let has_old_level = AtomicBool::new(has_old_level);
        Ok(Self { settings, protocol, dane, policies, requirements, client, has_old_level })
    }

    /// Tells of the level that is a default of old, once, when it counts for the first time.
    pub(crate) fn tell_of_old_level(&self) {
        if self.has_old_level.swap(false, Ordering::Relaxed) {
            log::info!("{}", config::compat::notice("smtp_tls_security_level=(empty)"));
        }
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        let of_requirements = || self.requirements.as_ref().and_then(Requirements::changed);
        self.policies.changed().or_else(of_requirements)
    }

    /// Whether anything is made of REQUIRETLS.
    pub(crate) fn obeys_requiretls(&self) -> bool {
        self.requirements.is_some()
    }

    /// What a sender's REQUIRETLS demands of a destination's servers.
    ///
    /// # Errors
    /// Nobody can tell; the log says why.
    pub(crate) fn requirement(&self, nexthop: &str) -> Result<Option<Requirement>, Unclear> {
        self.requirements.as_ref().map_or(Ok(None), |requirements| requirements.of(nexthop))
    }

    /// Whether there can be handshakes.
    pub(crate) fn works(&self) -> bool {
        self.client.is_some()
    }

    /// The certificates that a server showed, for people to read.
    pub(crate) fn shown(&self, certificate: &ServerCertificate) -> Vec<ShownCertificate> {
        self.client.as_ref().map(|client| client.shown(certificate)).unwrap_or_default()
    }

    /// Whether there is a session with a server that can be taken up again.
    pub(crate) fn has_session(&self, terms: &Terms) -> bool {
        self.client.as_ref().is_some_and(|client| client.has_session(&terms.session))
    }

    /// The level for a server that the policy lets be talked to in clear text, whatever the DNS says.
    pub(crate) fn clear_level(&self, place: Place<'_>) -> Option<Level> {
        let level = self.policies.find(&self.settings, place.destination, place.host).ok()?.level;
        matches!(level, Level::None | Level::May).then_some(level)
    }

    /// The terms for a server.
    pub(crate) fn terms(
        &self,
        place: Place<'_>,
        trail: &Trail,
        resolver: &Resolver,
    ) -> Result<Terms, NoPolicy> {
        let mut entry = self.policies.find(&self.settings, place.destination, place.host)?;
        if !entry.level.is_dane() {
            return self.without_records(entry, place);
        }
        match self.dane.look(entry.level, place, trail, resolver)? {
            Outcome::Level(level) => {
                entry.level = level;
                self.without_records(entry, place)
            }
            Outcome::Records { level, records, names, base } => {
                entry.level = level;
                let policy = Policy::new(&self.settings, entry);
                let digests = &self.dane.digests;
                let is_of_use = |record: &&Tlsa| {
                    Dane::new(std::slice::from_ref(*record), digests, Names::default()).is_some()
                };
                let unusable: Vec<String> =
                    records.iter().filter(|record| !is_of_use(record)).map(dane::shown).collect();
                let names = Names { wildcards_go_deep: self.settings.wildcards_go_deep, ..names };
                let wanted = match Dane::new(&records, digests, names.clone()) {
                    Some(dane) => Wanted::Dane(dane),
                    None => Wanted::Unusable(names),
                };
                Ok(Terms { unusable, ..Terms::new(policy, wanted, Some(base), place) })
            }
        }
    }

    /// The terms for a message that is to arrive even where TLS does not work (RFC 8689): no table is asked, and nothing is
    /// demanded.
    pub(crate) fn lenient_terms(&self, place: Place<'_>) -> Result<Terms, NoPolicy> {
        let level = if self.settings.wraps { Level::Encrypt } else { self.settings.level.min(Level::May) };
        self.without_records(Entry::of_level(level), place)
    }

    fn without_records(&self, mut entry: Entry, place: Place<'_>) -> Result<Terms, NoPolicy> {
        let level = entry.level;
        let has_names = self.settings.enforces_sts && level.demands_match() && entry.sts.names_servers();
        let sts = has_names.then(|| entry.sts.clone());
        if has_names {
            // Which servers there are is for the names to say; the certificate is the server's own.
            entry.matches = vec!["hostname".to_owned()];
        }
        let policy = Policy::new(&self.settings, entry);
        let wanted = self.wanted(&policy, place)?;
        if sts.is_some_and(|sts| !sts.accepts(place.host)) {
            return Err(NoPolicy::OtherServer(level));
        }
        let server_name = self.server_name(&policy, place)?;
        Ok(Terms::new(policy, wanted, server_name, place))
    }

    fn wanted(&self, policy: &Policy, place: Place<'_>) -> Result<Wanted, NoPolicy> {
        match policy.level {
            Level::Fingerprint => {
                let digests: Vec<String> =
                    policy.matches.iter().filter_map(|text| terms::digest(text)).collect();
                if digests.is_empty() {
                    log::warn!(
                        "nexthop domain {}: configured at fingerprint security level, but with no \
                         fingerprints to match.",
                        place.destination
                    );
                    return Err(NoPolicy::Configuration);
                }
                Ok(Wanted::Fingerprints(digests))
            }
            Level::Verify | Level::Secure => {
                let names = names(&policy.matches, place, &self.settings);
                if policy.trust_anchors.is_empty() {
                    return Ok(Wanted::Names(names));
                }
                trust_anchors(&policy.trust_anchors, names).map(Wanted::Dane)
            }
            _ => Ok(Wanted::Nothing),
        }
    }

    fn server_name(&self, policy: &Policy, place: Place<'_>) -> Result<Option<String>, NoPolicy> {
        let name = match policy.server_name.as_str() {
            _ if policy.level == Level::None => return Ok(None),
            "" => return Ok(None),
            word if word.eq_ignore_ascii_case("hostname") => ascii(place.host),
            word if word.eq_ignore_ascii_case("nexthop") => ascii(place.nexthop),
            name => ascii(name),
        };
        // An address is no name to ask for.
        if address::host_address(name.as_bytes()).is_ok() {
            return Ok(None);
        }
        if address::DomainName::check(name.as_bytes()).is_err() {
            let parameter = self.protocol.parameter("smtp_tls_servername");
            log::warn!("\"{parameter} = {}\" specifies an invalid hostname", policy.server_name);
            return Err(NoPolicy::Configuration);
        }
        Ok(Some(name))
    }
}

/// Authorities in the place of those that are known otherwise.
fn trust_anchors(files: &[String], names: Names) -> Result<Dane, NoPolicy> {
    let mut texts = Vec::new();
    for file in files {
        let text = std::fs::read(file).map_err(|error| {
            log::warn!("error opening trust anchor file: {file}: {}", sys::error_text(&error));
            NoPolicy::Configuration
        })?;
        texts.push(text);
    }
    Dane::of_trust_anchors(&texts, names).ok_or(NoPolicy::Configuration)
}

fn engine(settings: &Settings) -> Option<Client> {
    for warning in &settings.warnings {
        log::warn!("{warning}");
    }
    if settings.log_level.contains(LogLevel::VERBOSE) {
        log::info!("initializing the client-side TLS engine");
    }
    if lookup::only_examines() {
        let (files, pairs) = (&settings.client.chain_files, &settings.client.pairs);
        for concern in tls::expiry::concerns(files, pairs, SystemTime::now()) {
            log::warn!("{}", concern.text);
        }
    }
    Client::new(&settings.client).map_err(|trouble| tell(&trouble)).ok()
}

/// Without TLS mail may go on: the log says why it goes so.
fn tell(trouble: &NoClient) {
    match trouble {
        NoClient::Digest(_) => {
            log::warn!("{trouble}");
            log::warn!("disabling TLS support");
        }
        NoClient::Authorities(authorities) => {
            authorities.warn();
            log::info!("{trouble}: disabling TLS support");
        }
        NoClient::Identity => {}
    }
}
