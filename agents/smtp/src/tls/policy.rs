//! What a destination and one of its servers get: by a table, or by the parameters (spec tls-sasl 12 and 13).

use address::DomainName;
use config::Config;
use lookup::{Flags, KeyForm, Maps, Opening};
use server::Fatal;

use crate::protocol::Protocol;
use crate::tls::entry::{Entry, Form};
use crate::tls::settings::{Settings, listed};
use crate::tls::{Level, NoPolicy};

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) level: Level,
    pub(crate) protocols: String,
    pub(crate) grade: String,
    pub(crate) exclusions: Vec<String>,
    /// Names, or digests at level `fingerprint`.
    pub(crate) matches: Vec<String>,
    /// Files, in place of the authorities that are known otherwise.
    pub(crate) trust_anchors: Vec<String>,
    /// As written: a name, `hostname`, `nexthop` or nothing.
    pub(crate) server_name: String,
    /// Connections with TLS are kept.
    pub(crate) is_kept: bool,
    /// Why no certificate can do.
    pub(crate) failure: Option<String>,
}

/// The tables.
#[derive(Debug)]
pub(crate) struct Policies {
    policies: Maps,
    form: Form,
    sites: Maps,
}

impl Policies {
    pub(crate) fn open(config: &Config, protocol: Protocol) -> Result<Self, Fatal> {
        let open = |name: &str| {
            let name = protocol.parameter(name);
            let flags = Flags::LOCK.with(Flags::FOLD_FIX);
            Maps::open(&name, &config.bytes(&name)?, flags, Opening::Survive)
                .map_err(|error| Fatal::new(error.to_string()))
        };
        let (policies, mut sites) = (open("smtp_tls_policy_maps")?, open("smtp_tls_per_site")?);
        if !policies.is_empty() && !sites.is_empty() {
            let names = [protocol.parameter("smtp_tls_per_site"), protocol.parameter("smtp_tls_policy_maps")];
            log::warn!("{} ignored when {} is not empty.", names[0], names[1]);
            sites = Maps::open(&names[0], b"", Flags::LOCK, Opening::Survive)
                .map_err(|error| Fatal::new(error.to_string()))?;
        }
        let form = if config.globals().postfix_minor < 10 { Form::Plain } else { Form::WithSts };
        Ok(Self { policies, form, sites })
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        [&self.policies, &self.sites].into_iter().find_map(Maps::changed)
    }

    /// The policy for a server of a destination, which is as it was written.
    pub(crate) fn find(&self, settings: &Settings, nexthop: &str, host: &str) -> Result<Entry, NoPolicy> {
        if let Some(entry) = self.entry(nexthop)? {
            return Ok(entry);
        }
        let level = self.site_level(nexthop, host)?.map_or(settings.level, |level| match level {
            Level::May => level.max(settings.level),
            _ => level,
        });
        Ok(Entry::of_level(level))
    }

    fn entry(&self, nexthop: &str) -> Result<Option<Entry>, NoPolicy> {
        let table = self.policies.title();
        let trouble = |text: String| {
            log::warn!("{table}, next-hop destination \"{nexthop}\": {text}");
            NoPolicy::Configuration
        };
        for (place, key) in keys(nexthop).into_iter().enumerate() {
            let form = if place == 0 { KeyForm::Full } else { KeyForm::Partial };
            let found = self.policies.find(key.as_bytes(), form);
            let Some(text) = found.map_err(|_| trouble("policy table lookup error".to_owned()))? else {
                continue;
            };
            let text = String::from_utf8_lossy(&text).into_owned();
            let (entry, ignored) =
                Entry::parse(&text, self.form).map_err(|error| trouble(error.to_string()))?;
            for ignored in ignored {
                trouble(ignored.to_string());
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// What the older table says of the two names: what is less specific, or less secure, gives way.
    fn site_level(&self, nexthop: &str, host: &str) -> Result<Option<Level>, NoPolicy> {
        let mut level = None;
        for (name, what) in [(nexthop, "next-hop destination"), (host, "server hostname")] {
            let found = self.sites.find(name.as_bytes(), KeyForm::Full);
            let Some(word) = found.map_err(|_| {
                log::warn!("{}: {what} \"{name}\": policy table lookup error", self.sites.title());
                NoPolicy::Configuration
            })?
            else {
                continue;
            };
            let word = String::from_utf8_lossy(&word).into_owned();
            level = match word.to_ascii_uppercase().as_str() {
                "NONE" if level.is_none_or(|level| level <= Level::May) => Some(Level::None),
                "MAY" if level.is_none() => Some(Level::May),
                "MUST_NOPEERMATCH" => level.max(Some(Level::Encrypt)),
                "MUST" => Some(Level::Verify),
                "NONE" | "MAY" => level,
                _ => {
                    log::warn!("{}: unknown TLS policy '{word}' for {what} {name}", self.sites.title());
                    return Err(NoPolicy::Configuration);
                }
            };
        }
        Ok(level)
    }
}

/// The destination, and the domains above it where it is one.
pub(super) fn keys(nexthop: &str) -> Vec<String> {
    let mut keys = vec![nexthop.to_owned()];
    let is_domain =
        DomainName::check(nexthop.as_bytes()).is_ok() && address::host_address(nexthop.as_bytes()).is_err();
    if is_domain {
        keys.extend(nexthop.match_indices('.').map(|(dot, _)| nexthop[dot..].to_owned()));
    }
    keys
}

impl Policy {
    /// What an entry says, and for the rest the parameters.
    pub(crate) fn new(settings: &Settings, entry: Entry) -> Self {
        let level = entry.level;
        let suites = if level.requires_tls() { &settings.mandatory } else { &settings.opportunistic };
        let mut exclusions = entry.exclude.map_or_else(|| suites.exclusions.clone(), |text| listed(&text));
        if level.requires_tls() {
            exclusions.push("eNULL".to_owned());
        }
        if level.demands_match() {
            exclusions.push("aNULL".to_owned());
        }
        let matches = if entry.matches.is_empty() {
            match level {
                Level::Fingerprint => settings.fingerprints.clone(),
                Level::Verify => settings.verify_match.clone(),
                Level::Secure => settings.secure_match.clone(),
                _ => Vec::new(),
            }
        } else {
            entry.matches
        };
        let trust_anchors = match level {
            Level::Verify | Level::Secure if entry.trust_anchors.is_empty() => settings.trust_anchors.clone(),
            _ => entry.trust_anchors,
        };
        Self {
            level,
            protocols: entry.protocols.unwrap_or_else(|| suites.protocols.clone()),
            grade: entry.ciphers.unwrap_or_else(|| suites.grade.clone()),
            exclusions,
            matches,
            trust_anchors,
            server_name: entry.server_name.unwrap_or_else(|| settings.server_name.clone()),
            is_kept: entry.reuses.unwrap_or(settings.keeps_connections),
            failure: entry.sts.failure().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn parents_of_plain_domains_only() {
        assert_eq!(keys("a.b.example"), ["a.b.example", ".b.example", ".example"]);
        for text in ["[a.b.example]", "a.b.example:25", "192.0.2.1", "[192.0.2.1]:25"] {
            assert_eq!(keys(text), [text]);
        }
    }
}
