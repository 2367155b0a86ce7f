//! DNS block lists and allow lists (spec access 7).
//!
//! A list is asked for an address (`2.0.0.127.LIST`) or a name (`NAME.LIST`). An A record means that it is listed; a
//! pattern says which A records count. What a list said is kept for the process's life, as in Postfix.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use address::DomainName;
use dns::{Data, FailureKind, RecordType};

use crate::access::compile::Argument;
use crate::access::dns_tables::DnsTables;
use crate::access::observer::Event;
use crate::access::relay_checks::is_authorised;
use crate::access::subject::Of;
use crate::access::{Detail, Facts, Scope, Trouble, Verdict};
use crate::client::UNKNOWN;

pub mod pattern;
pub mod reply;

use pattern::Pattern;

/// Answers kept.
const CACHE_LIMIT: usize = 100;
/// The joined texts of a list are cut here.
const TEXT_LIMIT: usize = 500;

/// A list as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsList {
    /// `domain` or `domain=pattern`, as written.
    pub text: String,
    /// The domain alone.
    pub domain: String,
    /// Which answers count; a text that is no pattern is the trouble of who is asked about.
    pattern: Result<Option<Pattern>, String>,
}

impl DnsList {
    /// Reads the argument of a restriction.
    pub fn parse(text: &str) -> Self {
        let (domain, pattern) = match text.split_once('=') {
            Some((domain, pattern)) => (domain, Some(pattern)),
            None => (text, None),
        };
        let pattern =
            pattern.map(Pattern::parse).transpose().map_err(|fault| format!("RBL reply error: {fault}"));
        Self { text: text.to_string(), domain: domain.to_string(), pattern }
    }

    /// What is wrong with its pattern.
    pub fn fault(&self) -> Option<&str> {
        self.pattern.as_ref().err().map(String::as_str)
    }
}

/// What being listed leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// `reject_rbl_client` and the like.
    Block,
    /// `permit_dnswl_client`, `permit_rhswl_client`.
    Allow,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The client's address.
    Address,
    /// A name.
    Name(Of),
}

/// What a list said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    NotListed,
    /// It could not be asked.
    Failed,
    Listed {
        addresses: Vec<Ipv4Addr>,
        text: Vec<u8>,
    },
}

impl Said {
    /// For an observer; `None` when the list could not be asked.
    fn shown(&self) -> Option<String> {
        match self {
            Said::NotListed => Some("not listed".into()),
            Said::Failed => None,
            Said::Listed { addresses, text } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                Some(format!("{} {}", addresses.join(" "), String::from_utf8_lossy(text)).trim().to_string())
            }
        }
    }
}

/// What lists said, the latest first.
#[derive(Debug, Default)]
pub struct Cache(Mutex<VecDeque<(Vec<u8>, Said)>>);

impl Cache {
    fn get(&self, query: &[u8]) -> Option<Said> {
        let mut entries = self.entries();
        let at = entries.iter().position(|(known, _)| known == query)?;
        let entry = entries.remove(at)?;
        let said = entry.1.clone();
        entries.push_front(entry);
        Some(said)
    }

    fn put(&self, query: Vec<u8>, said: Said) {
        let mut entries = self.entries();
        entries.push_front((query, said));
        entries.truncate(CACHE_LIMIT);
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<(Vec<u8>, Said)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All restrictions on DNS lists but `reject_maps_rbl`.
pub fn check_list(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    match argument {
        Argument::DnsList { list, about, listing } => check(facts, list, *about, *listing),
        _ => Verdict::Trouble(Trouble::Configuration),
    }
}

/// `reject_maps_rbl`: the client's address in each of `maps_rbl_domains`.
pub fn reject_maps_rbl(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    static WARNING: Once = Once::new();
    let params = facts.session.params;
    WARNING.call_once(|| {
        log::warn!(
            "support for restriction \"reject_maps_rbl\" will be removed from {}; use \"reject_rbl_client domain-name\" instead",
            params.mail_name
        );
    });
    for list in &facts.session.tables.maps_rbl {
        match check(facts, list, About::Address, Listing::Block) {
            Verdict::Dunno => {}
            verdict => return verdict,
        }
    }
    Verdict::Dunno
}

fn check(facts: &Facts<'_>, list: &DnsList, about: About, listing: Listing) -> Verdict {
    let Some((query, what)) = question(facts, list, about) else {
        return Verdict::Dunno;
    };
    // Being allowed must not open a relay.
    if listing == Listing::Allow
        && facts.stage == "RCPT"
        && let Some(recipient) = facts.recipient
    {
        match is_authorised(facts, recipient) {
            Ok(true) => {}
            Ok(false) => return Verdict::Dunno,
            Err(trouble) => return Verdict::Trouble(trouble),
        }
    }
    // Postfix's process ends here, listed or not; the client is told to come again.
    let pattern = match &list.pattern {
        Ok(pattern) => pattern,
        Err(fault) => {
            log::warn!("{fault}");
            return Verdict::Trouble(Trouble::Configuration);
        }
    };
    let cache = &facts.session.services.dnsbl;
    let said = cache.get(&query).unwrap_or_else(|| {
        let said = ask(&facts.session.tables.dns, &query);
        cache.put(query, said.clone());
        said
    });
    if let Some(observer) = facts.session.observer {
        let answer = said.shown();
        observer.event(&Event::Answer { service: &list.text, answer: answer.as_deref().map(str::as_bytes) });
    }
    let (addresses, text) = match said {
        Said::Listed { addresses, text } => (addresses, text),
        Said::Failed if listing == Listing::Allow => {
            let scope = Scope { name: what.name, class: "Client host" };
            return Verdict::DeferIfReject(Detail::rejected(450, "4.7.1", &scope, "Service unavailable"));
        }
        Said::NotListed | Said::Failed => return Verdict::Dunno,
    };
    let counts = |pattern: &Pattern| addresses.iter().any(|address| pattern.matches(*address));
    if !pattern.as_ref().is_none_or(counts) {
        return Verdict::Dunno;
    }
    match listing {
        Listing::Allow => Verdict::Permit,
        Listing::Block => match reply::rejection(facts, list, &what, &text) {
            Ok(detail) => Verdict::Reject(detail),
            Err(trouble) => Verdict::Trouble(trouble),
        },
    }
}

/// The name to look up, and what the reply says is listed.
fn question<'f>(facts: &Facts<'f>, list: &DnsList, about: About) -> Option<(Vec<u8>, Scope<'f>)> {
    let client = &facts.session.client;
    match about {
        About::Address => {
            let query = format!("{}.{}", reversed(client.ip()?), list.domain).into_bytes();
            Some((query, Scope { name: &client.address, class: "Client host" }))
        }
        About::Name(of) => {
            let name = match of {
                Of::Client => Some(&client.name[..]).filter(|name| *name != UNKNOWN),
                _ => of.name(facts),
            }?;
            let domain = DomainName::to_ascii(domain_of(name)).ok()?;
            let last = domain.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
            let numeric = last.iter().all(u8::is_ascii_digit);
            if domain.first() == Some(&b'[') || numeric || DomainName::check(&domain).is_err() {
                return None;
            }
            let query = [&domain, &b"."[..], list.domain.as_bytes()].concat();
            Some((query, Scope { name, class: of.class() }))
        }
    }
}

/// What stands behind the last `@`, or all of it.
pub fn domain_of(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b'@').next().unwrap_or(name)
}

/// Octets or nibbles, the last first.
fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let nibbles = octets.iter().rev().map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4));
            nibbles.collect::<Vec<_>>().join(".")
        }
    }
}

fn ask(tables: &DnsTables, query: &[u8]) -> Said {
    let answer = match tables.lookup(query, RecordType::A) {
        Ok(answer) => answer,
        Err(failure) if failure.kind == FailureKind::NotFound => return Said::NotListed,
        Err(failure) => {
            log::warn!("{}: RBL lookup error: {failure}", maillog::shown(query));
            return Said::Failed;
        }
    };
    let addresses = answer.records.iter().filter_map(|record| match record.data {
        Data::Address(IpAddr::V4(address)) => Some(address),
        _ => None,
    });
    let addresses = addresses.collect();
    let text = match tables.lookup(query, RecordType::Txt) {
        Ok(answer) => {
            let texts: Vec<_> = answer
                .records
                .iter()
                .filter_map(|record| match &record.data {
                    Data::Text(text) => Some(&text[..]),
                    _ => None,
                })
                .collect();
            let mut text = texts.join(&b" / "[..]);
            text.truncate(TEXT_LIMIT);
            text
        }
        Err(failure) => {
            if failure.kind == FailureKind::Filtered {
                log::warn!("{}: TXT lookup error: DNS reply filter drops all results", maillog::shown(query));
            }
            Vec::new()
        }
    };
    Said::Listed { addresses, text }
}

#[cfg(test)]
mod tests {
    use super::{Cache, Said, reversed};

    #[test]
    fn names_of_addresses() {
        assert_eq!(reversed("192.0.2.1".parse().expect("an address")), "1.2.0.192");
        let name = reversed("2001:db8::f".parse().expect("an address"));
        assert_eq!(name, "f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2");
    }

    #[test]
    fn the_least_used_answer_goes_first() {
        let cache = Cache::default();
        for number in 0..150u8 {
            cache.put(vec![number], Said::NotListed);
            assert!(cache.get(&[0]).is_some());
        }
        assert!(cache.get(&[1]).is_none());
        assert!(cache.get(&[149]).is_some());
        assert_eq!(cache.entries().len(), super::CACHE_LIMIT);
    }
}
