//! What a server is offered, and what is demanded of it: a policy, with the names filled in.

use address::DomainName;
use tls::client::{Dane, Demand, Names};

use crate::tls::policy::Policy;
use crate::tls::settings::Settings;
use crate::tls::{Level, Requirement, Standing};

/// What is demanded of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    /// One of these digests.
    Fingerprints(Vec<String>),
    /// One of these names, and an authority that vouches for it.
    Names(Names),
    /// One of these records.
    Dane(Dane),
    /// Records of which none can fit: the names are looked at, and no more.
    Unusable(Names),
}

impl Wanted {
    pub(crate) fn demand(&self) -> Demand<'_> {
        match self {
            Self::Nothing => Demand::Nothing,
            Self::Fingerprints(digests) => Demand::Fingerprints(digests),
            Self::Names(names) | Self::Unusable(names) => Demand::Names(names),
            Self::Dane(dane) => Demand::Dane(dane),
        }
    }
}

/// The names that a server and its destination have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    /// The destination as it was written.
    pub(crate) destination: &'p str,
    /// Its domain or host.
    pub(crate) nexthop: &'p str,
    /// The server's name.
    pub(crate) host: &'p str,
    pub(crate) port: u16,
}

/// The terms on which a server is talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) level: Level,
    pub(crate) protocols: String,
    pub(crate) grade: String,
    pub(crate) exclusions: Vec<String>,
    pub(crate) wanted: Wanted,
    /// Which name the server is asked for.
    pub(crate) server_name: Option<String>,
    /// Records that can fit nothing, for the log.
    pub(crate) unusable: Vec<String>,
    /// What a connection has in common with others that may be used in its place.
    pub(crate) likeness: String,
    /// What sessions that are taken up again have in common.
    pub(crate) session: String,
    /// The connection may be kept for the next request.
    pub(crate) is_kept: bool,
    /// Why no certificate can do, by what stands behind the policy.
    pub(crate) failure: Option<String>,
    /// What the sender's REQUIRETLS demands of the server.
    pub(crate) requirement: Option<Requirement>,
}

impl Terms {
    /// Those of clear text.
    pub(crate) fn clear() -> Self {
        Self {
            level: Level::None,
            protocols: String::new(),
            grade: String::new(),
            exclusions: Vec::new(),
            wanted: Wanted::Nothing,
            server_name: None,
            unusable: Vec::new(),
            likeness: String::new(),
            session: String::new(),
            is_kept: true,
            failure: None,
            requirement: None,
        }
    }

    /// There is no mail in clear text.
    pub(crate) fn demands_tls(&self) -> bool {
        self.level.requires_tls() || self.requirement.is_some_and(Requirement::demands_tls)
    }

    pub(crate) fn new(policy: Policy, wanted: Wanted, server_name: Option<String>, place: Place<'_>) -> Self {
        let Policy { level, protocols, grade, exclusions, is_kept, failure, .. } = policy;
        let Place { nexthop, host, port, .. } = place;
        let likeness =
            format!("{level:?} {protocols} {grade} {exclusions:?} {server_name:?} {wanted:?} {failure:?}");
        let session = format!("{nexthop} {host} {port} {likeness}");
        let unusable = Vec::new();
        Self {
            level,
            protocols,
            grade,
            exclusions,
            wanted,
            server_name,
            unusable,
            likeness,
            session,
            is_kept,
            failure,
            requirement: None,
        }
    }
}

/// The terms on which a server is talked to, and how far what was wanted comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) terms: Terms,
    pub(crate) standing: Standing,
}

impl Security {
    pub(crate) fn of(terms: Terms) -> Self {
        let standing = Standing::new(terms.level, terms.requirement.is_some());
        Self { terms, standing }
    }

    /// No TLS, where this level was wanted.
    pub(crate) fn in_clear_text(level: Level, requirement: Option<Requirement>) -> Self {
        let terms = Terms { requirement, ..Terms::clear() };
        Self { terms, standing: Standing::new(level, requirement.is_some()) }
    }
}

/// The names of a list of words, some of which stand for names.
pub(crate) fn names(words: &[String], place: Place<'_>, settings: &Settings) -> Names {
    let patterns = words.iter().map(|word| match word.to_ascii_lowercase().as_str() {
        "hostname" => ascii(place.host),
        "nexthop" => ascii(place.nexthop),
        "dot-nexthop" => format!(".{}", ascii(place.nexthop)),
        _ => match word.strip_prefix('.') {
            Some(domain) => format!(".{}", ascii(domain)),
            None => ascii(word),
        },
    });
    Names { patterns: patterns.collect(), wildcards_go_deep: settings.wildcards_go_deep }
}

/// A digest in hex, upper case without colons; what is none is told.
pub(crate) fn digest(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_uppercase()).collect();
    let is_hex =
        !digits.is_empty() && digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex {
        log::warn!("malformed fingerprint value: {text}");
    }
    is_hex.then_some(digits)
}

/// A name as it goes over the wire.
pub(crate) fn ascii(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let ascii = DomainName::to_ascii(name.as_bytes());
    ascii.ok().and_then(|ascii| String::from_utf8(ascii).ok()).unwrap_or_else(|| name.to_owned())
}
