//! Restrictions on DNS lists.

use std::sync::Once;

use address::DomainName;
use dnsbl::DnsList;

use crate::argument::Argument;
use crate::client::UNKNOWN;
use crate::dnsbl::answers::{Said, ask};
use crate::dnsbl::list::{About, Listing, fault};
use crate::dnsbl::reply;
use crate::facts::Facts;
use crate::observer::Event;
use crate::relay_checks::{is_authorised, removed};
use crate::subject::Of;
use crate::verdict::{Detail, Scope, Trouble, Verdict};

/// All restrictions on DNS lists but `reject_maps_rbl`.
pub(crate) fn check_list(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    match argument {
        Argument::DnsList { list, about, listing } => check(facts, list, *about, *listing),
        _ => Verdict::Trouble(Trouble::Configuration),
    }
}

/// `reject_maps_rbl`: the client's address in each of `maps_rbl_domains`.
pub fn reject_maps_rbl(facts: &Facts<'_>, _: &Argument, _: &Scope<'_>) -> Verdict {
    static WARNING: Once = Once::new();
    let params = facts.params;
    if params.dialect.has_removed_old_restrictions() {
        return removed("reject_maps_rbl", "\"reject_rbl_client domain-name\"");
    }
    WARNING.call_once(|| {
        log::warn!(
            "support for restriction \"reject_maps_rbl\" will be removed from {}; use \"reject_rbl_client domain-name\" instead",
            params.mail_name
        );
    });
    for list in &facts.tables.maps_rbl {
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
    if let Some(fault) = fault(list) {
        log::warn!("{fault}");
        return Verdict::Trouble(Trouble::Configuration);
    }
    let cache = &facts.services.dnsbl;
    let said = cache.get(&query).unwrap_or_else(|| {
        let said = ask(&facts.tables.dns, &query);
        cache.put(query, said.clone());
        said
    });
    if let Some(observer) = facts.observer {
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
    if list.counts(&addresses) != Ok(true) {
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
    let client = facts.client;
    match about {
        About::Address => Some((
            list.name_of_address(client.ip()?).into_bytes(),
            Scope { name: &client.address, class: "Client host" },
        )),
        About::Name(of) => {
            let name = match of {
                Of::Client => Some(&client.name[..]).filter(|name| *name != UNKNOWN),
                _ => facts.name(of),
            }?;
            let domain = DomainName::to_ascii(domain_of(name)).ok()?;
            let last = domain.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
            let numeric = last.iter().all(u8::is_ascii_digit);
            if domain.first() == Some(&b'[') || numeric || DomainName::check(&domain).is_err() {
                return None;
            }
            Some((list.name_of_domain(&domain), Scope { name, class: of.class() }))
        }
    }
}

/// What stands behind the last `@`, or all of it.
pub(crate) fn domain_of(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b'@').next().unwrap_or(name)
}
